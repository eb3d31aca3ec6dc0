"""Samplers: generators of states from noise to a picture; and the grids of sigmas they walk.

All walk sigmas downwards in x = x_0 + sigma eps, from any sigma, to 0. A loop over one of them is
the whole interface: it can look at each state, and stop.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from diffusion.errors import ConfigError
from diffusion.model.denoiser import Denoise
from diffusion.model.schedule import Noise, Steps

Normal = Callable[[], Tensor]

LAST, FEW = 0.1, 15
"""Of continuous noise, the sigma from which one step of at most so many leads to the picture: below
it a small model adds specks, and few steps are worth more above it (scripts/try_samplers.py). With
the square of more steps it falls, so that many are exact."""


@dataclass(frozen=True)
class State:
    """One state of a sampler: step of steps (from 1), its sigma, the pictures x at it, and the x_0
    that was expected from the state before; both (B, C, H, W)."""

    step: int
    steps: int
    sigma: float
    x: Tensor
    x0: Tensor


def normals(seeds: Sequence[int], shape: Sequence[int], device: str = "cpu") -> Normal:
    """A source of standard normal (B, *shape) tensors, each sample with a seed of its own.

    A sample gets the same numbers alone or among others, on every device. seeds: 64 bits.
    """
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def normal() -> Tensor:
        return torch.stack([torch.randn(*shape, generator=g) for g in generators]).to(device)

    return normal


def karras(start: float, steps: int, lowest: float = 0.002, rho: float = 7.0) -> list[float]:
    """steps + 1 sigmas from `start` to 0, close where it matters (Karras et al. 2022, eq. 5).

    From twice the lowest or less there is one step.
    """
    if steps < 1 or not lowest > 0:
        raise ConfigError(f"{steps} steps down to sigma {lowest}: give at least 1, and above 0")
    if start <= 2 * lowest:
        return [start, 0.0]
    ends = start ** (1 / rho), lowest ** (1 / rho)
    shares = [i / (steps - 1) if steps > 1 else 0.0 for i in range(steps)]
    return [start, *((ends[0] + s * (ends[1] - ends[0])) ** rho for s in shares[1:]), 0.0]


def trailing(noise: Steps, steps: int, start: float | None = None) -> list[float]:
    """Sigmas of evenly spaced steps of a schedule, its last among them, then 0 (Lin et al. 2024).

    start: begins at this sigma instead, over the part of the schedule below it.
    """
    total = len(noise.betas)
    if start is not None and start < noise.highest:
        total = max(1, int(torch.searchsorted(noise.sigmas, start, right=True)))
    if not 1 <= steps or (start is None and steps > total):
        raise ConfigError(f"{steps} steps of {total}: give 1 to {total}")
    steps = min(steps, total)
    at = [round(total - i * total / steps) - 1 for i in range(steps)]
    chosen = [min(float(noise.sigmas[t]), noise.highest) for t in at]
    return [*chosen, 0.0] if start is None else [min(start, noise.highest), *chosen[1:], 0.0]


def grid(noise: Noise, steps: int, start: float | None = None) -> list[float]:
    """The sigmas to walk from `start` (default: pure noise) down: `trailing` of a schedule, else
    `karras` down to LAST, or lower in more than FEW steps."""
    if start is not None and not start > 0:
        raise ConfigError(f"a start from sigma {start}: give a number above 0")
    if isinstance(noise, Steps):
        return trailing(noise, steps, start)
    last = max(noise.lowest, LAST * (FEW / max(FEW, steps)) ** 2)
    return karras(noise.highest if start is None else min(start, noise.highest), steps, last)


def _pairs(sigmas: Sequence[float]) -> Iterator[tuple[int, float, float]]:
    yield from ((i, a, b) for i, (a, b) in enumerate(zip(sigmas, sigmas[1:], strict=False), 1))


def ancestral(
    denoise: Denoise,
    x: Tensor,
    sigmas: Sequence[float],
    normal: Normal,
    variance: str = "posterior",
) -> Iterator[State]:
    """Algorithm 2 of Ho et al. 2020; over all sigmas of a schedule it is that algorithm exactly.

    variance: of a step from sigma t to s, `posterior` s^2 (t^2 - s^2) / t^2, or `beta`
    (t^2 - s^2) (1 + s^2) / (1 + t^2); each is the paper's, over alpha_bar_s. The last adds none.
    """
    if variance not in ("posterior", "beta"):
        raise ConfigError(f"variance {variance!r}: give posterior or beta")
    for i, t, s in _pairs(sigmas):
        x0 = denoise(x, t)
        x = x0 + (s / t) ** 2 * (x - x0)
        if s:
            fresh = t**2 - s**2
            added = fresh * ((s / t) ** 2 if variance == "posterior" else (1 + s**2) / (1 + t**2))
            x = x + math.sqrt(added) * normal()
        yield State(i, len(sigmas) - 1, s, x, x0)


def ddim(
    denoise: Denoise,
    x: Tensor,
    sigmas: Sequence[float],
    normal: Normal | None = None,
    eta: float = 0.0,
) -> Iterator[State]:
    """DDIM (Song et al. 2021, arXiv:2010.02502, eq. 12 and 16); eta = 0 is Euler's method on the
    probability flow, eta = 1 is `ancestral`. normal: needed unless eta is 0."""
    if not 0 <= eta <= 1 or (eta and normal is None):
        raise ConfigError(f"eta {eta}: give 0 to 1, and above 0 a source of noise")
    for i, t, s in _pairs(sigmas):
        x0 = denoise(x, t)
        fresh = eta * s / t * math.sqrt(t**2 - s**2)
        x = x0 + math.sqrt(s**2 - fresh**2) / t * (x - x0)
        if fresh and normal is not None:
            x = x + fresh * normal()
        yield State(i, len(sigmas) - 1, s, x, x0)


def heun(denoise: Denoise, x: Tensor, sigmas: Sequence[float]) -> Iterator[State]:
    """Heun's method on dx/dsigma = (x - D) / sigma (Karras et al. 2022, algorithm 1): two passes a
    step but for the last."""
    for i, t, s in _pairs(sigmas):
        x0 = denoise(x, t)
        slope = (x - x0) / t
        there = x + (s - t) * slope
        if s:
            slope = (slope + (there - denoise(there, s)) / s) / 2
            there = x + (s - t) * slope
        x = there
        yield State(i, len(sigmas) - 1, s, x, x0)


def dpmpp_2m(denoise: Denoise, x: Tensor, sigmas: Sequence[float]) -> Iterator[State]:
    """DPM-Solver++(2M) (Lu et al. 2022, arXiv:2211.01095, algorithm 2): second order, one pass a
    step; the first step, and one to 0, are of first order."""
    before, width = None, 0.0
    for i, t, s in _pairs(sigmas):
        x0 = denoise(x, t)
        guess = x0
        if s:
            h = math.log(t / s)
            if before is not None:
                guess = x0 + h / (2 * width) * (x0 - before)
            before, width = x0, h
        x = guess + s / t * (x - guess)
        yield State(i, len(sigmas) - 1, s, x, x0)


SAMPLERS: dict[str, Callable[..., Iterator[State]]] = {
    "ancestral": lambda denoise, x, sigmas, normal: ancestral(denoise, x, sigmas, normal),
    "ddim": lambda denoise, x, sigmas, normal: ddim(denoise, x, sigmas),
    "heun": lambda denoise, x, sigmas, normal: heun(denoise, x, sigmas),
    "dpmpp_2m": lambda denoise, x, sigmas, normal: dpmpp_2m(denoise, x, sigmas),
}
