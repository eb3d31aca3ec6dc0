"""The variational bound on the negative log likelihood, in bits per dimension.

It exists for models with a discrete schedule (Ho et al. 2020, eq. 5 and section 3.3).

    L = E[ L_T + sum over t of L_t + L_0 ]
    L_T = KL(q(x_T | x_0) || N(0, 1)),   L_t = KL(q(x_{t-1} | x_t, x_0) || p(x_{t-1} | x_t))
    L_0 = -log p(x_0 | x_1), with the Gaussian integrated over the bin of each of the 256 values
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from diffusion.errors import ConfigError, DataError
from diffusion.model.denoiser import Denoiser
from diffusion.model.schedule import DiscreteSchedule

PredictX0: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""x = x_0 + sigma eps (B, C, H, W) and sigmas (B,), both float64 -> the expected x_0."""

BATCH = 50
HALF_BIN = 1 / 255
VARIANCES = ("posterior", "beta")


@dataclass(frozen=True)
class Bound:
    """The bound and its parts in bits per dimension.

    bits: the bound, the sum of `prior` (L_T), `between` (the sum of all L_t) and `decoder` (L_0).
    error: standard error of `bits` over pictures and steps. n: number of pictures. steps: number
    of t evaluated for each picture. variance: of p, see `samplers.ancestral`. seed: of the noise.
    """

    bits: float
    error: float
    prior: float
    between: float
    decoder: float
    n: int
    steps: int
    variance: str
    seed: int


def estimate_bits(
    model: Denoiser,
    images: Tensor,
    condition: Tensor | None = None,
    steps: int | None = None,
    variance: str = "posterior",
    seed: int = 0,
) -> Bound:
    """Estimate the bound of (N, 3, S, S) uint8 pictures under a model with a discrete schedule.

    condition: (N,) classes or (N, D) vectors, see `UNet.embed`.
    steps: number of t to evaluate for each picture, evenly spaced from a random start, which keeps
        the estimate unbiased; None for all. A picture costs steps + 1 network passes.
    variance: `posterior` or `beta`. seed: of the noise.

    Raises ConfigError for a continuous schedule, which has no steps, and for values out of range.
    """
    if not isinstance(model.schedule, DiscreteSchedule):
        raise ConfigError(
            f"the {model.config.preset} model has {model.config.noise} noise, but the bound is a "
            "sum over steps; give a model with linear or cosine noise, such as the article's"
        )
    device = next(model.parameters()).device
    parts = []
    with torch.inference_mode():
        for first in range(0, len(images), BATCH):
            part = images[first : first + BATCH].to(device)
            some = None if condition is None else condition[first : first + BATCH].to(device)

            def predict(x: Tensor, sigma: Tensor, some: Tensor | None = some) -> Tensor:
                return torch.as_tensor(model(x.float(), sigma, some)).double()

            terms = bound_terms(predict, model.schedule, part, steps, variance, seed + first)
            parts.append(terms.cpu())
    return summarize_terms(torch.cat(parts), steps or len(model.schedule.betas) - 1, variance, seed)


def summarize_terms(terms: Tensor, steps: int, variance: str, seed: int) -> Bound:
    """Average the (N, 3) terms of `bound_terms` over pictures. Raises DataError for N < 2."""
    if len(terms) < 2:
        raise DataError(
            f"the bound is of {len(terms)} pictures; give at least 2 for a standard error"
        )
    total, (prior, between, decoder) = terms.sum(1), terms.mean(0).tolist()
    error = float(total.std() / math.sqrt(len(total)))
    return Bound(
        float(total.mean()), error, prior, between, decoder, len(total), steps, variance, seed
    )


