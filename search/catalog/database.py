"""The catalog's database: opening, pragmas, migrations, transactions, errors."""

from __future__ import annotations

import os
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import (
    URL,
    Column,
    Connection,
    Index,
    Table,
    create_engine,
    event,
    func,
    insert,
    inspect,
    select,
)
from sqlalchemy.exc import DatabaseError
from sqlalchemy.schema import CreateIndex

from search.catalog import schema
from search.errors import LibraryError, LockedError, StorageError

NETWORK = frozenset("nfs nfs4 cifs smb smb3 smbfs 9p afs ceph glusterfs fuse.sshfs ncpfs".split())


def _create(connection: Connection) -> None:
    """A new catalog, as the last migration would leave an old one."""
    schema.metadata.create_all(connection)
    connection.execute(insert(schema.meta).values(key="library", value=uuid.uuid4().hex))


def _index_vectors_by_picture(connection: Connection) -> None:
    """Version 2: without this index, each deleted picture scans all vectors."""
    connection.execute(CreateIndex(_index(schema.vectors, "vectors_picture"), if_not_exists=True))


def _index(table: Table, name: str) -> Index:
    return next(index for index in table.indexes if index.name == name)


def _add_labels(connection: Connection) -> None:
    """Version 3: labels of pictures, and whether a picture is blank."""
    schema.labels.create(connection, checkfirst=True)
    _add_column(connection, schema.pictures.c.low_content, default=0)


def _add_decode_rule(connection: Connection) -> None:
    """Version 4: the decode rule of each picture. Those of before count as rule 1."""
    _add_column(connection, schema.pictures.c.decode_rule, default=1)


def _add_column(connection: Connection, column: Column[Any], default: int) -> None:
    """Add a column that is never null to a table, unless the table has it."""
    table = column.table.name
    if column.name not in {one["name"] for one in inspect(connection).get_columns(table)}:
        kind = column.type.compile(connection.dialect)
        connection.exec_driver_sql(
            f"ALTER TABLE {table} ADD COLUMN {column.name} {kind} DEFAULT {default} NOT NULL"
        )


MIGRATIONS: tuple[Callable[[Connection], None], ...] = (
    _index_vectors_by_picture,
    _add_labels,
    _add_decode_rule,
)
"""The first makes version 2 of a catalog of version 1, and so on; never edited, only added."""


class Database:
    """SQLite in a file (WAL, synchronous FULL), or whatever else SQLAlchemy has a URL for."""

    def __init__(self, target: Path | str) -> None:
        """target: the file, or a database URL. Raises LibraryError when it cannot be used."""
        self._file = target if isinstance(target, Path) else None
        if self._file:
            refuse_network(self._file.parent)
        url = URL.create("sqlite", database=str(target)) if self._file else str(target)
        self.engine = create_engine(url)
        if self.engine.dialect.name == "sqlite":
            event.listen(self.engine, "connect", _connect)
            event.listen(self.engine, "begin", _begin)
        self._migrate()

    def close(self) -> None:
        self.engine.dispose()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One consistent view."""
        with self._translated(), self.engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction: all of it or nothing."""
        with self._translated(), self.engine.connect() as connection:
            connection = connection.execution_options(write=True)
            with connection.begin():
                yield connection

    def integrity(self) -> list[str]:
        """What the database itself finds wrong; for SQLite, pages and references."""
        if self.engine.dialect.name != "sqlite":
            return []
        with self.read() as connection:
            said = [str(row[0]) for row in connection.exec_driver_sql("PRAGMA integrity_check")]
            loose = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall()
        problems = [f"catalog: {line}" for line in said if line != "ok"]
        return problems + [f"catalog: {row[0]} row {row[1]} refers to nothing" for row in loose]

    def _migrate(self) -> None:
        with self.write() as connection:
            schema.migrations.create(connection, checkfirst=True)
            done = connection.scalar(select(func.max(schema.migrations.c.version))) or 0
            newest = len(MIGRATIONS) + 1
            if done > newest:
                raise LibraryError(
                    f"the library in {self._where()} was written by a newer lookalike (schema "
                    f"{done}, this one knows {newest}); upgrade, or give another --home"
                )
            steps = MIGRATIONS[done - 1 :] if done else (_create,)
            for migrate in steps:
                migrate(connection)
            if steps:
                record = insert(schema.migrations).values(version=newest, at=time.time())
                connection.execute(record)

    def _where(self) -> str:
        return str(self._file.parent) if self._file else self.engine.url.render_as_string()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except DatabaseError as error:
            text = str(error.orig)
            where = self._where()
            if "locked" in text:
                raise LockedError(f"the catalog in {where} is locked; try again") from error
            if "full" in text or "readonly" in text or "I/O" in text or "unable to open" in text:
                raise StorageError(
                    f"cannot write to {where} ({text}); free some space or check its permissions, "
                    "then run the same command again: it goes on where it stopped"
                ) from error
            if "malformed" in text or "not a database" in text:
                raise LibraryError(
                    f"the catalog in {where} is damaged ({text}); restore a copy of it, or move "
                    "the folder away and index again"
                ) from error
            raise


def _connect(connection: sqlite3.Connection, _: Any) -> None:
    connection.isolation_level = None  # transactions begin where `_begin` says
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        "busy_timeout=10000",
        "cache_size=-65536",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    write = connection.get_execution_options().get("write")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def refuse_network(home: Path, mounts: Path = Path("/proc/mounts")) -> None:
    """Raise LibraryError when the folder is on a network file system, where SQLite's write-ahead
    log and file locks cannot be trusted."""
    try:
        lines = os.fsdecode(mounts.read_bytes()).splitlines()
    except OSError:  # not Linux
        return
    place, kind = "", ""
    for line in lines:
        _, point, fs, *_ = line.split(" ")
        point = point.replace("\\040", " ")
        inside = os.path.join(home.resolve(), "").startswith(os.path.join(point, ""))
        if inside and len(point) >= len(place):
            place, kind = point, fs
    if kind in NETWORK:
        raise LibraryError(
            f"{home} is on a network file system ({kind} at {place}), where a catalog gets lost; "
            "give a --home on a local disk (the pictures may stay where they are)"
        )
