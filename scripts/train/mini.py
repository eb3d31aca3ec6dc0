"""Train `mini`, the encoder in the package, by distillation from two teachers.

    python scripts/train/mini.py --data DATA --out RUN [--minutes 75 | --steps N] [--tiny]

DATA holds efficientnet-lite2/, mobilenetv2/, photos144-open-*.zip, photos288-open-*.zip and
clothing/{train,validation}, and photos64-val.zip for the choices. All training pictures are under
open terms; `--tiny` adds Tiny ImageNet, whose terms forbid commercial use, for comparison.

The student is EfficientNet-Lite2 with fewer blocks, started from its published weights. For each
picture the goal is the mean of both teachers, at their own sizes, of the untouched picture and of
its nearest neighbours (scripts/train/goals.py). The student sees a gentle and an edited view of it
(search/media/edits.py). Four terms:

    distil     both views near the goal
    relate     similarities within the batch as among the goals (KL)
    instance   the edited view nearest to the gentle one, among the batch and all other goals
    classes    the class head as the teacher's, of both views (KL, Hinton et al. 2015,
               arXiv:1503.02531)

The weights are averaged over the steps (power function EMA, arXiv:2312.02696). The result is
the mean, by `--share`, of that average and of the first weights (Wortsman et al. 2022,
arXiv:2109.01903), which keeps what the teacher knows of other kinds of pictures. No labels are used
in training. The same command resumes a stopped run. RUN/mini.safetensors is the result.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
import networks
import torch
import torch.nn.functional as F
from exam import Exam, as_text
from goals import Goals, Pool, as_array, read_pool, teach
from PIL import Image, ImageEnhance, ImageOps
from safetensors import safe_open

from diffusion import files
from diffusion.training.ema import Average
from search.embedders.efficientnet import DEPTHS as PUBLISHED, EfficientNetLite
from search.embedders.mobilenet import FEATURES, to_tensor
from search.media.edits import crop_randomly, edit_randomly
from search.media.preprocessing import Preprocessing

Say = Callable[[str], None]
DEPTHS = (1, 2, 2, 3, 4, 5, 1)  # blocks of each stage: three fewer than the teacher has
WEIGHTS = {"distil": 1.0, "relate": 1.0, "instance": 0.3, "classes": 0.3}
BATCH = 32
SNAPSHOT = 100  # steps between two
TEMPERATURE = 2.0  # of the class probabilities


def gentle_view(picture: Image.Image, rng: random.Random) -> Image.Image:
    """Most of the picture, perhaps mirrored, perhaps in other colours."""
    if rng.random() < 0.7:
        picture = crop_randomly(picture, rng.uniform(0.65, 1), rng)
    if rng.random() < 0.5:
        picture = ImageOps.mirror(picture)
    if rng.random() < 0.3:
        picture = ImageEnhance.Color(picture).enhance(rng.uniform(0.5, 1.5))
        picture = ImageEnhance.Brightness(picture).enhance(rng.uniform(0.7, 1.3))
    return picture


def reduced(picture: Image.Image, rng: random.Random) -> Image.Image:
    """With a short side of at most 200 px, and in a quarter of the cases of 64 px."""
    side = 64 if rng.random() < 0.25 else 200
    scale = side / min(picture.size)
    if scale >= 1:
        return picture
    size = max(side, round(picture.width * scale)), max(side, round(picture.height * scale))
    return picture.resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0)


@dataclass
class Batch:
    """n pictures: their rows, and the pixels of a gentle and an edited view of each."""

    rows: torch.Tensor
    gentle: torch.Tensor
    edited: torch.Tensor


class Batches(torch.utils.data.IterableDataset):
    """Endless batches in random order."""

    def __init__(self, pool: Pool, prepare: Preprocessing, seed: int) -> None:
        self.pool, self.prepare, self.seed = pool, prepare, seed

    def __iter__(self) -> Iterator[Batch]:
        torch.set_num_threads(1)
        rng, queue = random.Random(self.seed), list[int]()
        while True:
            while len(queue) < BATCH:
                queue += rng.sample(range(len(self.pool.names)), len(self.pool.names))
            rows = [queue.pop() for _ in range(BATCH)]
            pictures = [reduced(self.pool.picture(row), rng) for row in rows]
            gentle = [gentle_view(picture, rng) for picture in pictures]
            edited = [edit_randomly(p, rng, rng.choice(pictures)) for p in pictures]
            yield Batch(
                torch.tensor(rows),
                torch.from_numpy(as_array(gentle, self.prepare)),
                torch.from_numpy(as_array(edited, self.prepare)),
            )


def start_student(data: Path, depths: Sequence[int]) -> EfficientNetLite:
    """EfficientNet-Lite2 without the last blocks of the stages that are shorter in `depths`."""
    teacher, student = networks.efficientnet(data), EfficientNetLite(depths)
    layers, place = [teacher.body[0]], 1
    for full, depth in zip(PUBLISHED, depths, strict=True):
        layers += teacher.body[place : place + depth]
        place += full
    student.body = torch.nn.Sequential(*layers, teacher.body[place])
    student.classes = teacher.classes
    return student.eval().to(memory_format=torch.channels_last)


def start_head(student: EfficientNetLite, goals: Goals) -> None:
    """Set the retrieval head to the directions of the goals within EfficientNet's features.

    A head that was fitted to the training pictures instead gave less on other kinds of pictures.
    """
    student.retrieval.weight.data = goals.turn[:FEATURES].T.clone()
    student.retrieval.bias.data.zero_()


def relate(x: torch.Tensor, goal: torch.Tensor) -> torch.Tensor:
    """KL of the similarities of each row of x (n, d) to the others from those of the goal."""
    hide = torch.eye(len(x), device=x.device) * -1e4
    target = F.softmax(goal @ goal.T / 0.1 + hide, 1)
    return F.kl_div(F.log_softmax(x @ x.T / 0.1 + hide, 1), target, reduction="batchmean")


def losses(
    student: EfficientNetLite, goals: Goals, twins: torch.Tensor, batch: Batch
) -> dict[str, torch.Tensor]:
    """The four terms, weighted. twins: rows that are no negatives of each row."""
    n, device = len(batch.rows), goals.plain.device
    rows, same = batch.rows.to(device), torch.arange(len(batch.rows), device=device)
    pixels = torch.cat([batch.gentle, batch.edited]).numpy()
    pooled = student.features(to_tensor(pixels, student.mean, student.std, device))
    z = F.normalize(student.retrieval(pooled), dim=1)
    a, b, goal = z[:n], z[n:], goals.vectors[rows]
    others = b @ goals.plain.T
    others[same, rows] = -1e4
    others[same, twins.to(device)[rows]] = -1e4
    nearest = torch.cat([b @ a.T, others], 1) / 0.07
    logits = student.classes(pooled) / TEMPERATURE
    target = F.softmax(goals.logits[rows].float() / TEMPERATURE, 1).repeat(2, 1)
    terms = {
        "distil": 2 * (1 - (a * goal).sum(1)).mean() + (1 - (b * goal).sum(1)).mean(),
        "relate": relate(a, goal) + relate(b, goal),
        "instance": F.cross_entropy(nearest, same),
        "classes": F.kl_div(F.log_softmax(logits, 1), target, reduction="batchmean"),
    }
    return {name: WEIGHTS[name] * term for name, term in terms.items()}


def parameter_groups(student: EfficientNetLite, rate: float, frozen: int) -> list[dict]:
    """Early layers learn at a fifth of the last one's rate, heads faster; `frozen` not at all."""
    layers = list(student.body)
    for layer in layers[:frozen]:
        layer.requires_grad_(False)
    groups = [
        {"params": list(layer.parameters()), "peak": rate * (0.2 + 0.8 * i / (len(layers) - 1))}
        for i, layer in enumerate(layers)
        if i >= frozen
    ]
    heads = [*student.retrieval.parameters(), *student.classes.parameters()]
    return [*groups, {"params": heads, "peak": 3 * rate}]


