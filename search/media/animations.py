"""Animations (GIF, WebP, APNG): frames that differ, with their times. Pillow decodes them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from PIL import Image

from search.errors import FilmError, PictureError
from search.media import images
from search.media.content import is_low_content
from search.media.films import GRID, FilmFrame, Grid, is_near_equal, measure_change
from search.media.rules import ANIMATED, Limits

MOST_LOOKED_AT = 1000
"""Frames of an animation that are decoded."""
MOST_FRAMES = 60
"""Frames of an animation that are kept."""
MOST_PIXELS = 2**29
"""Pixels of all frames that are decoded."""
DEFAULT_MS = 100
"""Milliseconds of a frame that gives no duration, or one too short for browsers."""


def read_frames(
    data: bytes, limits: Limits, shown: Image.Image
) -> tuple[list[FilmFrame], float | None]:
    """Return the frames of an animation that differ from the one before them, and its duration in
    seconds; no frames for other pictures.

    shown: the normalized image of the frame that stands for all. Frames like it and blank ones are
    left out. If there are too many, those that differ least from the frame before them are dropped.
    Frames after a broken one are not read.
    """
    opened = images.identify(data, limits)
    if opened.format not in ANIMATED or getattr(opened, "n_frames", 1) < 2:
        return [], None
    first, frames, end = make_grid(shown), list[FilmFrame](), 0.0
    for at, seconds in _iterate(opened):
        end = at + seconds
        try:
            frame = _render(opened, at)
        except PictureError:
            break
        before = frames[-1].grid if frames else first
        if is_near_equal(before, frame.grid) or is_near_equal(first, frame.grid):
            continue
        if is_low_content(np.asarray(frame.image.resize((64, 64)))):
            continue
        frame.change = measure_change(before, frame.grid)
        frames.append(frame)
        if len(frames) > MOST_FRAMES:
            del frames[min(range(len(frames)), key=lambda i: frames[i].change)]
    return frames, round(end, 3)


def read_frame(data: bytes, limits: Limits, at: float) -> FilmFrame:
    """Return the frame of an animation at a time, in seconds, as `read_frames` gave it. Raises
    FilmError."""
    opened = images.identify(data, limits)
    for moment, _ in _iterate(opened):
        if abs(moment - at) < 5e-4:
            return _render(opened, moment)
    raise FilmError("it has no frame at this time any more", "no_video")


def make_grid(image: Image.Image) -> Grid:
    """Return the grey levels of a picture in a small grid, (18, 32)."""
    small = image.convert("L").resize(GRID, Image.Resampling.BOX)
    return np.asarray(small).astype(np.int16)


def _iterate(opened: Image.Image) -> Iterator[tuple[float, float]]:
    """Go through the frames of an opened animation; yield the time and the duration of each, in
    seconds. Ends at a broken frame, and when enough was decoded."""
    at, pixels = 0.0, 0
    for number in range(min(getattr(opened, "n_frames", 1), MOST_LOOKED_AT)):
        pixels += opened.width * opened.height
        if pixels > MOST_PIXELS:
            return
        try:
            opened.seek(number)
            opened.load()
        except MemoryError:
            raise
        except Exception:  # codecs raise whatever they like
            return
        milliseconds = opened.info.get("duration") or 0
        seconds = (milliseconds if milliseconds > 10 else DEFAULT_MS) / 1000
        yield round(at, 3), seconds
        at += seconds


def _render(opened: Image.Image, at: float) -> FilmFrame:
    image = images.render(opened.copy())
    return FilmFrame(at, image, opened.size, make_grid(image))
