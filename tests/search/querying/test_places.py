"""Groups of pictures by place, in both databases."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.collection import METADATA, fill, identity

from search import Engine
from search.errors import QueryError
from search.records.annotations import Change
from search.records.browsing import MOST_CELLS, Bounds

pytestmark = pytest.mark.catalogs("sqlite", "postgresql")
PLACED = [one for one in METADATA if one.latitude is not None]


@pytest.fixture
def filled(engine: Engine, folder: Path) -> Engine:
    fill(engine, folder)
    return engine


def test_groups_hold_every_picture_with_a_place_once(filled: Engine) -> None:
    for cells in (1, 2, 16, MOST_CELLS):
        groups = filled.places(cells=cells)
        assert sum(one.pictures for one in groups) == len(PLACED)
        counts = [one.pictures for one in groups]
        assert counts == sorted(counts, reverse=True)
        for one in groups:
            assert one.west <= one.longitude <= one.east and one.south <= one.latitude <= one.north
    paris = groups[0]
    assert paris.pictures == 3 and paris.id == identity(8)  # of several, the one added last
    assert (paris.west, paris.south) == pytest.approx((2.35, 48.85))
    assert (paris.east, paris.north) == pytest.approx((2.4, 48.9))
    assert paris.latitude == pytest.approx((48.85 + 48.9 + 48.85) / 3)


def test_cells_divide_what_is_near(filled: Engine) -> None:
    near = filled.places(Bounds(2.3, 48.8, 2.5, 49.0), 8)
    assert [(one.pictures, one.id) for one in near] == [(2, identity(8)), (1, identity(1))]
    edge = filled.places(Bounds(2.35, 48.85, 2.4, 48.9), 4)  # edges belong to the bounds
    assert sum(one.pictures for one in edge) == 3
    point = filled.places(Bounds(2.35, 48.85, 2.35, 48.85), 4)
    assert [one.pictures for one in point] == [2]


@pytest.mark.parametrize("bounds", [(170.0, -30.0, 190.0, 0.0), (-190.0, -30.0, -170.0, 0.0)])
def test_bounds_across_the_180th_meridian(
    filled: Engine, bounds: tuple[float, float, float, float]
) -> None:
    (one,) = filled.places(Bounds(*bounds), 1)
    assert one.pictures == 2 and one.east - one.west == pytest.approx(0.1)
    assert bounds[0] <= one.west <= one.east <= bounds[2]
    apart = filled.places(Bounds(*bounds), 2)
    assert {one.id for one in apart} == {identity(2), identity(5)}


def test_conditions_hidden_pictures_and_collections_count(
    filled: Engine, folder: Path, tmp_path: Path
) -> None:
    def count(engine: Engine, *where: str) -> int:
        return sum(one.pictures for one in engine.places(where=where))

    assert count(filled, "type=jpeg", "date=2024-05") == 2
    filled.tags.change([identity(8)], Change(hidden=True))
    assert count(filled) == len(PLACED) - 1
    assert filled.places(where="type=jpeg and date=2024-05")[0].id == identity(0)
    assert filled.within([str(tmp_path / "nothing")]).places() == ()
    assert count(filled.within([str(folder)])) == len(PLACED) - 1


@pytest.mark.parametrize(
    "bounds",
    [(1, 0, 0, 1), (0, 1, 1, 0), (0, -91, 1, 0), (-200, 0, 200, 1), (float("nan"), 0, 1, 1),
     (0, 0, float("inf"), 1)],
)  # fmt: skip
def test_wrong_bounds_are_refused(
    filled: Engine, bounds: tuple[float, float, float, float]
) -> None:
    with pytest.raises(QueryError, match="bounds"):
        filled.places(Bounds(*bounds))


def test_wrong_cells_and_texts_are_refused(filled: Engine) -> None:
    for cells in (0, MOST_CELLS + 1):
        with pytest.raises(QueryError, match="cells"):
            filled.places(cells=cells)
    assert Bounds.parse("-10, 36,4,44.5") == Bounds(-10, 36, 4, 44.5)
    for text in ("", "1,2,3", "1,2,3,4,5", "a,b,c,d"):
        with pytest.raises(QueryError, match="WEST,SOUTH,EAST,NORTH"):
            Bounds.parse(text)
