"""Pictures out of a model: start from noise, walk down."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from diffusion.denoiser import Denoiser
from diffusion.errors import ConfigError
from diffusion.samplers import SAMPLERS, grid, normals
from diffusion.unet import Shape

BATCH = 64
MOST_SEED = 2**64


def sample(
    model: Denoiser,
    n: int = 1,
    *,
    seed: int = 0,
    condition: Tensor | None = None,
    steps: int = 15,
    sampler: str = "dpmpp_2m",
    guidance: float = 1.0,
    interval: tuple[float, float] = (0.0, float("inf")),
) -> Tensor:
    """n pictures, (n, 3, S, S) float32 in -1..1, on the model's device.

    seed: the first has it, the next seed + 1, and so on; a picture is the same alone or among
    others. condition: (n,) classes or (n, D) unit vectors; None for none. guidance, interval: as
    `Denoiser.denoise`. Raises ConfigError.
    """
    parts = list(samples(model, n, seed, condition, steps, sampler, guidance, interval))
    return torch.cat(parts)


def samples(
    model: Denoiser,
    n: int,
    seed: int,
    condition: Tensor | None,
    steps: int,
    sampler: str,
    guidance: float,
    interval: tuple[float, float],
) -> Iterator[Tensor]:
    """As `sample`, batch by batch."""
    if n < 1 or sampler not in SAMPLERS or not 0 <= seed <= MOST_SEED - n:
        raise ConfigError(
            f"n {n}, sampler {sampler!r}, seed {seed}: give at least 1, one of "
            f"{', '.join(SAMPLERS)}, and 64 bits"
        )
    _check(condition, n, model.config.shape)
    device = str(next(model.parameters()).device)
    side = model.config.size
    sigmas = grid(model.noise, steps)
    for first in range(0, n, BATCH):
        part = range(first, min(n, first + BATCH))
        under = None if condition is None else condition[part.start : part.stop].to(device)
        normal = normals([seed + i for i in part], (3, side, side), device)
        with torch.inference_mode():
            x = sigmas[0] * normal()
            for state in SAMPLERS[sampler](
                model.denoise(under, guidance, interval), x, sigmas, normal
            ):
                x = state.x
            yield x.clamp(-1, 1)


def _check(condition: Tensor | None, n: int, shape: Shape) -> None:
    """Raises ConfigError for a condition that is not one of n for a model of that shape."""
    if condition is None:
        return
    kind, wanted = shape.condition, (n,) if shape.condition == "class" else (n, shape.width)
    if kind == "none" or tuple(condition.shape) != wanted:
        raise ConfigError(
            f"a condition of {tuple(condition.shape)} for {n} pictures of a model of condition "
            f"{kind}: give {wanted if kind != 'none' else 'none'}"
        )
    if kind == "class" and not ((condition >= -1) & (condition < shape.width)).all():
        raise ConfigError(f"classes are 0 to {shape.width - 1}, and -1 for none")