class Training:
    """The steps of a run, the average of the weights over them, and what is needed to resume."""

    def __init__(
        self, student: EfficientNetLite, goals: Goals, pool: Pool, args: argparse.Namespace
    ) -> None:
        self.student, self.goals, self.pool, self.args = student, goals, pool, args
        self.twins = pool.twins()
        self.average = Average(student, args.average)
        self.optimiser = torch.optim.AdamW(
            parameter_groups(student, args.rate, args.frozen), args.rate, (0.9, 0.98)
        )
        self.parameters = [p for group in self.optimiser.param_groups for p in group["params"]]
        self.step, self.steps, self.seconds = 0, args.steps, 0.0
        self.state = args.out / "state.safetensors"
        if self.state.exists():
            self._restore()

    def run(self, say: Say) -> None:
        """Train to the last step. Without --steps their number is set by the rate measured over
        the first 30, so that all take --minutes."""
        args, sums, began = self.args, dict[str, float](), time.time() - self.seconds
        if self.step == self.steps:
            return
        batches = Batches(
            self.pool, Preprocessing(args.size, args.fit), args.seed + 7919 * self.step
        )
        loader = torch.utils.data.DataLoader(
            batches, batch_size=None, num_workers=args.workers, prefetch_factor=4
        )
        for batch in loader:
            if self.steps is None and self.step == 30:
                pace = (time.time() - began) / self.step
                self.steps = max(31, int(60 * args.minutes / pace))
                say(f"{self.steps} steps, {pace:.2f} s each")
            for key, value in self._advance(batch).items():
                sums[key] = sums.get(key, 0.0) + value / 50
            self.seconds = time.time() - began
            if self.step % 50 == 0:
                say(f"step {self.step}  {as_text(sums)}")
                sums.clear()
            if self.step == self.steps or self.step % SNAPSHOT == 0:
                self._save()
            if self.step == self.steps:
                return

    def _advance(self, batch: Batch) -> dict[str, float]:
        progress = min(1.0, self.step / self.steps) if self.steps else 0.0
        scale = min(1, (self.step + 1) / 50) * 0.5 * (1 + math.cos(math.pi * progress))
        for group in self.optimiser.param_groups:
            group["lr"] = group["peak"] * scale
        terms = losses(self.student, self.goals, self.twins, batch)
        total = torch.stack(list(terms.values())).sum()
        if not torch.isfinite(total):
            raise SystemExit(f"the loss is not finite at step {self.step}: try a lower --rate")
        self.optimiser.zero_grad()
        total.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimiser.step()
        self.average.update(self.student, self.step)
        self.step += 1
        return {key: value.item() for key, value in terms.items()}

    def averaged(self) -> EfficientNetLite:
        """A network of the averaged weights."""
        net = copy.deepcopy(self.student).eval()
        net.load_state_dict(self.average.weights)
        return net

    def _save(self) -> None:
        """The average as a file of its own, and all that is needed to resume."""
        path = self.args.out / f"{self.step:05d}.safetensors"
        write(self.averaged(), self.args, self.step, path)
        tensors = {f"average.{k}": v for k, v in self.average.weights.items()}
        for i, p in enumerate(self.parameters):
            moments = self.optimiser.state[p]
            tensors |= {f"{i}.p": p, f"{i}.m": moments["exp_avg"], f"{i}.v": moments["exp_avg_sq"]}
        about = {"step": self.step, "steps": self.steps, "seconds": self.seconds}
        files.write_tensors(self.state, tensors, {k: json.dumps(v) for k, v in about.items()})

    def _restore(self) -> None:
        with safe_open(self.state, framework="pt") as file:
            about = {key: json.loads(value) for key, value in file.metadata().items()}
            self.step, self.seconds = about["step"], about["seconds"]
            self.steps = self.steps or about["steps"]
            for name in self.average.weights:
                self.average.weights[name] = file.get_tensor(f"average.{name}")
            for i, p in enumerate(self.parameters):
                p.data.copy_(file.get_tensor(f"{i}.p"))
                self.optimiser.state[p] = {
                    "step": torch.tensor(float(self.step)),
                    "exp_avg": file.get_tensor(f"{i}.m"),
                    "exp_avg_sq": file.get_tensor(f"{i}.v"),
                }


