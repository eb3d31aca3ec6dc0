"""Measure features of the diffusion models as embeddings, by block and noise level.

scripts/train/diffusion_embedder.py --data ../shared/data -o FILE.safetensors
        [--models photo ddpm] [--sigmas 0.1 0.3 0.8] [--noises 2] [--dims 256] [--pictures 1500]
        [--seed 0]

For each model, block, noise level and pooling (the mean over positions, or over a grid of 2 x 2):
features of random pictures of photos144-open-0 give a mean and a PCA that whitens (H. Jegou and
O. Chum, "Negative evidences and co-occurences in image retrieval", ECCV 2012). Each is measured
alone and fused with `mini`, which is the sum of their cosines, with the best of `WEIGHTS`: by the
mean of three scores, mAP of the validation part of clothing and of every second picture of
photos-dev (leave one out), and recall@1 of edited copies of 25 of these. The one that is best when
it is fused is chosen: it adds most to what `mini` sees. It is measured on what chose nothing:
clothing test, the other half of photos-dev, the first 20 classes of photos64-val, edited copies of
other pictures, and pairs of texture: two halves of one picture, the left one as the query among the
right ones. 95 % intervals by bootstrap. FILE gets the mean and the PCA of the chosen one.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image
from retrieval import HARD, HELD_OUT, PLAIN, Load, archive, categories, folder, interval
from safetensors.numpy import save_file

from diffusion import Denoiser, load
from diffusion.data import to_unit
from diffusion.evaluation.features import Features
from diffusion.model.checkpoint import shipped_path
from search.embedders.mini import Mini
from search.media.preprocessing import Preprocessing
from search.runtime import torch

BATCH = 32
WEIGHTS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0)
EDITS = {
    name: (PLAIN | HARD)[name]
    for name in (
        "crop 50 % corner",
        "flip sideways",
        "rotate 25",
        "JPEG q10",
        "blur 3",
        "noise 60",
        "grey",
        "brightness x .35",
        "text bar and disc",
        "in a screenshot",
        "squeezed to 60 %",
        "crop 10 %",
    )
}
Rows = np.ndarray
"""(n, d) float32."""


@dataclass(frozen=True)
class Choice:
    """What features are: of a block, at a noise level, averaged over a grid."""

    block: str
    sigma: float
    grid: int

    def __str__(self) -> str:
        return f"{self.block:<10} sigma {self.sigma:<4g} {self.grid} x {self.grid}"


Collect = Callable[[Sequence[Load]], dict[Choice, Rows]]


def make_collector(model: Denoiser, sigmas: Sequence[float], noises: int, seed: int) -> Collect:
    """Return what computes the features of all blocks at once, as `Features` does for one."""
    blocks = model.net.block_names
    outputs: dict[str, torch.Tensor] = {}
    for name in blocks:
        model.net.get_submodule(name).register_forward_hook(
            lambda _, __, value, name=name: outputs.__setitem__(name, value)
        )
    prepare = Preprocessing(model.config.size, "squash")

    @torch.inference_mode()
    def collect(loads: Sequence[Load]) -> dict[Choice, Rows]:
        rows: dict[Choice, list[np.ndarray]] = {}
        for i in range(0, len(loads), BATCH):
            x0 = model.encode(to_unit(open_batch(loads[i : i + BATCH], prepare)))
            for sigma in sigmas:
                level = torch.full((len(x0),), sigma, dtype=torch.float64)
                scale = model.preconditioning(level)[2][:, None, None, None]
                total: dict[str, torch.Tensor] = {}
                for k in range(noises):
                    generator = torch.Generator().manual_seed(seed + k)
                    noise = torch.randn(x0.shape[1:], generator=generator)
                    x = (scale * (x0 + sigma * noise)).float()
                    model.net(x, model.schedule.timestep(level).float())
                    for name in blocks:
                        cells = torch.nn.functional.adaptive_avg_pool2d(outputs[name].float(), 2)
                        total[name] = total.get(name, 0.0) + cells / noises
                for name, cells in total.items():
                    mean, grid = cells.mean((2, 3)), cells.flatten(1)
                    rows.setdefault(Choice(name, sigma, 1), []).append(mean.numpy())
                    rows.setdefault(Choice(name, sigma, 2), []).append(grid.numpy())
        return {choice: np.concatenate(parts) for choice, parts in rows.items()}

    return collect


def open_batch(loads: Sequence[Load], prepare: Preprocessing) -> torch.Tensor:
    """Return pictures (n, 3, size, size), uint8."""
    pixels = np.stack([prepare(one()) for one in loads])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2)


def fit_whitening(rows: Rows, dims: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean (d,) and the projection (d, dims) that makes the rows white."""
    mean = rows.mean(0)
    _, lengths, axes = np.linalg.svd(rows - mean, full_matrices=False)
    projection = axes[:dims].T / (lengths[:dims] / len(rows) ** 0.5 + 1e-6)
    return mean.astype(np.float32), projection.astype(np.float32)


