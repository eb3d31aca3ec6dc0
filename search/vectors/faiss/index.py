"""What the tiers over FAISS share: a base that is mapped from a snapshot, and what changed since.

The base is never written. A vector that is added or replaced goes to the `delta`, an index in
memory; one that is deleted or replaced in the base is left out of every answer. So a change costs
as much as it changes, however many vectors there are. Saving a snapshot merges the two.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, Self

import numpy as np

from search.runtime import faiss
from search.types import Vectors
from search.vectors.base import Neighbours, RowIds, check_upsert
from search.vectors.faiss.snapshot import Part, Snapshot, SnapshotError
from search.vectors.faiss.tiers import Tier


class FaissIndex(ABC):
    """See `search.vectors.base.VectorStore`.

    tier: how it searches. cursor_stamp: the stamp of the log entry at `cursor`, when the index was
    saved. trained_count: how many vectors it was trained for.
    """

    remote = False
    tier: Tier
    HEAD_KEYS: Mapping[str, str] = MappingProxyType(
        {"cursor": "sequence", "cursor_stamp": "stamp", "trained_count": "made"}
    )
    """Attributes of whole numbers -> their keys in the head of a snapshot. The keys are never
    renamed, so that existing snapshots stay readable."""

    def __init__(self, dim: int, base_ids: RowIds, delta: Any) -> None:
        """base_ids: of the base, ascending. delta: an empty index of FAISS that adds and removes
        vectors by id."""
        self.dim, self.cursor, self.cursor_stamp = dim, 0, 0
        self.trained_count = len(base_ids)
        self._base_ids, self._delta, self._delta_ids = base_ids, delta, set[int]()
        self._deleted = set[int]()  # positions in `base_ids`
        self._deleted_array: RowIds | None = None

    @property
    def count(self) -> int:
        """How many vectors are stored."""
        return len(self._base_ids) - len(self._deleted) + len(self._delta_ids)

    @property
    def changes(self) -> int:
        """How many vectors were added, replaced or deleted since the base was written."""
        return len(self._deleted) + len(self._delta_ids)

    def ids(self) -> RowIds:
        """Return all stored row ids, ascending."""
        base_ids = np.delete(self._base_ids, self._deleted_positions())
        added = np.fromiter(self._delta_ids, np.int64, len(self._delta_ids))
        result: RowIds = np.sort(np.concatenate([base_ids, added])).astype(np.int64)
        return result

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
            self._delta.add_with_ids(rows, row_ids)
            self._delta_ids.update(row_ids.tolist())

    def delete(self, ids: Collection[int]) -> None:
        """Delete vectors. Unknown ids are ignored."""
        row_ids = np.fromiter(ids, np.int64, len(ids))
        if len(positions := self._find_in_base(row_ids)):
            self._deleted.update(positions.tolist())
            self._deleted_array = None
        if added := self._delta_ids.intersection(row_ids.tolist()):
            self._delta.remove_ids(np.fromiter(added, np.int64, len(added)))
            self._delta_ids -= added

    def head(self) -> dict[str, Any]:
        """Return the head of a snapshot: the tier (`kind`), `dim`, `count` and `HEAD_KEYS`."""
        head = {"kind": self.tier, "dim": self.dim, "count": self.count}
        return head | {key: getattr(self, name) for name, key in self.HEAD_KEYS.items()}

    @abstractmethod
    def parts(self) -> dict[str, Part]:
        """Return the arrays of a snapshot. They stay as they are while the index changes."""

    @classmethod
    def restore(cls, snapshot: Snapshot) -> Self:
        """Return the index of a snapshot. Raises SnapshotError if head and arrays do not match."""
        try:
            self = cls._restore(snapshot)
            for name, key in cls.HEAD_KEYS.items():
                setattr(self, name, int(snapshot.head[key]))
        except (KeyError, ValueError, TypeError) as error:
            raise SnapshotError("the head and the arrays of the snapshot do not match") from error
        return self

    @classmethod
    @abstractmethod
    def _restore(cls, snapshot: Snapshot) -> Self:
        """Return an index over the arrays of a snapshot; `restore` sets what the head has."""

    def _find_in_base(self, row_ids: RowIds) -> RowIds:
        """Return the positions in the base of those row ids that it has, deleted ones too."""
        if not len(self._base_ids):
            return np.empty(0, np.int64)
        places = np.searchsorted(self._base_ids, row_ids)
        places[places == len(self._base_ids)] = 0
        present: RowIds = places[self._base_ids[places] == row_ids].astype(np.int64)
        return present

    def _select(self, filter: Collection[int]) -> tuple[RowIds, RowIds]:
        """Return what is stored of a filter: positions in the base, and row ids in the delta."""
        row_ids = np.asarray(filter if isinstance(filter, np.ndarray) else [*filter], np.int64)
        if (np.diff(row_ids) <= 0).any():
            row_ids = np.unique(row_ids)
        positions = self._find_in_base(row_ids)
        if self._deleted:
            positions = positions[~np.isin(positions, self._deleted_positions())]
        if not self._delta_ids:
            return positions, np.empty(0, np.int64)
        delta = np.fromiter(self._delta_ids, np.int64, len(self._delta_ids))
        return positions, np.intersect1d(delta, row_ids, assume_unique=True)

    def _deleted_positions(self) -> RowIds:
        """Return the positions in the base of what was deleted, ascending."""
        if self._deleted_array is None:
            self._deleted_array = np.fromiter(sorted(self._deleted), np.int64, len(self._deleted))
        return self._deleted_array


@contextmanager
def threads_for(queries: Vectors) -> Iterator[None]:
    """Within, FAISS uses one thread for a single query, which two only slow down."""
    before = faiss.omp_get_max_threads()
    if len(queries) == 1:
        faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def merge(k: int, *answers: tuple[Any, Any]) -> list[Neighbours]:
    """Merge the answers of several indexes to the same queries.

    answers: scores and ids, (q, n) each, of FAISS, which fills rows with the id -1. Returns at most
    k neighbours a query.
    """
    scores = np.concatenate([one[0] for one in answers], 1)
    ids = np.concatenate([one[1] for one in answers], 1)
    scores = np.where(ids >= 0, scores, -np.inf)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    scores, ids = np.take_along_axis(scores, order, 1), np.take_along_axis(ids, order, 1)
    return [
        Neighbours(row[row >= 0].astype(np.int64), some[row >= 0].astype(np.float32))
        for row, some in zip(ids, scores, strict=True)
    ]
