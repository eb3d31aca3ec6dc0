"""Train `mini`, the encoder in the package: transfer learning from MobileNetV2 on small pictures.

    python scripts/train_mini.py --data DATA --out RUN [--minutes 66 | --steps N]

DATA holds mobilenetv2/conv_*.npy (Apache-2.0), photos64-train-*.zip, photos64-classes.json,
clip-vit-b32-names.{npy,json} and clothing/train. The student starts as the teacher and sees 160 px;
its targets are the teacher's features at 224 px, averaged over edits of the picture. Five terms:

    distil     both views of a picture near the target of the untouched picture
    relate     similarities within the batch as among the targets (KL)
    instance   two edited views of a picture near each other, far from other pictures (InfoNCE)
    classes    photos64 classes apart, all but the 20 that are kept for measuring
    names      the name head near the CLIP text vector of the class, among all names of the list

What is written is a blend of early and last weights (Wortsman et al. 2022, arXiv:2109.01903): on
kinds of pictures that no training saw the early ones are better, on those it saw the last.

Clothing's class names and labels are not read; pictures for measuring are never opened here, but
for clothing/validation, which the log follows. The network stays the same shape, so batch norm
stays folded. Sharp pictures are a fixed share of every batch (clothing, mosaics of small ones).
"""

from __future__ import annotations

import argparse
import copy
import io
import json
import math
import random
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from edits import attack, box, hue
from PIL import Image, ImageEnhance, ImageOps
from safetensors.torch import save_file

from search.embedders.base import Preparation
from search.embedders.mobilenet import DIM, MiniNet, normalise

Say = Callable[[str], None]
HELD_OUT = 20  # the first wnids in sorted order: no labels of theirs are used
SHARE = {"photos64": 18, "clothing": 8, "mosaic": 6}  # pictures of each kind in a batch


def teacher(data: Path) -> MiniNet:
    """MobileNetV2 as published: the convolutions in the order of the topology."""
    net = MiniNet().eval()
    files = sorted(
        (data / "mobilenetv2").glob("*_weight.npy"), key=lambda p: int(p.name.split("_")[1])
    )
    convolutions = list(net.convolutions())
    if len(files) != len(convolutions):
        raise SystemExit(f"{data}/mobilenetv2: {len(files)} convolutions, expected 52")
    for file, conv in zip(files, convolutions, strict=True):
        bias = file.with_name(file.name.replace("weight", "bias"))
        conv.weight.data = torch.from_numpy(np.load(file))
        conv.bias.data = torch.from_numpy(np.load(bias))
    return net.to(memory_format=torch.channels_last)


EDITS = (  # the teacher's target is the mean over these
    lambda p: p,
    ImageOps.mirror,
    lambda p: ImageOps.grayscale(p).convert("RGB"),
    lambda p: hue(p, 60),
    lambda p: hue(p, -80),
    lambda p: ImageEnhance.Brightness(p).enhance(0.5),
)


def targets(net: MiniNet, pictures: list[bytes], size: int, edits: int) -> torch.Tensor:
    """n encoded pictures -> (n, 1280): mean over edits of unit teacher features at size px."""
    prepare, out = Preparation(size), []
    with torch.inference_mode():
        for i in range(0, len(pictures), 32):
            batch = [Image.open(io.BytesIO(b)).convert("RGB") for b in pictures[i : i + 32]]
            views = [
                F.normalize(net.features(normalise([prepare(edit(p)) for p in batch])), dim=1)
                for edit in EDITS[:edits]
            ]
            out.append(F.normalize(sum(views), dim=1))
    return torch.cat(out)


