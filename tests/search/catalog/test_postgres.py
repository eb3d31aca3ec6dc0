"""What differs on PostgreSQL: many connections, a server that is away, refuses, or is full."""

from __future__ import annotations

import re
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from helpers.libraries import close_library, open_library
from helpers.pictures import identity, jpeg, paint
from helpers.postgres import create_catalog, server
from helpers.serving import serving
from sqlalchemy import Connection, delete, insert, select

from search import Engine, InputError, LibraryError, LockedError, StorageError, UnavailableError
from search.catalog import migrations, schema
from search.catalog.catalog import Catalog
from search.catalog.migrations import MIGRATIONS, NEWEST, Migration
from search.catalog.postgres import PostgresDatabase
from search.catalog.reads import CatalogReader
from search.settings import Settings, hide_password

SECRET = "s3cret/w?rd"


@pytest.fixture
def address() -> str:
    return create_catalog()


@pytest.fixture
def database(address: str) -> Iterator[PostgresDatabase]:
    opened = PostgresDatabase(address)
    yield opened
    opened.close()


@pytest.fixture
def engine(address: str, home: Path) -> Iterator[Engine]:
    opened = open_library(home, catalog=address, lock_seconds=0.2)
    yield opened
    close_library(opened)


def name_of(address: str) -> str:
    return address.partition("@/")[2].partition("?")[0]


def end_connections(address: str) -> None:
    """Let the server end all connections to a database, as a restart does."""
    where = f"datname = '{name_of(address)}' AND pid <> pg_backend_pid()"
    server().execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {where}")


# transactions ----------------------------------------------------------------------------------


def test_a_follower_misses_no_entry_of_two_writers_that_interleave(
    database: PostgresDatabase, address: str
) -> None:
    """The first draws its numbers first, and the second would commit first."""
    other, second_is_done = PostgresDatabase(address), threading.Event()
    reader = CatalogReader(database)
    space = Catalog(database).space("mini", "f0", 4)
    numbers: list[int] = []

    def log(c: Connection, picture: int) -> None:
        values = {"space": space.id, "picture": picture, "operation": "add"}
        numbers.append(c.execute(insert(schema.changes).values(values)).inserted_primary_key[0])

    def write_second() -> None:
        with other.write() as c:
            log(c, 2)
        second_is_done.set()

    thread = threading.Thread(target=write_second)
    with database.write() as c:
        log(c, 1)
        thread.start()
        waits = "SELECT 1 FROM pg_locks WHERE NOT granted AND locktype = 'advisory'"
        while not second_is_done.is_set() and not server().execute(waits):
            time.sleep(0.01)
        cursor, pictures = reader.changed_since(space, 0)  # a follower reads to the last entry
    thread.join()
    assert numbers == [1, 2]
    assert pictures | reader.changed_since(space, cursor)[1] == {1, 2}
    other.close()


def test_a_read_sees_one_state_and_writes_nothing(database: PostgresDatabase) -> None:
    with database.read() as c:
        before = c.execute(select(schema.meta)).all()
        with database.write() as other:
            other.execute(insert(schema.meta).values(key="x", value="y"))
        assert c.execute(select(schema.meta)).all() == before
    with database.read() as c:
        assert len(c.execute(select(schema.meta)).all()) == len(before) + 1
    with pytest.raises(StorageError, match="read-only"), database.read() as c:
        c.execute(delete(schema.meta))


