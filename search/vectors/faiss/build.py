"""Build an index from the catalog's vectors, read as a stream.

What is larger than a few blocks lies in files without a name, so a library of many pictures needs
no more memory than one of few. Nothing is embedded.
"""

from __future__ import annotations

import math
import os
import tempfile
from array import array
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Protocol, Self

import numpy as np

from search.catalog.writes import Space
from search.errors import StorageError
from search.runtime import faiss
from search.types import Vectors
from search.vectors.base import RowIds
from search.vectors.faiss import snapshot
from search.vectors.faiss.flat import FlatIndex
from search.vectors.faiss.ivf import IvfIndex, make_lists, make_parts
from search.vectors.faiss.snapshot import Array
from search.vectors.replay import BLOCK, Tasks, as_tasks

SAMPLES_PER_CLUSTER = 40
"""Vectors that are sampled for each cluster to train."""
HELD_OUT = 512
"""Vectors that are kept from training, to choose how many clusters a query searches."""
COVERAGE = 0.995
"""Share of the nearest vectors that the searched clusters must contain, over many queries."""
MARGIN = 0.1
"""Room for components beyond the range of the sample, as a share of that range."""


class VectorSource(Protocol):
    """Where the vectors of an index come from: `search.catalog.reads.CatalogReader`."""

    def sequence(self, space: Space) -> int: ...
    def load_vectors(self, space: Space, row_ids: Collection[int]) -> tuple[list[int], Vectors]: ...
    def iterate_vectors(
        self, space: Space, block: int = ...
    ) -> Iterator[tuple[list[int], Vectors]]: ...


def build_flat(reader: VectorSource, space: Space, folder: Path) -> FlatIndex:
    """Return an exact index of all searchable vectors. folder: where files may be written.

    Raises StorageError if the disk is full.
    """
    ids = [np.empty(0, np.int64)]
    # Read the cursor first: a replay applies again what others write during the copy.
    cursor = reader.sequence(space)
    with Spool(folder, np.dtype(np.float32), space.dim) as spool:
        for row_ids, vectors in reader.iterate_vectors(space, BLOCK):
            ids.append(np.array(row_ids, np.int64))
            spool.append(vectors)
        rows = spool.read()
    index = FlatIndex(np.concatenate(ids), rows)
    index.cursor = cursor
    return index