def blend(last: EfficientNetLite, start: EfficientNetLite, share: float) -> EfficientNetLite:
    """The mean of two networks; share: of the first, 0 to 1."""
    net = copy.deepcopy(last)
    with torch.no_grad():
        for out, x, y in zip(net.parameters(), last.parameters(), start.parameters(), strict=True):
            out.copy_(share * x + (1 - share) * y)
    return net


def write(net: EfficientNetLite, args: argparse.Namespace, step: int, path: Path) -> None:
    """Return half-precision weights with their preprocessing."""
    config = {
        "network": "efficientnet-lite",
        "depths": list(args.depths),
        "preparation": {"size": args.run_size, "fit": args.fit},
        "steps": step,
        "pictures": step * BATCH,
        "seed": args.seed,
    }
    state = {key: value.half() for key, value in net.state_dict().items()}
    files.write_tensors(path, state, {"config": json.dumps(config)})


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of the command line, or of `words`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=65, help="of the steps, without the goals")
    parser.add_argument("--steps", type=int, help="a number of steps instead of minutes")
    parser.add_argument("--tiny", action="store_true", help="add Tiny ImageNet")
    parser.add_argument("--depths", type=int, nargs=7, default=DEPTHS, metavar="N")
    parser.add_argument("--size", type=int, default=160, help="px of the training input")
    parser.add_argument("--run-size", type=int, default=192, help="px of the input when it is used")
    parser.add_argument("--fit", default="between", choices=("crop", "between", "squash"))
    parser.add_argument("--rate", type=float, default=3e-4)
    parser.add_argument("--frozen", type=int, default=4, help="first layers that do not learn")
    parser.add_argument("--neighbours", type=float, default=1.0, help="their weight in a goal")
    parser.add_argument("--average", default="power:0.1", help="of the weights over the steps")
    parser.add_argument("--share", type=float, default=0.7, help="of the last weights")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(words)


