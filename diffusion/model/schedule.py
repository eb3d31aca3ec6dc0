"""Noise: schedules over steps, the closed form of the forward process, and its posterior.

Two papers name the same thing. Ho et al. (2020, arXiv:2006.11239) mix: x_t = sqrt(alpha_bar_t)
x_0 + sqrt(1 - alpha_bar_t) eps. Karras et al. (2022, arXiv:2206.00364) add: x = x_0 + sigma eps.
The second is the first over sqrt(alpha_bar_t), with sigma = sqrt((1 - alpha_bar) / alpha_bar).
`Steps` holds the first, in float64, with t = 0..T-1 for the paper's 1..T; all other modules use the
second, in which every sampler is shorter and a noise level means the same under every schedule.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from diffusion.errors import ConfigError


def linear(steps: int = 1000, first: float = 1e-4, last: float = 0.02) -> Tensor:
    """Betas (T,) float64, evenly spaced (Ho et al., section 4)."""
    return torch.linspace(first, last, steps, dtype=torch.float64)


def cosine(steps: int = 1000, offset: float = 0.008, most: float = 0.999) -> Tensor:
    """Betas (T,) float64 whose alpha_bar is a squared cosine (Nichol and Dhariwal 2021, eq. 17)."""
    t = torch.arange(steps + 1, dtype=torch.float64) / steps
    f = torch.cos((t + offset) / (1 + offset) * math.pi / 2) ** 2
    return (1 - f[1:] / f[:-1]).clamp(max=most)


def zero_terminal(betas: Tensor) -> Tensor:
    """Betas (T,) moved so that the last step keeps no signal (Lin et al. 2024, algorithm 1).

    The first sqrt(alpha_bar) stays, the last becomes 0.
    """
    root = (1 - betas).cumprod(0).sqrt()
    root = (root - root[-1]) * root[0] / (root[0] - root[-1])
    alpha_bar = root**2
    return 1 - alpha_bar / torch.cat([alpha_bar.new_ones(1), alpha_bar[:-1]])


class Noise(Protocol):
    """The noise levels a model is trained on.

    lowest, highest: sigmas between which it can be asked.
    """

    @property
    def lowest(self) -> float: ...

    @property
    def highest(self) -> float: ...

    def draw(self, uniform: Tensor) -> Tensor:
        """(B,) numbers in [0, 1) -> (B,) float64 sigmas to train on."""
        ...

    def time(self, sigma: Tensor) -> Tensor:
        """(B,) sigmas -> (B,) what the network is told, in units of one of a thousand steps."""
        ...


@dataclass(frozen=True, eq=False)
class Steps:
    """T steps of noise, as the article has them. betas: (T,) float64."""

    betas: Tensor

    @cached_property
    def alpha_bar(self) -> Tensor:
        """(T,) share of the signal's variance that is left: the product of 1 - beta."""
        return (1 - self.betas).cumprod(0)

    @cached_property
    def alpha_bar_before(self) -> Tensor:
        """(T,) alpha_bar one step earlier; 1 before the first."""
        return torch.cat([self.alpha_bar.new_ones(1), self.alpha_bar[:-1]])

    @cached_property
    def sigmas(self) -> Tensor:
        """(T,) noise over signal, sqrt((1 - alpha_bar) / alpha_bar), ascending."""
        return ((1 - self.alpha_bar) / self.alpha_bar).sqrt()

    @property
    def snr(self) -> Tensor:
        """(T,) signal over noise, in variances."""
        return self.alpha_bar / (1 - self.alpha_bar)

    def forward(self, x0: Tensor, t: Tensor, eps: Tensor) -> Tensor:
        """q(x_t | x_0) in closed form (Ho et al., eq. 4; the article's formula 7).

        x0, eps: (B, C, H, W); t: (B,) in 0..T-1. Returns x_t.
        """
        kept = self.alpha_bar[t].view(-1, *[1] * (x0.ndim - 1))
        return (kept.sqrt() * x0 + (1 - kept).sqrt() * eps).to(x0.dtype)

    def posterior(self) -> tuple[Tensor, Tensor, Tensor]:
        """c1, c2 and variance, each (T,), of q(x_{t-1} | x_t, x_0) = N(c1 x_0 + c2 x_t, variance)
        (Ho et al., eq. 6 and 7)."""
        noise, before = 1 - self.alpha_bar, 1 - self.alpha_bar_before
        c1 = self.alpha_bar_before.sqrt() * self.betas / noise
        c2 = (1 - self.betas).sqrt() * before / noise
        return c1, c2, before / noise * self.betas

    def mean_from_eps(self, x: Tensor, t: Tensor, eps: Tensor) -> Tensor:
        """The mean of p(x_{t-1} | x_t) from predicted noise (Ho et al., eq. 11; algorithm 2)."""
        shape = (-1, *[1] * (x.ndim - 1))
        beta, kept = self.betas[t].view(shape), self.alpha_bar[t].view(shape)
        return (x - beta / (1 - kept).sqrt() * eps) / (1 - beta).sqrt()

    @property
    def lowest(self) -> float:
        """Sigma of the first step."""
        return float(self.sigmas[0])

    @property
    def highest(self) -> float:
        """Sigma of the last step that keeps any signal."""
        return float(self.sigmas[torch.isfinite(self.sigmas)][-1])

    def draw(self, uniform: Tensor) -> Tensor:
        """All steps alike, t = 0 among them (algorithm 1)."""
        return self.sigmas.to(uniform.device)[(uniform * len(self.betas)).long()]

    def time(self, sigma: Tensor) -> Tensor:
        """The step of a sigma, between steps by interpolation in log sigma."""
        table = self.sigmas.clamp(max=self.highest).log().to(sigma.device)
        wanted = sigma.double().clamp(min=self.lowest * (1 - 1e-9)).log()
        after = torch.searchsorted(table, wanted).clamp(1, len(table) - 1)
        low, high = table[after - 1], table[after]
        share = ((wanted - low) / (high - low).clamp(min=1e-30)).clamp(0, 1)
        return (after - 1 + share) * (1000 / len(table))