def test_a_writer_that_waits_too_long_is_told(
    database: PostgresDatabase, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("search.catalog.postgres.SET_UP", "SET lock_timeout = '50ms'")
    other = PostgresDatabase(address)
    with database.write(), pytest.raises(LockedError, match="another writer"), other.write():
        pass
    with other.write():
        pass
    other.close()


def test_texts_are_sorted_by_code_points_and_have_no_longest_length(
    database: PostgresDatabase,
) -> None:
    query = (
        "SELECT table_name, column_name FROM information_schema.columns WHERE data_type IN "
        "('text', 'character varying') AND table_schema = 'public' AND "
        "(collation_name IS DISTINCT FROM 'C' OR character_maximum_length IS NOT NULL)"
    )
    with database.read() as c:
        assert c.exec_driver_sql(query).all() == []


def test_a_text_with_a_nul_is_stored_without_it(database: PostgresDatabase) -> None:
    with database.write() as c:
        c.execute(insert(schema.meta).values(key="x", value="a\0b"))
    with database.read() as c:
        assert c.scalar(select(schema.meta.c.value).where(schema.meta.c.key == "x")) == "ab"


# migrations ------------------------------------------------------------------------------------


def test_a_later_migration_runs_once_on_postgresql(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def add_note(connection: Connection) -> None:
        postgresql = ["ALTER TABLE roots ADD COLUMN note BYTEA DEFAULT '\\x00'::bytea NOT NULL"]
        migrations._run(connection, "not the SQL of PostgreSQL", postgresql=postgresql)

    later = Migration(NEWEST + 1, add_note)
    for module in ("migrations", "database", "postgres"):
        monkeypatch.setattr(f"search.catalog.{module}.NEWEST", NEWEST + 1)
    monkeypatch.setattr("search.catalog.migrations.MIGRATIONS", (*MIGRATIONS, later))
    for _ in range(2):
        database = PostgresDatabase(address)
        with database.read() as c:
            assert c.exec_driver_sql("SELECT note FROM roots").all() == []
            versions = c.scalars(select(schema.migrations.c.version)).all()
        assert sorted(versions) == [NEWEST, NEWEST + 1]
        database.close()


def test_processes_that_open_a_new_database_at_once_make_its_tables_once() -> None:
    address, failures = server().address(server().create()), list[Exception]()

    def open_one() -> None:
        try:
            PostgresDatabase(address).close()
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=open_one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert server().execute("SELECT version FROM migrations", name_of(address)) == [(NEWEST,)]


# a whole library -------------------------------------------------------------------------------


def test_the_home_of_a_library_on_postgresql_has_no_catalog(
    engine: Engine, home: Path, folder: Path, address: str
) -> None:
    for seed in range(3):
        paint(folder / f"{seed}.jpg", seed)
    assert engine.sync(folder).added == 3
    assert engine.search(image=jpeg(1), k=1)[0].id == identity(1)
    assert not list(home.glob("**/*sqlite*")) and not (home / "write.lock").exists()
    status = engine.status()
    assert status.catalog == address and status.to_json()["catalog"] == address
    assert engine.check().problems == ()


def test_the_home_inside_a_folder_of_pictures_is_not_indexed_by_another_library(
    folder: Path, tmp_path: Path, address: str
) -> None:
    paint(folder / "a.jpg", 1)
    inner = open_library(folder / "library", catalog=address)
    inner.sync(folder)
    inner.keep(jpeg(2))
    assert inner.sync(folder).unchanged == 2  # the upload, too
    other = open_library(tmp_path / "other")
    assert other.sync(folder).added == 1
    for one in (inner, other):
        close_library(one)


def test_a_second_home_leaves_the_folder_of_uploads_of_the_first(
    engine: Engine, tmp_path: Path, address: str
) -> None:
    engine.keep(jpeg(1))
    other = open_library(tmp_path / "other", catalog=address)
    assert [root.path for root in other.status().roots] == [str(engine.home / "kept")]
    upload = other.keep(jpeg(2))
    assert Path(upload.path).parent == tmp_path / "other" / "kept"
    assert engine.search(image=jpeg(2), k=1)[0].id == identity(2)
    close_library(other)


def test_a_backup_is_a_file_that_restores_without_a_server(
    engine: Engine, tmp_path: Path, folder: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    paint(folder / "a.jpg", 1)
    engine.sync(folder)
    engine.keep(jpeg(2))
    engine.backup(tmp_path / "backup.zip")
    Engine.restore(tmp_path / "backup.zip", tmp_path / "other")
    restored = open_library(tmp_path / "other")
    assert restored.search(image=jpeg(1), k=1)[0].id == identity(1)
    assert restored.status().pictures == 2 and restored.status().catalog is None
    close_library(restored)
    monkeypatch.setenv("LOOKALIKE_CATALOG", address)
    with pytest.raises(InputError, match="lookalike move"):
        Engine.restore(tmp_path / "backup.zip", tmp_path / "third")


# a server that is away, refuses or is full -----------------------------------------------------


def test_a_server_that_ends_all_connections_is_connected_to_again(
    engine: Engine, folder: Path, address: str
) -> None:
    paint(folder / "a.jpg", 1)
    engine.sync(folder)
    end_connections(address)
    assert engine.status().pictures == 1
    end_connections(address)
    assert engine.sync(folder).unchanged == 1


def test_a_run_that_loses_its_lock_stops_and_goes_on_when_it_is_repeated(
    engine: Engine, folder: Path, address: str
) -> None:
    for seed in range(48):
        paint(folder / f"{seed}.jpg", seed)
    run = engine.index(folder)
    with pytest.raises(UnavailableError, match="write lock.*goes on where it stopped"):
        for progress in run:
            if progress.done:
                end_connections(address)
    committed = engine.status().pictures
    assert 0 < committed < 48
    report = engine.sync(folder)
    assert (report.unchanged, report.embedded) == (committed, 48 - committed)


def test_a_server_that_is_away_is_told_and_comes_back(
    engine: Engine,
    folder: Path,
    address: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    paint(folder / "a.jpg", 1)
    engine.sync(folder)
    monkeypatch.setattr("search.catalog.postgres.RETRY_SECONDS", (0.01,))
    with serving(engine) as client:
        assert client.get("/api/v1/status").status_code == 200
        server().stop()
        try:
            answers = [client.get(f"/api/v1/{path}") for path in ("status", "images")]
            answers.append(search_by_id(client, identity(1)))
            for answer in answers:
                assert answer.status_code == 503 and "Retry-After" in answer.headers
                assert answer.json()["code"] == "catalog_unavailable"
                assert "try again in a moment" in answer.json()["detail"]
                assert not re.search(r"postgresql|127\.0\.0\.1|localhost|port|run", answer.text)
            assert client.get("/healthz").status_code == 200
            ready = client.get("/readyz")  # needs no token, so it names no host and no user
            assert ready.status_code == 503 and ready.json()["code"] == "catalog_unavailable"
            assert "postgresql" not in ready.text and "postgresql" in caplog.text
            with pytest.raises(UnavailableError, match="does not answer"):
                engine.sync(folder)
            with pytest.raises(UnavailableError, match="does not answer"):
                PostgresDatabase(address)
        finally:
            server().start()
        assert search_by_id(client, identity(1)).json()["hits"][0]["id"] == identity(1)
    assert engine.sync(folder).unchanged == 1


def search_by_id(client: httpx.Client, picture: str) -> httpx.Response:
    return client.post("/api/v1/search", json={"terms": [{"image": f"id:{picture}"}]})


def test_a_server_that_restarts_is_waited_for(
    engine: Engine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paint(folder / "a.jpg", 1)
    engine.sync(folder)
    monkeypatch.setattr("search.catalog.postgres.RETRY_SECONDS", (0.1,) * 300)
    server().stop()
    thread = threading.Timer(0.2, server().start)
    thread.start()
    try:
        assert engine.status().pictures == 1
    finally:
        thread.join()


def test_a_full_server_is_told_and_the_run_goes_on_when_it_has_room(
    engine: Engine, folder: Path, address: str
) -> None:
    for seed in range(48):
        paint(folder / f"{seed}.jpg", seed)
    server().execute(
        "CREATE FUNCTION fill() RETURNS trigger AS $$ BEGIN "
        "IF (SELECT count(*) FROM pictures) > 40 THEN "
        "RAISE 'could not extend file: No space left on device' USING ERRCODE = '53100'; END IF; "
        "RETURN NULL; END $$ LANGUAGE plpgsql; "
        "CREATE TRIGGER fill AFTER INSERT ON pictures EXECUTE FUNCTION fill()",
        name_of(address),
    )
    with pytest.raises(StorageError, match="No space left.*goes on where it stopped"):
        engine.sync(folder)
    committed = engine.status().pictures
    assert 0 < committed <= 40
    server().execute("DROP TRIGGER fill ON pictures", name_of(address))
    assert engine.sync(folder).embedded == 48 - committed
    assert engine.check().problems == ()


def test_a_user_who_may_only_read_searches_and_is_told_why_nothing_is_written(
    engine: Engine, home: Path, folder: Path, address: str
) -> None:
    paint(folder / "a.jpg", 1)
    engine.sync(folder)
    name = name_of(address)
    server().execute(
        "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'visitor') THEN "
        "CREATE ROLE visitor LOGIN; END IF; END $$"
    )
    for access in ("SELECT ON ALL TABLES", "SELECT ON ALL SEQUENCES"):
        server().execute(f"GRANT {access} IN SCHEMA public TO visitor", name)
    visitor = open_library(home, catalog=server().address(name, "visitor"))
    assert visitor.search(image=f"id:{identity(1)}", k=1)[0].id == identity(1)
    with pytest.raises(LibraryError, match="refuses .*permission denied"):
        visitor.library.catalog.tag(1, ["x"])
    close_library(visitor)
    server().execute(
        f"ALTER ROLE visitor IN DATABASE {name} SET default_transaction_read_only = on"
    )
    standby = open_library(home, catalog=server().address(name, "visitor"))
    assert standby.library.database.read_only
    assert standby.search(image=f"id:{identity(1)}", k=1)[0].id == identity(1)
    with pytest.raises(StorageError, match="can only be read"):
        standby.library.catalog.tag(1, ["x"])
    assert standby.check().problems == ()
    close_library(standby)


def test_what_is_not_there_is_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("search.catalog.postgres.RETRY_SECONDS", ())
    for address, error, reason in (
        (server().address("missing"), LibraryError, 'database "missing" does not exist'),
        (server().address("postgres", "stranger"), LibraryError, 'role "stranger" does not exist'),
        (f"postgresql+psycopg://u@/d?host={home}", UnavailableError, "does not answer"),
        ("postgresql://u@127.0.0.1:1/d", UnavailableError, "does not answer"),
        ("mysql://u:pw@host/d", InputError, "no database that lookalike knows"),
        ("postgresql://u:pw@host:port/d", InputError, "no URL"),
    ):
        with pytest.raises(error, match=reason) as caught:
            Engine.open(home, catalog=address)
        assert ":pw" not in str(caught.value)


def test_without_psycopg_the_command_that_installs_it_is_named(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(LibraryError, match="pip install .*psycopg"):
        Engine.open(home, catalog="postgresql+psycopg://u@host/d")


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("sslmod=x", 'invalid connection option "sslmod"'),
        ("sslmode=x", 'invalid sslmode value: "x"'),
        ("client_encoding=x", 'invalid value for parameter "client_encoding"'),
        ("options=-cnone%3Dx", 'unrecognized configuration parameter "none"'),
    ],
)
def test_a_wrong_option_of_the_address_is_refused(address: str, option: str, message: str) -> None:
    with pytest.raises(LibraryError, match=f"refuses .*{message}.*options") as caught:
        PostgresDatabase(f"{address}&{option}")
    assert not isinstance(caught.value, UnavailableError)


@pytest.mark.parametrize(
    ("login", "options"), [("me:se/c@ret", ""), ("me:p@s?x", ""), ("me:p@s", "?a=b"), ("@:a", "")]
)
def test_an_unencoded_password_is_refused_and_not_shown(login: str, options: str) -> None:
    with pytest.raises(InputError, match=r"%40.*PGPASSWORD") as caught:
        PostgresDatabase(f"postgresql+psycopg://{login}@host.invalid/db{options}")
    assert not any(part in str(caught.value) for part in ("ret", "p@s", "s?x"))


def test_a_port_that_is_no_number_is_refused() -> None:
    with pytest.raises(InputError, match="is no URL"):
        PostgresDatabase("postgresql+psycopg://me@/db?host=/run&port=abc")


# passwords -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("postgresql+psycopg://me:pw@host/db", "postgresql+psycopg://me@host/db"),
        ("postgresql://me:p@w/x?y@host:5/db", "postgresql://me@host:5/db"),
        ("postgresql://me@host/db?password=pw", "postgresql://me@host/db"),
        ("postgresql://me@/db?host=/run/x&sslpassword=pw", "postgresql://me@/db?host=/run/x"),
        ("postgresql://host/db", "postgresql://host/db"),
        ("postgresql:me:p@w@host/db", "host/db"),
        ("me:pw@host/db", "host/db"),
    ],
)
def test_an_address_is_shown_without_its_password(address: str, shown: str) -> None:
    assert hide_password(address) == shown


def test_a_password_is_never_shown(
    home: Path, address: str, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    name, words = name_of(address), SECRET.replace("/", "%2F").replace("?", "%3F")
    server().execute(
        "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'locked') THEN "
        f"CREATE ROLE locked SUPERUSER LOGIN PASSWORD '{SECRET}'; END IF; END $$"
    )
    right = server().address(name, "locked", words)
    engine = open_library(home, catalog=right)
    texts: list[Any] = [engine.status(), engine.status().to_json(), engine.settings, engine.library]
    lines: list[str] = []
    with engine.library.database.hold_lock(0, lines.append):
        other = PostgresDatabase(right)
        with pytest.raises(LockedError) as caught, other.hold_lock(0, lines.append):
            pass
        other.close()
    texts += [caught.value, lines, Settings.load(catalog=right).model_dump()]
    close_library(engine)
    with pytest.raises(LibraryError, match="password authentication failed") as refused:
        Engine.open(home, catalog=server().address(name, "locked", words + "x"))
    texts += [refused.value, refused.getrepr(), capfd.readouterr(), caplog.text]
    for path in home.rglob("*"):
        texts.append(path.read_bytes() if path.is_file() else "")
    for one in texts:
        assert SECRET not in repr(one) + str(one) and words not in repr(one) + str(one)
