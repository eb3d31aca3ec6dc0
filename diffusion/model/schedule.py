"""Noise schedules, the closed form of the forward process, and its posterior.

Two papers write the noisy picture in two ways. Ho et al. (2020, arXiv:2006.11239) mix:
x_t = sqrt(alpha_bar_t) x_0 + sqrt(1 - alpha_bar_t) eps. Karras et al. (2022, arXiv:2206.00364)
add: x = x_0 + sigma eps. The second is the first divided by sqrt(alpha_bar_t), with
sigma = sqrt((1 - alpha_bar) / alpha_bar).

`DiscreteSchedule` has the first form, in float64; its t = 0..T-1 is the paper's 1..T. All other
modules use the second form: samplers are shorter in it, and a sigma means the same under every
schedule.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from diffusion.errors import ConfigError


def linear_betas(steps: int = 1000, first: float = 1e-4, last: float = 0.02) -> Tensor:
    """Evenly spaced betas, (T,) float64 (Ho et al., section 4)."""
    return torch.linspace(first, last, steps, dtype=torch.float64)


def cosine_betas(steps: int = 1000, offset: float = 0.008, max_beta: float = 0.999) -> Tensor:
    """Betas (T,) float64 whose alpha_bar is a squared cosine (Nichol and Dhariwal 2021, eq. 17)."""
    t = torch.arange(steps + 1, dtype=torch.float64) / steps
    f = torch.cos((t + offset) / (1 + offset) * math.pi / 2) ** 2
    return (1 - f[1:] / f[:-1]).clamp(max=max_beta)


def rescale_zero_terminal_snr(betas: Tensor) -> Tensor:
    """Rescale betas (T,) so that the last step has an SNR of 0 (Lin et al. 2024, algorithm 1).

    The first sqrt(alpha_bar) stays as it is; the last becomes 0.
    """
    root = (1 - betas).cumprod(0).sqrt()
    root = (root - root[-1]) * root[0] / (root[0] - root[-1])
    alpha_bar = root**2
    return 1 - alpha_bar / torch.cat([alpha_bar.new_ones(1), alpha_bar[:-1]])


class NoiseSchedule(Protocol):
    """The noise levels that a model is trained on.

    sigma_min, sigma_max: lowest and highest sigma that the model is trained for.
    """

    @property
    def sigma_min(self) -> float: ...

    @property
    def sigma_max(self) -> float: ...

    def draw_sigmas(self, uniform: Tensor) -> Tensor:
        """Turn (B,) uniform numbers in [0, 1) into (B,) float64 sigmas to train on."""
        ...

    def timestep(self, sigma: Tensor) -> Tensor:
        """Convert (B,) sigmas to (B,) timesteps, the input of the network, on a scale of 1000."""
        ...


@dataclass(frozen=True, eq=False)
class DiscreteSchedule:
    """A schedule of T steps, as in the article. betas: (T,) float64."""

    betas: Tensor

    @cached_property
    def alpha_bar(self) -> Tensor:
        """(T,) remaining share of the signal's variance: the cumulative product of 1 - beta."""
        return (1 - self.betas).cumprod(0)

    @cached_property
    def alpha_bar_prev(self) -> Tensor:
        """(T,) alpha_bar of the previous step; 1 for the first."""
        return torch.cat([self.alpha_bar.new_ones(1), self.alpha_bar[:-1]])

    @cached_property
    def sigmas(self) -> Tensor:
        """(T,) noise levels, sqrt((1 - alpha_bar) / alpha_bar), ascending."""
        return ((1 - self.alpha_bar) / self.alpha_bar).sqrt()

    @property
    def snr(self) -> Tensor:
        """(T,) signal-to-noise ratios of variances."""
        return self.alpha_bar / (1 - self.alpha_bar)

    def add_noise(self, x0: Tensor, t: Tensor, eps: Tensor) -> Tensor:
        """Draw x_t from q(x_t | x_0) in closed form (Ho et al., eq. 4; formula 7 of the article).

        x0, eps: (B, C, H, W). t: (B,) in 0..T-1. Returns x_t (B, C, H, W).
        """
        alpha_bar = self.alpha_bar[t].view(-1, *[1] * (x0.ndim - 1))
        return (alpha_bar.sqrt() * x0 + (1 - alpha_bar).sqrt() * eps).to(x0.dtype)

    def posterior_coefficients(self) -> tuple[Tensor, Tensor, Tensor]:
        """Coefficients c1, c2 and variance, each (T,), of the posterior (Ho et al., eq. 6 and 7).

        q(x_{t-1} | x_t, x_0) = N(c1 x_0 + c2 x_t, variance).
        """
        noise, noise_prev = 1 - self.alpha_bar, 1 - self.alpha_bar_prev
        c1 = self.alpha_bar_prev.sqrt() * self.betas / noise
        c2 = (1 - self.betas).sqrt() * noise_prev / noise
        return c1, c2, noise_prev / noise * self.betas

    def mean_from_eps(self, x: Tensor, t: Tensor, eps: Tensor) -> Tensor:
        """Mean of p(x_{t-1} | x_t) from predicted noise (Ho et al., eq. 11; algorithm 2).

        x, eps: (B, C, H, W). t: (B,) in 0..T-1. Returns (B, C, H, W).
        """
        shape = (-1, *[1] * (x.ndim - 1))
        beta, alpha_bar = self.betas[t].view(shape), self.alpha_bar[t].view(shape)
        return (x - beta / (1 - alpha_bar).sqrt() * eps) / (1 - beta).sqrt()

    @property
    def sigma_min(self) -> float:
        """Sigma of the first step."""
        return float(self.sigmas[0])

    @property
    def sigma_max(self) -> float:
        """Sigma of the last step with an SNR above 0."""
        return float(self.sigmas[torch.isfinite(self.sigmas)][-1])

    def draw_sigmas(self, uniform: Tensor) -> Tensor:
        """Draw every step with the same probability, t = 0 included (algorithm 1)."""
        return self.sigmas.to(uniform.device)[(uniform * len(self.betas)).long()]

    def timestep(self, sigma: Tensor) -> Tensor:
        """Step of each sigma on a scale of 1000, interpolated in log sigma between steps."""
        table = self.sigmas.clamp(max=self.sigma_max).log().to(sigma.device)
        log_sigma = sigma.double().clamp(min=self.sigma_min * (1 - 1e-9)).log()
        after = (table < log_sigma[..., None]).sum(-1).clamp(1, len(table) - 1)
        low, high = table[after - 1], table[after]
        share = ((log_sigma - low) / (high - low).clamp(min=1e-30)).clamp(0, 1)
        return (after - 1 + share) * (1000 / len(table))


