"""What variants add to a small training set: a linear probe on a few pictures a class of clothing.

scripts/bench augment [--data ../shared/data] [--shots 5 10 20] [--draws 10] [--n 4] [--seed 0]

Each draw takes `shots` pictures of each class of clothing's training part. A softmax regression
(L2, its strength chosen on the validation part) is fitted to vectors of mini: of the pictures
alone, with flips and crops, with accepted variants (of --regime), and with both, n of each kind for
a picture. The table has the accuracy on the test part: the mean over draws with a 95 % interval by
Student's t, and the paired difference to the pictures alone. --short: two classes, two draws, few
pictures.
"""

from __future__ import annotations

import argparse
import tempfile
import zlib
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.stats import t

from search import Engine
from search.embedders.mini import Mini
from search.media.images import render
from search.runtime import torch

KINDS = {"none": (), "flips and crops": ("crops",), "variants": ("variants",)}
KINDS["both"] = ("crops", "variants")
STRENGTHS = (1e-4, 1e-3, 1e-2)
LEAST = 0.6  # side of a crop, as a share


class Bench:
    """Vectors of pictures, of their crops and of their variants."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args, self.mini = args, Mini()
        self.engine = Engine.open(args.home, model="mini", checkpoint=args.checkpoint)
        self.known: dict[tuple[Path, str], np.ndarray] = {}

    def embed(self, pictures: list[Image.Image]) -> np.ndarray:
        pixels = [self.mini.preprocessing(p) for p in pictures]
        parts = [self.mini.embed(pixels[i : i + 16]) for i in range(0, len(pixels), 16)]
        return np.concatenate(parts)

    def vectors(self, path: Path, kind: str, seed: int) -> np.ndarray:
        """(n, dim) of a picture itself, of crops of it, or of variants."""
        if (path, kind) not in self.known:
            picture = render(Image.open(path))
            if kind == "itself":
                variants = [picture]
            elif kind == "crops":
                variants = crops(picture, self.args.n, seed)
            else:
                results = self.engine.variants(
                    picture, n=self.args.n, regime=self.args.regime, seed=seed
                )
                variants = [variant.picture for variant in results]
            self.known[path, kind] = self.embed(variants)
        return self.known[path, kind]


def crops(picture: Image.Image, n: int, seed: int) -> list[Image.Image]:
    """Cut n parts of a picture, and mirror half of them."""
    rng, variants = np.random.default_rng(seed), []
    for _ in range(n):
        w, h = (round(side * rng.uniform(LEAST, 1)) for side in picture.size)
        left, top = rng.integers(0, picture.width - w + 1), rng.integers(0, picture.height - h + 1)
        part = picture.crop((left, top, left + w, top + h))
        mirrored = part.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        variants.append(mirrored if rng.random() < 0.5 else part)
    return variants


def probe(x: np.ndarray, y: np.ndarray, strength: float) -> torch.Tensor:
    """Weights (dim + 1, classes) of a softmax regression."""
    rows, labels = torch.from_numpy(x), torch.from_numpy(y)
    rows = torch.cat([rows, torch.ones(len(rows), 1)], 1)
    weights = torch.zeros(rows.shape[1], int(y.max()) + 1, requires_grad=True)
    optimiser = torch.optim.LBFGS([weights], max_iter=60, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        loss = torch.nn.functional.cross_entropy(10 * rows @ weights, labels)
        loss = loss + strength * weights[:-1].square().sum()
        loss.backward()
        return loss

    optimiser.step(closure)
    return weights.detach()


def accuracy(weights: torch.Tensor, x: np.ndarray, y: np.ndarray) -> float:
    rows = torch.cat([torch.from_numpy(x), torch.ones(len(x), 1)], 1)
    return float(((rows @ weights).argmax(1).numpy() == y).mean())


def list_files(folder: Path, short: bool) -> list[list[Path]]:
    """Files of each class."""
    classes = sorted(path for path in folder.iterdir() if path.is_dir())
    by_class = [sorted(path.glob("*.jpg")) for path in classes]
    return [files[:12] for files in by_class[:2]] if short else by_class


def stacked(bench: Bench, files: list[list[Path]]) -> tuple[np.ndarray, np.ndarray]:
    pairs = [(path, i) for i, part in enumerate(files) for path in part]
    rows = np.concatenate([bench.vectors(path, "itself", 0) for path, _ in pairs])
    return rows, np.array([i for _, i in pairs])


def one(bench: Bench, shots: int, draw: int, parts: dict) -> dict[str, float]:
    """Accuracy by kind, of one draw."""
    rng = np.random.default_rng(1000 * bench.args.seed + draw)
    chosen = [rng.permutation(len(files))[:shots] for files in parts["train"]]
    picked = [
        (files[j], i)
        for i, (files, order) in enumerate(zip(parts["train"], chosen, strict=True))
        for j in order
    ]
    scores = {}
    for kind, more in KINDS.items():
        rows, labels = [], []
        for path, label in picked:
            seed = zlib.crc32(path.name.encode())
            for what in ("itself", *more):
                vectors = bench.vectors(path, what, seed)
                rows.append(vectors)
                labels += [label] * len(vectors)
        x, y = np.concatenate(rows), np.array(labels)
        fits = [probe(x, y, strength) for strength in STRENGTHS]
        best = max(fits, key=lambda fit: accuracy(fit, *parts["validation"]))
        scores[kind] = accuracy(best, *parts["test"])
    return scores


def interval(values: np.ndarray) -> str:
    """Mean over draws with a 95 % interval by Student's t."""
    mean = values.mean()
    half = t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5
    return f"{mean:.3f} [{mean - half:.3f}, {mean + half:.3f}]"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    root = Path(__file__).resolve().parents[3]
    parser.add_argument("--data", type=Path, default=root / "shared" / "data")
    parser.add_argument("--shots", type=int, nargs="+", default=[5, 10, 20])
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--n", type=int, default=4)
    parser.add_argument("--regime", default="near")
    parser.add_argument("--checkpoint", type=Path, help="default: the shipped one")
    parser.add_argument("--home", type=Path, default=Path(tempfile.gettempdir()) / "lookalike")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--short", action="store_true", help="a form for tests")
    args = parser.parse_args()
    clothing = args.data / "clothing"
    if not clothing.is_dir():
        raise SystemExit(f"{args.data} has no clothing; give --data")
    if args.short:
        args.shots, args.draws, args.n = [2], 2, 2
    bench = Bench(args)
    with bench.engine:
        parts = {"train": list_files(clothing / "train", args.short)}
        for name in ("validation", "test"):
            parts[name] = stacked(bench, list_files(clothing / name, args.short))
        print(f"{len(parts['test'][0])} test pictures, {args.draws} draws, seed {args.seed}, mini;")
        print(f"{args.n} of each kind a picture, regime {args.regime}\n")
        print("| shots | with | accuracy | against none |")
        print("| --- | --- | --- | --- |")
        for shots in args.shots:
            draws = [one(bench, shots, draw, parts) for draw in range(args.draws)]
            plain = np.array([scores["none"] for scores in draws])
            for kind in KINDS:
                scores = np.array([results[kind] for results in draws])
                gain = "" if kind == "none" else interval(scores - plain)
                line = f"| {shots} | {kind} | {interval(scores)} | {gain} |"
                print(line, flush=True)


if __name__ == "__main__":
    main()
