"""Edits of pictures, as people and programs make them: for training, targets and measuring."""

from __future__ import annotations

import io
import math
import random

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageOps


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


def paste(picture: Image.Image, rng: random.Random) -> Image.Image:
    w, h = picture.size
    colour = tuple(rng.randrange(256) for _ in range(3))
    canvas = Image.new(
        "RGB", (int(w * rng.uniform(1.1, 1.7)), int(h * rng.uniform(1.1, 1.6))), colour
    )
    canvas.paste(picture, (rng.randint(0, canvas.width - w), rng.randint(0, canvas.height - h)))
    return canvas


def cover(picture: Image.Image, rng: random.Random) -> Image.Image:
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
        lambda: box(picture, rng.uniform(0.3, 0.7), rng),
        lambda: box(picture, rng.uniform(0.3, 0.7), rng),
        lambda: picture.rotate(
            rng.uniform(-30, 30), Image.Resampling.BILINEAR, fillcolor=(128,) * 3
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
        lambda: paste(picture, rng),
        lambda: picture.resize((max(8, int(w * rng.uniform(0.6, 1))), h)),
    )
    return rng.choice(choices)()
