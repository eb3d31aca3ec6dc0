"""What augmentation adds to a small training set: a linear probe on a few pictures a class.

scripts/bench augment [--data ../shared/data] [--sets clothing,photos64] [--shots 5 10 20]
                      [--draws 10] [--pool 40] [--n 4] [--cache FOLDER] [--seed 0]

Two sets: clothing (10 classes; its parts for training, validation and test), and the 20 classes of
photos64 that trained neither `mini` nor the diffusion models (training pictures, some of them for
validation; tested on photos64-val). Each draw takes `shots` pictures a class of a pool of `--pool`
a class. A softmax regression (L2, its strength chosen on the validation part) is fitted to vectors
of `mini`: of the pictures alone, and with n more of each: flips and crops; RandAugment (E. D. Cubuk
et al., 2020); degraded copies (noise, blur, darkness, JPEG, small size); near variants of 128 px by
the latent diffusion model; flips and crops and variants, n of each; and mixes: (1 - s) of the
picture's vector and s of one of its n nearest vectors in the pool, whatever their class, s uniform
in 0 to .5. The table has the accuracy on the test part, and on the same pictures degraded: the mean
over draws with a 95 % interval by Student's t, and the paired difference to the pictures alone.
Draws share the pool, so that intervals tell nothing of other pools. --short: a form for tests.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(1, str(Path(__file__).resolve().parents[1] / "train"))

import numpy as np
from drawn_views import crop, degrade, draw_variants, embed_pictures
from PIL import Image
from retrieval import HELD_OUT, Load, archive, folder
from scipy.stats import t

from diffusion import Denoiser, load
from search.embedders.mini import Mini
from search.runtime import torch

VIEWS = ("crops", "RandAugment", "degraded", "variants")
KINDS: dict[str, tuple[str, ...]] = {
    "none": (),
    "flips and crops": ("crops",),
    "RandAugment": ("RandAugment",),
    "degraded copies": ("degraded",),
    "near variants": ("variants",),
    "crops and variants": ("crops", "variants"),
    "mixes with neighbours": ("mixes",),
}
STRENGTHS = (1e-4, 1e-3, 1e-2)
SHORT = 12  # pictures a class of the short form


@dataclass
class Part:
    """Pictures with their classes, (n,)."""

    pictures: list[Load]
    labels: np.ndarray


def select(loads: Sequence[Load], labels: np.ndarray, least: int, most: int | None) -> Part:
    """Return of each class the pictures from a place to another one."""
    chosen = np.concatenate(
        [np.flatnonzero(labels == label)[least:most] for label in np.unique(labels)]
    )
    return Part([loads[i] for i in chosen], labels[chosen])


def read_classes(paths: Sequence[Path]) -> tuple[list[Load], np.ndarray]:
    """Return the pictures of the held-out classes of zips of photos64, and their classes."""
    parts = [archive(path, slice(0, HELD_OUT), sys.maxsize) for path in paths]
    return [load for loads, _ in parts for load in loads], np.concatenate([of for _, of in parts])


def read_sets(args: argparse.Namespace) -> dict[str, dict[str, Part]]:
    """Return the parts `pool`, `validation` and `test` of each set that `--data` has."""
    sets, most = {}, SHORT if args.short else None
    clothing = args.data / "clothing"
    if clothing.is_dir():
        sets["clothing"] = {
            "pool": select(*folder(clothing / "train"), 0, args.pool),
            "validation": select(*folder(clothing / "validation"), 0, most),
            "test": select(*folder(clothing / "test"), 0, most),
        }
    zips = sorted(args.data.glob("photos64-train-*.zip"))
    if zips and (args.data / "photos64-val.zip").exists():
        training = read_classes(zips)
        sets["photos64"] = {
            "pool": select(*training, 0, args.pool),
            "validation": select(*training, args.pool, args.pool + (most or 20)),
            "test": select(*read_classes([args.data / "photos64-val.zip"]), 0, most),
        }
    return {name: sets[name] for name in args.sets.split(",") if name in sets}


class Bench:
    """Vectors of pictures and of their views, from files where they are there."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args, self.mini = args, Mini()
        self._model: list[Denoiser] = []

    def compute(self, name: str, part: Part, view: str) -> np.ndarray:
        """Return (pictures, views, dim) vectors of one view; `itself` has one."""
        args = self.args
        path = args.cache / f"{name}-{view}-{len(part.labels)}-{args.n}-{args.seed}.npy"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            rows = []
            for i, opener in enumerate(part.pictures):
                picture = opener().convert("RGB")
                rows.append(embed_pictures(self.mini, self._draw(view, picture, i)))
            np.save(path, np.stack(rows))
            print(f"  {path.stem}", flush=True)
        return np.load(path)

    def _draw(self, view: str, picture: Image.Image, number: int) -> list[Image.Image]:
        rng, n = np.random.default_rng([self.args.seed, number]), self.args.n
        if view == "itself":
            return [picture]
        if view == "degraded test":
            return [degrade(picture, rng)]
        if view == "crops":
            return [crop(picture, rng) for _ in range(n)]
        if view == "degraded":
            return [degrade(picture, rng) for _ in range(n)]
        if view == "RandAugment":
            from torchvision.transforms import RandAugment

            torch.manual_seed(1000 * self.args.seed + number)
            edit = RandAugment()
            return [edit(picture) for _ in range(n)]
        if not self._model:
            self._model.append(load("photo"))
        vector = embed_pictures(self.mini, [picture])[0]
        seeds = [n * number + i for i in range(n)]
        return draw_variants(self._model[0], picture, vector, seeds)


