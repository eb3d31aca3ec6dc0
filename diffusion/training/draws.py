"""Random numbers of a batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Draws:
    """Random numbers for the pictures of a batch. They are drawn for all of its `total` pictures.
    So processes that share a batch draw the same numbers, and each takes its part."""

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
        numbers = function(
            (self.total, *shape),
            generator=self.generator,
            device=self.generator.device,
            dtype=dtype,
        )
        return numbers[self.part]
