"""Pictures that another app shared with the page, until the page takes them."""

from __future__ import annotations

import hashlib
import secrets

from search.records.transient import Item, Kind, TransientItems

SHARE_SECONDS = 300.0
MAX_SHARES = 8
KIND = Kind("share", SHARE_SECONDS, MAX_SHARES)


class Shares:
    """Holds a few pictures for some minutes, each under an id that works once."""

    def __init__(self, items: TransientItems) -> None:
        self._items = items

    def add(self, data: bytes, media: str, owner: str | None) -> str:
        """Hold a picture, and return its id. The oldest of too many is dropped.

        owner: digest of the token that sent it, None for the server's own.
        """
        name = secrets.token_urlsafe(16)
        self._items.add(KIND, _key(name, owner), Item(data, media))
        return name

    def take(self, name: str, owner: str | None) -> Item | None:
        """Return a picture that this owner sent, and drop it; None if there is none."""
        return self._items.take(KIND, _key(name, owner))


def _key(name: str, owner: str | None) -> str:
    return hashlib.sha256(f"{owner}:{name}".encode(errors="replace")).hexdigest()
