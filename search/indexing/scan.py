"""List the pictures in a folder, and count what is left out.

Names tell what is a picture. Only files without a suffix, or with an odd one, are opened.
"""

from __future__ import annotations

import glob
import hashlib
import os
import time
from array import array
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from search.indexing import kinds
from search.indexing.kinds import ENDINGS as ENDINGS
from search.records.indexing import Skip
from search.types import STATE, FileEntry, file_state

IGNORE_FILE = ".lookalikeignore"
"""A file with globs, one a line, of what to leave out of its folder. `#` begins a comment."""
MOST_IGNORE_BYTES = 2**16
SIDECAR = ".xmp"
STEP_SECONDS = 0.2  # between two counts while a folder is listed

ONLY = "only:"
"""What a glob of a root begins with that is no glob to leave out: only what matches is read."""


class FolderListing:
    """What a folder contains.

    unreadable: folders that could not be listed, by relative path, "" for the root. sidecars: XMP
    files and subtitles by relative path. left_out: how many files of each kind are not read, by a
    name of `kinds.NAMES`; hidden files and those that match globs are not counted. notes: what else
    was not read, such as pages of a site.

    Most syncs find nothing changed, so files of pictures are kept as columns until somebody asks
    for `entries`. From then on, none is added.
    """

    def __init__(
        self, entries: dict[str, FileEntry] | None = None, unreadable: Sequence[Skip] = ()
    ) -> None:
        self._entries = entries
        self._paths, self._states = list[str](), array("q")  # 4 numbers a path
        self.unreadable, self.left_out = list(unreadable), Counter[str]()
        self.sidecars: dict[str, FileEntry] = {}
        self.notes = list[Skip]()

    def __len__(self) -> int:
        return len(self._paths if self._entries is None else self._entries)

    def is_of_any(self) -> bool:
        """Return whether anything is listed or left out."""
        return bool(len(self) or self.unreadable or self.left_out)

    def add(self, path: str, info: os.stat_result) -> None:
        """Add a file of a picture. path: relative to the root."""
        try:
            self._states.extend(STATE(info))
        except OverflowError:  # `extend` keeps the numbers before the one that is too large
            del self._states[4 * len(self._paths) :]
            self._states.extend(file_state(info))
        self._paths.append(path)

    @property
    def entries(self) -> dict[str, FileEntry]:
        """The files of pictures by relative path. It may be changed."""
        if self._entries is None:
            columns = (self._states[number::4] for number in range(4))
            self._entries = {one.path: one for one in map(FileEntry, self._paths, *columns)}
            self._paths, self._states = [], array("q")
        return self._entries

    def select(self, paths: Collection[str]) -> dict[str, FileEntry]:
        """Return the entries of some paths; those that are not listed are left out."""
        if self._entries is not None:
            return {path: self._entries[path] for path in paths if path in self._entries}
        numbers = (number for number, path in enumerate(self._paths) if path in paths)
        return {
            self._paths[n]: FileEntry(self._paths[n], *self._states[4 * n : 4 * n + 4])
            for n in numbers
        }

    def digest(self) -> str | None:
        """Return a digest of the paths and states of all files and sidecars, in the order in which
        they were listed; None if a folder could not be read, or once somebody asked for `entries`,
        which may have changed since."""
        if self._entries is not None or self.unreadable:
            return None
        value = hashlib.blake2b(os.fsencode("\0".join(self._paths)), digest_size=16)
        value.update(b"\0\0" + self._states.tobytes())
        value.update(os.fsencode(repr(list(self.sidecars.values()))))
        return value.hexdigest()


def excluded(path: str, patterns: Sequence[str]) -> bool:
    """Return whether a relative path, or its last part, matches a glob.

    `*` also matches `/`. A glob that begins with `/` matches whole paths only.
    """
    name = path.rpartition("/")[2]
    return any(
        fnmatchcase(f"/{path}", p) if p[0] == "/" else fnmatchcase(path, p) or fnmatchcase(name, p)
        for p in patterns
    )


