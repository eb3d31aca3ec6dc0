"""Train `mini`, the encoder in the package: transfer learning from MobileNetV2 on small pictures.

    python scripts/train_mini.py --data DATA --out RUN [--minutes 66 | --steps N]
    python scripts/train_mini.py --data DATA --out RUN --from WEIGHTS [--minutes 40]

DATA holds mobilenetv2/conv_*.npy (Apache-2.0), photos64-train-*.zip, photos64-classes.json,
clip-vit-b32-names.{npy,json} and clothing/train. The student starts as the teacher, or as earlier
weights of its own (`--from`), and sees 160 px; its targets are the teacher's features at 224 px,
averaged over edits of the picture, or its own earlier vectors of it. Five terms:

    distil     both views of a picture near the target of the untouched picture
    relate     similarities within the batch as among the targets (KL)
    instance   two edited views of a picture near each other, far from other pictures (InfoNCE)
    classes    photos64 classes apart, all but the 20 that are kept for measuring
    names      the name head near the CLIP text vector of the class, among all names of the list

What is written is a blend of two weights (Wortsman et al. 2022, arXiv:2109.01903): those of an
early step, or with --from those begun with, and the last average. `--choose` tries shares on
validation data: clothing/validation by class and under attack, photos64-val of 20 classes that are
not the ones kept for measuring. A run that is stopped goes on from its last snapshot.

Clothing's class names and labels are not read, but for clothing/validation in those figures. The
network stays the same shape, so batch norm stays folded. Sharp pictures are a fixed share of every
batch (clothing, mosaics of small ones).
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import os
import random
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
from edits import attacks, box
from lesson import HELD_OUT, Lesson, gather, opened, teacher
from PIL import Image, ImageEnhance, ImageOps
from retrieval import HARD, PLAIN, archive, categories, folder, recall, vectors
from safetensors import safe_open
from safetensors.torch import save_file

from diffusion.ema import Average
from search.embedders.base import Preparation
from search.embedders.mini import Mini
from search.embedders.mobilenet import MiniNet, normalise

Say = Callable[[str], None]
SHARE = {"photos64": 18, "clothing": 8, "mosaic": 6}  # pictures of each kind in a batch
WEIGHTS = {"distil": 1.0, "relate": 1.0, "instance": 0.15, "classes": 0.15, "names": 0.15}
SNAPSHOT = 100  # steps between two
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)


def views(
    picture: Image.Image, other: Image.Image, prepare: Preparation, rng: random.Random
) -> tuple[np.ndarray, np.ndarray]:
    """A gentle view and an attacked one of the same picture, prepared."""
    gentle = box(picture, rng.uniform(0.65, 1), rng) if rng.random() < 0.7 else picture
    if rng.random() < 0.5:
        gentle = ImageOps.mirror(gentle)
    if rng.random() < 0.5:
        gentle = ImageEnhance.Color(gentle).enhance(rng.uniform(0.3, 1.5))
        gentle = ImageEnhance.Brightness(gentle).enhance(rng.uniform(0.7, 1.3))
    return prepare(gentle), prepare(attacks(picture, rng, other))


class Batches(torch.utils.data.IterableDataset):
    """Endless batches: the row of each picture in the target table, (gentle, hard) pixels."""

    def __init__(self, pools: dict[str, list[tuple[int, bytes]]], size: int, seed: int) -> None:
        self.pools, self.prepare, self.seed = pools, Preparation(size), seed

    def __iter__(self):
        rng = random.Random(self.seed)
        queues: dict[str, list[tuple[int, bytes]]] = {kind: [] for kind in self.pools}
        while True:
            rows, first, second = [], [], []
            for kind, count in SHARE.items():
                for _ in range(count):
                    if not queues[kind]:
                        queues[kind] = rng.sample(self.pools[kind], len(self.pools[kind]))
                    row, data = queues[kind].pop()
                    other = opened(rng.choice(self.pools[kind])[1])
                    a, b = views(opened(data), other, self.prepare, rng)
                    rows.append(row), first.append(a), second.append(b)
            yield torch.tensor(rows), np.stack(first), np.stack(second)


class Exam:
    """What a choice is made by. No picture of it is trained on; the 20 classes of photos64 are not
    those of the test, and their training pictures have been learned with their labels."""

    def __init__(self, data: Path) -> None:
        self.clothes = folder(data / "clothing" / "validation")
        chosen = slice(HELD_OUT, 2 * HELD_OUT)
        self.small = archive(data / "photos64-val.zip", chosen, 20)

    def __call__(self, net: MiniNet, size: int) -> dict[str, float]:
        """mAP of both sets, recall@1 of every 14th piece of clothing under attack."""
        prepare = Preparation(size)

        def embed(pictures):
            with torch.inference_mode():
                return net(normalise([prepare(p) for p in pictures])).numpy()

        loads, labels = self.clothes
        clothes, small = vectors(embed, loads), vectors(embed, self.small[0])
        index, queries = np.concatenate([clothes, small]), range(0, len(loads), 14)
        kinds = {"plain": PLAIN, "hard": HARD}
        found = {
            "clothing": float(categories(clothes, labels)[0].mean()),
            "photos64": float(categories(small, self.small[1])[0].mean()),
        }
        for kind, edits in kinds.items():
            each = [recall(embed, loads, queries, index, edit, 0) for edit in edits.values()]
            found[kind] = float(np.mean(each))
        return found | {"mean": sum(found.values()) / len(found)}


def said(scores: dict[str, float]) -> str:
    return "  ".join(f"{name} {value:.4f}" for name, value in scores.items())


def groups(net: MiniNet, prototypes: torch.nn.Parameter, rate: float) -> list[dict]:
    """Early layers learn at a tenth of the last one's rate; heads faster than all."""
    layers = list(net.body)
    out = [
        {"params": list(layer.parameters()), "peak": rate * (0.1 + 0.9 * i / (len(layers) - 1))}
        for i, layer in enumerate(layers)
    ]
    heads = [*net.retrieval.parameters(), *net.name.parameters(), prototypes]
    return [*out, {"params": heads, "peak": 3 * rate}]


