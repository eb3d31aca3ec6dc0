"""Opens an indexed file for reading. Checks that it is as it was indexed. Follows no links, unless
its folder was indexed with them.

Between a sync and a request a file may have been replaced by a link to anywhere, or a folder above
it may have. So every step below the root is opened without following links, and the file that was
opened must have the size and time that the catalog knows. If the system says that it was changed
nevertheless, samples of its content must be as before.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from typing import BinaryIO

from search.errors import RemoteError
from search.media.probe import probe_file
from search.types import file_state

FILE = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
BINARY = getattr(os, "O_BINARY", 0)
FOLDER = FILE | getattr(os, "O_DIRECTORY", 0)


@dataclass(frozen=True)
class FilePlace:
    """A file as the catalog knows it. path: relative to the root, with `/`. ctime_ns, probe: None
    if they are not known. follow_links: it may be a link, or in a folder that is one. time: of a
    frame, in seconds from the start of the film that the file is."""

    root: str
    path: str
    size: int
    mtime_ns: int
    ctime_ns: int | None = None
    probe: bytes | None = None
    follow_links: bool = False
    time: float | None = None


def open_file(place: FilePlace) -> BinaryIO | None:
    """The file for reading, or None when it is not what was indexed any more."""
    try:
        handle = _open(place)
    except OSError:
        return None
    if _is_same(handle, place):
        return os.fdopen(handle, "rb")
    os.close(handle)
    return None


def read_first(
    places: Iterable[FilePlace], open_file: Callable[[FilePlace], BinaryIO | None], most: int
) -> tuple[FilePlace, bytes] | None:
    """Return the first of some places whose file is as it was indexed, and its content; None if
    none is, or storage does not answer.

    most: bytes of a file; one more is read of a larger one, so that it is seen to be too large.
    """
    for place in places:
        try:
            if (file := open_file(place)) is not None:
                with closing(file):
                    return place, file.read(most + 1)
        except (OSError, RemoteError):
            continue
    return None


def _is_same(handle: int, place: FilePlace) -> bool:
    """Return whether an open file is as it was indexed."""
    info = os.fstat(handle)
    size, mtime_ns, _, ctime_ns = file_state(info)
    if not stat.S_ISREG(info.st_mode) or (size, mtime_ns) != (place.size, place.mtime_ns):
        return False
    if place.probe is None or ctime_ns == place.ctime_ns:
        return True
    try:
        return probe_file(handle) == place.probe
    except OSError:
        return False


def _open(place: FilePlace) -> int:
    """Raises OSError for links, and for whatever else is in the way."""
    *folders, name = place.path.split("/")
    if {"", ".", ".."} & {*folders, name}:
        raise FileNotFoundError(place.path)
    if place.follow_links:
        return os.open(os.path.realpath(os.path.join(place.root, place.path)), FILE | BINARY)
    if os.open not in os.supports_dir_fd:  # Windows: a look before the leap
        full = os.path.join(place.root, *folders, name)
        if os.path.realpath(full) != os.path.abspath(full):
            raise FileNotFoundError(full)
        return os.open(full, FILE | BINARY)
    here = os.open(place.root, FOLDER)
    try:
        for folder in folders:
            inner = os.open(folder, FOLDER, dir_fd=here)
            os.close(here)
            here = inner
        return os.open(name, FILE, dir_fd=here)
    finally:
        os.close(here)