@dataclass(frozen=True)
class LogNormal:
    """Continuous noise, ln sigma ~ N(mean, std^2) (Karras et al. 2022, table 1)."""

    mean: float = -0.5
    std: float = 1.4
    lowest: float = 0.002
    highest: float = 80.0

    def draw(self, uniform: Tensor) -> Tensor:
        """By the inverse of the distribution, within the limits."""
        even = uniform.double().clamp(1e-6, 1 - 1e-6)
        drawn: Tensor = (self.mean + self.std * torch.special.ndtri(even)).exp()
        return drawn.clamp(self.lowest, self.highest)

    def time(self, sigma: Tensor) -> Tensor:
        """1000 c_noise = 250 ln sigma."""
        return 250 * sigma.double().log()


LATENT = LogNormal(mean=0.2, std=1.2, lowest=0.01)
"""The noise of training on latents of unit variance. Its center is higher than that of pixels:
noise below sigma .25 is invisible after decoding, and more places average more noise away
(Hoogeboom et al. 2023, arXiv:2301.11093)."""


def make_noise(kind: str, steps: int = 1000) -> Noise:
    """`linear`, `cosine` (over `steps`), `edm` or `latent`. Raises ConfigError."""
    if kind in ("edm", "latent"):
        return LATENT if kind == "latent" else LogNormal()
    if kind not in ("linear", "cosine") or not 2 <= steps <= 100_000:
        raise ConfigError(
            f"noise {kind!r} of {steps} steps: give linear, cosine, edm or latent, and 2 to 100000 "
            "steps"
        )
    return Steps((linear if kind == "linear" else cosine)(steps))
