"""Answers about the whole catalog that are kept in memory until anything in it changes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from search.catalog.database import Database
    from search.types import RowIds

T = TypeVar("T")
MOST_BYTES = 64_000_000
"""Size of all answers that are kept at most."""


KEY_BYTES = 2000
"""Size of a key and an entry, about: conditions in a key are as long as a request allows."""


class AnswerCache:
    """Answers by key, as long as the catalog is in the state in which they were read.

    Any transaction of any process that changes the catalog makes all of them void. Of too many,
    those that were not used for longest are dropped. Threads may share it.
    """

    def __init__(self, database: Database, most_bytes: int = MOST_BYTES) -> None:
        """most_bytes: size of all answers at most; a larger one is not kept."""
        self._database, self._most_bytes = database, most_bytes
        self._lock = threading.Lock()
        self._state: Hashable = None
        self._answers: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()

    def find(self, key: Hashable) -> Any:
        """Return the answer of a key, or None if there is none or the catalog has changed."""
        state = self._database.state()
        with self._lock:
            return self._find(key, state)

    def get_row_ids(self, key: Hashable, read: Callable[[], RowIds]) -> RowIds:
        """As `get`, for row ids."""

        def read_only() -> RowIds:
            array = read()
            array.flags.writeable = False
            return array

        return self.get(key, read_only, lambda array: array.nbytes)

    def get(self, key: Hashable, read: Callable[[], T], measure: Callable[[T], int]) -> T:
        """Return the answer of a key; read it if there is none or the catalog has changed.

        measure: returns the size of an answer in bytes. Nobody may change the answer.
        """
        # of before the reading: what is read may only be newer than the state says
        state = self._database.state()
        with self._lock:
            if (known := self._find(key, state)) is not None:
                answer: T = known
                return answer
        answer = read()
        size = measure(answer) + KEY_BYTES
        with self._lock:
            if self._state == state and size <= self._most_bytes:
                self._answers[key] = answer, size
                while sum(one for _, one in self._answers.values()) > self._most_bytes:
                    self._answers.popitem(last=False)
        return answer

    def _find(self, key: Hashable, state: Hashable) -> Any:
        if state != self._state:
            self._state = state
            self._answers.clear()
        if key not in self._answers:
            return None
        self._answers.move_to_end(key)
        return self._answers[key][0]
