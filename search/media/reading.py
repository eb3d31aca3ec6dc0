"""The bytes of a file -> the picture that it shows: its page or frame, completed if it is cut."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from search.errors import CropError, PictureError, SizeError
from search.media import images, jpeg, png, raw, tiff
from search.media.content import measure_detail
from search.media.rules import Crop, Limits

MOST_MISSING = 0.05
"""Largest share of the rows that may be missing."""
MOST_FRAMES = 100  # that are looked at for content
MOST_PIXELS = 2**28  # of all frames that are decoded for it


class ReadPicture(NamedTuple):
    """A picture of a file.

    opened: by Pillow, for its metadata. normalized: upright sRGB within the sides that were
    requested. size: width and height of the upright original in pixels. is_truncated: the end of
    its pixels is missing.
    """

    opened: Image.Image
    normalized: Image.Image
    size: tuple[int, int]
    is_truncated: bool


def read_picture(
    data: bytes,
    limits: Limits,
    crop: Crop | None = None,
    short: int = images.SHORT,
    long: int = images.LONG,
) -> ReadPicture:
    """Read the picture of a file.

    Of several pages or frames it is the first with content. A JPEG, a PNG or an uncompressed BMP or
    TIFF whose end is cut is completed if at least 95 % of its rows are there. crop: of the upright
    picture, cut before scaling. short, long: most pixels of the sides. A RAW photograph is read by
    its preview if rawpy is installed. Raises PictureError.
    """
    if raw.IS_INSTALLED and raw.is_raw(data):
        preview, turn = raw.extract_preview(data)
        photograph = _read(preview, limits, crop, short, long, turn)
        photograph.opened.format = "RAW"
        return photograph
    try:
        return _read(data, limits, crop, short, long)
    except (CropError, SizeError):
        raise
    except PictureError:
        completed = _complete(data, limits)
        if completed is None:
            raise
        whole, missing = completed
        return _read(whole, limits, crop, short, long)._replace(is_truncated=missing > 0)


def _read(
    data: bytes, limits: Limits, crop: Crop | None, short: int, long: int, turn: int = 1
) -> ReadPicture:
    """Read a whole file. turn: EXIF orientation of a picture that has none of its own."""
    opened = choose_frame(data, limits)
    if turn != 1 and images.orientation(opened) == 1:
        opened.getexif()[images.ORIENTATION] = turn
    size = images.upright_size(opened)
    return ReadPicture(opened, images.render(opened, crop, short, long), size, False)


def _complete(data: bytes, limits: Limits) -> tuple[bytes, float] | None:
    """Return a whole file for one that is cut, and the share that is missing; else None."""
    try:
        if data.startswith(png.SIGNATURE):
            completed = png.complete_rows(data, 8 * limits.pixels)
        elif data.startswith(b"\xff\xd8"):
            opened = images.identify(data, limits)
            completed = jpeg.complete_scans(data, images.scale_to_limits(*opened.size))
        else:
            completed = _complete_raw(data, images.identify(data, limits))
    except MemoryError:
        raise
    except Exception:  # what is there cannot be decoded either
        return None
    return completed if completed and completed[1] <= MOST_MISSING else None


def _complete_raw(data: bytes, opened: Image.Image) -> tuple[bytes, float] | None:
    """As `_complete`, for a file whose pixels are not compressed, as of BMP and many TIFFs."""
    rows, missing, needed = 0, 0, len(data)
    for tile in getattr(opened, "tile", ()):
        left, top, right, bottom = tile.extents
        if tile.codec_name != "raw":
            return None
        stride = tile.args[1]
        if isinstance(opened, TiffImageFile) and not stride:
            stride = ((right - left) * tiff.pixel_bits(opened) + 7) // 8
        if not stride:
            return None
        end = tile.offset + stride * (bottom - top)
        rows += bottom - top
        missing += min(bottom - top, max(0, -((len(data) - end) // stride)))
        needed = max(needed, end)
    return (data.ljust(needed, b"\0"), missing / rows) if missing else None


def choose_frame(data: bytes, limits: Limits) -> Image.Image:
    """Open a picture at its first page or frame with content.

    If the first one is blank, as where a film fades in, it is the first that has at least half of
    the detail of the others. Raises PictureError, SizeError beyond the limits.
    """
    first = images.identify(data, limits)
    is_tiff = first.format == "TIFF"
    pages = tiff.choose_pages(tiff.list_pages(data)) if is_tiff else []
    count = len(pages) if is_tiff else getattr(first, "n_frames", 1)
    if count < 2 or first.format == "MPO":  # the others of an MPO are previews and depths
        return first

    def open_frame(number: int) -> Image.Image:
        if is_tiff:
            return images.identify(data, limits, number)
        first.seek(number)
        return first

    start = 0 if is_tiff else first.tell()
    details: dict[int, float] = {}
    step = -(-count // MOST_FRAMES)
    pixels = 0
    for number in itertools.chain((start,), range(0, count, step)):
        try:
            frame = open_frame(number)
            pixels += frame.width * frame.height * (1 if is_tiff else step)
            if details and pixels > MOST_PIXELS:
                break
            details[number] = measure_detail(np.asarray(images.render(frame)))
        except (PictureError, EOFError, OSError, ValueError, SyntaxError):
            details.setdefault(number, 0.0)
            if not is_tiff:
                break  # an animation cannot go on behind a broken frame
        if details[start]:
            break
    best = max(details.values())
    chosen = next(n for n, detail in details.items() if detail * 2 >= best) if best else start
    return open_frame(chosen)


def open_for_metadata(data: bytes, limits: Limits) -> Image.Image:
    """Open a picture for its metadata; most kinds need no pixels for it. Raises PictureError."""
    try:
        opened = choose_frame(data, limits)
        if opened.format == "PNG":  # which may have them after the pixels
            opened.load()
        return opened
    except MemoryError:
        raise
    except Exception:  # such as a photograph in a RAW format, or one that is cut off
        return read_picture(data, limits, short=1, long=1).opened
