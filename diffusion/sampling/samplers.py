"""Samplers, and the sequences of noise levels that they go through.

A sampler is a generator of states. It goes through descending sigmas to 0, with
x = x_0 + sigma eps. The caller loops over the states, and may stop at any of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from diffusion.errors import ConfigError
from diffusion.model.denoiser import DenoiseFunction
from diffusion.model.schedule import DiscreteSchedule, NoiseSchedule

NoiseSource = Callable[[], Tensor]

"""Returns standard normal noise of a fixed shape, new at each call."""

LAST_SIGMA, FEW_STEPS = 0.1, 15
"""Last sigma above 0 under a continuous schedule, for up to FEW_STEPS steps. Below it a small model
adds specks, and few steps are better spent above it. With more steps it
falls by their square, so that many steps converge to the exact solution."""


@dataclass(frozen=True)
class State:
    """State of a sampler after a step.

    step: from 1 to steps. sigma: noise level after the step. x: (B, C, H, W) at that noise level.
    x0: (B, C, H, W), the x_0 that was expected before the step.
    """

    step: int
    steps: int
    sigma: float
    x: Tensor
    x0: Tensor


def seeded_noise(seeds: Sequence[int], shape: Sequence[int], device: str = "cpu") -> NoiseSource:
    """Make a source of standard normal (B, *shape) tensors, with one seed for each sample.

    A sample gets the same numbers in any batch and on every device. seeds: B seeds of 64 bits.
    """
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def normal() -> Tensor:
        return torch.stack([torch.randn(*shape, generator=g) for g in generators]).to(device)

    return normal


def karras_sigmas(start: float, steps: int, lowest: float = 0.002, rho: float = 7.0) -> list[float]:
    """Return steps + 1 sigmas from `start` to 0, denser at low noise (Karras et al. 2022, eq. 5).

    lowest: last sigma above 0. rho: how dense they are at low noise. A start of at most twice
    `lowest` gives a single step. Raises ConfigError.
    """
    if steps < 1 or not lowest > 0:
        raise ConfigError(
            f"steps is {steps} and the last sigma is {lowest}; give at least 1 step, and a sigma "
            "above 0"
        )
    if start <= 2 * lowest:
        return [start, 0.0]
    ends = start ** (1 / rho), lowest ** (1 / rho)
    shares = [i / (steps - 1) if steps > 1 else 0.0 for i in range(steps)]
    return [start, *((ends[0] + s * (ends[1] - ends[0])) ** rho for s in shares[1:]), 0.0]


def trailing_sigmas(noise: DiscreteSchedule, steps: int, start: float | None = None) -> list[float]:
    """Return sigmas of evenly spaced steps of a schedule, from its last one, then 0.

    This is the trailing spacing of Lin et al. 2024. start: begin at this sigma instead, and use the
    part of the schedule below it. Raises ConfigError.
    """
    total = len(noise.betas)
    if start is not None and start < noise.sigma_max:
        total = max(1, int(torch.searchsorted(noise.sigmas, start, right=True)))
    if not 1 <= steps or (start is None and steps > total):
        raise ConfigError(f"steps is {steps}, but the schedule has {total}; give 1 to {total}")
    steps = min(steps, total)
    indices = [round(total - i * total / steps) - 1 for i in range(steps)]
    chosen = [min(float(noise.sigmas[t]), noise.sigma_max) for t in indices]
    return [*chosen, 0.0] if start is None else [min(start, noise.sigma_max), *chosen[1:], 0.0]


def make_sigmas(noise: NoiseSchedule, steps: int, start: float | None = None) -> list[float]:
    """Return the descending sigmas of a sampler, from `start` to 0.

    start: first sigma, above 0; pure noise by default. A discrete schedule uses `trailing_sigmas`,
    a continuous one `karras_sigmas` down to LAST_SIGMA. Raises ConfigError.
    """
    if start is not None and not start > 0:
        raise ConfigError(f"the first sigma is {start}; give a number above 0")
    if isinstance(noise, DiscreteSchedule):
        return trailing_sigmas(noise, steps, start)
    last = max(noise.sigma_min, LAST_SIGMA * (FEW_STEPS / max(FEW_STEPS, steps)) ** 2)
    return karras_sigmas(
        noise.sigma_max if start is None else min(start, noise.sigma_max), steps, last
    )


def _sigma_pairs(sigmas: Sequence[float]) -> Iterator[tuple[int, float, float]]:
    """Yield the number of each step, from 1, with the sigmas before and after it."""
    yield from ((i, a, b) for i, (a, b) in enumerate(zip(sigmas, sigmas[1:], strict=False), 1))


def ancestral(
    denoise: DenoiseFunction,
    x: Tensor,
    sigmas: Sequence[float],
    normal: NoiseSource,
    variance: str = "posterior",
) -> Iterator[State]:
    """Ancestral sampling: algorithm 2 of Ho et al. 2020, exactly so over all sigmas of a schedule.

    x: (B, C, H, W) at sigmas[0]. normal: a source of noise.
    variance: variance of the noise that a step from sigma t to s adds: `posterior`,
        s^2 (t^2 - s^2) / t^2, or `beta`, (t^2 - s^2) (1 + s^2) / (1 + t^2). Both are those of the
        paper divided by alpha_bar_s. The last step adds no noise.
    """
    if variance not in ("posterior", "beta"):
        raise ConfigError(f"there is no variance {variance!r}; give posterior or beta")
    for i, t, s in _sigma_pairs(sigmas):
        x0 = denoise(x, t)
        x = x0 + (s / t) ** 2 * (x - x0)
        if s:
            fresh = t**2 - s**2
            added = fresh * ((s / t) ** 2 if variance == "posterior" else (1 + s**2) / (1 + t**2))
            x = x + math.sqrt(added) * normal()
        yield State(i, len(sigmas) - 1, s, x, x0)


def ddim(
    denoise: DenoiseFunction,
    x: Tensor,
    sigmas: Sequence[float],
    normal: NoiseSource | None = None,
    eta: float = 0.0,
) -> Iterator[State]:
    """DDIM sampler (Song et al. 2021, arXiv:2010.02502, eq. 12 and 16).

    eta: 0 is Euler's method on the probability flow; 1 is `ancestral`. normal: a source of noise,
    needed unless eta is 0.
    """
    if not 0 <= eta <= 1 or (eta and normal is None):
        raise ConfigError(
            f"eta is {eta}; give a number from 0 to 1, and a source of noise if it is above 0"
        )
    for i, t, s in _sigma_pairs(sigmas):
        x0 = denoise(x, t)
        fresh = eta * s / t * math.sqrt(t**2 - s**2)
        x = x0 + math.sqrt(s**2 - fresh**2) / t * (x - x0)
        if fresh and normal is not None:
            x = x + fresh * normal()
        yield State(i, len(sigmas) - 1, s, x, x0)


def heun(denoise: DenoiseFunction, x: Tensor, sigmas: Sequence[float]) -> Iterator[State]:
    """Heun's method on dx/dsigma = (x - D) / sigma (Karras et al. 2022, algorithm 1).

    Each step costs two network passes, the last one a single pass.
    """
    for i, t, s in _sigma_pairs(sigmas):
        x0 = denoise(x, t)
        slope = (x - x0) / t
        x_next = x + (s - t) * slope
        if s:
            slope = (slope + (x_next - denoise(x_next, s)) / s) / 2
            x_next = x + (s - t) * slope
        x = x_next
        yield State(i, len(sigmas) - 1, s, x, x0)


def dpmpp_2m(denoise: DenoiseFunction, x: Tensor, sigmas: Sequence[float]) -> Iterator[State]:
    """DPM-Solver++(2M) (Lu et al. 2022, arXiv:2211.01095, algorithm 2).

    It is of second order with one network pass a step. The first step and the step to sigma 0 are
    of first order.
    """
    x0_prev, h_prev = None, 0.0
    for i, t, s in _sigma_pairs(sigmas):
        x0 = denoise(x, t)
        target = x0
        if s:
            h = math.log(t / s)
            if x0_prev is not None:
                target = x0 + h / (2 * h_prev) * (x0 - x0_prev)
            x0_prev, h_prev = x0, h
        x = target + s / t * (x - target)
        yield State(i, len(sigmas) - 1, s, x, x0)


SAMPLERS: dict[str, Callable[..., Iterator[State]]] = {
    "ancestral": lambda denoise, x, sigmas, normal: ancestral(denoise, x, sigmas, normal),
    "ddim": lambda denoise, x, sigmas, normal: ddim(denoise, x, sigmas),
    "heun": lambda denoise, x, sigmas, normal: heun(denoise, x, sigmas),
    "dpmpp_2m": lambda denoise, x, sigmas, normal: dpmpp_2m(denoise, x, sigmas),
}
"""Samplers by their name, all with the same arguments: denoise, x, sigmas, normal."""
