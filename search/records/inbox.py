"""What a library took from its inbox."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from search.files import shown


@dataclass(frozen=True)
class InboxFailure:
    """A file of the inbox that was not kept, or not moved away. code: that of the error."""

    path: str
    reason: str
    code: str

    def to_json(self) -> dict[str, str]:
        """Convert to JSON, as in the status."""
        return {"path": shown(self.path), "reason": shown(self.reason), "code": self.code}


@dataclass(frozen=True)
class InboxReport:
    """A look at the inbox. kept: pictures that are new in the library. known: those that it had.
    failed: files that were tried now."""

    kept: int = 0
    known: int = 0
    failed: tuple[InboxFailure, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON, as `inbox --json` prints it."""
        failed = [one.to_json() for one in self.failed]
        return {"kept": self.kept, "known": self.known, "failed": failed}


@dataclass(frozen=True)
class InboxStatus:
    """The inbox of a library. state: `online`, or `offline` if there is no such folder. done: files
    in it that the library has. failed: files that it could not take."""

    path: str
    state: str
    done: int
    failed: tuple[InboxFailure, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON, as in the status."""
        failed = [one.to_json() for one in self.failed]
        return {"path": shown(self.path), "state": self.state, "done": self.done, "failed": failed}
