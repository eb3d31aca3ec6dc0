"""Train `mini`, the encoder in the package: transfer learning from MobileNetV2 on small pictures.

    python scripts/train_mini.py --data DATA --out RUN [--minutes 80 | --steps N] [--from WEIGHTS]

DATA holds mobilenetv2/conv_*.npy (Apache-2.0), photos64-{train-*,val}.zip, photos64-classes.json,
clip-vit-b32-names.{npy,json} and clothing/{train,validation}. The student sees 160 px. It learns in
rounds (Furlanello et al. 2018, arXiv:1805.04770): it starts as the teacher, and in each later round
as what the round before gave; --from WEIGHTS begins with the second. In every step its guides look
at the same gentle view as it does (Beyer et al. 2022, arXiv:2106.05237): the teacher at 224 px, and
in later rounds the student as it began. For clothing, which has no labels, what they say of the
pieces nearest to it is added. Five terms:

    distil     both views of a picture near what the guides say of the gentle one
    relate     similarities within the batch as among the guides' (KL)
    instance   two edited views of a picture near each other, far from other pictures (InfoNCE)
    classes    photos64 classes apart, all but the 20 that are kept for measuring
    names      the name head near the CLIP text vector of the class, among all names of the list

A round gives a blend of three (Wortsman et al. 2022, arXiv:2109.01903 and 2203.05482): the last
average, the weights begun with or, where those are the teacher's, of step 300, and the teacher's,
which keeps what it knows of other kinds of pictures. Each is scored on validation data:
clothing/validation by class and under attack, photos64-val of 20 classes that are not the ones kept
for measuring. RUN/mini.safetensors is what the last round gives. A run that is stopped goes on from
its last snapshot, its minutes counted anew.

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
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
from edits import attacks, box
from exam import Exam, said
from lesson import HELD_OUT, Batch, Guide, Lesson, Row, Task, gather, mosaic, opened, teacher
from PIL import Image, ImageEnhance, ImageOps
from safetensors import safe_open

from diffusion import files
from diffusion.ema import Average
from search.embedders.base import Preparation
from search.embedders.mini import Mini
from search.embedders.mobilenet import MiniNet

Say = Callable[[str], None]
SHARE = {"photos64": 16, "clothing": 8, "mosaic": 8}  # pictures of each kind in a batch
WEIGHTS = {"distil": 1.0, "relate": 1.0, "instance": 0.15, "classes": 0.15, "names": 0.15}
SNAPSHOT = 100  # steps between two
EARLY = 300  # step of the snapshot that is a part of the blend of a round from the teacher


def gentle(picture: Image.Image, rng: random.Random) -> Image.Image:
    """Most of the picture, perhaps mirrored, perhaps in other colours."""
    if rng.random() < 0.7:
        picture = box(picture, rng.uniform(0.65, 1), rng)
    if rng.random() < 0.5:
        picture = ImageOps.mirror(picture)
    if rng.random() < 0.5:
        picture = ImageEnhance.Color(picture).enhance(rng.uniform(0.3, 1.5))
        picture = ImageEnhance.Brightness(picture).enhance(rng.uniform(0.7, 1.3))
    return picture


class Batches(torch.utils.data.IterableDataset):
    """Endless batches."""

    def __init__(
        self, pools: dict[str, list[Row]], own: Preparation, guides: list[Preparation], seed: int
    ) -> None:
        self.pools, self.own, self.guides, self.seed = pools, own, guides, seed

    def __iter__(self) -> Iterator[Batch]:
        rng = random.Random(self.seed)
        queues: dict[str, list[Row]] = {kind: [] for kind in self.pools}

        def drawn(kind: str) -> tuple[int, Image.Image]:
            if kind == "mosaic":
                return -1, mosaic(self.pools["photos64"], rng.choice((2, 3)), rng)
            if not queues[kind]:
                queues[kind] = rng.sample(self.pools[kind], len(self.pools[kind]))
            row, data = queues[kind].pop()
            return row, opened(data)

        while True:
            pictures = [drawn(kind) for kind, count in SHARE.items() for _ in range(count)]
            views = [gentle(picture, rng) for _, picture in pictures]
            others = [opened(rng.choice(self.pools["clothing"])[1]) for _ in range(4)]
            hard = [attacks(p, rng, rng.choice((*others, *views))) for _, p in pictures]
            yield Batch(
                torch.tensor([row for row, _ in pictures]),
                np.stack([self.own(v) for v in views]),
                np.stack([self.own(v) for v in hard]),
                [np.stack([prepare(v) for v in views]) for prepare in self.guides],
            )


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
        if self.step == self.steps:
            return
        if self.steps is None and time.time() > ends:
            raise SystemExit("the goals took all the minutes: give more --minutes, or --steps")
        views = [guide.preparation for guide in self.lesson.guides]
        batches = Batches(
            self.lesson.task.pools, prepared(args), views, args.seed + 7919 * self.step
        )
        loader = torch.utils.data.DataLoader(
            batches, batch_size=None, num_workers=1, prefetch_factor=4
        )
        for batch in loader:
            if self.steps is None and self.step - first > 30:
                pace = (time.time() - began) / (self.step - first)
                self.steps = self.step + max(1, int((ends - time.time()) / pace))
                self.say(f"{self.steps} steps, {pace:.2f} s each")
            for key, value in self._advance(batch).items():
                sums[key] = sums.get(key, 0.0) + value / 50
            if self.step % 50 == 0:
                self.say(f"step {self.step}  {said(sums)}")
                sums.clear()
            over = self.step == self.steps or (args.steps is None and time.time() > ends)
            if over or self.step % SNAPSHOT == 0:
                self._save()
            if over:
                break

    def _advance(self, batch: Batch) -> dict[str, float]:
        progress = min(1.0, self.step / self.steps) if self.steps else 0.0
        scale = min(1, (self.step + 1) / 50) * 0.5 * (1 + math.cos(math.pi * progress))
        for group in self.optimiser.param_groups:
            group["lr"] = group["peak"] * scale
        losses = self.lesson.losses(batch)
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
        kept = {f"average.{k}": v for k, v in self.average.weights.items()}
        for i, p in enumerate(self.parameters):
            moments = self.optimiser.state[p]
            kept |= {f"{i}.p": p, f"{i}.m": moments["exp_avg"], f"{i}.v": moments["exp_avg_sq"]}
        about = {"step": str(self.step), "steps": json.dumps(self.steps)}
        files.write_tensors(self.state, kept, about)

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


def blend(last: MiniNet, begun: MiniNet, old: MiniNet, shares: Sequence[float]) -> MiniNet:
    """The weighted mean of the three networks; the last has no heads: it gets the second's."""
    net, nets = copy.deepcopy(last), (last, begun, copy.deepcopy(old))
    for head in ("retrieval", "name"):
        setattr(nets[2], head, getattr(begun, head))
    with torch.no_grad():
        for kept, *parts in zip(net.parameters(), *(n.parameters() for n in nets), strict=True):
            kept.copy_(sum(share * part for share, part in zip(shares, parts, strict=True)))
    return net


