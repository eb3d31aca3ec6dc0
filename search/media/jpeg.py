"""JPEG files that end too early: how much of the picture is there.

Pillow refuses them all, also those that lack nothing but the end marker.
"""

from __future__ import annotations

import io
import re
from typing import NamedTuple

import numpy as np
from PIL import Image

from search.types import Pixels

END = b"\xff\xd9"
MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")  # neither a stuffed byte nor a restart
FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
PROGRESSIVE = frozenset((0xC2, 0xC6, 0xCA, 0xCE))
COEFFICIENTS = 64
REFINED = 1e-6  # the share that a progressive picture without all of its last scan misses
NOISE = np.random.default_rng(0).integers(0, 255, 2**14, dtype=np.uint8).tobytes()
"""Bytes that no marker begins in, to be decoded in place of what is missing."""


class Scans(NamedTuple):
    """The scans of a file without an end marker.

    are_complete: all of them have begun, so that at most a part of the last one is missing.
    are_progressive: each scan adds detail to the whole picture.
    """

    are_complete: bool
    are_progressive: bool


def complete_scans(data: bytes, size: tuple[int, int]) -> tuple[bytes, float] | None:
    """Complete a file that is cut within its last scan.

    size: width and height in pixels that the comparison needs at least. Also returns the share of
    rows that are missing, 0 to 1. Of a progressive picture it is nearly 0: the last scan only
    refines all rows. Returns None for other files.
    """
    scans = _read_scans(data)
    if scans is None or not scans.are_complete:
        return None
    data = data.rstrip(b"\xff")
    closed = data + END
    # a row is missing if the decoder makes something else of it with other bytes behind the cut
    differs = (_decode(closed, size) != _decode(data + NOISE + END, size)).any(axis=(1, 2))
    if not differs.any():
        return closed, 0.0
    there = int(differs.argmax()) + 1  # the colours of the row above are mixed with missing ones
    return closed, REFINED if scans.are_progressive else 1 - there / len(differs)


def _decode(data: bytes, size: tuple[int, int]) -> Pixels:
    """Return the pixels, (H, W, channels), at the smallest scale that has at least a size."""
    with Image.open(io.BytesIO(data), formats=("JPEG",)) as picture:
        picture.draft(None, size)
        return np.atleast_3d(np.asarray(picture))


def _read_scans(data: bytes) -> Scans | None:
    """Read the headers of frame and scans. Returns None if there is an end marker or no scan."""
    levels: dict[tuple[int, int], int] = {}  # bits still missing, by component and coefficient
    components, progressive, at, scans = 0, False, 2, 0
    while (marker := MARKER.search(data, at)) is not None:
        code, start = data[marker.start() + 1], marker.end()
        if code == END[1]:
            return None
        at = start + int.from_bytes(data[start : start + 2], "big")
        body = data[start + 2 : at]
        if at > len(data):
            break  # cut within a header
        if code in FRAMES and len(body) > 5:
            components, progressive = body[5], code in PROGRESSIVE
        if code == 0xDA and body:
            scans += 1
            ids = body[1 : 1 + 2 * body[0] : 2]
            first, last, bits = body[1 + 2 * body[0] :][:3]
            last = last if progressive else COEFFICIENTS - 1
            for key in ((one, k) for one in ids for k in range(first, last + 1)):
                levels[key] = bits & 15
    if not scans:
        return None
    whole = len(levels) == components * COEFFICIENTS and not any(levels.values())
    return Scans(whole and at <= len(data), progressive)
