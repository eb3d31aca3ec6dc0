"""What the network sees in a picture: activations of a block, at a noise level (Baranchuk et al.
2022, arXiv:2112.03126; Xiang et al. 2023, arXiv:2303.09769)."""

from __future__ import annotations

import torch
from torch import Tensor

from diffusion.data import to_unit
from diffusion.errors import ConfigError, DataError
from diffusion.model.denoiser import Denoiser

BATCH = 64


class Features:
    """An encoder: pictures -> activations of one block, averaged over its places.

    A picture's noise depends on the seed alone, so that it has the same features among any others.
    """

    def __init__(
        self, model: Denoiser, block: str, sigma: float, k: int = 1, seed: int = 0
    ) -> None:
        """block: one of `model.net.blocks`; the forward ends there. sigma: of the noise that is
        added. k: over how many noises the mean is taken, with seeds seed, seed + 1, ... A model
        under a condition runs without. Raises ConfigError."""
        if block not in model.net.blocks:
            raise ConfigError(
                f"there is no block {block!r}; give one of {', '.join(model.net.blocks)}"
            )
        low, high = model.noise.lowest, model.noise.highest
        if not low <= sigma <= high or k < 1 or not 0 <= seed <= 2**64 - k:
            raise ConfigError(
                f"sigma {sigma}, k {k}, seed {seed}: give {low:g} to {high:g}, at least 1, and 64 "
                "bits"
            )
        self.model, self.sigma = model, sigma
        self._block = model.net.get_submodule(block)
        self._noises = torch.stack(
            [
                torch.randn(
                    model.config.sample_shape, generator=torch.Generator().manual_seed(seed + i)
                )
                for i in range(k)
            ]
        )

    @torch.inference_mode()
    def __call__(self, pictures: Tensor) -> Tensor:
        """(N, 3, S, S) uint8, or float in -1..1 -> (N, C) float32, on the model's device.

        S: the model's size. Raises DataError for another shape.
        """
        side = self.model.config.size
        if pictures.ndim != 4 or pictures.shape[1:] != (3, side, side):
            raise DataError(
                f"pictures of the shape {tuple(pictures.shape)}: give (N, 3, {side}, {side})"
            )
        rows = [self._pooled(part) for part in torch.split(pictures, BATCH)]
        return torch.cat(rows)

    def _pooled(self, pictures: Tensor) -> Tensor:
        model, device = self.model, next(self.model.parameters()).device
        x0 = (to_unit(pictures) if pictures.dtype == torch.uint8 else pictures.float()).to(device)
        x0 = model.encode(x0)
        sigma = torch.full((len(x0),), self.sigma, dtype=torch.float64, device=device)
        time, scale = model.noise.time(sigma).float(), model.scales(sigma)[2][:, None, None, None]
        total: Tensor | float = 0.0
        for eps in self._noises.to(device):
            x = (scale * (x0 + self.sigma * eps)).float()
            total = total + model.net(x, time, until=self._block).float().mean((2, 3))
        return torch.as_tensor(total) / len(self._noises)