def film_glob(name: str) -> str:
    """Return the glob of a root of which only a film is read, with its subtitles. name: of the
    film's file in the root."""
    return f"{ONLY}/{glob.escape(os.path.splitext(name)[0])}.*"


def anchor_globs(folder: str, patterns: Sequence[str]) -> list[str]:
    """Return the globs of a subfolder as globs of its root. folder: relative to the root. Those
    that say what is read alone are left out: the root is read."""
    patterns = [p for p in patterns if not p.startswith(ONLY)]
    start = f"/{glob.escape(folder)}"
    anchored = [start + p for p in patterns if p[0] == "/"]
    loose = [start + more + p for p in patterns if p[0] != "/" for more in ("/", "/*/")]
    return [*anchored, *loose, *(f"{p}/*" for p in (*anchored, *loose))]


def normalize_globs(patterns: Sequence[str]) -> tuple[str, ...]:
    """Return globs without `./` at the beginning and `/` at the end, and without empty ones."""
    return tuple(bare for p in patterns if (bare := p.removeprefix("./").rstrip("/")))


def scan(
    root: Path,
    within: str = "",
    exclude: Sequence[str] = (),
    follow_links: bool = False,
    default_excludes: bool = True,
    on_left_out: Callable[[str, str], None] = lambda kind, path: None,
) -> FolderListing:
    """List the pictures below `root`, or below its subfolder `within`.

    exclude: globs of what to leave out; those in files `.lookalikeignore` are added. follow_links:
    follow symbolic links; a folder is listed once, where it really is if that is below the root.
    default_excludes: leave out system folders. Hidden files and folders are left out. A subfolder
    that cannot be read is listed as unreadable. on_left_out: called with the kind and the relative
    path of each file that is counted as left out. Raises OSError if the start itself cannot be
    listed.
    """
    options = (follow_links, default_excludes, on_left_out)
    run = FolderScan(root, normalize_globs(exclude), *options)
    for _ in run.steps(within):
        pass
    return run.listing


def parse_ignore_file(text: str, folder: str) -> list[str]:
    """Return the globs in the text of an ignore file. folder: that it is in, relative to the
    root."""
    lines = (line.strip() for line in text.splitlines())
    patterns = normalize_globs([line for line in lines if not line.startswith("#")])
    return anchor_globs(folder, patterns) if folder else list(patterns)


def is_sidecar_name(name: str) -> bool:
    """Whether a name ends as that of a file that says something of another one: XMP of a picture,
    subtitles of a film."""
    return name.lower().endswith(SIDECAR) or kinds.is_subtitle_name(name)


