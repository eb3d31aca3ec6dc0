"""Answers about the whole catalog that are kept in memory until anything in it changes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from search.catalog.database import Database
    from search.types import RowIds

MOST_BYTES = 64_000_000
"""Size of all arrays that are kept at most."""


class AnswerCache:
    """Arrays by key, as long as the catalog is in the state in which they were read.

    Any transaction of any process that changes the catalog makes all of them void. Of too many,
    those that were not used for longest are dropped. Threads may share it.
    """

    def __init__(self, database: Database, most_bytes: int = MOST_BYTES) -> None:
        """most_bytes: size of all arrays at most; a larger one is not kept."""
        self._database, self._most_bytes = database, most_bytes
        self._lock = threading.Lock()
        self._state: Hashable = None
        self._arrays: OrderedDict[Hashable, RowIds] = OrderedDict()

    def find(self, key: Hashable) -> RowIds | None:
        """Return the array of a key, or None if there is none or the catalog has changed."""
        state = self._database.state()
        with self._lock:
            return self._find(key, state)

    def get(self, key: Hashable, read: Callable[[], RowIds]) -> RowIds:
        """Return the array of a key; read it if there is none or the catalog has changed.

        Nobody may change the array.
        """
        # of before the reading: what is read may only be newer than the state says
        state = self._database.state()
        with self._lock:
            if (array := self._find(key, state)) is not None:
                return array
        array = read()
        array.flags.writeable = False
        with self._lock:
            if self._state == state and array.nbytes <= self._most_bytes:
                self._arrays[key] = array
                while sum(one.nbytes for one in self._arrays.values()) > self._most_bytes:
                    self._arrays.popitem(last=False)
        return array

    def _find(self, key: Hashable, state: Hashable) -> RowIds | None:
        if state != self._state:
            self._state = state
            self._arrays.clear()
        if key in self._arrays:
            self._arrays.move_to_end(key)
        return self._arrays.get(key)
