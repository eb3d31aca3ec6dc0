"""Pictures that are given to the library to keep: files of its own, in a root of their own.

`kept/ab/abcd....jpg` below the library's folder, with the bytes as they came. The root is like any
other (a sync of it follows what happened to its files), but for one thing: it is the only folder
inside the library's own that may be synced, and only `keep` makes it a root. A sync of a folder
around it passes the library's own folder by, so it never takes what is kept for gone.
"""

from __future__ import annotations

from pathlib import Path

from search import files
from search.catalog.catalog import Catalog
from search.catalog.writes import ExtractedFile, Model, SeenContent
from search.errors import PictureError, StorageError
from search.media.decoder_pool import DecodedPicture
from search.media.thumbnails import Thumbnails
from search.types import FileEntry, Vectors, file_state

SUFFIX = {"jpeg": "jpg", "heif": "heic"}


class Uploads:
    """Writes pictures below a folder and enters them in the catalog."""

    def __init__(self, catalog: Catalog, thumbnails: Thumbnails, folder: Path) -> None:
        self._catalog, self._thumbnails, self._folder = catalog, thumbnails, folder

    def keep(
        self,
        data: bytes,
        loaded: DecodedPicture,
        model: Model,
        vector: Vectors,
        content: SeenContent,
    ) -> None:
        """Keep a picture; one that is kept already stays as it is. Its caller may write.

        Raises StorageError when the disk does not take it; then nothing is left of it.
        """
        if loaded.facts is None or loaded.rendition is None or loaded.thumbnail is None:
            raise PictureError("the picture was not decoded whole; try again")
        suffix = SUFFIX.get(loaded.facts.type, loaded.facts.type)
        name = f"{loaded.id[:2]}/{loaded.id}.{suffix}"
        path = self._folder / name
        there = path.is_file() and path.stat().st_size == len(data)
        try:
            if not there:
                files.write(path, data, durable=True)  # before the catalog says so
            info = path.stat()
        except OSError as error:
            raise StorageError(
                f"cannot write {path}: {error.strerror}; free some space, then try again"
            ) from error
        try:
            self._thumbnails.write(loaded.id, loaded.thumbnail)
            entry = FileEntry(name, *file_state(info))
            root = self._catalog.add_root(str(self._folder), info.st_dev, ())
            found = ExtractedFile(entry, loaded.id, loaded.rendition, loaded.facts, vector, content)
            self._catalog.record(root, model, [found])
        except BaseException:
            if not there:
                path.unlink(missing_ok=True)
            raise
