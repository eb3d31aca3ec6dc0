"""Edits that people make before they search for a picture, for `scripts/bench copies`.

Each function takes the picture, a source of randomness, and pictures that may stand beside it.
"""

from __future__ import annotations

import io
import math
import random
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont, ImageOps
from retrieval import HARD, PLAIN, cut

from search.media.edits import compress

Attack = Callable[[Image.Image, random.Random, Sequence[Image.Image]], Image.Image]


def write_meme(picture: Image.Image, rng: random.Random, others: object) -> Image.Image:
    """White bars above and below, with large text."""
    bar = round(picture.height * 0.18)
    page = Image.new("RGB", (picture.width, picture.height + 2 * bar), "white")
    page.paste(picture, (0, bar))
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(min(bar * 0.55, page.width * 0.085))
    for text, y in (("WHEN YOU FIND", bar * 0.2), ("THE RIGHT PICTURE", page.height - bar * 0.85)):
        draw.text((page.width / 2, y), text, "black", font, anchor="ma")
    return page


def write_caption(picture: Image.Image, rng: random.Random, others: object) -> Image.Image:
    """Large outlined text over the picture, at the top and the foot."""
    page = picture.copy()
    draw, size = ImageDraw.Draw(page), min(picture.height * 0.13, picture.width * 0.11)
    font = ImageFont.load_default(size)
    for text, y in (("ONE DOES NOT", 0.02), ("SIMPLY SEARCH", 0.83)):
        place = page.width / 2, page.height * y
        draw.text(place, text, "white", font, anchor="ma", stroke_width=3, stroke_fill="black")
    return page


def add_stickers(picture: Image.Image, rng: random.Random, others: object) -> Image.Image:
    """Four yellow faces, each a fifth of the shorter side wide."""
    page = picture.copy()
    draw, r = ImageDraw.Draw(page), min(page.size) * 0.1
    for _ in range(4):
        x, y = rng.uniform(r, page.width - r), rng.uniform(r, page.height - r)
        draw.ellipse((x - r, y - r, x + r, y + r), fill=(255, 204, 77), outline=(102, 69, 0))
        for side in (-1, 1):
            eye = x + side * r * 0.4, y - r * 0.25
            draw.ellipse((eye[0] - 3, eye[1] - 4, eye[0] + 3, eye[1] + 4), fill=(102, 69, 0))
        mouth = (x - r * 0.5, y - r * 0.3, x + r * 0.5, y + r * 0.55)
        draw.arc(mouth, 20, 160, fill=(102, 69, 0), width=3)
    return page


