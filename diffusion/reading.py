"""Reading of files that may be hostile: regular files only, and never more bytes than expected."""

from __future__ import annotations

import io
import json
import os
import stat
from pathlib import Path
from typing import Any

MAX_JSON = 16 * 2**20
"""Bytes of a JSON file. That of a checkpoint with 100,000 classes has about two million."""


def open_regular(path: str | Path) -> io.BufferedReader:
    """Open a regular file for reading.

    Without O_NONBLOCK, opening a named pipe would wait for a writer. Raises ValueError for a
    folder, pipe, device or socket, and OSError when the file cannot be opened.
    """

    def open_at_once(name: str, flags: int) -> int:
        return os.open(name, flags | getattr(os, "O_NONBLOCK", 0))

    try:
        file = open(path, "rb", opener=open_at_once)
    except IsADirectoryError:
        raise ValueError("it is not a regular file") from None
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise ValueError("it is not a regular file")
    return file


def read_bytes(path: str | Path, limit: int) -> bytes:
    """Read a regular file. limit: most bytes. Raises ValueError for a larger file and for what is
    not a regular file, and OSError."""
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        data = file.read(limit + 1) if size <= limit else b""
    if max(size, len(data)) > limit:
        raise ValueError(f"it has more than {limit} bytes")
    return data


def read_json(path: str | Path, limit: int = MAX_JSON) -> Any:
    """Read a JSON file. limit: most bytes. Raises ValueError and OSError."""
    try:
        return json.loads(read_bytes(path, limit).decode("utf-8"))
    except RecursionError:
        raise ValueError("its JSON is nested too deeply") from None
