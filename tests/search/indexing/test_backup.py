"""Backups are whole and come back; a lost catalog takes its kept pictures in again."""

from __future__ import annotations

import json
import os
import shutil
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.libraries import close_library
from helpers.pictures import identity, jpeg, paint
from typer.testing import CliRunner

from search import Engine, InputError, LibraryError, NotFoundError, StorageError
from search.cli.app import app
from search.cli.running_server import publish
from search.lock import hold_lock

Open = Callable[..., Engine]


def tag(engine: Engine, seed: int, name: str) -> None:
    engine.library.catalog.tag(engine.library.reader.resolve(identity(seed)), [name])


def lose_catalog(home: Path) -> None:
    for path in home.glob("catalog.sqlite*"):
        path.unlink()


@pytest.fixture
def filled(library: Open, home: Path, folder: Path) -> Path:
    """The home of a closed library with an indexed and a kept picture."""
    engine = library()
    paint(folder / "a.jpg", 1)
    engine.sync(folder)
    engine.keep(jpeg(2), "Uncle 1999.jpg")
    tag(engine, 2, "family")
    close_library(engine)
    return home


# a lost catalog --------------------------------------------------------------------------------


def test_kept_pictures_outlive_their_catalog(library: Open, filled: Path, folder: Path) -> None:
    lose_catalog(filled)
    engine = library()
    report = engine.sync(folder)
    assert (report.added, report.pictures) == (2, 2)
    assert engine.search(image=jpeg(2))[0].path == str(filled / "kept" / "Uncle 1999.jpg")
    assert engine.keep(jpeg(2)).is_new is False
    assert engine.sync(folder).unchanged == 1  # the kept folder is synced by itself again
    assert engine.check(deep=True).problems == ()


def test_kept_pictures_are_taken_in_after_another_one_was_kept(
    library: Open, filled: Path, folder: Path
) -> None:
    lose_catalog(filled)
    engine = library()
    engine.keep(jpeg(3), "new.jpg")
    assert engine.sync(folder).pictures == 3


def test_a_library_of_kept_pictures_alone_is_taken_in_by_its_folder(
    library: Open, filled: Path
) -> None:
    lose_catalog(filled)
    engine = library()
    assert engine.sync(filled / "kept").added == 1
    assert engine.search(image=jpeg(2))[0].score > 0.999


def test_a_home_inside_a_folder_takes_its_pictures_in_as_uploads(
    library: Open, tmp_path: Path
) -> None:
    pictures = tmp_path / "pictures"
    engine = library(pictures / "home")
    paint(pictures / "a.jpg", 1)
    engine.keep(jpeg(2), "b.jpg")
    close_library(engine)
    lose_catalog(pictures / "home")
    engine = library(pictures / "home")
    assert engine.sync(pictures).pictures == 2
    roots = [root.path for root in engine.library.catalog.roots()]
    assert roots == [str(pictures), str(pictures / "home" / "kept")]
    for _ in range(2):
        assert engine.sync(pictures).removed == 0


# backup and restore ----------------------------------------------------------------------------


def test_a_backup_brings_everything_back(
    library: Open, filled: Path, folder: Path, tmp_path: Path
) -> None:
    file = tmp_path / "deep" / "library.zip"
    engine = library()
    report = engine.backup(file)
    assert (report.kept, report.bytes) == (1, file.stat().st_size)
    before = [hit.to_json() for hit in engine.search(image=jpeg(2))]
    close_library(engine)
    shutil.rmtree(filled)
    assert Engine.restore(file, filled).kept == 1
    engine = library()
    assert [hit.to_json() for hit in engine.search(image=jpeg(2))] == before
    assert engine.picture(identity(2)).tags == ("family",)
    assert engine.picture(identity(2)).original_name == "Uncle 1999.jpg"
    with engine.original(identity(2))[1] as opened:
        assert opened.read() == jpeg(2)
    assert engine.sync(folder).unchanged == 1 and engine.check(deep=True).problems == ()
    assert engine.sync(filled / "kept").unchanged == 1
    assert not list(filled.glob(".restore*"))


def test_a_backup_comes_back_at_another_place(library: Open, filled: Path, tmp_path: Path) -> None:
    library().backup(tmp_path / "library.zip")
    Engine.restore(tmp_path / "library.zip", tmp_path / "other")
    engine = library(tmp_path / "other")
    assert engine.picture(identity(2)).path == str(tmp_path / "other" / "kept" / "Uncle 1999.jpg")


