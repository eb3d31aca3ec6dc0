"""How good the features of the diffusion model are, by block and noise level.

scripts/bench features [--data ../shared/data] [--checkpoint C] [--sigmas S...] [--seed 0]

On clothing, 64 px: the linear probe learns from train and is measured on test (logistic regression
on standardised features, its L2 chosen on validation); mAP and 1-NN leave one out of test. Beside
them by the same measure: mini's vectors, and the pixels. 95 % intervals by bootstrap over pictures.
The last line has the block and noise level that are best on validation: quote this one.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from bench_ddpm import conditions
from bench_models import categories, interval

from diffusion import load
from diffusion.data import Pictures, read_pictures
from diffusion.evaluation.features import Features
from search.embedders.mini import Mini
from search.runtime import torch

SETS = ("train", "validation", "test")
L2 = (1e-4, 1e-3, 1e-2, 1e-1)
Rows = dict[str, torch.Tensor]


def probe(rows: Rows, sets: dict[str, Pictures]) -> tuple[float, np.ndarray]:
    """Return the accuracy on validation, and which test pictures are right."""
    mean, std = rows["train"].mean(0), rows["train"].std(0).clamp(min=1e-6)
    x = {name: (row - mean) / std for name, row in rows.items()}
    fits = []
    for weight in L2:
        layer = torch.nn.Linear(x["train"].shape[1], len(sets["train"].classes))
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
        fits.append(_fitted(layer, weight, x, sets))
    return max(fits, key=lambda pair: pair[0])


def _fitted(
    layer: torch.nn.Linear, weight: float, x: Rows, sets: dict[str, Pictures]
) -> tuple[float, np.ndarray]:
    step = torch.optim.LBFGS(layer.parameters(), max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        step.zero_grad()
        fit = torch.nn.functional.cross_entropy(layer(x["train"]), sets["train"].labels)
        value = fit + weight * layer.weight.square().sum()
        value.backward()
        return value

    step.step(loss)
    with torch.inference_mode():
        right = {n: (layer(x[n]).argmax(1) == sets[n].labels).numpy() for n in SETS[1:]}
    return float(right["validation"].mean()), right["test"].astype(float)


def line(title: str, rows: Rows, sets: dict[str, Pictures], seed: int) -> tuple[float, str]:
    """Return the accuracy on validation, and a line about the test part."""
    valid, right = probe(rows, sets)
    vectors = torch.nn.functional.normalize(rows["test"] - rows["train"].mean(0), dim=1).numpy()
    ap, nn = categories(vectors, sets["test"].labels.numpy())
    scores = "  ".join(f"{interval(v, seed):<21}" for v in (right, ap, nn))
    text = f"{title:<28}{rows['test'].shape[1]:>6}  {valid:<12.3f}{scores}"
    print(text, flush=True)
    return valid, text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    root = Path(__file__).resolve().parents[3]
    parser.add_argument("--data", type=Path, default=root / "shared" / "data")
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--sigmas", type=float, nargs="+", default=[0.1, 0.3, 0.6, 1.2, 2.5])
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    model = load(args.checkpoint) if args.checkpoint else load()
    sets = {
        name: read_pictures([args.data / "clothing" / name], model.config.size) for name in SETS
    }
    counts = ", ".join(f"{name} {len(pictures.images)}" for name, pictures in sets.items())
    print(f"clothing: {counts}; seed {args.seed}")
    print(f"{'':<28}{'width':>6}  {'validation':<12}{'probe':<23}{'mAP':<23}{'1-NN':<23}")
    mini = Mini()
    line("mini", {n: conditions(s.images, mini) for n, s in sets.items()}, sets, args.seed)
    pixels = {n: s.images.float().flatten(1)[:, ::4] for n, s in sets.items()}
    line("pixels", pixels, sets, args.seed)
    lines = []
    for block in model.net.block_names:
        for sigma in args.sigmas:
            encode = Features(model, block, sigma, seed=args.seed)
            rows = {name: encode(pictures.images).cpu() for name, pictures in sets.items()}
            lines.append(line(f"{block}, sigma {sigma:g}", rows, sets, args.seed))
    print(f"best on validation:\n{max(lines)[1]}")


if __name__ == "__main__":
    main()
