"""Accepts a variant if it is similar to its query, and is not a copy, blank or noise.

"Strangers" are pictures of the library that have nothing to do with the query.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from search.media.content import is_low_content
from search.types import Vectors

SAME = 0.999  # cosine from which a stranger counts as a copy of the query
MIN_SHARES = {"near": 0.95, "same": 0.95, "concept": 0.75}
"""Share of the strangers that a variant must exceed in similarity to the query, by regime."""

COPY = 4.0  # root mean square difference, of 255, below which a variant is a copy
NOISE = 0.25  # correlation of neighboring pixels below which a picture is noise
REJECTED = 10.0  # how far from being accepted a copy, noise and a blank picture are


@dataclass(frozen=True)
class Acceptance:
    """The test that variants of one query must pass.

    least: the cosine to the query that a variant must exceed. query: the picture in the size of
    its variants, or None to accept copies.
    """

    least: float = -math.inf
    query: Image.Image | None = None

    def distance(
        self, similarity: float, variant: Image.Image, start: Image.Image | None = None
    ) -> float:
        """Return how far a variant is from being accepted, 0 if it is.

        similarity: its cosine to the query. start: the other picture that it was made from, in
        the size of the variant; a copy of that one is rejected too.
        """
        pixels = np.asarray(variant, np.uint8)
        if is_low_content(pixels) or is_noise(pixels):
            return REJECTED
        originals = [np.asarray(one, np.uint8) for one in (self.query, start) if one is not None]
        if any(is_copy(pixels, original) for original in originals):
            return REJECTED
        return max(self.least - similarity, 0.0)


def least_similarity(query: Vectors, strangers: Vectors, regime: str) -> float:
    """Return the cosine to a (dim,) unit vector that a share of (n, dim) strangers do not exceed.

    Copies of the query do not count as strangers. Without any stranger it is -inf.
    """
    cosines = strangers @ query
    cosines = cosines[cosines < SAME]
    return float(np.quantile(cosines, MIN_SHARES[regime])) if len(cosines) else -math.inf


def is_noise(pixels: np.ndarray) -> bool:
    """Whether the neighbors in (H, W, 3) uint8 pixels have little to do with each other."""
    grey = pixels.astype(np.float32).mean(axis=2)
    pairs = ((grey[:, 1:], grey[:, :-1]), (grey[1:], grey[:-1]))
    correlations = [_correlation(a, b) for a, b in pairs if a.size > 1]
    return bool(correlations) and max(correlations) < NOISE


def is_copy(pixels: np.ndarray, query: np.ndarray) -> bool:
    """Whether two (H, W, 3) uint8 pictures of one size are the same to the eye."""
    difference = pixels.astype(np.float32) - query.astype(np.float32)
    return bool(np.sqrt(np.square(difference).mean()) < COPY)


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a - a.mean(), b - b.mean()
    scale = math.sqrt(float(np.square(a).sum()) * float(np.square(b).sum()))
    return float((a * b).sum()) / scale if scale > 0 else 1.0
