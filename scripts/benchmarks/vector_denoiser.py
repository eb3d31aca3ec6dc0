"""A small denoiser over vectors of pictures, a rival of the expansion of queries."""

from __future__ import annotations

import numpy as np
import torch

WIDTH, STEPS, BATCH = 1024, 2000, 512
LOG_SIGMA = (-1.2, 0.8)  # mean and standard deviation of ln(sigma) in training


class VectorDenoiser(torch.nn.Module):
    """Predicts unit vectors from noisy ones, with the preconditioning of T. Karras et al.,
    "Elucidating the Design Space of Diffusion-Based Generative Models", NeurIPS 2022, table 1."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.net = torch.nn.Sequential(
            torch.nn.Linear(dim + 1, WIDTH),
            torch.nn.SiLU(),
            torch.nn.Linear(WIDTH, WIDTH),
            torch.nn.SiLU(),
            torch.nn.Linear(WIDTH, dim),
        )
        self.scale = dim**0.5  # a unit vector has elements of variance 1 / dim

    def forward(self, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        """(B, dim) vectors of variance 1, noisy by sigma (B, 1) -> (B, dim) without noise."""
        total = (sigma**2 + 1).sqrt()
        out = self.net(torch.cat([x / total, sigma.log() / 4], 1))
        return x / total**2 + out * sigma / total

    @classmethod
    def fit(cls, rows: np.ndarray, seed: int) -> VectorDenoiser:
        """Train on unit vectors (n, dim)."""
        torch.manual_seed(seed)
        model = cls(rows.shape[1])
        data = torch.from_numpy(rows).float() * model.scale
        optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS)
        for _ in range(STEPS):
            x = data[torch.randint(len(data), (BATCH,))]
            sigma = (LOG_SIGMA[0] + LOG_SIGMA[1] * torch.randn(BATCH, 1)).exp()
            error = model(x + sigma * torch.randn_like(x), sigma) - x
            loss = (error.square() * (sigma**2 + 1) / sigma**2).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
        return model.eval()

    @torch.inference_mode()
    def denoise(self, rows: np.ndarray, sigma: float) -> np.ndarray:
        """(n, dim) unit vectors -> (n, dim) unit vectors, as if they were noisy by sigma."""
        x = torch.from_numpy(rows).float() * self.scale
        x_0 = self(x, torch.full((len(x), 1), sigma))
        return torch.nn.functional.normalize(x_0, dim=1).numpy()
