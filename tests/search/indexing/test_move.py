"""`move` copies a catalog to another database, whole or not at all, and the answers stay."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.libraries import close_library, open_library
from helpers.pictures import identity, jpeg, paint
from helpers.postgres import create_catalog, server
from helpers.project import ROOT
from sqlalchemy import insert, select, update

from search import Engine, InputError, LibraryError
from search.catalog import copy, schema
from search.catalog.database import open_database

Open = Callable[..., Engine]
EMPTY = {table.name: 0 for table in copy.TABLES} | {"meta": 1}


@pytest.fixture
def filled(library: Open, folder: Path) -> Engine:
    """A library with tags, an orphan, an upload, a deleted picture, and a name beyond UTF-8."""
    engine = library()
    for seed in range(6):
        paint(folder / f"{seed}.jpg", seed)
    paint(Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.jpg")), 7)
    engine.sync(folder)
    engine.keep(jpeg(9), "été.jpg")
    engine.library.catalog.tag(1, ["Strand", "été"])
    (folder / "4.jpg").unlink()
    engine.sync(folder)
    (folder / "5.jpg").unlink()
    engine.sync(folder)
    engine.library.catalog.purge([6])
    engine.library.indexes.save(engine.library.reader.spaces()[0])
    return engine


def read_answers(engine: Engine) -> list[Any]:
    """What searches and pages answer."""
    images = [jpeg(0), f"id:{identity(2)}", jpeg(8)]
    hits = [[(h.id, h.score, h.paths, h.tags) for h in engine.search(image=i)] for i in images]
    return [*hits, engine.pictures().pictures, engine.status().to_json()["roots"]]


def move(engine: Engine, to: str) -> Any:
    *_, last = engine.move(to)
    return last.report


def read_counts(address: str | None, home: Path) -> dict[str, int]:
    """The count of rows by table of a database, or of the file in a home."""
    database = open_database(address, home / "catalog.sqlite")
    with database.read() as c:
        counts = copy.count_rows(c)
    database.close()
    return counts


def test_a_library_answers_the_same_on_postgresql_and_back_in_a_file(
    filled: Engine, library: Open, home: Path, folder: Path
) -> None:
    answers, rows = read_answers(filled), read_counts(None, home)
    logs = [read_log(filled)]
    addresses = [create_catalog() for _ in range(2)]
    report = move(filled, addresses[0])
    assert report.rows == rows and report.setting == f"LOOKALIKE_CATALOG={addresses[0]}"
    first = library(catalog=addresses[0])
    assert move(first, addresses[1]).rows == rows  # from server to server
    second = library(catalog=addresses[1])
    (home / "catalog.sqlite").rename(home / "old.sqlite")
    report = move(second, "sqlite:")
    assert report.rows == rows and report.setting == "no LOOKALIKE_CATALOG"
    third = library(catalog=None)
    for engine in (first, second, third):
        assert read_answers(engine) == answers
        space = engine.library.reader.spaces()[0]
        assert not engine.library.indexes.replica(space).rebuilt  # the saved index is still valid
        logs.append(read_log(engine))
        synced = engine.sync(folder)
        assert (synced.unchanged, synced.embedded) == (5, 0)
        assert engine.check().problems == ()
    assert logs == [logs[0]] * 4


def read_log(engine: Engine) -> list[Any]:
    with engine.library.database.read() as c:
        return [tuple(row) for row in c.execute(select(schema.changes).order_by("sequence"))]


def test_numbers_of_deleted_rows_are_not_given_again(
    filled: Engine, library: Open, folder: Path
) -> None:
    with filled.library.database.read() as c:
        highest = max(c.scalars(select(schema.pictures.c.row_id)))
    catalog = filled.library.catalog
    files = [file for root in catalog.roots() for file in catalog.files_of(root, highest)]
    catalog.purge(catalog.remove_files(files))
    with filled.library.database.read() as c:
        assert max(c.scalars(select(schema.pictures.c.row_id))) < highest
    address = create_catalog()
    move(filled, address)
    paint(folder / "new.jpg", 50)
    moved = library(catalog=address)
    moved.sync(folder)
    assert moved.library.reader.resolve(identity(50)) > highest
    assert len({row[0] for row in read_log(moved)}) == len(read_log(moved))


def test_a_target_with_rows_is_refused_and_stays(filled: Engine, home: Path) -> None:
    address = create_catalog()
    move(filled, address)
    counts = read_counts(address, home)
    with pytest.raises(InputError, match="not empty .*give an empty database"):
        move(filled, address)
    assert read_counts(address, home) == counts


@pytest.mark.parametrize(
    ("to", "reason"),
    [
        ("sqlite:", "is in .*catalog.sqlite already"),
        ("sqlite:////elsewhere/catalog.sqlite", "not the file in the library's folder"),
        ("mysql://u:pw@h/d", "no database that lookalike knows"),
        ("", "no database that lookalike knows"),
    ],
)
def test_a_target_that_cannot_be_is_refused(engine: Engine, to: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason) as refusal:
        move(engine, to)
    assert "pw" not in str(refusal.value)


def test_the_same_database_is_refused(library: Open) -> None:
    address = create_catalog()
    with pytest.raises(InputError, match="already"):
        move(library(catalog=address), address)


def test_a_copy_that_differs_is_not_committed(filled: Engine, home: Path) -> None:
    address, rows = create_catalog(), read_counts(None, home)
    server().execute(
        "CREATE FUNCTION spoil() RETURNS trigger AS $$ BEGIN "
        "NEW.score := NEW.score + 1e-9; RETURN NEW; END $$ LANGUAGE plpgsql; "
        "CREATE TRIGGER spoil BEFORE INSERT ON labels FOR EACH ROW EXECUTE FUNCTION spoil()",
        address.partition("@/")[2].partition("?")[0],
    )
    with filled.library.database.write() as c:
        space = filled.library.reader.spaces()[0].id
        c.execute(insert(schema.labels).values(picture=1, space=space, label="x", score=0.5))
    rows["labels"] += 1
    with pytest.raises(LibraryError, match="table labels differs .*nothing was copied"):
        move(filled, address)
    assert read_counts(address, home) == EMPTY and read_counts(None, home) == rows


@pytest.mark.parametrize("to_file", [False, True])
def test_a_move_that_is_left_leaves_the_target_empty(
    filled: Engine, library: Open, home: Path, to_file: bool
) -> None:
    address, answers = create_catalog(), read_answers(filled)
    source, to = filled, address
    if to_file:
        move(filled, address)
        source, to = library(catalog=address), "sqlite:"
        (home / "catalog.sqlite").rename(home / "old.sqlite")
    steps = source.move(to)
    while next(steps).table != "vectors":
        pass
    steps.close()  # type: ignore[attr-defined]
    if to_file:
        assert not (home / "catalog.sqlite").exists()
    else:
        assert read_counts(address, home) == EMPTY
    assert read_answers(source) == answers
    assert move(source, to).rows == read_counts(to if not to_file else None, home)


MOVE = """
import sys
from search import Engine
with Engine.open(sys.argv[1]) as engine:
    for progress in engine.move(sys.argv[2]):
        print(progress.table, flush=True)
        if progress.table == "vectors":
            sys.stdin.read()
