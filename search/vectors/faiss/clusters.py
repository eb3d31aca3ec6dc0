"""Clusters of unit vectors, made in pieces between which a query may go first."""

from __future__ import annotations

from collections.abc import Generator

from search.runtime import torch
from search.types import Vectors

PIECE = 2e9  # multiplications that take less than 100 ms on two cores


def kmeans(
    sample: Vectors, count: int, rounds: int = 10, seed: int = 0
) -> Generator[None, None, Vectors]:
    """(n, dim) unit vectors, n >= count -> (count, dim) unit centres, by spherical k-means.

    Each round gives every vector to the nearest centre and moves the centres to the middle of what
    they were given. A centre that was given nothing starts again at a vector.
    """
    points, random = torch.from_numpy(sample), torch.Generator().manual_seed(seed)
    step = max(1, int(PIECE / (count * points.shape[1])))
    centres = points[torch.randperm(len(points), generator=random)[:count]]
    for _ in range(rounds):
        sums, sizes = torch.zeros_like(centres), torch.zeros(count, dtype=torch.long)
        for part in torch.split(points, step):
            nearest = (part @ centres.T).argmax(1)
            sums.index_add_(0, nearest, part)
            sizes += torch.bincount(nearest, minlength=count)
            yield
        left = sizes == 0
        again = torch.randperm(len(points), generator=random)[: int(left.sum())]
        sums[left] = points[again]
        centres = torch.nn.functional.normalize(sums)
    result: Vectors = centres.numpy()
    return result
