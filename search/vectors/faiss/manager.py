"""The index of a library: opened when it is first needed, trained for its size, saved."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.catalog.reads import CatalogReader
from search.catalog.writes import Space
from search.vectors.faiss import snapshot
from search.vectors.faiss.tiers import IVF_MIN_COUNT, choose_tier, needs_retraining, needs_saving

if TYPE_CHECKING:
    from search.runtime import Runtime
    from search.vectors.faiss.replica import IndexReplica

log = logging.getLogger(__name__)


class IndexManager:
    """See `search.vectors.base.StoreManager`."""

    def __init__(
        self,
        reader: CatalogReader,
        runtime: Callable[[], Runtime],
        folder: Path,
        tier: str,
        ivf_min_count: int = IVF_MIN_COUNT,
    ) -> None:
        """runtime: not called while the snapshot is up to date. folder: of the snapshots. tier,
        ivf_min_count: as `choose_tier` takes them."""
        self._reader, self._runtime, self._folder = reader, runtime, folder
        self._tier, self._ivf_min_count = tier, ivf_min_count
        self._replicas: dict[int, IndexReplica] = {}  # by the id of their space
        self._training, self._saving = threading.Lock(), threading.Lock()
        self._opening = threading.Lock()

    def replica(self, space: Space) -> IndexReplica:
        """Open the index of a space, or return the open one. Not on the inference thread."""
        from search.vectors.faiss.replica import IndexReplica

        with self._opening:
            if space.id not in self._replicas:
                self._close_others(space)
                run = partial(self._runtime().run, urgent=True)
                tiers = self._tier, self._ivf_min_count
                self._replicas[space.id] = IndexReplica(
                    self._reader, space, self._folder, *tiers, run
                )
            return self._replicas[space.id]

    def train(self, space: Space) -> bool:
        """Train what the size of the library requires, in short pieces between which queries run.

        Returns whether the index changed. Raises LibraryError if the library is closed meanwhile;
        nothing is lost then.
        """
        from search.vectors.replay import run_all  # imports NumPy, which a status can do without

        self._close_others(space)
        if self._is_current(space):
            return False
        with self._training:
            replica = self.replica(space)
            before = replica.index
            run_all(replica.train(), self._runtime().run)
            return replica.index is not before

    def save(self, space: Space) -> None:
        """Write a snapshot, unless the one on disk is nearly as new (`needs_saving`). The caller
        holds the write lock.

        What it lacks is replayed from the change log when it is opened. Snapshots of spaces that
        serve no longer are deleted. Raises StorageError.
        """
        path = self._path(space)
        with self._saving:  # two threads of one engine may hold the write lock
            if not self._is_current(space) and self.replica(space).save():
                log.info("saved the index of %s to %s", space.name, path)
            serving = {self._path(one) for one in self._reader.spaces()}
            snapshot.delete_others(self._folder, {path, *serving})

    def status(self, space: Space | None) -> dict[str, Any]:
        """Return `kind`, the tier that answers, and `generation`, the last entry of the log."""
        if space is None:
            return {"kind": "flat", "generation": 0}
        replica = self._replicas.get(space.id)
        head = replica.index.head() if replica else snapshot.read_head(self._path(space))
        tier = head.get("kind", "flat")  # without a snapshot, the index would be rebuilt as flat
        return {"kind": tier, "generation": self._reader.sequence(space)}

    def close(self) -> None:
        """Do nothing: there are no connections."""

    def _close_others(self, space: Space) -> None:
        """Close the replicas of spaces that serve no longer, but not that of this space."""
        serving = {space.id, *(one.id for one in self._reader.spaces())}
        for key in set(self._replicas) - serving:
            self._replicas.pop(key, None)

    def _is_current(self, space: Space) -> bool:
        """Return whether the snapshot has nearly the whole log and every index the right tier.

        It reads only the head of the snapshot, so that an unchanged library costs nothing.
        """
        head, replica = snapshot.read_head(self._path(space)), self._replicas.get(space.id)
        if replica and (replica.rebuilt or not self._has_right_tier(replica.index.head())):
            return False
        return self._has_right_tier(head) and self._is_near(space, head)

    def _has_right_tier(self, head: dict[str, Any]) -> bool:
        """head: of a snapshot, perhaps of a damaged one."""
        try:
            tier, count, trained_count = head["kind"], int(head["count"]), int(head["made"])
        except (KeyError, ValueError, TypeError):
            return False
        right = tier == choose_tier(self._tier, tier, count, self._ivf_min_count)
        return right and not needs_retraining(tier, count, trained_count)

    def _is_near(self, space: Space, head: dict[str, Any]) -> bool:
        """Return whether a snapshot is of this catalog and lacks few entries of its log."""
        try:
            cursor, stamp, count = (int(head[key]) for key in ("sequence", "stamp", "count"))
        except (KeyError, ValueError, TypeError):
            return False
        changes = self._reader.sequence(space) - cursor
        near = changes >= 0 and not needs_saving(count, changes)
        return near and self._reader.stamp(space, cursor) == stamp

    def _path(self, space: Space) -> Path:
        return self._folder / snapshot.file_name(self._reader.library(), space.fingerprint)
