"""What `mini` learns from: pictures, the targets of its teachers, and the terms of the loss."""

from __future__ import annotations

import hashlib
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
from edits import hue
from PIL import Image, ImageEnhance, ImageOps
from safetensors.torch import load_file, save_file

from search.embedders.base import Preparation
from search.embedders.mini import Mini
from search.embedders.mobilenet import DIM, MiniNet, normalise
from search.embedders.names import plain

HELD_OUT = 20  # the first wnids in sorted order: no labels of theirs are used
SMALL = 160  # px at which the teacher sees the 64 px pictures; the sharp ones at 224
Encoded = Sequence[bytes]
See = Callable[[torch.Tensor], torch.Tensor]
Askers = tuple[MiniNet | None, Mini | None]  # the teacher, and the earlier model


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


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data)).convert("RGB")


@torch.inference_mode()
def targets(see: See, pictures: Encoded, size: int, edits: int) -> torch.Tensor:
    """n encoded pictures -> (n, d): mean over edits of unit vectors at size px."""
    prepare, out = Preparation(size), []
    for i in range(0, len(pictures), 32):
        batch = [opened(b) for b in pictures[i : i + 32]]
        views = [
            F.normalize(see(normalise([prepare(edit(p)) for p in batch])), dim=1)
            for edit in EDITS[:edits]
        ]
        out.append(F.normalize(sum(views), dim=1))
    return torch.cat(out)


def mosaic(pictures: Encoded, rng: random.Random) -> bytes:
    """Nine small pictures side by side: sharp at the student's input size."""
    sheet = Image.new("RGB", (192, 192))
    for i in range(9):
        sheet.paste(opened(rng.choice(pictures)), (64 * (i % 3), 64 * (i // 3)))
    out = io.BytesIO()
    sheet.save(out, "JPEG", quality=95)
    return out.getvalue()


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


def labelled_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean cross entropy over the rows that have a label; 0 where a batch has none."""
    total = F.cross_entropy(logits, labels, ignore_index=-1, reduction="sum")
    return total / (labels >= 0).sum().clamp(min=1)


@dataclass
class Task:
    """What is learned from, by row: encoded pictures with their kind, the teacher's features
    (n, 1280) and the earlier model's vectors (n, 512), None for who was not asked; the place of the
    class among those with labels, and of its name among all names (-1: none). names: (N, 512) unit
    vectors."""

    pools: dict[str, list[tuple[int, bytes]]]
    table: torch.Tensor | None
    own: torch.Tensor | None
    label: torch.Tensor
    called: torch.Tensor
    names: torch.Tensor


def gather(data: Path, per_class: int, held: int, seed: int, askers: Askers, cache: Path) -> Task:
    """Read the pictures and ask the teacher, the earlier model, or both; what they answer is kept
    in `cache`. held: so many classes keep their labels to themselves."""
    rng, small = random.Random(seed), dict[str, list[bytes]]()
    for part in sorted(data.glob("photos64-train-*.zip")):
        with zipfile.ZipFile(part) as archive:
            for name in archive.namelist():
                if name.endswith(".jpg"):
                    small.setdefault(name.split("/")[0], []).append(archive.read(name))
    wnids = sorted(small)
    photos = [(w, b) for w in wnids for b in rng.sample(small[w], min(per_class, len(small[w])))]
    clothing = [p.read_bytes() for p in sorted((data / "clothing" / "train").glob("*/*"))]
    plain = [b for _, b in photos]
    mosaics = [mosaic(plain, rng) for _ in range(min(1500, len(plain)))]
    answers = _answers((clothing, mosaics, plain), askers, cache)
    labelled = wnids[held:]
    names, known = class_names(data, labelled)
    offset = len(clothing) + len(mosaics)
    count = offset + len(plain)
    label, called = torch.full((count,), -1), torch.full((count,), -1)
    for i, (wnid, _) in enumerate(photos):
        if wnid in labelled:
            label[offset + i] = labelled.index(wnid)
            called[offset + i] = known.get(wnid, -1)
    pools = {
        "clothing": list(enumerate(clothing)),
        "mosaic": [(len(clothing) + i, b) for i, b in enumerate(mosaics)],
        "photos64": [(offset + i, b) for i, b in enumerate(plain)],
    }
    return Task(pools, answers.get("table"), answers.get("own"), label, called, names)


def _answers(
    kinds: tuple[Encoded, Encoded, Encoded], askers: Askers, cache: Path
) -> dict[str, torch.Tensor]:
    """`table` and `own` of a Task, with what the cache has of the same pictures and weights."""
    old, start = askers
    parts: dict[str, list[torch.Tensor]] = {}
    for pictures, size, edits in zip(kinds, (224, 224, SMALL), (len(EDITS), 1, 1), strict=True):
        if pictures and old:
            answer = _kept(cache, "teacher", old.features, pictures, size, edits)
            parts.setdefault("table", []).append(answer)
        if pictures and start:
            side, who = start.preparation.size, start.fingerprint
            parts.setdefault("own", []).append(_kept(cache, who, start.load(), pictures, side, 1))
    return {name: torch.cat(part) for name, part in parts.items()}


def _kept(
    cache: Path, who: str, see: See, pictures: Encoded, size: int, edits: int
) -> torch.Tensor:
    """`targets`, from a file if they have been asked for before."""
    asked = hashlib.sha256(f"{who} {size} {edits}".encode())
    for picture in pictures:
        asked.update(picture)
    path = cache / f"{asked.hexdigest()[:16]}.safetensors"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        save_file({"targets": targets(see, pictures, size, edits)}, path)
    return load_file(path)["targets"]


class Lesson:
    """The student with its goals and losses."""

    def __init__(self, task: Task, student: MiniNet, share: float, weights: dict[str, float]):
        """Without earlier weights the heads start in closed form: the directions that keep the
        teacher's cosines, and ridge regression onto the vectors of the names. With them the goals
        are their own vectors of the untouched picture, and `share` times the teacher's, turned to
        lie over them (orthogonal Procrustes). weights: of the terms."""
        self.task, self.student, self.weights = task, student, weights
        if len(task.label) < DIM:
            raise SystemExit(f"{len(task.label)} pictures are too few: the recipe needs {DIM}")
        middle = task.names.mean(0)
        if task.table is not None:
            directions = torch.linalg.svd(task.table, full_matrices=False).Vh[:DIM]
            self.goal = F.normalize(task.table @ directions.T, dim=1)
        if task.own is None:
            student.retrieval.weight.data, student.retrieval.bias.data[:] = directions.clone(), 0.0
            have = task.called >= 0
            x, y = task.table[have], task.names[task.called[have]] - middle
            ridge = torch.linalg.solve(x.T @ x + 0.01 * len(x) * torch.eye(x.shape[1]), x.T @ y)
            student.name.weight.data, student.name.bias.data[:] = ridge.T.clone(), 0.0
        elif task.table is None:
            self.goal = task.own
        else:
            u, _, vh = torch.linalg.svd(self.goal.T @ task.own)
            self.goal = F.normalize(task.own + share * self.goal @ u @ vh, dim=1)
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
        terms = {
            "distil": 2 * (1 - (a * t).sum(1)).mean() + (1 - (b * t).sum(1)).mean(),
            "relate": relate[0] + relate[1],
            "instance": F.cross_entropy(logits, same) + F.cross_entropy(logits.T, same),
            "classes": labelled_loss(apart, classed),
            "names": labelled_loss(spoken, named),
        }
        return {name: self.weights[name] * term for name, term in terms.items()}
