"""Bytes -> an upright RGB picture within limits, its square, or windows of it.

Nothing here trusts its input. For files it runs in the processes of `diffusion.media.pool`, where a
crash or a hang costs one picture.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from diffusion.errors import DataError

if find_spec("pillow_heif"):  # optional: it adds the format of most phones
    from pillow_heif import register_heif_opener

    register_heif_opener(thumbnails=False)

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "HEIF", "AVIF")
RESAMPLING = Image.Resampling.LANCZOS


@dataclass(frozen=True)
class Limits:
    """What a picture, or the listing of a zip, may cost.

    pixels: of a picture. bytes: of a file, or of a member of a zip. seconds: to read and decode
    one. memory: address space of a decoding process in bytes. members: of a zip. ratio: by how
    much a member of more than `small` bytes may be compressed.
    """

    pixels: int = 178_956_970
    bytes: int = 512 * 2**20
    seconds: float = 30.0
    memory: int = 4 * 2**30
    members: int = 1_000_000
    ratio: int = 200
    small: int = 16 * 2**20


def open_picture(data: bytes, pixels: int) -> Image.Image:
    """Open an encoded picture. Raises DataError when it is of none of FORMATS or has more than
    `pixels` pixels. Codecs raise other types when it is damaged."""
    try:
        picture = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        raise DataError(f"it is not a picture; give one of {', '.join(FORMATS)}") from None
    except Image.DecompressionBombError:
        raise DataError(f"it has more than {pixels} pixels") from None
    if picture.width * picture.height > pixels:
        raise DataError(f"it has more than {pixels} pixels")
    return picture


def crop_square(picture: Image.Image, size: int) -> np.ndarray:
    """Convert a picture to (size, size, 3) uint8: upright, on white, the square in its middle."""
    picture.draft("RGB", (2 * size, 2 * size))
    picture = ImageOps.fit(make_upright(picture), (size, size), RESAMPLING)
    return np.asarray(picture, dtype=np.uint8)


def cut_windows(
    picture: Image.Image, side: int, versions: int, least: int, most: int, seed: int
) -> tuple[np.ndarray, list[int]]:
    """Cut windows of an RGB picture at random places and scales; every second is mirrored.

    side: of a window in pixels. versions: V, number of windows. least, most: short side in pixels
    to which the picture is scaled, log-uniform. A picture is never enlarged. Returns
    (V, side, side, 3) uint8, and the V short sides in pixels. Raises DataError for a picture whose
    short side is below `least`.
    """
    short = min(picture.size)
    if short < least:
        raise DataError(f"its short side is below {least} pixels")
    random = np.random.default_rng(seed)
    pixels, sides = [], []
    for version in range(versions):
        low, high = np.log(least), np.log(min(short, most))
        scaled = round(float(np.exp(random.uniform(low, high))))
        span = side * short / scaled  # of a window, in pixels of the picture
        left = random.uniform(0, picture.width - span)
        top = random.uniform(0, picture.height - span)
        if scaled == short:
            left, top, span = round(left), round(top), side
        box = (left, top, left + span, top + span)
        window = np.asarray(picture.resize((side, side), RESAMPLING, box))
        pixels.append(window[:, ::-1] if version % 2 else window)
        sides.append(scaled)
    return np.stack(pixels), sides


def make_upright(picture: Image.Image) -> Image.Image:
    """Any picture -> RGB, turned as its EXIF orientation says, over white."""
    picture = ImageOps.exif_transpose(picture)
    if picture.mode.startswith(("I", "F")):
        picture = _to_8_bits(picture)
    if picture.mode not in ("RGB", "L"):
        layer = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return picture.convert("RGB")


def _to_8_bits(picture: Image.Image) -> Image.Image:
    """Convert a grey picture of 16 or 32 bits to 8 bits.

    Integers are scaled by 65535. Floats are scaled by the smallest of 1, 255 and 65535 that is not
    below their maximum. Larger values are scaled by their maximum.
    """
    values = np.asarray(picture, dtype=np.float32)
    maximum = float(values.max(where=np.isfinite(values), initial=0.0))
    values = np.nan_to_num(values, nan=0.0, posinf=maximum)
    ranges = (1.0, 255.0, 65535.0) if picture.mode.startswith("F") else (65535.0,)
    white = next((value for value in ranges if maximum <= value), maximum)
    return Image.fromarray((values / white * 255).clip(0, 255).astype(np.uint8))