class FolderScan:
    """One listing of a folder, see `scan`. listing: what is listed so far."""

    def __init__(
        self,
        root: Path,
        patterns: Sequence[str],
        follow_links: bool,
        default_excludes: bool,
        on_left_out: Callable[[str, str], None] = lambda kind, path: None,
    ) -> None:
        self._root = root
        self._patterns = [p for p in patterns if not p.startswith(ONLY)]
        self._only = [p.removeprefix(ONLY) for p in patterns if p.startswith(ONLY)]
        self._follow_links, self._default_excludes = follow_links, default_excludes
        self.listing, self._on_left_out = FolderListing(), on_left_out
        self._folders: list[str] = []
        self._links: list[str] = []  # to folders: followed last, so that real folders come first
        self._inodes: set[tuple[int, int]] = set()

    def steps(self, within: str) -> Iterator[int]:
        """List the files below the subfolder `within`; yield the number of pictures so far, a few
        times a second."""
        shown_at = time.monotonic()
        parts = Path(within).parts
        for depth in range(len(parts)):
            self._read_ignore_file("/".join(parts[:depth]))
        self._list(within)
        while self._folders or self._links:
            folder = (self._folders or self._links).pop()
            try:
                self._list(folder)
            except OSError as error:
                reason = error.strerror or str(error)
                self.listing.unreadable.append(Skip(folder, reason, "folder_unreadable"))
            if time.monotonic() - shown_at >= STEP_SECONDS:
                yield len(self.listing)
                shown_at = time.monotonic()

    def _list(self, folder: str) -> None:
        """Add the files of a folder to the listing, and its subfolders to those that wait."""
        full = os.path.join(self._root, folder)
        if self._follow_links:
            info = os.stat(full)
            if (info.st_dev, info.st_ino) in self._inodes:
                return
            self._inodes.add((info.st_dev, info.st_ino))
        before = f"{folder}/" if folder else ""
        with os.scandir(full) as scanned:
            entries = list(scanned)
        names = {entry.name for entry in entries}
        if folder and self._default_excludes and (kinds.NO_MEDIA in names or kinds.HOME <= names):
            self._leave_out(kinds.SYSTEM_FOLDER, folder)
            return
        if IGNORE_FILE in names:
            self._read_ignore_file(folder)
        parent, patterns = Path(full).name, self._patterns
        for entry in entries:
            name = entry.name
            path = before + name
            if name.startswith(".") or (patterns and excluded(path, patterns)):
                continue
            if self._only and not excluded(path, self._only):
                continue
            is_read = kinds.is_picture_name(name) or kinds.is_film_name(name)
            if is_read and entry.is_file(follow_symlinks=False):
                self._add_file(entry, path)
            else:
                self._add(entry, path, parent)

    def _read_ignore_file(self, folder: str) -> None:
        """Add the globs of a folder's ignore file, if it has one. Raises OSError."""
        try:
            with open(os.path.join(self._root, folder, IGNORE_FILE), "rb") as file:
                text = os.fsdecode(file.read(MOST_IGNORE_BYTES))
        except FileNotFoundError:
            return
        self._patterns += parse_ignore_file(text, folder)

    def _add(self, entry: os.DirEntry[str], path: str, parent: str) -> None:
        """Add a file to the listing, or a subfolder to those that wait.

        parent: name of the folder that it is in.
        """
        is_link = entry.is_symlink()
        if is_link and not (self._follow_links and os.path.exists(entry.path)):
            self._leave_out(kinds.LINK, path)
        elif entry.is_dir():
            if self._default_excludes and kinds.is_system_folder(entry.name, parent):
                self._leave_out(kinds.SYSTEM_FOLDER, path)
            else:
                (self._links if is_link else self._folders).append(path)
        elif is_sidecar_name(path) and entry.is_file():
            self._add_file(entry, path, self.listing.sidecars)
        elif entry.is_file() and self._is_picture(entry):
            self._add_file(entry, path)
        else:
            self._leave_out(kinds.name_kind(entry.name), path)

    def _leave_out(self, kind: str, path: str) -> None:
        self.listing.left_out[kind] += 1
        self._on_left_out(kind, path)

    @staticmethod
    def _is_picture(entry: os.DirEntry[str]) -> bool:
        """Whether a file is a picture, by its name, or else by its first bytes."""
        if kinds.is_picture_name(entry.name) or kinds.is_film_name(entry.name):
            return True
        if not kinds.may_be_picture(entry.name):
            return False
        try:
            return kinds.begins_as_picture(entry.path)
        except OSError:  # decoding it tells the user why
            return True

    def _add_file(
        self, entry: os.DirEntry[str], path: str, sidecars: dict[str, FileEntry] | None = None
    ) -> None:
        """Add a file to the pictures of the listing, or to sidecars."""
        try:
            info = entry.stat()
        except FileNotFoundError:  # deleted after the folder was listed
            return
        if sidecars is None:
            self.listing.add(path, info)
        else:
            sidecars[path] = FileEntry(path, *file_state(info))
