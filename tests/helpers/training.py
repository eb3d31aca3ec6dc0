"""A model that trains in seconds, and pictures for it; as a program, a training step by step.

python training.py DATA RUN STEPS THREADS [BATCH]: prints each step, waits for a line before the
next, and prints the last one, as `end STEP`, when it ends or a signal ends it. STEPS may be
minutes, such as `0.1m`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from diffusion import Config, Options, Progress, Run, Shape
from diffusion.model.presets import PRESETS
from diffusion.training.folder import Folder
from diffusion.training.recipe import RECIPES, Recipe

CONFIG = Config("small", Shape((16, 32), 1, (False, True), head=16), size=16)
RECIPE = Recipe(batch=8, lr=2e-3, warmup=1)  # the same in runs of any length


@contextmanager
def small_preset() -> Iterator[None]:
    """Define the preset `small` within the context."""
    PRESETS["small"], RECIPES["small"] = CONFIG, RECIPE
    yield
    del PRESETS["small"], RECIPES["small"]


def blocks(seed: int) -> Image.Image:
    """A picture unlike all others: 4 x 4 blocks, each channel of each full or empty."""
    values = np.random.default_rng(seed).integers(0, 2, (4, 4, 3), dtype=np.uint8) * 255
    return Image.fromarray(values).resize((16, 16), Image.Resampling.NEAREST)


def paint(folder: Path, count: int, classes: bool = False) -> Path:
    """A folder of such pictures, or of folders of one each."""
    for i in range(count):
        path = folder / (f"c{i}/{i}.png" if classes else f"{i}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        blocks(i).save(path)
    return folder


def options(data: Path, run: Path, **options: Any) -> Options:
    """Return options of a run on the CPU, in a precision that no timing chooses."""
    usual = {"preset": "small", "device": "cpu", "precision": "fp32"}
    return Options((str(data),), str(run), **{**usual, **options})


def finish(run: Run) -> list[Progress]:
    """Train to the end."""
    return list(run.go())


def main() -> Iterator[int]:
    data, folder, steps, threads, *batch = sys.argv[1:]
    length = {"minutes": float(steps[:-1])} if steps.endswith("m") else {"steps": int(steps)}
    torch.set_num_threads(int(threads))
    run_module, Folder.plot = sys.modules[Run.__module__], lambda _: None  # type: ignore[method-assign]
    run_module.SAVE_SECONDS, run_module.PASSES = -1, 1  # type: ignore[attr-defined]
    more = {"batch": int(batch[0])} if batch else {}
    run = Run(options(Path(data), Path(folder), **length, **more))
    with run.until_stopped():
        for progress in run.go():
            if progress.loss is not None:
                yield progress.step
    sys.stdout.write(f"end {run.trainer.step}\n")


if __name__ == "__main__":
    with small_preset():
        for step in main():
            sys.stdout.write(f"{step}\n")
            sys.stdout.flush()
            sys.stdin.readline()
