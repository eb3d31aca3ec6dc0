"""A small convolutional autoencoder between pictures and latents of an eighth of their side.

It is the tiny autoencoder for the latents of FLUX.2 (MIT license, see `weights/NOTICE`). It has 2.7
million parameters, and reconstructs photographs with a PSNR of about 26 dB.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cached_property
from importlib.resources import files as packaged
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diffusion.errors import CheckpointError
from diffusion.tensors import check_shapes, list_shapes, read_header, read_tensors

CHANNELS, DOWNSAMPLING = 32, 8
"""Channels of a latent, and side in pixels of the patch that one position of it stands for."""

WIDTH, POOL_WIDTH, POOL_GROUPS = 64, 256, 4
WEIGHTS = "autoencoder.safetensors"


class Block(nn.Module):
    """Residual block of three convolutions.

    pooled: first add a 1x1 network with group normalization, which shares statistics between all
    positions.
    """

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
        """(B, 64, H, W) -> (B, 64, H, W)."""
        if self.pool is not None:
            x = x + self.pool(x)
        y: Tensor = F.relu(self.conv(x) + x)
        return y


class SoftClamp(nn.Module):
    """Limit latents smoothly to -3..3 by 3 tanh(z / 3)."""

    def forward(self, z: Tensor) -> Tensor:
        """Any shape -> the same shape, in -3..3."""
        return 3 * torch.tanh(z / 3)


class Autoencoder(nn.Module):
    """Pictures (B, 3, H, W) in -1..1 to latents (B, 32, H/8, W/8) and back.

    H and W are multiples of 8. Latents of photographs have a mean of about .04 and a standard
    deviation of about .84.
    """

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            _conv(3, WIDTH),
            Block(),
            *(_downsample(), Block(), Block(), Block()),
            *(_downsample(), Block(), Block(), Block()),
            *(_downsample(), Block(True), Block(True), Block(True)),
            _conv(WIDTH, CHANNELS),
        )
        self.decoder = nn.Sequential(
            *(SoftClamp(), _conv(CHANNELS, WIDTH), nn.ReLU()),
            *(Block(True), Block(True), Block(True), *_upsample()),
            *(Block(), Block(), Block(), *_upsample()),
            *(Block(), Block(), Block(), *_upsample()),
            Block(),
            _conv(WIDTH, 3),
        )

    def encode(self, pictures: Tensor) -> Tensor:
        """Encode (B, 3, H, W) in -1..1 as (B, 32, H/8, W/8), in the dtype of the weights."""
        *_, latents = self.encode_stages(pictures)
        return latents

    def decode(self, latents: Tensor) -> Tensor:
        """Decode (B, 32, h, w) to (B, 3, 8h, 8w) float32 in -1..1."""
        *_, pictures = self.decode_stages(latents)
        return pictures

    def encode_stages(self, pictures: Tensor) -> Iterator[Tensor]:
        """Encode layer by layer: yields each layer's output, last the latents of `encode`."""
        x = ((pictures + 1) / 2).to(self._dtype)
        for layer in self.encoder:
            x = layer(x)
            yield x

    def decode_stages(self, latents: Tensor) -> Iterator[Tensor]:
        """Decode layer by layer: yields each layer's output, last the pictures of `decode`."""
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
        """First 16 hexadecimal digits of the SHA-256 of the weights in half precision."""
        digest = hashlib.sha256()
        for name, weight in sorted(self.state_dict().items()):
            digest.update(name.encode() + weight.half().cpu().numpy().tobytes())
        return digest.hexdigest()[:16]


def load_autoencoder(device: str = "cpu", path: Path | None = None) -> Autoencoder:
    """Load the autoencoder in float32, in evaluation mode.

    device: a torch device. path: a .safetensors file with weights of the same network; by default
    the one in the package. Raises CheckpointError if the file is missing or does not fit.
    """
    place = path or Path(str(packaged("diffusion") / "weights" / WEIGHTS))
    model = Autoencoder()
    try:
        check_shapes(read_header(place).shapes, list_shapes(model.state_dict()))
        weights = {name: w.float() for name, w in read_tensors(place).items()}
        model.load_state_dict(weights)
    except Exception as error:  # torch and safetensors raise many types for bad files
        raise CheckpointError(
            f"{place} does not hold the weights of the autoencoder ({error}); reinstall the package"
        ) from error
    model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model.eval().requires_grad_(False)


def _conv(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1)


def _downsample() -> nn.Conv2d:
    return nn.Conv2d(WIDTH, WIDTH, 3, stride=2, padding=1, bias=False)


def _upsample() -> tuple[nn.Module, nn.Module]:
    return nn.Upsample(scale_factor=2), nn.Conv2d(WIDTH, WIDTH, 3, padding=1, bias=False)
