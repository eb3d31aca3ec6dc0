"""Pictures that another app shared with the page, until the page takes them."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import NamedTuple

SHARE_SECONDS = 300.0
MAX_SHARES = 8


class SharedPicture(NamedTuple):
    """data: its bytes. media: its media type. owner: digest of the token that sent it, None for
    the server's own. ends: when it is dropped, in the seconds of a clock."""

    data: bytes
    media: str
    owner: str | None
    ends: float


class Shares:
    """Holds a few pictures for some minutes, each under an id that works once."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """clock: in seconds."""
        self._clock = clock
        self._pictures: dict[str, SharedPicture] = {}

    def add(self, data: bytes, media: str, owner: str | None) -> str:
        """Hold a picture, and return its id. The oldest of too many is dropped."""
        self._drop_old()
        while len(self._pictures) >= MAX_SHARES:
            del self._pictures[next(iter(self._pictures))]
        name = secrets.token_urlsafe(16)
        self._pictures[name] = SharedPicture(data, media, owner, self._clock() + SHARE_SECONDS)
        return name

    def take(self, name: str, owner: str | None) -> SharedPicture | None:
        """Return a picture that this owner sent, and drop it; None if there is none."""
        self._drop_old()
        picture = self._pictures.get(name)
        if picture is None or picture.owner != owner:
            return None
        del self._pictures[name]
        return picture

    def _drop_old(self) -> None:
        now = self._clock()
        for name in [one for one, picture in self._pictures.items() if picture.ends <= now]:
            del self._pictures[name]
