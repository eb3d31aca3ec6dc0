"""Types that all of `search` shares."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:  # half of what `lookalike status` would import
    import numpy as np
    import numpy.typing as npt

Pixels: TypeAlias = "npt.NDArray[np.uint8]"
"""A prepared picture, (H, W, 3)."""
Vectors: TypeAlias = "npt.NDArray[np.float32]"
"""Embeddings, (n, dim) or (dim,)."""


class FileEntry(NamedTuple):
    """A file as the folder lists it. path: relative to the root, with `/`; size in bytes;
    mtime_ns: last change in nanoseconds."""

    path: str
    size: int
    mtime_ns: int
    inode: int


def file_state(info: os.stat_result) -> tuple[int, int, int]:
    """Size, time of the last change and inode, as numbers that the catalog can hold: of those that
    have no room in 64 bits with a sign, as some file systems' inodes, the lowest bits."""
    size, mtime, inode = info.st_size, info.st_mtime_ns, info.st_ino
    return size, _signed(mtime), _signed(inode)


def _signed(number: int) -> int:
    return (number + 2**63) % 2**64 - 2**63
