"""Sets of pictures in the form that a trainer takes them: pixels, or latents of crops."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from diffusion.data import to_unit


@dataclass(frozen=True)
class Draws:
    """Random numbers for the pictures of a batch. They are drawn for all of its `total` pictures,
    so that processes that share a batch draw the same ones, and each takes its part."""

    generator: torch.Generator
    total: int
    part: slice

    def uniform(self) -> Tensor:
        """(B,) float64 numbers in [0, 1)."""
        return self._draw(torch.rand, (), torch.float64)

    def normal(self, *shape: int) -> Tensor:
        """(B, *shape) float32 standard normal numbers."""
        return self._draw(torch.randn, shape, torch.float32)

    def _draw(
        self, function: Callable[..., Tensor], shape: tuple[int, ...], dtype: torch.dtype
    ) -> Tensor:
        drawn = function(
            (self.total, *shape),
            generator=self.generator,
            device=self.generator.device,
            dtype=dtype,
        )
        return drawn[self.part]


@dataclass(frozen=True)
class Examples:
    """Some pictures of a set. x0: (B, C, H, W) float32. condition: (B,) classes, (B, D) vectors or
    None. size: (B,) as `UNet.forward` has it, or None."""

    x0: Tensor
    condition: Tensor | None
    size: Tensor | None = None


class TrainingSet(Protocol):
    """Pictures to train on. shape: channels, height and width of one example."""

    shape: tuple[int, int, int]

    def __len__(self) -> int: ...

    @property
    def device(self) -> torch.device:
        """Where its tensors are; the places that `take` gets are there too."""
        ...

    def take(self, places: Tensor, draws: Draws) -> Examples:
        """The pictures at (B,) places, each augmented by its own random numbers."""
        ...


class PixelSet:
    """Square pictures as they are, half of them mirrored.

    images: (N, 3, S, S) uint8. conditions: (N,) classes, (N, D) vectors, or None.
    """

    def __init__(self, images: Tensor, conditions: Tensor | None, flip: bool = True) -> None:
        self.images, self.flip = images, flip
        self.conditions = None if conditions is None else conditions.to(images.device)
        self.shape = (int(images.shape[1]), int(images.shape[2]), int(images.shape[3]))

    def __len__(self) -> int:
        return len(self.images)

    @property
    def device(self) -> torch.device:
        return self.images.device

    def take(self, places: Tensor, draws: Draws) -> Examples:
        """See `TrainingSet.take`. x0 is in -1..1."""
        x0 = to_unit(self.images[places])
        if self.flip:
            flips = (draws.uniform().to(self.device) < 0.5)[:, None, None, None]
            x0 = torch.where(flips, x0.flip(-1), x0)
        return Examples(x0, None if self.conditions is None else self.conditions[places])


class LatentSet:
    """Random crops of latents, each picture in several versions (`diffusion.training.latents`).

    codes: (N, V, h, w, C) float16, normalized per channel. sizes: (N, V) short sides of the whole
    pictures, in places of the latents. vectors: (N, D) of the whole pictures, or None. crop: places
    a side of a crop. jitter: standard deviation of the noise that is added to a unit vector, over
    its whole length.
    """

    def __init__(
        self,
        codes: Tensor,
        sizes: Tensor,
        vectors: Tensor | None,
        crop: int,
        jitter: float = 0.0,
    ) -> None:
        self.codes, self.sizes, self.vectors = codes, sizes, vectors
        self.crop, self.jitter = crop, jitter
        self.shape = (int(codes.shape[-1]), crop, crop)

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def device(self) -> torch.device:
        return self.codes.device

    def take(self, places: Tensor, draws: Draws) -> Examples:
        """See `TrainingSet.take`."""
        _, versions, height, width, _ = self.codes.shape
        version = (draws.uniform() * versions).long().to(self.device)
        rows = (draws.uniform() * (height - self.crop + 1)).long().to(self.device)
        columns = (draws.uniform() * (width - self.crop + 1)).long().to(self.device)
        span = torch.arange(self.crop, device=self.device)
        codes = self.codes[
            places[:, None, None],
            version[:, None, None],
            rows[:, None, None] + span[:, None],
            columns[:, None, None] + span,
        ]
        condition = None
        if self.vectors is not None:
            condition = self.vectors[places].float()
            if self.jitter:
                width = condition.shape[1]
                noise = draws.normal(width).to(self.device) * (self.jitter / width**0.5)
                condition = torch.nn.functional.normalize(condition + noise, dim=1)
        return Examples(codes.float().permute(0, 3, 1, 2), condition, self.sizes[places, version])