@dataclass(frozen=True)
class LogNormalSchedule:
    """A continuous schedule, ln sigma ~ N(mean, std^2) (Karras et al. 2022, table 1)."""

    mean: float = -0.5
    std: float = 1.4
    sigma_min: float = 0.002
    sigma_max: float = 80.0

    def draw_sigmas(self, uniform: Tensor) -> Tensor:
        """Apply the inverse distribution function, and clamp to sigma_min..sigma_max."""
        inner = uniform.double().clamp(1e-6, 1 - 1e-6)
        sigmas: Tensor = (self.mean + self.std * torch.special.ndtri(inner)).exp()
        return sigmas.clamp(self.sigma_min, self.sigma_max)

    def timestep(self, sigma: Tensor) -> Tensor:
        """Return 1000 c_noise = 250 ln sigma."""
        return 250 * sigma.double().log()


LATENT_SCHEDULE = LogNormalSchedule(mean=0.2, std=1.2, sigma_min=0.01)
"""The schedule for latents of unit variance. Its mean is higher than for pixels: noise below sigma
.25 is invisible after decoding, and larger pictures need more noise because neighbouring positions
average it away (Hoogeboom et al. 2023, arXiv:2301.11093)."""


def make_schedule(kind: str, steps: int = 1000) -> NoiseSchedule:
    """Make a noise schedule by its name.

    kind: `linear` or `cosine`, over `steps` steps (2 to 100,000); `edm` or `latent`, continuous.
    Raises ConfigError for another name or number of steps.
    """
    if kind in ("edm", "latent"):
        return LATENT_SCHEDULE if kind == "latent" else LogNormalSchedule()
    if kind not in ("linear", "cosine") or not 2 <= steps <= 100_000:
        raise ConfigError(
            f"there is no noise schedule {kind!r} of {steps} steps; give linear, cosine, edm or "
            "latent, and 2 to 100000 steps"
        )
    return DiscreteSchedule((linear_betas if kind == "linear" else cosine_betas)(steps))
