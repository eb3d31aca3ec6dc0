"""A library of any older version opens, migrates, and answers as before."""

from __future__ import annotations

import json
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.libraries import close_library, open_library, parts
from helpers.old_catalogs import OLD_VERSIONS, read_rows, write_old_catalog
from helpers.pictures import identity, jpeg, paint
from PIL import ExifTags, Image
from sqlalchemy import inspect

from search import Engine
from search.catalog import migrations
from search.catalog.database import Database
from search.catalog.migrations import MIGRATIONS, NEWEST
from search.media.colors import RANK_SHARES
from search.records.pictures import Picture

LOG = "SELECT sequence, picture, operation, stamp FROM changes ORDER BY sequence"
COLORS = "SELECT picture, rank, color, cell, hue FROM colors ORDER BY 1, 2"
VECTORS = "SELECT * FROM vectors ORDER BY 1, 2"  # space, picture, data


def write_photograph(path: Path) -> None:
    """A picture with a camera, a lens, a date and a place."""
    exif = Image.Exif()
    exif[ExifTags.Base.Make], exif[ExifTags.Base.Model] = "Canon", "Canon EOS R6"
    exif[ExifTags.Base.ImageDescription] = "Two boats"
    details = exif.get_ifd(ExifTags.IFD.Exif)
    details[ExifTags.Base.LensModel] = "RF 35mm f/1.8"
    details[ExifTags.Base.DateTimeOriginal] = "2024:05:06 07:08:09"
    place = exif.get_ifd(ExifTags.IFD.GPSInfo)
    place |= {1: "N", 2: (48.0, 51.0, 0.0), 3: "W", 4: (2.0, 21.0, 0.0)}
    exif[ExifTags.IFD.GPSInfo] = dict(place)
    Image.linear_gradient("L").resize((48, 40)).save(path, "JPEG", exif=exif)


def answers(engine: Engine) -> list[list[tuple[str, float, tuple[str, ...]]]]:
    """What searches by a file, an id and a photograph's pixels answer."""
    images = [jpeg(0), f"id:{identity(2)}", Image.linear_gradient("L")]
    return [[(h.id, h.score, h.tags) for h in engine.search(image=one)] for one in images]


def without_decoding(picture: Picture) -> Picture:
    """A picture without what older versions do not have until its file is read again."""
    metadata = replace(picture.metadata, palette_shares=())
    return replace(picture, metadata=metadata, labels=(), low_content=False, decode_rule=0)


@pytest.fixture
def filled(home: Path, folder: Path) -> Path:
    """A closed library of five pictures, with tags, an orphan, and a picture that came back."""
    engine = open_library(home)
    for seed in range(5):
        paint(folder / f"{seed}.jpg", seed)
    write_photograph(folder / "photograph.jpg")
    engine.sync(folder)
    for seed in (1, 3):
        (folder / f"{seed}.jpg").unlink()
    engine.sync(folder)
    paint(folder / "back.jpg", 3)
    engine.sync(folder)
    engine.library.catalog.tag(1, ["Strand", "été"])
    close_library(engine)
    return home


@pytest.mark.parametrize("version", OLD_VERSIONS)
def test_a_library_of_an_older_version_answers_as_before(
    filled: Path, folder: Path, version: int
) -> None:
    catalog, old = filled / "catalog.sqlite", filled.parent / "old.sqlite"
    engine = open_library(filled)
    expected, pictures = answers(engine), engine.pictures().pictures
    close_library(engine)
    write_old_catalog(catalog, old, version)
    log, colors = read_rows(old, LOG), read_rows(catalog, COLORS)
    vectors = [row[:3] for row in read_rows(old, VECTORS)]  # later versions have a digest
    for path in filled.glob("catalog.sqlite*"):
        path.unlink()
    shutil.copy(old, catalog)

    engine = open_library(filled)
    assert read_rows(catalog, LOG) == log
    assert [row[:3] for row in read_rows(catalog, VECTORS)] == vectors
    assert answers(engine) == expected
    migrated = engine.pictures().pictures
    assert list(map(without_decoding, migrated)) == list(map(without_decoding, pictures))
    assert read_rows(catalog, COLORS) == colors
    shares = [one.metadata.palette_shares for one in migrated]
    if version < 18:
        assert all(one == RANK_SHARES[: len(one)] for one in shares)
    else:
        assert shares == [one.metadata.palette_shares for one in pictures]
    if version >= 4:
        with_shares = [
            replace(m, metadata=replace(m.metadata, palette_shares=one.metadata.palette_shares))
            for m, one in zip(migrated, pictures, strict=True)
        ]
        assert with_shares == list(pictures)
    computed = parts()[2].computed
    report = engine.sync(folder)
    assert (report.unchanged, report.embedded, report.pictures) == (5, 0, 5)
    assert parts()[2].computed == computed and answers(engine) == expected
    checked = engine.check(deep=True)
    assert checked.problems == () and checked.repaired == ()
    close_library(engine)


