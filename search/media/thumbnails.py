"""Thumbnails by picture id, on disk or in object storage; derived, so any may be missing."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from itertools import groupby
from pathlib import Path
from typing import Protocol

from search import files
from search.errors import InputError, RemoteError, RemoteMissingError, StorageError
from search.media.objects import ObjectStores

HEAD = 12  # bytes: RIFF, the length of the rest, WEBP
MOST_BYTES = 2**24
"""Most bytes of a thumbnail that is read from object storage."""


class Thumbnails(Protocol):
    """WebP files `ab/cd/abcd....webp` below a place."""

    def place(self, picture_id: str) -> str:
        """Return the path or URL of a picture's thumbnail, which may not exist yet."""
        ...

    def has(self, picture_id: str) -> bool:
        """Whether there is a whole thumbnail. A file that is empty, cut off or no WebP, as after a
        power cut, counts as none."""
        ...

    def read(self, picture_id: str) -> bytes | None:
        """Read the file of a thumbnail. Returns None if there is none; see `has`."""
        ...

    def write(self, picture_id: str, data: bytes) -> None:
        """Write a thumbnail, whole even after a loss of power. Raises StorageError when the storage
        refuses."""
        ...

    def delete(self, picture_id: str) -> None:
        """Delete a picture's thumbnail, if any. Raises StorageError when the storage refuses."""
        ...

    def delete_strays(self, list_ids: Callable[[str], Collection[str]]) -> int:
        """Delete the thumbnails of other pictures, which a killed process may leave.

        list_ids: returns the ids of all pictures that begin with two digits. The caller holds the
        write lock. Returns the number of deleted ones. Raises StorageError.
        """
        ...


class DiskThumbnails:
    """Thumbnails in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, picture_id: str) -> Path:
        """Return the path of a picture's thumbnail, which may not exist yet."""
        return self._folder / picture_id[:2] / picture_id[2:4] / f"{picture_id}.webp"

    def place(self, picture_id: str) -> str:
        """See `Thumbnails`."""
        return str(self.path(picture_id))

    def has(self, picture_id: str) -> bool:
        """See `Thumbnails`."""
        try:
            with self.path(picture_id).open("rb") as file:
                return _is_whole(file.read(HEAD), os.fstat(file.fileno()).st_size)
        except OSError:
            return False

    def read(self, picture_id: str) -> bytes | None:
        """See `Thumbnails`."""
        try:
            data = self.path(picture_id).read_bytes()
        except OSError:
            return None
        return data if _is_whole(data[:HEAD], len(data)) else None

    def write(self, picture_id: str, data: bytes) -> None:
        """See `Thumbnails`."""
        path = self.path(picture_id)
        try:
            files.write(path, data, durable=True)
        except OSError as error:
            raise StorageError(
                f"cannot write {path}: {error.strerror}; free some space, then run the same "
                "command again: it goes on where it stopped"
            ) from error

    def delete(self, picture_id: str) -> None:
        """See `Thumbnails`."""
        path = self.path(picture_id)
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(
                f"cannot delete {path}: {error.strerror}; check the permissions of the library's "
                "folder, then run `lookalike check`, which deletes what is left"
            ) from error

    def delete_strays(self, list_ids: Callable[[str], Collection[str]]) -> int:
        """See `Thumbnails`."""
        count = 0
        for folder in sorted(self._folder.glob("??")):
            stems = [path.stem for path in folder.glob("*/*.webp")]
            picture_ids = list_ids(folder.name) if stems else ()
            for stem in stems:
                if stem not in picture_ids:
                    self.delete(stem)
                    count += 1
        return count


class ObjectThumbnails:
    """Thumbnails in object storage."""

    def __init__(self, stores: ObjectStores, url: str) -> None:
        """url: of the prefix that they are below."""
        self._stores, self._url = stores, url

    def place(self, picture_id: str) -> str:
        """See `Thumbnails`."""
        return f"{self._url}/{picture_id[:2]}/{picture_id[2:4]}/{picture_id}.webp"

    def has(self, picture_id: str) -> bool:
        """See `Thumbnails`. An object is there as a whole or not at all."""
        try:
            return self._stores.exists(self.place(picture_id))
        except RemoteError:
            return False

    def read(self, picture_id: str) -> bytes | None:
        """See `Thumbnails`. Returns None also if the storage gives no answer."""
        try:
            data, _ = self._stores.read(self.place(picture_id), MOST_BYTES)
        except (RemoteError, InputError):
            return None
        return data if _is_whole(data[:HEAD], len(data)) else None

    def write(self, picture_id: str, data: bytes) -> None:
        """See `Thumbnails`."""
        try:
            self._stores.write(self.place(picture_id), data)
        except RemoteError as error:
            raise StorageError(
                f"cannot write a thumbnail: {error}; try again: it goes on where it stopped"
            ) from error

    def delete(self, picture_id: str) -> None:
        """See `Thumbnails`."""
        try:
            self._stores.delete(self.place(picture_id))
        except RemoteError as error:
            raise StorageError(
                f"cannot delete a thumbnail: {error}; `lookalike check` deletes what is left"
            ) from error

    def delete_strays(self, list_ids: Callable[[str], Collection[str]]) -> int:
        """See `Thumbnails`."""
        try:
            names = [info.url.rpartition("/")[2] for info in self._stores.list(self._url)]
        except RemoteMissingError:
            return 0
        except RemoteError as error:
            raise StorageError(f"the thumbnails cannot be listed: {error}") from error
        stems = sorted(name.removesuffix(".webp") for name in names if name.endswith(".webp"))
        count = 0
        for start, group in groupby(stems, key=lambda stem: stem[:2]):
            picture_ids = list_ids(start)
            for stem in group:
                if stem not in picture_ids:
                    self.delete(stem)
                    count += 1
        return count


def _is_whole(head: bytes, size: int) -> bool:
    """Whether a WebP file has as many bytes as its head says."""
    length = int.from_bytes(head[4:8], "little") + 8
    return (head[:4], head[8:12]) == (b"RIFF", b"WEBP") and length == size
