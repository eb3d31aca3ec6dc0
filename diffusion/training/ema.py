"""A moving average of the weights, which is what gets sampled from."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from diffusion.errors import ConfigError


def power(width: float) -> Callable[[int], float]:
    """Decay of the power-function average, whose memory grows with the run.

    width: its standard deviation as a share of the run, such as 0.1 (Karras et al. 2024,
    arXiv:2312.02696, eq. 123 to 127). Returns step (from 0) -> decay.
    """
    t = width**-2
    gamma = float(np.roots([1, 7, 16 - t, 12 - t]).real.max())
    return lambda step: (1 - 1 / (step + 1)) ** (gamma + 1)


def constant(decay: float, after: int = 0) -> Callable[[int], float]:
    """Always the same decay; up to step `after` the average is a copy."""
    return lambda step: decay if step >= after else 0.0


def decay(spelled: str) -> Callable[[int], float]:
    """`power:WIDTH` or `constant:DECAY` (as the article, which copies for 2000 steps).

    Raises ConfigError.
    """
    kind, _, number = spelled.partition(":")
    try:
        value = float(number)
        if kind == "power" and 0 < value < 0.28:
            return power(value)
        if kind == "constant" and 0 <= value < 1:
            return constant(value, after=2000)
    except ValueError:
        pass
    raise ConfigError(f"average {spelled!r}: give power:0.1 or constant:0.995, say")


class Average:
    """Weights averaged over the steps, in float32, by name."""

    def __init__(self, net: nn.Module, spelled: str) -> None:
        self._decay = decay(spelled)
        self.weights = {name: p.detach().float().clone() for name, p in net.named_parameters()}

    @torch.no_grad()
    def update(self, net: nn.Module, step: int) -> None:
        """Take in the weights after step `step`, counted from 0."""
        share = 1 - self._decay(step)
        new: list[Tensor] = [p.detach().float() for _, p in net.named_parameters()]
        torch._foreach_lerp_(list(self.weights.values()), new, share)