def build_ivf(
    reader: VectorSource, space: Space, folder: Path, ids: RowIds, seed: int = 0
) -> Tasks[IvfIndex]:
    """Train clusters on a sample, and store all searchable vectors in them.

    With n vectors there are 2 sqrt(n) clusters, so that a cluster has sqrt(n) / 2 vectors. ids: of
    about all vectors. folder: where files may be written. Raises StorageError if the disk is full.
    """
    cluster_count = math.ceil(2 * math.sqrt(len(ids)))
    shuffled = np.random.default_rng(seed).permutation(ids)
    held_count = min(HELD_OUT, len(ids) // 8)
    held_ids, held = _load(reader, space, shuffled[:held_count])
    training = shuffled[held_count:][: SAMPLES_PER_CLUSTER * cluster_count]
    _, sample = _load(reader, space, training)
    if not len(sample):
        sample = np.eye(1, space.dim, dtype=np.float32)  # all were deleted meanwhile
    from search.vectors.faiss.clusters import Assigner, HeldOut, kmeans  # imports torch

    centroids = yield from as_tasks(kmeans(sample, min(cluster_count, len(sample))))
    bounds = measure_bounds(sample)
    del sample
    held_out, assigner = HeldOut(held_ids, held, 100), Assigner(centroids, BLOCK)
    # one growing block each: many small ones between large temporary ones fragment the memory
    every, nearest = array("q"), array("q")
    quantizer = faiss.IndexFlatIP(space.dim)
    quantizer.add(centroids)
    encoder = make_lists(quantizer, bounds)
    cursor = reader.sequence(space)
    with Spool(folder, np.dtype(np.uint8), space.dim) as spool:
        for row_ids, vectors in reader.iterate_vectors(space, BLOCK):
            encoded = list[Array]()

            def store(
                row_ids: list[int] = row_ids,
                vectors: Vectors = vectors,
                encoded: list[Array] = encoded,
            ) -> None:
                clusters = assigner.assign(vectors)
                every.extend(row_ids)
                nearest.frombytes(clusters.tobytes())
                held_out.add(np.array(row_ids, np.int64), vectors, clusters)
                encoded.append(encoder.sq.compute_codes(vectors))

            yield store
            spool.append(encoded[0])
        codes = spool.read()
    head = {
        "kind": "ivf",
        "dim": space.dim,
        "count": len(codes),
        "sequence": cursor,
        "stamp": 0,
        "made": len(codes),
        "probes": held_out.count_probes(centroids, 10, COVERAGE),
        "probes_100": held_out.count_probes(centroids, 100, COVERAGE),
    }
    columns = np.frombuffer(every, np.int64), np.frombuffer(nearest, np.int64)
    lists = _group_by_cluster(*columns, codes, centroids)
    return _restore_from_file(folder, head, make_parts(centroids, bounds, len(codes), lists))


def measure_bounds(sample: Vectors) -> Vectors:
    """Return (2, dim): the least value and the range of each component, with `MARGIN`."""
    least, greatest = sample.min(0), sample.max(0)
    margin = MARGIN * (greatest - least)
    return np.stack([least - margin, greatest - least + 2 * margin]).astype(np.float32)


class Spool:
    """Rows that are collected in memory, and from `snapshot.SMALL` bytes on in a file without a
    name, which is gone with the process."""

    def __init__(self, folder: Path, dtype: np.dtype[Any], dim: int) -> None:
        """folder: of the file; if it cannot be written, the system's folder of temporary files."""
        self._folder, self._dtype, self._dim = folder, dtype, dim
        self._blocks, self._bytes = list[Array](), 0
        self._file: BinaryIO | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """Close the file. What `read` returned stays mapped."""
        if self._file is not None:
            self._file.close()

    def append(self, rows: Array) -> None:
        """Add rows, (n, dim). Raises StorageError if the disk is full."""
        self._blocks.append(np.ascontiguousarray(rows, self._dtype))
        self._bytes += rows.nbytes
        if self._file is not None or self._bytes > snapshot.SMALL:
            try:
                self._file = self._file or open_unnamed(self._folder)
                for block in self._blocks:
                    self._file.write(block.data)
            except OSError as error:
                raise StorageError(
                    f"cannot write to {self._folder}: {error.strerror or error}; free some space "
                    "(nothing is lost: the index can be built again)"
                ) from error
            self._blocks.clear()

    def read(self) -> Any:
        """Return all rows, (n, dim); those of a file are mapped into memory."""
        if self._file is None:
            return np.concatenate([np.empty((0, self._dim), self._dtype), *self._blocks])
        self._file.flush()
        return np.memmap(self._file, self._dtype, mode="r").reshape(-1, self._dim)


def open_unnamed(folder: Path) -> BinaryIO:
    """Open a file without a name for reading and writing. Raises OSError."""
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryFile(dir=folder)
    return tempfile.TemporaryFile()


def _load(reader: VectorSource, space: Space, ids: RowIds) -> tuple[RowIds, Vectors]:
    """Return the ids of those that are searchable, (n,), and their vectors, (n, dim)."""
    rows, present, count = np.empty((len(ids), space.dim), np.float32), [], 0
    for start in range(0, len(ids), BLOCK):
        row_ids, vectors = reader.load_vectors(space, ids[start : start + BLOCK].tolist())
        rows[count : count + len(row_ids)] = vectors
        count += len(row_ids)
        present += row_ids
    return np.array(present, np.int64), rows[:count]


def _group_by_cluster(
    ids: RowIds, nearest: RowIds, codes: Array, centroids: Vectors
) -> Iterator[tuple[Array, RowIds]]:
    """Yield the codes and ids of each cluster. nearest: the cluster of each id."""
    order = np.argsort(nearest, kind="stable")
    ends = np.cumsum(np.bincount(nearest, minlength=len(centroids)))
    for start, end in zip([0, *ends[:-1]], ends, strict=True):
        yield codes[order[start:end]], ids[order[start:end]]


def _restore_from_file(
    folder: Path, head: dict[str, Any], parts: dict[str, snapshot.Part]
) -> IvfIndex:
    """Write a snapshot to a file, map it, and delete its name. Raises StorageError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(snapshot.BUILD, ".", folder)
    except OSError:
        handle, name = tempfile.mkstemp(snapshot.BUILD)
    try:
        with open(handle, "w+b") as file:
            snapshot.write_to(file, head, parts)
        return IvfIndex.restore(snapshot.read(Path(name)))
    except OSError as error:
        raise StorageError(
            f"cannot write {name}: {error.strerror or error}; free some space (nothing is lost: "
            "the index can be built again)"
        ) from error
    finally:
        with suppress(OSError):
            os.unlink(name)
