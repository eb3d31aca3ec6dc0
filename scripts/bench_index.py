"""How fast indexing is: decoding alone, embedding alone, end to end, and memory, in one run.

scripts/bench index [--photos 600] [--large 96] [--rounds 3] [--seed 0]

Photographs of 400 px, and of 12 megapixels, are made from the sample pictures that come with the
project: cut a little differently and saved again, so that no two are the same. Each round times the
three one after the other; the ratio is end to end against 1 / (1/D + 1/E), the best that decoding
at D and embedding at E can do together on the same cores.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

SAMPLES = Path(__file__).resolve().parents[1] / "search" / "samples"


def make(folder: Path, count: int, size: tuple[int, int] | None, seed: int) -> None:
    """count photographs, of 400 px width or of the given size."""
    rng = random.Random(seed)
    samples = sorted(SAMPLES.glob("*/*.jpg"))
    for i in range(count):
        with Image.open(samples[i % len(samples)]) as picture:
            w, h = picture.size
            box = (rng.uniform(0, w / 20), rng.uniform(0, h / 20), w - rng.uniform(0, w / 20), h)
            made = picture.convert("RGB").resize(size or (w, h), Image.Resampling.BICUBIC, box)
        if size:  # fine detail, so that the file is as large as a camera's
            grain = Image.effect_noise(size, 12).convert("RGB")
            made = Image.blend(made, grain, 0.08)
        made.save(folder / f"{i:04d}.jpg", quality=90)


def alone(folder: Path) -> tuple[float, float]:
    """Pictures per second of decoding alone and of embedding alone, each with all cores."""
    from search.embedders.registry import open_embedder
    from search.loader import Loaded, Loader, Source
    from search.runtime import Runtime
    from search.settings import Settings

    settings = Settings.load()
    embedder = open_embedder("auto", "cpu")
    paths = sorted(folder.iterdir())
    with Loader(settings.workers) as loader:
        list(loader.load(((p, Source(str(p))) for p in paths[:4]), embedder.preparation))
        begun = time.perf_counter()
        sources = ((p, Source(str(p))) for p in paths)
        loaded = [r for _, r in loader.load(sources, embedder.preparation)]
        decoding = len(paths) / (time.perf_counter() - begun)
    pixels = [r.pixels for r in loaded if isinstance(r, Loaded) and r.pixels is not None]
    runtime = Runtime(settings.threads)
    runtime.run(lambda: embedder.embed(pixels[:16]))
    begun = time.perf_counter()
    for i in range(0, len(pixels), embedder.batch):
        runtime.run(lambda part=pixels[i : i + embedder.batch]: embedder.embed(part))
    embedding = len(pixels) / (time.perf_counter() - begun)
    runtime.close()
    return decoding, embedding


def together(folder: Path, warm: Path) -> tuple[float, float]:
    """Pictures per second of a whole sync, and the peak memory of all its processes in MiB."""
    from search import Engine

    with tempfile.TemporaryDirectory() as home, Engine.open(home=home) as engine:
        engine.sync(warm)  # the model and the decoding processes are there
        report = engine.sync(folder)
        peak = sum(_peak(pid) for pid in _family(os.getpid()))
    return report.embedded / report.seconds, peak / 1024


def _family(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(p for child in children for p in _family(int(child)))]


def _peak(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--photos", type=int, default=600)
    parser.add_argument("--large", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--one", nargs=3, metavar=("WHAT", "FOLDER", "WARM"), help=argparse.SUPPRESS
    )
    args = parser.parse_args()
    if args.one:  # a process of its own for each figure: memory is not shared between them
        what, folder, warm = args.one
        print(*(alone(Path(folder)) if what == "alone" else together(Path(folder), Path(warm))))
        return
    print(f"{os.cpu_count()} cores, seed {args.seed}, median of {args.rounds} rounds (min..max)")
    print(
        f"{'pictures':<16}{'n':>5}{'decode/s':>10}{'embed/s':>10}{'index/s':>10}"
        f"{'ratio':>20}{'peak MiB':>10}"
    )
    with tempfile.TemporaryDirectory() as place:
        warm = Path(place) / "warm"
        warm.mkdir()
        make(warm, 8, None, args.seed + 1)
        kinds = (("400 px", args.photos, None), ("12 megapixels", args.large, (4000, 3000)))
        for name, count, size in kinds:
            folder = Path(place) / name
            folder.mkdir()
            make(folder, count, size, args.seed)
            rows = []
            for _ in range(args.rounds):
                d, e = _one("alone", folder, warm)
                rate, peak = _one("together", folder, warm)
                rows.append((d, e, rate, rate * (1 / d + 1 / e), peak))
            d, e, rate, ratio, peak = (
                statistics.median(column) for column in zip(*rows, strict=True)
            )
            ratios = [row[3] for row in rows]
            spread = f"{ratio:.2f} ({min(ratios):.2f}..{max(ratios):.2f})"
            print(f"{name:<16}{count:>5}{d:>10.1f}{e:>10.1f}{rate:>10.1f}{spread:>20}{peak:>10.0f}")
    print("ratio: index/s against 1 / (1/decode + 1/embed); target >= 0.90")


def _one(what: str, folder: Path, warm: Path) -> tuple[float, float]:
    command = [sys.executable, __file__, "--one", what, str(folder), str(warm)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    first, second = done.stdout.split()
    return float(first), float(second)


if __name__ == "__main__":
    main()
