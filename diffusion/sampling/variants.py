"""Variants of a picture: add noise, then denoise with a condition.

This is SDEdit (Meng et al. 2022, arXiv:2108.01073). The noise level sigma decides how much of the
picture remains.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from diffusion.errors import ConfigError
from diffusion.model.denoiser import FULL_INTERVAL, Denoiser
from diffusion.model.precision import BF16_SIGMA, supports_bf16
from diffusion.sampling.sample import BATCH, MAX_GUIDANCE, SEED_LIMIT, check_condition
from diffusion.sampling.samplers import State, dpmpp_2m, make_sigmas, seeded_noise

MAX_STEPS = 1000
PURE_NOISE = 80.0
"""From this sigma on nothing of the picture is used. A schedule may go further: at the last step of
`linear`, sigma is 157, and at sigma 80 the mean colour of a picture would still show."""

MIN_SIGMA = 1e-6  # stands for sigma 0 on a logarithmic scale


@dataclass(frozen=True)
class VariantSettings:
    """How variants are made.

    sigma: noise level from which they are denoised. At 0 they are the picture itself; from
        PURE_NOISE on only the condition remains.
    guidance, interval: see `Denoiser.make_denoise_function`.
    steps: steps of the sampler, one network pass each, two with guidance. A low sigma needs fewer.
    """

    sigma: float
    guidance: float
    steps: int
    interval: tuple[float, float] = FULL_INTERVAL


MIDDLE_INTERVAL = (0.2, 10.0)
REGIMES = {
    "pixels": {
        "near": VariantSettings(0.3, 2.0, 3),
        "same": VariantSettings(1.0, 3.0, 5),
        "concept": VariantSettings(80, 4.0, 12),
    },
    "latent": {
        "near": VariantSettings(0.7, 1.0, 4, MIDDLE_INTERVAL),
        "same": VariantSettings(2.0, 1.5, 6, MIDDLE_INTERVAL),
        "concept": VariantSettings(80.0, 2.0, 14, MIDDLE_INTERVAL),
    },
}
"""Settings for a near copy, the same subject and the same concept, for models of each space."""


def resolve_settings(
    regime: str | None = None,
    sigma: float | None = None,
    guidance: float | None = None,
    steps: int | None = None,
    regimes: Mapping[str, VariantSettings] = REGIMES["pixels"],
) -> VariantSettings:
    """Choose the settings of variants from a regime or a sigma; without both, from `same`.

    regime: `near`, `same` or `concept`. sigma: noise level, 0 or more. For a sigma between the
    regimes, guidance and steps are interpolated in log sigma.
    guidance, steps: replace those of the regime. regimes: of the model, such as those of its space
        in `REGIMES`.

    Raises ConfigError for values out of range.
    """
    if regime is not None and sigma is not None:
        raise ConfigError("a regime has its own sigma; give either a regime or a sigma")
    if sigma is None:
        if regime is not None and regime not in regimes:
            raise ConfigError(f"there is no regime {regime!r}; give one of {', '.join(regimes)}")
        default = regimes[regime or "same"]
    else:
        if not 0 <= sigma < math.inf:
            raise ConfigError(f"sigma is {sigma}; give a number from 0, or 80 for pure noise")
        default = _interpolate_settings(sigma, regimes)
    chosen = VariantSettings(
        default.sigma,
        default.guidance if guidance is None else guidance,
        default.steps if steps is None else steps,
        default.interval,
    )
    if not 0 <= chosen.guidance <= MAX_GUIDANCE or not 1 <= chosen.steps <= MAX_STEPS:
        raise ConfigError(
            f"guidance is {chosen.guidance} and steps is {chosen.steps}; give a guidance from 0 to "
            f"{MAX_GUIDANCE:g} (1 is none), and 1 to {MAX_STEPS} steps"
        )
    return chosen


def nearest_regime(sigma: float, regimes: Mapping[str, VariantSettings] = REGIMES["pixels"]) -> str:
    """Return the name of the regime that a noise level belongs to.

    The limit between two regimes is the geometric mean of their sigmas.
    """
    at = math.log(max(sigma, MIN_SIGMA))
    return min(regimes, key=lambda name: abs(math.log(regimes[name].sigma) - at))


def _interpolate_settings(sigma: float, regimes: Mapping[str, VariantSettings]) -> VariantSettings:
    known = sorted(regimes.values(), key=lambda settings: settings.sigma)
    log_sigma, logs = math.log(max(sigma, MIN_SIGMA)), [math.log(each.sigma) for each in known]
    guidance = np.interp(log_sigma, logs, [each.guidance for each in known])
    steps = np.interp(log_sigma, logs, [each.steps for each in known])
    return VariantSettings(
        float(sigma), round(float(guidance), 2), round(float(steps)), known[0].interval
    )


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
    """Make n variants of a picture: `variants(load(), picture, 4, regime="near")`.

    picture: (3, H, W) in -1..1; H and W are multiples of `model.config.multiple`.
    regime, sigma, guidance, steps: see `resolve_settings`.
    condition: content of the picture, a (D,) unit vector or a class of shape (); None for none.
    seed: seed of the first variant; the next ones have seed + 1, seed + 2, ... (64 bits). A variant
        is the same alone or in a batch.

    Returns (n, 3, H, W) float32 in -1..1 on the model's device. Raises ConfigError for values out
    of range.
    """
    chosen = resolve_settings(regime, sigma, guidance, steps, REGIMES[model.config.space])
    if n < 1 or not 0 <= seed <= SEED_LIMIT - n:
        raise ConfigError(
            f"n is {n} and seed is {seed}; give n of at least 1, and a seed from 0 so that all "
            "seeds fit in 64 bits"
        )
    check_picture(model, picture)
    start = model.encode(picture[None].to(next(model.parameters()).device).float())[0]
    parts = []
    for first in range(seed, seed + n, BATCH):
        seeds = range(first, min(seed + n, first + BATCH))
        x = start.repeat(len(seeds), 1, 1, 1)
        for state in denoise_states(model, start, seeds, chosen, condition):
            x = state.x
        parts.append(model.decode(x))
    return torch.cat(parts)


def is_pure_noise(model: Denoiser, sigma: float) -> bool:
    """Whether variants of a sigma start from noise alone: from PURE_NOISE on under every schedule,
    or from the highest sigma of the model, if that is lower."""
    return sigma >= min(PURE_NOISE, model.schedule.sigma_max)


def check_picture(model: Denoiser, picture: Tensor) -> None:
    """Raise ConfigError if the shape of a picture does not fit the model."""
    multiple = model.config.multiple
    if picture.ndim != 3 or len(picture) != 3 or any(s % multiple for s in picture.shape[1:]):
        raise ConfigError(
            f"the picture has the shape {tuple(picture.shape)}; give (3, H, W), with H and W "
            f"multiples of {multiple}"
        )


def denoise_states(
    model: Denoiser,
    start: Tensor,
    seeds: Sequence[int],
    chosen: VariantSettings,
    condition: Tensor | None = None,
) -> Iterator[State]:
    """Noise a picture and yield the states of its denoising; none at sigma 0.

    start: (C, h, w), a picture after `Denoiser.encode`, and one condition as in `variants`. Or
        (B, C, h, w), one picture for each seed, and B conditions.
    seeds: B seeds, one for each variant. chosen: how variants are made.

    Raises ConfigError for a condition that the model does not have.
    """
    conditions = condition
    if condition is not None and start.ndim == 3:
        conditions = condition.expand(len(seeds), *condition.shape)
    check_condition(conditions, len(seeds), model.config.shape)
    if chosen.sigma == 0:
        return
    device = str(next(model.parameters()).device)
    pure = is_pure_noise(model, chosen.sigma)
    sigmas = make_sigmas(model.schedule, chosen.steps, None if pure else chosen.sigma)
    x = sigmas[0] * seeded_noise(seeds, tuple(start.shape[-3:]), device)()
    if not pure:
        x = start.to(device) + x
    conditions = None if conditions is None else conditions.to(device)
    bf16 = supports_bf16(x.device) and chosen.sigma <= BF16_SIGMA
    denoise = model.make_denoise_function(conditions, chosen.guidance, chosen.interval, bf16)
    yield from dpmpp_2m(denoise, x, sigmas)