def check_options(args: argparse.Namespace) -> None:
    """Save the options. Raises SystemExit if the folder has a run with other options."""
    path, free = args.out / "run.json", ("data", "out", "minutes", "device", "workers", "share")
    options = {key: str(value) for key, value in vars(args).items() if key not in free}
    args.out.mkdir(parents=True, exist_ok=True)
    if path.exists() and (old := json.loads(path.read_text())) != options:
        others = {k: v for k, v in old.items() if options.get(k) != v}
        raise SystemExit(f"{args.out} is of a run with {others}: give another --out")
    files.write_json(path, options)


def main() -> None:
    args, start = arguments(), time.time()
    check_options(args)

    def say(text: str) -> None:
        line = f"{time.time() - start:7.0f}s  {text}"
        print(line, flush=True)
        with (args.out / "log.txt").open("a") as log:
            log.write(line + "\n")

    torch.manual_seed(args.seed)
    pool = read_pool(args.data, args.tiny, args.seed)
    say(f"{len(pool.names)} pictures")
    teach(args.data, pool, args.out / "goals", say)
    goals = Goals.read(args.out / "goals", args.neighbours)
    student = start_student(args.data, args.depths)
    start_head(student, goals)
    begun_with = copy.deepcopy(student)
    student.to(args.device)
    training = Training(student, goals.to(args.device), pool, args)
    training.run(say)
    last, exam = training.averaged().cpu(), Exam(args.data)
    net = blend(last, begun_with, args.share)
    write(net, args, training.step, args.out / "mini.safetensors")
    for size in sorted({args.size, args.run_size}):
        prepare = Preprocessing(size, args.fit)
        for name, one in (("begun with", begun_with), ("last", last), ("blend", net)):
            say(f"{name} at {size} px: {as_text(exam(one, prepare))}")


if __name__ == "__main__":
    main()
