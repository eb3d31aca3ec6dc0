"""Pairs of near vectors of a space, in a derived file that follows the catalog's change log.

A block of vectors is compared with all others by matrix products, so memory holds one block, and no
vector store is needed. Pictures with the same pixels are compared once, and blank ones never: all
blank pictures have much the same vector. After a change, only the changed pictures are compared
with the others. The file can be deleted at any time; it is made again.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from search import files
from search.catalog.reads import CatalogReader
from search.catalog.traits import list_representatives
from search.catalog.writes import Space
from search.types import RowIds, Vectors
from search.vectors.replay import Run, run_here

FORMAT = "2"
"""Of the file, and of how pictures are measured."""
FLOOR = 0.85
"""Cosine below which no pair is kept."""
NEAREST = 100
"""Pairs of a picture with later ones that are kept at most, the nearest ones."""
ROWS = 16_384
"""Vectors that are compared with all others in one pass over the catalog."""
COLUMNS, PIECE = 4096, 1024
"""Vectors that one matrix product compares, PIECE with COLUMNS: 4.3 GFLOP at 512 components."""
VECTORS = 0.5
"""Share of the work that comparing vectors counts as."""
MEASURED = 1024
"""Pairs that are measured at once."""
MOST_HELD = 5_000_000
"""Pairs of one block that are held before the farthest are dropped."""


Measure = Callable[[RowIds, RowIds], Vectors]
"""Returns how far the pictures of pairs differ, by their row ids; NaN for what cannot be read."""


class Pairs(NamedTuple):
    """Near pairs. rows: (n,) row ids of the pictures that were compared, ascending. left, right:
    (m,) row ids, left < right. scores: (m,) cosines. differences: (m,) of what `Measure` returns.
    """

    rows: RowIds
    left: RowIds
    right: RowIds
    scores: Vectors
    differences: Vectors

    @classmethod
    def none(cls) -> Pairs:
        """Return no pairs of no pictures."""
        empty = np.empty(0, np.int64)
        return cls(empty, empty, empty, *(np.empty(0, np.float32) for _ in range(2)))

    def select(self, is_chosen: np.ndarray) -> Pairs:
        """Return the pairs of a mask (m,), of the same pictures."""
        return Pairs(self.rows, *(part[is_chosen] for part in self[1:]))


class State(NamedTuple):
    """What was compared. cursor: last entry of the change log that is in it; -1 for none.
    is_complete: all pictures of that time are."""

    pairs: Pairs
    cursor: int
    is_complete: bool


class PairFinder:
    """Finds the near pairs of a space. Threads may share it.

    A run of `update` that ends early loses at most one block of comparisons. Two at once do the
    same work, and the one that ends last counts.
    """

    def __init__(
        self,
        reader: CatalogReader,
        space: Space,
        folder: Path,
        measure: Measure,
        run: Run = run_here,
        floor: float = FLOOR,
        rows: int = ROWS,
    ) -> None:
        """reader: of the whole library. folder: of the file. run: runs a task on the inference
        thread; measure is called in the caller's. floor: least cosine of a pair. rows: vectors of
        one block."""
        self._reader, self._space, self._run, self._measure = reader, space, run, measure
        self._floor, self._rows = floor, rows
        self.path = folder / f"{reader.library()[:8]}-{space.fingerprint}.pairs"
        self._state = self._load() or State(Pairs.none(), -1, False)

    @property
    def pairs(self) -> Pairs:
        """The pairs of what was compared so far."""
        return self._state.pairs

    @property
    def version(self) -> Hashable:
        """Another value for other pairs."""
        return self._state.cursor, self._state.is_complete, len(self._state.pairs.rows)

    def count_pending(self) -> int:
        """Return how many pictures are to be compared with the others."""
        state = self._state
        if state.is_complete and state.cursor == self._reader.sequence(self._space):
            return 0
        return len(self._plan(state)[1])

    def update(self) -> Iterator[tuple[int, int]]:
        """Compare what was not compared yet. Yields how many of how many pictures are done."""
        # read first: what is written meanwhile is compared by the next update
        state, cursor = self._state, self._reader.sequence(self._space)
        if state.is_complete and state.cursor == cursor:
            return
        valid, new = self._plan(state)
        old = state.pairs
        parts = [old.select(np.isin(old.left, valid) & np.isin(old.right, valid))]
        for start in range(0, len(new), self._rows):
            block = new[start : start + self._rows]
            yield start, len(new)
            for share, pairs in self._compare(block, valid, new[start:]):
                if pairs is not None:
                    parts.append(pairs)
                else:
                    yield start + int(share * len(block)), len(new)
            done = np.union1d(valid, new[: start + len(block)])
            is_last = start + len(block) >= len(new)
            self._adopt(done, parts, cursor, is_last)
        if not len(new):
            self._adopt(valid, parts, cursor, True)
        yield len(new), len(new)

    def _plan(self, state: State) -> tuple[RowIds, RowIds]:
        """Return the row ids that were compared and are as they were, and those that are new."""
        current = list_representatives(self._reader, self._space)
        changed, cursor = set[int](), state.cursor
        if cursor < 0:
            return np.empty(0, np.int64), current
        while True:
            cursor, some = self._reader.changed_since(self._space, cursor)
            if not some:
                break
            changed |= some
        valid = np.intersect1d(state.pairs.rows, current, assume_unique=True)
        valid = np.setdiff1d(valid, np.fromiter(changed, np.int64, len(changed)))
        return valid, np.setdiff1d(current, valid, assume_unique=True)

    def _compare(
        self, block: RowIds, valid: RowIds, others: RowIds
    ) -> Iterator[tuple[float, Pairs | None]]:
        """Compare a block with what was compared before and with itself and later ones.

        others: the block and the later ones, ascending. Yields the share of the work that is done;
        the last one has the pairs.
        """
        present, loaded = self._reader.load_vectors(self._space, block.tolist())
        order = np.argsort(present)
        ids, vectors = np.asarray(present, np.int64)[order], loaded[order]
        del loaded
        after = 0 if len(valid) else int(others[0]) - 1
        last, held = int(max(others[-1], valid[-1] if len(valid) else 0)), 0
        parts = list[tuple[RowIds, RowIds, Vectors]]()
        products = np.empty(PIECE * COLUMNS, np.float32)  # new memory costs a third of the time
        for some_ids, columns in self._reader.iterate_vectors(self._space, COLUMNS, after):
            numbers = np.asarray(some_ids, np.int64)
            is_valid, is_later = np.isin(numbers, valid), np.isin(numbers, others)
            chosen = is_valid | is_later
            numbers, is_valid, columns = numbers[chosen], is_valid[chosen], columns[chosen]
            for start in range(0, len(ids) if len(numbers) else 0, PIECE):
                part = slice(start, start + PIECE)
                sides = ids[part], vectors[part], numbers, columns
                pairs = self._multiply(*sides, is_valid, products)
                parts.append(pairs)
                held += len(pairs[0])
                if held > MOST_HELD:
                    parts = [keep_nearest(*_join(parts))]
                    held = len(parts[0][0])
            if some_ids:
                yield VECTORS * min(1.0, some_ids[-1] / max(1, last)), None
        if not parts:
            return
        left, right, scores = keep_nearest(*_join(parts))
        differences = np.full(len(left), np.nan, np.float32)
        for start in range(0, len(left), MEASURED):
            some = slice(start, start + MEASURED)
            differences[some] = self._measure(left[some], right[some])
            yield VECTORS + (1 - VECTORS) * start / len(left), None
        first, second = np.minimum(left, right), np.maximum(left, right)
        yield 1.0, Pairs(ids, first, second, scores, differences)

    def _multiply(
        self,
        ids: RowIds,
        rows: Vectors,
        others: RowIds,
        columns: Vectors,
        is_valid: np.ndarray,
        products: Vectors,
    ) -> tuple[RowIds, RowIds, Vectors]:
        """Return the pairs of two blocks, each once: row ids of both, and scores. products: memory
        to compute in."""
        answers = list[tuple[RowIds, RowIds, Vectors]]()

        def multiply() -> None:
            scores = products[: len(rows) * len(columns)].reshape(len(rows), len(columns))
            np.matmul(rows, columns.T, out=scores)
            i, j = np.nonzero(scores >= self._floor)
            is_new = is_valid[j] | (others[j] > ids[i])
            i, j = i[is_new], j[is_new]
            answers.append((ids[i], others[j], np.minimum(scores[i, j], 1.0)))

        self._run(multiply)
        return answers[0]

    def _adopt(self, rows: RowIds, parts: list[Pairs], cursor: int, is_complete: bool) -> None:
        """Answer with other pairs from now on, and save them unless the disk refuses."""
        columns = zip(*(one[1:] for one in parts), strict=True)
        pairs = Pairs(rows, *map(np.concatenate, columns))
        self._state = State(pairs, cursor, is_complete)  # at once, for other threads
        head = {
            "format": FORMAT,
            "floor": repr(self._floor),
            "cursor": str(cursor),
            "stamp": str(self._reader.stamp(self._space, cursor)),
            "complete": str(int(is_complete)),
        }
        with suppress(OSError):  # it is only made again
            files.write(self.path, save(pairs._asdict(), head))

    def _load(self) -> State | None:
        """Read the file; None if it is missing, damaged, or of another catalog."""
        with suppress(OSError, SafetensorError, KeyError, ValueError):
            with safe_open(self.path, "numpy") as file:
                head = file.metadata() or {}
                cursor = int(head["cursor"])
                same = head["format"] == FORMAT and float(head["floor"]) == self._floor
                if same and int(head["stamp"]) == self._reader.stamp(self._space, cursor):
                    pairs = Pairs(*(file.get_tensor(name) for name in Pairs._fields))
                    return State(pairs, cursor, head["complete"] == "1")
        return None


def _join(parts: Sequence[tuple[RowIds, RowIds, Vectors]]) -> tuple[RowIds, RowIds, Vectors]:
    left, right, scores = zip(*parts, strict=True)
    return np.concatenate(left), np.concatenate(right), np.concatenate(scores)


def keep_nearest(
    left: RowIds, right: RowIds, scores: Vectors, most: int = NEAREST
) -> tuple[RowIds, RowIds, Vectors]:
    """Return the pairs without those of a left picture that has `most` nearer ones."""
    order = np.lexsort((right, -scores, left))
    left, right, scores = left[order], right[order], scores[order]
    starts = np.flatnonzero(np.r_[True, left[1:] != left[:-1]]) if len(left) else left
    sizes = np.diff(np.r_[starts, len(left)])
    near = np.arange(len(left)) - np.repeat(starts, sizes) < most
    return left[near], right[near], scores[near]