@pytest.mark.parametrize("version", OLD_VERSIONS)
def test_metadata_comes_into_columns_of_its_own(filled: Path, version: int) -> None:
    new, old = filled / "catalog.sqlite", filled / "old.sqlite"
    columns = "type, width, height, bytes, taken, camera, lens, latitude, longitude"
    pictures = f"SELECT row_id, id, {columns}, exif FROM pictures ORDER BY row_id"
    colors = "SELECT picture, rank, color FROM colors ORDER BY picture, rank"
    write_old_catalog(new, old, version)
    Database(old).close()
    assert read_rows(old, colors) == read_rows(new, colors) != []
    rows = [(*row[:-1], json.loads(str(row[-1]))) for row in read_rows(old, pictures)]
    assert rows == [(*row[:-1], json.loads(str(row[-1]))) for row in read_rows(new, pictures)]
    photograph = next(row for row in rows if row[7])
    date, camera = "2024-05-06T07:08:09", "Canon EOS R6"
    assert photograph[6:11] == (date, camera, "RF 35mm f/1.8", 48.85, -2.35)


@pytest.mark.parametrize("version", OLD_VERSIONS)
def test_each_file_becomes_a_place_of_its_picture(filled: Path, version: int) -> None:
    new, old = filled / "catalog.sqlite", filled / "old.sqlite"
    places = "SELECT file, picture, time, page FROM places ORDER BY file"
    files = "SELECT id, root, path, size, reason, last_picture FROM files ORDER BY id"
    captions = "SELECT row_id, caption, original_name, source_url FROM pictures ORDER BY row_id"
    write_old_catalog(new, old, version)
    Database(old).close()
    for query in (places, files, captions):
        assert read_rows(old, query) == read_rows(new, query) != []
    assert "Two boats" in str(read_rows(old, captions))
    with sqlite3.connect(old) as connection:
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    connection.close()


@pytest.mark.parametrize("version", [one for one in OLD_VERSIONS if one < 7])
def test_tags_that_differ_in_spelling_become_one(filled: Path, version: int) -> None:
    old = filled / "old.sqlite"
    write_old_catalog(filled / "catalog.sqlite", old, version)
    with sqlite3.connect(old) as connection:
        rows = [(1, "STRAND"), (1, "E\u0301t\u00e9"), (3, "STRAND")]
        connection.executemany("INSERT INTO tags (picture, tag) VALUES (?, ?)", rows)
    connection.close()
    Database(old).close()
    tags = read_rows(old, "SELECT picture, tag, normalized, origin FROM tags ORDER BY 1, 3")
    assert tags == [
        (1, "Strand", "strand", "person"),
        (1, "été", "été", "person"),
        (3, "STRAND", "strand", "person"),
    ]


@pytest.mark.parametrize("column", ["taken", "camera", "lens", "latitude", "width", "bytes"])
def test_conditions_on_metadata_use_an_index(tmp_path: Path, column: str) -> None:
    Database(tmp_path / "c.sqlite").close()
    query = f"EXPLAIN QUERY PLAN SELECT row_id FROM pictures WHERE {column} > 1"
    assert "USING" in str(read_rows(tmp_path / "c.sqlite", query))


@pytest.mark.filterwarnings("ignore:Skipped unsupported reflection of expression-based index")
@pytest.mark.parametrize("version", OLD_VERSIONS)
def test_a_migrated_catalog_has_the_tables_of_a_new_one(filled: Path, version: int) -> None:
    write_old_catalog(filled / "catalog.sqlite", filled / "old.sqlite", version)
    migrated, new = Database(filled / "old.sqlite"), Database(filled / "new.sqlite")
    tables = [inspect(database.engine) for database in (migrated, new)]
    assert tables[0].get_table_names() == tables[1].get_table_names()
    for table in tables[1].get_table_names():
        columns = [
            sorted((c["name"], str(c["type"]), c["nullable"]) for c in one.get_columns(table))
            for one in tables
        ]
        assert columns[0] == columns[1], table
        indexes = [
            sorted((str(i["name"]), i["column_names"]) for i in one.get_indexes(table))
            for one in tables
        ]
        assert indexes[0] == indexes[1], table
    for database in (migrated, new):
        assert database.integrity() == []
        database.close()
    versions = read_rows(filled / "old.sqlite", "SELECT version FROM migrations ORDER BY version")
    assert [row[0] for row in versions] == list(range(version, NEWEST + 1))


def test_migrations_are_numbered_without_gaps() -> None:
    assert [one.version for one in MIGRATIONS] == list(range(2, NEWEST + 1))
    assert all(one.apply.__doc__ for one in MIGRATIONS)


@pytest.mark.parametrize("version", OLD_VERSIONS)
def test_a_migration_that_fails_leaves_the_catalog_as_it_was(
    filled: Path, version: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = filled / "old.sqlite"
    write_old_catalog(filled / "catalog.sqlite", old, version)
    tables = "SELECT name, sql FROM sqlite_master ORDER BY name"
    before = read_rows(old, tables), read_rows(old, VECTORS)
    step = next(one for one in MIGRATIONS if one.version == version + 1)

    def fail(connection: object) -> None:
        step.apply(connection)  # type: ignore[arg-type]
        raise RuntimeError("the power went")

    broken = tuple(one._replace(apply=fail) if one is step else one for one in MIGRATIONS)
    monkeypatch.setattr(migrations, "MIGRATIONS", broken)
    with pytest.raises(RuntimeError):
        Database(old)
    assert (read_rows(old, tables), read_rows(old, VECTORS)) == before
    monkeypatch.undo()
    Database(old).close()
    assert read_rows(old, "SELECT max(version) FROM migrations") == [(NEWEST,)]
