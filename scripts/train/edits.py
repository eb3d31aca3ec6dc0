"""Edits of pictures, as people and programs make them: for training, targets and measuring."""

from __future__ import annotations

import io
import math
import random

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageOps


def _colour(rng: random.Random) -> tuple[int, ...]:
    return tuple(rng.randrange(256) for _ in range(3))


def hue(picture: Image.Image, shift: int) -> Image.Image:
    h, s, v = picture.convert("HSV").split()
    return Image.merge("HSV", (h.point(lambda p: (p + shift) % 256), s, v)).convert("RGB")


def box(picture: Image.Image, area: float, rng: random.Random) -> Image.Image:
    w, h = picture.size
    ratio = math.exp(rng.uniform(-0.25, 0.25))
    cw, ch = min(w, w * math.sqrt(area) * ratio), min(h, h * math.sqrt(area) / ratio)
    x, y = rng.uniform(0, w - cw), rng.uniform(0, h - ch)
    return picture.crop((round(x), round(y), max(round(x + cw), 8), max(round(y + ch), 8)))


def jpeg(picture: Image.Image, quality: int) -> Image.Image:
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=quality)
    return Image.open(out).convert("RGB")


def noise(picture: Image.Image, sigma: float, rng: random.Random) -> Image.Image:
    noise = np.random.default_rng(rng.getrandbits(32)).normal(0, sigma, (*picture.size[::-1], 3))
    return Image.fromarray(np.clip(np.asarray(picture) + noise, 0, 255).astype(np.uint8))


def shrink(picture: Image.Image, by: float) -> Image.Image:
    w, h = picture.size
    small = picture.resize((max(8, int(w * by)), max(8, int(h * by))), Image.Resampling.BILINEAR)
    return small.resize((w, h), Image.Resampling.BICUBIC)


def cover(picture: Image.Image, rng: random.Random) -> Image.Image:
    picture = picture.copy()
    w, h = picture.size
    draw = ImageDraw.Draw(picture)
    colour = _colour(rng)
    if rng.random() < 0.5:
        draw.rectangle((0, h * rng.uniform(0.75, 0.9), w, h), fill=colour)
    x, y, r = rng.uniform(0, w), rng.uniform(0, h), min(w, h) * rng.uniform(0.1, 0.25)
    draw.ellipse((x - r, y - r, x + r, y + r), fill=colour)
    return picture


def stripes(size: tuple[int, int], rng: random.Random) -> Image.Image:
    """A page of slanted lines in two colours."""
    a, b = _colour(rng), _colour(rng)
    page = Image.new("RGB", size, rng.choice((a, (255, 255, 255))))
    draw, (w, h) = ImageDraw.Draw(page), size
    step = max(4, round(min(w, h) * rng.uniform(0.02, 0.1)))
    lean = rng.choice((-h, 0, h))
    for i in range(-h, w + h, step):
        draw.line((i, 0, i + lean, h), fill=b, width=max(1, round(step * rng.uniform(0.2, 0.5))))
    return page


def screen(size: tuple[int, int], rng: random.Random) -> Image.Image:
    """A plain page with bars, boxes and lines of text, as programs draw them."""
    w, h = size
    light = rng.random() < 0.7
    page = Image.new(
        "RGB", size, tuple(rng.randint(*((225, 255) if light else (0, 60))) for _ in range(3))
    )
    draw = ImageDraw.Draw(page)
    draw.rectangle((0, 0, w, h * rng.uniform(0.03, 0.12)), fill=_colour(rng))
    for _ in range(rng.randint(0, 6)):
        x, y = rng.uniform(0, w), rng.uniform(0, h)
        box = (x, y, x + w * rng.uniform(0.05, 0.4), y + h * rng.uniform(0.01, 0.08))
        draw.rectangle(box, fill=_colour(rng))
    for _ in range(rng.randint(0, 5)):
        draw.text(
            (rng.uniform(0, w * 0.8), rng.uniform(0, h)), "lorem ipsum dolor", fill=_colour(rng)
        )
    return page


