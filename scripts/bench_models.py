"""How good `mini` is, beside the network it began as, in one run.

scripts/bench models [--data ../shared/data] [--seed 0]

Category retrieval: leave-one-out mAP and 1-NN over the pictures of a set, a picture is right when
its folder is the query's; 95 % intervals by bootstrap over queries. Edited copies: the first of
every five of photos-dev, attacked, among all of photos-dev and clothing (test, train): the share
whose original comes first, by cosine of the embedding alone. Speed: pictures/s of one network in
batches of 16, all cores, and as a ratio to the teacher at 224 px.
"""

from __future__ import annotations

import argparse
import io
import random
import time
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from edits import hue, jpeg, noise
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageOps
from train_mini import HELD_OUT, class_names, teacher

from search.embedders.base import Preparation
from search.embedders.mini import Mini
from search.embedders.mobilenet import normalise
from search.runtime import torch

Load = Callable[[], Image.Image]
Embed = Callable[[Sequence[Image.Image]], np.ndarray]


def folder(path: Path) -> tuple[list[Load], np.ndarray]:
    """Pictures of a class-per-folder tree, opened when they are asked for, and their classes."""
    paths = sorted(p for p in path.glob("*/*") if p.is_file())
    labels = np.unique([p.parent.name for p in paths], return_inverse=True)[1]
    return [lambda p=p: Image.open(p).convert("RGB") for p in paths], labels


def archive(path: Path, classes: int, each: int) -> tuple[list[Load], np.ndarray]:
    """The first `classes` of a zip, `each` pictures of every one."""
    with zipfile.ZipFile(path) as file:
        names = sorted(n for n in file.namelist() if n.endswith(".jpg"))
        kinds = sorted({n.split("/")[0] for n in names})[:classes]
        chosen = [n for k in kinds for n in [m for m in names if m.startswith(k)][:each]]
        data = [file.read(n) for n in chosen]
    labels = np.unique([n.split("/")[0] for n in chosen], return_inverse=True)[1]
    return [lambda d=d: Image.open(io.BytesIO(d)).convert("RGB") for d in data], labels


def network(net: torch.nn.Module, size: int) -> Embed:
    """The teacher's pooled features as unit vectors."""
    prepare = Preparation(size)

    def embed(pictures: Sequence[Image.Image]) -> np.ndarray:
        with torch.inference_mode():
            features = net.features(normalise([prepare(p) for p in pictures]))
        return torch.nn.functional.normalize(features, dim=1).numpy()

    return embed


def histogram(pictures: Sequence[Image.Image]) -> np.ndarray:
    """8 x 8 x 8 colours, square-rooted: the simplest thing that could work."""
    rows = []
    for picture in pictures:
        pixels = np.asarray(picture.resize((64, 64))).reshape(-1, 3) // 32
        rows.append(np.bincount(pixels @ np.array([64, 8, 1]), minlength=512))
    array = np.sqrt(np.array(rows, np.float32))
    return array / np.linalg.norm(array, axis=1, keepdims=True)


def vectors(embed: Embed, loads: Sequence[Load]) -> np.ndarray:
    parts = [embed([f() for f in loads[i : i + 16]]) for i in range(0, len(loads), 16)]
    return np.concatenate(parts)


