"""Copies a catalog from one database to another, of any kind, and compares the two."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Table, delete, func, insert, select, text

from search.catalog import schema
from search.errors import InputError, LibraryError

if TYPE_CHECKING:
    from search.catalog.database import Database

CHUNK = 2000
"""Rows that are read and inserted at once."""
TABLES = [table for table in schema.metadata.sorted_tables if table is not schema.migrations]


def copy_catalog(source: Database, target: Database) -> Iterator[tuple[int, int, str]]:
    """Copy all rows to an empty catalog, and compare.

    Yields how many rows are copied or compared, how many there are for both, and the name of their
    table. The change log keeps its numbers and stamps, so the snapshots of vector stores stay
    valid. All is one transaction, which is committed once counts and digests of all tables agree.
    Raises InputError if the target has rows, LibraryError if the two differ.
    """
    with source.read() as old, target.write() as new:
        _require_empty(new, target.location)
        new.execute(delete(schema.meta))
        done, total = 0, 2 * sum(count_rows(old).values())
        digests = {}
        for table in TABLES:
            digest = _Digest()
            for rows in _iterate_rows(old, table):
                digest.update(table, rows)
                new.execute(insert(table), rows)
                done += len(rows)
                yield done, total, table.name
            digests[table.name] = digest.value()
        _set_counters(new, _read_counters(old))
        for table in TABLES:
            digest = _Digest()
            for rows in _iterate_rows(new, table):
                digest.update(table, rows)
                done += len(rows)
                yield done, total, table.name
            if digest.value() != digests[table.name]:
                raise LibraryError(
                    f"the copy of table {table.name} differs in {target.location}, so nothing was "
                    "copied; run `lookalike check` on the library, then try again"
                )


def count_rows(c: Connection) -> dict[str, int]:
    """Return the count of rows by table."""
    return {one.name: c.scalar(select(func.count()).select_from(one)) or 0 for one in TABLES}


def _require_empty(c: Connection, location: str) -> None:
    """Raise InputError if a catalog has rows other than those of a new one."""
    filled = [
        table.name
        for table in TABLES
        if table is not schema.meta and c.execute(select(table).limit(1)).first() is not None
    ]
    if filled:
        raise InputError(
            f"the catalog {location} is not empty (it has {', '.join(filled)}); give an empty "
            "database (for `sqlite:` move the file catalog.sqlite away)"
        )


def _iterate_rows(c: Connection, table: Table) -> Iterator[list[dict[str, Any]]]:
    """Yield the rows of a table in chunks, by its key."""
    query = select(table).order_by(*table.primary_key.columns)
    with closing(c.execute(query, execution_options={"yield_per": CHUNK})) as result:
        for rows in result.mappings().partitions():
            yield [dict(row) for row in rows]


class _Digest:
    """A digest of rows that does not depend on the database."""

    def __init__(self) -> None:
        self._hash, self._count = hashlib.blake2b(digest_size=16), 0

    def update(self, table: Table, rows: list[dict[str, Any]]) -> None:
        """Add rows, in the order of the table's key."""
        self._count += len(rows)
        for row in rows:
            values = [_normalize(row[column.name]) for column in table.columns]
            self._hash.update(repr(values).encode("utf-8", "surrogatepass"))

    def value(self) -> tuple[int, str]:
        """Return the count of the rows, and the digest."""
        return self._count, self._hash.hexdigest()


def _normalize(value: Any) -> Any:
    """Return a value as any database returns it."""
    if isinstance(value, str):
        return value.replace("\0", "")  # PostgreSQL stores none
    if isinstance(value, dict | list):
        return json.dumps(value, sort_keys=True)
    return bytes(value) if isinstance(value, memoryview) else value


def _read_counters(c: Connection) -> dict[str, int]:
    """Return the highest number that was ever given to a row, by table, as far as it is known."""
    if c.dialect.name == "sqlite":
        rows = c.exec_driver_sql("SELECT name, seq FROM sqlite_sequence").all()
        return {str(name): int(number) for name, number in rows}
    counters = {}
    for table, sequence in _list_sequences(c):
        row = c.exec_driver_sql(f"SELECT last_value, is_called FROM {sequence}").one()
        counters[table.name] = int(row.last_value) if row.is_called else 0
    return counters


def _set_counters(c: Connection, counters: Mapping[str, int]) -> None:
    """Let no number be given again: neither one that a row has, nor one of a deleted row."""
    if c.dialect.name == "sqlite":
        known = {table.name for table in TABLES if table.dialect_kwargs.get("sqlite_autoincrement")}
        for name in known & set(counters):
            delete_old = text("DELETE FROM sqlite_sequence WHERE name = :name")
            c.execute(delete_old, {"name": name})
            add = text("INSERT INTO sqlite_sequence (name, seq) VALUES (:name, :number)")
            c.execute(add, {"name": name, "number": counters[name]})
        return
    for table, sequence in _list_sequences(c):
        (key,) = table.primary_key.columns
        highest = max(c.scalar(select(func.max(key))) or 0, counters.get(table.name, 0))
        values = {"sequence": sequence, "number": max(1, highest), "called": highest > 0}
        c.execute(text("SELECT setval(CAST(:sequence AS regclass), :number, :called)"), values)


def _list_sequences(c: Connection) -> list[tuple[Table, str]]:
    """Return the tables of PostgreSQL whose key is drawn from a sequence, with its name."""
    sequences = []
    for table in TABLES:
        column = table.autoincrement_column
        if column is None or column.default is not None:
            continue
        name = c.scalar(
            text("SELECT pg_get_serial_sequence(:table, :column)"),
            {"table": table.name, "column": column.name},
        )
        if name:
            sequences.append((table, str(name)))
    return sequences
