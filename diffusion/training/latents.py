"""Latents of pictures to train on: windows of each picture at random places and scales, encoded
once, in several versions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from diffusion.model.autoencoder import DOWN, Autoencoder

BATCH = 256  # windows that are encoded together


@dataclass(frozen=True)
class Windows:
    """How pictures are cut to windows.

    places: side of a window in places of the latents. crop: of it, what a step trains on. versions:
    windows of each picture, half of them mirrored. least, most: short side in pixels to which a
    picture is scaled, log-uniform; never enlarged, and a smaller picture is left out.
    """

    places: int
    crop: int
    versions: int
    least: int
    most: int

    @property
    def side(self) -> int:
        """Pixels a side."""
        return self.places * DOWN


SMALL = Windows(places=17, crop=16, versions=6, least=136, most=256)
LARGE = Windows(places=32, crop=32, versions=4, least=256, most=256)


def cut(picture: Image.Image, windows: Windows, seed: int) -> tuple[np.ndarray, np.ndarray] | None:
    """An RGB picture -> (V, side, side, 3) uint8 and (V,) short sides of the whole picture, in
    places of the latents. None for one that is too small."""
    short = min(picture.size)
    if short < windows.least:
        return None
    random = np.random.default_rng(seed)
    pixels, sizes = [], []
    for version in range(windows.versions):
        low, high = np.log(windows.least), np.log(min(short, windows.most))
        scaled = round(float(np.exp(random.uniform(low, high))))
        span = windows.side * short / scaled  # of a window, in pixels of the picture
        left = random.uniform(0, picture.width - span)
        top = random.uniform(0, picture.height - span)
        if scaled == short:
            left, top, span = round(left), round(top), windows.side
        box = (left, top, left + span, top + span)
        size = (windows.side, windows.side)
        window = np.asarray(picture.resize(size, Image.Resampling.LANCZOS, box))
        pixels.append(window[:, ::-1] if version % 2 else window)
        sizes.append(scaled / DOWN)
    return np.stack(pixels), np.array(sizes, np.float32)


def encode(
    autoencoder: Autoencoder,
    pictures: Sequence[Image.Image],
    windows: Windows,
    seed: int = 0,
    workers: int = 1,
) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Index of each picture that is large enough, its latents (V, places, places, 32) float16 as
    the autoencoder gives them, on its device, and its (V,) sizes."""
    device = next(autoencoder.parameters()).device
    with ThreadPoolExecutor(workers) as pool:
        jobs = pool.map(lambda i: cut(pictures[i], windows, seed + i), range(len(pictures)))
        waiting = list[tuple[int, np.ndarray, np.ndarray]]()
        for index, found in enumerate(jobs):
            if found is not None:
                waiting.append((index, *found))
            full = len(waiting) * windows.versions >= BATCH
            if waiting and (full or index == len(pictures) - 1):
                stacked = torch.from_numpy(np.concatenate([pixels for _, pixels, _ in waiting]))
                unit = stacked.to(device).permute(0, 3, 1, 2).float() / 127.5 - 1
                with torch.inference_mode():
                    codes = autoencoder.encode(unit.contiguous(memory_format=torch.channels_last))
                codes = codes.permute(0, 2, 3, 1).half()
                codes = codes.reshape(-1, windows.versions, *codes.shape[1:])
                for (place, _, sizes), one in zip(waiting, codes, strict=True):
                    yield place, one, torch.from_numpy(sizes).to(device)
                waiting.clear()
