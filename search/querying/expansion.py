"""Query expansion by the library's own pictures."""

from __future__ import annotations

import numpy as np

from search.types import Vectors

ALPHA = 6.0
"""Power of the score that a neighbour counts with. Of 0, 1, 3 and 6 it is the one that costs least
where neighbours are of other kinds, and keeps most of the gain where they are not
(`scripts/bench diffusion-helps`)."""


def expand_vector(vector: Vectors, neighbours: Vectors, alpha: float = ALPHA) -> Vectors:
    """Add the nearest pictures to a query, each weighted by score^alpha (alpha query expansion,
    Radenovic, Tolias and Chum 2018, arXiv:1711.02512, section 3.3).

    vector: (dim,) of unit length. neighbours: (n, dim) of unit length; those that look away from
    the query count nothing. Returns (dim,) float32 of unit length.
    """
    rows = np.asarray(neighbours, np.float64)
    scores = (rows @ vector).clip(0, 1)
    weights = np.where(scores > 0, scores**alpha, 0.0)
    total = vector + weights @ rows
    expanded: Vectors = (total / np.linalg.norm(total)).astype(np.float32)
    return expanded
