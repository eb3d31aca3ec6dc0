"""Random edits of pictures, as people and programs make them.

An encoder is trained and measured on them (scripts/train), and a library's scores are calibrated by
them (`search.querying.calibration`).
"""

from __future__ import annotations

import io
import math
import random

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageOps


def _any_color(rng: random.Random) -> tuple[int, ...]:
    return tuple(rng.randrange(256) for _ in range(3))


def shift_hue(picture: Image.Image, shift: int) -> Image.Image:
    """Turn the colour circle by `shift` of 256."""
    h, s, v = picture.convert("HSV").split()
    return Image.merge("HSV", (h.point(lambda p: (p + shift) % 256), s, v)).convert("RGB")


def crop_randomly(picture: Image.Image, area: float, rng: random.Random) -> Image.Image:
    """Cut out a random part with a share `area` of the picture, 0 to 1, at least 8 x 8 pixels."""
    w, h = picture.size
    ratio = math.exp(rng.uniform(-0.25, 0.25))
    cw, ch = min(w, w * math.sqrt(area) * ratio), min(h, h * math.sqrt(area) / ratio)
    x, y = rng.uniform(0, w - cw), rng.uniform(0, h - ch)
    return picture.crop((round(x), round(y), max(round(x + cw), 8), max(round(y + ch), 8)))


def compress(picture: Image.Image, quality: int) -> Image.Image:
    """Save as JPEG of a quality, 1 to 95, and read again."""
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=quality)
    return Image.open(out).convert("RGB")


def add_noise(picture: Image.Image, sigma: float, rng: random.Random) -> Image.Image:
    """Add Gaussian noise of a standard deviation `sigma`, of 255."""
    values = np.random.default_rng(rng.getrandbits(32)).normal(0, sigma, (*picture.size[::-1], 3))
    return Image.fromarray(np.clip(np.asarray(picture) + values, 0, 255).astype(np.uint8))


def shrink(picture: Image.Image, by: float) -> Image.Image:
    """Scale both sides by `by`, 0 to 1, and enlarge again."""
    w, h = picture.size
    small = picture.resize((max(8, int(w * by)), max(8, int(h * by))), Image.Resampling.BILINEAR)
    return small.resize((w, h), Image.Resampling.BICUBIC)


def cover_parts(picture: Image.Image, rng: random.Random) -> Image.Image:
    """Draw a disc, and in half of the cases a bar at the foot."""
    picture = picture.copy()
    w, h = picture.size
    draw = ImageDraw.Draw(picture)
    colour = _any_color(rng)
    if rng.random() < 0.5:
        draw.rectangle((0, h * rng.uniform(0.75, 0.9), w, h), fill=colour)
    x, y, r = rng.uniform(0, w), rng.uniform(0, h), min(w, h) * rng.uniform(0.1, 0.25)
    draw.ellipse((x - r, y - r, x + r, y + r), fill=colour)
    return picture


def draw_stripes(size: tuple[int, int], rng: random.Random) -> Image.Image:
    """Draw a page of slanted lines in two colours."""
    a, b = _any_color(rng), _any_color(rng)
    page = Image.new("RGB", size, rng.choice((a, (255, 255, 255))))
    draw, (w, h) = ImageDraw.Draw(page), size
    step = max(4, round(min(w, h) * rng.uniform(0.02, 0.1)))
    lean = rng.choice((-h, 0, h))
    for i in range(-h, w + h, step):
        draw.line((i, 0, i + lean, h), fill=b, width=max(1, round(step * rng.uniform(0.2, 0.5))))
    return page


def draw_screen(size: tuple[int, int], rng: random.Random) -> Image.Image:
    """Draw a plain page with bars, boxes and lines of text, as programs do."""
    w, h = size
    light = rng.random() < 0.7
    page = Image.new(
        "RGB", size, tuple(rng.randint(*((225, 255) if light else (0, 60))) for _ in range(3))
    )
    draw = ImageDraw.Draw(page)
    draw.rectangle((0, 0, w, h * rng.uniform(0.03, 0.12)), fill=_any_color(rng))
    for _ in range(rng.randint(0, 6)):
        x, y = rng.uniform(0, w), rng.uniform(0, h)
        bounds = (x, y, x + w * rng.uniform(0.05, 0.4), y + h * rng.uniform(0.01, 0.08))
        draw.rectangle(bounds, fill=_any_color(rng))
    for _ in range(rng.randint(0, 5)):
        draw.text(
            (rng.uniform(0, w * 0.8), rng.uniform(0, h)),
            "lorem ipsum dolor",
            fill=_any_color(rng),
        )
    return page


