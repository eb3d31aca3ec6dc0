"""A cache of values that are slow to compute, as JSON files in a folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from search import files


class JsonCache:
    """Values by a key that names all they depend on. Processes may share it."""

    def __init__(self, folder: Path | None = None) -> None:
        """folder: created when first needed; None caches nothing."""
        self._folder = folder

    def get_or_compute(self, key: str, compute: Callable[[], Any]) -> Any:
        """Return the value of a key; call `compute` if it is not cached, or cannot be read.

        compute: returns a value that JSON can hold.
        """
        if self._folder is None:
            return compute()
        path = self._folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"
        try:
            entry = json.loads(path.read_text())
            if entry["key"] == key:
                return entry["value"]
        except (OSError, ValueError, LookupError, TypeError):
            pass
        value = compute()
        with suppress(OSError):  # it is computed again next time
            files.write(path, json.dumps({"key": key, "value": value}).encode())
        return json.loads(json.dumps(value))  # the same types, computed or cached


def file_hash(path: Path, cache: JsonCache) -> str:
    """Return the SHA-256 of a file, hexadecimal.

    The file is read again when its size, time or path changes. Raises OSError.
    """

    def read() -> str:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    info = path.stat()
    key = f"sha256 {path.resolve()} {info.st_size} {info.st_mtime_ns} {info.st_ino}"
    value: str = cache.get_or_compute(key, read)
    return value
