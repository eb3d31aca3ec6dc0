"""Pages of the library in any order, and counts by value, month and folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.collection import METADATA, PATHS, fill, identity

from search import Engine
from search.errors import QueryError, UnknownFieldError
from search.querying.facets import FACETS
from search.records.annotations import Change
from search.records.browsing import SORT_KEYS

pytestmark = pytest.mark.catalogs("sqlite", "postgresql")


@pytest.fixture
def filled(engine: Engine, folder: Path) -> Engine:
    fill(engine, folder)
    return engine


def walk(engine: Engine, size: int, where: str, sort: str) -> list[str]:
    """Return the ids of all pages, each after the cursor of the one before."""
    ids, cursor = list[str](), None
    while True:
        page = engine.browse(where, sort, size=size, cursor=cursor)
        ids += [picture.id for picture in page.pictures]
        if page.next is None:
            return ids
        cursor = page.next


def test_cursors_and_pages_list_every_picture_once(filled: Engine) -> None:
    for key in SORT_KEYS[1:]:
        for sort in (key, f"-{key}"):
            whole = [p.id for p in filled.browse("width>0", sort).pictures]
            assert len(whole) == len(set(whole)) == len(PATHS)
            for size in (1, 3, 7):
                assert walk(filled, size, "width>0", sort) == whole, (sort, size)
            paged = [p.id for n in (1, 2, 3, 4) for p in filled.browse((), sort, n, 3).pictures]
            assert paged == whole, sort


def test_a_page_counts_what_a_condition_selects(filled: Engine) -> None:
    page = filled.browse("type=jpeg and width>=4000", "-size", size=2)
    assert (page.total, page.pages) == (3, 2)
    assert [p.id for p in page.pictures] == [identity(8), identity(0)]
    assert filled.browse().pictures == filled.pictures().pictures
    assert [p.id for p in filled.browse().pictures] == [identity(n) for n in range(9, -1, -1)]


@pytest.mark.parametrize("cursor", ["x", "e30", "WyItc2l6ZSIsMCwxLDFd", "é", "W10", "bnVsbA"])
def test_a_cursor_of_another_list_is_refused(filled: Engine, cursor: str) -> None:
    with pytest.raises(QueryError, match="cursor"):
        filled.browse("width>0", "date", cursor=cursor)
    with pytest.raises(QueryError, match="sort by score"):
        filled.browse(sort="score")


def test_facets_count_what_their_conditions_select(filled: Engine, folder: Path) -> None:
    filled.tags.change([identity(0), identity(3)], Change(rating=4, favourite=True, album="a*b"))
    filled.tags.change([identity(1)], Change(rating=1, album="Lisbon"))
    for where in ((), "type=jpeg", "not has=gps"):
        facets = filled.facets(where)
        assert set(facets.fields) == set(FACETS)
        for name, values in facets.fields.items():
            for one in values:
                both = [where, one.where] if where else one.where
                assert filled.browse(both).total == one.count, (name, one)
    fields = filled.facets().fields
    assert [(one.value, one.count) for one in fields["type"]][:1] == [("jpeg", 7)]
    assert [one.value for one in fields["year"]] == ["2024", "2023", "2020"]
    assert fields["folder"][0].value == f"{folder}/holiday"
    assert {one.value: one.count for one in fields["label"]} == {"tabby": 1}
    assert {one.value for one in fields["tag"]} == {"Beach", "summer", "summer holiday", "été"}
    assert [(one.value, one.count) for one in fields["album"]] == [("a*b", 2), ("Lisbon", 1)]
    assert [(one.where, one.count) for one in fields["rating"]] == [
        ("rating=4", 2),
        ("rating=1", 1),
    ]
    assert ("is=favourite", 2) in [(one.where, one.count) for one in fields["is"]]
    assert {one.value: one.count for one in fields["has"]} == {"gps": 7, "tags": 3, "copies": 2}
    some = filled.facets(names=["type"], picture_ids=[identity(0), identity(6)])
    assert some.total == 2 and [one.value for one in some.fields["type"]] == ["gif", "jpeg"]
    with pytest.raises(UnknownFieldError, match="did you mean camera"):
        filled.facets(names=["camara"])


def test_counts_follow_every_change(filled: Engine) -> None:
    def count() -> tuple[int, int, int]:
        favourites = {one.value: one.count for one in filled.facets((), ["is"]).fields["is"]}
        months, folders = filled.months(()), filled.folders()
        return favourites.get("favourite", 0), sum(m.count for m in months), folders[0].count

    before = count()
    assert count() == before
    filled.tags.change([identity(4)], Change(favourite=True))
    assert count() == (before[0] + 1, *before[1:])
    filled.tags.change([identity(4)], Change(hidden=True))
    assert count() == (before[0], before[1] - 1, before[2] - 1)


def test_months_add_up(filled: Engine) -> None:
    months = filled.months()
    assert [one.month for one in months] == ["2024-06", "2024-05", "2024-01", "2023-12", "2020-02",
                                             None]  # fmt: skip
    assert sum(one.count for one in months) == len(PATHS)
    assert [(one.month, one.count) for one in filled.months("width<=64")] == [(None, 1)]


def test_folders_are_counted_one_level_at_a_time(
    filled: Engine, folder: Path, tmp_path: Path
) -> None:
    (top,) = filled.folders()
    assert (top.path, top.count, top.folders) == (str(folder), len(PATHS), True)
    names = {Path(one.path).name: (one.count, one.folders) for one in filled.folders(folder)}
    assert names == {"holiday": (3, True), "holiday2": (1, False), "work": (2, True),
                     "照片": (1, False)}  # fmt: skip
    below = filled.folders(folder / "holiday")
    assert [(one.path, one.count) for one in below] == [(f"{folder}/holiday/beach", 2)]
    assert filled.folders(folder / "holiday" / "beach") == ()
    narrow = filled.folders(folder, where="type=png")
    assert [(Path(one.path).name, one.count) for one in narrow] == [("holiday", 1)]
    with pytest.raises(QueryError, match="absolute"):
        filled.folders("holiday")
    view = filled.within([str(tmp_path / "nothing")])
    assert view.folders() == () and view.folders(folder) == () and view.facets().total == 0


def test_values_and_files_are_as_many() -> None:
    assert len(METADATA) == len(PATHS)
