"""The denoiser D(x; sigma): estimates x_0 from x = x_0 + sigma eps with a preconditioned network.

With the network F, D is (Karras et al. 2022, eq. 7)

    D(x; sigma) = c_skip x + c_out F(c_in x; time(sigma), condition)
    c_in = 1 / sqrt(sigma^2 + sigma_data^2)

    F predicts   c_skip                                   c_out
    eps          1                                        -sigma
    x_0          0                                        1
    v            sigma_data^2 / (sigma^2 + sigma_data^2)  -sigma sigma_data c_in

With sigma_data = 1, v is that of Salimans and Ho (2022, arXiv:2202.00512). With another sigma_data
it is the F of Karras et al. with the opposite sign.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from diffusion.errors import ConfigError
from diffusion.model.autoencoder import Autoencoder
from diffusion.model.presets import Config
from diffusion.model.schedule import make_schedule
from diffusion.model.unet import UNet

DenoiseFunction: TypeAlias = Callable[[Tensor, float], Tensor]
"""x (B, C, H, W) and its noise level sigma -> the expected x_0 (B, C, H, W)."""

MAX_SNR = 5.0
FULL_INTERVAL = (0.0, float("inf"))  # guidance at all noise levels


class Denoiser(nn.Module):
    """A network and its configuration; the equations are at the top of the module.

    schedule: noise levels it was trained on. net: the network F. about: the JSON of its checkpoint.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.schedule = make_schedule(config.noise, config.steps)
        self.net = UNet(config.shape)
        self.about: dict[str, Any] = {}
        self._helpers: dict[str, nn.Module] = {}  # in a dict, so that state_dict leaves them out

    @property
    def weak(self) -> Denoiser | None:
        """The weak model that guides this one, or None (`make_denoise_function`)."""
        weak = self._helpers.get("weak")
        return weak if isinstance(weak, Denoiser) else None

    def set_weak_model(self, model: Denoiser | None) -> None:
        """Set the weak model that guides this one; None guides by the empty condition instead.

        The weak model works in the same space: pixels or latents.
        """
        self._helpers.pop("weak", None)
        if model is not None:
            self._helpers["weak"] = model

    def use_autoencoder(self, autoencoder: Autoencoder) -> None:
        """Set the autoencoder of a model on latents.

        Raises ConfigError if the model was not trained on latents of this autoencoder.
        """
        latents = self.config.latents
        if latents is None or autoencoder.fingerprint != latents.autoencoder:
            raise ConfigError(
                f"the model was trained on latents of the autoencoder "
                f"{latents and latents.autoencoder}, not {autoencoder.fingerprint}; give the "
                "autoencoder that it was trained with"
            )
        self._helpers["autoencoder"] = autoencoder

    def encode(self, pictures: Tensor) -> Tensor:
        """Convert pictures (B, 3, H, W) in -1..1 to the space that the model denoises.

        Returns the pictures themselves for a model on pixels. For a model on latents, returns
        latents (B, 32, H/8, W/8) that are normalized per channel; raises ConfigError if it has no
        autoencoder.
        """
        *_, x = self.encode_stages(pictures)
        return x

    def decode(self, x: Tensor) -> Tensor:
        """Convert what `encode` returns back to pictures in -1..1. Raises ConfigError."""
        *_, pictures = self.decode_stages(x)
        return pictures

    def encode_stages(self, pictures: Tensor) -> Iterator[Tensor]:
        """Encode in pieces of work: yields intermediate tensors, last what `encode` returns."""
        if self.config.space == "pixels":
            yield pictures
            return
        mean, std = self._statistics(pictures)
        latents = pictures
        for latents in self._latents().encode_stages(pictures):
            yield latents
        yield (latents.float() - mean) / std

    def decode_stages(self, x: Tensor) -> Iterator[Tensor]:
        """Decode in pieces of work: yields intermediate tensors, last what `decode` returns."""
        if self.config.space == "pixels":
            yield x.clamp(-1, 1)
            return
        mean, std = self._statistics(x)
        yield from self._latents().decode_stages(x.float() * std + mean)

    def _latents(self) -> Autoencoder:
        autoencoder = self._helpers.get("autoencoder")
        if not isinstance(autoencoder, Autoencoder):
            raise ConfigError(
                "a model on latents needs its autoencoder; call `use_autoencoder` first"
            )
        return autoencoder

    def _statistics(self, like: Tensor) -> tuple[Tensor, Tensor]:
        latents = self.config.latents
        if latents is None:
            raise ConfigError(
                "the configuration of the model has no statistics of latents; give a checkpoint "
                "with `latents` in its configuration"
            )
        mean, std = (torch.tensor(v, device=like.device) for v in (latents.mean, latents.std))
        return mean[:, None, None], std[:, None, None]

    def preconditioning(self, sigma: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Coefficients c_skip, c_out and c_in of (B,) sigmas, each (B,) float64."""
        sigma, data = sigma.double(), self.config.sigma_data
        spread = (sigma**2 + data**2).sqrt()
        if self.config.target == "eps":
            return torch.ones_like(sigma), -sigma, 1 / spread
        if self.config.target == "x0":
            return torch.zeros_like(sigma), torch.ones_like(sigma), 1 / spread
        return (data / spread) ** 2, -sigma * data / spread, 1 / spread

    def weights(self, sigma: Tensor) -> Tensor:
        """Loss weights of (B,) sigmas, (B,), for the squared error of F.

        `min-snr-5` weights the error of x_0 by min(SNR, 5) (Hang et al. 2023, arXiv:2303.09556).
        The factor c_out^2 converts this to the error of F: min(SNR, 5) / SNR for eps, and
        min(SNR, 5) / (SNR + 1) for v.
        """
        if self.config.weighting == "uniform":
            return torch.ones_like(sigma)
        return (1 / sigma**2).clamp(max=MAX_SNR) * self.preconditioning(sigma)[1] ** 2

    def forward(
        self,
        x: Tensor,
        sigma: Tensor,
        condition: Tensor | None = None,
        size: Tensor | None = None,
    ) -> Tensor:
        """Estimate x_0 (B, C, H, W) from x (B, C, H, W) at noise levels sigma (B,).

        condition, size: see `UNet.forward`.
        """
        skip, out, _ = (_broadcast(c, x) for c in self.preconditioning(sigma))
        return skip * x + out * self.predict(x, sigma, condition, size)

    def predict(
        self,
        x: Tensor,
        sigma: Tensor,
        condition: Tensor | None = None,
        size: Tensor | None = None,
        augmentation: Tensor | None = None,
    ) -> Tensor:
        """The output of F, in the dtype of x."""
        scaled = _broadcast(self.preconditioning(sigma)[2], x) * x
        time = self.schedule.timestep(sigma).float().to(x.device)
        f: Tensor = self.net(scaled, time, condition, size=size, augmentation=augmentation)
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
        """Training loss of each picture, (B,): weighted mean squared error of F.

        This is algorithm 1 of Ho et al. 2020 for any target. x0, eps: (B, C, H, W). sigma: (B,).
        """
        x = x0 + _broadcast(sigma, x0) * eps
        skip, out, _ = (_broadcast(c, x) for c in self.preconditioning(sigma))
        target = eps if self.config.target == "eps" else (x0 - skip * x) / out
        error = (
            (self.predict(x, sigma, condition, size, augmentation) - target)
            .square()
            .flatten(1)
            .mean(1)
        )
        return error * self.weights(sigma).to(error.device, error.dtype)

    def make_denoise_function(
        self,
        condition: Tensor | None = None,
        guidance: float = 1.0,
        interval: tuple[float, float] = FULL_INTERVAL,
        bf16: bool = False,
    ) -> DenoiseFunction:
        """Make the denoise function that a sampler calls.

        condition: one for each picture, see `UNet.embed`.
        guidance: guidance scale w of D_u + w (D_c - D_u) (classifier-free guidance, Ho and Salimans
            2022, arXiv:2207.12598). 1 turns guidance off, and costs one network pass instead of
            two. A model with a weak model uses its estimate, with the same condition, for D_u
            (autoguidance, Karras et al. 2024, arXiv:2406.02507, eq. 3).
        interval: lowest and highest sigma at which guidance acts (Kynkaanniemi et al. 2024,
            arXiv:2404.07724). At other sigmas D_c is used alone.
        bf16: compute the network's products in bfloat16; x and the estimate stay in float32.
        """
        return _GuidedDenoiser(self, condition, guidance, interval, bf16)


class _GuidedDenoiser:
    """See `Denoiser.make_denoise_function`."""

    def __init__(
        self,
        model: Denoiser,
        condition: Tensor | None,
        guidance: float,
        interval: tuple[float, float],
        bf16: bool,
    ) -> None:
        self._model, self._condition, self._weak = model, condition, model.weak
        self._guidance, self._interval, self._bf16 = guidance, interval, bf16

    def __call__(self, x: Tensor, sigma: float) -> Tensor:
        if not self._bf16:
            return self._estimate(x, sigma)
        with torch.autocast(x.device.type, torch.bfloat16):
            return self._estimate(x, sigma)

    def _estimate(self, x: Tensor, sigma: float) -> Tensor:
        low, high = self._interval
        device = "cpu" if x.device.type == "mps" else x.device  # Metal has no float64
        sigmas = torch.full((len(x),), sigma, dtype=torch.float64, device=device)
        condition = self._condition
        if self._guidance != 1 and low <= sigma <= high:
            if self._weak is not None:
                better = self._model(x, sigmas, condition)
                return self._extrapolate(self._weak(x, sigmas, condition), better)
            if condition is not None:
                empty = torch.full_like(condition, -1 if condition.ndim == 1 else 0)
                twice = x.repeat(2, 1, 1, 1), sigmas.repeat(2), torch.cat([empty, condition])
                return self._extrapolate(*self._model(*twice).chunk(2))
        estimate: Tensor = self._model(x, sigmas, condition)
        return estimate

    def _extrapolate(self, worse: Tensor, better: Tensor) -> Tensor:
        return worse + self._guidance * (better - worse)


def _broadcast(scale: Tensor, x: Tensor) -> Tensor:
    """Reshape (B,) to (B, 1, 1, 1) in the dtype of x."""
    return scale.to(x.device, x.dtype)[:, None, None, None]
