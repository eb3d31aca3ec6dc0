"""Thumbnails on disk, by picture id, in sharded folders; derived, so any of them may be missing."""

from __future__ import annotations

from pathlib import Path

from search import files
from search.errors import StorageError


class Thumbnails:
    """WebP files `ab/cd/abcd....webp` below a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, identity: str) -> Path:
        """Where a picture's thumbnail is, or would be."""
        return self._folder / identity[:2] / identity[2:4] / f"{identity}.webp"

    def has(self, identity: str) -> bool:
        """Whether it is there; an empty one, such as a power cut leaves, is none."""
        try:
            return self.path(identity).stat().st_size > 0
        except OSError:
            return False

    def read(self, identity: str) -> bytes | None:
        """The file of a picture's thumbnail; None when there is none."""
        try:
            return self.path(identity).read_bytes() or None
        except OSError:
            return None

    def write(self, identity: str, data: bytes) -> None:
        """Raises StorageError when the disk does not take it."""
        path = self.path(identity)
        try:
            files.write(path, data)
        except OSError as error:
            raise StorageError(
                f"cannot write {path}: {error.strerror}; free some space, then run the same "
                "command again: it goes on where it stopped"
            ) from error

    def delete(self, identity: str) -> None:
        """Remove a picture's thumbnail if there is one."""
        self.path(identity).unlink(missing_ok=True)
