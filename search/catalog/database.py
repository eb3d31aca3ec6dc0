"""The catalog's database in a SQLite file: opening, settings, transactions, errors.

`search.catalog.postgres` has what differs on PostgreSQL.
"""

from __future__ import annotations

import logging
import math
import os
import sqlite3
import threading
from collections.abc import Callable, Hashable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import (
    URL,
    Connection,
    Engine,
    PoolProxiedConnection,
    create_engine,
    event,
    func,
    select,
)
from sqlalchemy.exc import DBAPIError, TimeoutError

from search.catalog import full_text, schema
from search.catalog.answer_cache import AnswerCache
from search.catalog.migrations import NEWEST, migrate_once, read_version
from search.catalog.prepared import Prepared
from search.errors import LibraryError, LockedError, StorageError

if TYPE_CHECKING:
    from search.lock import Verify


CATALOG = "catalog.sqlite"
"""Name of the catalog's file in the library's folder."""
NETWORK = frozenset("nfs nfs4 cifs smb smb3 smbfs 9p afs ceph glusterfs fuse.sshfs ncpfs".split())
"""File systems that are on another machine."""
PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "foreign_keys=ON",
    "busy_timeout=10000",
    "cache_size=-65536",
)
Fetch = Callable[..., list[tuple[Any, ...]]]
"""Runs a `Prepared` statement: `fetch(statement, name=value)`."""
log = logging.getLogger(__name__)


class SharedReads(NamedTuple):
    """The transaction that a thread shares. state: see `Database.state`."""

    fetch: Fetch
    state: Hashable


