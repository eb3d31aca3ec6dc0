"""How good the samples of a DDPM are, by the measures of its card.

scripts/bench ddpm [--data ../shared/data] [--checkpoint C] [--n N] [--out DIR] [--steps N...]
    [--guidance W...] [--interval LOW HIGH]

It draws one sample for each of n photos64-val pictures, conditioned on the vector of the picture.
The table has Frechet distance, KID, precision, recall and the nearest training picture, against
photos64-train, over pooled features of MobileNetV2 at 224 px (bicubic). Baselines of the same n are
the val pictures themselves, through 32 px and back, and through JPEG q10. Features of real pictures
are cached under --cache.
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

sys.path.insert(1, str(Path(__file__).resolve().parents[1] / "train"))

import networks
import numpy as np
from PIL import Image

from diffusion import Denoiser, load, sample
from diffusion.data import Pictures, read_pictures, to_bytes, to_unit
from diffusion.evaluation.report import Encode, Evaluator, Report, Row, draw_nearest_pairs
from diffusion.model.denoiser import FULL_INTERVAL
from diffusion.plots import save_png, tile_pictures
from diffusion.sampling.sample import describe_sampling
from search.embedders.efficientnet import EfficientNetLite
from search.embedders.mini import Mini
from search.embedders.mobilenet import MiniNet, to_tensor
from search.media.preprocessing import Preprocessing
from search.runtime import flops, torch

CHUNK = 50  # samples between two lines of progress
MAX_PASSES = 15
NEAREST = 40  # pairs in the figure


def photographs(images: torch.Tensor) -> list[Image.Image]:
    """(B, 3, S, S) uint8 -> pictures."""
    return [Image.fromarray(a) for a in images.permute(0, 2, 3, 1).contiguous().numpy()]


def encoder(net: EfficientNetLite | MiniNet, size: int, device: str) -> Encode:
    """A network's pooled features at so many pixels a side, not normalised."""
    net, prepare = net.to(device), Preprocessing(size)

    def encode(images: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            pixels = [prepare(p) for p in photographs(images)]
            return net.features(to_tensor(pixels, net.mean, net.std, device))

    return encode


def conditions(images: torch.Tensor, mini: Mini) -> torch.Tensor:
    """(N, 512): the vectors of the pictures."""
    pixels = [mini.preprocessing(p) for p in photographs(images)]
    parts = [mini.embed(pixels[i : i + 16]) for i in range(0, len(pixels), 16)]
    return torch.from_numpy(np.concatenate(parts))


def evenly(count: int, n: int) -> torch.Tensor:
    """Return n evenly spaced indices, which take equally many pictures of each class."""
    return torch.arange(n) * count // n


def draw_samples(
    model: Denoiser, condition: torch.Tensor | None, n: int, seed: int, options: dict
) -> tuple[torch.Tensor, float, float]:
    """Draw n samples as uint8; also returns network passes for each, and seconds.

    A pass of the weak model counts by its cost (`relative_cost`).
    """
    rows = 0.0

    def counter(cost: float) -> Callable[..., None]:
        def count(net: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            nonlocal rows
            rows += cost * len(inputs[0])

        return count

    nets = {model.net: 1.0}
    if model.weak is not None:
        nets[model.weak.net] = relative_cost(model, model.weak)
    hooks = [net.register_forward_pre_hook(counter(cost)) for net, cost in nets.items()]
    start, parts = time.monotonic(), []
    report_progress = make_progress(f"samples, {options}")
    for first in range(0, n, CHUNK):
        size = min(CHUNK, n - first)
        part = None if condition is None else condition[first : first + size]
        samples = sample(model, size, seed=seed + first, condition=part, **options)
        parts.append(to_bytes(samples).cpu())
        report_progress(first + size, n)
    for hook in hooks:
        hook.remove()
    return torch.cat(parts), rows / n, time.monotonic() - start


def relative_cost(model: Denoiser, weak: Denoiser) -> float:
    """Operations of a pass of the weak model, as a share of a pass of the model."""
    device = next(model.parameters()).device
    x = torch.zeros(1, *model.config.sample_shape, device=device)
    sigma = torch.ones(1, dtype=torch.float64, device=device)
    return flops(lambda: weak(x, sigma))[0] / flops(lambda: model(x, sigma))[0]


def make_progress(what: str):
    """Make a function that writes progress to standard error, at most every five seconds."""
    last = time.monotonic()

    def report_progress(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last > 5 or done == total:
            last = time.monotonic()
            print(f"\r{what}: {done} of {total} ", end="", file=sys.stderr, flush=True)
            if done == total:
                print(file=sys.stderr)

    return report_progress


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line, or `words`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    root = Path(__file__).resolve().parents[3]
    parser.add_argument("--data", type=Path, default=root / "shared" / "data")
    parser.add_argument("--checkpoint", type=Path, help="default: the shipped one")
    parser.add_argument("--n", type=int, help="default: 5000, on a CPU 1000")
    parser.add_argument("--reference", type=int, help="use only so many training pictures")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "lookalike")
    parser.add_argument("--out", type=Path, help="a folder for grid, nearest pairs and JSON")
    parser.add_argument("--steps", type=int, nargs="+", default=[15])
    parser.add_argument("--sampler", nargs="+", default=["dpmpp_2m"])
    parser.add_argument("--guidance", type=float, nargs="+", default=[1.0])
    parser.add_argument("--interval", type=float, nargs=2, default=FULL_INTERVAL)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    return parser.parse_args(words)


def main() -> None:
    print(report(arguments()).table())


@dataclass(frozen=True)
class Setup:
    """What a report needs.

    held: (n, 3, S, S) uint8 held-out pictures. condition: of the samples, one for each held-out
    picture. reference: pictures of the evaluator. total: number of training pictures.
    """

    model: Denoiser
    held: torch.Tensor
    condition: torch.Tensor | None
    evaluator: Evaluator
    reference: Pictures
    total: int


def make_setup(args: argparse.Namespace, choose: Callable[[int], torch.Tensor]) -> Setup:
    """Load model and data. choose: number of validation pictures -> indices of held-out ones."""
    zips = sorted(args.data.glob("photos64-train-*.zip"))
    if not zips:
        raise SystemExit(f"{args.data} has no photos64-train-*.zip; give --data")
    mini = Mini(version="mini-1")  # the model that ships is conditioned on its vectors
    model = load(args.checkpoint, args.device)
    vectors = model.config.shape.condition == "vector"
    if vectors:  # checks that the model was trained on vectors of this encoder
        model = load(args.checkpoint, args.device, encoder=mini.fingerprint)
    side = model.config.size
    held = read_pictures([args.data / "photos64-val.zip"], side).images
    held = held[choose(len(held))]
    training = read_pictures(zips, side)
    total = len(training)
    reference = training.select(evenly(total, min(total, args.reference or total)).tolist())
    evaluator = Evaluator(
        encoder(networks.mobilenet(args.data), 224, args.device),
        "MobileNetV2 at 224 px",
        reference.images,
        args.seed,
        args.cache,
        make_progress("features"),
    )
    condition = conditions(held, mini) if vectors else None
    return Setup(model, held, condition, evaluator, reference, total)


def report(args: argparse.Namespace) -> Report:
    """Evaluate samples beside the baselines."""
    most = args.n or (1000 if args.device == "cpu" else 5000)
    setup = make_setup(args, lambda count: evenly(count, min(count, most)))
    model, evaluator, n, rows = setup.model, setup.evaluator, len(setup.held), list[Row]()
    interval = tuple(args.interval)
    for steps, sampler, guidance in product(args.steps, args.sampler, args.guidance):
        options = {"steps": steps, "sampler": sampler, "guidance": guidance, "interval": interval}
        pictures, passes, seconds = draw_samples(model, setup.condition, n, args.seed, options)
        over = " (over 15)" if passes > MAX_PASSES else ""
        what = f"{describe_sampling(sampler, steps, guidance, interval)}: {passes:g} passes{over}"
        rows.append(evaluator.evaluate(f"{what}, {n / seconds:.1f}/s", pictures))
        if args.out:
            name = args.out / f"{sampler}-{steps}-{guidance:g}"
            write(name, pictures, setup.reference, rows[-1], args.seed)
    facts = about(args, model, setup.total)
    result = Report.from_rows(evaluator, rows + evaluator.evaluate_baselines(setup.held), facts)
    if args.out:
        text = json.dumps(result.to_json(), indent=1, ensure_ascii=False)
        (args.out / "report.json").write_text(text + "\n", encoding="utf-8")
    return result


def write(name: Path, samples: torch.Tensor, reference: Pictures, row: Row, seed: int) -> None:
    """Write a grid of samples, and the samples nearest to a training picture beside that picture.

    A text file has their seeds, distances and the names of the training pictures.
    """
    grid = samples[evenly(len(samples), min(64, len(samples)))]
    save_png(Path(f"{name}-grid.png"), tile_pictures(to_unit(grid), scale=2))
    save_png(
        Path(f"{name}-nearest.png"), draw_nearest_pairs(samples, reference.images, row, NEAREST)
    )
    order = row.distances.argsort()[:NEAREST].tolist()
    lines = [f"{seed + i}  {row.distances[i]:.2f}  {reference.names[row.places[i]]}" for i in order]
    Path(f"{name}-nearest.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def about(args: argparse.Namespace, model: Denoiser, total: int) -> dict:
    """Return what a reader must know about a figure: machine, numbers, options."""
    gpu = torch.cuda.get_device_name() if args.device != "cpu" else ""
    machine = gpu or f"{os.cpu_count()} cores of {platform.machine()}"
    known = model.about
    document = {
        "preset": model.config.preset,
        "weights": known["sha256"][:16],
        "step": known.get("step"),
        "seen": known.get("seen"),
        "reference": f"of {total} training pictures",
        "machine": machine,
    }
    if args.device == "cpu":
        document["note"] = "measured on a CPU, not to be compared with another n"
    return document


if __name__ == "__main__":
    main()
