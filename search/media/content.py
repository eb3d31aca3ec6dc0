"""Whether a picture shows anything at all, and on which background it does."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from search.types import Pixels

TOLERANCE = 16  # of 255: how far a pixel may be from the picture's main colour
SHARE = 0.002  # of the pixels may be further away
OPAQUE = 16  # of 255: alpha from which a pixel counts as drawn
LEAST_VISIBLE = 0.1  # of the drawn pixels must stand out from a white background
WHITE, BLACK = 255, 0


def is_low_content(pixels: Pixels) -> bool:
    """Whether a prepared picture, (H, W, 3) uint8, is blank: black, white or of one other colour.

    All such pictures get much the same vector, so that a high score between them says nothing.
    """
    colours = np.median(pixels.reshape(-1, 3), axis=0)
    distance = np.abs(pixels.astype(np.int16) - colours.astype(np.int16)).max(axis=2)
    return bool((distance > TOLERANCE).mean() <= SHARE)


def choose_background(colors: Pixels, alpha: npt.NDArray[np.uint8]) -> int:
    """Return the grey level to lay transparent artwork over: white, or black for white artwork.

    colors: (H, W, 3). alpha: (H, W), 255 for opaque. It is black if hardly anything that is drawn
    stands out from white, and more does from black.
    """
    is_drawn = alpha > OPAQUE
    if is_drawn.all() or not is_drawn.any():
        return WHITE
    weights = alpha[is_drawn].astype(np.float32)[:, None] / 255
    pixels = colors[is_drawn] * weights
    from_black = float((pixels.max(axis=1) > TOLERANCE).mean())
    from_white = float(((255 * weights - pixels).max(axis=1) > TOLERANCE).mean())
    return BLACK if from_white < LEAST_VISIBLE and from_black > from_white else WHITE


def measure_detail(pixels: Pixels) -> float:
    """Return how much a picture, (H, W, 3), shows: the spread of its grey levels; 0 if blank."""
    return 0.0 if is_low_content(pixels) else float(pixels.mean(axis=2).std())
