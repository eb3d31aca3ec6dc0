"""The catalog on PostgreSQL: connections, transactions, the write lock, errors.

Needs the extra `postgres`: psycopg.
"""

from __future__ import annotations

import os
import re
import socket
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Connection,
    Engine,
    NullPool,
    String,
    create_engine,
    event,
    func,
    inspect,
    make_url,
    select,
    text,
)
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError, TimeoutError

from search.catalog import schema
from search.catalog.copy import copy_catalog
from search.catalog.database import Database, Fetch
from search.catalog.migrations import NEWEST, read_version
from search.catalog.prepared import Prepared
from search.errors import (
    InputError,
    LibraryError,
    LockedError,
    LookalikeError,
    StorageError,
    UnavailableError,
)
from search.extras import describe_install
from search.lock import Verify, describe_command
from search.settings import hide_password

DRIVER = "postgresql+psycopg"
WRITERS, WRITE_LOCK = 1, 2
KEY = 0x6C6F6F6B
"""First half of the key of all advisory locks here. The second is one of the two before: writing
transactions, and the write lock of the library."""
PUBLIC: dict[type[LibraryError], str] = {
    UnavailableError: "the database of the library does not answer; try again in a moment",
    LockedError: "another process is writing to the library; try again when it is done",
    StorageError: "the database of the library takes no changes now; the server's log says why",
    LibraryError: "the database of the library cannot be used now; the server's log says why",
}
"""What users of a server are told, without names and addresses of machines."""
CONNECT = {
    "connect_timeout": 10,
    # so that a machine that vanished is noticed within a minute or two
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}
SET_UP = "SET lock_timeout = '10s'"
SET_UP_LOCK = "SET tcp_keepalives_idle = 30", "SET tcp_keepalives_interval = 10"
RETRY_SECONDS = (0.3, 1.5)
"""Waits before connecting again, as to a database that restarts."""
AWAY = re.compile("08...|57P0.|57014|53300")
LOCKED = re.compile("55P03|40P01|40001")
FULL = re.compile("53[12]00|53400|58...")
DENIED = re.compile("28...|42501|3D000")
DENIED_TEXT = re.compile(
    "authentication failed|no password supplied|no pg_hba.conf entry|does not exist|"
    "permission denied|not permitted to log in|does not support SSL|certificate|"
    r"unrecognized configuration parameter|"
    r"invalid (connection option|\S+ value|port number|value for)"
)
"""What the client library says when it cannot log in, or does not know an option of the URL; it has
no code then."""
HOLDER = text(
    "SELECT application_name FROM pg_locks JOIN pg_stat_activity USING (pid) "
    "WHERE locktype = 'advisory' AND granted AND objsubid = 2 AND classid = :key AND objid = :lock "
    "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)
STATE = Prepared(select(func.txid_current_snapshot().cast(String)))
KEYS = {"key": KEY, "lock": WRITE_LOCK}


class PostgresDatabase(Database):
    """A database on a PostgreSQL server, which many machines may use at once.

    A read sees one consistent state. Writes follow one another, as in SQLite: each takes a lock
    before it reads anything and before it draws a number for the change log, and gives it back when
    it is committed. So the order of the log is the order of the commits.
    """

    is_shared = True

    def __init__(self, address: str) -> None:
        """Open the database, and make the tables of a new one or run its migrations.

        address: its URL. Raises InputError for another kind of URL, LibraryError if the server
        refuses or the catalog was written by a newer version, UnavailableError if it is away.
        """
        self._address, self._local = address, threading.local()
        self.location = hide_password(address)
        self._url = _parse(address)
        self.engine = self._create_engine(
            pool_pre_ping=True, pool_size=8, max_overflow=32, connect_args=CONNECT
        )
        event.listen(self.engine, "connect", _set_up_connection)
        self._reading = self.engine.execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        )
        self.read_only = False
        try:
            with self._translate_errors(), self._connect(self.engine) as connection:
                query = "SELECT current_setting('transaction_read_only') = 'on'"
                self.read_only = bool(connection.exec_driver_sql(query).scalar())
                is_new = not inspect(connection).has_table(schema.migrations.name)
                version = 0 if is_new else read_version(connection)
            if version > NEWEST:
                raise self._describe_newer(version)
            if version < NEWEST:
                self._migrate()
        except LookalikeError:
            self.engine.dispose()
            raise

    def _create_engine(self, **options: Any) -> Engine:
        """Return an engine of SQLAlchemy. Raises LibraryError without the extra `postgres`."""
        try:
            return create_engine(self._url, **options)
        except ImportError as error:
            raise LibraryError(
                f"the catalog {self.location} needs psycopg, which is not installed; run "
                f"{describe_install('postgres')}"
            ) from error

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a transaction that sees one consistent state. Raises UnavailableError."""
        with self._translate_errors(), self._connect(self._reading) as connection:
            with connection.begin():
                yield connection

    @contextmanager
    def _open_prepared(self) -> Iterator[Fetch]:
        """See `Database`."""
        with self.read() as connection:
            cursor = connection.connection.cursor()
            yield partial(Prepared.fetch, cursor=cursor, dialect=self.engine.dialect)

    @contextmanager
    def _open_writing(self) -> Iterator[Connection]:
        """See `Database`.

        Raises LockedError if another process writes for too long, StorageError if the disk of the
        server is full, UnavailableError if the server is away.
        """
        if self.read_only:
            raise _publish(
                StorageError(
                    f"the catalog {self.location} can only be read, as on a standby; give the URL "
                    "of the server that takes writes"
                )
            )
        with self._translate_errors(), self._connect(self.engine) as connection:
            with connection.begin():
                lock = text("SELECT pg_advisory_xact_lock(:key, :lock)")
                connection.execute(lock, {"key": KEY, "lock": WRITERS})
                yield connection

    @contextmanager
    def hold_lock(self, seconds: float, report: Callable[[str], None]) -> Iterator[Verify]:
        """Hold the write lock of the library. See `search.lock.Hold`.

        It belongs to a connection of its own, so that the server releases it when this process
        dies. The name of the connection says who holds it.
        """
        arguments = CONNECT | {"application_name": _describe_process()}
        options = {"poolclass": NullPool, "isolation_level": "AUTOCOMMIT"}
        engine = self._create_engine(connect_args=arguments, **options)
        with self._translate_errors():
            connection = self._connect(engine)
        try:
            with self._translate_errors():
                self._acquire(connection, seconds, report)
            yield partial(self._verify, connection)
        finally:
            with suppress(DBAPIError):  # a connection that is lost holds no lock
                connection.close()
            engine.dispose()

    def _acquire(
        self, connection: Connection, seconds: float, report: Callable[[str], None]
    ) -> None:
        """Take the write lock with a connection. Raises LockedError."""
        for statement in SET_UP_LOCK:
            connection.exec_driver_sql(statement)
        if connection.scalar(text("SELECT pg_try_advisory_lock(:key, :lock)"), KEYS):
            return
        report(f"waiting for {_find_holder(connection)}, which is writing to this library")
        try:
            if seconds > 0:  # no time would mean to wait for ever
                limit = max(1, round(seconds * 1000))
                connection.exec_driver_sql(f"SET lock_timeout = {limit}")
                connection.execute(text("SELECT pg_advisory_lock(:key, :lock)"), KEYS)
                return
        except OperationalError as error:
            if _read_code(error) != "55P03":
                raise
        raise _publish(
            LockedError(
                f"{_find_holder(connection)} is writing to the library in {self.location}; wait "
                "until it is done, or stop it (nothing will be lost), then run this again"
            )
        )

    def _verify(self, connection: Connection) -> None:
        """Raise UnavailableError if the connection that holds the write lock was lost."""
        try:
            connection.exec_driver_sql("SELECT 1")
        except DBAPIError as error:
            raise _publish(
                UnavailableError(
                    f"the connection to {self.location} was lost, and with it the write lock; try "
                    "again: it goes on where it stopped"
                )
            ) from error

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    def _read_state(self) -> Hashable:
        """See `Database`. It is the list of the transactions that a read sees."""
        with self.read_prepared() as fetch:
            return str(fetch(STATE)[0][0])

    def copy_to(self, path: Path) -> None:
        """Copy the database to a new SQLite file while it is in use. Raises StorageError."""
        target = Database(path)
        try:
            for _ in copy_catalog(self, target):
                pass
        finally:
            target.close()  # deletes its log

    def integrity(self) -> list[str]:
        """Return nothing: PostgreSQL compares pages and references itself, as it uses them."""
        return []

    def _connect(self, engine: Engine) -> Connection:
        """Connect, again after a moment if the server restarts."""
        for seconds in (*RETRY_SECONDS, None):
            try:
                return engine.connect()
            except OperationalError as error:
                if seconds is None or not isinstance(self._describe_error(error), UnavailableError):
                    raise
                time.sleep(seconds)
        raise _publish(UnavailableError(f"the catalog {self.location} does not answer"))

    def _describe_error(self, error: DBAPIError | TimeoutError) -> LibraryError | None:
        """Return what to raise for an error of the database; None for a fault of the program."""
        described = self._explain(error)
        return described and _publish(described)

    def _explain(self, error: DBAPIError | TimeoutError) -> LibraryError | None:
        """As `_describe_error`, with the message for those who run the database."""
        where, again = f"the catalog {self.location}", "try again"
        if isinstance(error, TimeoutError):
            return UnavailableError(f"{where} has no free connection; try again in a moment")
        code, message = _read_code(error), self._clean(str(error.orig))
        if code == "25006":
            return StorageError(f"{where} can only be read ({message}); give one that takes writes")
        if LOCKED.fullmatch(code):
            return LockedError(f"{where} is locked by another writer; try again")
        if FULL.fullmatch(code):
            return StorageError(
                f"cannot write to {where} ({message}); free some space on its server, then {again}:"
                " it goes on where it stopped"
            )
        is_failed_login = not code and DENIED_TEXT.search(message)
        if DENIED.fullmatch(code) or is_failed_login:
            return LibraryError(
                f"{where} refuses ({message}); check its user, password, database and options in "
                "LOOKALIKE_CATALOG, and the user's rights (docs/scale.md)"
            )
        if code.startswith("42P01"):
            return LibraryError(f"{where} lacks a table ({message}); bring a backup of it back")
        if (
            AWAY.fullmatch(code)
            or error.connection_invalidated
            or (not code and isinstance(error, OperationalError))
        ):
            return UnavailableError(
                f"{where} does not answer ({message}); see that it runs and can be reached, then "
                f"{again}: it goes on where it stopped"
            )
        return None

    def _clean(self, message: str) -> str:
        """Return the first lines of a message on one line, without the password."""
        message = " ".join(message.split())[:300]
        return message.replace(self._url.password, "***") if self._url.password else message


def _parse(address: str) -> Any:
    """Return the URL of an address. Raises InputError for one that is not of PostgreSQL."""
    scheme, separator, rest = address.partition("://")
    if not separator or scheme not in ("postgres", "postgresql", DRIVER):
        raise InputError(
            f"the catalog {hide_password(address)} is no database that lookalike knows; give "
            f"{DRIVER}://USER@HOST/DATABASE, or nothing for a file in the library's folder"
        )
    if rest.count("@") > 1:  # a part of the password would be taken for the host, and shown
        raise InputError(
            f"the catalog {hide_password(address)} has more than one @; write @ as %40, / as %2F "
            "and % as %25 in the password, or put it into PGPASSWORD"
        )
    try:
        url = make_url(f"{DRIVER}://{rest}")
        url.get_dialect()().create_connect_args(url)
        return url
    except (ArgumentError, ValueError):
        raise InputError(
            f"the catalog {hide_password(address)} is no URL; give "
            f"{DRIVER}://USER@HOST:PORT/DATABASE"
        ) from None


def _set_up_connection(connection: Any, _: Any) -> None:
    connection.autocommit = True
    connection.execute(SET_UP)
    connection.autocommit = False


def _publish(error: LibraryError) -> LibraryError:
    """Return an error with what users of a server are told."""
    error.public = PUBLIC[type(error)]
    return error


def _read_code(error: DBAPIError) -> str:
    """Return the five characters that PostgreSQL gives an error, or nothing."""
    return getattr(error.orig, "sqlstate", None) or ""


def _describe_process() -> str:
    """Return what `_find_holder` reads, in the 63 bytes that PostgreSQL keeps."""
    host = socket.gethostname().replace(" ", "")[:20]
    parts = f"{os.getpid()} {host} {time.strftime('%H:%M:%S')} {describe_command()}"
    return parts.encode("ascii", "replace")[:63].decode()


def _find_holder(connection: Connection) -> str:
    """Return who holds the write lock."""
    name = connection.execute(HOLDER, KEYS).scalar()
    parts = (name or "").split(" ", 3)
    if len(parts) < 4:
        return "another process"
    process, host, since, command = parts
    return f"process {process} ({command}, on {host}, since {since})"
