"""Searches that are kept under a name."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from search.records.hits import Hits

MOST_SEARCHES = 100
"""Saved searches of one user at most."""
MOST_BYTES = 2**28
"""Bytes of the pictures of all saved searches of one user at most."""
MOST_NAME = 200
"""Characters of a name at most."""
LAST = "last"
"""Since when: the last time that the answer was marked as seen."""


def since_condition(when: str) -> str:
    """Return the condition that a picture came to the library since then, such as `7d`."""
    return f'added>="{when}"'


@dataclass(frozen=True)
class SavedSearch:
    """A search under a name.

    query: its JSON, where `image: N` is the picture N that was saved with it. created, seen: when
    it was saved and when its answer was last marked as seen, in seconds since 1970. newest: number
    of the newest picture of the library then; pictures with a greater one are new.
    """

    name: str
    query: dict[str, Any]
    created: float
    seen: float
    newest: int

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON, as `/searches` answers."""
        return asdict(self)


@dataclass(frozen=True)
class SavedHits:
    """The answer of a saved search. newest: what to mark as seen, see `SavedSearch`."""

    hits: Hits
    newest: int

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON, as `/searches/{name}/hits` answers."""
        return self.hits.to_json() | {"newest": self.newest}