def write(net: MiniNet, args: argparse.Namespace, step: int, path: Path) -> None:
    """Half-precision weights that say how they want their pictures."""
    config = {
        "preparation": {"size": args.size, "fit": args.fit},
        "steps": step,
        "pictures": step * sum(SHARE.values()),
        "shares": args.shares,
        "seed": args.seed,
    }
    state = {key: value.half() for key, value in net.state_dict().items()}
    files.write_tensors(path, state, {"config": json.dumps(config)})


def prepared(args: argparse.Namespace) -> Preparation:
    """How the student wants its pictures."""
    return Preparation(args.size, args.fit)


def weights(path: Path) -> MiniNet:
    """The network of a file of its own kind."""
    return Mini(weights=path).load()


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """What is asked for on the command line, or by `words`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--from", dest="start", type=Path, help="weights of mini to go on from")
    parser.add_argument("--rounds", type=int, default=1, choices=range(1, 10), metavar="N")
    parser.add_argument("--minutes", type=float, default=66, help="of all rounds, goals included")
    parser.add_argument("--steps", type=int, help="a number of steps a round instead of a budget")
    parser.add_argument("--size", type=int, default=160)
    parser.add_argument("--fit", default="between", choices=("crop", "between", "squash"))
    parser.add_argument("--held", type=int, default=HELD_OUT, help="classes without their labels")
    parser.add_argument("--rate", type=float, default=2e-4)
    parser.add_argument("--share", type=float, default=0.7, help="of the teacher beside the start")
    parser.add_argument("--neighbours", type=float, default=1.0, help="their share in a goal")
    parser.add_argument("--without", nargs="*", default=[], choices=WEIGHTS, help="terms")
    parser.add_argument("--average", default="power:0.1", help="of the weights over the steps")
    parser.add_argument(
        "--shares",
        type=float,
        nargs=3,
        default=[1 / 3] * 3,
        help="of the last weights, the earlier ones, and the teacher's",
    )
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(words)


def study(args: argparse.Namespace, task: Task, exam: Exam, ends: float, say: Say) -> None:
    """One round, from args.start or the teacher, until about the time `ends`."""
    torch.manual_seed(args.seed)
    student = weights(args.start) if args.start else teacher(args.data)
    before, guides = copy.deepcopy(student), list[Guide]()
    if args.share or not args.start:
        share = args.share if args.start else 1.0
        guides.append(Guide(teacher(args.data).features, Preparation(224), share))
    if args.start:
        start = Mini(weights=args.start)
        guides.append(Guide(start.load(), start.preparation, 1.0))
    terms = WEIGHTS | dict.fromkeys(args.without, 0.0)
    training = Training(Lesson(task, student, guides, terms, args.neighbours, args.seed), args, say)
    training.run(ends - 90)
    after = training.averaged()
    if not args.start:
        early = args.out / f"{EARLY:05d}.safetensors"
        before = weights(early) if early.exists() else after
    net = blend(after, before, teacher(args.data), args.shares)
    write(net, args, training.step, args.out / "mini.safetensors")
    for what, one in (("the earlier", before), ("the last", after), ("the blend", net)):
        say(f"{what}, step {training.step}: {said(exam(one, prepared(args)))}")


def settled(args: argparse.Namespace) -> None:
    """Write down what is asked for. Raises SystemExit if the folder is of another run."""
    path, free = args.out / "run.json", ("data", "out", "minutes")
    asked = {key: str(value) for key, value in vars(args).items() if key not in free}
    args.out.mkdir(parents=True, exist_ok=True)
    if path.exists() and (held := json.loads(path.read_text())) != asked:
        others = {k: v for k, v in held.items() if asked.get(k) != v}
        raise SystemExit(f"{args.out} is of a run with {others}: give another --out")
    files.write_json(path, asked)


def main() -> None:
    args, begun = arguments(), time.time()
    settled(args)

    def say(text: str) -> None:
        line = f"{time.time() - begun:7.0f}s  {text}"
        print(line, flush=True)
        with (args.out / "log.txt").open("a") as log:
            log.write(line + "\n")

    task, exam, start = gather(args.data, args.held), Exam(args.data), args.start
    say("pictures: " + ", ".join(f"{len(pool)} {kind}" for kind, pool in task.pools.items()))
    first = 2 if start else 1
    for number in range(first, first + args.rounds):
        one = argparse.Namespace(**vars(args))
        one.out, one.start, one.seed = args.out / f"round{number}", start, args.seed + number - 1
        one.out.mkdir(exist_ok=True)
        start = one.out / "mini.safetensors"
        if not start.exists():
            left = begun + 60 * args.minutes - time.time()
            say(f"round {number}")
            study(one, task, exam, time.time() + left / (first + args.rounds - number), say)
    shutil.copyfile(start, args.out / "mini.safetensors")


if __name__ == "__main__":
    main()
