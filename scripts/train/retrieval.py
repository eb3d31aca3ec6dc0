"""Measures of retrieval: sets of pictures, scores, and attacks on pictures.

Category retrieval is leave-one-out: a picture is right when its class is the query's. Edited
copies: the share of attacked pictures whose original comes first, by cosine of the vectors alone.
"""

from __future__ import annotations

import io
import random
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageOps

from search.media.edits import add_noise, compress, shift_hue

Load = Callable[[], Image.Image]
Embed = Callable[[Sequence[Image.Image]], np.ndarray]
HELD_OUT = 20  # the first wnids of photos64 in sorted order: the test set, never used in training


def folder(path: Path) -> tuple[list[Load], np.ndarray]:
    """Return functions that open the pictures of a class-per-folder tree, and their classes."""
    paths = sorted(p for p in path.glob("*/*") if p.is_file())
    labels = np.unique([p.parent.name for p in paths], return_inverse=True)[1]
    return [lambda p=p: Image.open(p).convert("RGB") for p in paths], labels


def archive(path: Path, classes: slice, each: int) -> tuple[list[Load], np.ndarray]:
    """Return the first `each` pictures of some classes of a zip, as `folder` does."""
    with zipfile.ZipFile(path) as file:
        names = sorted(n for n in file.namelist() if n.endswith(".jpg"))
        kinds = sorted({n.split("/")[0] for n in names})[classes]
        chosen = [n for k in kinds for n in [m for m in names if m.startswith(k)][:each]]
        data = [file.read(n) for n in chosen]
    labels = np.unique([n.split("/")[0] for n in chosen], return_inverse=True)[1]
    return [lambda d=d: Image.open(io.BytesIO(d)).convert("RGB") for d in data], labels


def vectors(embed: Embed, loads: Sequence[Load]) -> np.ndarray:
    """(n, d) of the pictures, sixteen at a time."""
    parts = [embed([f() for f in loads[i : i + 16]]) for i in range(0, len(loads), 16)]
    return np.concatenate(parts)


def categories(x: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return average precision and 1-NN of every query."""
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
    """Cut a share `area` of a picture. x, y: its place, 0 (left, top) to 1."""
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
    return compress(p.resize((round(p.width * share), round(p.height * share))), quality)


PLAIN: dict[str, Callable[[Image.Image, random.Random], Image.Image]] = {
    "crop 50 % centre": lambda p, r: cut(p, 0.5, 0.5, 0.5),
    "crop 50 % corner": lambda p, r: cut(p, 0.5, 0, 0),
    "crop 30 % corner": lambda p, r: cut(p, 0.3, 1, 1),
    "flip sideways": lambda p, r: ImageOps.mirror(p),
    "flip upside down": lambda p, r: ImageOps.flip(p),
    "rotate 10": lambda p, r: turned(p, 10),
    "rotate 25": lambda p, r: turned(p, 25),
    "rotate 90": lambda p, r: turned(p, 90),
    "JPEG q10": lambda p, r: compress(p, 10),
    "half size q30": lambda p, r: resaved(p, 0.5, 30),
    "quarter size q50": lambda p, r: resaved(p, 0.25, 50),
    "blur 3": lambda p, r: p.filter(ImageFilter.GaussianBlur(3)),
    "noise 25": lambda p, r: add_noise(p, 25, r),
    "noise 60": lambda p, r: add_noise(p, 60, r),
    "grey": lambda p, r: ImageOps.grayscale(p).convert("RGB"),
    "hue +40": lambda p, r: shift_hue(p, 40),
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


def recall(
    embed: Embed,
    loads: Sequence[Load],
    queries: Sequence[int],
    index: np.ndarray,
    attack,
    seed: int,
) -> np.ndarray:
    """Return for each attacked query whether its own row of the index comes first: 0 or 1."""
    edited = [lambda q=q: attack(loads[q](), random.Random(seed + q)) for q in queries]
    return ((vectors(embed, edited) @ index.T).argmax(1) == np.array(queries)).astype(float)
