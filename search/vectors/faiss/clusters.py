"""Spherical k-means, in pieces between which queries may run."""

from __future__ import annotations

from collections.abc import Generator

from search.types import Vectors

PIECE = 2e9
"""Multiplications of one piece; they take less than 100 ms on two cores."""


def kmeans(
    sample: Vectors, count: int, rounds: int = 10, seed: int = 0
) -> Generator[None, None, Vectors]:
    """Return the (count, dim) unit centres of clusters. sample: (n, dim) unit vectors, n >= count.

    Each round assigns every vector to the nearest centre and moves each centre to the mean of its
    vectors. A centre without vectors restarts at a random vector.
    """
    from search.runtime import torch  # which only building clusters needs

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
        empty = sizes == 0
        restarts = torch.randperm(len(points), generator=random)[: int(empty.sum())]
        sums[empty] = points[restarts]
        centres = torch.nn.functional.normalize(sums)
    result: Vectors = centres.numpy()
    return result