class Training:
    """The steps of a lesson, and the average of the weights over them."""

    def __init__(self, lesson: Lesson, args: argparse.Namespace, say: Say) -> None:
        self.lesson, self.args, self.say = lesson, args, say
        self.average = Average(lesson.student, args.average)
        self.optimiser = torch.optim.AdamW(
            groups(lesson.student, lesson.prototypes, args.rate), args.rate, (0.9, 0.98)
        )
        self.parameters = [p for group in self.optimiser.param_groups for p in group["params"]]
        self.step, self.steps = 0, args.steps
        self.state = args.out / "state.safetensors"
        if self.state.exists():
            self._restore()

    def run(self, ends: float) -> None:
        """To the last step; the number of steps is fixed once the rate is known."""
        args, sums, began, first = self.args, dict[str, float](), time.time(), self.step
        batches = Batches(self.lesson.task.pools, args.size, args.seed + 7919 * self.step)
        loader = torch.utils.data.DataLoader(
            batches, batch_size=None, num_workers=1, prefetch_factor=4
        )
        for rows, one, two in loader:
            if self.steps is None and self.step - first > 30:
                pace = (time.time() - began) / (self.step - first)
                self.steps = self.step + max(1, int((ends - time.time()) / pace))
                self.say(f"{self.steps} steps, {pace:.2f} s each")
            for key, value in self._advance(rows, one, two).items():
                sums[key] = sums.get(key, 0.0) + value / 50
            if self.step % 50 == 0:
                self.say(f"step {self.step}  {said(sums)}")
                sums.clear()
            over = self.step == self.steps or (args.steps is None and time.time() > ends)
            if over or self.step % SNAPSHOT == 0:
                self._save()
            if over:
                break

    def _advance(self, rows: torch.Tensor, one: np.ndarray, two: np.ndarray) -> dict[str, float]:
        progress = min(1.0, self.step / self.steps) if self.steps else 0.0
        scale = min(1, (self.step + 1) / 100) * 0.5 * (1 + math.cos(math.pi * progress))
        for group in self.optimiser.param_groups:
            group["lr"] = group["peak"] * scale
        losses = self.lesson.losses(rows, one, two)
        total = torch.stack(list(losses.values())).sum()
        if not torch.isfinite(total):
            raise SystemExit(f"the loss is not finite at step {self.step}: try a lower --rate")
        self.optimiser.zero_grad()
        total.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimiser.step()
        self.average.update(self.lesson.student, self.step)
        self.step += 1
        return {key: value.item() for key, value in losses.items()}

    def averaged(self) -> MiniNet:
        """A network of the averaged weights."""
        net = copy.deepcopy(self.lesson.student).eval()
        net.load_state_dict(self.average.weights)
        return net

    def _save(self) -> None:
        """The average as a file of its own, and all that is needed to go on."""
        write(self.averaged(), self.args, self.step, self.args.out / f"{self.step:05d}.safetensors")
        kept = {f"average.{k}": v.contiguous() for k, v in self.average.weights.items()}
        for i, p in enumerate(self.parameters):
            moments = self.optimiser.state[p]
            kept |= {f"{i}.p": p.data.contiguous(), f"{i}.m": moments["exp_avg"].contiguous()}
            kept[f"{i}.v"] = moments["exp_avg_sq"].contiguous()
        partial = self.state.with_suffix(".part")
        save_file(kept, partial, {"step": str(self.step), "steps": json.dumps(self.steps)})
        partial.replace(self.state)

    def _restore(self) -> None:
        with safe_open(self.state, framework="pt") as file:
            self.step = int(file.metadata()["step"])
            self.steps = self.steps or json.loads(file.metadata()["steps"])
            for name in self.average.weights:
                self.average.weights[name] = file.get_tensor(f"average.{name}")
            for i, p in enumerate(self.parameters):
                p.data.copy_(file.get_tensor(f"{i}.p"))
                self.optimiser.state[p] = {
                    "step": torch.tensor(float(self.step)),
                    "exp_avg": file.get_tensor(f"{i}.m"),
                    "exp_avg_sq": file.get_tensor(f"{i}.v"),
                }
        self.say(f"going on from step {self.step}")