def bound_terms(
    predict: PredictX0,
    noise: DiscreteSchedule,
    images: Tensor,
    steps: int | None = None,
    variance: str = "posterior",
    seed: int = 0,
) -> Tensor:
    """Compute L_T, the sum of L_t, and L_0 of each picture in bits per dimension, (N, 3) float64.

    predict: the model; its x_0 is clamped to -1..1, as in Ho et al. images: (N, C, H, W) uint8.
    steps, variance, seed: see `estimate_bits`. Raises ConfigError for values out of range.
    """
    total = len(noise.betas) - 1  # steps t = 1.. in the code, 2.. in the paper
    if variance not in VARIANCES or (steps is not None and not 1 <= steps <= total):
        raise ConfigError(
            f"variance is {variance!r} and steps is {steps}; give posterior or beta, and 1 to "
            f"{total} steps"
        )
    x0, device = images.double() / 127.5 - 1, images.device
    generator = torch.Generator().manual_seed(seed)
    count = steps or total

    def predict_at(t: Tensor) -> Tensor:
        eps = torch.randn(x0.shape, generator=generator, dtype=torch.float64).to(device)
        sigma = noise.sigmas.to(device)[t]
        return predict(x0 + _broadcast(sigma, x0) * eps, sigma).clamp(-1, 1)

    start = torch.rand(len(x0), generator=generator, dtype=torch.float64).to(device)
    between = torch.zeros(len(x0), dtype=torch.float64, device=device)
    for i in range(count):
        t = 1 + ((i + start) * (total / count)).long().clamp(max=total - 1)
        between += _divergence_term(noise, t, x0, predict_at(t), variance)
    first = torch.zeros(len(x0), dtype=torch.int64, device=device)
    decoder = _decoder_term(x0, predict_at(first), float(noise.posterior_coefficients()[2][1]))
    nats = torch.stack([_prior_term(noise, x0), between * total / count, decoder], dim=1)
    return nats / math.log(2)


def _prior_term(noise: DiscreteSchedule, x0: Tensor) -> Tensor:
    """L_T in nats per dimension, (N,)."""
    alpha_bar = float(noise.alpha_bar[-1])
    kl = alpha_bar * x0.square() - alpha_bar - math.log1p(-alpha_bar)
    return kl.flatten(1).mean(1) / 2


def _divergence_term(
    noise: DiscreteSchedule, t: Tensor, x0: Tensor, predicted: Tensor, variance: str
) -> Tensor:
    """L_t in nats per dimension, (N,). Both Gaussians have means c1 x_0 + c2 x_t."""
    c1, _, true = (c.to(x0.device)[t] for c in noise.posterior_coefficients())
    model = true if variance == "posterior" else noise.betas.to(x0.device)[t]
    error = (x0 - predicted).square().flatten(1).mean(1)
    return ((model / true).log() + true / model - 1 + c1**2 * error / model) / 2


def _decoder_term(x0: Tensor, mean: Tensor, variance: float) -> Tensor:
    """L_0 in nats per dimension, (N,).

    The outermost bins reach to infinity. variance: the posterior's of the second step, since that
    of the first is 0.
    """
    scale = 1 / math.sqrt(variance)
    low, high = (x0 - HALF_BIN - mean) * scale, (x0 + HALF_BIN - mean) * scale
    low = torch.where(x0 <= -1 + HALF_BIN, -torch.inf, low)
    high = torch.where(x0 >= 1 - HALF_BIN, torch.inf, high)
    # in the upper tail both probabilities round to 1, so such bins are mirrored to the lower tail
    flip = low > 0
    low, high = torch.where(flip, -high, low), torch.where(flip, -low, high)
    upper, lower = torch.special.log_ndtr(high), torch.special.log_ndtr(low)
    share = upper + torch.log1p(-(lower - upper).exp())
    return torch.as_tensor(-share.flatten(1).mean(1))


def _broadcast(scale: Tensor, x: Tensor) -> Tensor:
    """Reshape (B,) to (B, 1, ..., 1) with as many dimensions as x."""
    return scale.view(-1, *[1] * (x.ndim - 1))
