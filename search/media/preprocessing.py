"""How a picture is resized to the input of a model."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from search.types import Pixels


@dataclass(frozen=True, repr=False)
class Preprocessing:
    """Fit an upright RGB picture to a model's input.

    It is plain data, so it travels to the decoding processes and the pictures come back small.

    size: height of the input in pixels, at least 1; width: the same if None.
    fit: `crop` takes the centre square, scaled to `size`; `squash` scales both sides; `between`
        is half-way: the centre, its proportions the geometric mean of the picture's and the
        input's, is squashed; `shortest` and `longest` scale that side to whole pixels and take the
        centre, the latter with `fill` (0 to 255) around it. `squash`, `shortest` and `longest` do
        as open_clip does, to the pixel.
    resample: the filter, antialiased.
    fill: a grey value, or red, green and blue.
    crop_pct: share of the scaled side that the centre crop keeps, above 0 and at most 1, as timm
        defines it: the picture is scaled to `size / crop_pct`. For the same three fits.
    """

    size: int
    fit: Literal["crop", "squash", "between", "shortest", "longest"] = "crop"
    width: int | None = None
    resample: Literal["bicubic", "bilinear"] = "bicubic"
    fill: int | tuple[int, int, int] = 0
    crop_pct: float = 1.0

    def __repr__(self) -> str:
        """Return the text that fingerprints contain. It must not change: the name is that of the
        first version, and a new field that is left at its default adds nothing."""
        own = {name: getattr(self, name) for name in ("size", "fit")}
        own |= {
            name: getattr(self, name)
            for name in ("width", "resample", "fill", "crop_pct")
            if getattr(self, name) != getattr(type(self), name)
        }
        return f"Preparation({', '.join(f'{name}={value!r}' for name, value in own.items())})"

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of the result: height, width, 3."""
        return self.size, self.width or self.size, 3

    def __call__(self, picture: Image.Image) -> Pixels:
        """Return the pixels of an RGB picture, uint8 of `shape`."""
        height, width, _ = self.shape
        filters = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
        resample = filters[self.resample]
        if self.fit == "squash":
            tall, wide = self._scaled_size()
            resized = picture.resize((wide, tall), resample)
            if (tall, wide) != (height, width):
                x0, y0 = round((wide - width) / 2), round((tall - height) / 2)
                resized = resized.crop((x0, y0, x0 + width, y0 + height))
        elif self.fit == "crop":
            side = min(picture.size)
            left, top = (picture.width - side) / 2, (picture.height - side) / 2
            box = (left, top, left + side, top + side)
            resized = picture.resize((width, height), resample, box)
        elif self.fit == "between":
            w, h = picture.size
            ratio = (w / h * width / height) ** 0.5
            x, y = (w - min(w, h * ratio)) / 2, (h - min(h, w / ratio)) / 2
            resized = picture.resize((width, height), resample, (x, y, w - x, h - y))
        else:
            resized = self._scale_and_center(picture, resample)
        return np.asarray(resized, dtype=np.uint8)

    def _scaled_size(self) -> tuple[int, int]:
        """Height and width that the picture is scaled to before the centre is cut out."""
        height, width, _ = self.shape
        return math.floor(height / self.crop_pct), math.floor(width / self.crop_pct)

    def _scale_and_center(self, picture: Image.Image, resample: Image.Resampling) -> Image.Image:
        """Scale to whole pixels, proportions unchanged; then cut or fill to the input's size."""
        height, width, _ = self.shape
        tall, wide = self._scaled_size()
        w, h = picture.size
        if self.fit == "shortest" and height == width:
            short, long = min(w, h), max(w, h)
            to = (tall, tall * long // short) if w <= h else (tall * long // short, tall)
        else:
            least = self.fit == "shortest"
            ratio = (min if least else max)(h / tall, w / wide)
            to = (max(1, round(w / ratio)), max(1, round(h / ratio)))
            resample = Image.Resampling.BICUBIC if least else resample  # as open_clip has it
        left, top = round((to[0] - width) / 2), round((to[1] - height) / 2)
        if to[0] * to[1] > 64 * width * height:  # nearly a line: scale only the part that remains
            x, y = w / to[0], h / to[1]
            box = (left * x, top * y, (left + width) * x, (top + height) * y)
            return picture.resize((width, height), resample, box)
        scaled = picture.resize(to, resample)
        if self.fit == "shortest":
            return scaled.crop((left, top, left + width, top + height))
        color = (self.fill,) * 3 if isinstance(self.fill, int) else tuple(self.fill)
        resized = Image.new("RGB", (width, height), color)
        resized.paste(scaled, ((width - to[0]) // 2, (height - to[1]) // 2))
        return resized
