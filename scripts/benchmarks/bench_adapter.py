"""What augmentation teaches an encoder: a matrix over the vectors of `mini`, trained on views.

scripts/bench adapter [--data ../shared/data] [--pictures 600] [--views 3] [--runs 3]
                      [--cache build/diffusion-helps] [--seed 0]

A matrix of 512 x 512, first the identity, is trained so that views of a picture of photos144 are
nearer to it than the other pictures of the batch (InfoNCE, A. van den Oord et al., 2018); a penalty
keeps it near the identity. Views: flips and crops; degraded copies (noise, blur, darkness, JPEG,
small size); near variants by the latent diffusion model; and, as hard negatives, variants of the
same concept, which are other pictures. The strength of the penalty is chosen for each kind of views
on every second query of the three sets of `diffusion-helps`. The other queries are reported: R@1 of
flipped and cropped queries and of all degraded kinds, and mAP of clean ones. 95 % intervals of the
difference to `mini`: paired bootstrap over queries, of the mean over `--runs` seeds of training.
Vectors are shared with `scripts/bench diffusion-helps` by --cache.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np
import torch
from bench_diffusion_helps import (
    KINDS,
    Bench,
    Scorer,
    interval,
    make_parser,
    read_sets,
    sample_pictures,
    show,
)
from drawn_views import crop, degrade, draw_variants, embed_pictures
from PIL import Image

from diffusion import load
from search.embedders.mini import Mini

VIEWS = {
    "crops": ("crops",),
    "crops, degraded": ("crops", "degraded"),
    "crops, variants": ("crops", "near"),
    "crops, degraded, variants": ("crops", "degraded", "near"),
    "crops, degraded; hard negatives": ("crops", "degraded", "concept"),
}
PENALTIES = (0.01, 0.1, 1.0)
TEMPERATURE, BATCH, STEPS = 0.05, 200, 600


def compute_views(args: argparse.Namespace) -> dict[str, np.ndarray]:
    """Return vectors of pictures of photos144, (n, views, dim) by the kind of view."""
    path = args.cache / f"views-{args.pictures}-{args.views}-{args.short}-{args.seed}.npz"
    if path.exists():
        with np.load(path) as file:
            return dict(file)
    args.cache.mkdir(parents=True, exist_ok=True)
    mini, model = Mini(), load("photo")
    pictures = sample_pictures(args.data / "photos144-open-1.zip", args.pictures, args)
    rows: dict[str, list[np.ndarray]] = {}
    for number, pixels in enumerate(pictures):
        picture, rng = Image.fromarray(pixels), np.random.default_rng([args.seed, number])
        rows.setdefault("itself", []).append(embed_pictures(mini, [picture]))
        crops = [crop(picture, rng) for _ in range(args.views)]
        rows.setdefault("crops", []).append(embed_pictures(mini, crops))
        copies = [degrade(crops[0], rng) for _ in crops]
        rows.setdefault("degraded", []).append(embed_pictures(mini, copies))
        for regime in ("near", "concept"):
            seeds = [args.views * number + i for i in range(args.views)]
            variants = draw_variants(model, picture, rows["itself"][-1][0], seeds, regime)
            rows.setdefault(regime, []).append(embed_pictures(mini, variants))
    stacks = {kind: np.stack(parts) for kind, parts in rows.items()}
    np.savez(path, **stacks)  # type: ignore[arg-type]
    return stacks


def train(
    views: dict[str, np.ndarray], kinds: Sequence[str], penalty: float, seed: int
) -> np.ndarray:
    """Return a matrix (dim, dim) that is trained on views of the kinds."""
    rng = np.random.default_rng(seed)
    itself = torch.from_numpy(views["itself"][:, 0])
    positives = [torch.from_numpy(views[kind]) for kind in kinds if kind != "concept"]
    negatives = torch.from_numpy(views["concept"]) if "concept" in kinds else None
    identity = torch.eye(itself.shape[1])
    matrix = identity.clone().requires_grad_()
    optimiser = torch.optim.Adam([matrix], lr=1e-3)

    def apply(rows: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.normalize(rows @ matrix, dim=1)

    for step in range(STEPS):
        chosen = torch.from_numpy(rng.permutation(len(itself))[:BATCH])
        view = positives[step % len(positives)]
        at = torch.from_numpy(rng.integers(0, view.shape[1], len(chosen)))
        keys = apply(itself[chosen])
        if negatives is not None:
            keys = torch.cat([keys, apply(negatives[chosen, at])])
        logits = apply(view[chosen, at]) @ keys.T / TEMPERATURE
        loss = torch.nn.functional.cross_entropy(logits, torch.arange(len(chosen)))
        loss = loss + penalty * (matrix - identity).square().sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return matrix.detach().numpy()


def measure(bench: Bench, matrix: np.ndarray) -> dict[str, np.ndarray]:
    """Return the scores of each query of a set, (q,) by the name of the measure."""

    def apply(rows: np.ndarray) -> np.ndarray:
        turned = rows @ matrix
        return turned / np.linalg.norm(turned, axis=-1, keepdims=True)

    scorer = Scorer(bench.set, apply(bench.embed_index()))
    _, precision = scorer.match(apply(bench.plain("clean")))
    edits = [scorer.match(apply(rows))[0] for rows in np.moveaxis(bench.blend("clean"), 1, 0)]
    degraded = [scorer.match(apply(bench.plain(kind)))[0] for kind in KINDS if kind != "clean"]
    return {
        "edits, R@1": np.mean(edits, axis=0),
        "degraded, R@1": np.mean(degraded, axis=0),
        "clean, mAP": precision,
    }


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--pictures", type=int, default=600)
    parser.add_argument("--views", type=int, default=3)
    parser.add_argument("--runs", type=int, default=3, help="seeds of the training")
    args = parser.parse_args()
    torch.set_num_threads(1)
    benches = [Bench(args, one) for one in read_sets(args)]
    views = compute_views(args)
    plain = [
        measure(bench, np.eye(views["itself"].shape[2], dtype=np.float32)) for bench in benches
    ]
    print(f"{args.pictures} pictures, {args.views} views, {args.runs} runs, seed {args.seed}\n")
    print("| trained on | set | measure | mini | trained | difference | penalty |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name, kinds in VIEWS.items():
        tried = {}
        for penalty in PENALTIES:
            runs = [train(views, kinds, penalty, args.seed + run) for run in range(args.runs)]
            scores = [[measure(bench, matrix) for matrix in runs] for bench in benches]
            tried[penalty] = [
                {key: np.mean([one[key] for one in of], axis=0) for key in of[0]} for of in scores
            ]
        best = max(
            tried, key=lambda p: sum(v[::2].mean() for one in tried[p] for v in one.values())
        )
        for bench, base, scores_of in zip(benches, plain, tried[best], strict=True):
            for key, values in scores_of.items():
                half, other = values[1::2], base[key][1::2]
                gain = show(interval(half - other, args.seed))
                cells = [name, bench.set.name, key, f"{other.mean():.3f}", f"{half.mean():.3f}"]
                print("| " + " | ".join([*cells, gain, str(best)]) + " |", flush=True)


if __name__ == "__main__":
    main()
