"""The exact tier: a query is compared with every vector."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from search.runtime import faiss
from search.types import Vectors
from search.vectors.base import Neighbours, RowIds, check_queries, no_neighbours
from search.vectors.faiss.index import FaissIndex
from search.vectors.faiss.tiers import Tier


class FlatIndex(FaissIndex):
    """Exact search over float32 vectors. Scores are exact cosines."""

    tier: Tier = "flat"
    FAISS_TYPE = faiss.IndexIDMap2

    @classmethod
    def empty(cls, dim: int) -> FlatIndex:
        """Return an index without vectors."""
        return cls(faiss.IndexIDMap2(faiss.IndexFlatIP(dim)))

    def ids(self) -> RowIds:
        """Return all stored row ids, ascending."""
        result: RowIds = np.sort(self._id_map())
        return result

    def delete(self, ids: Collection[int]) -> None:
        """Delete vectors. Unknown ids are ignored."""
        row_ids = np.fromiter(ids, np.int64, len(ids))
        # FAISS copies all vectors even when it removes none
        if np.isin(self._id_map(), row_ids).any():
            super().delete(ids)

    def search(
        self, vectors: Vectors, k: int, filter: Collection[int] | None = None
    ) -> list[Neighbours]:
        """Find the nearest stored vectors of each query; exactly min(k, searched vectors)."""
        queries = check_queries(vectors, self.dim)
        k = min(k, self.count if filter is None else len(filter))
        if not k or not self.count or not len(queries):
            return [no_neighbours() for _ in queries]
        if filter is None:
            return self._search_faiss(queries, k, None)
        selector = faiss.IDSelectorBatch(np.fromiter(filter, np.int64, len(filter)))
        parameters = faiss.SearchParameters(sel=selector)  # type: ignore[call-arg]
        return self._search_faiss(queries, k, parameters)

    def _id_map(self) -> RowIds:
        ids: RowIds = faiss.vector_to_array(self._index.id_map)
        return ids
