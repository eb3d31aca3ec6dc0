"""The index that a library answers from: a snapshot, kept up with the catalog's change log."""

from __future__ import annotations

import math
from collections.abc import Generator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from search.catalog.reads import CatalogReader
from search.catalog.writes import Model, chunks
from search.runtime import faiss
from search.vectors.base import LARGE, VectorIndex, outgrown, wanted
from search.vectors.faiss import snapshot
from search.vectors.faiss.flat import FlatIndex
from search.vectors.faiss.ivf import IvfIndex
from search.vectors.faiss.snapshot import SnapshotError

BLOCK = 2048  # vectors read and added in one piece
SAMPLE = 40  # vectors for each cluster that clusters are made from
QUERIES = 256  # stored vectors that new clusters are tried with

Pieces = Generator[None, None, None]
T = TypeVar("T")


def load(path: Path, dim: int) -> FlatIndex | IvfIndex:
    """Read a snapshot. Raises SnapshotError when it is not whole, or not of vectors like these."""
    head, body = snapshot.read(path)
    if head.get("kind") not in ("flat", "ivf") or head.get("dim") != dim:
        raise SnapshotError(f"{path} is of another kind or length of vectors")
    try:
        index = faiss.deserialize_index(np.frombuffer(body, np.uint8))
        return (FlatIndex if head["kind"] == "flat" else IvfIndex).restore(head, index)
    except RuntimeError as error:  # whole, but of another version
        raise SnapshotError(f"{path}: {error}") from error


def finish(pieces: Generator[None, None, T]) -> T:
    """Do all pieces of some work at once."""
    while True:
        try:
            next(pieces)
        except StopIteration as end:
            result: T = end.value
            return result


class IndexReplica:
    """For the inference thread. Any process may have written to the catalog since the last look,
    so `refresh` comes before every search. rebuilt: made from the catalog and not saved yet."""

    def __init__(
        self,
        reader: CatalogReader,
        model: Model,
        folder: Path,
        tier: str = "auto",
        large: int = LARGE,
    ) -> None:
        """folder: of the snapshots. A missing, torn or foreign one is made anew from the
        catalog's vectors; nothing is embedded. tier, large: as `wanted` takes them."""
        self._reader, self.model, self._tier, self._large = reader, model, tier, large
        self.path = folder / snapshot.name(reader.library(), model.fingerprint)
        found = self._load()
        self.rebuilt = found is None
        self.index: VectorIndex = finish(self._flat()) if found is None else found

    def refresh(self) -> VectorIndex:
        """Apply what the change log has gained."""
        finish(self._apply(self.index))
        return self.index

    def rebuild(self) -> VectorIndex:
        """A new index of all searchable vectors in the catalog, of the tier that takes no
        training; the snapshot is not believed any more. The caller holds the write lock."""
        self.path.unlink(missing_ok=True)
        self.index, self.rebuilt = finish(self._flat()), True
        return self.index

    def fit(self) -> Pieces:
        """Bring the index to the tier that suits its size, if it is of another one or has outgrown
        its clusters. It answers as it was until the new one is there; given up midway, nothing is
        lost. Each piece takes 100 ms or so."""
        index = self.refresh()
        kind = wanted(self._tier, index.kind, len(index), self._large)
        if kind == index.kind and not outgrown(kind, len(index), index.made):
            return
        made = snapshot.head(self.path).get("kind") == kind  # by another process, meanwhile
        new = self._load() if made else None
        if new is None or outgrown(kind, len(index), new.made):
            new = yield from (self._flat() if kind == "flat" else self._ivf(index))
        while (yield from self._apply(new)) > BLOCK:  # what came meanwhile
            pass
        self.index = new

    def unsaved(self) -> tuple[dict[str, Any], bytes] | None:
        """Head and body of a snapshot, unless the one on disk is as new."""
        index = self.refresh()
        index.stamp = self._reader.stamp(self.model, index.sequence)
        if index.head() == snapshot.head(self.path) and not self.rebuilt:
            return None
        self.rebuilt = False
        return index.head(), index.body()

    def _load(self) -> VectorIndex | None:
        try:
            index = load(self.path, self.model.dim)
        except SnapshotError:
            return None
        if index.stamp != self._reader.stamp(self.model, index.sequence):
            return None  # of another catalog, or of a copy that went another way
        return index

    def _flat(self) -> Generator[None, None, VectorIndex]:
        index = FlatIndex.empty(self.model.dim)
        yield from self._fill(index)
        return index

    def _ivf(self, old: VectorIndex) -> Generator[None, None, VectorIndex]:
        """Clusters as large as they are many, but for a factor of 16: 4 sqrt(n) of them."""
        count = math.ceil(4 * math.sqrt(len(old)))
        numbers = np.random.default_rng(0).permutation(old.numbers())[: SAMPLE * count]
        parts = []
        for block in chunks(numbers.tolist(), BLOCK):
            parts.append(self._reader.present(self.model, block)[1])
            yield
        sample = np.concatenate(parts)
        index = yield from IvfIndex.train(sample, min(count, len(sample)))
        yield from self._fill(index)
        yield from index.calibrate(sample[:QUERIES])
        return index

    def _fill(self, index: VectorIndex) -> Pieces:
        """Add all searchable vectors in the catalog."""
        # the log is read first: what changes meanwhile is applied once more by `refresh`
        index.sequence = self._reader.sequence(self.model)
        for numbers, vectors in self._reader.everything(self.model, BLOCK):
            index.replace(numbers, vectors)
            yield
        index.made = len(index)

    def _apply(self, index: VectorIndex) -> Generator[None, None, int]:
        """Apply what the change log has gained; how many pictures that are."""
        sequence, changed = self._reader.changed_since(self.model, index.sequence)
        for numbers in chunks(changed, BLOCK):
            present, vectors = self._reader.present(self.model, numbers)
            index.remove(set(numbers) - set(present))
            index.replace(present, vectors)
            yield
        index.sequence = sequence
        return len(changed)
