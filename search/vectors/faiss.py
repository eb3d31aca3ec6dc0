"""The index over FAISS: an exact flat tier."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from search.embedders.base import Vectors
from search.runtime import faiss
from search.vectors import snapshot
from search.vectors.base import Numbers
from search.vectors.snapshot import SnapshotError

COUNTS = ("sequence", "stamp", "generation")


class FlatIndex:
    """Exact search over float32 vectors; see `search.vectors.base.VectorIndex`."""

    kind = "flat"

    def __init__(self, dim: int) -> None:
        self.dim, self.sequence, self.stamp, self.generation = dim, 0, 0, 0
        self._index: Any = faiss.IndexIDMap2(faiss.IndexFlatIP(dim))

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def numbers(self) -> Numbers:
        """All picture numbers in it, ascending."""
        result: Numbers = np.sort(faiss.vector_to_array(self._index.id_map))
        return result

    def replace(self, numbers: Collection[int], vectors: Vectors) -> None:
        """Add (n, dim) float32 vectors, in place of those of the same numbers."""
        if len(numbers) != len(vectors):
            raise ValueError(f"{len(numbers)} numbers for {len(vectors)} vectors")
        self.remove(numbers)
        if len(numbers):
            ids = np.fromiter(numbers, np.int64, len(numbers))
            self._index.add_with_ids(np.ascontiguousarray(vectors, np.float32), ids)
            self.generation += 1

    def remove(self, numbers: Collection[int]) -> None:
        """Drop pictures; unknown numbers are ignored."""
        ids = np.fromiter(numbers, np.int64, len(numbers))
        if len(ids) and len(self) and self._index.remove_ids(ids):
            self.generation += 1

    def search(
        self, query: Vectors, k: int, only: Collection[int] | None = None
    ) -> tuple[Vectors, Numbers]:
        """(dim,) float32 -> cosines and picture numbers of the min(k, n) nearest, best first."""
        k = min(k, len(self))
        if k == 0 or (only is not None and not only):
            return np.empty(0, np.float32), np.empty(0, np.int64)
        parameters = None
        if only is not None:
            ids = np.fromiter(only, np.int64, len(only))
            parameters = faiss.SearchParameters(sel=faiss.IDSelectorBatch(ids))  # type: ignore[call-arg]
        rows = np.ascontiguousarray(query, np.float32).reshape(1, self.dim)
        scores, numbers = self._index.search(rows, k, params=parameters)
        found = numbers[0] >= 0
        return scores[0][found], numbers[0][found]

    def save(self, path: Path) -> None:
        """Write a snapshot with its sequence and checksum; either all of it is there or none."""
        head = {"kind": self.kind, "dim": self.dim} | {n: getattr(self, n) for n in COUNTS}
        snapshot.write(path, head, faiss.serialize_index(self._index).tobytes())

    @classmethod
    def load(cls, path: Path, dim: int) -> FlatIndex:
        """Read a snapshot. Raises SnapshotError when it is not whole, or not of this length."""
        head, body = snapshot.read(path)
        if (head.get("kind"), head.get("dim")) != (cls.kind, dim):
            raise SnapshotError(f"{path} is of another kind or length of vectors")
        self = cls(dim)
        try:
            self.sequence, self.stamp, self.generation = (int(head[name]) for name in COUNTS)
            self._index = faiss.deserialize_index(np.frombuffer(body, np.uint8))
        except (KeyError, RuntimeError) as error:  # whole, but of another version
            raise SnapshotError(f"{path}: {error}") from error
        return self
