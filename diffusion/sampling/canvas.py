"""Conversion between a picture and the tensor that a model varies.

`PixelCanvas` is for models on pixels, which vary a small copy (`diffusion.sampling.bands`).
`LatentCanvas` is for models on latents, which vary the whole picture. Long work yields after each
piece, so that the caller can do other work in between.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from diffusion.data import to_bytes, to_unit
from diffusion.model.autoencoder import DOWNSAMPLING
from diffusion.model.denoiser import Denoiser
from diffusion.sampling.bands import Bands


class Canvas(Protocol):
    """One picture for a model. x: (C, h, w) float32, the tensor that the model varies."""

    x: Tensor

    def preview(self, x: Tensor) -> Image.Image:
        """Return a quick, rough picture of a variant of x, (C, h, w), in the picture's size."""
        ...

    def render(self, x: Tensor, detail: bool = True) -> Iterator[Image.Image | None]:
        """Render a variant of x, (C, h, w): yields None after each piece of work, last the picture.

        detail: False for a variant that keeps nothing of the picture.
        """
        ...


class PixelCanvas:
    """See `Canvas`. x is a small copy of the picture; `render` adds its fine detail again."""

    def __init__(self, model: Denoiser, picture: Image.Image) -> None:
        self._bands = Bands(picture, model.config.size, model.config.multiple)
        self.x = torch.from_numpy(self._bands.low)

    def preview(self, x: Tensor) -> Image.Image:
        """See `Canvas`."""
        return self._bands.merge(x.clamp(-1, 1).cpu().numpy())

    def render(self, x: Tensor, detail: bool = True) -> Iterator[Image.Image | None]:
        """See `Canvas`."""
        yield self._bands.merge(x.clamp(-1, 1).cpu().numpy(), detail)


class LatentCanvas:
    """See `Canvas`. x are the normalized latents of the picture after padding."""

    def __init__(
        self, model: Denoiser, picture: Image.Image, x: Tensor, size: tuple[int, int]
    ) -> None:
        """picture: padded to sides that the network takes. x: its normalized latents.
        size: width and height of the rendered pictures."""
        self._model, self._size, self.x = model, size, x
        height, width = x.shape[-2:]
        low = np.asarray(picture.resize((width, height), Image.Resampling.BOX), np.float32)
        rows = _flatten_latents(x)
        # ridge regression from the latents of this picture to its colors, for cheap previews
        gram = rows.T @ rows + 1e-2 * len(rows) * torch.eye(rows.shape[1])
        self._colors = torch.linalg.solve(gram, rows.T @ torch.from_numpy(low).reshape(-1, 3))

    def preview(self, x: Tensor) -> Image.Image:
        """See `Canvas`. Each position of the latents becomes one color."""
        height, width = x.shape[-2:]
        colors = (_flatten_latents(x) @ self._colors).round().clamp(0, 255).to(torch.uint8)
        small = Image.fromarray(colors.reshape(height, width, 3).numpy())
        large = small.resize(
            (width * DOWNSAMPLING, height * DOWNSAMPLING), Image.Resampling.BICUBIC
        )
        return large.crop((0, 0, *self._size))

    def render(self, x: Tensor, detail: bool = True) -> Iterator[Image.Image | None]:
        """See `Canvas`. The autoencoder decodes all detail, so `detail` has no effect."""
        decoded = x[None]
        for stage in self._model.decode_stages(decoded):
            decoded = stage
            yield None
        pixels = to_bytes(decoded[0].cpu()).permute(1, 2, 0).contiguous().numpy()
        yield Image.fromarray(pixels).crop((0, 0, *self._size))


def make_canvas(model: Denoiser, picture: Image.Image) -> Iterator[Canvas | None]:
    """Make the canvas of a picture: yields None after each piece of work, last the canvas.

    picture: RGB, in the size of the variants.
    """
    if model.config.space == "pixels":
        yield PixelCanvas(model, picture)
        return
    padded = pad_by_mirror(picture, model.config.multiple)
    x = to_unit(torch.from_numpy(np.array(padded)).permute(2, 0, 1)[None])
    for stage in model.encode_stages(x.to(next(model.parameters()).device)):
        x = stage
        yield None
    yield LatentCanvas(model, padded, x[0], picture.size)


def _flatten_latents(x: Tensor) -> Tensor:
    """(C, h, w) -> (h w, C + 1): the channels of each position, and a 1 for the intercept."""
    rows = x.flatten(1).T.float().cpu()
    return torch.cat([rows, torch.ones(len(rows), 1)], dim=1)


def pad_by_mirror(picture: Image.Image, multiple: int) -> Image.Image:
    """Pad a picture on the right and below by its mirror image to multiples of a side."""
    right, below = (-side % multiple for side in picture.size)
    array = np.asarray(picture)
    widths = ((0, below), (0, right), (0, 0))[: array.ndim]
    array = np.pad(array, widths, mode="symmetric")
    return Image.fromarray(array)
