"""Where a library's index is kept: opened when it is first needed, made to fit, saved."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.catalog.reads import CatalogReader
from search.catalog.writes import Model
from search.vectors.base import LARGE, outgrown, wanted
from search.vectors.faiss import snapshot

if TYPE_CHECKING:
    from search.runtime import Runtime
    from search.vectors.faiss.replica import IndexReplica


class IndexManager:
    """The index of the model that a library answers with. Threads may share it."""

    def __init__(
        self,
        reader: CatalogReader,
        runtime: Callable[[], Runtime],
        folder: Path,
        tier: str,
        large: int = LARGE,
    ) -> None:
        """runtime: not called while the snapshot is as it should be. folder: of snapshots. tier,
        large: as `wanted` takes them."""
        self._reader, self._runtime, self._folder = reader, runtime, folder
        self._tier, self._large = tier, large
        self._live: IndexReplica | None = None
        self._fitting, self._saving = threading.Lock(), threading.Lock()

    def live(self, model: Model) -> IndexReplica:
        """The index of a model. On the inference thread."""
        from search.vectors.faiss.replica import IndexReplica

        if self._live is None or self._live.model != model:
            self._live = IndexReplica(self._reader, model, self._folder, self._tier, self._large)
        return self._live

    def fit(self, model: Model) -> bool:
        """Train what the size of the library asks for, piece by piece, so that queries go first;
        whether there was anything to do.

        Raises LibraryError when the library is closed meanwhile; nothing is lost then.
        """
        if self._fits(model):
            return False
        run = self._runtime().run
        with self._fitting:
            live = run(lambda: self.live(model))
            before, pieces = live.index, live.fit()
            while run(lambda: next(pieces, pieces)) is None:
                pass
            return live.index is not before

    def save(self, model: Model) -> None:
        """Write a snapshot, unless the one on disk is as new. The caller holds the write lock.
        Raises StorageError."""
        with self._saving:  # two threads of one engine may hold that lock
            if self._fits(model):
                return
            path = self._path(model)
            if saved := self._runtime().run(lambda: self.live(model).unsaved()):
                snapshot.write(path, *saved)  # not on the inference thread: queries go on there
                snapshot.sweep(path)

    def status(self, model: Model | None) -> dict[str, Any]:
        """The tier that answers, and the last entry of the change log."""
        if model is None:
            return {"kind": "flat", "generation": 0}
        live = self._live
        head = live.index.head() if live else snapshot.head(self._path(model))
        kind = head.get("kind", "flat")  # without a snapshot it would be made of that kind
        return {"kind": kind, "generation": self._reader.sequence(model)}

    def _fits(self, model: Model) -> bool:
        """Whether the snapshot holds the whole log, and it and what was opened are of the right
        tier: by their heads, so that a library in which nothing has changed is left alone."""
        head, live = snapshot.head(self._path(model)), self._live
        if live and (live.rebuilt or not self._right(live.index.head())):
            return False
        return self._right(head) and head.get("sequence") == self._reader.sequence(model)

    def _right(self, head: dict[str, Any]) -> bool:
        try:
            kind, count, made = head["kind"], int(head["count"]), int(head["made"])
        except (KeyError, ValueError, TypeError):
            return False
        right = kind == wanted(self._tier, kind, count, self._large)
        return right and not outgrown(kind, count, made)

    def _path(self, model: Model) -> Path:
        return self._folder / snapshot.name(self._reader.library(), model.fingerprint)