def mosaic(pictures: list[bytes], rng: random.Random) -> bytes:
    """Nine small pictures side by side: sharp at the student's input size."""
    sheet = Image.new("RGB", (192, 192))
    for i in range(9):
        tile = Image.open(io.BytesIO(rng.choice(pictures))).convert("RGB")
        sheet.paste(tile, (64 * (i % 3), 64 * (i // 3)))
    out = io.BytesIO()
    sheet.save(out, "PNG")
    return out.getvalue()


def views(data: bytes, prepare: Preparation, rng: random.Random) -> tuple[np.ndarray, np.ndarray]:
    """A gentle view and an attacked one of the same picture, prepared."""
    picture = Image.open(io.BytesIO(data)).convert("RGB")
    gentle = box(picture, rng.uniform(0.65, 1), rng) if rng.random() < 0.7 else picture
    if rng.random() < 0.5:
        gentle = ImageOps.mirror(gentle)
    if rng.random() < 0.5:
        gentle = ImageEnhance.Color(gentle).enhance(rng.uniform(0.3, 1.5))
        gentle = ImageEnhance.Brightness(gentle).enhance(rng.uniform(0.7, 1.3))
    hard = attack(picture, rng)
    if rng.random() < 0.3:
        hard = attack(hard, rng)
    return prepare(gentle), prepare(hard)


class Batches(torch.utils.data.IterableDataset):
    """Endless batches: (gentle, hard) pixels, and the row of each picture in the target table."""

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
                    a, b = views(data, self.prepare, rng)
                    rows.append(row), first.append(a), second.append(b)
            yield torch.tensor(rows), np.stack(first), np.stack(second)


def class_names(data: Path, wnids: list[str]) -> tuple[torch.Tensor, dict[str, int]]:
    """All names' CLIP vectors (N, 512), and the row of each wnid whose name is in the list."""
    vectors = torch.from_numpy(np.load(data / "clip-vit-b32-names.npy").astype(np.float32))
    rows: dict[str, int] = {}
    for i, entry in enumerate(json.loads((data / "clip-vit-b32-names.json").read_text())):
        for name in (entry["name"], *entry["synonyms"]):
            rows.setdefault(name.lower(), i)
    classes = json.loads((data / "photos64-classes.json").read_text())
    found = {}
    for wnid in wnids:
        for name in classes[wnid].lower().split(", "):
            if name in rows:
                found[wnid] = rows[name]
                break
    return F.normalize(vectors, dim=1), found


def category_scores(vectors: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Leave-one-out mAP and 1-NN of (n, d) unit vectors."""
    scores = vectors @ vectors.T
    np.fill_diagonal(scores, -2)
    relevant = (labels[np.argsort(-scores, 1)] == labels[:, None])[:, :-1]
    precision = np.cumsum(relevant, 1) / np.arange(1, relevant.shape[1] + 1)
    return float(((precision * relevant).sum(1) / relevant.sum(1)).mean()), float(
        relevant[:, 0].mean()
    )


def follow(net: MiniNet, folder: Path, size: int) -> tuple[float, float]:
    """mAP and 1-NN over a class-per-folder tree that is not trained on."""
    paths = sorted(folder.glob("*/*"))
    labels = np.unique([p.parent.name for p in paths], return_inverse=True)[1]
    prepare, out = Preparation(size), []
    with torch.inference_mode():
        for i in range(0, len(paths), 32):
            batch = [prepare(Image.open(p).convert("RGB")) for p in paths[i : i + 32]]
            out.append(net(normalise(batch)))
    return category_scores(torch.cat(out).numpy(), labels)


def labelled_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean cross entropy over the rows that have a label; 0 where a batch has none."""
    total = F.cross_entropy(logits, labels, ignore_index=-1, reduction="sum")
    return total / (labels >= 0).sum().clamp(min=1)


def groups(net: MiniNet, prototypes: torch.nn.Parameter, rate: float) -> list[dict]:
    """Early layers learn at a tenth of the last one's rate; heads faster than all."""
    layers = list(net.body)
    out = [
        {"params": list(layer.parameters()), "peak": rate * (0.1 + 0.9 * i / (len(layers) - 1))}
        for i, layer in enumerate(layers)
    ]
    heads = [*net.retrieval.parameters(), *net.name.parameters(), prototypes]
    return [*out, {"params": heads, "peak": 3 * rate}]


@dataclass
class Task:
    """What is learned from, by row: encoded pictures with their kind, the teacher's features
    (n, 1280), the place of the class among those with labels, and of its name among all names
    (-1: none). names: (N, 512) unit vectors."""

    pools: dict[str, list[tuple[int, bytes]]]
    table: torch.Tensor
    label: torch.Tensor
    called: torch.Tensor
    names: torch.Tensor


def gather(data: Path, size: int, per_class: int, rng: random.Random) -> Task:
    """Read the pictures and ask the teacher."""
    small: dict[str, list[bytes]] = {}
    for part in sorted(data.glob("photos64-train-*.zip")):
        with zipfile.ZipFile(part) as archive:
            for name in archive.namelist():
                if name.endswith(".jpg"):
                    small.setdefault(name.split("/")[0], []).append(archive.read(name))
    wnids = sorted(small)
    photos = [(w, b) for w in wnids for b in rng.sample(small[w], min(per_class, len(small[w])))]
    clothing = [p.read_bytes() for p in sorted((data / "clothing" / "train").glob("*/*"))]
    plain = [b for _, b in photos]
    mosaics = [mosaic(plain, rng) for _ in range(min(3000, len(plain)))]
    old = teacher(data)
    sharp = [targets(old, clothing, 224, len(EDITS)), targets(old, mosaics, 224, 1)]
    table = torch.cat([*sharp, targets(old, plain, size, 1)])
    labelled = wnids[HELD_OUT:]
    names, known = class_names(data, labelled)
    offset = len(clothing) + len(mosaics)
    label, called = torch.full((len(table),), -1), torch.full((len(table),), -1)
    for i, (wnid, _) in enumerate(photos):
        if wnid in labelled:
            label[offset + i] = labelled.index(wnid)
            called[offset + i] = known.get(wnid, -1)
    pools = {
        "clothing": list(enumerate(clothing)),
        "mosaic": [(len(clothing) + i, b) for i, b in enumerate(mosaics)],
        "photos64": [(offset + i, b) for i, b in enumerate(plain)],
    }
    return Task(pools, table, label, called, names)


class Lesson:
    """The student with its goals and losses."""

    def __init__(self, task: Task, student: MiniNet) -> None:
        """The heads start in closed form: the directions that keep the teacher's cosines, and
        ridge regression onto the vectors of the names."""
        self.task, self.student = task, student
        if len(task.table) < DIM:
            raise SystemExit(f"{len(task.table)} pictures are too few: the recipe needs {DIM}")
        directions = torch.linalg.svd(task.table, full_matrices=False).Vh[:DIM]
        student.retrieval.weight.data, student.retrieval.bias.data[:] = directions.clone(), 0.0
        self.goal = F.normalize(task.table @ directions.T, dim=1)
        have, middle = task.called >= 0, task.names.mean(0)
        x, y = task.table[have], task.names[task.called[have]] - middle
        ridge = torch.linalg.solve(x.T @ x + 0.01 * len(x) * torch.eye(x.shape[1]), x.T @ y)
        student.name.weight.data, student.name.bias.data[:] = ridge.T.clone(), 0.0
        self.centred = F.normalize(task.names - middle, dim=1)
        classes = int(task.label.max()) + 1
        means = torch.stack([self.goal[task.label == c].mean(0) for c in range(classes)])
        self.prototypes = torch.nn.Parameter(F.normalize(means, dim=1))

    def losses(
        self, rows: torch.Tensor, first: np.ndarray, second: np.ndarray
    ) -> dict[str, torch.Tensor]:
        """Two views (n, S, S, 3) of the pictures in `rows` -> the five terms, weighted."""
        n = len(rows)
        features = self.student.features(normalise([*first, *second]))
        z = F.normalize(self.student.retrieval(features), dim=1)
        a, b, t = z[:n], z[n:], self.goal[rows]
        hide = torch.eye(n) * -1e4
        wanted = F.softmax(t @ t.T / 0.1 + hide, 1)
        relate = [
            F.kl_div(F.log_softmax(v @ v.T / 0.1 + hide, 1), wanted, reduction="batchmean")
            for v in (a, b)
        ]
        logits, same = a @ b.T / 0.1, torch.arange(n)
        classed, named = self.task.label[rows].repeat(2), self.task.called[rows].repeat(2)
        apart = z @ F.normalize(self.prototypes, dim=1).T / 0.06
        spoken = F.normalize(self.student.name(features), dim=1) @ self.centred.T / 0.05
        return {
            "distil": 2 * (1 - (a * t).sum(1)).mean() + (1 - (b * t).sum(1)).mean(),
            "relate": relate[0] + relate[1],
            "instance": 0.15 * (F.cross_entropy(logits, same) + F.cross_entropy(logits.T, same)),
            "classes": 0.15 * labelled_loss(apart, classed),
            "names": 0.15 * labelled_loss(spoken, named),
        }


def train(lesson: Lesson, args: argparse.Namespace, say: Say, begun: float) -> None:
    """Run the lesson within its budget; the weights are an average over the last steps."""
    student, average = lesson.student, copy.deepcopy(lesson.student)
    validation = args.data / "clothing" / "validation"
    batches = Batches(lesson.task.pools, args.size, args.seed)
    loader = torch.utils.data.DataLoader(batches, batch_size=None, num_workers=1, prefetch_factor=4)
    optimiser = torch.optim.AdamW(
        groups(student, lesson.prototypes, args.rate), args.rate, (0.9, 0.98), weight_decay=0.01
    )
    parameters = [p for group in optimiser.param_groups for p in group["params"]]

    def note(step: int) -> None:
        score = follow(average, validation, args.size)
        say(f"step {step}: clothing validation mAP {score[0]:.4f}, 1-NN {score[1]:.4f}")
        write(average, args, step, begun)

    note(0)
    early = copy.deepcopy(average)
    ends, began = begun + 60 * args.minutes - 30, time.time()
    steps, sums = args.steps, dict[str, float]()
    for step, (rows, first, second) in enumerate(loader, 1):
        if steps is None and step > 40:  # the rate is known: fix the number of steps
            steps = step + int((ends - time.time()) / ((time.time() - began) / step))
            say(f"{steps} steps")
        progress = min(1.0, (step - 1) / steps) if steps else 0.0
        scale = min(1, step / 100) * 0.5 * (1 + math.cos(math.pi * progress))
        for group in optimiser.param_groups:
            group["lr"] = group["peak"] * scale
        losses = lesson.losses(rows, first, second)
        total = torch.stack(list(losses.values())).sum()
        if not torch.isfinite(total):
            raise SystemExit(f"the loss is not finite at step {step}: try a lower --rate")
        optimiser.zero_grad()
        total.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        decay = min(0.998, (1 + step) / (10 + step))
        with torch.no_grad():
            for kept, new in zip(average.parameters(), student.parameters(), strict=True):
                kept.lerp_(new, 1 - decay)
        for key, value in losses.items():
            sums[key] = sums.get(key, 0.0) + value.item() / 50
        if step % 50 == 0:
            say(f"step {step}  " + "  ".join(f"{k} {v:.4f}" for k, v in sums.items()))
            sums.clear()
        if step == steps or (args.steps is None and time.time() > ends):
            break
        if step == args.early:
            early = copy.deepcopy(average)
        if step % 300 == 0:
            note(step)
    with torch.no_grad():
        for kept, before in zip(average.parameters(), early.parameters(), strict=True):
            kept.lerp_(before, 1 - args.late)
    note(step)


def write(net: MiniNet, args: argparse.Namespace, step: int, begun: float) -> None:
    """Half-precision weights that say how they want their pictures."""
    config = {
        "preparation": {"size": args.size, "fit": "crop"},
        "steps": step,
        "pictures": step * sum(SHARE.values()),
        "seconds": round(time.time() - begun),
        "late": args.late,
        "seed": args.seed,
    }
    state = {key: value.half().contiguous() for key, value in net.state_dict().items()}
    save_file(state, args.out / "mini.safetensors", {"config": json.dumps(config)})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=66, help="whole budget, targets included")
    parser.add_argument("--steps", type=int, help="a number of steps instead of a budget")
    parser.add_argument("--size", type=int, default=160)
    parser.add_argument("--per-class", type=int, default=150)
    parser.add_argument("--rate", type=float, default=2e-4)
    parser.add_argument("--early", type=int, default=300, help="step of the early weights")
    parser.add_argument("--late", type=float, default=0.2, help="share of the last weights")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    begun = time.time()
    args.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(args.seed)

    def say(text: str) -> None:
        line = f"{time.time() - begun:7.0f}s  {text}"
        print(line, flush=True)
        with (args.out / "log.txt").open("a") as log:
            log.write(line + "\n")

    task = gather(args.data, args.size, args.per_class, random.Random(args.seed))
    counts = ", ".join(f"{len(pool)} {kind}" for kind, pool in task.pools.items())
    say(f"pictures: {counts}; the teacher's targets are ready")
    train(Lesson(task, teacher(args.data)), args, say, begun)


if __name__ == "__main__":
    main()