def project(rows: Rows, fit: tuple[np.ndarray, np.ndarray]) -> Rows:
    """Return unit vectors."""
    x = (rows - fit[0]) @ fit[1]
    unit: Rows = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-9)
    return unit


def open_pictures(path: Path, count: int, seed: int) -> list[Load]:
    """Return random pictures of a zip."""
    with zipfile.ZipFile(path) as file:
        names = sorted(n for n in file.namelist() if n.endswith(".webp"))
        names = random.Random(seed).sample(names, count)
        data = [file.read(name) for name in names]
    return [lambda d=d: Image.open(BytesIO(d)).convert("RGB") for d in data]


def edit(loads: Sequence[Load], seed: int) -> Iterator[Load]:
    """Yield all edits of each picture."""
    for i, one in enumerate(loads):
        for attack in EDITS.values():
            yield lambda o=one, a=attack, i=i: a(o(), random.Random(seed + i)).convert("RGB")


@dataclass
class Part:
    """Pictures that are measured, by what is measured."""

    title: str
    measure: Callable[[Rows, Rows], np.ndarray]
    index: list[Load]
    queries: list[Load]


def build_parts(data: Path, seed: int) -> tuple[list[Part], list[Part]]:
    """Return the parts that choose, and those that are reported."""
    dev, kinds = folder(data / "photos-dev")
    chosen, others = (
        ([dev[i] for i in range(start, len(dev), 2)], kinds[start::2]) for start in (0, 1)
    )

    def by_class(labels: np.ndarray) -> Callable[[Rows, Rows], np.ndarray]:
        return lambda index, queries: categories(index, labels)[0]

    def by_origin(origins: Sequence[int]) -> Callable[[Rows, Rows], np.ndarray]:
        return lambda index, queries: ((queries @ index.T).argmax(1) == np.array(origins)).astype(
            float
        )

    def make_copies(loads: list[Load], each: int, title: str) -> Part:
        places = list(range(0, len(loads), each))
        queries = list(edit([loads[i] for i in places], seed))
        origins = [i for i in places for _ in EDITS]
        return Part(title, by_origin(origins), loads, queries)

    def split(loads: list[Load]) -> Part:
        left = [lambda o=one: cut_half(o(), 0) for one in loads]
        right = [lambda o=one: cut_half(o(), 1) for one in loads]
        return Part("other half of the picture", by_origin(range(len(loads))), right, left)

    validation, labels = folder(data / "clothing" / "validation")
    test, test_labels = folder(data / "clothing" / "test")
    small, small_labels = archive(data / "photos64-val.zip", slice(HELD_OUT), 25)
    selection = [
        Part("clothing validation, mAP", by_class(labels), validation, []),
        Part("photos-dev, first half, mAP", by_class(chosen[1]), chosen[0], []),
        make_copies(chosen[0], 10, "edited copies, recall@1"),
    ]
    report = [
        Part("clothing test, mAP", by_class(test_labels), test, []),
        Part("photos-dev, second half, mAP", by_class(others[1]), others[0], []),
        Part("photos64-val, 20 classes, mAP", by_class(small_labels), small, []),
        make_copies(others[0], 5, "edited copies, recall@1"),
        split(others[0]),
    ]
    return selection, report


def cut_half(picture: Image.Image, side: int) -> Image.Image:
    """Return the left (0) or right (1) half of a picture."""
    half = picture.width // 2
    return picture.crop((half * side, 0, half * (1 + side), picture.height))


def embed_part(embed: Callable[[Sequence[Load]], Rows], part: Part) -> tuple[Rows, Rows | None]:
    """Return the vectors of the index and of the queries of a part; None without queries."""
    return embed(part.index), embed(part.queries) if part.queries else None


def gather(parts: Sequence[Part], collect: Collect) -> list[tuple[dict, dict]]:
    """Return the features of the index and of the queries of each part."""
    return [(collect(one.index), collect(one.queries) if one.queries else {}) for one in parts]


def score(part: Part, index: Rows, queries: Rows | None) -> np.ndarray:
    """Return the score of each query of a part."""
    return part.measure(index, index if queries is None else queries)


