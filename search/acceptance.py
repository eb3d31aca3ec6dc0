"""Which variants are accepted: like enough to their query, no copy of it, and a picture at all."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from search.content import is_low_content
from search.embedders.base import Vectors

SAME = 0.999  # cosine from which two pictures are one, and say nothing about strangers
SHARES = {"near": 0.95, "same": 0.95, "concept": 0.75}
"""Of each regime: the share of the library's strangers that a variant must be more alike than."""

COPY = 4.0  # root mean square difference to the query, of 255, below which a variant is a copy
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

    def distance(self, similarity: float, variant: Image.Image) -> float:
        """How far a variant is from being accepted, with its cosine to the query; 0 if it is."""
        pixels = np.asarray(variant, np.uint8)
        if is_low_content(pixels) or is_noise(pixels):
            return REJECTED
        if self.query is not None and is_copy(pixels, np.asarray(self.query, np.uint8)):
            return REJECTED
        return max(self.least - similarity, 0.0)


def least_similarity(query: Vectors, strangers: Vectors, regime: str) -> float:
    """The cosine to a (dim,) unit vector that a share of (n, dim) strangers do not exceed. Copies
    of the query are no strangers; -inf without any stranger."""
    cosines = strangers @ query
    cosines = cosines[cosines < SAME]
    return float(np.quantile(cosines, SHARES[regime])) if len(cosines) else -math.inf


def is_noise(pixels: np.ndarray) -> bool:
    """Whether the neighbors in (H, W, 3) uint8 pixels have little to do with each other."""
    grey = pixels.astype(np.float32).mean(axis=2)
    pairs = ((grey[:, 1:], grey[:, :-1]), (grey[1:], grey[:-1]))
    found = [_correlation(a, b) for a, b in pairs if a.size > 1]
    return bool(found) and max(found) < NOISE


def is_copy(pixels: np.ndarray, query: np.ndarray) -> bool:
    """Whether two (H, W, 3) uint8 pictures of one size are the same to the eye."""
    difference = pixels.astype(np.float32) - query.astype(np.float32)
    return bool(np.sqrt(np.square(difference).mean()) < COPY)


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a - a.mean(), b - b.mean()
    scale = math.sqrt(float(np.square(a).sum()) * float(np.square(b).sum()))
    return float((a * b).sum()) / scale if scale > 0 else 1.0
