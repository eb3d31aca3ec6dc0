"""Which variants pass: measured by how like each other strangers are under the same model."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from search.embedders.base import Vectors

SAME = 0.999  # cosine from which two pictures are one, and say nothing about strangers
SHARES: dict[str, tuple[float, float | None]] = {
    "near": (0.75, None),
    "same": (0.25, 0.99),
    "concept": (0.05, 0.95),
}
"""Of each regime: the share of pairs of strangers that are less alike than a variant and its query
must be, and the share of pictures whose nearest stranger is less alike than they may be."""


@dataclass(frozen=True)
class Bounds:
    """Cosines between which a variant passes. least: below it is a stranger; most: above it is a
    copy."""

    least: float
    most: float = math.inf

    def beyond(self, similarity: float) -> float:
        """How far from passing; 0 for what passes."""
        return max(self.least - similarity, similarity - self.most, 0.0)


def bounds(vectors: Vectors, regime: str) -> Bounds:
    """Of a regime, measured on (n, dim) unit vectors of pictures; where no two of them are
    strangers, all pass."""
    below, above = SHARES[regime]
    cosines = vectors @ vectors.T
    cosines[cosines > SAME] = np.nan
    np.fill_diagonal(cosines, np.nan)
    pairs = cosines[np.triu_indices(len(cosines), 1)]
    if np.isnan(pairs).all():
        return Bounds(-math.inf)
    least = float(np.nanquantile(pairs, below))
    if above is None:
        return Bounds(least)
    nearest = np.nanmax(cosines[~np.isnan(cosines).all(1)], 1)
    return Bounds(least, float(np.quantile(nearest, above)))