def fuse(part: Part, rows: Sequence[tuple[Rows, Rows | None]], weight: float) -> np.ndarray:
    """Return the scores by the cosine of the first model plus `weight` times the second one's.

    The sum of cosines is the product of vectors that stand side by side.
    """
    factor = weight**0.5
    index = np.concatenate([rows[0][0], factor * rows[1][0]], 1)
    queries = None
    if rows[0][1] is not None and rows[1][1] is not None:
        queries = np.concatenate([rows[0][1], factor * rows[1][1]], 1)
    return score(part, index, queries)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--models", nargs="+", default=["photo", "ddpm"])
    parser.add_argument("--sigmas", type=float, nargs="+", default=[0.1, 0.3, 0.8])
    parser.add_argument("--noises", type=int, default=2)
    parser.add_argument("--dims", type=int, default=256)
    parser.add_argument("--pictures", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    selection, report = build_parts(args.data, args.seed)
    training = open_pictures(args.data / "photos144-open-0.zip", args.pictures, args.seed)
    best = None
    mini = Mini()

    def embed_mini(loads: Sequence[Load]) -> Rows:
        parts = [loads[i : i + 16] for i in range(0, len(loads), 16)]
        return np.concatenate([mini.embed([mini.preprocessing(f()) for f in p]) for p in parts])

    own = [embed_part(embed_mini, one) for one in selection]
    print(
        f"{args.noises} noises, {args.dims} dimensions, PCA of {args.pictures} pictures, seed "
        f"{args.seed}\n{'':<36}"
        + "".join(f"{one.title:>30}" for one in selection)
        + f"{'mean':>8}{'fused':>8}{'weight':>8}"
    )
    for name in args.models:
        model = load(name)
        collect = make_collector(model, args.sigmas, args.noises, args.seed)
        fits, features = collect(training), gather(selection, collect)
        for choice, rows in fits.items():
            fit = fit_whitening(rows, args.dims)
            projected = [
                (project(index[choice], fit), project(queries[choice], fit) if queries else None)
                for index, queries in features
            ]
            scores = [
                score(part, *rows).mean() for part, rows in zip(selection, projected, strict=True)
            ]
            totals = {
                weight: np.mean(
                    [
                        fuse(part, pair, weight).mean()
                        for part, *pair in zip(selection, own, projected, strict=True)
                    ]
                )
                for weight in WEIGHTS
            }
            weight = max(totals, key=totals.__getitem__)
            columns = "".join(f"{one:>30.3f}" for one in scores)
            fused = f"{np.mean(scores):>8.3f}{totals[weight]:>8.4f}{weight:>8g}"
            print(f"{name:<6}{choice!s:<30}{columns}{fused}", flush=True)
            if best is None or totals[weight] > best[0]:
                best = totals[weight], name, choice, fit, weight
    assert best is not None
    _, name, choice, fit, weight = best
    print(f"chosen: {name}, {choice}, weight {weight:g}")
    model = load(name)
    prepare = Preprocessing(model.config.size, "squash")
    compute = Features(model, choice.block, choice.sigma, args.noises, args.seed, grid=choice.grid)

    def embed(loads: Sequence[Load]) -> Rows:
        rows = [
            compute(open_batch(loads[i : i + BATCH], prepare)) for i in range(0, len(loads), BATCH)
        ]
        return project(torch.cat(rows).numpy(), fit)

    print(f"{'':<32}{'n':>6}{'mini':>24}{'diffusion':>24}{f'fused {weight:g}':>24}{'gain':>26}")
    for part in report:
        rows = [embed_part(one, part) for one in (embed_mini, embed)]
        alone = [score(part, *one) for one in rows]
        both = fuse(part, rows, weight)
        columns = [*alone, both, both - alone[0]]
        cells = "".join(f"{interval(one, args.seed):>24}" for one in columns)
        print(f"{part.title:<32}{len(both):>6}{cells}", flush=True)
    if args.output is not None:
        config = {
            "model": name,
            "sha256": hashlib.sha256(shipped_path(name).read_bytes()).hexdigest(),
            "block": choice.block,
            "sigma": choice.sigma,
            "grid": choice.grid,
            "noises": args.noises,
            "seed": args.seed,
            "size": model.config.size,
        }
        tensors = {"mean": fit[0].astype(np.float16), "projection": fit[1].astype(np.float16)}
        save_file(tensors, args.output, {"config": json.dumps(config)})


if __name__ == "__main__":
    main()
