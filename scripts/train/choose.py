"""Score blends of a run of scripts/train/mini.py, and sizes of the input, on validation data.

    python scripts/train/choose.py --data DATA --run RUN [--shares 0.5 0.7 1] [--sizes 160 176 192]

Each row is the mean of the last weights (by their share) and the first ones, at a size of the
input: mAP of clothing/validation and of photos64-val (20 classes), recall@1 under plain and hard
attacks, their mean, and the mAP of photos-dev, kinds of pictures that no training saw. `--write
SHARE SIZE` writes that blend to RUN/mini.safetensors.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import mini as recipe
from exam import Exam, as_text
from goals import Goals
from retrieval import categories, folder, vectors

from search.embedders.mini import Mini
from search.media.preprocessing import Preprocessing


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--shares", type=float, nargs="+", default=[0.5, 0.7, 1.0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[160, 176, 192])
    parser.add_argument("--write", type=float, nargs=2, metavar=("SHARE", "SIZE"))
    args = parser.parse_args()
    path = max(args.run.glob("0*.safetensors"))
    last = Mini(weights=path).load_torch()
    first = recipe.start_student(args.data, recipe.DEPTHS)
    recipe.start_head(first, Goals.read(args.run / "goals", 1.0))
    if args.write:
        share, size = args.write[0], int(args.write[1])
        words = ["--data", str(args.data), "--out", str(args.run), "--run-size", str(size)]
        net, options = recipe.blend(last, first, share), recipe.arguments(words)
        recipe.write(net, options, int(path.stem), args.run / "mini.safetensors")
        return
    exam, (loads, labels) = Exam(args.data), folder(args.data / "photos-dev")
    for share in args.shares:
        net = recipe.blend(last, first, share).eval()
        for size in args.sizes:
            prepare = Preprocessing(size, "between")
            unseen = categories(vectors(exam.embed(net, prepare), loads), labels)[0].mean()
            scores = as_text(exam(net, prepare))
            print(f"share {share:g}, {size} px: {scores}  photos-dev {unseen:.4f}", flush=True)


if __name__ == "__main__":
    main()