def place_on_page(picture: Image.Image, rng: random.Random, other: Image.Image) -> Image.Image:
    """Place the picture on a larger page: of one colour, a screen, stripes, or another picture."""
    w, h = picture.size
    size = (int(w * rng.uniform(1.2, 2.1)), int(h * rng.uniform(1.2, 2.1)))
    page = rng.choice(
        (
            lambda: Image.new("RGB", size, _any_color(rng)),
            lambda: draw_screen(size, rng),
            lambda: draw_stripes(size, rng),
            lambda: other.resize(size),
        )
    )()
    # preprocessing may crop to the middle: most of the picture must be in it
    x, y = (rng.triangular(0, p - s, (p - s) / 2) for p, s in zip(page.size, (w, h), strict=True))
    page.paste(picture, (int(x), int(y)))
    return page


def place_in_collage(picture: Image.Image, rng: random.Random, other: Image.Image) -> Image.Image:
    """Make the picture a quarter of a page; stripes, a screen or another picture are the rest."""
    w, h = picture.size
    size = (2 * w, 2 * h)
    if rng.random() < 0.7:
        page = rng.choice((draw_stripes, draw_stripes, draw_screen))(size, rng)
    else:
        page, tile = Image.new("RGB", size), other.resize((w, h))
        for i in range(4):
            page.paste(tile if i % 2 else ImageOps.mirror(tile), (w * (i % 2), h * (i // 2)))
    page.paste(picture, (w * rng.randrange(2), h * rng.randrange(2)))
    return page


def edit_once(picture: Image.Image, rng: random.Random, other: Image.Image) -> Image.Image:
    """Apply one random edit: a crop, turn, recompression, colour, cover or page.

    other: a picture that may stand around it.
    """
    w, h = picture.size
    least = 0.1 if min(w, h) >= 128 else 0.3  # of the area: less of a small one shows nothing
    choices = (
        lambda: crop_randomly(picture, rng.uniform(least, 0.7), rng),
        lambda: crop_randomly(picture, rng.uniform(least, 0.4), rng),
        lambda: picture.rotate(
            rng.uniform(-30, 30), Image.Resampling.BILINEAR, fillcolor=(128,) * 3
        ),
        lambda: picture.rotate(
            rng.uniform(-30, 30),
            Image.Resampling.BILINEAR,
            expand=True,
            fillcolor=_any_color(rng),
        ),
        lambda: picture.transpose(
            rng.choice((Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_270))
        ),
        lambda: ImageOps.flip(picture),
        lambda: compress(picture, rng.randint(8, 40)),
        lambda: shrink(picture, rng.uniform(0.2, 0.5)),
        lambda: picture.filter(ImageFilter.GaussianBlur(rng.uniform(1, 0.012 * min(w, h) + 1))),
        lambda: add_noise(picture, rng.uniform(15, 60), rng),
        lambda: ImageOps.grayscale(picture).convert("RGB"),
        lambda: shift_hue(picture, rng.randint(-60, 60)),
        lambda: ImageEnhance.Brightness(picture).enhance(rng.uniform(0.3, 0.7)),
        lambda: ImageEnhance.Contrast(picture).enhance(rng.uniform(0.5, 2.3)),
        lambda: cover_parts(picture, rng),
        lambda: ImageOps.expand(picture, round(min(w, h) * rng.uniform(0.1, 0.3)), _any_color(rng)),
        lambda: place_on_page(picture, rng, other),
        lambda: place_on_page(picture, rng, other),
        lambda: place_in_collage(picture, rng, other),
        lambda: place_in_collage(picture, rng, other),
        lambda: picture.resize((max(8, int(w * rng.uniform(0.55, 1))), h)),
    )
    return rng.choice(choices)()


def edit_randomly(picture: Image.Image, rng: random.Random, other: Image.Image) -> Image.Image:
    """Apply one edit in half of the cases, else a chain of two or three (see `edit_once`)."""
    for _ in range(rng.choices((1, 2, 3), (0.5, 0.25, 0.25))[0]):
        if picture.width * picture.height > 1_000_000:  # pages on pages
            picture = picture.resize((picture.width // 2, picture.height // 2))
        picture = edit_once(picture, rng, other)
    return picture
