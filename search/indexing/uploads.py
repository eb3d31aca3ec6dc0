"""Uploads: pictures whose files the library itself keeps, in a root of its own.

Their files are `kept/ab/abcd....jpg` in the library's folder, with unchanged bytes. The root is
synced like any other. It is the only folder inside the library's own that may be a root. A sync of
a folder around the library leaves out the library's folder, so uploads never seem to have vanished.
"""

from __future__ import annotations

from pathlib import Path

from search import files
from search.catalog.catalog import Catalog
from search.catalog.writes import ExtractedFile, SeenContent, Space
from search.errors import PictureError, StorageError
from search.media.decoder_pool import DecodedPicture
from search.media.thumbnails import Thumbnails
from search.types import FileEntry, Vectors, file_state

SUFFIXES = {"jpeg": "jpg", "heif": "heic"}


class Uploads:
    """Writes uploads to disk and to the catalog."""

    def __init__(self, catalog: Catalog, thumbnails: Thumbnails, folder: Path) -> None:
        """folder: of the uploads; it is created for the first one."""
        self._catalog, self._thumbnails, self._folder = catalog, thumbnails, folder

    def keep(
        self,
        data: bytes,
        loaded: DecodedPicture,
        space: Space,
        vector: Vectors,
        content: SeenContent,
    ) -> None:
        """Write a picture, unless it is there already. The caller may write to the catalog.

        data: the bytes of the file. loaded: decoded from them, with metadata. vector: (dim,)
        float32 of unit length under `space`; content: its labels. Raises PictureError for a
        picture without metadata, StorageError if the disk fails; no file is left then.
        """
        if loaded.metadata is None or loaded.pixel_hash is None or loaded.thumbnail is None:
            raise PictureError("the picture was not decoded whole; try again")
        suffix = SUFFIXES.get(loaded.metadata.type, loaded.metadata.type)
        name = f"{loaded.id[:2]}/{loaded.id}.{suffix}"
        path = self._folder / name
        exists = path.is_file() and path.stat().st_size == len(data)
        try:
            if not exists:
                files.write(path, data, durable=True)  # before the catalog refers to it
            info = path.stat()
        except OSError as error:
            raise StorageError(
                f"cannot write {path}: {error.strerror}; free some space, then try again"
            ) from error
        try:
            self._thumbnails.write(loaded.id, loaded.thumbnail)
            entry = FileEntry(name, *file_state(info))
            root = self._catalog.add_root(str(self._folder), info.st_dev, ())
            seen = (loaded.pixel_hash, loaded.metadata, vector, content)
            file = ExtractedFile(entry, loaded.id, *seen)
            self._catalog.record(root, space, [file])
        except BaseException:
            if not exists:
                path.unlink(missing_ok=True)
            raise
