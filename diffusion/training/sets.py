"""Sets of pictures in the form that a trainer takes them: pixels, or latents of crops."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from diffusion.data import to_unit
from diffusion.training.augment import augment
from diffusion.training.draws import Draws


@dataclass(frozen=True)
class Examples:
    """Some pictures of a set. x0: (B, C, H, W) float32. condition: (B,) classes, (B, D) vectors or
    None. size, augmentation: (B,) and (B, 9) as `UNet.forward` has them, or None."""

    x0: Tensor
    condition: Tensor | None
    size: Tensor | None = None
    augmentation: Tensor | None = None


class TrainingSet(Protocol):
    """Pictures to train on. shape: channels, height and width of one example. conditions: (N,)
    classes, (N, D) vectors, or None."""

    shape: tuple[int, int, int]
    conditions: Tensor | None

    def __len__(self) -> int: ...

    @property
    def device(self) -> torch.device:
        """Where its tensors are. The places for `take` must be there too."""
        ...

    def take(self, places: Tensor, draws: Draws | None) -> Examples:
        """The pictures at (B,) places, each augmented by its own random numbers; not augmented
        without any."""
        ...


class PixelSet:
    """Square pictures, perhaps cropped, mirrored or transformed at random.

    images: (M, 3, S, S) uint8. conditions: (N,) classes, (N, D) vectors, or None. crop: pixels a
    side of a random crop; None for the whole picture. augment: as in `Recipe`. rows: (N,) places of
    the set's pictures in `images`; None for all.
    """

    def __init__(
        self,
        images: Tensor,
        conditions: Tensor | None,
        flip: bool = True,
        crop: int | None = None,
        augment: float = 0.0,
        rows: Tensor | None = None,
    ) -> None:
        self._rows = _all_rows(len(images), rows).to(images.device)
        self.images, self.flip, self.augment = images, flip, augment
        self.crop = int(images.shape[-1]) if crop is None else crop
        self.conditions = None if conditions is None else conditions.to(images.device)
        self.shape = (int(images.shape[1]), self.crop, self.crop)

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def device(self) -> torch.device:
        return self.images.device

    def take(self, places: Tensor, draws: Draws | None) -> Examples:
        """See `TrainingSet.take`. x0 is in -1..1."""
        x0 = to_unit(self._cropped(self.images[self._rows[places]], draws))
        labels = None
        if self.flip and draws is not None:
            flips = (draws.uniform().to(self.device) < 0.5)[:, None, None, None]
            x0 = torch.where(flips, x0.flip(-1), x0)
        if self.augment and draws is not None:
            x0, labels = augment(x0, draws, self.augment)
        condition = None if self.conditions is None else self.conditions[places]
        return Examples(x0, condition, augmentation=labels)

    def _cropped(self, images: Tensor, draws: Draws | None) -> Tensor:
        """Random crops, or those in the middle."""
        spare, span = images.shape[-1] - self.crop, torch.arange(self.crop, device=self.device)
        if not spare:
            return images
        if draws is None:
            edge = spare // 2
            return images[..., edge : edge + self.crop, edge : edge + self.crop]
        top, left = ((draws.uniform() * (spare + 1)).long().to(self.device) for _ in range(2))
        rows = (top[:, None] + span)[:, None, :, None]
        columns = (left[:, None] + span)[:, None, None, :]
        places = torch.arange(len(images), device=self.device)[:, None, None, None]
        channels = torch.arange(images.shape[1], device=self.device)[None, :, None, None]
        return images[places, channels, rows, columns]


class LatentSet:
    """Random crops of latents, each picture in several versions (`diffusion.training.latents`).

    codes: (M, V, h, w, C) float16. sizes: (M, V) short sides of the whole pictures, in places of
    the latents. conditions: (N,) classes, (N, D) vectors of the whole pictures, or None. crop:
    places a side of a crop. jitter: as in `Recipe`. mean, std: (C,), to normalize the codes; None
    when they are normalized. rows: (N,) places of the set's pictures in `codes`; None for all.
    """

    def __init__(
        self,
        codes: Tensor,
        sizes: Tensor,
        conditions: Tensor | None,
        crop: int,
        jitter: float = 0.0,
        mean: Tensor | None = None,
        std: Tensor | None = None,
        rows: Tensor | None = None,
    ) -> None:
        self._rows = _all_rows(len(codes), rows).to(codes.device)
        self.codes, self.sizes, self.crop, self.jitter = codes, sizes, crop, jitter
        self.conditions = None if conditions is None else conditions.to(codes.device)
        self._mean, self._std = mean, std
        self.shape = (int(codes.shape[-1]), crop, crop)

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def device(self) -> torch.device:
        return self.codes.device

    def take(self, places: Tensor, draws: Draws | None) -> Examples:
        """See `TrainingSet.take`. Without random numbers: the middle of the first version."""
        _, versions, height, width, _ = self.codes.shape
        version = self._draw(draws, versions, len(places), 0)
        rows = self._draw(draws, height - self.crop + 1, len(places), (height - self.crop) // 2)
        columns = self._draw(draws, width - self.crop + 1, len(places), (width - self.crop) // 2)
        span = torch.arange(self.crop, device=self.device)
        at = self._rows[places]
        codes = self.codes[
            at[:, None, None],
            version[:, None, None],
            rows[:, None, None] + span[:, None],
            columns[:, None, None] + span,
        ].float()
        if self._mean is not None and self._std is not None:
            codes = (codes - self._mean.to(self.device)) / self._std.to(self.device)
        condition = None if self.conditions is None else self.conditions[places]
        if condition is not None and condition.ndim == 2:
            condition = condition.float()
            if self.jitter and draws is not None:
                width = condition.shape[1]
                noise = draws.normal(width).to(self.device) * (self.jitter / width**0.5)
                condition = torch.nn.functional.normalize(condition + noise, dim=1)
        return Examples(codes.permute(0, 3, 1, 2), condition, self.sizes[at, version])

    def _draw(self, draws: Draws | None, count: int, batch: int, default: int) -> Tensor:
        """(B,) whole numbers below `count`."""
        if draws is None:
            return torch.full((batch,), default, device=self.device)
        return (draws.uniform() * count).long().to(self.device)


def _all_rows(count: int, rows: Tensor | None) -> Tensor:
    return torch.arange(count) if rows is None else rows
