"""Views of a picture, and their vectors: variants, crops, and degraded copies.

The measurements of augmentation share them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageEnhance, ImageFilter

from diffusion import Denoiser
from diffusion.data import to_bytes, to_unit
from diffusion.sampling.variants import REGIMES, denoise_states
from search.embedders.mini import Mini
from search.media.edits import compress, shrink

SIDE = 128  # px, of variants
LEAST = 0.6  # side of a crop, as a share


def embed_pictures(mini: Mini, pictures: Sequence[Image.Image]) -> np.ndarray:
    """Return vectors, (n, dim) of unit length, sixteen pictures at a time."""
    rows = []
    for i in range(0, len(pictures), 16):
        part = [picture.convert("RGB") for picture in pictures[i : i + 16]]
        rows.append(mini.embed([mini.preprocessing(one) for one in part]))
    return np.concatenate(rows)


@torch.inference_mode()
def draw_variants(
    model: Denoiser,
    picture: Image.Image,
    vector: np.ndarray,
    seeds: Sequence[int],
    regime: str = "near",
) -> list[Image.Image]:
    """Return variants of a picture by the latent model, one for each seed, squares of 128 px.
    vector: (512,) the picture's vector. No acceptance test is applied."""
    square = picture.convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    x = to_unit(torch.from_numpy(np.array(square)).permute(2, 0, 1)[None])
    start = model.encode(x)[0].float()
    chosen, condition = REGIMES["latent"][regime], torch.from_numpy(vector)
    for state in denoise_states(model, start, seeds, chosen, condition):
        x = state.x
    rows = to_bytes(model.decode(x.float())).permute(0, 2, 3, 1).numpy()
    return [Image.fromarray(row).resize(picture.size, Image.Resampling.BICUBIC) for row in rows]


def crop(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Cut a part of a picture, and mirror it half of the time."""
    w, h = (round(side * rng.uniform(LEAST, 1)) for side in picture.size)
    left, top = rng.integers(0, picture.width - w + 1), rng.integers(0, picture.height - h + 1)
    part = picture.crop((left, top, left + w, top + h))
    return part.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else part


def degrade(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Add noise, blur, darken, compress or shrink a picture, by chance."""
    kind = rng.integers(5)
    if kind == 0:
        level = rng.uniform(10, 80)
        noisy = np.asarray(picture) + rng.normal(0, level, (picture.height, picture.width, 3))
        return Image.fromarray(noisy.round().clip(0, 255).astype(np.uint8))
    if kind == 1:
        return picture.filter(ImageFilter.GaussianBlur(rng.uniform(0.01, 0.03) * min(picture.size)))
    if kind == 2:
        return ImageEnhance.Brightness(picture).enhance(rng.uniform(0.15, 0.5))
    if kind == 3:
        return compress(picture, int(rng.integers(5, 25)))
    share = rng.uniform(0.2, 0.5)
    return shrink(picture, share)
