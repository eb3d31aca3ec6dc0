"""The contracts of vector stores, and of what opens them for a library."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from search.catalog.writes import Space
from search.types import Vectors

RowIds = npt.NDArray[np.int64]
"""Ids of rows of the catalog's table of pictures, (n,)."""


class Neighbours(NamedTuple):
    """The answer to one query, best first. ids: (n,) row ids; scores: (n,) float32 cosines."""

    ids: RowIds
    scores: Vectors


class VectorStore(Protocol):
    """Finds the stored vectors that are nearest to a query, by their cosine.

    A store is a replica of the catalog: it holds one vector for each row id, and `cursor` names the
    last entry of the change log that is in it. It can be rebuilt from the catalog at any time.
    Vectors are float32 of unit length, so an inner product is a cosine. A store may round its
    vectors. Its scores then differ from the cosines by up to 0.02, so callers compute them again
    from the catalog's vectors (`search.catalog.reads.rescore`). Only one thread may use a store at
    a time, unless it is remote.

    remote: whether its methods wait for a server. Then they are called in the caller's thread, by
    any thread, and never on the inference thread; they raise StoreError when the server does not
    answer. dim: length of a vector. cursor: sequence number of the last applied entry of the change
    log, 0 for none; whoever applies entries sets it. `tests/search/vectors/test_store_contract.py`
    checks every implementation.
    """

    remote: bool
    dim: int
    cursor: int

    @property
    def count(self) -> int:
        """How many vectors are stored."""
        ...

    def ids(self) -> RowIds:
        """Return all stored row ids, ascending."""
        ...

    def upsert(self, ids: Collection[int], vectors: Vectors) -> None:
        """Store vectors, and replace those that have the same ids.

        ids: n different row ids, 0 or more each. vectors: (n, dim). Raises ValueError if an id is
        repeated or the shapes do not match; the store is unchanged then.
        """
        ...

    def delete(self, ids: Collection[int]) -> None:
        """Delete vectors. Unknown ids are ignored."""
        ...

    def search(
        self, vectors: Vectors, k: int, filter: Collection[int] | None = None
    ) -> list[Neighbours]:
        """Find the nearest stored vectors of each query.

        vectors: (q, dim) queries. k: 0 or more. filter: if given, only these row ids are searched;
        unknown ids are ignored. Returns one `Neighbours` a query, in the order of the queries. Each
        has min(k, searched vectors) ids; a store that rounds its vectors may return more, for the
        caller to rescore and cut. A batch returns what its queries return alone. Raises ValueError
        if the shape does not match.
        """
        ...


class StoreReplica(Protocol):
    """The store of one space of a library, and how it follows the catalog's change log.

    Threads may share it, but not the inference thread: the methods read the catalog in the caller's
    thread, and wait for tasks in which the inference thread uses the store.

    space: whose vectors it holds. rebuilt: it was built from the catalog and is not saved yet.
    """

    space: Space
    rebuilt: bool

    def refresh(self) -> VectorStore:
        """Apply new entries of the change log; return the store, for the inference thread to use.

        Call it before every search. Raises StoreError if the store is on a server that does not
        answer, and nothing can replace it.
        """
        ...

    def rebuild(self) -> VectorStore:
        """Build the store again from the catalog's vectors. The caller holds the write lock."""
        ...

    def is_intact(self) -> bool:
        """Return whether what is saved is as it was written; it may have to be read whole."""
        ...


class StoreManager(Protocol):
    """Opens, trains and saves the stores of a library, one for each space that serves.

    Threads may share it.
    """

    def replica(self, space: Space) -> StoreReplica:
        """Open the store of a space, or return the open one. Not on the inference thread.

        Opening one closes those of spaces that serve no longer.
        """
        ...

    def train(self, space: Space) -> bool:
        """Train what the size of the library requires, in short pieces between which queries run.

        Returns whether the store changed. Raises LibraryError if the library is closed meanwhile;
        nothing is lost then.
        """
        ...

    def save(self, space: Space) -> None:
        """Save the store unless the saved one is nearly as new. The caller holds the write lock.

        What the saved one lacks is replayed from the change log when it is opened.

        What is saved of spaces that serve no longer is deleted. Raises StorageError.
        """
        ...

    def status(self, space: Space | None) -> dict[str, Any]:
        """Return `kind`, the tier that answers, and `generation`, the last entry of the log.

        If a server does not answer, `problem` says why.
        """
        ...

    def close(self) -> None:
        """Close connections. The stores are not used afterwards."""
        ...


def check_upsert(ids: Collection[int], vectors: Vectors, dim: int) -> tuple[RowIds, Vectors]:
    """Return ids (n,) and contiguous float32 vectors (n, dim). Raises as `VectorStore.upsert`."""
    rows = np.fromiter(ids, np.int64, len(ids))
    if len(rows) != len(vectors):
        raise ValueError(f"{len(rows)} ids for {len(vectors)} vectors")
    if len(rows) and vectors.shape != (len(rows), dim):
        raise ValueError(f"vectors of shape {vectors.shape}, expected {(len(rows), dim)}")
    if len(np.unique(rows)) != len(rows):
        raise ValueError("an id is repeated; give each id once")
    return rows, np.ascontiguousarray(vectors, np.float32)


def check_queries(vectors: Vectors | Sequence[Vectors], dim: int) -> Vectors:
    """Return contiguous float32 queries (q, dim). Raises ValueError if the shape does not match."""
    queries = np.ascontiguousarray(vectors, np.float32)
    if queries.ndim != 2 or queries.shape[1] != dim:
        raise ValueError(f"queries of shape {queries.shape}, expected (q, {dim})")
    return queries


def no_neighbours() -> Neighbours:
    """Return the answer without any id."""
    return Neighbours(np.empty(0, np.int64), np.empty(0, np.float32))
