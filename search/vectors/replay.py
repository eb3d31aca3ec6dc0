"""Bring a store up to date with the catalog, in pieces between which other work may run.

The generators here read the catalog. They yield tasks, which use the store. So the catalog is never
waited for on the inference thread: the caller advances a generator, and that thread runs its tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator
from functools import partial
from typing import TypeVar

from search.catalog.reads import CatalogReader
from search.catalog.writes import Space, chunks
from search.types import Vectors
from search.vectors.base import VectorStore

BLOCK = 2048
"""Vectors that one task stores."""
T = TypeVar("T")
Task = Callable[[], object]
Tasks = Generator[Task, None, T]
"""Tasks of about 100 ms at most, and the value that the generator returns."""
Run = Callable[[Task], object]
"""Runs a task and waits for its end, such as `Runtime.run`."""


def run_here(task: Task) -> None:
    """Run a task in the caller's thread."""
    task()


def run_all(tasks: Tasks[T], run: Run = run_here) -> T:
    """Advance a generator in the caller's thread, and run its tasks; return its value."""
    while True:
        try:
            task = next(tasks)
        except StopIteration as end:
            result: T = end.value
            return result
        run(task)


def as_tasks(pieces: Generator[object, None, T]) -> Tasks[T]:
    """Yield each piece of a computation as a task; return the value of the computation."""
    values: list[T] = []

    def run_piece() -> None:
        try:
            next(pieces)
        except StopIteration as end:
            values.append(end.value)

    while not values:
        yield run_piece
    return values[0]


def fill(store: VectorStore, reader: CatalogReader, space: Space) -> Tasks[None]:
    """Store all searchable vectors of the catalog in an empty store that nobody else uses."""
    # Read the cursor first: `replay` applies again what others write during the copy.
    store.cursor = reader.sequence(space)
    for row_ids, vectors in reader.iterate_vectors(space, BLOCK):
        yield partial(store.upsert, row_ids, vectors)


def replay(store: VectorStore, reader: CatalogReader, space: Space) -> Tasks[int]:
    """Apply the entries of the change log after `cursor`; return how many pictures they name.

    Only one caller at a time may replay into a store.
    """
    total = 0
    while True:  # in blocks, since after an outage the log may name every picture
        cursor, changed = reader.changed_since(space, store.cursor)
        if not changed:
            return total
        for row_ids in chunks(changed, BLOCK):
            present, vectors = reader.load_vectors(space, row_ids)
            yield partial(_apply, store, set(row_ids) - set(present), present, vectors)
        store.cursor, total = cursor, total + len(changed)


def _apply(
    store: VectorStore, deleted: Collection[int], ids: Collection[int], vectors: Vectors
) -> None:
    store.delete(deleted)
    store.upsert(ids, vectors)
