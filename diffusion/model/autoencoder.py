"""A small convolutional autoencoder: pictures to latents of an eighth of their size, and back.

It is the tiny autoencoder for the latents of FLUX.2 (MIT, see `weights/NOTICE`): 2.7 million
parameters, a round trip of about 26 dB on photographs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cached_property
from importlib.resources import files as packaged
from pathlib import Path

import torch
from safetensors.torch import load as read_tensors
from torch import Tensor, nn
from torch.nn import functional as F

from diffusion.errors import CheckpointError

CHANNELS, DOWN = 32, 8
"""Channels of a latent, and pixels a side that one place of it stands for."""

WIDTH, POOL_WIDTH, POOL_GROUPS = 64, 256, 4
WEIGHTS = "autoencoder.safetensors"


class Block(nn.Module):
    """Three convolutions beside a skip. pooled: first adds a 1x1 network over group norm, through
    which all places see each other's statistics."""

    def __init__(self, pooled: bool = False) -> None:
        super().__init__()
        self.pool: nn.Module | None = None
        if pooled:
            self.pool = nn.Sequential(
                nn.Conv2d(WIDTH, POOL_WIDTH, 1, bias=False),
                nn.GroupNorm(POOL_GROUPS, POOL_WIDTH),
                nn.ReLU(),
                nn.Conv2d(POOL_WIDTH, WIDTH, 1, bias=False),
            )
        self.conv = nn.Sequential(
            _conv(WIDTH, WIDTH), nn.ReLU(), _conv(WIDTH, WIDTH), nn.ReLU(), _conv(WIDTH, WIDTH)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, 64, H, W) -> the same shape."""
        if self.pool is not None:
            x = x + self.pool(x)
        y: Tensor = F.relu(self.conv(x) + x)
        return y


class Bound(nn.Module):
    """Limits latents smoothly: 3 tanh(z / 3)."""

    def forward(self, z: Tensor) -> Tensor:
        """Any shape -> the same shape, within -3..3."""
        return 3 * torch.tanh(z / 3)


class Autoencoder(nn.Module):
    """Pictures (B, 3, H, W) in -1..1, sides multiples of 8, to latents (B, 32, H/8, W/8) and back.

    Over photographs the latents have a mean of about .04 and a standard deviation of about .84.
    """

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            _conv(3, WIDTH),
            Block(),
            *(_halve(), Block(), Block(), Block()),
            *(_halve(), Block(), Block(), Block()),
            *(_halve(), Block(True), Block(True), Block(True)),
            _conv(WIDTH, CHANNELS),
        )
        self.decoder = nn.Sequential(
            *(Bound(), _conv(CHANNELS, WIDTH), nn.ReLU()),
            *(Block(True), Block(True), Block(True), *_double()),
            *(Block(), Block(), Block(), *_double()),
            *(Block(), Block(), Block(), *_double()),
            Block(),
            _conv(WIDTH, 3),
        )

    def encode(self, pictures: Tensor) -> Tensor:
        """(B, 3, H, W) in -1..1 -> (B, 32, H/8, W/8), in the precision of the weights."""
        *_, latents = self.encode_stages(pictures)
        return latents

    def decode(self, latents: Tensor) -> Tensor:
        """(B, 32, h, w) -> (B, 3, 8h, 8w) float32 in -1..1."""
        *_, pictures = self.decode_stages(latents)
        return pictures

    def encode_stages(self, pictures: Tensor) -> Iterator[Tensor]:
        """As `encode`, layer by layer: the last tensor is the answer."""
        x = ((pictures + 1) / 2).to(self._dtype)
        for layer in self.encoder:
            x = layer(x)
            yield x

    def decode_stages(self, latents: Tensor) -> Iterator[Tensor]:
        """As `decode`, layer by layer: the last tensor is the answer."""
        x = latents.to(self._dtype)
        for layer in self.decoder:
            x = layer(x)
            yield x
        yield x.float().clamp(0, 1) * 2 - 1

    @property
    def _dtype(self) -> torch.dtype:
        return next(self.parameters()).dtype

    @cached_property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits of the hash of the weights, in half precision."""
        digest = hashlib.sha256()
        for name, weight in sorted(self.state_dict().items()):
            digest.update(name.encode() + weight.half().cpu().numpy().tobytes())
        return digest.hexdigest()[:16]


def load_autoencoder(device: str = "cpu", path: Path | None = None) -> Autoencoder:
    """The autoencoder in the package, or one of the same shape in another file, in float32.

    Raises CheckpointError for a file that is missing or of another network.
    """
    place = path or Path(str(packaged("diffusion") / "weights" / WEIGHTS))
    model = Autoencoder()
    try:
        weights = {name: w.float() for name, w in read_tensors(place.read_bytes()).items()}
        model.load_state_dict(weights)
    except Exception as error:  # a foreign file fails in many ways
        raise CheckpointError(
            f"{place} does not hold the weights of the autoencoder ({error}); reinstall the package"
        ) from error
    model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model.eval().requires_grad_(False)


def _conv(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1)


def _halve() -> nn.Conv2d:
    return nn.Conv2d(WIDTH, WIDTH, 3, stride=2, padding=1, bias=False)


def _double() -> tuple[nn.Module, nn.Module]:
    return nn.Upsample(scale_factor=2), nn.Conv2d(WIDTH, WIDTH, 3, padding=1, bias=False)
