"""The exact tier: a query is compared with every vector."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import numpy as np

from search.runtime import faiss
from search.types import Vectors
from search.vectors.base import Neighbours, RowIds, check_queries, no_neighbours
from search.vectors.faiss.index import FaissIndex, merge, threads_for
from search.vectors.faiss.snapshot import Array, Part, Snapshot
from search.vectors.faiss.tiers import Tier

BLOCK = 8192
"""Vectors that are merged at a time when a snapshot is written."""


class FlatIndex(FaissIndex):
    """Exact search over float32 vectors. Scores are exact cosines."""

    tier: Tier = "flat"

    def __init__(self, base_ids: RowIds, base: Vectors) -> None:
        """base_ids: (n,), ascending. base: (n, dim) contiguous, in the same order."""
        dim = base.shape[1]
        super().__init__(dim, base_ids, faiss.IndexIDMap2(faiss.IndexFlatIP(dim)))
        self._base = base

    @classmethod
    def empty(cls, dim: int) -> FlatIndex:
        """Return an index without vectors."""
        return cls(np.empty(0, np.int64), np.empty((0, dim), np.float32))

    def search(
        self, vectors: Vectors, k: int, filter: Collection[int] | None = None
    ) -> list[Neighbours]:
        """Find the nearest stored vectors of each query; exactly min(k, searched vectors)."""
        queries = check_queries(vectors, self.dim)
        if filter is None:
            k, positions, selected = min(k, self.count), None, None
        else:
            positions, added = self._select(filter)
            k, selected = min(k, len(positions) + len(added)), faiss.IDSelectorBatch(added)
        if k <= 0 or not len(queries):
            return [no_neighbours() for _ in queries]
        with threads_for(queries):
            answers = [self._search_base(queries, k, positions)]
            if self._delta_ids:
                parameters = faiss.SearchParameters(sel=selected)  # type: ignore[call-arg]
                answers.append(self._delta.search(queries, k, params=parameters))
        return merge(k, *answers)

    def parts(self) -> dict[str, Part]:
        """Return the arrays of a snapshot: `ids`, ascending, and `vectors`."""
        positions = np.delete(np.arange(len(self._base_ids)), self._deleted_positions())
        added: RowIds = faiss.vector_to_array(self._delta.id_map)
        rows = self._delta.index.reconstruct_n(0, len(added))
        ids = np.concatenate([self._base_ids[positions], added])
        order = np.argsort(ids)
        base = self._base

        def pieces() -> Iterator[Array]:
            for start in range(0, len(order), BLOCK):
                block = order[start : start + BLOCK]
                piece = np.empty((len(block), base.shape[1]), np.float32)
                old = block < len(positions)
                piece[old] = base[positions[block[old]]]
                piece[~old] = rows[block[~old] - len(positions)]
                yield piece

        return {
            "ids": Part.of(ids[order]),
            "vectors": Part("<f4", (len(order), self.dim), pieces()),
        }

    @classmethod
    def _restore(cls, snapshot: Snapshot) -> FlatIndex:
        ids, vectors = snapshot.parts["ids"], snapshot.parts["vectors"]
        if vectors.shape != (len(ids), snapshot.head["dim"]):
            raise ValueError("as many vectors as ids are needed")
        return cls(ids, vectors)

    def _search_base(self, queries: Vectors, k: int, positions: RowIds | None) -> tuple[Any, Any]:
        """Return the scores and ids of the best vectors of the base, (q, n) each.

        positions: that are searched; all that are not deleted if None.
        """
        total = len(self._base_ids) - len(self._deleted) if positions is None else len(positions)
        k = min(k, total)
        scores = np.empty((len(queries), k), np.float32)
        places = np.empty((len(queries), k), np.int64)
        if not k:
            return scores, places
        sizes = self.dim, len(queries)
        x, y = faiss.swig_ptr(queries), faiss.swig_ptr(self._base)
        out = faiss.swig_ptr(scores), faiss.swig_ptr(places)
        if positions is None:
            deleted = faiss.IDSelectorBatch(self._deleted_positions())
            selector = faiss.IDSelectorNot(deleted) if self._deleted else None
            faiss.knn_inner_product(x, y, *sizes, len(self._base), k, *out, selector)
        else:
            subset = faiss.swig_ptr(positions)
            faiss.knn_inner_products_by_idx(  # type: ignore[attr-defined]
                x, y, subset, *sizes, len(self._base), len(positions), k, *out, 0
            )
        return scores, self._base_ids[places]
