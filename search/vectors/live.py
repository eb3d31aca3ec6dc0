"""The index that a library answers from: a snapshot, kept up with the catalog's change log."""

from __future__ import annotations

from pathlib import Path

from search.lookup import Lookup
from search.recording import Model
from search.vectors import snapshot
from search.vectors.base import VectorIndex
from search.vectors.faiss import FlatIndex
from search.vectors.snapshot import SnapshotError


class LiveIndex:
    """For the inference thread. Any process may have written to the catalog since the last look,
    so `refresh` comes before every search. rebuilt: made from the catalog and not saved yet."""

    def __init__(self, lookup: Lookup, model: Model, folder: Path) -> None:
        """folder: of the snapshots. A missing, torn or foreign one is made anew from the
        catalog's vectors; nothing is embedded."""
        self._lookup, self.model = lookup, model
        self.path = folder / snapshot.name(lookup.library(), model.fingerprint)
        self.rebuilt, self._saved = False, -1
        self.index = self._open()

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
            self.index.stamp = self._lookup.stamp(self.model, self.index.sequence)
            self.index.save(self.path)
            self._saved, self.rebuilt = self.index.sequence, False
            for other in self.path.parent.glob("*.faiss*"):  # with what torn writes left
                if other != self.path:
                    other.unlink(missing_ok=True)

    def rebuild(self) -> VectorIndex:
        """A new index of all searchable vectors in the catalog."""
        self.rebuilt, self._saved = True, -1
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
        if index.stamp != self._lookup.stamp(self.model, index.sequence):
            return self.rebuild()  # of another catalog, or of a copy that went another way
        self._saved = index.sequence
        return index
