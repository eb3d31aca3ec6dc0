"""A cache of values that are slow to compute, as JSON files in a folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from search import files
from search.errors import ModelError


class JsonCache:
    """Values by a key that names all they depend on. Processes may share it."""

    def __init__(self, folder: Path | None = None) -> None:
        """folder: created when first needed; None caches nothing."""
        self._folder = folder

    def get_or_compute(self, key: str, compute: Callable[[], Any]) -> Any:
        """Return the value of a key; call `compute` if it is not cached, or cannot be read.

        compute: returns a value that JSON can hold.
        """
        value = self.get(key)
        if value is None:
            value = json.loads(json.dumps(compute()))  # the same types, computed or cached
            self.put(key, value)
        return value

    def get(self, key: str) -> Any:
        """Return the value of a key, or None if it is not cached."""
        if self._folder is not None:
            with suppress(OSError, ValueError, LookupError, TypeError):
                entry = json.loads(self._path(key).read_text())
                if entry["key"] == key:
                    return entry["value"]
        return None

    def put(self, key: str, value: Any) -> None:
        """Cache a value. On a disk that takes none, nothing is cached."""
        if self._folder is not None:
            with suppress(OSError):
                files.write(self._path(key), json.dumps({"key": key, "value": value}).encode())

    def delete(self, key: str) -> None:
        """Forget the value of a key."""
        if self._folder is not None:
            with suppress(OSError):
                self._path(key).unlink()

    def _path(self, key: str) -> Path:
        return Path(self._folder or "", f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.json")


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


def hash_weights(path: Path, cache: JsonCache, arch: str, name: str) -> str:
    """As `file_hash`, for weights. Raises ModelError if they cannot be read.

    arch: the architecture. name: by which a user names it, before the path.
    """
    try:
        return file_hash(path, cache)
    except OSError as error:
        raise ModelError(
            f"the weights {path} cannot be read: {error.strerror}; give a file of {arch} as "
            f"{name}:/path/to/weights"
        ) from error
