"""Collections: indexed folders under a name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from search.files import shown


@dataclass(frozen=True)
class NamedCollection:
    """One or several indexed folders under a name.

    folders: their paths or URLs. files: in them; pictures: those that lists and searches show.
    """

    name: str
    folders: tuple[str, ...]
    files: int
    pictures: int

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON, as `/collections` answers."""
        return {**vars(self), "folders": [shown(one) for one in self.folders]}
