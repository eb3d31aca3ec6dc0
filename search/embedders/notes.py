"""Facts that are slow to find out, kept as JSON files in a folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from search import files


class Notes:
    """A memory of plain values by a text that says all they depend on. Processes may share it."""

    def __init__(self, folder: Path | None = None) -> None:
        """folder: made when first needed; None remembers nothing."""
        self._folder = folder

    def recall(self, key: str, find: Callable[[], Any]) -> Any:
        """The value of a key; `find` is asked when it is not known, or cannot be read."""
        if self._folder is None:
            return find()
        path = self._folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"
        try:
            known = json.loads(path.read_text())
            if known["key"] == key:
                return known["value"]
        except (OSError, ValueError, LookupError, TypeError):
            pass
        value = find()
        with suppress(OSError):  # it will be found out again
            files.write(path, json.dumps({"key": key, "value": value}).encode())
        return json.loads(json.dumps(value))  # the same shapes, found or remembered


def file_hash(path: Path, notes: Notes) -> str:
    """SHA-256 of a file, hexadecimal; read again when its size, its time or its place change."""

    def read() -> str:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    info = path.stat()
    said = f"sha256 {path.resolve()} {info.st_size} {info.st_mtime_ns} {info.st_ino}"
    value: str = notes.recall(said, read)
    return value
