"""Jobs of all servers of a library, in its catalog, so that each server can show and cancel any.

A job belongs to the server that runs it, by a lease that the server renews. If the lease runs out,
the server is gone, and its job has failed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, delete, func, insert, select, update

from search.catalog.schema import jobs
from search.records.jobs import JobRecord

if TYPE_CHECKING:
    from search.catalog.database import Database

LEASE_SECONDS = 30.0
LIVE = ("queued", "running")
LOST = {
    "state": "failed",
    "error": "the server that ran it ended, or lost the catalog; start the job again",
    "code": "server_lost",
}


class JobBoard:
    """The jobs in a catalog. Threads may share it."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        """clock: returns seconds since 1970. PostgreSQL has its own, one for all servers."""
        self.database, self._clock = database, clock

    def add(self, server: str, record: JobRecord, root: str | None, remembered: int) -> str | None:
        """Add a job of a server, or return the id of one of its kind of another server at its root.

        root: a folder, or None for a job that excludes no other. remembered: how many jobs of the
        kind are kept that are over; older ones are deleted.
        """
        place = None if root is None else os.fsencode(root)
        with self.database.write() as c:
            now = self._read_time(c)
            if place is not None:
                alive = jobs.c.state.in_(LIVE), jobs.c.lease >= now, jobs.c.server != server
                query = select(jobs.c.id).where(jobs.c.kind == record.kind, jobs.c.root == place)
                if other := c.scalar(query.where(*alive).limit(1)):
                    return str(other)
            values = {"server": server, "lease": now + LEASE_SECONDS, "root": place}
            c.execute(insert(jobs).values(record._asdict() | values))
            over = select(jobs.c.id).where(jobs.c.kind == record.kind, jobs.c.state.not_in(LIVE))
            old = over.order_by(jobs.c.created.desc(), jobs.c.id).offset(remembered)
            c.execute(delete(jobs).where(jobs.c.id.in_(list(c.scalars(old)))))
        return None

    def update(self, server: str, records: Sequence[JobRecord]) -> None:
        """Write how jobs of a server stand, and renew its leases."""
        with self.database.write() as c:
            lease = self._read_time(c) + LEASE_SECONDS
            for record in records:
                values = record._asdict() | {"lease": lease}
                c.execute(update(jobs).where(jobs.c.id == record.id).values(values))
            mine = jobs.c.server == server, jobs.c.state.in_(LIVE)
            c.execute(update(jobs).where(*mine).values(lease=lease))

    def list_cancelled(self, server: str) -> set[str]:
        """Return the ids of jobs of a server that another one wants to end."""
        mine = jobs.c.server == server, jobs.c.state.in_(LIVE), jobs.c.cancelled
        with self.database.read() as c:
            return set(c.scalars(select(jobs.c.id).where(*mine)))

    def request_cancel(self, job_id: str) -> None:
        """Ask the server of a job to cancel it."""
        with self.database.write() as c:
            c.execute(update(jobs).where(jobs.c.id == job_id).values(cancelled=True))

    def get(self, job_id: str) -> JobRecord | None:
        """Return a job, or None if there is no such job."""
        return next(iter(self._list(jobs.c.id == job_id)), None)

    def all(self) -> list[JobRecord]:
        """Return all jobs, newest first."""
        return self._list()

    def _list(self, *where: Any) -> list[JobRecord]:
        query = select(jobs).where(*where).order_by(jobs.c.created.desc(), jobs.c.id)
        with self.database.read() as c:
            now, rows = self._read_time(c), c.execute(query).all()
        return [
            _end(row, now) if row.state in LIVE and row.lease < now else _record(row)
            for row in rows
        ]

    def _read_time(self, c: Connection) -> float:
        """Return the seconds since 1970, by a clock that all servers of the catalog share."""
        if c.dialect.name == "postgresql":
            return float(c.scalar(select(func.extract("epoch", func.clock_timestamp()))) or 0)
        return self._clock()


def _record(row: Any) -> JobRecord:
    return JobRecord(row.id, row.kind, row.state, row.created, row.version, row.document)


def _end(row: Any, now: float) -> JobRecord:
    """Return a job whose server is gone."""
    document = row.document | LOST | {"finished": round(row.lease, 3)}
    return _record(row)._replace(state="failed", version=row.version + 1, document=document)