def show_in_gallery(
    picture: Image.Image, rng: random.Random, others: Sequence[Image.Image]
) -> Image.Image:
    """The screenshot of a phone that shows the picture: bars, buttons, and a row of thumbnails."""
    width = round(max(picture.width, picture.height * 0.6))
    shown = ImageOps.contain(picture, (width, width))
    page = Image.new("RGB", (width, round(width * 1.9)), "black")
    draw = ImageDraw.Draw(page)
    draw.text((width * 0.05, width * 0.03), "12:07", "white", ImageFont.load_default(width * 0.05))
    draw.text((width * 0.5, width * 0.15), "Today", "white", ImageFont.load_default(width * 0.05))
    page.paste(shown, ((width - shown.width) // 2, (page.height - shown.height) // 2))
    side = width // 8
    for i in range(8):
        tile = ImageOps.fit(rng.choice(others), (side - 2, side - 2))
        page.paste(tile, (i * side, page.height - 3 * side))
    for i in range(4):
        x, y = width * (0.12 + 0.25 * i), page.height - 1.1 * side
        draw.ellipse((x - 8, y - 8, x + 8, y + 8), outline="white", width=2)
    return page


def photograph_screen(picture: Image.Image, rng: random.Random, others: object) -> Image.Image:
    """A slanted photograph of a screen: perspective, moire, a glow and a dark frame."""
    w, h = picture.size
    page = np.asarray(ImageOps.expand(picture, round(0.08 * min(w, h)), (12, 12, 14)), np.float64)
    y, x = np.mgrid[: page.shape[0], : page.shape[1]]
    angle = rng.uniform(0.02, 0.2)
    moire = np.sin(x * math.cos(angle) * 2.1 + y * math.sin(angle) * 2.1) * np.sin(y * 2.0)
    glow = 30 * np.exp(-((x / page.shape[1] - 0.3) ** 2 + (y / page.shape[0] - 0.25) ** 2) / 0.05)
    lit = Image.fromarray(
        np.clip(page * 0.85 + 14 * moire[..., None] + glow[..., None], 0, 255).astype(np.uint8)
    )
    corners = [(0.0, 0.0), (lit.width, 0.0), (lit.width, lit.height), (0.0, lit.height)]
    moved = [
        (cx + rng.uniform(-0.09, 0.09) * lit.width, cy + rng.uniform(-0.09, 0.09) * lit.height)
        for cx, cy in corners
    ]
    left, top = min(p[0] for p in moved), min(p[1] for p in moved)
    moved = [(px - left, py - top) for px, py in moved]
    size = math.ceil(max(p[0] for p in moved)), math.ceil(max(p[1] for p in moved))
    coefficients = _solve_perspective(moved, corners)
    slanted = lit.transform(
        size,
        Image.Transform.PERSPECTIVE,
        coefficients,
        Image.Resampling.BICUBIC,
        fillcolor=(40, 36, 33),
    )
    return compress(slanted.filter(ImageFilter.GaussianBlur(0.7)), 60)


def _solve_perspective(
    place: Sequence[tuple[float, float]], source: Sequence[tuple[float, float]]
) -> list[float]:
    """Return the eight coefficients by which Pillow maps places of the result to the source."""
    rows, values = [], []
    for (x, y), (u, v) in zip(place, source, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        values += [u, v]
    return list(np.linalg.solve(np.array(rows), np.array(values)))


def make_collage(
    picture: Image.Image, rng: random.Random, others: Sequence[Image.Image]
) -> Image.Image:
    """Nine square pictures in three rows; the query is a random one of them."""
    side = 192
    page, place = Image.new("RGB", (3 * side, 3 * side)), rng.randrange(9)
    for i in range(9):
        tile = ImageOps.fit(picture if i == place else rng.choice(others), (side, side))
        page.paste(tile, (side * (i % 3), side * (i // 3)))
    return page


def filter_heavily(picture: Image.Image, rng: random.Random, others: object) -> Image.Image:
    """A warm filter with a vignette, faded blacks and strong colours."""
    image = ImageEnhance.Color(picture).enhance(1.8)
    pixels = np.asarray(ImageEnhance.Contrast(image).enhance(1.3), np.float64) / 255
    pixels = pixels**0.85 * np.array([1.12, 1.0, 0.78]) * 0.85 + 0.1
    y, x = np.mgrid[-1 : 1 : pixels.shape[0] * 1j, -1 : 1 : pixels.shape[1] * 1j]
    pixels *= (1 - 0.45 * (x**2 + y**2) / 2)[..., None]
    return Image.fromarray(np.clip(pixels * 255, 0, 255).astype(np.uint8))


def add_watermark(picture: Image.Image, rng: random.Random, others: object) -> Image.Image:
    """Half transparent slanted text all over the picture."""
    layer = Image.new("L", (2 * picture.width, 2 * picture.height), 0)
    draw, font = ImageDraw.Draw(layer), ImageFont.load_default(picture.height * 0.08)
    for i, y in enumerate(range(0, layer.height, round(picture.height * 0.2))):
        draw.text((-40 * (i % 3), y), "© stock photo   " * 6, 110, font)
    layer = layer.rotate(30)
    left, top = picture.width // 2, picture.height // 2
    mask = layer.crop((left, top, left + picture.width, top + picture.height))
    return Image.composite(Image.new("RGB", picture.size, "white"), picture, mask)


def add_black_bars(picture: Image.Image, rng: random.Random, others: object) -> Image.Image:
    """Black bars above and below, as a film on a narrower screen has them."""
    page = Image.new("RGB", (picture.width, round(picture.height * 1.6)))
    page.paste(picture, (0, round(picture.height * 0.3)))
    return page


def save_as_gif(picture: Image.Image, rng: random.Random, others: object) -> Image.Image:
    """A frame of a GIF: 320 pixels wide, 64 colours, dithered."""
    small = ImageOps.contain(picture, (320, 320))
    out = io.BytesIO()
    small.quantize(64).save(out, "GIF")
    return Image.open(out).convert("RGB")


def print_and_scan(picture: Image.Image, rng: random.Random, others: object) -> Image.Image:
    """A halftone print on cream paper, scanned slightly turned, with dust."""
    pixels = np.asarray(picture, np.float64)
    y, x = np.mgrid[: pixels.shape[0], : pixels.shape[1]]
    for channel, angle in enumerate((0.26, 1.31, 0.78)):
        u, v = x * math.cos(angle) - y * math.sin(angle), x * math.sin(angle) + y * math.cos(angle)
        screen = 127.5 + 60 * (np.sin(u * 1.9) + np.sin(v * 1.9)) / 2
        pixels[..., channel] = (
            0.6 * pixels[..., channel] + 0.4 * (pixels[..., channel] > screen) * 255
        )
    pixels = 18 + pixels * 0.86 * np.array([1.0, 0.985, 0.94])
    generator = np.random.default_rng(rng.getrandbits(32))
    pixels[generator.random(pixels.shape[:2]) < 0.002] = 235
    pixels += generator.normal(0, 4, pixels.shape)
    printed = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    paper = ImageOps.expand(printed, round(0.1 * min(printed.size)), (246, 243, 232))
    turned = paper.rotate(rng.uniform(-3, 3), Image.Resampling.BICUBIC, fillcolor=(246, 243, 232))
    return compress(turned.filter(ImageFilter.GaussianBlur(0.8)), 75)


PEOPLE: dict[str, Attack] = {
    "meme text in bars": write_meme,
    "text over and under": write_caption,
    "stickers": add_stickers,
    "phone gallery": show_in_gallery,
    "photo of a screen": photograph_screen,
    "collage of nine": make_collage,
    "heavy filter": filter_heavily,
    "mirrored, cropped to 60 %": lambda p, r, o: cut(
        ImageOps.mirror(p), 0.6, r.random(), r.random()
    ),
    "black bars": add_black_bars,
    "watermark": add_watermark,
    "GIF frame": save_as_gif,
    "print and scan": print_and_scan,
}


def list_attacks() -> dict[str, dict[str, Attack]]:
    """Return all attacks by name, by group: plain, hard, people."""
    without = lambda attack: lambda p, r, others: attack(p, r)  # noqa: E731
    plain = {name: without(attack) for name, attack in PLAIN.items()}
    return {"plain": plain, "hard": {n: without(a) for n, a in HARD.items()}, "people": PEOPLE}
