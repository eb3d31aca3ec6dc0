"""The index that a library answers from: a snapshot, kept up with the catalog's change log."""

from __future__ import annotations

from pathlib import Path

from search.catalog import Model
from search.lookup import Lookup
from search.vectors import snapshot
from search.vectors.base import VectorIndex
from search.vectors.faiss import FlatIndex
from search.vectors.snapshot import SnapshotError


class LiveIndex:
    """For the inference thread. Any process may have written to the catalog since the last look,
    so `refresh` comes before every search."""

    def __init__(self, lookup: Lookup, model: Model, folder: Path) -> None:
        """folder: of the snapshots. A missing, torn or foreign one is made anew from the
        catalog's vectors; nothing is embedded."""
        self._lookup, self.model = lookup, model
        self.path = folder / snapshot.name(lookup.library(), model.fingerprint)
        self.rebuilt = False
        self.index = self._open()
        self._saved = -1 if self.rebuilt else self.index.sequence

    def refresh(self) -> VectorIndex:
        """Apply what the change log has gained."""
        sequence, numbers = self._lookup.changed_since(self.model, self.index.sequence)
        if numbers:
            present, vectors = self._lookup.present(self.model, numbers)
            self.index.remove(numbers - set(present))
            self.index.replace(present, vectors)
        self.index.sequence = sequence
        return self.index

    def save(self) -> None:
        """Write the snapshot, unless the one on disk is as new."""
        if self.refresh().sequence != self._saved:
            self.index.save(self.path)
            self._saved = self.index.sequence
            for other in self.path.parent.glob("*.faiss"):
                if other != self.path:
                    other.unlink(missing_ok=True)

    def rebuild(self) -> VectorIndex:
        """A new index of all searchable vectors in the catalog."""
        self.rebuilt = True
        index = FlatIndex(self.model.dim)
        # the log is read first: what changes meanwhile is applied once more by `refresh`
        index.sequence = self._lookup.sequence(self.model)
        for numbers, vectors in self._lookup.everything(self.model):
            index.replace(numbers, vectors)
        self.index = index
        return index

    def _open(self) -> VectorIndex:
        try:
            index = FlatIndex.load(self.path, self.model.dim)
        except SnapshotError:
            return self.rebuild()
        if index.sequence > self._lookup.sequence(self.model):  # the catalog is an older copy
            return self.rebuild()
        return index
