"""Pictures with text, drawn by the font that OpenCV carries."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

ENGLISH, CHINESE = "Sunset at the beach", "欢迎来到深圳"


def write_text(
    path: Path, lines: Sequence[str], size: tuple[int, int] = (640, 240), height: int = 28
) -> Path:
    """Write a PNG with lines of text, from 20 pixels left of the edge.

    size: width and height in pixels. height: of the text.
    """
    pixels = np.full((size[1], size[0], 3), 255, np.uint8)
    font = cv2.FontFace("uni")
    for i, line in enumerate(lines):
        cv2.putText(pixels, line, (20, 60 * (i + 1)), (0, 0, 0), font, height)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
    return path