"""


def test_a_move_that_is_killed_leaves_the_target_empty(filled: Engine, home: Path) -> None:
    address, rows = create_catalog(), read_counts(None, home)
    with subprocess.Popen(
        [sys.executable, "-c", MOVE, str(home), address],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as process:
        assert process.stdout is not None
        while process.stdout.readline() != b"vectors\n":
            assert process.poll() is None
        process.send_signal(signal.SIGKILL)
    assert read_counts(address, home) == EMPTY and read_counts(None, home) == rows
    assert move(filled, address).rows == rows


def test_the_command_prints_the_setting_to_use_from_now_on(library: Open, folder: Path) -> None:
    paint(folder / "a.jpg", 1)
    engine, address = library(), create_catalog()
    engine.sync(folder)

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "search", "--home", str(engine.home), *words]
        return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)

    document = json.loads(run("move", "--to", address, "--json").stdout)
    assert document["rows"]["pictures"] == 1
    assert document["setting"] == f"LOOKALIKE_CATALOG={address}"
    again = run("move", "--to", address)
    assert again.returncode == 1 and "not empty" in again.stderr
    text = run("move", "--to", create_catalog()).stdout
    assert "1 pictures, 1 vectors, 1 files" in text and "LOOKALIKE_CATALOG=postgresql" in text


def test_damaged_vectors_move_as_they_are_and_check_finds_them(
    filled: Engine, library: Open
) -> None:
    with filled.library.database.write() as c:
        c.execute(update(schema.vectors).where(schema.vectors.c.picture == 2).values(digest=b"x"))
    address = create_catalog()
    move(filled, address)
    moved = library(catalog=address)
    assert any("1 damaged vectors" in line for line in moved.check().repaired)


def test_a_library_without_pictures_moves(home: Path, library: Open) -> None:
    engine, address = library(), create_catalog()
    assert move(engine, address).rows["pictures"] == 0
    other = open_library(home, catalog=address)
    assert other.library.reader.library() == engine.library.reader.library()
    close_library(other)