def blend(before: MiniNet, after: MiniNet, late: float) -> MiniNet:
    """late: share of the second."""
    net = copy.deepcopy(after)
    with torch.no_grad():
        for kept, old in zip(net.parameters(), before.parameters(), strict=True):
            kept.lerp_(old, 1 - late)
    return net


def write(net: MiniNet, args: argparse.Namespace, step: int, path: Path) -> None:
    """Half-precision weights that say how they want their pictures."""
    config = {
        "preparation": {"size": args.size, "fit": "crop"},
        "steps": step,
        "pictures": step * sum(SHARE.values()),
        "late": args.late,
        "seed": args.seed,
    }
    state = {key: value.half().contiguous() for key, value in net.state_dict().items()}
    save_file(state, path, {"config": json.dumps(config)})


def weights(path: Path) -> MiniNet:
    """The network of a file of its own kind."""
    return Mini(weights=path).load()


def choose(args: argparse.Namespace, before: MiniNet, after: MiniNet, say: Say) -> float:
    """The share of the last weights with the best mean on validation data."""
    exam, found = Exam(args.data), {}
    for late in SHARES:
        scores = exam(blend(before, after, late), args.size)
        found[late] = scores["mean"]
        say(f"share {late:.2f}: {said(scores)}")
    return max(found, key=lambda late: found[late])


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--from", dest="start", type=Path, help="weights of mini to go on from")
    parser.add_argument("--minutes", type=float, default=66, help="whole budget, targets included")
    parser.add_argument("--steps", type=int, help="a number of steps instead of a budget")
    parser.add_argument("--size", type=int, default=160)
    parser.add_argument("--per-class", type=int, default=150)
    parser.add_argument("--held", type=int, default=HELD_OUT, help="classes without their labels")
    parser.add_argument("--rate", type=float, default=2e-4)
    parser.add_argument("--teacher", type=float, default=0.0, help="its share beside --from")
    parser.add_argument("--without", nargs="*", default=[], choices=WEIGHTS, help="terms")
    parser.add_argument("--average", default="power:0.1", help="or constant:0.998")
    parser.add_argument("--early", type=int, default=300, help="step of the early weights")
    parser.add_argument("--late", type=float, help="share of the last weights; else chosen")
    parser.add_argument("--targets", type=Path, help="where the answers of the teachers are kept")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def main() -> None:
    args, begun = arguments(), time.time()
    args.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(args.seed)

    def say(text: str) -> None:
        line = f"{time.time() - begun:7.0f}s  {text}"
        print(line, flush=True)
        with (args.out / "log.txt").open("a") as log:
            log.write(line + "\n")

    start = Mini(weights=args.start) if args.start else None
    cache = args.targets or args.out / "targets"
    old = teacher(args.data) if args.teacher or not start else None
    task = gather(args.data, args.per_class, args.held, args.seed, (old, start), cache)
    counts = ", ".join(f"{len(pool)} {kind}" for kind, pool in task.pools.items())
    say(f"pictures: {counts}; their targets are ready")
    student = weights(args.start) if args.start else teacher(args.data)
    before = copy.deepcopy(student)
    terms = WEIGHTS | dict.fromkeys(args.without, 0.0)
    training = Training(Lesson(task, student, args.teacher, terms), args, say)
    training.run(begun + 60 * args.minutes - 90)
    after = training.averaged()
    if (early := args.out / f"{args.early:05d}.safetensors").exists() and not args.start:
        before = weights(early)
    elif not args.start:
        before = after
    if args.late is None:
        args.late = choose(args, before, after, say)
    net = blend(before, after, args.late)
    write(net, args, training.step, args.out / "mini.safetensors")
    say(f"share {args.late:.2f} of step {training.step}: {said(Exam(args.data)(net, args.size))}")


if __name__ == "__main__":
    main()
