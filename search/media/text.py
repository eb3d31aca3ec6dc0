"""Text in a normalized image, by RapidOCR and the models that its wheel carries. Needs the extra
`ocr`.

It runs in decoding processes of their own (`search.media.decoder`), whose priority is lowest. The
detector looks at a smaller image: it sees where small text is before anybody could read it. Each
line is then read from the pixels of the larger image.
"""

from __future__ import annotations

import math
import os
from functools import cache
from typing import Any

import numpy as np
from PIL import Image

from search.errors import PictureError
from search.records.texts import TextLine

SHORT, LONG = 4096, 16384
"""Most pixels of the sides from which lines are read. A long screenshot keeps its width."""
DETECTED_PIXELS = 4_000_000
"""Most pixels of the image in which lines are detected; `scripts/bench ocr` measures others."""
COARSE_PIXELS = 300_000
"""The same for a second look if there are none: the detector misses a few small words on a large
empty page, unless it sees them in a small image."""
MIN_CONFIDENCE = 0.5
MOST_LINES, MOST_CHARACTERS = 1000, 2000  # of a picture, and of a line
NICENESS = 10  # added to that of decoding processes


@cache
def _load_reader() -> Any:
    """Load the models with one thread, and lower the priority of this process."""
    import cv2
    from rapidocr import RapidOCR

    if hasattr(os, "nice"):
        os.nice(NICENESS)
    cv2.setNumThreads(1)
    return RapidOCR(
        params={
            "Global.log_level": "critical",
            "Global.max_side_len": LONG,  # it has been scaled
            "Global.text_score": MIN_CONFIDENCE,
            "Det.limit_type": "max",
            "EngineConfig.onnxruntime.intra_op_num_threads": 1,
            "EngineConfig.onnxruntime.inter_op_num_threads": 1,
        }
    )


def read_lines(normalized: Image.Image) -> list[list[Any]]:
    """Return the lines of an RGB image, each as its text, confidence and eight numbers.

    The numbers are x and y of the four corners as shares of the sides.
    """
    reader, (width, height) = _load_reader(), normalized.size
    pixels = np.ascontiguousarray(np.asarray(normalized)[:, :, ::-1])
    for most in (DETECTED_PIXELS, COARSE_PIXELS):
        scale = min(1.0, math.sqrt(most / (width * height)))
        reader._load_det_model().limit_side_len = max(32, int(max(width, height) * scale))
        result = reader(pixels)
        if getattr(result, "txts", None) and result.boxes is not None:
            break
    else:
        return []
    sides = np.array((width, height), np.float64)
    lines = []
    for box, text, score in zip(result.boxes, result.txts, result.scores, strict=True):
        corners = np.clip(np.asarray(box, np.float64) / sides, 0, 1)
        lines.append([text, float(score), *map(float, corners.ravel())])
    return lines[:MOST_LINES]


def parse_lines(rows: Any) -> tuple[TextLine, ...]:
    """Return the lines that a process sent, which is not trusted. Raises PictureError."""
    lines = []
    try:
        for text, confidence, *numbers in rows[:MOST_LINES]:
            x1, y1, x2, y2, x3, y3, x4, y4 = (min(1.0, max(0.0, float(n))) for n in numbers)
            box = ((x1, y1), (x2, y2), (x3, y3), (x4, y4))
            written = "".join(c if c.isprintable() else " " for c in text)[:MOST_CHARACTERS]
            if written.strip():
                lines.append(TextLine(written.strip(), min(1.0, max(0.0, float(confidence))), box))
    except (TypeError, ValueError) as error:
        raise PictureError(f"the text of the picture could not be read: {error}") from error
    return tuple(lines)