def mix(rows: np.ndarray, n: int, seed: int) -> np.ndarray:
    """Mix unit vectors (p, dim) with their n nearest, n mixes each: (p, n, dim)."""
    similarity = rows @ rows.T
    np.fill_diagonal(similarity, -2)
    near = rows[np.argsort(-similarity, axis=1)[:, :n]]
    share = np.random.default_rng(seed).uniform(0, 0.5, (len(rows), n, 1))
    mixed = (1 - share) * rows[:, None] + share * near
    return mixed / np.linalg.norm(mixed, axis=2, keepdims=True)


def probe(x: np.ndarray, y: np.ndarray, strength: float) -> torch.Tensor:
    """Weights (dim + 1, classes) of a softmax regression."""
    rows, labels = torch.from_numpy(x).float(), torch.from_numpy(y)
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


def measure(
    pool: dict[str, np.ndarray], parts: dict[str, tuple[np.ndarray, np.ndarray]], rows: np.ndarray
) -> dict[str, tuple[float, float]]:
    """Accuracy on clean and on degraded test pictures, by kind of augmentation. rows: those of the
    pool that are trained on."""
    scores = {}
    labels = parts["pool"][1][rows]
    for kind, views in KINDS.items():
        chosen = [pool[view][rows] for view in ("itself", *views)]
        x = np.concatenate([one.reshape(-1, one.shape[2]) for one in chosen])
        y = np.concatenate([np.repeat(labels, one.shape[1]) for one in chosen])
        fits = [probe(x, y, strength) for strength in STRENGTHS]
        best = max(fits, key=lambda fit: accuracy(fit, *parts["validation"]))
        scores[kind] = accuracy(best, *parts["test"]), accuracy(best, *parts["degraded"])
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
    parser.add_argument("--sets", default="clothing,photos64", help="names, with commas between")
    parser.add_argument("--shots", type=int, nargs="+", default=[5, 10, 20])
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument(
        "--pool", type=int, default=40, help="pictures a class that draws take from"
    )
    parser.add_argument("--n", type=int, default=4)
    parser.add_argument("--cache", type=Path, default=Path("build") / "augment")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--short", action="store_true", help="a form for tests")
    args = parser.parse_args()
    if args.short:
        args.sets, args.shots, args.draws, args.n, args.pool = "clothing", [2], 2, 2, 4
    sets = read_sets(args)
    if not sets:
        raise SystemExit(f"{args.data} has neither clothing nor photos64; give --data")
    bench = Bench(args)
    for name, sources in sets.items():
        pool = {view: bench.compute(f"{name}-pool", sources["pool"], view) for view in VIEWS}
        pool["itself"] = bench.compute(f"{name}-pool", sources["pool"], "itself")
        pool["mixes"] = mix(pool["itself"][:, 0], args.n, args.seed)
        parts = {"pool": (pool["itself"][:, 0], sources["pool"].labels)}
        for part in ("validation", "test"):
            rows = bench.compute(f"{name}-{part}", sources[part], "itself")[:, 0]
            parts[part] = rows, sources[part].labels
        degraded = bench.compute(f"{name}-test", sources["test"], "degraded test")[:, 0]
        parts["degraded"] = degraded, sources["test"].labels
        print(f"\n{name}: {len(degraded)} test pictures, {args.draws} draws, {args.n} of each kind")
        print(f"a picture, {args.pool} a class to draw from, seed {args.seed}, mini\n")
        print("| shots | with | accuracy | against none | degraded | against none |")
        print("| --- | --- | --- | --- | --- | --- |")
        labels = sources["pool"].labels
        for shots in args.shots:
            draws = []
            for draw in range(args.draws):
                rng = np.random.default_rng(1000 * args.seed + draw)
                of_class = [np.flatnonzero(labels == label) for label in np.unique(labels)]
                chosen = np.concatenate([rng.permutation(one)[:shots] for one in of_class])
                draws.append(measure(pool, parts, chosen))
            scores = {kind: np.array([one[kind] for one in draws]) for kind in KINDS}
            for kind, values in scores.items():
                cells = []
                for part, base in zip(values.T, scores["none"].T, strict=True):
                    cells += [interval(part), "" if kind == "none" else interval(part - base)]
                print(f"| {shots} | {kind} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