def test_a_backup_while_the_library_is_written_is_one_state(
    library: Open, filled: Path, folder: Path, tmp_path: Path
) -> None:
    engine, ended = library(), threading.Event()
    for seed in range(10, 60):
        paint(folder / f"{seed}.jpg", seed)
    seeds = iter(range(100, 1000))

    def write() -> None:
        while not ended.is_set():
            engine.keep(jpeg(next(seeds)))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        with hold_lock(tmp_path, 1, lambda _: None):  # of another library: nothing waits for it
            for number in range(3):
                engine.backup(tmp_path / f"{number}.zip")
    finally:
        ended.set()
        writer.join()
    for number in range(3):
        Engine.restore(tmp_path / f"{number}.zip", tmp_path / f"home {number}")
        copy = library(tmp_path / f"home {number}")
        uploads = [path for _, _, path in copy.library.reader.iterate_files() if "kept" in path]
        assert uploads and all(os.path.exists(path) for path in uploads)
        assert copy.library.database.integrity() == []


def test_a_library_that_is_there_is_moved_aside_and_not_overwritten(
    library: Open, filled: Path, tmp_path: Path
) -> None:
    engine = library()
    engine.backup(tmp_path / "library.zip")
    engine.keep(jpeg(3), "later.jpg")
    close_library(engine)
    with pytest.raises(InputError, match="--replace"):
        Engine.restore(tmp_path / "library.zip", filled)
    (filled / "catalog.sqlite").write_bytes(b"damaged")
    with pytest.raises(LibraryError, match="restore FILE"):
        library()
    Engine.restore(tmp_path / "library.zip", filled, replace=True)
    assert library().status().pictures == 2
    (aside,) = filled.glob("replaced-*")
    assert (aside / "kept" / "later.jpg").read_bytes() == jpeg(3)
    assert (aside / "catalog.sqlite").read_bytes() == b"damaged"


def test_a_damaged_backup_changes_nothing(library: Open, filled: Path, tmp_path: Path) -> None:
    file = tmp_path / "library.zip"
    library().backup(file)
    data = bytearray(file.read_bytes())
    data[data.index(b"SQLite format 3") + 5000] ^= 255
    file.write_bytes(bytes(data))
    with pytest.raises(LibraryError, match="damaged"):
        Engine.restore(file, tmp_path / "other")
    assert not list((tmp_path / "other").glob("catalog*"))
    with pytest.raises(LibraryError, match="damaged"):
        Engine.restore(file, filled, replace=True)
    assert library().status().pictures == 2


def test_names_in_a_backup_lead_nowhere_else(library: Open, filled: Path, tmp_path: Path) -> None:
    file = tmp_path / "library.zip"
    library().backup(file)
    with zipfile.ZipFile(file, "a") as archive:
        for name in ("kept/../../escaped.jpg", "../escaped.jpg", "/escaped.jpg", "other.txt"):
            archive.writestr(name, b"x")
    Engine.restore(file, tmp_path / "deep" / "other")
    assert not list(tmp_path.rglob("escaped*")) and not list(tmp_path.rglob("other.txt"))


def test_what_is_no_backup_is_neither_restored_nor_overwritten(
    library: Open, filled: Path, folder: Path, tmp_path: Path
) -> None:
    picture = folder / "a.jpg"
    with pytest.raises(InputError, match="no backup"):
        Engine.restore(picture, tmp_path / "other")
    with pytest.raises(NotFoundError):
        Engine.restore(tmp_path / "nothing.zip", tmp_path / "other")
    engine = library()
    with pytest.raises(InputError, match="no backup"):
        engine.backup(picture)
    with pytest.raises(InputError, match="among the pictures"):
        engine.backup(filled / "kept" / "library.zip")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError):
        engine.backup(tmp_path / "file" / "library.zip")
    assert picture.read_bytes() == jpeg(1)
    engine.backup(tmp_path / "library.zip")
    engine.backup(tmp_path / "library.zip")  # an earlier backup is replaced


def test_the_commands(filled: Path, tmp_path: Path) -> None:
    run, start = CliRunner().invoke, ["--home", str(filled)]
    file = str(tmp_path / "library.zip")
    report = run(app, [*start, "backup", file, "--json"])
    assert json.loads(report.stdout) == {
        "path": file,
        "kept": 1,
        "bytes": os.path.getsize(file),
    }
    with Engine.open(filled) as engine, publish(engine.settings, "token"):
        with pytest.raises(LibraryError, match="stop it first"):
            run(app, [*start, "restore", file, "--replace"], catch_exceptions=False)
    assert run(app, [*start, "restore", file, "--replace"]).exit_code == 0
    other = run(app, ["--home", str(tmp_path / "other"), "restore", file, "--json"])
    assert json.loads(other.stdout)["kept"] == 1