class Database:
    """The catalog's database: SQLite in a file (WAL, synchronous FULL).

    with database.read() as connection:
        rows = connection.execute(select(pictures)).all()
    """

    is_shared = False
    """Whether servers on many machines may use the database at once."""

    def __init__(self, file: Path) -> None:
        """Open the database and run its migrations.

        A file that cannot be written is opened for reading alone. Raises LibraryError if it is
        damaged, on a network file system, or was written by a newer version; StorageError if it is
        missing or of an older version and cannot be written.
        """
        self._file, self._local = file, threading.local()
        self.location = str(file.parent)
        """The folder, or the URL without its password, for messages."""
        self.read_only = False
        """Whether the database can only be read, as on a write-protected or full disk."""
        refuse_network(file.parent)
        if file.exists() and not _is_writable(file):
            self._open_for_reading(file)
            return
        self.engine = create_engine(URL.create("sqlite", database=str(file)))
        event.listen(self.engine, "connect", _set_up_connection)
        event.listen(self.engine, "begin", _begin)
        self._watch = _Watch(self.engine)
        try:
            self._migrate()
        except StorageError:
            self.engine.dispose()
            if not file.exists() or not file.stat().st_size:
                raise
            self._open_for_reading(file)

    def _open_for_reading(self, file: Path) -> None:
        """Open a file that cannot be written. Raises LibraryError and StorageError."""
        self.read_only = True
        log.warning("%s cannot be written, so it is opened for reading alone", file)
        # With its log and the index of that, SQLite reads what others write. Without them it would
        # make them, so it must be told that nobody writes.
        has_log = file.with_name(f"{file.name}-shm").exists() and _size(f"{file}-wal") > 0
        options = {"uri": "true", "mode": "ro"} | ({} if has_log else {"immutable": "1"})
        # SQLAlchemy takes `uri` for itself and passes on the others
        url = URL.create("sqlite", database=file.absolute().as_uri(), query=options)
        self.engine = create_engine(url)
        event.listen(self.engine, "connect", _set_up_reading_connection)
        event.listen(self.engine, "begin", _begin)
        self._watch = _Watch(self.engine)
        with self.read() as connection:
            version = connection.scalar(select(func.max(schema.migrations.c.version))) or 0
        if version > NEWEST:
            raise self._describe_newer(version)
        if version < NEWEST:
            raise StorageError(
                f"the library in {self.location} is of an earlier version and cannot be "
                "written; make its folder writable once, so that it can be brought up to date"
            )

    def close(self) -> None:
        """Close all connections."""
        self._watch.close()
        self.engine.dispose()

    def state(self) -> Hashable:
        """Return a value that is another one after each transaction that changed the database, of
        any process. It is comparable with those of this object alone."""
        if (shared := self._shared()) is not None:
            return shared.state
        with self._translate_errors():
            return self._read_state()

    def _read_state(self) -> Hashable:
        """See `state`."""
        return self._watch.read()

    @cached_property
    def answers(self) -> AnswerCache:
        """What is kept in memory until the database changes."""
        return AnswerCache(self)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a transaction that sees one consistent state."""
        with self._translate_errors(), self.engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def read_prepared(self) -> Iterator[Fetch]:
        """As `read`, for statements that are prepared; yields the function that runs them."""
        if (shared := self._shared()) is not None:
            yield shared.fetch
            return
        with self._open_prepared() as fetch:
            yield fetch

    @contextmanager
    def share_reads(self) -> Iterator[None]:
        """Within, all `read_prepared` of this thread run in one transaction: they take one
        connection of the pool, and see one state of the catalog. Not for what waits long."""
        if self._shared() is not None:
            yield
            return
        state = self.state()  # before the transaction, which may see a newer one
        with self._open_prepared() as fetch:
            self._local.shared = SharedReads(fetch, state)
            try:
                yield
            finally:
                self._local.shared = None

    def _shared(self) -> SharedReads | None:
        shared: SharedReads | None = getattr(self._local, "shared", None)
        return shared

    @contextmanager
    def _open_prepared(self) -> Iterator[Fetch]:
        """See `read_prepared`."""
        with self._translate_errors(), closing(self.engine.raw_connection()) as connection:
            cursor = connection.cursor()
            cursor.execute("BEGIN")  # the pool ends it when it takes the connection back
            yield partial(Prepared.fetch, cursor=cursor, dialect=self.engine.dialect)

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Open a transaction that is committed at the end, or rolled back by an exception.

        At its end the full text of pictures is made anew whose words changed. Raises LockedError if
        another process writes for too long, StorageError if the disk fails.
        """
        with self._open_writing() as connection:
            yield connection
            full_text.refresh(connection)

    @contextmanager
    def _open_writing(self) -> Iterator[Connection]:
        """As `write`, but the full text stays as it is. Raises LockedError and StorageError."""
        if self.read_only:
            raise StorageError(
                f"the library in {self.location} can only be read; make its folder writable and "
                "free some space, then try again"
            )
        with self._translate_errors(), self.engine.connect() as connection:
            connection = connection.execution_options(write=True)
            with connection.begin():
                yield connection

    def hold_lock(
        self, seconds: float, report: Callable[[str], None]
    ) -> AbstractContextManager[Verify]:
        """Hold the write lock of the library. See `search.lock.Hold`."""
        from search.lock import hold_lock  # its library is slow to import, and reads need none

        return hold_lock(self._file.parent, seconds, report)

    def copy_to(self, path: Path) -> None:
        """Copy the database to a new SQLite file while it is in use. Raises StorageError."""
        with self._translate_errors(), closing(sqlite3.connect(path)) as target:
            with self.engine.connect() as connection:
                source: Any = connection.connection.driver_connection
                try:
                    source.backup(target, pages=4096)
                    target.execute("PRAGMA journal_mode=DELETE")  # one file, without a log
                except sqlite3.Error as error:
                    raise StorageError(f"cannot copy the catalog to {path}: {error}") from error

    def integrity(self) -> list[str]:
        """Return what the database itself finds wrong with its pages and references."""
        with self.read() as connection:
            lines = [str(row[0]) for row in connection.exec_driver_sql("PRAGMA integrity_check")]
            dangling = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall()
        problems = [f"catalog: {line}" for line in lines if line != "ok"]
        return problems + [f"catalog: {row[0]} row {row[1]} refers to nothing" for row in dangling]

    def _migrate(self) -> None:
        """Run the missing migrations, each in a transaction of its own."""
        while True:
            with self._open_writing() as connection:
                version = read_version(connection)
                if version > NEWEST:
                    raise self._describe_newer(version)
                if not migrate_once(connection):
                    break
                log.info("migrated the catalog in %s from version %d", self.location, version)
        with self.write():
            pass  # its end makes the full text of a catalog that had none

    def _describe_newer(self, version: int) -> LibraryError:
        return LibraryError(
            f"the library in {self.location} was written by a newer lookalike "
            f"(schema {version}, this one knows {NEWEST}); upgrade, or give another --home"
        )

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        """Raise errors of the database as LookalikeError that says what to do."""
        try:
            yield
        except (DBAPIError, TimeoutError) as error:
            described = self._describe_error(error)
            if described is None:
                raise
            raise described from error
        except self._driver_error as error:  # of a prepared statement
            wrapped = DBAPIError.instance(None, None, error, self._driver_error)
            described = self._describe_error(wrapped) if isinstance(wrapped, DBAPIError) else None
            if described is None:
                raise
            raise described from error

    @property
    def _driver_error(self) -> type[Exception]:
        """The class of the driver's own errors, which prepared statements raise."""
        driver: Any = self.engine.dialect.dbapi
        error: type[Exception] = driver.Error
        return error

    def _describe_error(self, error: DBAPIError | TimeoutError) -> LibraryError | None:
        """Return what to raise for an error of the database; None for a fault of the program."""
        text = str(error.orig) if isinstance(error, DBAPIError) else ""
        location = self.location
        if "locked" in text:
            return LockedError(f"the catalog in {location} is locked; try again")
        if "full" in text or "readonly" in text or "I/O" in text or "unable to open" in text:
            return StorageError(
                f"cannot write to {location} ({text}); free some space or check its "
                "permissions, then try again: it goes on where it stopped"
            )
        if "malformed" in text or "not a database" in text:
            return LibraryError(
                f"the catalog in {location} is damaged ({text}); bring a backup back with "
                "`lookalike restore FILE --replace`, or move the catalog away and index again: "
                "pictures in `kept` are taken in again"
            )
        return None


