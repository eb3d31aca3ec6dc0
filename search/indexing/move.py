"""`move`: copy the catalog of a library from one database to another."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

from search.catalog.copy import copy_catalog, count_rows
from search.catalog.database import CATALOG, Database, open_database
from search.errors import InputError
from search.records.maintenance import MoveProgress, MoveReport

SQLITE = "sqlite:"


def move_catalog(
    source: Database, to: str, home: Path, seconds: float, report: Callable[[str], None]
) -> Iterator[MoveProgress]:
    """Copy a catalog to an empty one, and yield the progress; the last one has the report.

    to: the URL of a PostgreSQL database, or `sqlite:` for the file in `home`. seconds, report: as
    `search.lock.Hold` takes them. The target gets all rows or none. Raises LookalikeError.
    """
    start, file = time.monotonic(), home / CATALOG
    is_file = to in (SQLITE, f"sqlite:///{file}")
    if to.startswith(SQLITE) and not is_file:
        raise InputError(
            f"{to} is not the file in the library's folder; give `{SQLITE}` for that, or "
            "`lookalike --home DIR` for a library in another folder"
        )
    if is_file and source.engine.dialect.name == "sqlite":
        raise InputError(f"the catalog is in {file} already; give the URL of a PostgreSQL database")
    is_new = is_file and not file.exists()
    target = open_database(None if is_file else to, file)
    try:
        if source.location == target.location:
            raise InputError(f"the catalog is in {target.location} already; give another database")
        with ExitStack() as stack:
            if not source.read_only:
                stack.enter_context(source.hold_lock(seconds, report))
            stack.enter_context(target.hold_lock(seconds, report))
            for done, total, table in copy_catalog(source, target):
                yield MoveProgress(done, total, table)
            is_new = False
        with target.read() as c:
            rows = count_rows(c)
    finally:
        target.close()
        if is_new:
            file.unlink(missing_ok=True)
    setting = "no LOOKALIKE_CATALOG" if is_file else f"LOOKALIKE_CATALOG={target.location}"
    done, took = sum(rows.values()), time.monotonic() - start
    result = MoveReport(str(file) if is_file else target.location, setting, rows, round(took, 2))
    yield MoveProgress(2 * done, 2 * done, report=result)
