"""Uploads: pictures whose files the library itself keeps, in a root of its own.

Their files are `kept/Name.jpg` in the library's folder, or below the URL of the setting `objects`,
with unchanged bytes; earlier versions
named them `kept/ab/abcd....jpg`, by their id. The root is synced like any other. It is the only
folder inside the library's own that may be a root. A sync of a folder around the library leaves out
the library's folder, so uploads never seem to have vanished.
"""

from __future__ import annotations

import os
import re
import unicodedata
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit, urlunsplit

from search import files
from search.catalog.catalog import Catalog
from search.catalog.writes import ExtractedFile, Origins, SeenContent, Space
from search.errors import (
    InputError,
    PictureError,
    RemoteError,
    StorageError,
)
from search.indexing.file_system import identify_file_system
from search.media.decoder_pool import DecodedPicture
from search.media.images import SUFFIXES
from search.media.object_urls import join_place
from search.media.objects import ObjectStores, object_state
from search.media.thumbnails import Thumbnails
from search.media.urls import normalize_url
from search.types import FileEntry, Vectors, file_state

ENDINGS = {"jpeg": "jpg", "heif": "heic"}
MAX_NAME = 200
"""Most bytes of a file name without its ending. File systems take 255 with it."""
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
"""Names that Windows does not take."""
MAX_SOURCE = 4096
"""Most characters of the URL of a page that a picture comes from."""
BIN = "bin"
"""Where deleted uploads are moved in object storage, beside the prefix of uploads."""
MOST_BYTES = 2**31
"""Most bytes of an upload that is moved there."""


@dataclass(frozen=True)
class UploadContent:
    """A decoded upload. data: the bytes of its file. vector: (dim,) float32 of unit length;
    content: its labels."""

    data: bytes
    picture: DecodedPicture
    vector: Vectors
    content: SeenContent


class UploadFolder(Protocol):
    """Where uploads are kept. place: its absolute path or URL."""

    place: str

    def exists(self, name: str) -> bool:
        """Return whether there is a file of a name. Raises OSError or RemoteError."""
        ...

    def write(self, name: str, data: bytes) -> FileEntry:
        """Write a file, whole or not at all. Raises OSError or RemoteError."""
        ...

    def remove(self, name: str) -> None:
        """Delete a file that was just written. Raises OSError or RemoteError."""
        ...

    def identify(self) -> tuple[int, str | None]:
        """Return the number and the name of the file system, as the catalog has them."""
        ...


class DiskUploads:
    """Uploads in a folder on a disk."""

    def __init__(self, folder: Path) -> None:
        """folder: it is created for the first upload."""
        self._folder, self.place = folder, str(folder)

    def exists(self, name: str) -> bool:
        """See `UploadFolder`."""
        return os.path.lexists(self._folder / name)

    def write(self, name: str, data: bytes) -> FileEntry:
        """See `UploadFolder`."""
        path = self._folder / name
        files.write(path, data, durable=True)
        return FileEntry(name, *file_state(path.stat()))

    def remove(self, name: str) -> None:
        """See `UploadFolder`."""
        (self._folder / name).unlink()

    def identify(self) -> tuple[int, str | None]:
        """See `UploadFolder`."""
        return os.stat(self._folder).st_dev, identify_file_system(self._folder)


