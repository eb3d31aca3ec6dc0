"""Conditions by HTTP, by the command line and in Python give the same answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from helpers.collection import PATHS, fill, identity, vector
from helpers.serving import problem, serving
from sqlalchemy import insert
from typer.testing import CliRunner

from search import Engine
from search.catalog import schema
from search.cli.app import app as cli
from search.errors import ConditionError, EmptyError

WHERE = ("type=jpeg and width>=1000", "not is=truncated")


@pytest.fixture
def filled(engine: Engine, folder: Path) -> Engine:
    fill(engine, folder)
    return engine


@pytest.fixture
def client(filled: Engine) -> Iterator[httpx.Client]:
    with serving(filled) as one:
        yield one


def ask(home: Path, *words: str) -> list[dict[str, object]]:
    """Return the hits of `search --json`."""
    done = CliRunner().invoke(cli, ["--home", str(home), "search", "--json", *words])
    assert done.exit_code == 0, done.output
    hits: list[dict[str, object]] = json.loads(done.stdout)["hits"]
    return hits


def test_every_interface_gives_the_same_hits(filled: Engine, client: httpx.Client) -> None:
    options = {"k": 3, "sort": "-size", "collapse": True, "offset": 1}
    by_engine = [hit.to_json() for hit in filled.search(where=WHERE, **options)]  # type: ignore[arg-type]
    body = {"terms": [], "where": list(WHERE), **options}
    answer = client.post("/api/v1/search", json=body)
    assert answer.status_code == 200, answer.text
    by_http = answer.json()["hits"]
    words = [f"--where={one}" for one in WHERE]
    by_cli = ask(filled.home, *words, "-k", "3", "--sort=-size", "--collapse", "--offset", "1")
    plain = json.loads(json.dumps(by_engine))
    assert plain == by_http == by_cli and [hit["id"] for hit in plain] == [identity(3), identity(2)]
    assert plain[0]["score"] is None and (plain[0]["width"], plain[0]["height"]) == (1920, 1080)


def test_a_wrong_condition_of_an_empty_library_is_told(engine: Engine) -> None:
    for where in ("nonsense=1", "type=", "width>=wide"):
        for call in (engine.search, engine.duplicates):
            with pytest.raises(ConditionError) as refused:
                call(where=where)
            assert refused.value.code.startswith("condition_")
        with serving(engine) as client:
            answer = client.post("/api/v1/search", json={"terms": [], "where": [where]})
            assert problem(answer, 400)["code"].startswith("condition_"), where
            answer = client.get("/api/v1/duplicates", params={"where": where})
            assert problem(answer, 400)["code"].startswith("condition_"), where
        done = CliRunner().invoke(cli, ["--home", str(engine.home), "search", "--where", where])
        assert done.exit_code != 0 and isinstance(done.exception, ConditionError)
    with pytest.raises(EmptyError):
        engine.search(where="type=jpeg")


def test_a_search_by_likeness_takes_conditions(filled: Engine, client: httpx.Client) -> None:
    body = {"terms": [{"vector": vector(0).tolist()}], "where": ["has=tags"], "min_score": -1}
    hits = client.post("/api/v1/search", json=body).json()["hits"]
    assert hits[0]["id"] == identity(0) and hits[0]["tags"] == ["Beach", "summer"]
    assert {hit["id"] for hit in hits} == {identity(n) for n in (0, 2, 5)}
    by_id = ask(filled.home, f"id:{identity(0)}", "--where", "has=tags", "--min-score", "0.5")
    assert [hit["id"] for hit in by_id] == [identity(0)]


def test_images_are_listed_by_condition_and_order(client: httpx.Client) -> None:
    first = client.get("/api/v1/images", params={"where": ["type=jpeg", "has=gps"], "sort": "size"})
    document = first.json()
    assert document["total"] == 5 and document["next"] is None
    assert [one["id"] for one in document["images"]] == [identity(n) for n in (2, 5, 7, 0, 8)]
    problem(client.get("/api/v1/images?sort=sise"), 400, "did you mean size?")
    problem(client.get("/api/v1/images?cursor=x"), 400, "cursor")
    problem(client.get("/api/v1/images?where=rating>9"), 400, "0 to 5")


def test_marks_albums_and_text_are_conditions(filled: Engine, client: httpx.Client) -> None:
    one, other = identity(0), identity(2)
    client.patch(f"/api/v1/images/{one}", json={"favourite": True, "rating": 4})
    client.patch(f"/api/v1/images/{other}", json={"rating": 2})
    client.post("/api/v1/albums", json={"name": "Lisbon", "ids": [other]})
    row_id = filled.library.reader.resolve(one)
    with filled.library.database.write() as c:
        values = {"picture": row_id, "model": "m", "failed": None, "text": "sale", "lines": []}
        c.execute(insert(schema.texts).values(values))
    filled.library.catalog.repair_counts()
    total = client.get("/api/v1/images").json()["total"]
    for where, expected in (
        ("is=favourite", {one}),
        ("rating>=3", {one}),
        ("rating<3 and rating>0", {other}),
        ("album=lisbon", {other}),
        ("has=text", {one}),
    ):
        listed = client.get("/api/v1/images", params={"where": where}).json()
        assert {each["id"] for each in listed["images"]} == expected, where
    assert client.get("/api/v1/images?where=rating=0").json()["total"] == total - 2


def test_counts_by_http(client: httpx.Client, folder: Path) -> None:
    facets = client.get("/api/v1/facets", params={"where": "has=gps", "field": "type"}).json()
    assert facets["fields"]["type"][0] == {"value": "jpeg", "count": 5, "where": "type=jpeg"}
    body = {"ids": [identity(0), identity(1)], "fields": ["camera"]}
    some = client.post("/api/v1/facets", json=body).json()
    assert some["total"] == 2
    assert {one["value"] for one in some["fields"]["camera"]} == {"Canon EOS R6", "Canon EOS R5"}
    problem(client.get("/api/v1/facets?field=x"), 400, "no facet")
    months = client.get("/api/v1/months").json()["months"]
    assert sum(one["count"] for one in months) == len(PATHS)
    (top,) = client.get("/api/v1/tree").json()["folders"]
    assert top == {"path": str(folder), "count": len(PATHS), "folders": True}
    below = client.get("/api/v1/tree", params={"path": top["path"]}).json()["folders"]
    assert [Path(one["path"]).name for one in below] == ["holiday", "holiday2", "work", "照片"]
    problem(client.get("/api/v1/tree?path=x"), 400, "absolute")
    near = {"bounds": "2.3,48.8,2.5,49", "cells": 8, "where": "type=jpeg"}
    (place,) = client.get("/api/v1/places", params=near).json()["groups"]
    assert (place["id"], place["pictures"]) == (identity(8), 2)
    assert sum(one["pictures"] for one in client.get("/api/v1/places").json()["groups"]) == 7
    problem(client.get("/api/v1/places?bounds=1,2,3"), 400, "WEST,SOUTH,EAST,NORTH")
    problem(client.get("/api/v1/places?where=x>1"), 400, "x")
    assert client.get("/api/v1/places?cells=65").status_code == 422


def test_the_command_line_lists_and_refuses(filled: Engine) -> None:
    def run(*words: str) -> tuple[int, str]:
        done = CliRunner().invoke(cli, ["--home", str(filled.home), "search", *words])
        return done.exit_code, done.output

    code, text = run("--where", "type=png")
    assert code == 0 and "IMG_2.png" in text and text.count("\n") == 1
    assert run("--where", "widht>3")[0] == 1
    assert run()[0] == 2
