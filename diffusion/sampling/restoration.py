"""Restoration of a picture: noise that is already in it is removed, and masked parts are painted.

A denoiser at noise level sigma takes x_0 + sigma eps to the expected x_0 (`diffusion.model`). A
noisy photograph is such an x, so one pass at the level of its noise is the best estimate of the
clean photograph by least squares (Miyasawa 1961; Kadkhodaie and Simoncelli 2021, arXiv:2007.13640).
Functions yield after each piece of work, so that the caller can do other work in between.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from diffusion.errors import ConfigError
from diffusion.model.denoiser import Denoiser
from diffusion.sampling.samplers import make_sigmas, seeded_noise

TILE, OVERLAP = 128, 16
"""Side of a tile in pixels, and how far neighbours overlap. One pass of `ddpm` over a tile of 128
pixels has some 2.4 GFLOP."""
PAINT_STEPS, PAINT_ROUNDS = 10, 3


def denoise_tiles(
    model: Denoiser, picture: Tensor, sigma: float, tile: int = TILE
) -> Iterator[Tensor | None]:
    """Remove noise from a picture of any size by one pass of a model on pixels over each tile.

    picture: (3, H, W) in -1..1, noise included. sigma: standard deviation of the noise in the same
    unit, above 0. tile: side in pixels. Tiles overlap, and are blended there. Yields None after
    each tile, last the picture, (3, H, W) float32 in -1..1. Raises ConfigError for a sigma of 0 or
    less, and for a model on latents, whose noise is of another kind.
    """
    if model.config.space != "pixels" or not sigma > 0:
        raise ConfigError(
            f"sigma {sigma} and a model on {model.config.space}: noise of pixels is removed by a "
            "model on pixels, at a sigma above 0"
        )
    multiple = model.config.multiple
    height, width = picture.shape[-2:]
    device = next(model.parameters()).device
    total = torch.zeros_like(picture, dtype=torch.float32)
    weight = torch.zeros(1, height, width)
    level = torch.tensor([min(sigma, model.schedule.sigma_max)], dtype=torch.float64)
    for top in _list_starts(height, tile):
        for left in _list_starts(width, tile):
            part = picture[:, top : top + tile, left : left + tile]
            h, w = part.shape[-2:]
            padded = _pad(part, -h % multiple, -w % multiple).to(device)
            clean = model(padded[None], level.to(device))[0, :, :h, :w].float().cpu()
            window = _make_window(h)[:, None] * _make_window(w)[None]
            total[:, top : top + h, left : left + w] += window * clean
            weight[:, top : top + h, left : left + w] += window
            yield None
    yield (total / weight).clamp(-1, 1)


def paint_states(
    model: Denoiser,
    start: Tensor,
    unknown: Tensor,
    seed: int = 0,
    steps: int = PAINT_STEPS,
    rounds: int = PAINT_ROUNDS,
    condition: Tensor | None = None,
) -> Iterator[Tensor]:
    """Paint the unknown part of a picture, and keep the rest (RePaint, Lugmayr et al. 2022,
    arXiv:2201.09865, algorithm 1, with the known part set in the estimate of x_0).

    start: (C, h, w), a picture after `Denoiser.encode`; what it has in the unknown part is not
    used. unknown: (1, h, w) bool. steps: noise levels. rounds: how often each level is gone
    through; noise is added again in between, so that the painted part comes to fit the known one.
    condition: content of the whole picture, as `diffusion.variants` takes it.
    Yields the estimate of x_0, (C, h, w), after each pass of the network. Raises ConfigError for
    less than 1 step or 1 round, and for a mask of another size.
    """
    if steps < 1 or rounds < 1 or unknown.shape[-2:] != start.shape[-2:]:
        raise ConfigError(
            f"{steps} steps, {rounds} rounds and a mask of {tuple(unknown.shape)} for a picture of "
            f"{tuple(start.shape)}: give 1 step and 1 round at least, and a mask of the same size"
        )
    device = next(model.parameters()).device
    normal = seeded_noise([seed], tuple(start.shape), str(device))
    known = start[None].to(device)
    hidden = unknown[None].to(device)
    conditions = None if condition is None else condition[None].to(device)
    denoise = model.make_denoise_function(conditions)
    sigmas = make_sigmas(model.schedule, steps)
    x = sigmas[0] * normal()
    for t, s in zip(sigmas, sigmas[1:], strict=False):
        for turn in range(rounds if s else 1):
            if turn:
                x = x + (t**2 - s**2) ** 0.5 * normal()
            x = torch.where(hidden, x, known + t * normal())
            x0 = torch.where(hidden, denoise(x, t), known)
            yield x0[0]
            share = (s / t) ** 2  # of x; the rest is x_0 and new noise (Ho et al. 2020, eq. 7)
            x = x0 + share * (x - x0) + s * (1 - share) ** 0.5 * normal()


def _list_starts(length: int, tile: int) -> list[int]:
    """Return where tiles begin, so that they cover a length, the last one up to its end."""
    if length <= tile:
        return [0]
    count = -(-(length - OVERLAP) // (tile - OVERLAP))
    return [round(i * (length - tile) / (count - 1)) for i in range(count)]


def _make_window(length: int) -> Tensor:
    """Return the weights (length,) of a tile, which fall towards its ends."""
    ramp = torch.arange(1, length + 1).float()
    return torch.minimum(ramp, ramp.flip(0)).clamp(max=OVERLAP) / OVERLAP


def _pad(picture: Tensor, below: int, right: int) -> Tensor:
    """Pad (C, H, W) by its mirror image, in steps where it is smaller than the padding."""
    while below or right:
        h, w = picture.shape[-2:]
        down, across = min(below, h), min(right, w)
        flipped = picture[:, h - down :].flip(1)
        picture = torch.cat([picture, flipped], 1)
        picture = torch.cat([picture, picture[:, :, w - across :].flip(2)], 2)
        below, right = below - down, right - across
    return picture
