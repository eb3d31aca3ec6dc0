"""Spherical k-means, in pieces between which queries may run."""

from __future__ import annotations

from collections.abc import Generator

import numpy as np

from search.runtime import torch
from search.types import Vectors
from search.vectors.base import RowIds

PIECE = 2e9
"""Multiplications of one piece; they take less than 100 ms on two cores."""


def kmeans(
    sample: Vectors, count: int, rounds: int = 5, seed: int = 0
) -> Generator[None, None, Vectors]:
    """Return the (count, dim) unit centres of clusters. sample: (n, dim) unit vectors, n >= count.

    Each round assigns every vector to the nearest centre and moves each centre to the mean of its
    vectors. A centre without vectors restarts at a random vector.
    """

    points, random = torch.from_numpy(sample), torch.Generator().manual_seed(seed)
    step = max(1, int(PIECE / (count * points.shape[1])))
    centres = points[torch.randperm(len(points), generator=random)[:count]]
    buffer = torch.empty(min(step, len(points)), count)  # memory of changing size fragments
    for _ in range(rounds):
        sums, sizes = torch.zeros_like(centres), torch.zeros(count, dtype=torch.long)
        for part in torch.split(points, step):
            nearest = torch.mm(part, centres.T, out=buffer[: len(part)]).argmax(1)
            sums.index_add_(0, nearest, part)
            sizes += torch.bincount(nearest, minlength=count)
            yield
        empty = sizes == 0
        restarts = torch.randperm(len(points), generator=random)[: int(empty.sum())]
        sums[empty] = points[restarts]
        centres = torch.nn.functional.normalize(sums)
    result: Vectors = centres.numpy()
    return result


class Assigner:
    """Finds the nearest centre of vectors. centres: (count, dim). block: most vectors at once."""

    def __init__(self, centres: Vectors, block: int) -> None:
        self._centres = torch.from_numpy(centres).T
        self._scores = torch.empty(block, len(centres))

    def assign(self, vectors: Vectors) -> RowIds:
        """Return the number of the nearest centre of each vector, (n,)."""
        out = self._scores[: len(vectors)]
        result: RowIds = (
            torch.mm(torch.from_numpy(vectors), self._centres, out=out).argmax(1).numpy()
        )
        return result


class HeldOut:
    """Vectors that trained no cluster, and their nearest stored ones: what outside queries are.

    Vectors of the training sample lie nearer to their centre than a query from outside does, so
    that fewer clusters seem enough for them.
    """

    def __init__(self, ids: RowIds, queries: Vectors, most: int) -> None:
        """ids, queries: (q,) and (q, dim), as stored. most: how many neighbours are kept."""
        self._ids, self._queries, self._most = torch.from_numpy(ids), queries, most
        self._scores = torch.full((len(ids), 0), -1.0)
        self._clusters = torch.zeros((len(ids), 0), dtype=torch.long)

    def add(self, ids: RowIds, vectors: Vectors, clusters: RowIds) -> None:
        """Compare the queries with stored vectors: ids and clusters (n,), vectors (n, dim)."""
        scores = torch.from_numpy(self._queries) @ torch.from_numpy(vectors).T
        scores[self._ids[:, None] == torch.from_numpy(ids)] = -2.0  # a query is not its neighbour
        best = scores.topk(min(self._most, len(ids)), 1)
        scores = torch.cat([self._scores, best.values], 1)
        numbers = torch.cat([self._clusters, torch.from_numpy(clusters)[best.indices]], 1)
        best = scores.topk(min(self._most, scores.shape[1]), 1)
        self._scores, self._clusters = best.values, numbers.gather(1, best.indices)

    def count_probes(self, centres: Vectors, k: int, coverage: float) -> int:
        """Return how many of the nearest clusters contain a share of the k nearest vectors.

        coverage: that share, over all queries.
        """
        order = (torch.from_numpy(self._queries) @ torch.from_numpy(centres).T).argsort(
            1, descending=True
        )
        ranks = order.argsort(1).gather(1, self._clusters[:, :k])[self._scores[:, :k] > -2.0]
        if not len(ranks):
            return 1
        return 1 + int(np.ceil(np.quantile(ranks.numpy(), coverage)))
