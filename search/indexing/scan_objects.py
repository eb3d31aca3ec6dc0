"""List the pictures in object storage, by the same rules as those of a folder on a disk.

Keys come in pages, in any order, and folders are no more than parts of keys. So the names that rule
a folder (`.lookalikeignore`, `.nomedia`, those of a library) are noted, and applied in the end.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor

from search.errors import RemoteMissingError
from search.indexing import kinds
from search.indexing.scan import (
    IGNORE_FILE,
    MOST_IGNORE_BYTES,
    SIDECAR,
    FolderListing,
    excluded,
    normalize_globs,
    parse_ignore_file,
)
from search.media.object_urls import join_place, relative_place
from search.media.objects import ObjectStores, object_state
from search.types import FileEntry

STEP_OBJECTS = 1000  # between two counts while a prefix is listed
THREADS = 8  # that read the first bytes of objects
CATALOG, THUMBNAILS = sorted(kinds.HOME)


class ObjectScan:
    """One listing of a bucket, or of a prefix in it.

    left_out_paths: paths that are there and left out, of objects that may be pictures.
    """

    def __init__(
        self,
        stores: ObjectStores,
        root: str,
        exclude: Sequence[str],
        default_excludes: bool,
        is_known: Callable[[FileEntry], bool],
    ) -> None:
        """exclude, default_excludes: as `scan` takes them. is_known: whether the catalog has the
        picture of a file, so that its first bytes need not be read."""
        self._stores, self._root = stores, root
        self._patterns = list(normalize_globs(exclude))
        self._default_excludes, self._is_known = default_excludes, is_known
        self._listing = FolderListing({})
        self._counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._unnamed: list[FileEntry] = []
        self._ignoring: list[str] = []
        self._closed, self._catalogs, self._albums = set[str](), set[str](), set[str]()
        self.left_out_paths = set[str]()

    def run(self, within: str) -> Generator[int, None, FolderListing]:
        """List the objects below the prefix `within`; yield the number of pictures so far. Raises
        RemoteError, also for a later page."""
        parts = within.split("/") if within else []
        self._ignoring += ["/".join(parts[:depth]) for depth in range(len(parts))]
        place = join_place(self._root, within) if within else self._root
        for number, info in enumerate(self._stores.list(place), 1):
            if number % STEP_OBJECTS == 0:
                yield len(self._listing.entries)
            path = relative_place(info.url, self._root)
            if path:
                self._add(FileEntry(path, *object_state(info)))
        self._read_ignore_files()
        self._apply_rules()
        self._read_heads()
        return self._listing

    def _add(self, entry: FileEntry) -> None:
        """Add an object to the listing, or note what it says of its folder."""
        *folders, name = entry.path.split("/")
        folder = "/".join(folders)
        if any(part.startswith(".") for part in folders):
            return
        if name == IGNORE_FILE:
            self._ignoring.append(folder)
        elif name == kinds.NO_MEDIA and folder:
            self._closed.add(folder)
        if not name or name.startswith("."):  # a marker of a folder, or hidden
            return
        if name == CATALOG:
            self._catalogs.add(folder)
        self._albums |= {
            "/".join(folders[:i]) for i, part in enumerate(folders) if part == THUMBNAILS
        }
        if self._matches(entry.path, self._patterns):
            self._leave_out(entry.path)
        elif name.lower().endswith(SIDECAR):
            self._listing.sidecars[entry.path] = entry
        elif kinds.is_picture_name(name):
            self._listing.entries[entry.path] = entry
        elif kinds.may_be_picture(name):
            self._unnamed.append(entry)
        else:
            self._counts[folder][kinds.name_kind(name)] += 1

    @staticmethod
    def _matches(path: str, patterns: Sequence[str]) -> bool:
        """Whether a path or a folder that it is in matches a glob."""
        if not patterns:
            return False
        parts = path.split("/")
        return any(excluded("/".join(parts[: i + 1]), patterns) for i in range(len(parts)))

    def _leave_out(self, path: str) -> None:
        if kinds.is_picture_name(path) or kinds.may_be_picture(path.rpartition("/")[2]):
            self.left_out_paths.add(path)

    def _read_ignore_files(self) -> None:
        for folder in self._ignoring:
            url = join_place(self._root, f"{folder}/{IGNORE_FILE}" if folder else IGNORE_FILE)
            try:
                data = self._stores.read_range(url, 0, MOST_IGNORE_BYTES)
            except RemoteMissingError:  # of a folder above the one that is listed
                continue
            text = data.decode("utf-8", "surrogateescape")
            self._patterns += parse_ignore_file(text, folder)

    def _apply_rules(self) -> None:
        """Take out what is in system folders, and what ignore files leave out."""
        systems = set[str]()
        for path in list(self._listing.entries):
            if self._is_ruled_out(path, systems):
                del self._listing.entries[path]
                self._leave_out(path)
        for path in list(self._listing.sidecars):
            if self._is_ruled_out(path, systems):
                del self._listing.sidecars[path]
        unnamed = []
        for entry in self._unnamed:
            if self._is_ruled_out(entry.path, systems):
                self._leave_out(entry.path)
            else:
                unnamed.append(entry)
        self._unnamed = unnamed
        for folder, counts in self._counts.items():
            if not self._is_ruled_out(f"{folder}/-" if folder else "-", systems):
                self._listing.left_out.update(counts)
        if systems:
            self._listing.left_out[kinds.SYSTEM_FOLDER] += len(systems)

    def _is_ruled_out(self, path: str, systems: set[str]) -> bool:
        """Whether a path is in a system folder, which is added to `systems`, or matches a glob."""
        if self._matches(path, self._patterns):
            return True
        if not self._default_excludes:
            return False
        parts = path.split("/")
        parent = self._root.rpartition("/")[2]
        for i, part in enumerate(parts[:-1]):
            folder = "/".join(parts[: i + 1])
            is_library = folder in self._catalogs and folder in self._albums
            if folder in self._closed or is_library or kinds.is_system_folder(part, parent):
                systems.add(folder)
                return True
            parent = part
        return False

    def _read_heads(self) -> None:
        """Add the objects without the name of a picture that begin as one."""
        unknown = []
        for entry in self._unnamed:
            if self._is_known(entry):
                self._listing.entries[entry.path] = entry
            else:
                unknown.append(entry)
        with ThreadPoolExecutor(THREADS, thread_name_prefix="heads") as threads:
            heads = threads.map(self._begins_as_picture, unknown)
            for entry, is_picture in zip(unknown, heads, strict=True):
                if is_picture:
                    self._listing.entries[entry.path] = entry
                else:
                    kind = kinds.name_kind(entry.path.rpartition("/")[2])
                    self._listing.left_out[kind] += 1
                    self.left_out_paths.add(entry.path)

    def _begins_as_picture(self, entry: FileEntry) -> bool:
        if not entry.size:
            return False
        url = join_place(self._root, entry.path)
        return kinds.is_picture_head(self._stores.read_range(url, 0, kinds.HEAD))
