"""Damage in a library is noticed, never searched, and repaired from the files."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers.libraries import close_library, parts
from helpers.pictures import identity, jpeg, paint
from sqlalchemy import select, update

from search import Engine
from search.catalog import schema

Open = Callable[..., Engine]
DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "noise": lambda data: (
        np.random.default_rng(0).normal(size=len(data) // 2).astype("<f2").tobytes()
    ),
    "short": lambda data: data[:-10],
    "empty": lambda data: b"",
    "a bit": lambda data: data[:7] + bytes([data[7] ^ 4]) + data[8:],
}


def damage_vectors(engine: Engine, row_ids: range, kind: str) -> None:
    with engine.library.database.write() as c:
        for row_id in row_ids:
            where = schema.vectors.c.picture == row_id
            data = c.execute(select(schema.vectors.c.data).where(where)).scalar_one()
            c.execute(update(schema.vectors).where(where).values(data=DAMAGE[kind](data)))


@pytest.mark.parametrize("kind", sorted(DAMAGE))
@pytest.mark.catalogs("sqlite", "postgresql")
def test_damaged_vectors_are_left_out_and_embedded_again(
    library: Open, engine: Engine, home: Path, folder: Path, kind: str
) -> None:
    for seed in range(11):
        paint(folder / f"{seed}.jpg", seed)
    engine.sync(folder)
    whole = {hit.id: hit.score for hit in engine.search(image=jpeg(0), k=20)}
    damage_vectors(engine, range(1, 4), kind)
    damaged = {engine.library.reader.picture_ids([n])[n] for n in range(1, 4)}
    for one in (engine, library()):  # with the index of before, and with the stored snapshot
        scores = {hit.id: hit.score for hit in one.search(image=jpeg(0), k=20)}
        assert scores.keys() == whole.keys() - damaged
        assert all(scores[key] == whole[key] for key in scores)
    for path in (home / "index").iterdir():
        path.unlink()
    rebuilt = library()
    assert {hit.id for hit in rebuilt.search(image=jpeg(0), k=20)} == whole.keys() - damaged
    close_library(rebuilt)
    computed = parts()[2].computed
    report = engine.check()
    assert report.problems == ()
    assert report.repaired[:2] == (
        "3 damaged vectors of mini were deleted",
        "3 pictures were embedded again",
    )
    assert parts()[2].computed == computed + 3
    again = {hit.id: hit.score for hit in engine.search(image=jpeg(0), k=20)}
    assert again == pytest.approx(whole, abs=1e-3)
    assert engine.check().problems == () and engine.check().repaired == ()


def test_a_damaged_vector_of_a_file_that_is_away_is_embedded_when_it_is_back(
    engine: Engine, folder: Path, tmp_path: Path
) -> None:
    for seed in range(2):
        paint(folder / f"{seed}.jpg", seed)
    engine.sync(folder)
    damage_vectors(engine, range(1, 2), "noise")
    folder.rename(tmp_path / "away")
    report = engine.check()
    assert report.repaired == ("1 damaged vectors of mini were deleted",)
    assert "1 pictures have no vector of mini; index their folders again" in report.problems
    (tmp_path / "away").rename(folder)
    assert engine.sync(folder).embedded == 1
    assert engine.check().problems == ()


def test_a_damaged_vector_is_not_copied(engine: Engine, folder: Path) -> None:
    paint(folder / "a.jpg", 1)
    engine.sync(folder)
    damage_vectors(engine, range(1, 2), "noise")
    paint(folder / "b.jpg", 1, "other bytes, same image")
    assert engine.sync(folder).embedded == 1
    (hit,) = engine.search(image=jpeg(1))
    assert hit.id == identity(1, "other bytes, same image") and hit.score > 0.999


@pytest.mark.parametrize("damage", [b"", b"noise" * 100, None])
def test_a_damaged_thumbnail_is_made_again(
    engine: Engine, folder: Path, damage: bytes | None
) -> None:
    for seed in range(2):
        paint(folder / f"{seed}.jpg", seed)
    engine.sync(folder)
    path = engine.library.thumbnails.path(identity(1))
    before = path.read_bytes()
    path.write_bytes(before[: len(before) // 2] if damage is None else damage)
    report = engine.check()
    assert report.problems == ()
    assert report.repaired == ("1 missing or damaged thumbnails were made again",)
    assert path.read_bytes() == before and engine.check().repaired == ()


def test_thumbnails_are_on_the_disk_before_the_catalog_names_them(
    engine: Engine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = list[str]()
    real = os.fsync

    def fsync(number: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{number}"))
        real(number)

    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("this system does not name open files")
    monkeypatch.setattr(os, "fsync", fsync)
    paint(folder / "a.jpg", 1)
    engine.sync(folder)
    thumbnails = str(engine.home / "thumbnails")
    assert len([path for path in synced if path.startswith(thumbnails)]) == 1
