"""What variants cost, and how like their query they are, by regime, in one run.

scripts/bench variants [--data DIR] [--n 24] [--rounds 5] [--checkpoint C] [--seed 0] [--out FILE]

Cost: seconds for one variant of a square picture, alone and in a batch of 4, without the gate's
redraws; network passes (two a step under guidance); GFLOP of a pass as torch counts them, two for a
multiplication and an addition; the share of the machine's rate in a product of two 2048 x 2048
matrices, in the same round. Medians over rounds.

Likeness: cosine under mini between a picture and a variant of it, for n pictures of DIR (default:
the samples); how often the picture itself is the nearest of all in DIR; the share of pairs of
strangers that are less alike. Beside the way it is done (64 px, own shape): at twice
the side, and squeezed to a square. 95 % intervals by bootstrap over pictures.
--out: a WebP that shows a few of each.
"""

from __future__ import annotations

import argparse
import time
from functools import partial
from pathlib import Path

import numpy as np
from bench_diffusion import product, seconds
from PIL import Image, ImageOps
from retrieval import interval
from sheet import sheet

import search
from diffusion import Denoiser, load
from diffusion.sampling.bands import Bands
from diffusion.sampling.variants import REGIMES, Dial, states
from search.embedders.mini import Mini
from search.images import render
from search.runtime import flops, torch
from search.variants import scaled

SAMPLES = Path(search.__file__).parent / "samples"
SIZE, SHOWN = 256, 6
WAYS = {"own shape": (True, 1), "twice the side": (True, 2), "squeezed": (False, 1)}


def drawn(model: Denoiser, bands: Bands, seeds: range, dial: Dial, vector: torch.Tensor) -> list:
    """The variants of those seeds."""
    with torch.inference_mode():
        for state in states(model, torch.from_numpy(bands.low), seeds, dial, vector):
            x = state.x
    detail = dial.sigma < model.noise.highest
    return [bands.over(low, detail) for low in x.clamp(-1, 1).numpy()]


def cost(model: Denoiser, rounds: int) -> None:
    """The table of what a variant costs."""
    print("| regime | batch | s a variant | passes | GFLOP a pass | passes x GFLOP | of GEMM |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    picture, vector = Image.new("RGB", (SIZE, SIZE), "grey"), torch.zeros(model.config.shape.width)
    for name, dial in REGIMES.items():
        side = model.config.size
        bands = Bands(picture, side, model.config.shape.multiple)
        x, sigma = torch.zeros(1, 3, side, side), torch.ones(1, dtype=torch.float64)
        gflop = flops(lambda x=x, sigma=sigma: model(x, sigma, vector[None]))[0] / 1e9
        passes = dial.steps * (1 if dial.guidance == 1 else 2)
        for batch in (1, 4):
            took, share = [], []
            for _ in range(rounds):
                work = partial(drawn, model, bands, range(batch), dial, vector)
                one, rate = seconds(work, False), 2 * 2048**3 / seconds(product("cpu"), False) / 1e9
                took.append(one / batch)
                share.append(passes * gflop / (one / batch) / rate)
            print(
                f"| {name} | {batch} | {np.median(took):.2f} | {passes} | {gflop:.2f} | "
                f"{passes * gflop:.0f} | {np.median(share):.2f} |",
                flush=True,
            )


def likeness(model: Denoiser, folder: Path, n: int, seed: int, out: Path | None) -> None:
    """The table of how like its query a variant is, and the picture of some."""
    mini = Mini()

    def embed(pictures: list[Image.Image]) -> np.ndarray:
        pixels = [mini.preparation(p) for p in pictures]
        return np.concatenate([mini.embed(pixels[i : i + 16]) for i in range(0, len(pixels), 16)])

    files = sorted(path for path in folder.rglob("*.jpg"))
    order = np.random.default_rng(seed).permutation(len(files))
    pictures = [render(Image.open(files[i])) for i in order]
    everything, chosen = embed(pictures), pictures[:n]
    cosines = (everything @ everything.T)[np.triu_indices(len(pictures), 1)]
    small = (model.config.size,) * 2
    under = embed([ImageOps.fit(p, small, Image.Resampling.LANCZOS) for p in chosen])
    rows: list[list[Image.Image]] = [[p] for p in chosen[:SHOWN]]
    print(f"\n{len(chosen)} of {len(pictures)} pictures of {folder}, seed {seed}; mini\n")
    print("| regime | way | similarity | original first | strangers less alike | s |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, dial in REGIMES.items():
        for way, (own, times) in WAYS.items():
            begun, made = time.monotonic(), []
            for i, picture in enumerate(chosen):
                size = scaled(*picture.size, SIZE)
                canvas = picture.resize(size if own else (SIZE, SIZE), Image.Resampling.LANCZOS)
                bands = Bands(canvas, model.config.size * times, model.config.shape.multiple)
                seeds = range(seed + i, seed + i + 1)
                one = drawn(model, bands, seeds, dial, torch.from_numpy(under[i]))[0]
                made.append(one.resize(size, Image.Resampling.LANCZOS))
            took = time.monotonic() - begun
            vectors = embed(made)
            own_score = (vectors * everything[:n]).sum(1)
            first = (vectors @ everything.T <= own_score[:, None] + 1e-5).all(1)
            share = np.searchsorted(np.sort(cosines), own_score) / len(cosines)
            print(
                f"| {name} | {way} | {interval(own_score, seed)} | {first.mean():.2f} | "
                f"{np.median(share):.2f} | {took:.0f} |",
                flush=True,
            )
            for row, picture in zip(rows, made, strict=False):
                row.append(picture)
    if out:
        ways = [f"{regime}\n{way}" for regime in REGIMES for way in WAYS]
        sheet(rows, ways).save(out, "WebP", quality=80, method=6)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=SAMPLES)
    parser.add_argument("--n", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=5, help="of the first table; 0 for none")
    parser.add_argument("--checkpoint", type=Path, help="default: the shipped one")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="a WebP of some of them")
    args = parser.parse_args()
    model = load(args.checkpoint)
    print(f"{torch.get_num_threads()} threads, weights {model.about['sha256'][:12]}\n")
    if args.rounds:
        cost(model, args.rounds)
    likeness(model, args.data, args.n, args.seed, args.out)


if __name__ == "__main__":
    main()
