"""Items that servers keep for some time, in a catalog that many servers use.

A catalog in SQLite has one server, which keeps them in memory (`records.transient.MemoryItems`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from sqlalchemy import delete, func, insert, select

from search.catalog.schema import transient_items as items
from search.records.transient import Item, Kind, choose_old

if TYPE_CHECKING:
    from search.catalog.database import Database


class CatalogItems:
    """Items in a catalog. Threads may share it."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        """clock: in seconds since 1970, nearly the same on all servers."""
        self._database, self._clock = database, clock

    def add(self, kind: Kind, name: str, item: Item) -> None:
        """See `TransientItems`."""
        now = self._clock()
        values = {"kind": kind.name, "name": name, "ends": now + kind.seconds}
        with self._database.write() as c:
            c.execute(delete(items).where(items.c.kind == kind.name, items.c.name == name))
            c.execute(insert(items).values(values | item._asdict()))
            newest = select(items.c.name, items.c.ends, func.length(items.c.data))
            newest = newest.where(items.c.kind == kind.name).order_by(items.c.ends.desc())
            ages = [(one, end, size) for one, end, size in c.execute(newest)]
            if old := choose_old(kind, ages, now):
                c.execute(delete(items).where(items.c.kind == kind.name, items.c.name.in_(old)))

    def get(self, kind: Kind, name: str) -> Item | None:
        """See `TransientItems`."""
        where = items.c.kind == kind.name, items.c.name == name, items.c.ends > self._clock()
        with self._database.read() as c:
            row = c.execute(select(items.c.data, items.c.media).where(*where)).first()
        return None if row is None else Item(bytes(row.data), row.media)

    def take(self, kind: Kind, name: str) -> Item | None:
        """See `TransientItems`."""
        if (item := self.get(kind, name)) is None:
            return None
        where = items.c.kind == kind.name, items.c.name == name
        with self._database.write() as c:
            return item if c.execute(delete(items).where(*where)).rowcount else None
