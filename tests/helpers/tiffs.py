"""TIFF files as scanners and microscopes write them, and Pillow does not."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

WHITE_IS_0, BLACK_IS_0, COLORS = 0, 1, 2
UNSIGNED, SIGNED, FLOAT = 1, 2, 3


@dataclass(frozen=True)
class TiffImage:
    """An image of a TIFF file.

    pixels: (H, W) or (H, W, samples) of any type. photometric: what the samples mean. planar: each
    sample in a plane of its own. deflate: compressed. tags: further short tags. below: images that
    are only reached through this one.
    """

    pixels: npt.NDArray[Any]
    photometric: int = BLACK_IS_0
    planar: bool = False
    deflate: bool = False
    tags: dict[int, int] = field(default_factory=dict)
    below: Sequence[TiffImage] = ()


def write_tiff(*images: TiffImage, mark: str = "<") -> bytes:
    """The bytes of a file. mark: `<` or `>`, the byte order."""
    out = bytearray(b"II*\0" if mark == "<" else b"MM\0*") + bytes(4)
    link = 4
    for image in images:
        start, after = _append(out, image, mark)
        struct.pack_into(f"{mark}I", out, link, start)
        link = after
    return bytes(out)


def _append(out: bytearray, image: TiffImage, mark: str) -> tuple[int, int]:
    """Append an image; return where its directory is, and where that says what comes next."""
    below = [_append(out, one, mark)[0] for one in image.below]
    pixels = np.atleast_3d(image.pixels)
    height, width, samples = pixels.shape
    planes = np.moveaxis(pixels, 2, 0) if image.planar else pixels[None]
    strips = [plane.astype(pixels.dtype.newbyteorder(mark)).tobytes() for plane in planes]
    if image.deflate:
        strips = [zlib.compress(strip) for strip in strips]
    offsets = []
    for strip in strips:
        offsets.append(len(out))
        out += strip
    kind = {"u": UNSIGNED, "i": SIGNED, "f": FLOAT}[pixels.dtype.kind]
    shorts: dict[int, Sequence[int]] = {
        258: [pixels.dtype.itemsize * 8] * samples,
        259: [8 if image.deflate else 1],
        262: [image.photometric],
        277: [samples],
        284: [2 if image.planar else 1],
        339: [kind] * samples,
        **{tag: [value] for tag, value in image.tags.items()},
    }
    longs = {256: [width], 257: [height], 273: offsets, 278: [height], 279: [*map(len, strips)]}
    if below:
        longs[330] = below
    entries = []
    for code, size, tags in ((3, "H", shorts), (4, "I", longs)):
        for tag, values in tags.items():
            packed = struct.pack(f"{mark}{len(values)}{size}", *values)
            if len(packed) > 4:
                place = struct.pack(f"{mark}I", len(out))
                out += packed
            else:
                place = packed.ljust(4, b"\0")
            entries.append((tag, struct.pack(f"{mark}HHI", tag, code, len(values)) + place))
    start = len(out)
    out += struct.pack(f"{mark}H", len(entries)) + b"".join(one for _, one in sorted(entries))
    out += bytes(4)
    return start, len(out) - 4
