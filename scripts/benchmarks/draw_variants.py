"""Draw variants of a few pictures, by regime and by checkpoint, side by side:

    python scripts/benchmarks/draw_variants.py OUT.webp [--of DIR] [--checkpoint C...] [--n 4]
        [--seed 0]

A row for each picture (default: some of the samples): the picture itself and then, for each regime,
the first accepted variant of each checkpoint. `shipped` is the one in the package.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from PIL import Image
from sheet import sheet

import search
from search import Engine
from search.records.variants import REGIMES

SAMPLES = Path(search.__file__).parent / "samples"
TOGETHER = 2


def rows(files: list[Path], checkpoints: list[str], seed: int) -> list[list[Image.Image]]:
    """A picture, then its variants."""
    grid = [[Image.open(file).convert("RGB")] for file in files]
    with tempfile.TemporaryDirectory() as home:
        pictures = {}
        for name in checkpoints:
            own = None if name == "shipped" else Path(name)
            with Engine.open(home, model="mini", checkpoint=own) as engine:
                for file in files:
                    for regime in REGIMES:
                        results = engine.variants(file, n=TOGETHER, regime=regime, seed=seed)
                        pictures[file, regime, name] = results[0].picture
    for file, row in zip(files, grid, strict=True):
        row += [pictures[file, regime, name] for regime in REGIMES for name in checkpoints]
    return grid


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--of", type=Path, default=SAMPLES)
    parser.add_argument("--checkpoint", nargs="+", default=["shipped"])
    parser.add_argument("--n", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    files = sorted(args.of.rglob("*.jpg"))
    files = [files[(2 * i + 1) * len(files) // (2 * args.n)] for i in range(args.n)]
    grid = rows(files, args.checkpoint, args.seed)
    shown = [name if name == "shipped" else "tuned" for name in args.checkpoint]
    alone = len(shown) == 1
    columns = [regime if alone else f"{regime}\n{name}" for regime in REGIMES for name in shown]
    sheet(grid, columns).save(args.out, "WebP", quality=80, method=6)


if __name__ == "__main__":
    main()
