"""What the tiers over FAISS share: an index with ids, and its snapshot."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any, Self

import numpy as np

from search.runtime import faiss
from search.types import Vectors
from search.vectors.base import Neighbours, RowIds, check_upsert
from search.vectors.faiss.snapshot import SnapshotError
from search.vectors.faiss.tiers import Tier


class FaissIndex(ABC):
    """See `search.vectors.base.VectorStore`.

    tier: how it searches. cursor_stamp: the stamp of the log entry at `cursor`, when the index was
    saved. trained_count: how many vectors it was trained for.
    """

    tier: Tier
    FAISS_TYPE: type
    HEAD_KEYS: Mapping[str, str] = MappingProxyType(
        {"cursor": "sequence", "cursor_stamp": "stamp", "trained_count": "made"}
    )
    """Attributes of whole numbers -> their keys in the head of a snapshot. The keys are never
    renamed, so that existing snapshots stay readable."""

    def __init__(self, index: Any) -> None:
        """index: of FAISS; it must add and remove vectors by id."""
        self.dim, self.cursor, self.cursor_stamp = int(index.d), 0, 0
        self.trained_count = int(index.ntotal)
        self._index = index

    @property
    def count(self) -> int:
        """How many vectors are stored."""
        return int(self._index.ntotal)

    @abstractmethod
    def ids(self) -> RowIds:
        """Return all stored row ids, ascending."""

    @abstractmethod
    def search(
        self, vectors: Vectors, k: int, filter: Collection[int] | None = None
    ) -> list[Neighbours]:
        """Find the nearest stored vectors of each query."""

    def upsert(self, ids: Collection[int], vectors: Vectors) -> None:
        """Store vectors, and replace those that have the same ids."""
        row_ids, rows = check_upsert(ids, vectors, self.dim)
        self.delete(ids)
        if len(row_ids):
            self._index.add_with_ids(rows, row_ids)

    def delete(self, ids: Collection[int]) -> None:
        """Delete vectors. Unknown ids are ignored."""
        if len(ids) and self.count:
            self._index.remove_ids(np.fromiter(ids, np.int64, len(ids)))

    def head(self) -> dict[str, Any]:
        """Return the head of a snapshot: the tier (`kind`), `dim`, `count` and `HEAD_KEYS`."""
        head = {"kind": self.tier, "dim": self.dim, "count": self.count}
        return head | {key: getattr(self, name) for name, key in self.HEAD_KEYS.items()}

    def body(self) -> bytes:
        """Return the body of a snapshot."""
        return bytes(faiss.serialize_index(self._index))

    @classmethod
    def restore(cls, head: dict[str, Any], index: Any) -> Self:
        """Return the index of a snapshot. Raises SnapshotError if head and body do not match."""
        if not isinstance(index, cls.FAISS_TYPE) or set(cls.HEAD_KEYS.values()) - set(head):
            raise SnapshotError("the head and the body of the snapshot do not match")
        self = cls(index)
        for name, key in cls.HEAD_KEYS.items():
            setattr(self, name, int(head[key]))
        return self

    def _search_faiss(self, queries: Vectors, k: int, parameters: Any) -> list[Neighbours]:
        """Search with parameters of FAISS. queries: (q, dim) contiguous; k: at least 1."""
        scores, ids = self._index.search(queries, k, params=parameters)
        # FAISS fills rows with the id -1 when it finds fewer than k
        return [
            Neighbours(row[row >= 0], some[row >= 0]) for row, some in zip(ids, scores, strict=True)
        ]
