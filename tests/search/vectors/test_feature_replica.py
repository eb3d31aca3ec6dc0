"""The index of local features follows the catalog, and is built again when it is lost."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.project import SAMPLES
from sqlalchemy import delete, func, select, update

from search import Engine
from search.catalog.schema import local_features
from search.media.local_features import unpack

Open = Callable[..., Engine]
KINDS = ("dress", "hat", "pants", "shirt")


@pytest.fixture
def engine(library: Open, folder: Path) -> Engine:
    for kind in KINDS:
        shutil.copy(SAMPLES / kind / "01.jpg", folder / f"{kind}.jpg")
    engine = library()
    engine.sync(folder)
    return engine


def find(engine: Engine, name: str, stored: dict[str, int]) -> set[str]:
    """The names of the pictures that have many of the points of a picture."""
    reader, names = engine.library.reader, {row_id: one for one, row_id in stored.items()}
    (data,) = reader.load_features([stored[name]]).values() or (b"\0" * 4,)
    matches = engine.library.features.search(unpack(data).codes)
    same = matches.row_ids[matches.bits == 0]
    return {names[row_id] for row_id in set(same.tolist()) if (same == row_id).sum() > 50}


def row_ids(engine: Engine, folder: Path) -> dict[str, int]:
    reader = engine.library.reader
    return {one.stem: reader.resolve(engine.find_id(one)) for one in sorted(folder.iterdir())}


def count_rows(engine: Engine) -> int:
    with engine.library.database.read() as c:
        return c.scalar(select(func.count()).select_from(local_features)) or 0


def test_a_picture_is_found_by_its_points(engine: Engine, folder: Path) -> None:
    stored = row_ids(engine, folder)
    for name in KINDS:
        assert find(engine, name, stored) == {name}


def test_the_index_follows_the_change_log(engine: Engine, folder: Path) -> None:
    stored = row_ids(engine, folder)
    assert find(engine, "hat", stored) == {"hat"}
    data = engine.library.reader.load_features([stored["hat"]])[stored["hat"]]
    shutil.copy(SAMPLES / "shoes" / "01.jpg", folder / "shoes.jpg")
    engine.sync(folder)
    stored = row_ids(engine, folder)
    assert find(engine, "shoes", stored) == {"shoes"}
    engine.forget(folder / "hat.jpg")
    matches = engine.library.features.search(unpack(data).codes)
    assert stored["hat"] not in matches.row_ids
    engine.sync(folder)
    assert find(engine, "hat", row_ids(engine, folder)) == {"hat"}


def test_pictures_may_go_after_the_snapshot_was_saved(engine: Engine, folder: Path) -> None:
    engine.library.features.save()
    assert find(engine, "hat", row_ids(engine, folder)) == {"hat"}
    stored = row_ids(engine, folder)
    engine.forget(folder / "hat.jpg")
    assert find(engine, "dress", stored) == {"dress"}


def test_a_lost_or_damaged_snapshot_is_built_again(library: Open, folder: Path) -> None:
    shutil.copy(SAMPLES / "hat" / "01.jpg", folder / "hat.jpg")
    home = library().home
    library().sync(folder)
    for damage in (lambda path: path.unlink(), lambda path: path.write_bytes(b"no snapshot")):
        (snapshot,) = (home / "features").glob("*.faiss")
        damage(snapshot)
        engine = library()
        assert find(engine, "hat", row_ids(engine, folder)) == {"hat"}


def test_an_old_library_gets_its_features_by_the_next_sync(engine: Engine, folder: Path) -> None:
    with engine.library.database.write() as c:
        c.execute(delete(local_features))
    assert count_rows(engine) == 0
    report = engine.sync(folder)
    assert (report.embedded, report.unchanged, count_rows(engine)) == (0, 4, 4)
    with engine.library.database.write() as c:
        c.execute(update(local_features).values(rule=0))
    assert engine.library.reader.count_features() == 0
    engine.sync(folder)
    assert engine.library.reader.count_features() == 4
    assert find(engine, "hat", row_ids(engine, folder)) == {"hat"}


def test_features_of_a_forgotten_picture_are_deleted(engine: Engine, folder: Path) -> None:
    assert engine.forget(folder / "hat.jpg") == 1
    assert count_rows(engine) == 3


def test_an_upload_has_features(engine: Engine) -> None:
    engine.keep((SAMPLES / "shoes" / "02.jpg").read_bytes())
    assert engine.library.reader.count_features() == 5


def test_check_mends_the_index_and_the_features(
    library: Open, engine: Engine, folder: Path
) -> None:
    engine.library.features.save()
    assert engine.check().repaired == ()
    (path,) = (engine.home / "features").iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[:-40] + bytes(byte ^ 255 for byte in whole[-40:]))
    (line,) = engine.check().repaired
    assert "index of local features was damaged" in line
    stored = row_ids(engine, folder)
    with engine.library.database.write() as c:  # without an entry in the change log
        c.execute(delete(local_features).where(local_features.c.picture == stored["hat"]))
        where = local_features.c.picture == stored["dress"]
        c.execute(update(local_features).where(where).values(data=b"short"))
    first, second = library().check().repaired
    assert "features of 1 pictures were deleted" in first and "did not agree" in second
    assert library().check().repaired == ()
    engine.check()  # what this process has in memory is of before
    engine.sync(folder)
    assert count_rows(engine) == len(KINDS)
    for name in KINDS:
        assert find(engine, name, stored) == {name}
    assert engine.check().problems == engine.check().repaired == ()
