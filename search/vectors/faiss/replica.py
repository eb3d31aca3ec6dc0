"""The index of one space: a snapshot on disk that follows the catalog's change log."""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path

from search.catalog.reads import CatalogReader
from search.catalog.writes import Space
from search.vectors.faiss import snapshot
from search.vectors.faiss.build import build_flat, build_ivf
from search.vectors.faiss.flat import FlatIndex
from search.vectors.faiss.ivf import IvfIndex
from search.vectors.faiss.snapshot import SnapshotError
from search.vectors.faiss.tiers import IVF_MIN_COUNT, choose_tier, needs_retraining, needs_saving
from search.vectors.replay import BLOCK, Run, Tasks, replay, run_all, run_here

TieredIndex = FlatIndex | IvfIndex


def load(path: Path, dim: int) -> TieredIndex:
    """Open an index from a snapshot; its large arrays are mapped and not read.

    Raises SnapshotError if it is missing or damaged, or its vectors have another length than `dim`.
    """
    content = snapshot.read(path)
    if content.head.get("kind") not in ("flat", "ivf") or content.head.get("dim") != dim:
        raise SnapshotError(f"{path} has another tier or length of vectors")
    return (FlatIndex if content.head["kind"] == "flat" else IvfIndex).restore(content)


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
        """Open the snapshot in `folder`. If it is missing, damaged or of another catalog, build the
        index from the catalog's vectors; nothing is embedded. tier, ivf_min_count: as `choose_tier`
        takes them. run: runs a task on the inference thread and waits for its end."""
        self._reader, self.space = reader, space
        self._run, self._lock = run, threading.RLock()
        self._tier, self._ivf_min_count = tier, ivf_min_count
        self.path = folder / snapshot.file_name(reader.library(), space.fingerprint)
        loaded = self._load_snapshot()
        self.rebuilt = loaded is None
        self.index: TieredIndex = self._build_flat() if loaded is None else loaded

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
            self.index, self.rebuilt = self._build_flat(), True
            return self.index

    def is_intact(self) -> bool:
        """Read the whole snapshot; return whether it is as it was written, or not saved yet."""
        if self.rebuilt or not self.path.exists():
            return True
        try:
            snapshot.verify(self.path)
        except SnapshotError:
            return False
        return True

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
            if tier == "flat":
                new = self._build_flat()
            else:
                new = yield from build_ivf(self._reader, self.space, self._folder, index.ids())
        yield from self._adopt(new)

    def save(self) -> bool:
        """Write a snapshot if the one on disk is too far behind; return whether it was written.

        The index then goes on from the new snapshot, so that memory holds no change any more. The
        caller holds the write lock. Raises StorageError.
        """
        content = list[tuple[dict[str, object], dict[str, snapshot.Part]]]()
        with self._lock:  # the cursor and its stamp stay as they are
            index = self.refresh()
            index.cursor_stamp = self._reader.stamp(self.space, index.cursor)
            if not self.rebuilt and not self._is_behind(index):
                return False
            self._run(lambda: content.append((index.head(), index.parts())))
        snapshot.write(self.path, *content[0])  # not on the inference thread, where queries run
        self.rebuilt = False
        if (saved := self._load_snapshot()) is not None:
            run_all(self._adopt(saved, instead_of=index), self._run)
        return True

    def _is_behind(self, index: TieredIndex) -> bool:
        """Return whether the snapshot on disk lacks more of this index than opening may replay."""
        head = snapshot.read_head(self.path)
        if any(head.get(key) != index.head()[key] for key in ("kind", "made", "dim")):
            return True
        return needs_saving(index.count, index.cursor - int(head["sequence"]))

    def _adopt(self, new: TieredIndex, instead_of: TieredIndex | None = None) -> Tasks[None]:
        """Let another index answer from now on, as soon as it has what this one has.

        instead_of: if another one than this answers meanwhile, it stays.
        """
        while (yield from replay(new, self._reader, self.space)) > BLOCK:
            pass  # a large change took long to apply, so others may have written meanwhile
        with self._lock:  # whoever refreshed the old index finds as much in the new one
            run_all(replay(new, self._reader, self.space), self._run)
            if instead_of is None or self.index is instead_of:
                self.index = new

    @property
    def _folder(self) -> Path:
        return self.path.parent

    def _load_snapshot(self) -> TieredIndex | None:
        """Return the index of the snapshot, or None if it cannot be used."""
        try:
            index = load(self.path, self.space.dim)
        except SnapshotError:
            return None
        if index.cursor_stamp != self._reader.stamp(self.space, index.cursor):
            return None  # of another catalog, or of a copy of this one that changed differently
        return index

    def _build_flat(self) -> TieredIndex:
        return build_flat(self._reader, self.space, self._folder)
