"""A background job."""

from __future__ import annotations

from typing import Any, NamedTuple


class JobRecord(NamedTuple):
    """A job of a server, as all servers of the library see it.

    state: queued, running, done, failed or cancelled. created: in seconds since 1970. version:
    grows with every change. document: what `/jobs/{id}` answers.
    """

    id: str
    kind: str
    state: str
    created: float
    version: int
    document: dict[str, Any]

    @property
    def over(self) -> bool:
        """Whether it is done, failed or cancelled."""
        return self.state not in ("queued", "running")

    def to_json(self) -> dict[str, Any]:
        """Return the answer of `/jobs/{id}`."""
        return self.document
