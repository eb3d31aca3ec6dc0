"""The places that a sync lists and reads: folders, prefixes in object storage, and web sites."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Protocol

from search.catalog.catalog import Catalog
from search.catalog.sites import SiteRecords, StoredAnswer
from search.catalog.writes import Root
from search.errors import InputError, RemoteMissingError
from search.indexing.file_system import identify_file_system
from search.indexing.scan import FolderListing, FolderScan, normalize_globs
from search.indexing.scan_objects import ObjectScan
from search.indexing.scan_site import SiteLimits, SiteScan
from search.media.object_urls import is_object_url, is_site_url, join_place, relative_place
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


class SiteFolder:
    """A web site, or a part of it."""

    is_remote = True

    def __init__(
        self,
        stores: ObjectStores,
        place: str,
        catalog: Catalog,
        root: Root | None,
        limits: SiteLimits,
    ) -> None:
        """root: of the site, if the catalog has it."""
        self.place, self._sites, self._catalog = place, stores.sites, catalog
        self._root, self._limits = root, limits
        self._records = SiteRecords(catalog.database)
        self._scan: SiteScan | None = None

    def scan(
        self,
        within: str,
        exclude: Sequence[str],
        follow_links: bool,
        is_known: Callable[[FileEntry], bool],
    ) -> Generator[int, None, FolderListing]:
        """See `Folder`."""
        known = self._catalog.files(self._root) if self._root else {}
        answers = self._records.answers(self._root) if self._root else {}
        self._sites.take_validators()  # of what was shown meanwhile
        self._scan = SiteScan(self._sites, self.place, exclude, known, answers, self._limits)
        try:
            listing = yield from self._scan.run()
        except RemoteMissingError as error:
            raise FileNotFoundError(str(error)) from error
        return listing

    def record(self, root: Root) -> None:
        """Keep what the site answered, after its pictures were read: validators, pages, words."""
        if self._scan is None:
            return
        read = self._sites.take_validators()
        pictures = {url: StoredAnswer(*validators) for url, validators in read.items()}
        mentions = {join_place(root.path, path): path for path in self._scan.mentions}
        answers = {url: one for url, one in pictures.items() if url in mentions}
        self._records.write_answers(root, self._scan.answers | answers)
        self._records.write_mentions(root, self._scan.mentions, self._scan.captions)

    @property
    def page_count(self) -> int:
        """Return how many pages were read."""
        return self._scan.page_count if self._scan else 0

    def device(self, within: str) -> int:
        """See `Folder`."""
        return 0

    def identify(self) -> str | None:
        """See `Folder`."""
        return None

    def exists(self, path: str) -> bool:
        """See `Folder`."""
        return self._scan is not None and path in self._scan.left_out_paths

    def probe(self, path: str) -> bytes | None:
        """See `Folder`."""
        return None


class Folders:
    """Opens places. own: the library's own, which are not listed."""

    def __init__(
        self,
        stores: ObjectStores | None,
        own: Sequence[str],
        default_excludes: bool = True,
        catalog: Catalog | None = None,
        limits: SiteLimits | None = None,
    ) -> None:
        """default_excludes: leave out system folders. catalog, limits: of web sites."""
        self._catalog, self._limits = catalog, limits or SiteLimits()
        self._stores, self._own = stores or ObjectStores(), tuple(own)
        self._default_excludes = default_excludes

    def open(self, place: str, root: Root | None = None) -> Folder:
        """Return a folder, a prefix in object storage, or a web site. root: of the place, if the
        catalog has it."""
        if is_site_url(place):
            if self._catalog is None:
                raise InputError(f"{place} is a web site, which is not read here")
            return SiteFolder(self._stores, place, self._catalog, root, self._limits)
        inside = (relative_place(one, place) for one in self._own)
        own_globs = [f"/{glob.escape(path)}" for path in inside if path is not None]
        if is_object_url(place):
            return ObjectFolder(self._stores, place, own_globs, self._default_excludes)
        return LocalFolder(place, own_globs, self._default_excludes)
