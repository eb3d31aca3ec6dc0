"""Collections: indexed folders under a name, by which searches are limited."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.pictures import identity, jpeg, paint
from helpers.serving import problem, serving

from search import CollectionError, Engine, InputError, NotFoundError
from search.errors import ConditionError
from search.querying.query import Query

HOLIDAY, WORK, HOUSE = (1, 2), (2, 3, 4), (5,)


@pytest.fixture
def places(tmp_path: Path) -> dict[str, Path]:
    """Three folders; the second picture is in two of them."""
    folders = {}
    for name, seeds in (("holiday", HOLIDAY), ("work", WORK), ("house", HOUSE)):
        folders[name] = tmp_path / name
        for seed in seeds:
            paint(folders[name] / f"{seed}.jpg", seed)
    return folders


@pytest.fixture
def named(library: Callable[..., Engine], places: dict[str, Path]) -> Engine:
    """A library of the folders, of which two have names."""
    engine = library()
    for place in places.values():
        engine.sync(place)
    engine.collections.add("Holiday", [places["holiday"]])
    engine.collections.add("Büro", [places["work"]])
    return engine


def ids(seeds: tuple[int, ...]) -> set[str]:
    return {identity(seed) for seed in seeds}


@pytest.mark.catalogs("sqlite", "postgresql")
def test_searches_are_limited_to_a_collection(named: Engine) -> None:
    for where, seeds in (
        ("collection=Holiday", HOLIDAY),
        ("collection=büro", WORK),
        ("collection!=Holiday", (3, 4, 5)),
        ("collection=holiday or collection=Büro", (1, 2, 3, 4)),
        ("collection=holiday and collection=Büro", (2,)),
        ("not collection=Holiday and not collection=Büro", HOUSE),
    ):
        assert {one.id for one in named.browse(where).pictures} == ids(seeds)
        assert {hit.id for hit in named.search(jpeg(5), where=where)} == ids(seeds)
        assert named.facets(where).total == len(seeds)
    assert {hit.id for hit in named.search(jpeg(5))} == ids((1, 2, 3, 4, 5))
    counted = {one.value: (one.count, one.where) for one in named.facets().fields["collection"]}
    assert counted == {"Holiday": (2, "collection=Holiday"), "Büro": (3, "collection=Büro")}
    line = named.search(line="collection:Holiday")
    assert {hit.id for hit in line} == ids(HOLIDAY)


@pytest.mark.catalogs("sqlite", "postgresql")
def test_collections_are_listed_renamed_and_taken_apart(
    named: Engine, places: dict[str, Path]
) -> None:
    collections = named.collections
    both = collections.add("HOLIDAY", [places["house"]])
    assert (both.name, both.files, both.pictures) == ("Holiday", 3, 3)
    assert both.folders == (str(places["holiday"]), str(places["house"]))
    assert [one.name for one in collections.all()] == ["Büro", "Holiday"]
    renamed = collections.rename("holiday", "Holidays 2024")
    assert renamed.folders == both.folders
    with pytest.raises(InputError, match="a collection Büro already"):
        collections.rename("Holidays 2024", "BÜRO")
    assert collections.rename("büro", "BÜRO").name == "BÜRO"  # only its spelling
    collections.remove("Holidays 2024", [places["house"]])
    assert collections.find("holidays 2024").folders == (str(places["holiday"]),)
    with pytest.raises(NotFoundError, match="not all of these folders"):
        collections.remove("Holidays 2024", [places["house"]])
    moved = collections.add("BÜRO", [places["holiday"]])  # leaves the other, which is gone
    assert moved.pictures == 4 and [one.name for one in collections.all()] == ["BÜRO"]
    collections.remove("Büro")
    assert collections.all() == [] and named.status().pictures == 5


def test_unknown_names_name_the_nearest_one(named: Engine, places: dict[str, Path]) -> None:
    with pytest.raises(ConditionError, match="^collection=Holyday: .* did you mean Holiday"):
        named.browse("collection=Holyday")
    with pytest.raises(ConditionError, match="There are Büro, Holiday"):
        named.search(jpeg(1), where="collection=nothing")
    with pytest.raises(NotFoundError, match="did you mean Holiday"):
        named.collections.find("Holyday")
    for name in ("", " ", "x" * 201):
        with pytest.raises(InputError):
            named.collections.add(name, [places["house"]])
    with pytest.raises(NotFoundError, match="not an indexed folder"):
        named.collections.add("x", [places["house"].parent])
    with pytest.raises(InputError, match="name one that is indexed"):
        named.collections.add("x", [])
    for name in ("Holiday", "Büro"):
        named.collections.remove(name)
    with pytest.raises(ConditionError, match="The library has none"):
        named.browse("collection=Holiday")


def test_names_are_suggested(named: Engine) -> None:
    def suggest(text: str) -> list[tuple[str, str, int | None]]:
        listed = named.suggest(text)
        return [(one.text, one.insert, one.count) for one in listed if one.kind == "collection"]

    assert suggest("hol") == [("Holiday", "collection:Holiday", 2)]
    assert suggest("collection:") == [
        ("Büro", "collection:Büro", 3),
        ("Holiday", "collection:Holiday", 2),
    ]
    assert suggest("collection:x") == []


def test_saved_searches_and_duplicates_are_limited(named: Engine, places: dict[str, Path]) -> None:
    named.save_search("new", Query.of(where=["collection=Büro"], k=100))
    paint(places["work"] / "6.jpg", 6)
    paint(places["house"] / "7.jpg", 7)
    for name in ("work", "house"):
        named.sync(places[name])
    assert {hit.id for hit in named.run_saved_search("new", "last").hits} == ids((6,))
    paint(places["house"] / "again.jpg", 3)
    named.sync(places["house"])
    groups = named.duplicates("exact", where="collection=Holiday").groups
    assert {one.id for group in groups for one in group.pictures} == ids((2,))
    assert len(named.duplicates("exact").groups) == 2


def test_a_folder_above_does_not_swallow_a_collection(
    named: Engine, places: dict[str, Path]
) -> None:
    above = places["holiday"].parent
    with pytest.raises(InputError, match="in the collection"):
        named.sync(above)
    assert len(named.status().roots) == 3
    named.collections.remove("Büro")
    named.collections.remove("Holiday")
    named.sync(above)
    assert [root.path for root in named.status().roots] == [str(above)]


def test_a_name_lasts_until_its_folder_is_forgotten(named: Engine, places: dict[str, Path]) -> None:
    named.sync(places["holiday"])
    assert named.collections.find("Holiday").files == 2
    named.forget(places["holiday"])
    assert [one.name for one in named.collections.all()] == ["Büro"]


def test_tokens_take_names(named: Engine, places: dict[str, Path]) -> None:
    named.collections.add("Holiday", [places["house"]])
    named.add_token("anna", "read", ["holiday"])
    (token,) = named.tokens()
    assert token.collections == (str(places["holiday"]), str(places["house"]))
    with pytest.raises(NotFoundError, match="nor is Nothing a collection"):
        named.add_token("bert", "read", ["Nothing"])
    limited = named.within([str(places["house"])])
    assert [(one.name, one.pictures) for one in limited.collections.all()] == [("Holiday", 1)]
    with pytest.raises(CollectionError):
        limited.collections.rename("Holiday", "x")


def test_http_answers_as_python_does(named: Engine, places: dict[str, Path]) -> None:
    with serving(named) as client:

        def send(method: str, path: str = "", **more: Any) -> Any:
            answer = client.request(method, f"/api/v1/collections{path}", **more)
            assert answer.is_success, answer.text
            return answer.json() if answer.content else None

        expected = [one.to_json() for one in named.collections.all()]
        assert send("GET") == {"collections": expected}
        body = {"folders": [str(places["house"])]}
        assert send("PUT", "/A%2FB", json=body)["name"] == "A/B"
        assert send("PATCH", "/a%2Fb", json={"name": "C"})["folders"] == body["folders"]
        send("DELETE", "/C", params={"folder": body["folders"]})
        assert len(send("GET")["collections"]) == 2
        problem(client.delete("/api/v1/collections/C"), 404, "no collection C")
        problem(client.put("/api/v1/collections/C", json={"folders": []}), 422)
        roots = client.get("/api/v1/status").json()["roots"]
        assert [root["collection"] for root in roots] == ["Holiday", None, "Büro"]
        assert json.dumps(roots) == json.dumps(named.status().to_json()["roots"])
