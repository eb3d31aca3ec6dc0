"""The exact tier: every vector is looked at."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from search.runtime import faiss
from search.types import Vectors
from search.vectors.base import Kind, RowIds
from search.vectors.faiss.index import FaissIndex


class FlatIndex(FaissIndex):
    """Exact search over float32 vectors."""

    kind: Kind = "flat"
    HOLDS = faiss.IndexIDMap2

    @classmethod
    def empty(cls, dim: int) -> FlatIndex:
        """An index without vectors."""
        return cls(faiss.IndexIDMap2(faiss.IndexFlatIP(dim)))

    def numbers(self) -> RowIds:
        """All picture numbers in it, ascending."""
        result: RowIds = np.sort(self._ids())
        return result

    def remove(self, numbers: Collection[int]) -> None:
        """Drop pictures; unknown numbers are ignored."""
        ids = np.fromiter(numbers, np.int64, len(numbers))
        if np.isin(self._ids(), ids).any():  # removing none would cost as much as removing some
            super().remove(numbers)

    def search(self, query: Vectors, k: int, only: Collection[int] | None = None) -> RowIds:
        """As `VectorIndex.search`; exactly min(k, n)."""
        k = min(k, len(self) if only is None else len(only))
        if not k or not len(self):
            return np.empty(0, np.int64)
        if only is None:
            return self._find(query, k, None)
        ids = np.fromiter(only, np.int64, len(only))
        chosen = faiss.IDSelectorBatch(ids)
        return self._find(query, k, faiss.SearchParameters(sel=chosen))  # type: ignore[call-arg]

    def _ids(self) -> RowIds:
        ids: RowIds = faiss.vector_to_array(self._index.id_map)
        return ids
