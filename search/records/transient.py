"""What a server keeps for some time, so that a client can fetch or use it: variants, shared
pictures, links that work once, and sessions that were ended."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol


class Item(NamedTuple):
    """data: bytes of any kind. media: their media type, if they have one."""

    data: bytes = b""
    media: str = ""


class Kind(NamedTuple):
    """Items of one kind. name: of the kind. seconds: how long an item stays. most, most_bytes:
    items and bytes of all at most; the oldest of too many are deleted."""

    name: str
    seconds: float
    most: int
    most_bytes: int = 2**28


class TransientItems(Protocol):
    """Items by kind and name. Threads may share it. An item whose time is over is not there."""

    def add(self, kind: Kind, name: str, item: Item) -> None:
        """Add an item, in place of one of its name, and delete old ones. Raises LookalikeError if
        the catalog cannot be written."""

    def get(self, kind: Kind, name: str) -> Item | None:
        """Return an item, or None if there is none. Raises LookalikeError if the catalog cannot be
        read."""

    def take(self, kind: Kind, name: str) -> Item | None:
        """As `get`, and delete it: of several callers one gets the item."""


class MemoryItems:
    """Items in memory."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """clock: in seconds."""
        self._clock, self._lock = clock, threading.Lock()
        self._items: dict[str, dict[str, tuple[float, Item]]] = {}  # the oldest of a kind first

    def add(self, kind: Kind, name: str, item: Item) -> None:
        """See `TransientItems`."""
        with self._lock:
            same = self._items.setdefault(kind.name, {})
            same[name] = self._clock() + kind.seconds, item
            ages = [(one, end, len(data)) for one, (end, (data, _)) in reversed(same.items())]
            for old in choose_old(kind, ages, self._clock()):
                del same[old]

    def get(self, kind: Kind, name: str) -> Item | None:
        """See `TransientItems`."""
        with self._lock:
            end, item = self._items.get(kind.name, {}).get(name, (0.0, None))
        return item if end > self._clock() else None

    def take(self, kind: Kind, name: str) -> Item | None:
        """See `TransientItems`."""
        with self._lock:
            end, item = self._items.get(kind.name, {}).pop(name, (0.0, None))
        return item if end > self._clock() else None


def choose_old(kind: Kind, ages: Iterable[tuple[str, float, int]], now: float) -> list[str]:
    """Return the names of the items that go. ages: name, end and bytes of each, the newest
    first."""
    old, count, size = list[str](), 0, 0
    for name, end, length in ages:
        count, size = count + 1, size + length
        if end <= now or count > kind.most or size > kind.most_bytes:
            old.append(name)
    return old
