"""Whether a picture shows anything at all."""

from __future__ import annotations

import numpy as np

from search.types import Pixels

TOLERANCE = 16  # of 255: how far a pixel may be from the picture's main colour
SHARE = 0.002  # of the pixels may be further away


def is_low_content(pixels: Pixels) -> bool:
    """Whether a prepared picture, (H, W, 3) uint8, is blank: black, white or of one other colour.

    All such pictures get much the same vector, so that a high score between them says nothing.
    """
    colours = np.median(pixels.reshape(-1, 3), axis=0)
    distance = np.abs(pixels.astype(np.int16) - colours.astype(np.int16)).max(axis=2)
    return bool((distance > TOLERANCE).mean() <= SHARE)