def categories(x: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Average precision and 1-NN of every query."""
    scores = x @ x.T
    np.fill_diagonal(scores, -2)
    relevant = (labels[np.argsort(-scores, 1)] == labels[:, None])[:, :-1]
    precision = np.cumsum(relevant, 1) / np.arange(1, relevant.shape[1] + 1)
    return (precision * relevant).sum(1) / relevant.sum(1), relevant[:, 0].astype(float)


def interval(values: np.ndarray, seed: int) -> str:
    """Mean with a 95 % bootstrap interval."""
    draws = np.random.default_rng(seed).integers(0, len(values), (2000, len(values)))
    low, high = np.percentile(values[draws].mean(1), [2.5, 97.5])
    return f"{values.mean():.3f} [{low:.3f}, {high:.3f}]"


def cut(p: Image.Image, area: float, x: float, y: float) -> Image.Image:
    """A part of the picture; x, y: where in the free room, 0..1."""
    w, h = (round(s * area**0.5) for s in p.size)
    left, top = round((p.width - w) * x), round((p.height - h) * y)
    return p.crop((left, top, left + w, top + h))


def turned(p: Image.Image, degrees: float) -> Image.Image:
    return p.rotate(degrees, Image.Resampling.BICUBIC, expand=True, fillcolor=(128, 128, 128))


def marked(p: Image.Image) -> Image.Image:
    p = p.copy()
    draw = ImageDraw.Draw(p)
    draw.rectangle((0, p.height * 0.78, p.width, p.height), fill="black")
    draw.text((p.width * 0.05, p.height * 0.85), "SOME TEXT ON A BAR", fill="white")
    r, x, y = min(p.size) * 0.12, p.width * 0.75, p.height * 0.3
    draw.ellipse((x - r, y - r, x + r, y + r), fill="red")
    return p


def pasted(p: Image.Image) -> Image.Image:
    page = Image.new("RGB", (round(p.width * 1.7), round(p.height * 1.6)), (236, 239, 241))
    ImageDraw.Draw(page).rectangle((0, 0, page.width, page.height * 0.08), fill=(40, 60, 90))
    page.paste(p, (round(p.width * 0.3), round(p.height * 0.35)))
    return page


def collage(p: Image.Image) -> Image.Image:
    """The picture as a quarter of a page of stripes."""
    page = Image.new("RGB", (p.width * 2, p.height * 2), "white")
    draw = ImageDraw.Draw(page)
    for i in range(0, page.width + page.height, 24):
        draw.line((i, 0, i - page.height, page.height), fill=(200, 60, 40), width=10)
    page.paste(p, (p.width, 0))
    return page


def resaved(p: Image.Image, share: float, quality: int) -> Image.Image:
    return jpeg(p.resize((round(p.width * share), round(p.height * share))), quality)


PLAIN: dict[str, Callable[[Image.Image, random.Random], Image.Image]] = {
    "crop 50 % centre": lambda p, r: cut(p, 0.5, 0.5, 0.5),
    "crop 50 % corner": lambda p, r: cut(p, 0.5, 0, 0),
    "crop 30 % corner": lambda p, r: cut(p, 0.3, 1, 1),
    "flip sideways": lambda p, r: ImageOps.mirror(p),
    "flip upside down": lambda p, r: ImageOps.flip(p),
    "rotate 10": lambda p, r: turned(p, 10),
    "rotate 25": lambda p, r: turned(p, 25),
    "rotate 90": lambda p, r: turned(p, 90),
    "JPEG q10": lambda p, r: jpeg(p, 10),
    "half size q30": lambda p, r: resaved(p, 0.5, 30),
    "quarter size q50": lambda p, r: resaved(p, 0.25, 50),
    "blur 3": lambda p, r: p.filter(ImageFilter.GaussianBlur(3)),
    "noise 25": lambda p, r: noise(p, 25, r),
    "noise 60": lambda p, r: noise(p, 60, r),
    "grey": lambda p, r: ImageOps.grayscale(p).convert("RGB"),
    "hue +40": lambda p, r: hue(p, 40),
    "brightness x .35": lambda p, r: ImageEnhance.Brightness(p).enhance(0.35),
    "contrast x 2.2": lambda p, r: ImageEnhance.Contrast(p).enhance(2.2),
    "text bar and disc": lambda p, r: marked(p),
    "white border 20 %": lambda p, r: ImageOps.expand(p, round(min(p.size) * 0.2), "white"),
    "in a screenshot": lambda p, r: pasted(p),
    "squeezed to 60 %": lambda p, r: p.resize((round(p.width * 0.6), p.height)),
}
HARD: dict[str, Callable[[Image.Image, random.Random], Image.Image]] = {
    "crop 10 %": lambda p, r: cut(p, 0.1, r.random(), r.random()),
    "crop 30 % + flip + rotate": lambda p, r: turned(ImageOps.mirror(cut(p, 0.3, 0.5, 0.5)), 25),
    "three plain in a row": lambda p, r: three(p, r),
    "quarter of a collage": lambda p, r: collage(p),
}


def three(p: Image.Image, rng: random.Random) -> Image.Image:
    for name in rng.sample(sorted(PLAIN), 3):
        p = PLAIN[name](p, rng)
    return p


def rates(models: dict[str, tuple[torch.nn.Module, int]]) -> dict[str, float]:
    """Pictures/s of each network, the medians of five turns."""
    found: dict[str, list[float]] = {name: [] for name in models}
    with torch.inference_mode():
        for turn in range(6):
            for name, (net, size) in models.items():
                x = torch.rand(16, 3, size, size).to(memory_format=torch.channels_last)
                begun = time.perf_counter()
                for _ in range(3):
                    net.features(x)
                if turn:  # the first one warms up
                    found[name].append(48 / (time.perf_counter() - begun))
    return {name: float(np.median(values)) for name, values in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    root = Path(__file__).resolve().parents[2]
    parser.add_argument("--data", type=Path, default=root / "shared" / "data")
    parser.add_argument("--weights", type=Path, help="weights of mini other than the shipped ones")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if not (args.data / "photos-dev").is_dir():
        raise SystemExit(f"{args.data} has no photos-dev; give --data")
    mini, old = Mini(weights=args.weights), teacher(args.data)
    mini.embed([np.zeros((mini.preparation.size,) * 2 + (3,), np.uint8)])
    models: dict[str, Embed] = {
        f"mini, {mini.preparation.size} px": lambda p: mini.embed([mini.preparation(x) for x in p]),
        "MobileNetV2, 224 px": network(old, 224),
        "MobileNetV2, 160 px": network(old, 160),
        "colour histogram": histogram,
    }
    sets = {
        "clothing test": folder(args.data / "clothing" / "test"),
        "photos64-val": archive(args.data / "photos64-val.zip", 20, 25),
        "photos-dev": folder(args.data / "photos-dev"),
    }
    print(
        f"mini {mini.fingerprint}, {mini.path.stat().st_size / 1e6:.1f} MB; "
        f"{torch.get_num_threads()} threads; seed {args.seed}\n"
    )
    print(f"{'category retrieval':<22}{'set':<16}{'n':>5}  {'mAP [95 %]':<22}{'1-NN [95 %]':<22}")
    for title, (loads, labels) in sets.items():
        for name, embed in models.items():
            ap, nn = categories(vectors(embed, loads), labels)
            said = f"{interval(ap, args.seed):<22}{interval(nn, args.seed):<22}"
            print(f"{name:<22}{title:<16}{len(labels):>5}  {said}", flush=True)
    naming(args.data, mini, args.seed)
    copies(args.data, models, args.seed)
    size = mini.preparation.size
    speed = rates({"mini": (mini.load(), size), "224": (old, 224), "160": (old, 160)})
    print(
        f"\npictures/s: mini {speed['mini']:.0f}, MobileNetV2 at 224 px {speed['224']:.0f}, at "
        f"160 px {speed['160']:.0f}; mini is {speed['mini'] / speed['224']:.2f}x the 224 px one"
    )


def naming(data: Path, mini: Mini, seed: int) -> None:
    """How often the name head calls a class by its name, among all names of the list."""
    with zipfile.ZipFile(data / "photos64-val.zip") as file:
        wnids = sorted({n.split("/")[0] for n in file.namelist() if n.endswith(".jpg")})
    loads, labels = archive(data / "photos64-val.zip", len(wnids), 25)
    names, known = class_names(data, wnids)
    centred = torch.nn.functional.normalize(names - names.mean(0), dim=1)
    print("\nnaming photos64-val: classes whose name is in the list, among all names [95 %]")
    for title, chosen in (("seen in training", wnids[HELD_OUT:]), ("unseen", wnids[:HELD_OUT])):
        rows = [i for i, k in enumerate(labels) if wnids[k] in chosen and wnids[k] in known]
        pixels = [mini.preparation(loads[i]()) for i in rows]
        ranks = []
        with torch.inference_mode():
            for j in range(0, len(rows), 16):
                spoken = mini.load().name(mini.load().features(normalise(pixels[j : j + 16])))
                scores = spoken @ centred.T
                right = torch.tensor([known[wnids[labels[i]]] for i in rows[j : j + 16]])
                own = scores.gather(1, right[:, None])
                ranks += (scores > own).sum(1).tolist()
        for top in (1, 5):
            hits = np.array([rank < top for rank in ranks], float)
            said = interval(hits, seed)
            print(f"  {title:<18}n {len(ranks):>5}  names {len(names)}  top-{top} {said}")


def copies(data: Path, models: dict[str, Embed], seed: int) -> None:
    """Recall@1 of attacked pictures, embedding alone."""
    places = (data / "photos-dev", data / "clothing" / "test", data / "clothing" / "train")
    loads = [load for place in places for load in folder(place)[0]]
    queries = range(0, len(folder(places[0])[0]), 5)
    names = [name for name in models if name != "MobileNetV2, 160 px"]
    index = {name: vectors(models[name], loads) for name in names}
    print(f"\nedited copies: recall@1, {len(queries)} queries each, index of {len(loads)}")
    print(f"{'':<28}" + "".join(f"{name:>22}" for name in names))
    for kind, attacks in (("plain", PLAIN), ("hard", HARD)):
        table: dict[str, list[float]] = {name: [] for name in names}
        for title, attack in attacks.items():
            edited = [
                (lambda q=q, a=attack: a(loads[q](), random.Random(seed + q))) for q in queries
            ]
            for name in names:
                found = (vectors(models[name], edited) @ index[name].T).argmax(1)
                table[name].append(float((found == np.array(queries)).mean()))
            row = "".join(f"{table[n][-1]:>22.2f}" for n in names)
            print(f"  {title:<26}{row}", flush=True)
        mean = "".join(f"{np.mean(table[n]):>22.3f}" for n in names)
        print(f"{'mean of ' + kind:<28}{mean}", flush=True)


if __name__ == "__main__":
    main()
