"""What the tiers over FAISS share: an index with ids, and its snapshot."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection
from typing import Any, Self

import numpy as np

from search.runtime import faiss
from search.types import Vectors
from search.vectors.base import Kind, RowIds
from search.vectors.faiss.snapshot import SnapshotError


class FaissIndex(ABC):
    """See `search.vectors.base.VectorIndex`."""

    kind: Kind
    HOLDS: type
    SAVED: tuple[str, ...] = ("sequence", "stamp", "made")

    def __init__(self, index: Any) -> None:
        """index: the FAISS one; it takes and removes vectors by id."""
        self.dim, self.sequence, self.stamp = int(index.d), 0, 0
        self.made = int(index.ntotal)
        self._index = index

    def __len__(self) -> int:
        return int(self._index.ntotal)

    @abstractmethod
    def numbers(self) -> RowIds:
        """All picture numbers in it, ascending."""

    @abstractmethod
    def search(self, query: Vectors, k: int, only: Collection[int] | None = None) -> RowIds:
        """As `VectorIndex.search`."""

    def replace(self, numbers: Collection[int], vectors: Vectors) -> None:
        """Add (n, dim) float32 vectors, in place of those of the same numbers."""
        if len(numbers) != len(vectors):
            raise ValueError(f"{len(numbers)} numbers for {len(vectors)} vectors")
        self.remove(numbers)
        if len(numbers):
            ids = np.fromiter(numbers, np.int64, len(numbers))
            self._index.add_with_ids(np.ascontiguousarray(vectors, np.float32), ids)

    def remove(self, numbers: Collection[int]) -> None:
        """Drop pictures; unknown numbers are ignored."""
        if len(numbers) and len(self):
            self._index.remove_ids(np.fromiter(numbers, np.int64, len(numbers)))

    def head(self) -> dict[str, Any]:
        """The head of a snapshot."""
        head = {"kind": self.kind, "dim": self.dim, "count": len(self)}
        return head | {name: getattr(self, name) for name in self.SAVED}

    def body(self) -> bytes:
        """The body of a snapshot."""
        return bytes(faiss.serialize_index(self._index))

    @classmethod
    def restore(cls, head: dict[str, Any], index: Any) -> Self:
        """From what a snapshot holds. Raises SnapshotError where it does not go together."""
        if not isinstance(index, cls.HOLDS) or any(name not in head for name in cls.SAVED):
            raise SnapshotError("head and body do not go together")
        self = cls(index)
        for name in cls.SAVED:
            setattr(self, name, int(head[name]))
        return self

    def _find(self, query: Vectors, k: int, parameters: Any) -> RowIds:
        """Row ids of up to k, best first."""
        rows = np.ascontiguousarray(query, np.float32).reshape(1, self.dim)
        found: RowIds = self._index.search(rows, k, params=parameters)[1][0]
        return found[found >= 0]
