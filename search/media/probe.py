"""A fast probe of a file's content: a digest of samples of its bytes.

It tells an edit that keeps size and date from a mere change of attributes without reading all of a
large file. An edit that changes no sample is missed, so a probe never replaces the content hash.
Codecs of pictures compress, so most edits change all bytes behind them and the end of the file.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable

WHOLE = 256 * 1024
"""Files of at most so many bytes are sampled whole."""
SAMPLES, SAMPLE = 32, 4096
"""Number of samples of larger files, and their bytes."""


def probe_data(data: bytes) -> bytes:
    """Return the probe of the bytes of a file, 16 bytes."""
    return _probe(len(data), lambda start, count: data[start : start + count])


def probe_file(file: int | str) -> bytes:
    """Return the probe of a file: an open file descriptor, or a path. Raises OSError.

    A path is not followed if it is a link, and a named pipe is not waited for.
    """
    if isinstance(file, int):
        size = os.fstat(file).st_size
        return _probe(size, lambda start, count: _read(file, start, count))
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    handle = os.open(file, flags | getattr(os, "O_BINARY", 0))
    try:
        return probe_file(handle)
    finally:
        os.close(handle)


def _probe(size: int, read: Callable[[int, int], bytes]) -> bytes:
    digest = hashlib.blake2b(str(size).encode(), digest_size=16)
    if size <= WHOLE:
        digest.update(read(0, size))
        return digest.digest()
    for i in range(SAMPLES):  # the first one at the beginning, the last one at the end
        digest.update(read(i * (size - SAMPLE) // (SAMPLES - 1), SAMPLE))
    return digest.digest()


def _read(handle: int, start: int, count: int) -> bytes:
    """Read bytes at a place. Raises OSError. The position of the file may change (Windows)."""
    if hasattr(os, "pread"):
        return os.pread(handle, count, start)
    before = os.lseek(handle, 0, os.SEEK_CUR)
    try:
        os.lseek(handle, start, os.SEEK_SET)
        return os.read(handle, count)
    finally:
        os.lseek(handle, before, os.SEEK_SET)
