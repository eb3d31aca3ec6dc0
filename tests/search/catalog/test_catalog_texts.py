"""The text in pictures in a catalog, on each database."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.pictures import identity, paint

from search import Engine
from search.catalog.scoped import CollectionReader
from search.records.texts import PictureText, TextLine

Open = Callable[..., Engine]
pytestmark = pytest.mark.catalogs("sqlite", "postgresql")
BOX = ((0.1, 0.2), (0.5, 0.2), (0.5, 0.3), (0.1, 0.3))
TEXT = PictureText((TextLine("深圳 Sunset", 0.9, BOX), TextLine("beach", 0.8, BOX)), "m" * 16)
BLANK, BROKEN = PictureText((), "m" * 16), PictureText((), "m" * 16, "decode_timeout")


@pytest.fixture
def engine(library: Open, folder: Path) -> Engine:
    """A library of four pictures in two folders."""
    engine = library()
    for seed in (1, 2, 3):
        paint(folder / "a" / f"{seed}.jpg", seed)
    paint(folder / "b" / "4.jpg", 4)
    for name in ("a", "b"):
        engine.sync(folder / name)
    return engine


def record(engine: Engine) -> dict[int, int]:
    """Record a text, none, and a failure; return row ids by seed."""
    rows = {seed: engine.library.reader.resolve(identity(seed)) for seed in (1, 2, 3, 4)}
    engine.library.texts.record({rows[1]: TEXT, rows[2]: BLANK, rows[3]: BROKEN})
    return rows


def test_what_was_read_comes_back_with_its_boxes(engine: Engine) -> None:
    rows, reader = record(engine), engine.library.reader
    every = list(rows.values())
    assert reader.texts_of(every) == {rows[1]: TEXT, rows[2]: BLANK, rows[3]: BROKEN}
    assert TEXT.text == "深圳 Sunset\nbeach"
    assert reader.have_text(every) == {rows[1]: True, rows[2]: False, rows[3]: False}
    engine.library.texts.record({rows[1]: BLANK})  # a newer model
    assert reader.have_text([rows[1]]) == {rows[1]: False}
    flags = {one.id: one.has_text for one in engine.pictures().pictures}
    assert flags == {identity(seed): seed == 4 and None for seed in (1, 2, 3, 4)}


def test_pictures_without_text_are_done_too(engine: Engine) -> None:
    texts = engine.library.texts
    assert len(texts.list_unread(10)) == 4 and len(texts.list_unread(3)) == 3
    rows = record(engine)
    assert texts.list_unread(10) == [rows[4]]
    assert texts.list_unread(10, before=rows[4]) == []
    assert texts.list_unread(10, other_than="m" * 16) == sorted((rows[3], rows[4]), reverse=True)
    newer = texts.list_unread(10, other_than="n" * 16)
    assert newer == sorted(rows.values(), reverse=True)


def test_text_lives_and_dies_with_its_picture(engine: Engine, folder: Path) -> None:
    rows, reader = record(engine), engine.library.reader
    assert reader.count_texts() == {0: 1, 1: 1, 2: 1}
    (folder / "a" / "1.jpg").rename(folder / "a" / "moved.jpg")
    engine.sync(folder / "a")
    assert reader.texts_of([rows[1]]) == {rows[1]: TEXT}
    (folder / "a" / "moved.jpg").unlink()
    engine.sync(folder / "a")
    assert reader.count_texts().get(1, 0) == 0 and reader.list_wrong_counts() == 0
    paint(folder / "a" / "back.jpg", 1)
    engine.sync(folder / "a")
    assert reader.count_texts()[1] == 1 and reader.texts_of([rows[1]]) == {rows[1]: TEXT}
    engine.forget(folder / "a")
    assert reader.texts_of(list(rows.values())) == {} and reader.list_wrong_counts() == 0
    engine.library.texts.record({rows[1]: TEXT, rows[4]: TEXT})  # the first is gone meanwhile
    assert reader.count_texts().get(1) == 1 and reader.list_wrong_counts() == 0


def test_a_collection_has_the_texts_of_its_pictures(engine: Engine, folder: Path) -> None:
    rows = record(engine)
    part = CollectionReader(engine.library.database, [str(folder / "b")])
    assert part.texts_of([rows[1], rows[4]]) == part.have_text(list(rows.values())) == {}
    assert part.count_texts() == {}
    engine.library.texts.record({rows[4]: TEXT})
    assert part.texts_of(list(rows.values())) == {rows[4]: TEXT} and part.count_texts() == {1: 1}
