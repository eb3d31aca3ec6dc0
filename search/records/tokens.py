"""An access token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from search.files import shown

Role = Literal["read", "write", "admin"]
ROLES: tuple[Role, ...] = ("read", "write", "admin")
"""What a token may do on a server; each role includes those before it."""


@dataclass(frozen=True)
class Token:
    """The right of a user of a server; the token itself is stored nowhere.

    digest: SHA-256 of the token, in hexadecimal digits. collections: paths of the indexed folders
    that it is for; None for the whole library. created: in seconds since 1970.
    """

    name: str
    role: Role
    digest: str
    collections: tuple[str, ...] | None = None
    created: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON, as `token list --json` prints it."""
        collections = self.collections and [shown(path) for path in self.collections]
        return {
            "name": self.name,
            "role": self.role,
            "collections": collections,
            "created": round(self.created, 3),
        }