class ObjectUploads:
    """Uploads in object storage, which has no bin: there is a prefix for it beside them."""

    def __init__(self, stores: ObjectStores, url: str) -> None:
        """url: of the prefix that they are below."""
        self._stores, self.place = stores, url

    def exists(self, name: str) -> bool:
        """See `UploadFolder`."""
        return self._stores.exists(join_place(self.place, name))

    def write(self, name: str, data: bytes) -> FileEntry:
        """See `UploadFolder`."""
        info = self._stores.write(join_place(self.place, name), data)
        return FileEntry(name, *object_state(info))

    def remove(self, name: str) -> None:
        """See `UploadFolder`."""
        self._stores.delete(join_place(self.place, name))

    def move_to_bin(self, name: str) -> str:
        """Move an object to the prefix that is the bin; return its URL there. Raises
        RemoteError."""
        url = join_place(self.place, name)
        bin_url = join_place(f"{self.place.rpartition('/')[0]}/{BIN}", name)
        data, _ = self._stores.read(url, MOST_BYTES)
        self._stores.write(bin_url, data)
        self._stores.delete(url)
        return bin_url

    def move_back(self, name: str, bin_url: str) -> FileEntry:
        """Move an object back from the bin. Raises FileExistsError if there is one of its name, and
        RemoteError."""
        if self.exists(name):
            raise FileExistsError(name)
        data, _ = self._stores.read(bin_url, MOST_BYTES)
        entry = self.write(name, data)
        self._stores.delete(bin_url)
        return entry

    def identify(self) -> tuple[int, str | None]:
        """See `UploadFolder`."""
        return 0, None


class Uploads:
    """Writes uploads to their folder and to the catalog. The caller may write to the catalog.

    folders: where uploads are, by place.
    """

    def __init__(self, catalog: Catalog, thumbnails: Thumbnails, *folders: UploadFolder) -> None:
        """folders: where uploads are written; then those where earlier ones may be."""
        self._catalog, self._thumbnails = catalog, thumbnails
        self._folder = folders[0]
        self.folders = {folder.place: folder for folder in folders}

    def keep(self, upload: UploadContent, space: Space, origins: Origins) -> None:
        """Write a picture that the library does not have.

        space: of the vector. origins: give the file its name. Raises PictureError for a picture
        without metadata, StorageError if the storage fails; no file is left then.
        """
        picture = upload.picture
        if picture.metadata is None or picture.pixel_hash is None or picture.thumbnail is None:
            raise PictureError("the picture was not decoded whole; try again")
        ending = ENDINGS.get(picture.metadata.type, picture.metadata.type)
        name = make_file_name(origins.original_name or "", ending, picture.id[:12])
        try:
            name = self._find_free_name(name)
            entry = self._folder.write(name, upload.data)  # before the catalog refers to it
            device, file_system = self._folder.identify()
        except (OSError, RemoteError) as error:
            reason = getattr(error, "strerror", None) or error
            raise StorageError(
                f"cannot write {join_place(self._folder.place, name)}: {reason}; free some space, "
                "then try again"
            ) from error
        try:
            self._thumbnails.write(picture.id, picture.thumbnail)
            place = self._folder.place
            root = self._catalog.add_root(place, device, (), file_system=file_system)
            parts = (picture.pixel_hash, picture.metadata, upload.vector, upload.content)
            file = ExtractedFile(
                entry, picture.id, *parts, picture.probe, origins, picture.description
            )
            file = replace(file, features=picture.features)
            self._catalog.record(root, space, [file])
        except BaseException:
            with suppress(OSError, RemoteError):
                self._folder.remove(name)
            raise

    def _find_free_name(self, name: str) -> str:
        """Return a name that is free in the folder: `a.jpg`, else `a (2).jpg`, and so on."""
        stem, ending = os.path.splitext(name)
        number = 1
        while self._folder.exists(name):
            number += 1
            name = f"{stem} ({number}){ending}"
        return name


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


def check_source(url: str) -> str:
    """Return the URL of a page without password and fragment. Raises InputError for anything else
    than http and https."""
    address = normalize_url(url) if len(url) <= MAX_SOURCE else None
    if address is None or urlsplit(address).scheme not in ("http", "https"):
        raise InputError(
            f"source {url[:100]}: give the address of a page that begins with http:// or https://, "
            f"of at most {MAX_SOURCE} characters"
        )
    return describe_address(address).source_url or address


def describe_address(url: str) -> Origins:
    """Return the name in a URL, and the URL without password and fragment."""
    parts = urlsplit(url)
    address = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment=""))
    return Origins(unquote(parts.path.rpartition("/")[2]) or None, address)
