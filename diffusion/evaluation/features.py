"""Features of pictures: activations of a block of the network at a noise level.

The method is that of Baranchuk et al. 2022 (arXiv:2112.03126) and Xiang et al. 2023
(arXiv:2303.09769).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from diffusion.data import to_unit
from diffusion.errors import ConfigError, DataError
from diffusion.model.denoiser import Denoiser

BATCH = 64


class Features:
    """An encoder from pictures to activations of one block, averaged over cells of a grid.

    The noise depends on the seed alone, so a picture has the same features in any batch.
    """

    def __init__(
        self,
        model: Denoiser,
        block: str,
        sigma: float,
        k: int = 1,
        seed: int = 0,
        grid: int = 1,
    ) -> None:
        """model: runs without a condition. block: one of `model.net.block_names`; later blocks do
        not run. sigma: level of the added noise. k: number of noise samples to average over, with
        the seeds seed, seed + 1, ... (64 bits). grid: cells of a row and of a column; 1 averages
        over all positions. Raises ConfigError for values out of range."""
        if block not in model.net.block_names:
            raise ConfigError(
                f"there is no block {block!r}; give one of {', '.join(model.net.block_names)}"
            )
        low, high = model.schedule.sigma_min, model.schedule.sigma_max
        if not low <= sigma <= high or k < 1 or grid < 1 or not 0 <= seed <= 2**64 - k:
            raise ConfigError(
                f"sigma is {sigma}, k is {k}, grid is {grid} and seed is {seed}; give a sigma of "
                f"{low:g} to {high:g}, k and grid of at least 1, and seeds of 64 bits"
            )
        self.model, self.sigma, self.grid = model, sigma, grid
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
        """Encode (N, 3, S, S) pictures, uint8 or float in -1..1, S being the model's size.

        Returns (N, C * grid^2) float32 on the model's device. Raises DataError for another shape.
        """
        side = self.model.config.size
        if pictures.ndim != 4 or pictures.shape[1:] != (3, side, side):
            raise DataError(
                f"the pictures have the shape {tuple(pictures.shape)}; give (N, 3, {side}, {side})"
            )
        rows = [self._pooled(part) for part in torch.split(pictures, BATCH)]
        return torch.cat(rows)

    def _pooled(self, pictures: Tensor) -> Tensor:
        model, device = self.model, next(self.model.parameters()).device
        x0 = (to_unit(pictures) if pictures.dtype == torch.uint8 else pictures.float()).to(device)
        x0 = model.encode(x0)
        sigma = torch.full((len(x0),), self.sigma, dtype=torch.float64, device=device)
        time, scale = (
            model.schedule.timestep(sigma).float(),
            model.preconditioning(sigma)[2][:, None, None, None],
        )
        total: Tensor | float = 0.0
        for eps in self._noises.to(device):
            x = (scale * (x0 + self.sigma * eps)).float()
            activations = model.net(x, time, stop_at=self._block).float()
            total = total + adaptive_avg_pool2d(activations, self.grid).flatten(1)
        return torch.as_tensor(total) / len(self._noises)
