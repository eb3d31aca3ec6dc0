"""What `mini` would be with another head, pooling or preparation, its convolutions as they are.

    python scripts/try_heads.py --data DATA [--weights FILE] [--seed 0] [--only WORD]

The features (1280-d) are whitened by a covariance, S^(-1/2) with a share of the identity: of all
pictures, of what differs within a class of photos64 (labels that training may use), or of what
edits change (`scripts/edits.py`); that takes 5,400 pictures of photos64 and clothing/train. Others:
no head; generalised mean over the map (p = 3) in place of the mean; the root of each feature;
other sizes and fits of the input. Scores are those that `scripts/train_mini.py` chooses by, and mAP
of photos-dev, kinds of pictures that no training saw, on which `mini` is not to lose.
"""

from __future__ import annotations

import argparse
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
import torch.nn.functional as F
from edits import attacks
from exam import Exam, said
from lesson import HELD_OUT, gather, opened
from PIL import Image
from retrieval import categories, folder, vectors
from torch import nn

from search.embedders.base import Preparation
from search.embedders.mini import Mini
from search.embedders.mobilenet import MiniNet, normalise

Pool = Callable[[torch.Tensor], torch.Tensor]
EACH = 30  # pictures of a class
SHARES = (1.0, 0.1)  # of the identity, beside the largest variance


def mean(x: torch.Tensor) -> torch.Tensor:
    return x.mean((2, 3))


def root(x: torch.Tensor) -> torch.Tensor:
    return mean(x).clamp(min=0).sqrt()


def generalised(x: torch.Tensor) -> torch.Tensor:
    """Radenovic et al. 2018, arXiv:1711.02512."""
    return x.clamp(min=1e-6).pow(3).mean((2, 3)).pow(1 / 3)


class Other(nn.Module):
    """The body of `mini` under another pooling and head."""

    def __init__(self, net: MiniNet, pool: Pool, head: Pool) -> None:
        super().__init__()
        self.body, self.pool, self.head = net.body, pool, head

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 3, S, S) -> (B, d) of unit length."""
        return F.normalize(self.head(self.pool(self.body(x))), dim=1)


@torch.inference_mode()
def features(net: MiniNet, pictures: list[Image.Image], prepare: Preparation) -> torch.Tensor:
    """n pictures -> (n, 1280) of unit length."""
    parts = [pictures[i : i + 32] for i in range(0, len(pictures), 32)]
    seen = [net.features(normalise([prepare(p) for p in part])) for part in parts]
    return F.normalize(torch.cat(seen), dim=1)


def spreads(data: Path, mini: Mini, seed: int) -> dict[str, torch.Tensor]:
    """(1280, 1280) covariances by what they are of."""
    rng, task, net = random.Random(seed), gather(data, HELD_OUT), mini.load()
    rows = [row for row, _ in task.pools["photos64"] if task.label[row] >= 0]
    label = task.label[rows]
    chosen = [
        r for c in label.unique() for r in rng.sample((label == c).nonzero()[:, 0].tolist(), EACH)
    ]
    photos = [opened(task.pools["photos64"][rows[i]][1]) for i in chosen]
    clothes = [opened(data) for _, data in task.pools["clothing"]]
    pictures = [*photos[::4], *clothes]
    x = features(net, photos, mini.preparation)
    y = features(net, clothes, mini.preparation)
    edited = [attacks(p, rng, rng.choice(pictures)) for p in pictures]
    changed = features(net, edited, mini.preparation) - torch.cat([x[::4], y])
    classes = x.view(-1, EACH, x.shape[1])
    within = (classes - classes.mean(1, keepdim=True)).flatten(0, 1)
    both = torch.cat([x, y])
    return {
        name: z.T @ z / len(z)
        for name, z in (("all", both - both.mean(0)), ("classes", within), ("edits", changed))
    }


def whitening(spread: torch.Tensor, share: float) -> Pool:
    values, directions = torch.linalg.eigh(spread)
    turn = directions / (values + share * values[-1]).sqrt() @ directions.T
    return lambda x: F.normalize(x, dim=1) @ turn


def tries(
    data: Path, mini: Mini, seed: int
) -> Iterator[tuple[str, Callable[[], nn.Module], Preparation]]:
    """What it is called, the network, its preparation."""
    net, own = mini.load(), mini.preparation
    yield "as it is", lambda: net, own
    for fit in ("crop", "between", "squash"):
        if fit != own.fit:
            yield f"fit {fit}", lambda: net, Preparation(own.size, fit)
    for size in (96, 128, 192):
        yield f"size {size}", lambda: net, Preparation(size, own.fit)
    yield "no head", lambda: Other(net, mean, nn.Identity()), own
    yield "root", lambda: Other(net, root, nn.Identity()), own
    yield "generalised mean", lambda: Other(net, generalised, net.retrieval), own
    kept = dict[str, torch.Tensor]()
    for of in ("all", "classes", "edits"):
        for share in SHARES:

            def whitened(of: str = of, share: float = share) -> nn.Module:
                kept.update(kept or spreads(data, mini, seed))
                return Other(net, mean, whitening(kept[of], share))

            yield f"whitened, {of}, {share:g}", whitened, own


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="tries whose name has this in it")
    args = parser.parse_args()
    exam, mini = Exam(args.data), Mini(weights=args.weights)
    loads, labels = folder(args.data / "photos-dev")
    print(f"mini {mini.fingerprint}, seed {args.seed}")
    for name, net, prepare in tries(args.data, mini, args.seed):
        if args.only in name:
            one = net().eval()
            unseen = categories(vectors(exam.embed(one, prepare), loads), labels)[0].mean()
            print(f"{name:<24}{said(exam(one, prepare))}  photos-dev {unseen:.4f}", flush=True)


if __name__ == "__main__":
    main()
