"""Types that all of `search` shares."""

from __future__ import annotations

import os
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:  # half of what `lookalike status` would import
    import numpy as np
    import numpy.typing as npt

Pixels: TypeAlias = "npt.NDArray[np.uint8]"
"""A prepared picture, (H, W, 3)."""
Vectors: TypeAlias = "npt.NDArray[np.float32]"
"""Embeddings, (n, dim) or (dim,)."""
RowIds: TypeAlias = "npt.NDArray[np.int64]"
"""Row ids of pictures, (n,)."""


LIMIT = 2**63
STATE = attrgetter("st_size", "st_mtime_ns", "st_ino", "st_ctime_ns")
"""Returns what a `FileEntry` has of a file beside its path, from what `os.stat` returned."""


class FileEntry(NamedTuple):
    """A file as the folder lists it. path: relative to the root, with `/`; size in bytes;
    mtime_ns: last change in nanoseconds, which programs may set; ctime_ns: last change of content
    or attributes, which the system sets; 0 if it is not known."""

    path: str
    size: int
    mtime_ns: int
    inode: int
    ctime_ns: int = 0


def file_state(info: os.stat_result) -> tuple[int, int, int, int]:
    """Return size, mtime_ns, inode and ctime_ns of a file, as the catalog can hold them.

    Of numbers that do not fit in 64 bits with a sign, as inodes of some file systems, the lowest
    bits are returned.
    """
    mtime_ns, inode, ctime_ns = info.st_mtime_ns, info.st_ino, info.st_ctime_ns
    if not (-LIMIT <= mtime_ns < LIMIT and inode < LIMIT and -LIMIT <= ctime_ns < LIMIT):
        mtime_ns, inode, ctime_ns = map(_signed, (mtime_ns, inode, ctime_ns))
    return info.st_size, mtime_ns, inode, ctime_ns


def _signed(number: int) -> int:
    return (number + LIMIT) % (2 * LIMIT) - LIMIT
