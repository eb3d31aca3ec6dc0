"""The denoiser D(x; sigma): a network, what it predicts, and how a guess of x_0 comes out of it.

x = x_0 + sigma eps throughout. Around the network F (Karras et al. 2022, eq. 7),

    D(x; sigma) = c_skip x + c_out F(c_in x; time(sigma), condition)
    c_in = 1 / sqrt(sigma^2 + sigma_data^2)

    F predicts   c_skip                                   c_out
    eps          1                                        -sigma
    x_0          0                                        1
    v            sigma_data^2 / (sigma^2 + sigma_data^2)  -sigma sigma_data c_in

With sigma_data = 1 this v is that of Salimans and Ho (2022, arXiv:2202.00512), and with any other
it is Karras' F with its sign turned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from diffusion.errors import ConfigError
from diffusion.model.autoencoder import Autoencoder
from diffusion.model.presets import Config
from diffusion.model.schedule import make_noise
from diffusion.model.unet import UNet

Denoise: TypeAlias = Callable[[Tensor, float], Tensor]
"""x (B, C, H, W) and its sigma -> the expected x_0 (B, C, H, W)."""

MOST_SNR = 5.0
EVERYWHERE = (0.0, float("inf"))  # the sigmas between which guidance acts, where none are named


class Denoiser(nn.Module):
    """A network under its configuration; see the module's text for the equations."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.noise = make_noise(config.noise, config.steps)
        self.net = UNet(config.shape)
        self.about: dict[str, Any] = {}  # of the checkpoint it came from
        self._helpers: dict[str, nn.Module] = {}  # not a part of the weights

    @property
    def weak(self) -> Denoiser | None:
        """A weaker model that guides this one (`denoise`)."""
        weak = self._helpers.get("weak")
        return weak if isinstance(weak, Denoiser) else None

    def guide_by(self, model: Denoiser | None) -> None:
        """Let a weaker model of the same space guide this one; None for guidance by the empty
        condition."""
        self._helpers.pop("weak", None)
        if model is not None:
            self._helpers["weak"] = model

    def use_autoencoder(self, autoencoder: Autoencoder) -> None:
        """Let a model on latents encode and decode pictures. Raises ConfigError for an autoencoder
        whose latents it was not trained on."""
        latents = self.config.latents
        if latents is None or autoencoder.fingerprint != latents.autoencoder:
            raise ConfigError(
                f"the model was trained on latents of the autoencoder "
                f"{latents and latents.autoencoder}, not {autoencoder.fingerprint}"
            )
        self._helpers["autoencoder"] = autoencoder

    def encode(self, pictures: Tensor) -> Tensor:
        """Pictures (B, 3, H, W) in -1..1 -> what the model denoises: the pictures themselves, or
        latents (B, 32, H/8, W/8) normalized per channel. Raises ConfigError."""
        *_, x = self.encode_stages(pictures)
        return x

    def decode(self, x: Tensor) -> Tensor:
        """The other way round, in -1..1. Raises ConfigError."""
        *_, pictures = self.decode_stages(x)
        return pictures

    def encode_stages(self, pictures: Tensor) -> Iterator[Tensor]:
        """As `encode`, in pieces of work: the last tensor is the answer."""
        if self.config.space == "pixels":
            yield pictures
            return
        mean, std = self._statistics(pictures)
        latents = pictures
        for latents in self._latents().encode_stages(pictures):
            yield latents
        yield (latents.float() - mean) / std

    def decode_stages(self, x: Tensor) -> Iterator[Tensor]:
        """As `decode`, in pieces of work: the last tensor is the answer."""
        if self.config.space == "pixels":
            yield x.clamp(-1, 1)
            return
        mean, std = self._statistics(x)
        yield from self._latents().decode_stages(x.float() * std + mean)

    def _latents(self) -> Autoencoder:
        autoencoder = self._helpers.get("autoencoder")
        if not isinstance(autoencoder, Autoencoder):
            raise ConfigError("a model on latents needs its autoencoder: see `use_autoencoder`")
        return autoencoder

    def _statistics(self, like: Tensor) -> tuple[Tensor, Tensor]:
        latents = self.config.latents
        if latents is None:
            raise ConfigError("the model does not say the statistics of its latents")
        mean, std = (torch.tensor(v, device=like.device) for v in (latents.mean, latents.std))
        return mean[:, None, None], std[:, None, None]

    def scales(self, sigma: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B,) float64 -> c_skip, c_out, c_in, each (B,) float64."""
        sigma, data = sigma.double(), self.config.sigma_data
        spread = (sigma**2 + data**2).sqrt()
        if self.config.target == "eps":
            return torch.ones_like(sigma), -sigma, 1 / spread
        if self.config.target == "x0":
            return torch.zeros_like(sigma), torch.ones_like(sigma), 1 / spread
        return (data / spread) ** 2, -sigma * data / spread, 1 / spread

    def weights(self, sigma: Tensor) -> Tensor:
        """(B,) weights of the squared error of F.

        `min-snr-5` is min(SNR, 5) on the error of x_0 (Hang et al. 2023, arXiv:2303.09556), which
        c_out^2 brings to the target: min(SNR, 5) / SNR for eps, min(SNR, 5) / (SNR + 1) for v.
        """
        if self.config.weighting == "uniform":
            return torch.ones_like(sigma)
        return (1 / sigma**2).clamp(max=MOST_SNR) * self.scales(sigma)[1] ** 2

    def forward(
        self,
        x: Tensor,
        sigma: Tensor,
        condition: Tensor | None = None,
        size: Tensor | None = None,
    ) -> Tensor:
        """x (B, C, H, W), sigma (B,), condition and size as `UNet.forward` has them -> x_0 (B, C,
        H, W)."""
        skip, out, _ = (_over(c, x) for c in self.scales(sigma))
        return skip * x + out * self.predict(x, sigma, condition, size)

    def predict(
        self,
        x: Tensor,
        sigma: Tensor,
        condition: Tensor | None = None,
        size: Tensor | None = None,
        augmentation: Tensor | None = None,
    ) -> Tensor:
        """F alone, in the precision of x."""
        into = _over(self.scales(sigma)[2], x) * x
        time = self.noise.time(sigma).float().to(x.device)
        f: Tensor = self.net(into, time, condition, size=size, augmentation=augmentation)
        return f.to(x.dtype)

    def loss(
        self,
        x0: Tensor,
        sigma: Tensor,
        eps: Tensor,
        condition: Tensor | None,
        size: Tensor | None = None,
        augmentation: Tensor | None = None,
    ) -> Tensor:
        """Weighted mean squared error of F for each picture, (B,) (algorithm 1, for any target)."""
        x = x0 + _over(sigma, x0) * eps
        skip, out, _ = (_over(c, x) for c in self.scales(sigma))
        target = eps if self.config.target == "eps" else (x0 - skip * x) / out
        error = (
            (self.predict(x, sigma, condition, size, augmentation) - target)
            .square()
            .flatten(1)
            .mean(1)
        )
        return error * self.weights(sigma).to(error.device, error.dtype)

    def denoise(
        self,
        condition: Tensor | None = None,
        guidance: float = 1.0,
        interval: tuple[float, float] = EVERYWHERE,
    ) -> Denoise:
        """A function for the samplers.

        guidance: w of D_u + w (D_c - D_u) (Ho and Salimans 2022, arXiv:2207.12598); 1 is none and
        costs one pass instead of two. interval: sigmas between which it acts (Kynkaanniemi et al.
        2024, arXiv:2404.07724); elsewhere the condition alone does. Where the model has a `weak`
        one, that takes the place of D_u, under the same condition (autoguidance, Karras et al.
        2024, arXiv:2406.02507, eq. 3).
        """
        return _Denoise(self, condition, guidance, interval)


class _Denoise:
    """See `Denoiser.denoise`."""

    def __init__(
        self,
        model: Denoiser,
        condition: Tensor | None,
        guidance: float,
        interval: tuple[float, float],
    ) -> None:
        self._model, self._condition, self._weak = model, condition, model.weak
        self._guidance, self._interval = guidance, interval

    def __call__(self, x: Tensor, sigma: float) -> Tensor:
        low, high = self._interval
        device = "cpu" if x.device.type == "mps" else x.device  # Metal has no float64
        sigmas = torch.full((len(x),), sigma, dtype=torch.float64, device=device)
        condition = self._condition
        if self._guidance != 1 and low <= sigma <= high:
            if self._weak is not None:
                better = self._model(x, sigmas, condition)
                return self._guided(self._weak(x, sigmas, condition), better)
            if condition is not None:
                empty = torch.full_like(condition, -1 if condition.ndim == 1 else 0)
                twice = x.repeat(2, 1, 1, 1), sigmas.repeat(2), torch.cat([empty, condition])
                return self._guided(*self._model(*twice).chunk(2))
        guess: Tensor = self._model(x, sigmas, condition)
        return guess

    def _guided(self, worse: Tensor, better: Tensor) -> Tensor:
        return worse + self._guidance * (better - worse)


def _over(scale: Tensor, x: Tensor) -> Tensor:
    """(B,) float64 -> (B, 1, 1, 1) in the precision of x."""
    return scale.to(x.device, x.dtype)[:, None, None, None]
