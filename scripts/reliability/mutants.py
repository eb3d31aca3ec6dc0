"""Small pictures of every format that is read, and broken ones that are near to them."""

from __future__ import annotations

import io
import random

import numpy as np
from helpers.tiffs import TiffImage, write_tiff
from PIL import Image

from search.media.images import FORMATS

NUMBERS = (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\x80", b"\x01\0\0\0")


def _make_seeds() -> dict[str, bytes]:
    """Return a picture of each format, and of more kinds within some of them."""
    pixels = np.random.default_rng(0).integers(0, 256, (32, 48, 4), dtype=np.uint8)
    picture = Image.fromarray(pixels[..., :3])
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a caption"
    seeds = {}
    for kind in FORMATS:
        out = io.BytesIO()
        options = {"exif": exif} if kind in ("JPEG", "PNG", "WEBP") else {}
        picture.save(out, kind, **options)
        seeds[kind] = out.getvalue()
    more: dict[str, tuple[Image.Image, str, dict[str, object]]] = {
        "JPEG progressive": (picture, "JPEG", {"progressive": True, "quality": 40}),
        "JPEG CMYK": (picture.convert("CMYK"), "JPEG", {}),
        "PNG alpha": (Image.fromarray(pixels), "PNG", {}),
        "PNG palette": (picture.quantize(16), "PNG", {}),
        "GIF animated": (
            picture.quantize(16),
            "GIF",
            {"save_all": True, "append_images": [picture.rotate(90).quantize(16)]},
        ),
        "WebP lossless": (picture, "WEBP", {"lossless": True}),
        "TIFF LZW": (picture, "TIFF", {"compression": "tiff_lzw"}),
        "TIFF JPEG": (picture, "TIFF", {"compression": "jpeg"}),
    }
    for name, (one, kind, options) in more.items():
        out = io.BytesIO()
        one.save(out, kind, **options)
        seeds[name] = out.getvalue()
    page = TiffImage(pixels[..., :3].astype(np.uint16) * 257, 2, True, True)
    seeds["TIFF 16 bit"] = write_tiff(page, page)
    return seeds


SEEDS = _make_seeds()


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Change, delete, insert, move or cut off bytes, one to five times; often near the start."""
    changed = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 3, 5])):
        end = len(changed) if rng.random() < 0.5 else min(len(changed), 256)
        at, length = rng.randrange(end + 1), rng.choice([1, 1, 2, 4, 16, 64])
        way = rng.randrange(7)
        if way == 0 and changed:
            changed[min(at, len(changed) - 1)] ^= 1 << rng.randrange(8)
        elif way == 1:
            changed[at : at + length] = rng.randbytes(length)
        elif way == 2:
            del changed[at : at + length]
        elif way == 3:
            changed[at:at] = rng.randbytes(length)
        elif way == 4:
            changed[at : at + 4] = rng.choice(NUMBERS)
        elif way == 5:
            start = rng.randrange(len(changed) + 1)
            changed[at:at] = changed[start : start + length]
        elif rng.random() < 0.3:
            del changed[at:]
    return bytes(changed)
