"""The index of one space: a snapshot on disk that follows the catalog's change log."""

from __future__ import annotations

import math
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from search.catalog.reads import CatalogReader
from search.catalog.writes import Space, chunks
from search.runtime import faiss
from search.vectors.faiss import snapshot
from search.vectors.faiss.flat import FlatIndex
from search.vectors.faiss.ivf import IvfIndex
from search.vectors.faiss.snapshot import SnapshotError
from search.vectors.faiss.tiers import IVF_MIN_COUNT, choose_tier, needs_retraining
from search.vectors.replay import BLOCK, Run, Tasks, as_tasks, fill, replay, run_all, run_here

SAMPLES_PER_CLUSTER = 40
"""Vectors that are sampled for each cluster to train."""
CALIBRATION_QUERIES = 256
"""Stored vectors that new clusters are calibrated with."""

TieredIndex = FlatIndex | IvfIndex


def load(path: Path, dim: int) -> TieredIndex:
    """Read an index from a snapshot.

    Raises SnapshotError if it is missing or damaged, or its vectors have another length than `dim`.
    """
    head, body = snapshot.read(path)
    if head.get("kind") not in ("flat", "ivf") or head.get("dim") != dim:
        raise SnapshotError(f"{path} has another tier or length of vectors")
    try:
        index = faiss.deserialize_index(np.frombuffer(body, np.uint8))
        return (FlatIndex if head["kind"] == "flat" else IvfIndex).restore(head, index)
    except RuntimeError as error:  # an intact file of another version of FAISS
        raise SnapshotError(f"{path}: {error}") from error


class IndexReplica:
    """See `search.vectors.base.StoreReplica`.

    Other processes may write to the catalog at any time, so call `refresh` before every search.
    """

    def __init__(
        self,
        reader: CatalogReader,
        space: Space,
        folder: Path,
        tier: str = "auto",
        ivf_min_count: int = IVF_MIN_COUNT,
        run: Run = run_here,
    ) -> None:
        """Read the snapshot in `folder`. If it is missing, damaged or of another catalog, build the
        index from the catalog's vectors; nothing is embedded. tier, ivf_min_count: as `choose_tier`
        takes them. run: runs a task on the inference thread and waits for its end."""
        self._reader, self.space = reader, space
        self._run, self._lock = run, threading.RLock()
        self._tier, self._ivf_min_count = tier, ivf_min_count
        self.path = folder / snapshot.file_name(reader.library(), space.fingerprint)
        loaded = self._load_snapshot()
        self.rebuilt = loaded is None
        self.index: TieredIndex = run_all(self._build_flat(), run) if loaded is None else loaded

    def refresh(self) -> TieredIndex:
        """Apply new entries of the change log; return the index."""
        with self._lock:
            run_all(replay(self.index, self._reader, self.space), self._run)
            return self.index

    def rebuild(self) -> TieredIndex:
        """Build an exact index from the catalog's vectors, and delete the snapshot. The caller
        holds the write lock."""
        with suppress(OSError):  # on a disk that refuses, `save` says so
            self.path.unlink()
        with self._lock:
            self.index, self.rebuilt = run_all(self._build_flat(), self._run), True
            return self.index

    def train(self) -> Tasks[None]:
        """Bring the index to the tier that its size requires, by tasks of about 100 ms.

        The old index answers until the new one is complete. If the caller stops early, nothing is
        lost.
        """
        index = self.refresh()
        tier = choose_tier(self._tier, index.tier, index.count, self._ivf_min_count)
        if tier == index.tier and not needs_retraining(tier, index.count, index.trained_count):
            return
        # another process may have trained and saved the same tier meanwhile
        saved = snapshot.read_head(self.path).get("kind") == tier
        new = self._load_snapshot() if saved else None
        if new is None or needs_retraining(tier, index.count, new.trained_count):
            new = yield from (self._build_flat() if tier == "flat" else self._build_ivf(index))
        while (yield from replay(new, self._reader, self.space)) > BLOCK:
            pass  # a large change took long to apply, so others may have written meanwhile
        with self._lock:  # whoever refreshed the old index finds as much in the new one
            run_all(replay(new, self._reader, self.space), self._run)
            self.index = new

    def make_snapshot(self) -> tuple[dict[str, Any], bytes] | None:
        """Return the head and the body of a snapshot, or None if the one on disk is as new."""
        contents = list[tuple[dict[str, Any], bytes]]()
        with self._lock:  # the cursor and its stamp stay as they are
            index = self.refresh()
            index.cursor_stamp = self._reader.stamp(self.space, index.cursor)
            if index.head() == snapshot.read_head(self.path) and not self.rebuilt:
                return None
            self.rebuilt = False
            self._run(lambda: contents.append((index.head(), index.body())))
        return contents[0]

    def _load_snapshot(self) -> TieredIndex | None:
        """Return the index of the snapshot, or None if it cannot be used."""
        try:
            index = load(self.path, self.space.dim)
        except SnapshotError:
            return None
        if index.cursor_stamp != self._reader.stamp(self.space, index.cursor):
            return None  # of another catalog, or of a copy of this one that changed differently
        return index

    def _build_flat(self) -> Tasks[TieredIndex]:
        index = FlatIndex.empty(self.space.dim)
        yield from self._fill(index)
        return index

    def _build_ivf(self, old: TieredIndex) -> Tasks[TieredIndex]:
        """Train 4 sqrt(n) clusters, so that a cluster has sqrt(n) / 4 vectors. old: has the ids."""
        clusters = math.ceil(4 * math.sqrt(old.count))
        shuffled = np.random.default_rng(0).permutation(old.ids())
        parts = []
        for block in chunks(shuffled[: SAMPLES_PER_CLUSTER * clusters].tolist(), BLOCK):
            parts.append(self._reader.load_vectors(self.space, block)[1])
        sample = np.concatenate(parts)
        index = yield from as_tasks(IvfIndex.train(sample, min(clusters, len(sample))))
        yield from self._fill(index)
        yield from as_tasks(index.calibrate(sample[:CALIBRATION_QUERIES]))
        return index

    def _fill(self, index: TieredIndex) -> Tasks[None]:
        yield from fill(index, self._reader, self.space)
        index.trained_count = index.count
