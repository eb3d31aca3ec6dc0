"""Reports of files that go to the bin and come back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from search.records.indexing import Skip


@dataclass(frozen=True)
class Removal:
    """Files that were moved to the bin.

    ids: of the pictures whose files were all moved. files: how many. failed: those that stay, and
    why. undo: what `Engine.undo_removal` takes; None if the bin does not tell where the files are.
    """

    ids: tuple[str, ...]
    files: int
    failed: tuple[Skip, ...] = ()
    undo: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON, as `/images/remove` answers."""
        failed = [one.to_json() for one in self.failed]
        return {"removed": list(self.ids), "files": self.files, "failed": failed, "undo": self.undo}


@dataclass(frozen=True)
class Restored:
    """Files that came back from the bin. ids: of their pictures. failed: those that did not, and
    why."""

    ids: tuple[str, ...]
    failed: tuple[Skip, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON, as `/images/restore` answers."""
        return {"restored": list(self.ids), "failed": [one.to_json() for one in self.failed]}
