"""What servers keep for some time: the same contract in memory and in a catalog."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from search import Engine
from search.catalog.transient import CatalogItems
from search.records.transient import Item, Kind, MemoryItems, TransientItems

FEW = Kind("few", seconds=10, most=3, most_bytes=100)
OTHER = Kind("other", seconds=20, most=3)
pytestmark = pytest.mark.catalogs("sqlite", "postgresql")


@pytest.fixture(params=["memory", "catalog"])
def items(request: pytest.FixtureRequest, engine: Engine, clock: list[float]) -> TransientItems:
    if request.param == "memory":
        return MemoryItems(lambda: clock[0])
    return CatalogItems(engine.library.database, lambda: clock[0])


@pytest.fixture
def clock() -> list[float]:
    return [1000.0]


def test_an_item_is_there_until_its_time_is_over(items: TransientItems, clock: list[float]) -> None:
    picture = Item(bytes(range(90)), "image/png")
    items.add(FEW, "a", picture)
    items.add(OTHER, "a", Item())
    assert items.get(FEW, "a") == picture and items.get(OTHER, "a") == Item()
    assert items.get(FEW, "b") is None
    clock[0] += 10
    assert items.get(FEW, "a") is None and items.take(FEW, "a") is None
    assert items.get(OTHER, "a") == Item()


def test_an_item_takes_the_place_of_one_of_its_name(items: TransientItems) -> None:
    for data in (b"1", b"2"):
        items.add(FEW, "a", Item(data))
    assert items.take(FEW, "a") == Item(b"2") and items.get(FEW, "a") is None


def test_an_item_is_taken_once(items: TransientItems) -> None:
    items.add(FEW, "a", Item(b"1"))
    assert items.take(FEW, "a") == Item(b"1")
    assert items.take(FEW, "a") is None and items.get(FEW, "a") is None


def test_the_oldest_of_too_many_go(items: TransientItems, clock: list[float]) -> None:
    def add(name: str, size: int) -> None:
        clock[0] += 1
        items.add(FEW, name, Item(bytes(size)))

    def names() -> str:
        return "".join(name for name in "abcdefg" if items.get(FEW, name) is not None)

    for name in "abcd":
        add(name, 10)
    assert names() == "bcd"
    add("e", 85)
    assert names() == "de"
    add("f", 101)  # more than all may have
    assert names() == ""


@pytest.mark.catalogs("postgresql")
def test_all_servers_of_a_catalog_have_an_item(library: Callable[..., Engine]) -> None:
    first, second = library().library.transient_items, library().library.transient_items
    first.add(FEW, "a", Item(b"1"))
    assert second.take(FEW, "a") == Item(b"1") and first.get(FEW, "a") is None
