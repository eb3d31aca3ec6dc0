"""Bring a store up to date with the catalog, in pieces between which other work may run."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

from search.catalog.reads import CatalogReader
from search.catalog.writes import Space, chunks
from search.vectors.base import VectorStore

BLOCK = 2048
"""Vectors that one piece reads and stores."""
Pieces = Generator[None, None, None]
T = TypeVar("T")


def run_all(pieces: Generator[None, None, T]) -> T:
    """Run all pieces of a generator at once; return its value."""
    while True:
        try:
            next(pieces)
        except StopIteration as end:
            result: T = end.value
            return result


def fill(store: VectorStore, reader: CatalogReader, space: Space) -> Pieces:
    """Store all searchable vectors of the catalog in an empty store."""
    # Read the cursor first: `replay` applies again what others write during the copy.
    store.cursor = reader.sequence(space)
    for row_ids, vectors in reader.iterate_vectors(space, BLOCK):
        store.upsert(row_ids, vectors)
        yield


def replay(store: VectorStore, reader: CatalogReader, space: Space) -> Generator[None, None, int]:
    """Apply the entries of the change log after `cursor`; return how many pictures they name."""
    cursor, changed = reader.changed_since(space, store.cursor)
    for row_ids in chunks(changed, BLOCK):
        present, vectors = reader.load_vectors(space, row_ids)
        store.delete(set(row_ids) - set(present))
        store.upsert(present, vectors)
        yield
    store.cursor = cursor
    return len(changed)
