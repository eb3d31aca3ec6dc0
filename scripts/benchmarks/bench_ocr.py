"""How well and how fast text in pictures is read, on pictures that this draws.

scripts/bench ocr [--pixels 1200000,2400000,...] [--n 3] [--seed 0]

A picture is a page of 12 megapixels, a screen of 2, a long screenshot, or a photograph of 12 with a
word in it, or with none. Its text is English or Chinese, in fonts of this system and in sizes from
12 pixels on. Chinese is original by the font that OpenCV carries, unless the system has one. Each
picture is read once for every limit of the image in which lines are detected
(`search.media.text.DETECTED_PIXELS`). Printed are the character error rate (edits to make the text
that was read right, spaces apart, by characters of the original text), and the CPU and wall
seconds of a picture, in one thread.
"""

from __future__ import annotations

import argparse
import random
import resource
import subprocess
import time
from typing import Any, NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from search.media import text, text_models

WORDS = (
    "river mountain invoice kitchen window orange garden theory number seven delta signal yellow "
    "printer holiday station ticket 2024 17:45 EUR No. Sunset beach market street"
).split()
CHARACTERS = (
    "海边的日落欢迎来到深圳科技园春天花开城市交通图书馆电影院风景照片文件合同发票金额时间地点"
)


class Kind(NamedTuple):
    """Pictures of one kind. sizes: of the text in pixels; 0 for none. lines: of a picture."""

    name: str
    width: int
    height: int
    sizes: tuple[int, ...]
    lines: int
    on_photograph: bool = False


KINDS = (
    Kind("page, 12 MP", 4000, 3000, (12, 16, 24, 40), 12),
    Kind("screen, 2 MP", 1920, 1080, (12, 16, 24), 12),
    Kind("long screenshot, 9 MP", 1080, 8000, (28, 40), 20),
    Kind("photograph, 12 MP", 4000, 3000, (60, 120), 2, True),
    Kind("photograph, 12 MP, no text", 4000, 3000, (0,), 0, True),
)


def list_fonts(language: str) -> list[str]:
    """Return files of regular fonts of the system for a language."""
    command = ["fc-list", f":lang={language}", "file", "style"]
    try:
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return []
    regular = [one for one in output.splitlines() if "style=Regular" in one or "style=Book" in one]
    return sorted(one.partition(":")[0] for one in regular)


def make_line(rng: random.Random, is_chinese: bool) -> str:
    if is_chinese:
        return "".join(rng.choices(CHARACTERS, k=12))
    return " ".join(rng.choices(WORDS, k=6))


def draw(kind: Kind, size: int, font: str | None, rng: random.Random) -> tuple[Any, list[str]]:
    """Return a picture and its lines. font: None for the Chinese one of OpenCV."""
    noise = np.random.default_rng(rng.randrange(2**32))
    if kind.on_photograph:
        coarse = noise.integers(60, 200, (kind.height // 100, kind.width // 100, 3), np.uint8)
        smooth = Image.fromarray(coarse).resize((kind.width, kind.height), Image.Resampling.BICUBIC)
        grain = noise.normal(0, 6, (kind.height, kind.width, 1))
        pixels = np.clip(np.asarray(smooth) + grain, 0, 255).astype(np.uint8)
    else:
        pixels = np.full((kind.height, kind.width, 3), 255, np.uint8)
    color = (255, 255, 255) if kind.on_photograph else (20, 20, 20)
    lines = [make_line(rng, font is None or "zh:" in font) for _ in range(kind.lines)]
    if kind.on_photograph:
        lines = [line.split()[0] if font else line[:4] for line in lines]
    image = Image.fromarray(pixels)
    for i, line in enumerate(lines):
        place = kind.width // 10, (i + 1) * kind.height // (kind.lines + 1)
        if font is not None:
            face = ImageFont.truetype(font.removeprefix("zh:"), size)
            ImageDraw.Draw(image).text(place, line, font=face, fill=color)
        else:
            pixels = np.asarray(image).copy()
            cv2.putText(pixels, line, place, color, cv2.FontFace("uni"), size)
            image = Image.fromarray(pixels)
    return image, lines


def count_edits(read: str, original: str) -> int:
    """Return the edit distance of two texts."""
    row = list(range(len(original) + 1))
    for i, a in enumerate(read, 1):
        previous, row[0] = row[0], i
        for j, b in enumerate(original, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (a != b))
    return row[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pixels", default=str(text.DETECTED_PIXELS))
    parser.add_argument("--n", type=int, default=2, help="pictures of each kind, size and language")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if not text_models.is_installed():
        parser.error("the extra `ocr` is not installed")
    english, chinese = list_fonts("en"), [f"zh:{one}" for one in list_fonts("zh")] or [None]
    source = "fonts of the system" if chinese[0] else "the font of OpenCV"
    print(f"models {text_models.fingerprint()}, n = {args.n} of each row, seed {args.seed}")
    print(f"{len(english)} English fonts; Chinese: {source}")
    text.read_lines(Image.new("RGB", (64, 64)))
    head = f"{'picture':28}{'language':10}{'px':>4}{'detected':>10}{'CER %':>8}"
    print(f"{head}{'characters':>12}{'CPU s':>8}{'wall s':>8}")
    for kind in KINDS:
        for language, fonts in (("English", english), ("Chinese", chinese)):
            for size in kind.sizes:
                if not size and language == "Chinese":
                    continue
                for limit in map(int, args.pixels.split(",")):
                    text.DETECTED_PIXELS = limit
                    rng = random.Random(args.seed)
                    edits = characters = 0
                    cpu = wall = 0.0
                    for _ in range(args.n):
                        image, lines = draw(kind, size, rng.choice(fonts), rng)
                        before = time.process_time(), time.perf_counter()
                        rows = text.read_lines(image)
                        cpu += time.process_time() - before[0]
                        wall += time.perf_counter() - before[1]
                        original = "".join("".join(lines).split())
                        read = "".join("".join(row[0] for row in rows).split())
                        edits += count_edits(read, original)
                        characters += len(original)
                    rate = f"{100 * edits / characters:.1f}" if characters else f"({edits})"
                    row = f"{kind.name:28}{language:10}{size:4}{limit / 1e6:8.1f} M{rate:>8}"
                    n = args.n
                    print(f"{row}{characters:12}{cpu / n:8.1f}{wall / n:8.1f}", flush=True)
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MB")


if __name__ == "__main__":
    main()
