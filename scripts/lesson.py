"""What `mini` learns from: pictures, what its guides say of them, and the terms of the loss."""

from __future__ import annotations

import io
import json
import random
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from search.embedders.base import Preparation
from search.embedders.mobilenet import DIM, MiniNet, normalise
from search.embedders.names import plain

SAMPLE = 4_000  # pictures of photos64 that the heads start from, beside all clothing
NEAR = 20  # neighbours of a picture
HELD_OUT = 20  # the first wnids in sorted order: no labels of theirs are used
Row = tuple[int, bytes]  # an encoded picture after its place in the tables


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


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data)).convert("RGB")


def mosaic(pictures: Sequence[Row], side: int, rng: random.Random) -> Image.Image:
    """Small pictures side by side, side x side of them: sharp at the student's input size."""
    sheet = Image.new("RGB", (64 * side, 64 * side))
    for i in range(side * side):
        sheet.paste(opened(rng.choice(pictures)[1]), (64 * (i % side), 64 * (i // side)))
    return sheet


def class_names(data: Path, wnids: list[str]) -> tuple[torch.Tensor, dict[str, int]]:
    """All names' CLIP vectors (N, 512), and the row of each wnid whose name is in the list."""
    vectors = torch.from_numpy(np.load(data / "clip-vit-b32-names.npy").astype(np.float32))
    rows: dict[str, int] = {}
    entries = json.loads((data / "clip-vit-b32-names.json").read_text())
    for form in (str.lower, plain):  # the second without what stands in brackets
        for i, entry in enumerate(entries):
            for name in (entry["name"], *entry["synonyms"]):
                rows.setdefault(form(name), i)
    classes = json.loads((data / "photos64-classes.json").read_text())
    found = {}
    for wnid in wnids:
        for name in classes[wnid].lower().split(", "):
            if name in rows:
                found[wnid] = rows[name]
                break
    return F.normalize(vectors, dim=1), found


def related(x: torch.Tensor, goal: torch.Tensor) -> torch.Tensor:
    """KL of the similarities of each row of x (n, d) to the others from those of the goal."""
    hide = torch.eye(len(x)) * -1e4
    wanted = F.softmax(goal @ goal.T / 0.1 + hide, 1)
    return F.kl_div(F.log_softmax(x @ x.T / 0.1 + hide, 1), wanted, reduction="batchmean")


def labelled_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean cross entropy over the rows that have a label; 0 where a batch has none."""
    total = F.cross_entropy(logits, labels, ignore_index=-1, reduction="sum")
    return total / (labels >= 0).sum().clamp(min=1)


@dataclass
class Batch:
    """n pictures: rows of the tables (-1: none), a gentle and a hard view each as the student sees
    them, and the gentle one as each guide does."""

    rows: torch.Tensor
    gentle: np.ndarray
    hard: np.ndarray
    views: list[np.ndarray]


@dataclass
class Task:
    """What is learned from: encoded pictures by kind, each with its row; by row the place of the
    class among those with labels, and of its name among all names (-1: none). names: (N, 512) unit
    vectors. clothing: its first row."""

    pools: dict[str, list[Row]]
    label: torch.Tensor
    called: torch.Tensor
    names: torch.Tensor
    clothing: int

    def sample(self, most: int, seed: int) -> tuple[list[Image.Image], torch.Tensor]:
        """At most so many of photos64, all clothing, and 400 mosaics; the rows of the first two."""
        rng, photos = random.Random(seed), self.pools["photos64"]
        chosen = rng.sample(photos, min(most, len(photos))) + self.pools["clothing"]
        mosaics = [mosaic(photos, 3, rng) for _ in range(400)]
        rows = torch.tensor([row for row, _ in chosen])
        return [opened(data) for _, data in chosen] + mosaics, rows


def gather(data: Path, held: int) -> Task:
    """Read the pictures. held: so many classes keep their labels to themselves."""
    photos: list[tuple[str, bytes]] = []
    for part in sorted(data.glob("photos64-train-*.zip")):
        with zipfile.ZipFile(part) as archive:
            files = sorted(name for name in archive.namelist() if name.endswith(".jpg"))
            photos += [(name.split("/")[0], archive.read(name)) for name in files]
    labelled = sorted({wnid for wnid, _ in photos})[held:]
    names, known = class_names(data, labelled)
    place = {wnid: i for i, wnid in enumerate(labelled)}
    clothing = [p.read_bytes() for p in sorted((data / "clothing" / "train").glob("*/*"))]
    none = [-1] * len(clothing)
    return Task(
        {
            "photos64": [(i, b) for i, (_, b) in enumerate(photos)],
            "clothing": [(len(photos) + i, b) for i, b in enumerate(clothing)],
        },
        torch.tensor([place.get(wnid, -1) for wnid, _ in photos] + none),
        torch.tensor([known.get(wnid, -1) for wnid, _ in photos] + none),
        names,
        len(photos),
    )


@dataclass
class Guide:
    """A network whose vectors of a view are, times `share`, a part of the goal for it."""

    see: Callable[[torch.Tensor], torch.Tensor]
    preparation: Preparation
    share: float

    @torch.inference_mode()
    def __call__(self, pixels: Sequence[np.ndarray]) -> torch.Tensor:
        """n views as it wants them -> (n, d)."""
        return self.share * F.normalize(self.see(normalise(pixels)), dim=1)


class Lesson:
    """The student with its goals and losses."""

    def __init__(
        self,
        task: Task,
        student: MiniNet,
        guides: list[Guide],
        weights: dict[str, float],
        neighbours: float,
        seed: int,
    ) -> None:
        """What is wanted of a view is what all guides say of it, side by side, in the 512
        directions that keep most of its cosines. If the last guide has as many, they are turned to
        lie over its vectors (orthogonal Procrustes): it is the student as it begins. Else the
        student is the first guide as it begins, and its heads start in closed form: these
        directions, and ridge regression onto the vectors of the names. weights: of the terms.
        neighbours: how much those of a piece of clothing weigh in its goal."""
        self.task, self.student, self.guides, self.weights = task, student, guides, weights
        self.neighbours = neighbours
        pictures, rows = task.sample(SAMPLE, seed)
        if len(pictures) < DIM:
            raise SystemExit(f"{len(pictures)} pictures are too few: the recipe needs {DIM}")
        parts = [self._asked(guide, pictures) for guide in guides]
        said = torch.cat(parts, 1)
        self.turn = torch.linalg.svd(said, full_matrices=False).Vh[:DIM].T
        label, called = task.label[rows], task.called[rows]
        middle = task.names.mean(0)
        if parts[-1].shape[1] == DIM:
            u, _, vh = torch.linalg.svd((said @ self.turn).T @ parts[-1])
            self.turn = self.turn @ u @ vh
        else:
            student.retrieval.weight.data, student.retrieval.bias.data[:] = self.turn.T.clone(), 0.0
            have = called >= 0
            x, y = parts[0][: len(called)][have], task.names[called[have]] - middle
            ridge = torch.linalg.solve(x.T @ x + 0.01 * len(x) * torch.eye(x.shape[1]), x.T @ y)
            student.name.weight.data, student.name.bias.data[:] = ridge.T.clone(), 0.0
        self.centred = F.normalize(task.names - middle, dim=1)
        goals = F.normalize(said @ self.turn, dim=1)[: len(rows)]
        clothing = rows >= task.clothing
        self.rows, self.bank = rows[clothing], goals[clothing]
        classes = range(int(label.max()) + 1)
        means = torch.stack([goals[label == c].mean(0) for c in classes])
        self.prototypes = torch.nn.Parameter(F.normalize(means, dim=1))

    @staticmethod
    def _asked(guide: Guide, pictures: list[Image.Image]) -> torch.Tensor:
        views = [guide.preparation(picture) for picture in pictures]
        return torch.cat([guide(views[i : i + 32]) for i in range(0, len(views), 32)])

    def goal(self, batch: Batch) -> torch.Tensor:
        """(n, 512) of unit length: what the guides say of the gentle views, and of clothing, which
        has no labels, what they say of the pieces nearest to it (Iscen et al. 2018,
        arXiv:1803.11095: what lies near by is much alike)."""
        said = [guide(v) for guide, v in zip(self.guides, batch.views, strict=True)]
        goal = F.normalize(torch.cat(said, 1) @ self.turn, dim=1)
        clothing = batch.rows >= self.task.clothing
        near = goal[clothing] @ self.bank.T
        near = near.masked_fill(batch.rows[clothing, None] == self.rows, 0)
        scores, places = near.topk(min(NEAR, near.shape[1]))
        mean = (scores.clamp(min=0)[..., None] ** 3 * self.bank[places]).sum(1)
        goal[clothing] += self.neighbours * F.normalize(mean, dim=1)
        return F.normalize(goal, dim=1)

    def losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """The five terms, weighted."""
        n = len(batch.rows)
        features = self.student.features(normalise([*batch.gentle, *batch.hard]))
        z = F.normalize(self.student.retrieval(features), dim=1)
        a, b, t = z[:n], z[n:], self.goal(batch)
        logits, same = a @ b.T / 0.1, torch.arange(n)
        label, called = (
            torch.where(batch.rows >= 0, of[batch.rows], -1).repeat(2)
            for of in (self.task.label, self.task.called)
        )
        apart = z @ F.normalize(self.prototypes, dim=1).T / 0.06
        spoken = F.normalize(self.student.name(features), dim=1) @ self.centred.T / 0.05
        terms = {
            "distil": 2 * (1 - (a * t).sum(1)).mean() + (1 - (b * t).sum(1)).mean(),
            "relate": related(a, t) + related(b, t),
            "instance": F.cross_entropy(logits, same) + F.cross_entropy(logits.T, same),
            "classes": labelled_loss(apart, label),
            "names": labelled_loss(spoken, called),
        }
        return {name: self.weights[name] * term for name, term in terms.items()}
