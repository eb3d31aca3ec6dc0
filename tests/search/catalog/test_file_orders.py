"""Lists of pictures by name and by folder: the same with and without a condition, page by page."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from helpers.pictures import identity, paint
from helpers.serving import problem, serving

from search import Engine
from search.records.annotations import Change

BOTH = pytest.mark.catalogs("sqlite", "postgresql")
FILES = {
    "a": {"zebra.jpg": 1, "x/Apple.JPG": 2, "x/two.jpg": 3},
    "a b": {"apple.jpg": 4, "two.jpg": 5, "zebra.jpg": 1},
    "é": {"älter.jpg": 6, "zoo.jpg": 7, "two.jpg": 3},
}
"""Seeds of pictures by folder and path. Two pictures are in two folders."""
SORTS = ("name", "-name", "folder", "-folder")


@pytest.fixture
def filled(library: Callable[..., Engine], tmp_path: Path) -> Engine:
    """A library of the folders, each a root."""
    engine = library()
    for folder, paths in FILES.items():
        for path, seed in paths.items():
            paint(tmp_path / folder / path, seed)
        engine.sync(tmp_path / folder)
    return engine


def walk(engine: Engine, sort: str, size: int) -> list[str]:
    """Return the ids of all pages, each after the cursor of the one before."""
    ids, cursor = list[str](), None
    while True:
        page = engine.browse((), sort, size=size, cursor=cursor)
        ids += [picture.id for picture in page.pictures]
        if page.next is None:
            return ids
        cursor = page.next


def check_orders(engine: Engine, count: int) -> None:
    """Assert that pages without a condition are those with one that holds for all."""
    for sort in SORTS:
        whole = [one.id for one in engine.browse("width>0", sort).pictures]
        assert len(set(whole)) == len(whole) == count
        for size in (1, 2, 50):
            assert walk(engine, sort, size) == whole, (sort, size)
        paged = [one.id for n in (1, 2, 3, 4) for one in engine.browse((), sort, n, 2).pictures]
        assert paged == whole, sort


@BOTH
def test_pages_are_in_the_order_of_names_and_folders(filled: Engine, tmp_path: Path) -> None:
    check_orders(filled, 7)
    names = [identity(seed) for seed in (2, 4, 3, 5, 1, 7, 6)]
    assert walk(filled, "name", 3) == names  # letters beyond ASCII come last
    firsts = [min(one.paths, key=os.fsencode) for one in filled.browse((), "folder").pictures]
    assert [os.fsencode(one) for one in firsts] == sorted(map(os.fsencode, firsts))
    assert all(one <= other for one, other in pairwise(map(os.fsencode, firsts)))


@BOTH
def test_hidden_and_gone_pictures_are_left_out(filled: Engine, tmp_path: Path) -> None:
    filled.tags.change([identity(2)], Change(hidden=True))
    (tmp_path / "a b" / "two.jpg").unlink()
    (tmp_path / "a b" / "zebra.jpg").unlink()
    filled.sync(tmp_path / "a b")
    check_orders(filled, 5)
    assert identity(2) in [one.id for one in filled.browse((), "name", hidden=True).pictures]


@BOTH
def test_a_part_of_the_library_has_orders_of_its_own(filled: Engine, tmp_path: Path) -> None:
    part = filled.within([str(tmp_path / "é")])
    check_orders(part, 3)
    assert walk(part, "name", 1) == [identity(seed) for seed in (3, 7, 6)]


@pytest.mark.skipif(sys.platform != "linux", reason="names are Unicode on this system")
@BOTH
def test_names_that_are_not_utf_8_are_sorted(
    library: Callable[..., Engine], tmp_path: Path
) -> None:
    names = [b"a.jpg", b"caf\xe9.jpg", b"caf\xe9/b.jpg", "\U0001f431.jpg".encode(), b"\xff.JPG"]
    for seed, name in enumerate(names):
        paint(tmp_path / "old" / os.fsdecode(name), seed)
    engine = library()
    engine.sync(tmp_path / "old")
    check_orders(engine, len(names))
    assert walk(engine, "name", 2) == [identity(seed) for seed in (0, 2, 1, 3, 4)]
    assert walk(engine, "folder", 2) == [identity(seed) for seed in (0, 1, 2, 3, 4)]


@pytest.mark.parametrize(
    "cursor",
    ["WyJuYW1lIiwwLDUsMV0", "WyJuYW1lIiwwLG51bGwsMV0", "WyJuYW1lIiwwLCJcdWQ4MDAiLDFd"],
)
def test_a_cursor_without_a_name_is_refused(filled: Engine, cursor: str) -> None:
    with serving(filled) as client:  # its key is a number, nothing, and half a character
        problem(client.get(f"/api/v1/images?sort=name&cursor={cursor}"), 400, "cursor")


@pytest.mark.skipif(sys.platform != "linux", reason="paths may be shorter on this system")
def test_a_cursor_after_the_longest_path_is_taken(filled: Engine, tmp_path: Path) -> None:
    parts = ["長" * 80] * 8 + [os.fsdecode(b"\xe9" * 240)] * 7
    deep = Path(tmp_path / "龍", *parts)
    assert 3400 < len(os.fsencode(deep)) < 4000
    paint(deep / "a.jpg", 8)
    filled.sync(tmp_path / "龍")
    cursor = filled.browse((), "-folder", size=1).next
    with serving(filled) as client:
        answer = client.get("/api/v1/images", params={"sort": "-folder", "cursor": cursor})
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["images"]) == 7
