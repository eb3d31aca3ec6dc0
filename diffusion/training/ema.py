"""Moving averages of the weights. Samples are drawn from them.

Power function averages can also be computed afterwards, at any width, from snapshots of two of
them (Karras et al. 2024, arXiv:2312.02696, section 3.1 and appendix C).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from diffusion.errors import ConfigError

MAX_WIDTH = 0.28  # the width of the flattest power function, gamma = 0, is 12^-1/2


def power(width: float) -> Callable[[int], float]:
    """Decay of the power function average, whose memory grows with the run.

    width: standard deviation of its profile as a share of the run, such as 0.1. Returns a function
    of the step, from 0, that gives the decay (arXiv:2312.02696, eq. 127).
    """
    exponent = gamma(width)
    return lambda step: (1 - 1 / (step + 1)) ** (exponent + 1)


def gamma(width: float) -> float:
    """Exponent of the power function whose profile has a width (arXiv:2312.02696, eq. 123)."""
    t = width**-2
    return float(np.roots([1, 7, 16 - t, 12 - t]).real.max())


def constant(decay: float, after: int = 0) -> Callable[[int], float]:
    """The same decay at every step; up to step `after` the average is a copy."""
    return lambda step: decay if step >= after else 0.0


def parse_decay(kind: str) -> Callable[[int], float]:
    """The decay of `power:WIDTH`, or of `constant:DECAY` (as in the article, which copies the
    weights for 2000 steps). Raises ConfigError."""
    name, _, number = kind.partition(":")
    try:
        value = float(number)
        if name == "power" and 0 < value < MAX_WIDTH:
            return power(value)
        if name == "constant" and 0 <= value < 1:
            return constant(value, after=2000)
    except ValueError:
        pass
    raise ConfigError(f"average {kind!r}: give for example power:0.1 or constant:0.995")


class Average:
    """Weights averaged over the steps, in float32, by name. kind: as `parse_decay` has it."""

    def __init__(self, net: nn.Module, kind: str) -> None:
        self.kind, self._decay = kind, parse_decay(kind)
        self.weights = {name: p.detach().float().clone() for name, p in net.named_parameters()}

    @torch.no_grad()
    def update(self, net: nn.Module, step: int) -> None:
        """Take in the weights after step `step`, counted from 0."""
        share = 1 - self._decay(step)
        new: list[Tensor] = [p.detach().float() for _, p in net.named_parameters()]
        torch._foreach_lerp_(list(self.weights.values()), new, share)


@dataclass(frozen=True)
class Snapshot:
    """A power function average at a step. weights: by name."""

    step: int
    width: float
    weights: dict[str, Tensor]


def combine(snapshots: Sequence[Snapshot], width: float) -> dict[str, Tensor]:
    """The average of a width at the last of the snapshots' steps, by least squares over their
    profiles (arXiv:2312.02696, appendix C.2). Weights in float32. Raises ConfigError."""
    if not 0 < width < MAX_WIDTH:
        raise ConfigError(f"width {width}: give a number between 0 and {MAX_WIDTH}")
    if len({one.width for one in snapshots}) < 2:
        raise ConfigError("give snapshots of averages of at least two widths")
    last = max(one.step for one in snapshots)
    known = [(one.step / last, gamma(one.width)) for one in snapshots]
    gram = np.array([[_inner(a, b) for b in known] for a in known])
    target = np.array([_inner(a, (1.0, gamma(width))) for a in known])
    shares = np.linalg.lstsq(gram, target, rcond=1e-12)[0]
    return {
        name: sum(
            (
                float(share) * one.weights[name].float()
                for share, one in zip(shares, snapshots, strict=True)
            ),
            torch.zeros(()),
        )
        for name in snapshots[0].weights
    }


def _inner(a: tuple[float, float], b: tuple[float, float]) -> float:
    """The integral of the product of two profiles, (g + 1) / t^(g + 1) x^g on 0..t each, given as
    (t, g)."""
    (s, g), (t, h) = a, b
    low = min(s, t)
    scale = (g + 1) * (h + 1) / (g + h + 1)
    return float(scale * (low / s) ** g * (low / t) ** h * low / (s * t))
