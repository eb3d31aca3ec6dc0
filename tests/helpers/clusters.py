"""Indexes of vectors without pictures, in a catalog and without one."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np

from search.catalog.catalog import Catalog
from search.catalog.database import Database
from search.catalog.reads import CatalogReader
from search.catalog.writes import ExtractedFile, Space
from search.records.pictures import Metadata
from search.runtime import Runtime
from search.types import FileEntry
from search.vectors.faiss.build import build_ivf
from search.vectors.faiss.ivf import IvfIndex
from search.vectors.faiss.manager import IndexManager
from search.vectors.faiss.replica import IndexReplica
from search.vectors.replay import run_all

DIM, LARGE = 16, 40


def vectors(n: int, seed: int = 0, dim: int = DIM) -> np.ndarray:
    """Unit vectors around a few centres, as those of pictures are."""
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(7).normal(size=(12, dim))
    rows = centres[random.integers(0, 12, n)] + random.normal(size=(n, dim))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


class Rows:
    """A source of vectors in memory. ids: (n,). rows: (n, dim) unit vectors."""

    def __init__(self, ids: Collection[int], rows: np.ndarray) -> None:
        self.rows = dict(zip(ids, rows.astype(np.float32), strict=True))
        self.dim = rows.shape[1]

    def sequence(self, space: Space) -> int:
        return 0

    def load_vectors(self, space: Space, row_ids: Collection[int]) -> tuple[list[int], np.ndarray]:
        present = [one for one in row_ids if one in self.rows]
        return present, np.array([self.rows[one] for one in present], np.float32).reshape(
            -1, self.dim
        )

    def iterate_vectors(
        self, space: Space, block: int = 8192
    ) -> Iterator[tuple[list[int], np.ndarray]]:
        ids = sorted(self.rows)
        for start in range(0, len(ids), block):
            yield self.load_vectors(space, ids[start : start + block])


def cluster(ids: Collection[int], rows: np.ndarray) -> IvfIndex:
    """Return an index of vectors in clusters."""
    space = Space(1, "test", "0" * 16, rows.shape[1])
    with tempfile.TemporaryDirectory() as folder:
        source = Rows(ids, rows)
        every = np.array(sorted(source.rows), np.int64)
        return run_all(build_ivf(source, space, Path(folder), every))


class VectorCatalog:
    """A catalog of vectors without pictures, and its index."""

    def __init__(self, place: Path) -> None:
        self.database = Database(place / "catalog.sqlite")
        self.catalog, self.reader = Catalog(self.database), CatalogReader(self.database)
        self.space: Space = self.catalog.space("mini", "0" * 16, DIM)
        self.root = self.catalog.add_root(str(place), 0, ())
        self.catalog.serve(self.space)
        self.folder, self.rows, self.count = place / "index", dict[int, np.ndarray](), 0

    def add(self, n: int) -> None:
        row_ids = []
        for row in vectors(n, self.count):
            self.count += 1
            name = f"{self.count:064d}"
            entry = FileEntry(name, 0, self.count, self.count)
            row_ids.append(ExtractedFile(entry, name, name, Metadata("jpeg", 1, 1, 0), row))
        self.catalog.record(self.root, self.space, row_ids)
        self._read()

    def remove(self, numbers: list[int]) -> None:
        held = self.catalog.files(self.root).values()
        self.catalog.remove_files([f.id for f in held if f.picture in numbers])
        self._read()

    def _read(self) -> None:
        """Return the row ids and vectors of the catalog, which a search must return."""
        self.rows = {}
        for numbers, rows in self.reader.iterate_vectors(self.space):
            self.rows |= dict(zip(numbers, rows, strict=True))

    def open(self, tier: str = "auto") -> IndexReplica:
        return IndexReplica(self.reader, self.space, self.folder, tier, LARGE)

    def right(self, replica: IndexReplica) -> bool:
        """Return whether the index equals the catalog and every vector finds itself."""
        index = replica.refresh()
        matches = [
            index.search(row[None], 1)[0].ids.tolist() for row in list(self.rows.values())[::5]
        ]
        first = all(n in some for n, some in zip(list(self.rows)[::5], matches, strict=True))
        return first and index.ids().tolist() == sorted(self.rows)


def train_to_end(replica: IndexReplica) -> str:
    run_all(replica.train())
    return replica.index.tier


def open_manager(fixture: VectorCatalog, runtime: Runtime, tier: str = "auto") -> IndexManager:
    return IndexManager(fixture.reader, lambda: runtime, fixture.folder, tier, LARGE)
