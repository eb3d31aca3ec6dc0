"""A picture in two bands: a low band that a small model can vary, and the fine detail above it."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Planes = NDArray[np.float32]
"""(C, H, W)."""

MAX_ASPECT = 4.0  # aspect ratio of a low band; longer pictures are squeezed to it
DETAIL_SCALE = 0.3  # root mean square change, in -1..1, at which 1 / e of the detail remains
CELL = 4  # side in pixels of the low band of the squares in which the change is averaged


def low_band_size(width: int, height: int, side: int, multiple: int) -> tuple[int, int]:
    """Return width and height of the low band: about side^2 pixels with the picture's aspect ratio.

    width, height: of the picture in pixels. multiple: width and height are multiples of it.
    """
    stretch = min(max(math.sqrt(width / height), MAX_ASPECT**-0.5), MAX_ASPECT**0.5)
    lengths = side * stretch, side / stretch
    w, h = (max(1, round(length / multiple)) * multiple for length in lengths)
    return w, h


class Bands:
    """The two bands of one picture.

    low: (3, h, w) float32 in -1..1, the band that a model varies.
    """

    def __init__(self, picture: Image.Image, side: int, multiple: int) -> None:
        """picture: RGB, in the size of the result. side, multiple: see `low_band_size`."""
        self._full = np.asarray(picture, np.float32).transpose(2, 0, 1) / 127.5 - 1
        low = low_band_size(picture.width, picture.height, side, multiple)
        self.low = _resize(self._full, low, Image.Resampling.LANCZOS).clip(-1, 1)
        self._detail = self._full - self._up(self.low)

    def merge(self, low: Planes, detail: bool = True) -> Image.Image:
        """Merge a variant of the low band, (3, h, w) in -1..1, with the detail, in full size.

        Where the low band did not change, all detail is added; the more it changed, the less.
        detail: False leaves the detail out, for a variant that keeps nothing of the picture.
        """
        if not detail:
            return _to_image(self._up(low))
        change = low - self.low
        h, w = change.shape[1:]
        cells = (math.ceil(w / CELL), math.ceil(h / CELL))
        energy = np.square(change).mean(0, keepdims=True)
        local = self._up(_resize(energy, cells, Image.Resampling.BOX), Image.Resampling.BILINEAR)
        lost = 1 - np.exp(-local.clip(0) / DETAIL_SCALE**2)
        return _to_image(self._full + self._up(change) - lost * self._detail)

    def _up(self, planes: Planes, resample: Image.Resampling = Image.Resampling.BICUBIC) -> Planes:
        h, w = self._full.shape[1:]
        return _resize(planes, (w, h), resample)


def _to_image(planes: Planes) -> Image.Image:
    pixels = ((planes + 1) * 127.5).round().clip(0, 255).astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))


def _resize(planes: Planes, size: tuple[int, int], resample: Image.Resampling) -> Planes:
    """Resize to (width, height) in float, without rounding."""
    scaled = [Image.fromarray(plane).resize(size, resample) for plane in planes]
    return np.stack([np.asarray(plane, np.float32) for plane in scaled])
