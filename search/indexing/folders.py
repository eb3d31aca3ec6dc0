"""The places that a sync lists and reads: folders on a disk, and prefixes in object storage."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Protocol

from search.errors import RemoteMissingError
from search.indexing.file_system import identify_file_system
from search.indexing.scan import FolderListing, FolderScan, normalize_globs
from search.indexing.scan_objects import ObjectScan
from search.media.object_urls import is_object_url, relative_place
from search.media.objects import ObjectStores
from search.media.probe import probe_file
from search.types import FileEntry


class Folder(Protocol):
    """A place with pictures. place: its absolute path or URL. is_remote: its files do not change
    while they are written, and have no file system."""

    place: str
    is_remote: bool

    def scan(
        self,
        within: str,
        exclude: Sequence[str],
        follow_links: bool,
        is_known: Callable[[FileEntry], bool],
    ) -> Generator[int, None, FolderListing]:
        """List the pictures below the subfolder `within`; yield their number so far, now and then.

        exclude, follow_links: as `search.indexing.scan.scan` takes them. is_known: whether the
        catalog has the picture of a file. Raises FileNotFoundError if there is nothing, OSError or
        RemoteError if it cannot be listed as a whole.
        """
        ...

    def device(self, within: str) -> int:
        """Return the number of the file system that a subfolder is on. Raises OSError."""
        ...

    def identify(self) -> str | None:
        """Return a text that names the file system, None if there is none. Raises OSError."""
        ...

    def exists(self, path: str) -> bool:
        """Return whether a file is there, after `scan`. path: relative to the place."""
        ...

    def probe(self, path: str) -> bytes | None:
        """Return the probe of a file; None if its state alone tells that it is another one. Raises
        OSError."""
        ...


class LocalFolder:
    """A folder on a disk."""

    is_remote = False

    def __init__(self, place: str, own_globs: Sequence[str], default_excludes: bool) -> None:
        """own_globs: of the library's own places in it, which are not listed."""
        self.place, self._own_globs, self._default_excludes = place, own_globs, default_excludes

    def scan(
        self,
        within: str,
        exclude: Sequence[str],
        follow_links: bool,
        is_known: Callable[[FileEntry], bool],
    ) -> Generator[int, None, FolderListing]:
        """See `Folder`."""
        patterns = (*exclude, *self._own_globs)
        globs = normalize_globs(patterns)
        run = FolderScan(Path(self.place), globs, follow_links, self._default_excludes)
        yield from run.steps(within)
        return run.listing

    def device(self, within: str) -> int:
        """See `Folder`."""
        return os.stat(os.path.join(self.place, within)).st_dev

    def identify(self) -> str | None:
        """See `Folder`."""
        return identify_file_system(self.place)

    def exists(self, path: str) -> bool:
        """See `Folder`."""
        return os.path.lexists(os.path.join(self.place, path))

    def probe(self, path: str) -> bytes | None:
        """See `Folder`."""
        return probe_file(os.path.join(self.place, path))


class ObjectFolder:
    """A bucket, or a prefix in it."""

    is_remote = True

    def __init__(
        self, stores: ObjectStores, place: str, own_globs: Sequence[str], default_excludes: bool
    ) -> None:
        """own_globs: of the library's own places in it, which are not listed."""
        self.place, self._stores = place, stores
        self._own_globs, self._default_excludes = own_globs, default_excludes
        self._left_out_paths = set[str]()

    def scan(
        self,
        within: str,
        exclude: Sequence[str],
        follow_links: bool,
        is_known: Callable[[FileEntry], bool],
    ) -> Generator[int, None, FolderListing]:
        """See `Folder`."""
        patterns = (*exclude, *self._own_globs)
        run = ObjectScan(self._stores, self.place, patterns, self._default_excludes, is_known)
        try:
            listing = yield from run.run(within)
        except RemoteMissingError as error:
            raise FileNotFoundError(str(error)) from error
        self._left_out_paths = run.left_out_paths
        return listing

    def device(self, within: str) -> int:
        """See `Folder`."""
        return 0

    def identify(self) -> str | None:
        """See `Folder`."""
        return None

    def exists(self, path: str) -> bool:
        """See `Folder`."""
        return path in self._left_out_paths

    def probe(self, path: str) -> bytes | None:
        """See `Folder`."""
        return None


class Folders:
    """Opens places. own: the library's own, which are not listed."""

    def __init__(
        self, stores: ObjectStores | None, own: Sequence[str], default_excludes: bool = True
    ) -> None:
        """default_excludes: leave out system folders."""
        self._stores, self._own = stores or ObjectStores(), tuple(own)
        self._default_excludes = default_excludes

    def open(self, place: str) -> Folder:
        """Return a folder, or a prefix in object storage."""
        inside = (relative_place(one, place) for one in self._own)
        own_globs = [f"/{glob.escape(path)}" for path in inside if path is not None]
        if is_object_url(place):
            return ObjectFolder(self._stores, place, own_globs, self._default_excludes)
        return LocalFolder(place, own_globs, self._default_excludes)
