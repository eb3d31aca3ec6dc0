"""Measure how far variants in bfloat16 are from those in float32, and how fast each is.

    scripts/bench precision [--n 8] [--size 256] [--seed 0] [--sigmas 0.7 1 2 80]

For n of the sample pictures and each sigma: the largest and the 99th percentile of the difference
of a value of 0 to 255, the share of values that differ by more than 2, and the ratio of the times.
The network runs under autocast; the state between the steps stays in float32. Processors without
bfloat16 instructions compute it slowly, but with the same result.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import search
from diffusion import Denoiser, load
from diffusion.data import to_bytes, to_unit
from diffusion.media.images import crop_square
from diffusion.sampling.variants import denoise_states, resolve_settings
from search.embedders.mini import Mini

SAMPLES = Path(search.__file__).parent / "samples"


def draw(
    model: Denoiser, x: torch.Tensor, condition: torch.Tensor, sigma: float, seed: int, bf16: bool
) -> tuple[np.ndarray, float]:
    """Return variants of latents (N, 32, h, w) as (N, 3, H, W) uint8, and the sampling time (s)."""
    begun = time.perf_counter()
    chosen = resolve_settings(None, sigma, None, None, "latent")
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, bf16):
        seeds = range(seed, seed + len(x))
        *_, last = denoise_states(model, x, seeds, chosen, condition)
    elapsed = time.perf_counter() - begun
    with torch.inference_mode():
        return to_bytes(model.decode(last.x.float())).numpy(), elapsed


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--n", type=int, default=8)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sigmas", type=float, nargs="+", default=[0.7, 1.0, 2.0, 80.0])
    args = parser.parse_args()
    files = sorted(SAMPLES.rglob("*.jpg"))
    pictures = [Image.open(files[i * len(files) // args.n]).convert("RGB") for i in range(args.n)]
    model, mini = load("photo"), Mini()
    vectors = torch.from_numpy(mini.embed([mini.preprocessing(picture) for picture in pictures]))
    squares = np.stack([crop_square(picture, args.size) for picture in pictures])
    with torch.inference_mode():
        x = model.encode(to_unit(torch.from_numpy(squares).permute(0, 3, 1, 2)))
    print(f"{args.n} pictures at {args.size} px, seed {args.seed}")
    print("| sigma | largest | 99 % | above 2 | time in float32 / in bfloat16 |")
    print("| --- | --- | --- | --- | --- |")
    for sigma in args.sigmas:
        exact, slow = draw(model, x, vectors, sigma, args.seed, False)
        rough, fast = draw(model, x, vectors, sigma, args.seed, True)
        difference = np.abs(exact.astype(np.int16) - rough.astype(np.int16))
        print(
            f"| {sigma:g} | {difference.max()} | {np.percentile(difference, 99):.0f} | "
            f"{(difference > 2).mean():.3f} | {slow / fast:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