class _Watch:
    """Sees the changes of a SQLite file, by a connection of its own that changes nothing.

    SQLite counts for each connection the changes by all others.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine, self._lock = engine, threading.Lock()
        self._connection: PoolProxiedConnection | None = None

    def read(self) -> int:
        """Return the count of changes."""
        with self._lock:
            if self._connection is None:
                self._connection = self._engine.raw_connection()
                self._connection.detach()  # the pool does not wait for it
            cursor = self._connection.cursor()
            try:
                return int(cursor.execute("PRAGMA data_version").fetchone()[0])
            finally:
                cursor.close()

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
            self._connection = None


def open_database(address: str | None, file: Path) -> Database:
    """Open the database of a URL, or the SQLite file if there is none. Raises LibraryError."""
    if address is None:
        return Database(file)
    from search.catalog.postgres import PostgresDatabase  # few libraries need it

    return PostgresDatabase(address)


def _set_up_connection(connection: sqlite3.Connection, _: Any) -> None:
    connection.isolation_level = None  # `_begin` opens the transactions
    for pragma in PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")
    _add_functions(connection)


def _set_up_reading_connection(connection: sqlite3.Connection, _: Any) -> None:
    connection.isolation_level = None
    for pragma in PRAGMAS:
        if not pragma.startswith(("journal_mode", "synchronous")):
            connection.execute(f"PRAGMA {pragma}")
    _add_functions(connection)


def _add_functions(connection: sqlite3.Connection) -> None:
    """Add the functions of angles, which some builds of SQLite lack."""
    known = {row[0] for row in connection.execute("PRAGMA function_list")}
    for function in (math.sin, math.cos):
        if function.__name__ not in known:
            connection.create_function(function.__name__, 1, function, deterministic=True)


def _is_writable(file: Path) -> bool:
    """Return whether a file and its folder may be written, where SQLite keeps a log beside it."""
    return os.access(file, os.W_OK) and os.access(file.parent, os.W_OK)


def _size(path: str) -> int:
    try:
        return os.path.getsize(path)
    except OSError:
        return 0


def _begin(connection: Connection) -> None:
    """Lock the database at the start of a writing transaction, so that what it reads stays true."""
    write = connection.get_execution_options().get("write")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def refuse_network(home: Path, mounts: Path = Path("/proc/mounts")) -> None:
    """Raise LibraryError if a folder is on a network file system.

    The write-ahead log and the file locks of SQLite do not work there. mounts: the kernel's table;
    without it (not Linux) nothing is checked.
    """
    try:
        lines = os.fsdecode(mounts.read_bytes()).splitlines()
    except OSError:
        return
    mount_point, file_system = "", ""
    for line in lines:
        _, point, kind, *_ = line.split(" ")
        point = point.replace("\\040", " ")
        inside = os.path.join(home.resolve(), "").startswith(os.path.join(point, ""))
        if inside and len(point) >= len(mount_point):
            mount_point, file_system = point, kind
    if file_system in NETWORK:
        raise LibraryError(
            f"{home} is on a network file system ({file_system} at {mount_point}), where a catalog "
            "gets lost; give a --home on a local disk (the pictures may stay where they are)"
        )
