"""What the jobs of a decoding process share: opening files, and what is computed from pixels."""

from __future__ import annotations

import os
import stat
from typing import Any, BinaryIO

from PIL import Image

from search.errors import PictureError, SizeError
from search.media.preprocessing import Preprocessing
from search.media.rules import Limits


def open_regular(path: str) -> BinaryIO:
    """Open a regular file. Raises PictureError for other things."""

    def open_unblocked(name: str, flags: int) -> int:
        return os.open(name, flags | getattr(os, "O_NONBLOCK", 0))

    try:
        file = open(path, "rb", opener=open_unblocked)
    except IsADirectoryError:
        raise PictureError("not a regular file") from None
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise PictureError("not a regular file")
    return file


def read_file(path: str, limits: Limits) -> bytes:
    """A regular file's bytes. Raises PictureError for other things and beyond the limit."""
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > limits.bytes:
            raise SizeError(f"the file has {size} bytes, more than {limits.bytes}")
        return file.read(limits.bytes + 1)


def add_pixels(
    job: dict[str, Any], normalized: Image.Image, reply: dict[str, Any], blobs: list[bytes]
) -> None:
    """Add to a reply what a job asks for of the pixels of a picture."""
    if job["image"]:
        reply["image"] = normalized.size
        blobs.append(normalized.tobytes())
    if job["features"]:
        import cv2  # slow to import

        from search.media import local_features

        cv2.setNumThreads(1)  # there is a process for each core
        blobs.append(local_features.extract(normalized, job["features"]))
        reply["features"] = True
    blobs += [Preprocessing(**one)(normalized).tobytes() for one in job["prepare"]]