def on_page(picture: Image.Image, rng: random.Random, other: Image.Image) -> Image.Image:
    """The picture on a larger page: of one colour, a screen, stripes, or another picture."""
    w, h = picture.size
    size = (int(w * rng.uniform(1.2, 2.1)), int(h * rng.uniform(1.2, 2.1)))
    page = rng.choice(
        (
            lambda: Image.new("RGB", size, _colour(rng)),
            lambda: screen(size, rng),
            lambda: stripes(size, rng),
            lambda: other.resize(size),
        )
    )()
    # preprocessing may crop to the middle: most of the picture must be in it
    x, y = (rng.triangular(0, p - s, (p - s) / 2) for p, s in zip(page.size, (w, h), strict=True))
    page.paste(picture, (int(x), int(y)))
    return page


def quarter(picture: Image.Image, rng: random.Random, other: Image.Image) -> Image.Image:
    """The picture as a corner of a page of two by two; the rest is stripes, a screen or others."""
    w, h = picture.size
    size = (2 * w, 2 * h)
    page = rng.choice((stripes, stripes, screen))(size, rng) if rng.random() < 0.7 else None
    if page is None:
        page, tile = Image.new("RGB", size), other.resize((w, h))
        for i in range(4):
            page.paste(tile if i % 2 else ImageOps.mirror(tile), (w * (i % 2), h * (i // 2)))
    page.paste(picture, (w * rng.randrange(2), h * rng.randrange(2)))
    return page


def attack(picture: Image.Image, rng: random.Random, other: Image.Image) -> Image.Image:
    """One edit of the kinds that people make: crops, turns, recompression, colours, covers, pages.

    other: a picture that may stand around it.
    """
    w, h = picture.size
    least = 0.1 if min(w, h) >= 128 else 0.3  # of the area: less of a small one shows nothing
    choices = (
        lambda: box(picture, rng.uniform(least, 0.7), rng),
        lambda: box(picture, rng.uniform(least, 0.4), rng),
        lambda: picture.rotate(
            rng.uniform(-30, 30), Image.Resampling.BILINEAR, fillcolor=(128,) * 3
        ),
        lambda: picture.rotate(
            rng.uniform(-30, 30), Image.Resampling.BILINEAR, expand=True, fillcolor=_colour(rng)
        ),
        lambda: picture.transpose(
            rng.choice((Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_270))
        ),
        lambda: ImageOps.flip(picture),
        lambda: jpeg(picture, rng.randint(8, 40)),
        lambda: shrink(picture, rng.uniform(0.2, 0.5)),
        lambda: picture.filter(ImageFilter.GaussianBlur(rng.uniform(1, 0.012 * min(w, h) + 1))),
        lambda: noise(picture, rng.uniform(15, 60), rng),
        lambda: ImageOps.grayscale(picture).convert("RGB"),
        lambda: hue(picture, rng.randint(-60, 60)),
        lambda: ImageEnhance.Brightness(picture).enhance(rng.uniform(0.3, 0.7)),
        lambda: ImageEnhance.Contrast(picture).enhance(rng.uniform(0.5, 2.3)),
        lambda: cover(picture, rng),
        lambda: ImageOps.expand(picture, round(min(w, h) * rng.uniform(0.1, 0.3)), _colour(rng)),
        lambda: on_page(picture, rng, other),
        lambda: on_page(picture, rng, other),
        lambda: quarter(picture, rng, other),
        lambda: quarter(picture, rng, other),
        lambda: picture.resize((max(8, int(w * rng.uniform(0.55, 1))), h)),
    )
    return rng.choice(choices)()


def attacks(picture: Image.Image, rng: random.Random, other: Image.Image) -> Image.Image:
    """One edit in half of the cases, else a chain of two or three."""
    for _ in range(rng.choices((1, 2, 3), (0.5, 0.25, 0.25))[0]):
        if picture.width * picture.height > 1_000_000:  # pages on pages
            picture = picture.resize((picture.width // 2, picture.height // 2))
        picture = attack(picture, rng, other)
    return picture
