"""Rules of decoding: its version, its limits, and crops.

No codec is imported here: commands that ask a server, and the catalog, need the rules alone.
"""

from __future__ import annotations

from dataclasses import dataclass

from search.errors import CropError

DECODE_RULE = 3
"""Version of everything between a file's bytes and a normalized image; part of every fingerprint.

The catalog stores it with each picture: a sync decodes pictures of another rule again, and replaces
what was computed from their pixels.

1: colour profiles are ignored. 2: colour profiles are converted to sRGB. 3: the page, frame and
background with content; samples of any depth by their range; orientation as browsers read it.
"""

DESCRIPTION_RULE = 1
"""Version of what is read of the description in a file (`search.media.descriptions`). A sync reads
those of another rule again; that needs no pixels."""


FEATURE_RULE = 1
"""Version of what computes the stored local features (`search.media.local_features`). A sync
computes those of another rule again."""

ANIMATED = ("GIF", "WEBP", "PNG")
"""Formats of pictures that may have several frames, as Pillow names them."""


@dataclass(frozen=True)
class Limits:
    """What a picture may cost. pixels: that are decoded, which are fewer than those of the file
    for a large JPEG; bytes: of the file; seconds: to decode; memory: address space of the decoding
    process in bytes; side: pixels of a row or a column, since each row costs time of its own;
    decoded: bytes of the pixels as the file has them."""

    pixels: int = 178_956_970
    bytes: int = 512 * 2**20
    seconds: float = 30.0
    memory: int = 4 * 2**30
    side: int = 65_535
    decoded: int = 2**30


@dataclass(frozen=True)
class FilmSpan:
    """A part of a film that is to be read. content: SHA-256 of its bytes. probe: of the file (see
    `search.media.probe`), in hexadecimal digits. start, stop: in seconds. resume: seconds until
    which an earlier request read the part."""

    content: str
    probe: str
    start: float
    stop: float
    resume: float = 0.0


@dataclass(frozen=True)
class FrameAt:
    """A frame of a film or of an animation. id: of its picture. time: seconds from the start.
    probe: of the file, in hexadecimal digits; None if it is not known."""

    id: str
    time: float
    probe: str | None


@dataclass(frozen=True)
class Crop:
    """A box in the upright picture. Each of the four is a share of width or height where `shares`
    says so, else pixels."""

    x: float
    y: float
    width: float
    height: float
    shares: tuple[bool, bool, bool, bool] = (False, False, False, False)

    def box(self, width: int, height: int) -> tuple[float, float, float, float]:
        """Left, top, right, bottom in pixels of a width x height picture.

        Raises CropError when the box is empty or not within the picture.
        """
        ends = (width, height, width, height)
        parts = (self.x, self.y, self.width, self.height)
        x, y, w, h = (
            v * end if share else v for v, end, share in zip(parts, ends, self.shares, strict=True)
        )
        right, bottom = min(x + w, width), min(y + h, height)
        inside = x >= 0 and y >= 0 and x + w <= width + 1 and y + h <= height + 1
        if not (inside and right - x >= 1 and bottom - y >= 1):
            raise CropError(
                f"crop {x:g},{y:g},{w:g},{h:g} is not within the picture of {width} x {height}; "
                "give X,Y,W,H in pixels of the upright picture, or each as a share like 25%"
            )
        return x, y, right, bottom
