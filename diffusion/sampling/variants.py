"""Variants of a picture: add noise to it, then denoise it under its vector (Meng et al. 2022,
arXiv:2108.01073). The noise level sigma says how much of the picture is lost."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from diffusion.errors import ConfigError
from diffusion.model.denoiser import EVERYWHERE, Denoiser
from diffusion.sampling.sample import BATCH, MOST_GUIDANCE, MOST_SEED, check_condition
from diffusion.sampling.samplers import State, dpmpp_2m, grid, normals

MOST_STEPS = 1000
TINY = 1e-6  # stands for sigma 0 on a logarithmic scale


@dataclass(frozen=True)
class Dial:
    """How to make a variant.

    sigma: noise level, from 0 (the picture itself); at the model's highest and above, only the
    condition is left. guidance, interval: as for `Denoiser.denoise`. steps: of denoising, one
    network pass each, two with guidance; a small sigma needs fewer.
    """

    sigma: float
    guidance: float
    steps: int
    interval: tuple[float, float] = EVERYWHERE


MIDDLE = (0.2, 10.0)
REGIMES = {
    "pixels": {"near": Dial(0.3, 2.0, 3), "same": Dial(1.0, 3.0, 5), "concept": Dial(80, 4.0, 12)},
    "latent": {
        "near": Dial(0.7, 1.0, 4, MIDDLE),
        "same": Dial(2.0, 1.5, 6, MIDDLE),
        "concept": Dial(80.0, 2.0, 14, MIDDLE),
    },
}
"""A near copy, the same subject and the same concept, for models of each space."""


def dial(
    regime: str | None = None,
    sigma: float | None = None,
    guidance: float | None = None,
    steps: int | None = None,
    space: str = "pixels",
) -> Dial:
    """Return the dial of a regime (default: `same`) or of a sigma, with what else is given.

    Between the regimes, guidance and steps are interpolated over log sigma. space: of the model.
    Raises ConfigError.
    """
    regimes = REGIMES[space]
    if regime is not None and sigma is not None:
        raise ConfigError("a regime has its own sigma; give one of the two")
    if sigma is None:
        if regime is not None and regime not in regimes:
            raise ConfigError(f"there is no regime {regime!r}; give one of {', '.join(regimes)}")
        usual = regimes[regime or "same"]
    else:
        if not 0 <= sigma < math.inf:
            raise ConfigError(f"sigma {sigma}: give a number from 0, and 80 for pure noise")
        usual = _between(sigma, regimes)
    chosen = Dial(
        usual.sigma,
        usual.guidance if guidance is None else guidance,
        usual.steps if steps is None else steps,
        usual.interval,
    )
    if not 0 <= chosen.guidance <= MOST_GUIDANCE or not 1 <= chosen.steps <= MOST_STEPS:
        raise ConfigError(
            f"guidance {chosen.guidance}, {chosen.steps} steps: give a guidance from 0 to "
            f"{MOST_GUIDANCE:g} (1 is none), and 1 to {MOST_STEPS} steps"
        )
    return chosen


def nearest_regime(sigma: float, space: str = "pixels") -> str:
    """Return the name of the regime that a noise level belongs to, for models of a space.

    The limit between two regimes is the geometric mean of their sigmas.
    """
    at = math.log(max(sigma, TINY))
    regimes = REGIMES[space]
    return min(regimes, key=lambda name: abs(math.log(regimes[name].sigma) - at))


def _between(sigma: float, regimes: dict[str, Dial]) -> Dial:
    known = sorted(regimes.values(), key=lambda one: one.sigma)
    at, places = math.log(max(sigma, TINY)), [math.log(one.sigma) for one in known]
    guidance = np.interp(at, places, [one.guidance for one in known])
    steps = np.interp(at, places, [one.steps for one in known])
    return Dial(float(sigma), round(float(guidance), 2), round(float(steps)), known[0].interval)


@torch.inference_mode()
def variants(
    model: Denoiser,
    picture: Tensor,
    n: int = 4,
    *,
    regime: str | None = None,
    sigma: float | None = None,
    guidance: float | None = None,
    steps: int | None = None,
    condition: Tensor | None = None,
    seed: int = 0,
) -> Tensor:
    """n variants of a picture, (n, 3, H, W) float32 in -1..1, on the model's device.

    picture: (3, H, W) in -1..1, H and W multiples of `model.config.multiple`. regime, sigma,
    guidance, steps: as `dial`. condition: what the picture is of, a (D,) unit vector or a class,
    ()-shaped; None for none. seed: the first has it, the next seed + 1, and so on; one is the same
    alone or among others. Raises ConfigError.
    """
    chosen = dial(regime, sigma, guidance, steps, model.config.space)
    if n < 1 or not 0 <= seed <= MOST_SEED - n:
        raise ConfigError(f"n {n}, seed {seed}: give at least 1, and 64 bits")
    check_picture(model, picture)
    start = model.encode(picture[None].to(next(model.parameters()).device).float())[0]
    parts = []
    for first in range(seed, seed + n, BATCH):
        seeds = range(first, min(seed + n, first + BATCH))
        x = start.repeat(len(seeds), 1, 1, 1)
        for state in states(model, start, seeds, chosen, condition):
            x = state.x
        parts.append(model.decode(x))
    return torch.cat(parts)


def check_picture(model: Denoiser, picture: Tensor) -> None:
    """Raises ConfigError for a picture of another shape than the model takes."""
    multiple = model.config.multiple
    if picture.ndim != 3 or len(picture) != 3 or any(s % multiple for s in picture.shape[1:]):
        raise ConfigError(
            f"a picture of {tuple(picture.shape)}: give (3, H, W), H and W multiples of {multiple}"
        )


def states(
    model: Denoiser,
    start: Tensor,
    seeds: Sequence[int],
    chosen: Dial,
    condition: Tensor | None = None,
) -> Iterator[State]:
    """The way back, a network pass for each state; none from sigma 0.

    start: (C, h, w), the picture as `Denoiser.encode` gives it; or (B, C, h, w), one for each seed,
    with a condition for each. Else as `variants`.
    """
    under = condition
    if condition is not None and start.ndim == 3:
        under = condition.expand(len(seeds), *condition.shape)
    check_condition(under, len(seeds), model.config.shape)
    if chosen.sigma == 0:
        return
    device = str(next(model.parameters()).device)
    highest = model.noise.highest
    sigmas = grid(model.noise, chosen.steps, min(chosen.sigma, highest))
    x = sigmas[0] * normals(seeds, tuple(start.shape[-3:]), device)()
    if chosen.sigma < highest:
        x = start.to(device) + x
    under = None if under is None else under.to(device)
    yield from dpmpp_2m(model.denoise(under, chosen.guidance, chosen.interval), x, sigmas)
