"""A picture in two bands: what a small model works on, and the fine detail that is beyond it."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Planes = NDArray[np.float32]
"""(C, H, W)."""

SLIMMEST = 4.0  # times as long as wide; what is slimmer is squeezed to that
CHANGED = 0.3  # root mean square change, in -1..1, at which 1 / e of the detail is left
NEIGHBOURS = 4  # pixels of the low band a side that are one place of the change


def low_size(width: int, height: int, side: int, multiple: int) -> tuple[int, int]:
    """Width and height of the low band of a picture: about side^2 pixels in its own shape, each a
    multiple of what the network takes."""
    slim = min(max(math.sqrt(width / height), SLIMMEST**-0.5), SLIMMEST**0.5)
    w, h = (max(1, round(length / multiple)) * multiple for length in (side * slim, side / slim))
    return w, h


class Bands:
    """The bands of one picture.

    low: (3, h, w) float32 in -1..1, what a model varies.
    """

    def __init__(self, picture: Image.Image, side: int, multiple: int) -> None:
        """picture: RGB, in the size that is to come out. side, multiple: as `low_size`."""
        self._full = np.asarray(picture, np.float32).transpose(2, 0, 1) / 127.5 - 1
        low = low_size(picture.width, picture.height, side, multiple)
        self.low = _resized(self._full, low, Image.Resampling.LANCZOS).clip(-1, 1)
        self._detail = self._full - self._up(self.low)

    def over(self, low: Planes, detail: bool = True) -> Image.Image:
        """A variant of the low band, (3, h, w) in -1..1, as a picture in full size: the detail
        comes back in proportion to how little was changed there, and all of it where nothing was.

        detail: False for a variant that owes the picture nothing.
        """
        if not detail:
            return _picture(self._up(low))
        change = low - self.low
        h, w = change.shape[1:]
        places = (math.ceil(w / NEIGHBOURS), math.ceil(h / NEIGHBOURS))
        energy = np.square(change).mean(0, keepdims=True)
        local = self._up(_resized(energy, places, Image.Resampling.BOX), Image.Resampling.BILINEAR)
        lost = 1 - np.exp(-local.clip(0) / CHANGED**2)
        return _picture(self._full + self._up(change) - lost * self._detail)

    def _up(self, planes: Planes, resample: Image.Resampling = Image.Resampling.BICUBIC) -> Planes:
        h, w = self._full.shape[1:]
        return _resized(planes, (w, h), resample)


def _picture(planes: Planes) -> Image.Image:
    pixels = ((planes + 1) * 127.5).round().clip(0, 255).astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))


def _resized(planes: Planes, size: tuple[int, int], resample: Image.Resampling) -> Planes:
    """To a width and height, without rounding."""
    scaled = [Image.fromarray(plane).resize(size, resample) for plane in planes]
    return np.stack([np.asarray(plane, np.float32) for plane in scaled])
