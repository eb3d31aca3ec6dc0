"""How good the pictures of a DDPM are, by the measure that its card quotes, in one run.

scripts/bench ddpm [--data ../shared/data] [--checkpoint C] [--n N] [--out DIR] [--steps N...]
    [--guidance W...] [--interval LOW HIGH]

One sample for each of n photos64-val pictures, conditioned on its vector by the encoder that the
checkpoint names, against the photos64-train pictures: Frechet distance, KID, precision, recall and
nearest training picture over the pooled features of MobileNetV2 at 224 px (bicubic). Beside it, by
the same measure and n: the val pictures themselves, through 32 px and back, and through JPEG q10.
Features of real pictures are kept under --cache, so that a second run is quick.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from PIL import Image

from diffusion import Denoiser, load, sample
from diffusion.data import Pictures, read, to_bytes, to_unit
from diffusion.evaluation.report import Encode, Measure, Report, Row, sheet
from diffusion.model.denoiser import EVERYWHERE
from diffusion.plots import save_png, tiled
from diffusion.sampling.sample import way
from search.embedders.base import Preparation
from search.embedders.efficientnet import EfficientNetLite
from search.embedders.mini import Mini
from search.embedders.mobilenet import MiniNet, to_tensor
from search.runtime import torch

CHUNK = 50  # samples between two lines of progress
MOST_PASSES = 15
NEAREST = 40  # pairs that are shown


def photographs(images: torch.Tensor) -> list[Image.Image]:
    """(B, 3, S, S) uint8 -> pictures."""
    return [Image.fromarray(a) for a in images.permute(0, 2, 3, 1).contiguous().numpy()]


def encoder(net: EfficientNetLite | MiniNet, size: int, device: str) -> Encode:
    """A network's pooled features at so many pixels a side, not normalised."""
    net, prepare = net.to(device), Preparation(size)

    def encode(images: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            pixels = [prepare(p) for p in photographs(images)]
            return net.features(to_tensor(pixels, net.mean, net.std, device))

    return encode


def conditions(images: torch.Tensor, mini: Mini) -> torch.Tensor:
    """(N, 512): the vectors of the pictures."""
    pixels = [mini.preparation(p) for p in photographs(images)]
    parts = [mini.embed(pixels[i : i + 16]) for i in range(0, len(pixels), 16)]
    return torch.from_numpy(np.concatenate(parts))


def evenly(count: int, n: int) -> torch.Tensor:
    """(n,) places of so many, evenly spaced: of the classes, which are in order, alike."""
    return torch.arange(n) * count // n


def made(
    model: Denoiser, under: torch.Tensor | None, n: int, seed: int, how: dict
) -> tuple[torch.Tensor, float, float]:
    """n samples as uint8, network passes for each, and seconds."""
    rows = 0

    def count(net: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        nonlocal rows
        rows += len(inputs[0])

    hook, begun, parts = model.net.register_forward_pre_hook(count), time.monotonic(), []
    tell = told(f"samples, {how}")
    for first in range(0, n, CHUNK):
        size = min(CHUNK, n - first)
        part = None if under is None else under[first : first + size]
        parts.append(to_bytes(sample(model, size, seed=seed + first, condition=part, **how)).cpu())
        tell(first + size, n)
    hook.remove()
    return torch.cat(parts), rows / n, time.monotonic() - begun


def told(what: str):
    """Progress to standard error, at most a line each five seconds."""
    last = time.monotonic()

    def tell(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last > 5 or done == total:
            last = time.monotonic()
            print(f"\r{what}: {done} of {total} ", end="", file=sys.stderr, flush=True)
            if done == total:
                print(file=sys.stderr)

    return tell


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """What is asked for on the command line, or by `words`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    root = Path(__file__).resolve().parents[2]
    parser.add_argument("--data", type=Path, default=root / "shared" / "data")
    parser.add_argument("--checkpoint", type=Path, help="default: the shipped one")
    parser.add_argument("--n", type=int, help="default: 5000, on a CPU 1000")
    parser.add_argument("--reference", type=int, help="use only so many training pictures")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "lookalike")
    parser.add_argument("--out", type=Path, help="a folder for grid, nearest pairs and JSON")
    parser.add_argument("--steps", type=int, nargs="+", default=[15])
    parser.add_argument("--sampler", nargs="+", default=["dpmpp_2m"])
    parser.add_argument("--guidance", type=float, nargs="+", default=[1.0])
    parser.add_argument("--interval", type=float, nargs=2, default=EVERYWHERE)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    return parser.parse_args(words)


def main() -> None:
    print(report(arguments()).table())


@dataclass(frozen=True)
class Stand:
    """A model, held-out pictures (uint8), what samples are conditioned on, one for each; what they
    are measured by, its reference, and of how many training pictures that is."""

    model: Denoiser
    held: torch.Tensor
    under: torch.Tensor | None
    measure: Measure
    reference: Pictures
    total: int


def stand(args: argparse.Namespace, chosen: Callable[[int], torch.Tensor]) -> Stand:
    """chosen: of so many validation pictures, the places of those that are held out."""
    zips = sorted(args.data.glob("photos64-train-*.zip"))
    if not zips:
        raise SystemExit(f"{args.data} has no photos64-train-*.zip; give --data")
    mini = Mini(version="mini-1")  # the model that ships is conditioned on its vectors
    model = load(args.checkpoint, args.device)
    vectors = model.config.shape.condition == "vector"
    if vectors:  # refused unless these are the encoder's
        model = load(args.checkpoint, args.device, encoder=mini.fingerprint)
    side = model.config.size
    held = read([args.data / "photos64-val.zip"], side).images
    held = held[chosen(len(held))]
    training = read(zips, side)
    total = len(training)
    reference = training.only(evenly(total, min(total, args.reference or total)).tolist())
    measure = Measure(
        encoder(args.data, args.device),
        "MobileNetV2 at 224 px",
        reference.images,
        args.seed,
        args.cache,
        told("features"),
    )
    under = conditions(held, mini) if vectors else None
    return Stand(model, held, under, measure, reference, total)


def report(args: argparse.Namespace) -> Report:
    """Samples, measured beside the yardsticks."""
    most = args.n or (1000 if args.device == "cpu" else 5000)
    with_ = stand(args, lambda count: evenly(count, min(count, most)))
    model, measure, n, rows = with_.model, with_.measure, len(with_.held), list[Row]()
    interval = tuple(args.interval)
    for steps, sampler, guidance in product(args.steps, args.sampler, args.guidance):
        how = {"steps": steps, "sampler": sampler, "guidance": guidance, "interval": interval}
        pictures, passes, seconds = made(model, with_.under, n, args.seed, how)
        over = " (over 15)" if passes > MOST_PASSES else ""
        said = f"{way(sampler, steps, guidance, interval)}: {passes:g} passes{over}"
        rows.append(measure.row(f"{said}, {n / seconds:.1f}/s", pictures))
        if args.out:
            name = args.out / f"{sampler}-{steps}-{guidance:g}"
            write(name, pictures, with_.reference, rows[-1], args.seed)
    known = about(args, model, with_.total)
    made_of = Report.of(measure, rows + measure.yardsticks(with_.held), known)
    if args.out:
        text = json.dumps(made_of.to_json(), indent=1, ensure_ascii=False)
        (args.out / "report.json").write_text(text + "\n", encoding="utf-8")
    return made_of


def write(name: Path, made: torch.Tensor, reference: Pictures, row: Row, seed: int) -> None:
    """A grid of samples, and the samples that are nearest to a training picture beside it; also
    their seeds, distances and the names of those."""
    grid = made[evenly(len(made), min(64, len(made)))]
    save_png(Path(f"{name}-grid.png"), tiled(to_unit(grid), scale=2))
    save_png(Path(f"{name}-nearest.png"), sheet(made, reference.images, row, NEAREST))
    order = row.distances.argsort()[:NEAREST].tolist()
    lines = [f"{seed + i}  {row.distances[i]:.2f}  {reference.names[row.places[i]]}" for i in order]
    Path(f"{name}-nearest.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def about(args: argparse.Namespace, model: Denoiser, total: int) -> dict:
    """What a figure is to be read with."""
    gpu = torch.cuda.get_device_name() if args.device != "cpu" else ""
    machine = gpu or f"{os.cpu_count()} cores of {platform.machine()}"
    known = model.about
    said = {
        "preset": model.config.preset,
        "weights": known["sha256"][:16],
        "step": known.get("step"),
        "seen": known.get("seen"),
        "reference": f"of {total} training pictures",
        "machine": machine,
    }
    if args.device == "cpu":
        said["note"] = "measured on a CPU, not to be compared with another n"
    return said


if __name__ == "__main__":
    main()
