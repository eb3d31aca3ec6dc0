"""A picture as a model varies it: what goes into the network, and pictures from what comes out.

`PixelCanvas` is for models on pixels, which work on a small copy (`diffusion.sampling.bands`);
`LatentCanvas` for models on latents, which work on the whole picture. Long work is done in pieces,
so that a caller may do something else between two of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from diffusion.data import to_bytes, to_unit
from diffusion.model.autoencoder import DOWN
from diffusion.model.denoiser import Denoiser
from diffusion.sampling.bands import Bands


class Canvas(Protocol):
    """One picture before a model. x: (C, h, w) float32, what the model varies."""

    x: Tensor

    def preview(self, x: Tensor) -> Image.Image:
        """A quick and rough picture of a variant of x, in the size of the picture."""
        ...

    def render(self, x: Tensor, detail: bool = True) -> Iterator[Image.Image | None]:
        """The picture of a variant of x, at last; None between the pieces of work before. detail:
        False for a variant that owes the picture nothing."""
        ...


class PixelCanvas:
    """See `Canvas`. x is a small copy of the picture; its fine detail comes back."""

    def __init__(self, model: Denoiser, picture: Image.Image) -> None:
        self._bands = Bands(picture, model.config.size, model.config.multiple)
        self.x = torch.from_numpy(self._bands.low)

    def preview(self, x: Tensor) -> Image.Image:
        """See `Canvas`."""
        return self._bands.over(x.clamp(-1, 1).cpu().numpy())

    def render(self, x: Tensor, detail: bool = True) -> Iterator[Image.Image | None]:
        """See `Canvas`."""
        yield self._bands.over(x.clamp(-1, 1).cpu().numpy(), detail)


class LatentCanvas:
    """See `Canvas`. x are the normalized latents of the picture, which is continued by its mirror
    image to sides that the network takes."""

    def __init__(
        self, model: Denoiser, picture: Image.Image, x: Tensor, size: tuple[int, int]
    ) -> None:
        """picture: continued to sides that the network takes. x: its latents, normalized. size: of
        the pictures that come out, width and height."""
        self._model, self._size, self.x = model, size, x
        height, width = x.shape[-2:]
        low = np.asarray(picture.resize((width, height), Image.Resampling.BOX), np.float32)
        rows = _places(x)
        # by ridge regression, the colors of this picture from its own latents
        gram = rows.T @ rows + 1e-2 * len(rows) * torch.eye(rows.shape[1])
        self._colors = torch.linalg.solve(gram, rows.T @ torch.from_numpy(low).reshape(-1, 3))

    def preview(self, x: Tensor) -> Image.Image:
        """See `Canvas`. Each place of the latents becomes one color."""
        height, width = x.shape[-2:]
        colors = (_places(x) @ self._colors).round().clamp(0, 255).to(torch.uint8)
        small = Image.fromarray(colors.reshape(height, width, 3).numpy())
        large = small.resize((width * DOWN, height * DOWN), Image.Resampling.BICUBIC)
        return large.crop((0, 0, *self._size))

    def render(self, x: Tensor, detail: bool = True) -> Iterator[Image.Image | None]:
        """See `Canvas`. The autoencoder brings all of the detail, so `detail` changes nothing."""
        decoded = x[None]
        for stage in self._model.decode_stages(decoded):
            decoded = stage
            yield None
        pixels = to_bytes(decoded[0].cpu()).permute(1, 2, 0).contiguous().numpy()
        yield Image.fromarray(pixels).crop((0, 0, *self._size))


def make_canvas(model: Denoiser, picture: Image.Image) -> Iterator[Canvas | None]:
    """The canvas of an RGB picture in the size that is to come out, at last; None between the
    pieces of work before."""
    if model.config.space == "pixels":
        yield PixelCanvas(model, picture)
        return
    padded = _padded(picture, model.config.multiple)
    x = to_unit(torch.from_numpy(np.array(padded)).permute(2, 0, 1)[None])
    for stage in model.encode_stages(x.to(next(model.parameters()).device)):
        x = stage
        yield None
    yield LatentCanvas(model, padded, x[0], picture.size)


def _places(x: Tensor) -> Tensor:
    """(C, h, w) -> (h w, C + 1): the channels of each place, and a one for the intercept."""
    rows = x.flatten(1).T.float().cpu()
    return torch.cat([rows, torch.ones(len(rows), 1)], dim=1)


def _padded(picture: Image.Image, multiple: int) -> Image.Image:
    """The picture, continued to the right and below by its mirror image to multiples of a side."""
    right, below = (-side % multiple for side in picture.size)
    array = np.pad(np.asarray(picture), ((0, below), (0, right), (0, 0)), mode="symmetric")
    return Image.fromarray(array)
