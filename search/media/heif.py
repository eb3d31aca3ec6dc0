"""HEIF as bytes: whether the file itself says how its picture is turned."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pillow_heif
from PIL import Image


def restore_orientation(picture: Image.Image, data: bytes) -> None:
    """Give an opened picture its EXIF orientation back if nothing else says how it is turned.

    The codec turns a picture by the properties `irot` and `imir`, and drops the orientation of
    EXIF, which mostly repeats them. A file without these properties is turned by EXIF alone.
    """
    if any(name in box for box in _list_metadata(data) for name in (b"irot", b"imir")):
        return
    exif = pillow_heif.open_heif(io.BytesIO(data)).info.get("exif")
    if exif:
        picture.info["exif"] = exif


def _list_metadata(data: bytes) -> Iterator[bytes]:
    """Yield the content of each `meta` box at the top of a file."""
    start = 0
    while start + 8 <= len(data):
        size, head = int.from_bytes(data[start : start + 4], "big"), 8
        if size == 1:
            size, head = int.from_bytes(data[start + 8 : start + 16], "big"), 16
        end = start + size if size else len(data)
        if end < start + head:
            return
        if data[start + 4 : start + 8] == b"meta":
            yield data[start + head : end]
        start = end
