"""Train `mini`, the encoder in the package: transfer learning from MobileNetV2 on small pictures.

    python scripts/train_mini.py --data DATA --out RUN [--minutes 70]

DATA holds mobilenetv2/conv_*.npy (Apache-2.0), photos64-train-*.zip, photos64-classes.json,
clip-vit-b32-names.{npy,json} and clothing/train. The student starts as the teacher and sees 160 px;
its targets are the teacher's features at 224 px, averaged over edits of the picture. Five terms:

    distil     both views of a picture near the target of the untouched picture
    relate     similarities within the batch as among the targets (KL)
    instance   two edited views of a picture near each other, far from other pictures (InfoNCE)
    classes    photos64 classes apart, all but the 20 that are kept for measuring
    names      the name head near the CLIP text vector of the class, among all names of the list

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
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageOps
from safetensors.torch import save_file

from search.embedders.base import Preparation
from search.embedders.mobilenet import DIM, MiniNet, normalise

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


def hue(picture: Image.Image, shift: int) -> Image.Image:
    h, s, v = picture.convert("HSV").split()
    return Image.merge("HSV", (h.point(lambda p: (p + shift) % 256), s, v)).convert("RGB")


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


def _box(picture: Image.Image, area: float, rng: random.Random) -> Image.Image:
    w, h = picture.size
    ratio = math.exp(rng.uniform(-0.25, 0.25))
    cw, ch = min(w, w * math.sqrt(area) * ratio), min(h, h * math.sqrt(area) / ratio)
    x, y = rng.uniform(0, w - cw), rng.uniform(0, h - ch)
    return picture.crop((round(x), round(y), max(round(x + cw), 8), max(round(y + ch), 8)))


def _jpeg(picture: Image.Image, quality: int) -> Image.Image:
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=quality)
    return Image.open(out).convert("RGB")


def _noise(picture: Image.Image, sigma: float, rng: random.Random) -> Image.Image:
    noise = np.random.default_rng(rng.getrandbits(32)).normal(0, sigma, (*picture.size[::-1], 3))
    return Image.fromarray(np.clip(np.asarray(picture) + noise, 0, 255).astype(np.uint8))


def _shrink(picture: Image.Image, by: float) -> Image.Image:
    w, h = picture.size
    small = picture.resize((max(8, int(w * by)), max(8, int(h * by))), Image.Resampling.BILINEAR)
    return small.resize((w, h), Image.Resampling.BICUBIC)


def _paste(picture: Image.Image, rng: random.Random) -> Image.Image:
    w, h = picture.size
    colour = tuple(rng.randrange(256) for _ in range(3))
    canvas = Image.new(
        "RGB", (int(w * rng.uniform(1.1, 1.7)), int(h * rng.uniform(1.1, 1.6))), colour
    )
    canvas.paste(picture, (rng.randint(0, canvas.width - w), rng.randint(0, canvas.height - h)))
    return canvas


def _cover(picture: Image.Image, rng: random.Random) -> Image.Image:
    picture = picture.copy()
    w, h = picture.size
    draw = ImageDraw.Draw(picture)
    colour = tuple(rng.randrange(256) for _ in range(3))
    if rng.random() < 0.5:
        draw.rectangle((0, h * rng.uniform(0.75, 0.9), w, h), fill=colour)
    x, y, r = rng.uniform(0, w), rng.uniform(0, h), min(w, h) * rng.uniform(0.1, 0.25)
    draw.ellipse((x - r, y - r, x + r, y + r), fill=colour)
    return picture


def attack(picture: Image.Image, rng: random.Random) -> Image.Image:
    """One edit of the kinds that people make: crops, turns, recompression, colours, covers."""
    w, h = picture.size
    choices = (
        lambda: _box(picture, rng.uniform(0.3, 0.7), rng),
        lambda: _box(picture, rng.uniform(0.3, 0.7), rng),
        lambda: picture.rotate(
            rng.uniform(-30, 30), Image.Resampling.BILINEAR, fillcolor=(128,) * 3
        ),
        lambda: picture.transpose(
            rng.choice((Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_270))
        ),
        lambda: ImageOps.flip(picture),
        lambda: _jpeg(picture, rng.randint(8, 40)),
        lambda: _shrink(picture, rng.uniform(0.2, 0.5)),
        lambda: picture.filter(ImageFilter.GaussianBlur(rng.uniform(1, 0.012 * min(w, h) + 1))),
        lambda: _noise(picture, rng.uniform(15, 60), rng),
        lambda: ImageOps.grayscale(picture).convert("RGB"),
        lambda: hue(picture, rng.randint(-60, 60)),
        lambda: ImageEnhance.Brightness(picture).enhance(rng.uniform(0.3, 0.7)),
        lambda: ImageEnhance.Contrast(picture).enhance(rng.uniform(0.5, 2.3)),
        lambda: _cover(picture, rng),
        lambda: _paste(picture, rng),
        lambda: picture.resize((max(8, int(w * rng.uniform(0.6, 1))), h)),
    )
    return rng.choice(choices)()


def views(data: bytes, prepare: Preparation, rng: random.Random) -> tuple[np.ndarray, np.ndarray]:
    """A gentle view and an attacked one of the same picture, prepared."""
    picture = Image.open(io.BytesIO(data)).convert("RGB")
    gentle = _box(picture, rng.uniform(0.65, 1), rng) if rng.random() < 0.7 else picture
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


def groups(net: MiniNet, rate: float) -> list[dict]:
    """Early layers learn at a tenth of the last one's rate; heads faster than all."""
    layers = list(net.body)
    out = [
        {"params": list(layer.parameters()), "peak": rate * (0.1 + 0.9 * i / (len(layers) - 1))}
        for i, layer in enumerate(layers)
    ]
    return [
        *out,
        {"params": [*net.retrieval.parameters(), *net.name.parameters()], "peak": 3 * rate},
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=70, help="whole budget, targets included")
    parser.add_argument("--size", type=int, default=160)
    parser.add_argument("--per-class", type=int, default=150)
    parser.add_argument("--rate", type=float, default=2e-4)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    begun = time.time()
    args.out.mkdir(parents=True, exist_ok=True)
    rng = random.Random(args.seed)
    torch.manual_seed(args.seed)

    def say(text: str) -> None:
        line = f"{time.time() - begun:7.0f}s  {text}"
        print(line, flush=True)
        with (args.out / "log.txt").open("a") as log:
            log.write(line + "\n")

    small: dict[str, list[bytes]] = {}
    for part in sorted(args.data.glob("photos64-train-*.zip")):
        with zipfile.ZipFile(part) as archive:
            for name in archive.namelist():
                if name.endswith(".jpg"):
                    small.setdefault(name.split("/")[0], []).append(archive.read(name))
    wnids = sorted(small)
    labelled = wnids[HELD_OUT:]
    photos = [
        (w, b) for w in wnids for b in rng.sample(small[w], min(args.per_class, len(small[w])))
    ]
    clothing = [p.read_bytes() for p in sorted((args.data / "clothing" / "train").glob("*/*"))]
    mosaics = [mosaic([b for _, b in photos], rng) for _ in range(3000)]
    say(f"{len(photos)} small pictures, {len(clothing)} clothes, {len(mosaics)} mosaics")

    old = teacher(args.data)
    table = torch.cat(
        [
            targets(old, clothing, 224, len(EDITS)),
            targets(old, mosaics, 224, 1),
            targets(old, [b for _, b in photos], args.size, 1),
        ]
    )
    say("teacher's targets ready")
    names, known = class_names(args.data, labelled)
    offset = len(clothing) + len(mosaics)
    label = torch.full((len(table),), -1)
    called = torch.full((len(table),), -1)
    for i, (wnid, _) in enumerate(photos):
        if wnid in labelled:
            label[offset + i] = labelled.index(wnid)
            called[offset + i] = known.get(wnid, -1)

    student = copy.deepcopy(old)
    directions = torch.linalg.svd(table, full_matrices=False).Vh[:DIM]  # keeps the cosines
    student.retrieval.weight.data, student.retrieval.bias.data[:] = directions.clone(), 0.0
    goal = F.normalize(table @ directions.T, dim=1)
    have = called >= 0
    x, y = table[have], names[called[have]] - names.mean(0)
    ridge = torch.linalg.solve(x.T @ x + 0.01 * len(x) * torch.eye(x.shape[1]), x.T @ y)
    student.name.weight.data, student.name.bias.data[:] = ridge.T.clone(), 0.0
    prototypes = torch.nn.Parameter(
        F.normalize(torch.stack([goal[label == c].mean(0) for c in range(len(labelled))]), dim=1)
    )
    centred = F.normalize(names - names.mean(0), dim=1)

    pools = {
        "clothing": list(enumerate(clothing)),
        "mosaic": [(len(clothing) + i, b) for i, b in enumerate(mosaics)],
        "photos64": [(offset + i, b) for i, (_, b) in enumerate(photos)],
    }
    loader = torch.utils.data.DataLoader(
        Batches(pools, args.size, args.seed), batch_size=None, num_workers=1, prefetch_factor=4
    )
    groups_ = [*groups(student, args.rate), {"params": [prototypes], "peak": 3 * args.rate}]
    optimiser = torch.optim.AdamW(groups_, lr=args.rate, weight_decay=0.01, betas=(0.9, 0.98))
    average = copy.deepcopy(student)
    validation = args.data / "clothing" / "validation"
    say(f"start: clothing validation mAP, 1-NN {follow(average, validation, args.size)}")

    steps, step, began, sums = math.inf, 0, time.time(), {}
    ends = begun + 60 * args.minutes - 30
    for rows, first, second in loader:
        if step == 40:  # the rate is known: fix the number of steps
            steps = step + int((ends - time.time()) / ((time.time() - began) / step))
            say(f"{steps} steps")
        progress = step / steps if steps < math.inf else 0.0
        scale = min(1, (step + 1) / 100) * 0.5 * (1 + math.cos(math.pi * min(1, progress)))
        for group in optimiser.param_groups:
            group["lr"] = group["peak"] * scale
        n = len(rows)
        features = student.features(normalise([*first, *second]))
        z = F.normalize(student.retrieval(features), dim=1)
        a, b, t = z[:n], z[n:], goal[rows]
        loss = {"distil": 2 * (1 - (a * t).sum(1)).mean() + (1 - (b * t).sum(1)).mean()}
        hide = torch.eye(n) * -1e4
        wanted = F.softmax(t @ t.T / 0.1 + hide, 1)
        loss["relate"] = sum(
            F.kl_div(F.log_softmax(v @ v.T / 0.1 + hide, 1), wanted, reduction="batchmean")
            for v in (a, b)
        )
        logits = a @ b.T / 0.1
        same = torch.arange(n)
        loss["instance"] = 0.15 * (F.cross_entropy(logits, same) + F.cross_entropy(logits.T, same))
        classed, named = label[rows].repeat(2), called[rows].repeat(2)
        loss["classes"] = 0.15 * labelled_loss(z @ F.normalize(prototypes, dim=1).T / 0.06, classed)
        spoken = F.normalize(student.name(features), dim=1)
        loss["names"] = 0.15 * labelled_loss(spoken @ centred.T / 0.05, named)
        total = sum(loss.values())
        if not torch.isfinite(total):
            raise SystemExit(f"the loss is not finite at step {step}: try a lower --rate")
        optimiser.zero_grad()
        total.backward()
        torch.nn.utils.clip_grad_norm_(
            [p for g in optimiser.param_groups for p in g["params"]], 1.0
        )
        optimiser.step()
        step += 1
        decay = min(0.998, (1 + step) / (10 + step))
        with torch.no_grad():
            for kept, new in zip(average.parameters(), student.parameters(), strict=True):
                kept.lerp_(new, 1 - decay)
        for key, value in loss.items():
            sums[key] = sums.get(key, 0.0) + value.item()
        if step % 50 == 0:
            say(f"step {step}  " + "  ".join(f"{k} {v / 50:.4f}" for k, v in sums.items()))
            sums = {}
        if step % 300 == 0:
            score = follow(average, validation, args.size)
            say(f"step {step}: clothing validation mAP {score[0]:.4f}, 1-NN {score[1]:.4f}")
            write(average, args, step, begun)
        if step >= steps or time.time() > ends:
            break
    write(average, args, step, begun)
    score = follow(average, validation, args.size)
    say(f"done, {step} steps: clothing validation mAP {score[0]:.4f}, 1-NN {score[1]:.4f}")


def write(net: MiniNet, args: argparse.Namespace, step: int, begun: float) -> None:
    """Half-precision weights that say how they want their pictures."""
    config = {
        "preparation": {"size": args.size, "fit": "crop"},
        "steps": step,
        "pictures": step * sum(SHARE.values()),
        "seconds": round(time.time() - begun),
        "seed": args.seed,
    }
    state = {key: value.half().contiguous() for key, value in net.state_dict().items()}
    save_file(state, args.out / "mini.safetensors", {"config": json.dumps(config)})


if __name__ == "__main__":
    main()
