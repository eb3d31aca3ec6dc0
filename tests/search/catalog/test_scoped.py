"""Reads of a part of the catalog, on each database."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.pictures import identity, paint

from search import Engine, NotFoundError
from search.catalog.reads import CatalogReader
from search.catalog.scoped import CollectionReader

Open = Callable[..., Engine]
pytestmark = pytest.mark.catalogs("sqlite", "postgresql")


@pytest.fixture
def readers(library: Open, tmp_path: Path) -> tuple[CatalogReader, CollectionReader]:
    """Readers of all of four pictures, and of two of them: one is in both folders."""
    engine = library()
    for seed in (1, 2):
        paint(tmp_path / "a" / f"{seed}.jpg", seed)
    for seed in (2, 3, 4):
        paint(tmp_path / "b" / f"{seed}.jpg", seed)
    for name in ("a", "b"):
        engine.sync(tmp_path / name)
    paint(tmp_path / "a" / "5.jpg", 5)
    engine.sync(tmp_path / "a")
    (tmp_path / "a" / "5.jpg").unlink()  # an orphan
    engine.sync(tmp_path / "a", allow_empty=True)
    reader = engine.library.reader
    return reader, CollectionReader(reader.database, [str(tmp_path / "a"), "/none"])


def test_counts_and_pages_are_of_the_part(
    readers: tuple[CatalogReader, CollectionReader],
) -> None:
    whole, part = readers
    (space,) = whole.spaces()
    assert whole.count(space) == {"pictures": 4, "files": 5, "embedded": 4}
    assert part.count(space) == {"pictures": 2, "files": 2, "embedded": 2}
    assert part.count(None) == {"pictures": 2, "files": 2, "embedded": 0}
    names = [part.picture_ids([row])[row] for row in part.newest(0, 10)]
    assert names == [identity(2), identity(1)]
    assert part.newest(1, 10) == part.newest(0, 10)[1:] and part.newest(2, 10) == []
    visible = part.visible_ids(space)
    assert visible is not None and sorted(visible.tolist()) == sorted(part.newest(0, 10))
    assert whole.visible_ids(space) is None


def test_pictures_outside_are_unknown(readers: tuple[CatalogReader, CollectionReader]) -> None:
    whole, part = readers
    (space,) = whole.spaces()
    rows = {seed: whole.resolve(identity(seed)) for seed in (1, 2, 3, 4)}
    assert part.resolve(identity(2)[:10]) == rows[2]
    with pytest.raises(NotFoundError):
        part.resolve(identity(3))
    visible = {rows[1], rows[2]}
    every = list(rows.values())
    assert len(whole.describe([rows[2]])[rows[2]].paths) == 2
    assert len(part.describe([rows[2]])[rows[2]].paths) == 1
    assert [len(reader.places(rows[2])) for reader in readers] == [2, 1]
    assert part.places(rows[3]) == []
    assert set(part.describe(every)) == set(part.load_metadata(every)) == visible
    assert set(part.load_vectors(space, every)[0]) == set(part.labels(space, every)) == visible
