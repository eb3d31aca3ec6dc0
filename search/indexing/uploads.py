"""Uploads: pictures whose files the library itself keeps, in a root of its own.

Their files are `kept/Name.jpg` in the library's folder, with unchanged bytes; earlier versions
named them `kept/ab/abcd....jpg`, by their id. The root is synced like any other. It is the only
folder inside the library's own that may be a root. A sync of a folder around the library leaves out
the library's folder, so uploads never seem to have vanished.
"""

from __future__ import annotations

import os
import re
import unicodedata
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from search import files
from search.catalog.catalog import Catalog
from search.catalog.writes import ExtractedFile, Origins, SeenContent, Space
from search.errors import NotUploadError, PictureError, StorageError
from search.indexing.file_system import identify_file_system
from search.media.decoder_pool import DecodedPicture
from search.media.images import SUFFIXES
from search.media.thumbnails import Thumbnails
from search.types import FileEntry, Vectors, file_state

ENDINGS = {"jpeg": "jpg", "heif": "heic"}
MAX_NAME = 200
"""Most bytes of a file name without its ending. File systems take 255 with it."""
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
"""Names that Windows does not take."""


@dataclass(frozen=True)
class UploadContent:
    """A decoded upload. data: the bytes of its file. vector: (dim,) float32 of unit length;
    content: its labels."""

    data: bytes
    picture: DecodedPicture
    vector: Vectors
    content: SeenContent


class Uploads:
    """Writes uploads to disk and to the catalog, and deletes them. The caller may write to the
    catalog."""

    def __init__(self, catalog: Catalog, thumbnails: Thumbnails, folder: Path) -> None:
        """folder: of the uploads; it is created for the first one."""
        self._catalog, self._thumbnails, self._folder = catalog, thumbnails, folder

    def keep(self, upload: UploadContent, space: Space, origins: Origins) -> None:
        """Write a picture that the library does not have.

        space: of the vector. origins: give the file its name. Raises PictureError for a picture
        without metadata, StorageError if the disk fails; no file is left then.
        """
        picture = upload.picture
        if picture.metadata is None or picture.pixel_hash is None or picture.thumbnail is None:
            raise PictureError("the picture was not decoded whole; try again")
        ending = ENDINGS.get(picture.metadata.type, picture.metadata.type)
        name = make_file_name(origins.original_name or "", ending, picture.id[:12])
        path = self._find_free_path(name)
        try:
            files.write(path, upload.data, durable=True)  # before the catalog refers to it
            info = path.stat()
        except OSError as error:
            raise StorageError(
                f"cannot write {path}: {error.strerror}; free some space, then try again"
            ) from error
        try:
            self._thumbnails.write(picture.id, picture.thumbnail)
            entry = FileEntry(path.name, *file_state(info))
            place = identify_file_system(self._folder)
            root = self._catalog.add_root(str(self._folder), info.st_dev, (), file_system=place)
            seen = (picture.pixel_hash, picture.metadata, upload.vector, upload.content)
            file = ExtractedFile(entry, picture.id, *seen, picture.probe, origins)
            self._catalog.record(root, space, [file])
        except BaseException:
            with suppress(OSError):
                path.unlink()
            raise

    def delete(self, row_id: int) -> None:
        """Move the files of an upload to the system's bin, and take them out of the catalog.

        Other files of the picture stay. Raises NotUploadError if the library keeps no file of the
        picture, StorageError if the system has no bin for them.
        """
        bin_module: Any = import_module("send2trash")  # it has no types, and few need it

        roots = [root for root in self._catalog.roots() if root.path == str(self._folder)]
        paths = self._catalog.files_of(roots[0], row_id) if roots else {}
        if not paths:
            raise NotUploadError(
                "this picture is a file of your own, which lookalike never deletes; delete the "
                "file itself, then index its folder"
            )
        for path in paths.values():
            full = self._folder / path
            try:
                if os.path.lexists(full):
                    bin_module.send2trash(str(full))
            except OSError as error:
                raise StorageError(
                    f"{full} cannot be moved to the system's bin: {error}; delete the file "
                    f"yourself, then index {self._folder}"
                ) from error
        self._catalog.remove_files(list(paths))

    def _find_free_path(self, name: str) -> Path:
        """Return a path in the folder that is free: `a.jpg`, else `a (2).jpg`, and so on."""
        path, number = self._folder / name, 1
        while os.path.lexists(path):
            number += 1
            stem, ending = os.path.splitext(name)
            path = self._folder / f"{stem} ({number}){ending}"
        return path


def make_file_name(original: str, ending: str, default: str) -> str:
    """Return a file name that any system takes, from the name that a picture came with.

    ending: without a dot, appended unless the name has one of a picture. default: the stem of a
    picture without a usable name.
    """
    name = unicodedata.normalize("NFC", re.split(r"[/\\]", original)[-1])
    name = "".join("_" if c in '<>:"|?*' or not c.isprintable() else c for c in name)
    name = name.lstrip(". ").rstrip(". ")  # a hidden file would not be indexed
    stem, suffix = os.path.splitext(name)
    if suffix.lower() not in SUFFIXES:
        stem, suffix = name, f".{ending}"
    encoded = stem.encode("utf-8", "ignore")[:MAX_NAME]
    stem = encoded.decode("utf-8", "ignore").strip()
    return f"{'_' if RESERVED.fullmatch(stem) else ''}{stem or default}{suffix}"


def describe_address(url: str) -> Origins:
    """Return the name in a URL, and the URL without password and fragment."""
    parts = urlsplit(url)
    address = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment=""))
    return Origins(unquote(parts.path.rpartition("/")[2]) or None, address)
