"""Thumbnails on disk, by picture id, in sharded folders; derived, so any of them may be missing."""

from __future__ import annotations

from pathlib import Path

from search import files
from search.errors import StorageError


class Thumbnails:
    """WebP files `ab/cd/abcd....webp` below a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, picture_id: str) -> Path:
        """Return the path of a picture's thumbnail, which may not exist yet."""
        return self._folder / picture_id[:2] / picture_id[2:4] / f"{picture_id}.webp"

    def has(self, picture_id: str) -> bool:
        """Whether there is a thumbnail. An empty file, as after a power cut, counts as none."""
        try:
            return self.path(picture_id).stat().st_size > 0
        except OSError:
            return False

    def read(self, picture_id: str) -> bytes | None:
        """Read the file of a thumbnail. Returns None if there is none."""
        try:
            return self.path(picture_id).read_bytes() or None
        except OSError:
            return None

    def write(self, picture_id: str, data: bytes) -> None:
        """Write a thumbnail, whole even after a loss of power. Raises StorageError when the disk
        refuses."""
        path = self.path(picture_id)
        try:
            files.write(path, data, durable=True)
        except OSError as error:
            raise StorageError(
                f"cannot write {path}: {error.strerror}; free some space, then run the same "
                "command again: it goes on where it stopped"
            ) from error

    def delete(self, picture_id: str) -> None:
        """Remove a picture's thumbnail if there is one."""
        self.path(picture_id).unlink(missing_ok=True)
