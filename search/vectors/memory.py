"""A store in memory, exact and simple: the reference that other stores are compared with."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from search.catalog.reads import CatalogReader
from search.catalog.writes import Space
from search.types import Vectors
from search.vectors.base import (
    Neighbours,
    RowIds,
    VectorStore,
    check_queries,
    check_upsert,
    no_neighbours,
)
from search.vectors.replay import Run, fill, replay, run_all, run_here

if TYPE_CHECKING:
    from search.runtime import Runtime


class MemoryStore:
    """See `search.vectors.base.VectorStore`. Scores are exact cosines."""

    remote = False

    def __init__(self, dim: int) -> None:
        """dim: length of a vector."""
        self.dim, self.cursor = dim, 0
        self._rows: dict[int, Vectors] = {}

    @property
    def count(self) -> int:
        """How many vectors are stored."""
        return len(self._rows)

    def ids(self) -> RowIds:
        """Return all stored row ids, ascending."""
        return np.array(sorted(self._rows), np.int64)

    def upsert(self, ids: Collection[int], vectors: Vectors) -> None:
        """Store vectors, and replace those that have the same ids."""
        row_ids, rows = check_upsert(ids, vectors, self.dim)
        self._rows |= dict(zip(row_ids.tolist(), rows.copy(), strict=True))

    def delete(self, ids: Collection[int]) -> None:
        """Delete vectors. Unknown ids are ignored."""
        for row_id in ids:
            self._rows.pop(int(row_id), None)

    def search(
        self, vectors: Vectors, k: int, filter: Collection[int] | None = None
    ) -> list[Neighbours]:
        """Find the nearest stored vectors of each query."""
        queries = check_queries(vectors, self.dim)
        ids = self.ids() if filter is None else np.intersect1d(self.ids(), list(filter))
        if not len(ids):
            return [no_neighbours() for _ in queries]
        stored = np.stack([self._rows[row_id] for row_id in ids.tolist()])
        answers = []
        for query in queries:  # one by one, so that a score does not depend on the batch
            scores = stored @ query
            order = np.argsort(-scores, kind="stable")[:k]
            answers.append(Neighbours(ids[order].astype(np.int64), scores[order]))
        return answers


class MemoryReplica:
    """See `search.vectors.base.StoreReplica`. Nothing is saved, so every process fills its own."""

    def __init__(self, reader: CatalogReader, space: Space, run: Run = run_here) -> None:
        """run: runs a task on the inference thread and waits for its end."""
        self.space, self.rebuilt = space, False
        self._reader, self._run, self._lock = reader, run, threading.RLock()
        self._store = self.rebuild()

    def refresh(self) -> VectorStore:
        """Apply new entries of the change log; return the store."""
        with self._lock:
            run_all(replay(self._store, self._reader, self.space), self._run)
            return self._store

    def rebuild(self) -> VectorStore:
        """Build the store again from the catalog's vectors."""
        store = MemoryStore(self.space.dim)
        with self._lock:
            run_all(fill(store, self._reader, self.space), self._run)
            self._store = store
            return store

    def is_intact(self) -> bool:
        """Return True: nothing is saved."""
        return True


class MemoryManager:
    """See `search.vectors.base.StoreManager`."""

    def __init__(
        self, reader: CatalogReader, runtime: Callable[[], Runtime], folder: Path, tier: str
    ) -> None:
        """reader: of the catalog. runtime: as `IndexManager` takes it. The other arguments are not
        used: nothing is saved or trained."""
        self._reader, self._runtime = reader, runtime
        self._replicas: dict[int, MemoryReplica] = {}
        self._opening = threading.Lock()

    def replica(self, space: Space) -> MemoryReplica:
        """Open the store of a space, or return the open one."""
        with self._opening:
            if space.id not in self._replicas:
                serving = {one.id for one in self._reader.spaces()}
                for key in set(self._replicas) - serving:
                    del self._replicas[key]
                run = partial(self._runtime().run, urgent=True)
                self._replicas[space.id] = MemoryReplica(self._reader, space, run)
            return self._replicas[space.id]

    def train(self, space: Space) -> bool:
        """Return False: there is nothing to train."""
        return False

    def save(self, space: Space) -> None:
        """Do nothing: the store is filled again when it is opened."""

    def status(self, space: Space | None) -> dict[str, Any]:
        """Return `kind`, which is "memory", and `generation`, the last entry of the log."""
        return {"kind": "memory", "generation": self._reader.sequence(space) if space else 0}

    def close(self) -> None:
        """Do nothing: there are no connections."""
