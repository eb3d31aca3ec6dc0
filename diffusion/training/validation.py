"""The loss on pictures that are kept from training."""

from __future__ import annotations

import torch
from torch import Tensor

from diffusion.model.denoiser import Denoiser
from diffusion.training.sets import Examples, TrainingSet

MOST = 256  # pictures
BATCH = 32


class Validation:
    """The training loss on held-out pictures, at noise levels and noises that never change."""

    def __init__(self, held_out: TrainingSet, seed: int = 7) -> None:
        count = min(MOST, len(held_out))
        places = torch.arange(count) * len(held_out) // count
        examples = held_out.take(places.to(held_out.device), None)
        generator = torch.Generator().manual_seed(seed)
        eps = torch.randn(examples.x0.shape, generator=generator)
        order = torch.randperm(count, generator=generator)
        self._examples, self._eps = examples, eps
        self._levels = (order + 0.5) / count  # evenly spread, in the order of no class

    @torch.inference_mode()
    def __call__(self, model: Denoiser) -> float:
        """The mean over the pictures."""
        device = next(model.parameters()).device
        sigma = model.schedule.draw_sigmas(self._levels.double())
        losses = list[Tensor]()
        for first in range(0, len(sigma), BATCH):
            part = slice(first, first + BATCH)
            one = _on_device(self._examples, part, device)
            condition = one.condition
            if model.config.shape.condition == "none":
                condition = None
            losses.append(
                model.loss(
                    one.x0,
                    sigma[part] if device.type == "mps" else sigma[part].to(device),
                    self._eps[part].to(device),
                    condition,
                    one.size,
                ).cpu()
            )
        return float(torch.cat(losses).mean())


def _on_device(examples: Examples, part: slice, device: torch.device) -> Examples:
    condition, size = (
        None if value is None else value[part].to(device)
        for value in (examples.condition, examples.size)
    )
    return Examples(examples.x0[part].to(device), condition, size)
