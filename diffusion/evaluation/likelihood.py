"""How well a model of the article's kind compresses pictures: the variational bound on their
negative log likelihood, in bits per dimension (Ho et al. 2020, eq. 5 and section 3.3).

    L = E[ L_T + sum over t of L_t + L_0 ]
    L_T = KL(q(x_T | x_0) || N(0, 1)),   L_t = KL(q(x_{t-1} | x_t, x_0) || p(x_{t-1} | x_t))
    L_0 = -log p(x_0 | x_1), the Gaussian's share of each of the 256 values' bins
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
from diffusion.model.schedule import Steps

Guess: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""x = x_0 + sigma eps (B, C, H, W) and sigmas (B,), both float64 -> the expected x_0."""

BATCH = 50
HALF_BIN = 1 / 255
VARIANCES = ("posterior", "beta")


@dataclass(frozen=True)
class Bound:
    """Bits per dimension. bits: the bound, of which are `prior` L_T, `between` the sum over L_t and
    `decoder` L_0; error: its standard error over pictures and steps. n: pictures; steps: how many
    t of the sum were looked at for each; variance: of p, as in `samplers.ancestral`."""

    bits: float
    error: float
    prior: float
    between: float
    decoder: float
    n: int
    steps: int
    variance: str
    seed: int


def bits(
    model: Denoiser,
    images: Tensor,
    condition: Tensor | None = None,
    steps: int | None = None,
    variance: str = "posterior",
    seed: int = 0,
) -> Bound:
    """The bound of (N, 3, S, S) uint8 pictures under a model over `Steps`.

    condition: (N,) or (N, D), as `UNet.embed` has it. steps: look at so many t for each picture,
    evenly spread from a random start, which leaves the bound unbiased; None for all. Each costs a
    network pass, and one more is L_0. Raises ConfigError for continuous noise, which has no steps.
    """
    if not isinstance(model.noise, Steps):
        raise ConfigError(
            f"the {model.config.preset} model has {model.config.noise} noise, and the bound is one "
            "over steps; give a model of linear or cosine noise, such as the article's"
        )
    device = next(model.parameters()).device
    parts = []
    with torch.inference_mode():
        for first in range(0, len(images), BATCH):
            part = images[first : first + BATCH].to(device)
            under = None if condition is None else condition[first : first + BATCH].to(device)

            def guess(x: Tensor, sigma: Tensor, under: Tensor | None = under) -> Tensor:
                return torch.as_tensor(model(x.float(), sigma, under)).double()

            parts.append(terms(guess, model.noise, part, steps, variance, seed + first).cpu())
    return bound(torch.cat(parts), steps or len(model.noise.betas) - 1, variance, seed)


def bound(found: Tensor, steps: int, variance: str, seed: int) -> Bound:
    """What `terms` found, over all pictures. Raises DataError for fewer than 2."""
    if len(found) < 2:
        raise DataError(f"{len(found)} pictures: give at least 2 for a standard error")
    total, (prior, between, decoder) = found.sum(1), found.mean(0).tolist()
    error = float(total.std() / math.sqrt(len(total)))
    return Bound(
        float(total.mean()), error, prior, between, decoder, len(total), steps, variance, seed
    )


def terms(
    guess: Guess,
    noise: Steps,
    images: Tensor,
    steps: int | None = None,
    variance: str = "posterior",
    seed: int = 0,
) -> Tensor:
    """(N, 3) float64: L_T, sum of L_t, L_0 of each uint8 picture, in bits per dimension.

    A guess is kept within -1..1, where pictures are, as Ho et al. do. Raises ConfigError.
    """
    total = len(noise.betas) - 1  # steps t = 1.. in the code, 2.. in the paper
    if variance not in VARIANCES or (steps is not None and not 1 <= steps <= total):
        raise ConfigError(
            f"variance {variance!r}, steps {steps}: give posterior or beta, and 1 to {total}"
        )
    x0, device = images.double() / 127.5 - 1, images.device
    generator = torch.Generator().manual_seed(seed)
    count = steps or total

    def guessed(t: Tensor) -> Tensor:
        eps = torch.randn(x0.shape, generator=generator, dtype=torch.float64).to(device)
        sigma = noise.sigmas.to(device)[t]
        return guess(x0 + _over(sigma, x0) * eps, sigma).clamp(-1, 1)

    start = torch.rand(len(x0), generator=generator, dtype=torch.float64).to(device)
    between = torch.zeros(len(x0), dtype=torch.float64, device=device)
    for i in range(count):
        t = 1 + ((i + start) * (total / count)).long().clamp(max=total - 1)
        between += _divergence(noise, t, x0, guessed(t), variance)
    first = torch.zeros(len(x0), dtype=torch.int64, device=device)
    decoder = _decoder(x0, guessed(first), float(noise.posterior()[2][1]))
    return torch.stack([_prior(noise, x0), between * total / count, decoder], dim=1) / math.log(2)


def _prior(noise: Steps, x0: Tensor) -> Tensor:
    """L_T in nats per dimension, (N,)."""
    kept = float(noise.alpha_bar[-1])
    return (kept * x0.square() - kept - math.log1p(-kept)).flatten(1).mean(1) / 2


def _divergence(noise: Steps, t: Tensor, x0: Tensor, guess: Tensor, variance: str) -> Tensor:
    """L_t in nats per dimension, (N,): both Gaussians have means c1 x_0 + c2 x_t."""
    c1, _, true = (c.to(x0.device)[t] for c in noise.posterior())
    model = true if variance == "posterior" else noise.betas.to(x0.device)[t]
    error = (x0 - guess).square().flatten(1).mean(1)
    return ((model / true).log() + true / model - 1 + c1**2 * error / model) / 2


def _decoder(x0: Tensor, mean: Tensor, variance: float) -> Tensor:
    """L_0 in nats per dimension, (N,); the outermost bins reach to infinity. The variance is the
    posterior's of the second step, since that of the first is 0."""
    scale = 1 / math.sqrt(variance)
    low, high = (x0 - HALF_BIN - mean) * scale, (x0 + HALF_BIN - mean) * scale
    low = torch.where(x0 <= -1 + HALF_BIN, -torch.inf, low)
    high = torch.where(x0 >= 1 - HALF_BIN, torch.inf, high)
    # the nearer tail is the one that can be told from 1
    flip = low > 0
    low, high = torch.where(flip, -high, low), torch.where(flip, -low, high)
    upper, lower = torch.special.log_ndtr(high), torch.special.log_ndtr(low)
    share = upper + torch.log1p(-(lower - upper).exp())
    return torch.as_tensor(-share.flatten(1).mean(1))


def _over(scale: Tensor, x: Tensor) -> Tensor:
    return scale.view(-1, *[1] * (x.ndim - 1))
