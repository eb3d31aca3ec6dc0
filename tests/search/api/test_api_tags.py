"""Tags, marks and albums over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from helpers.libraries import close_library, open_library
from helpers.pictures import identity, paint
from helpers.serving import problem, serving
from test_roles import OWN, bearer

from search import Engine
from search.api.auth import Access

ONE, TWO = (f"/api/v1/images/{identity(seed)}" for seed in (1, 2))
BATCH = "/api/v1/images/batch"


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    place: Path = tmp_path_factory.mktemp("tags")
    engine = open_library(place / "home")
    for seed in range(3):
        paint(place / "pictures" / f"{seed}.jpg", seed)
    engine.sync(place / "pictures")
    yield engine
    close_library(engine)


@pytest.fixture(scope="module")
def client(engine: Engine) -> Iterator[httpx.Client]:
    with serving(engine, Access(token=OWN, find_token=engine.find_token)) as client:
        client.headers.update(bearer(OWN))
        yield client


def test_a_tag_is_added_and_removed(client: httpx.Client) -> None:
    for tag, path in (("Beach", "Beach"), ("a/b", "a%2Fb"), ("été 100%", "%C3%A9t%C3%A9%20100%25")):
        image = client.put(f"{ONE}/tags/{path}").json()
        assert image["id"] == identity(1) and image["tag_origins"][tag] == "person"
        assert client.put(f"{ONE}/tags/{path.swapcase()}").json()["tags"] == image["tags"]
        image = client.delete(f"{ONE}/tags/{path}").json()
        assert tag not in image["tags"] and "tags" in client.get(ONE).json()
    problem(client.put(f"{ONE}/tags/%20"), 400)
    problem(client.put(f"{ONE}/tags/{'x' * 201}"), 422)
    problem(client.put(f"/api/v1/images/{'0' * 64}/tags/x"), 404)


def test_a_picture_is_marked(client: httpx.Client) -> None:
    sent = {"favourite": True, "rating": 5, "hidden": True, "caption": "A boat"}
    image = client.patch(ONE, json=sent).json()
    assert {name: image[name] for name in sent} == sent
    assert (image["rating_origin"], image["caption_origin"]) == ("person", "person")
    listed = client.get("/api/v1/images").json()
    assert listed["total"] == 2 and identity(1) not in str(listed)
    listed = client.get("/api/v1/images?hidden=true").json()
    assert [one["id"] for one in listed["images"]] == [identity(1)]
    query = {"terms": [{"image": f"id:{identity(1)}"}]}
    assert len(client.post("/api/v1/search", json=query).json()["hits"]) == 2
    query["hidden"] = True  # type: ignore[assignment]
    assert len(client.post("/api/v1/search", json=query).json()["hits"]) == 3
    image = client.patch(ONE, json={"hidden": False, "rating": None}).json()
    assert (image["favourite"], image["rating"], image["hidden"]) == (True, None, False)
    client.patch(ONE, json={"favourite": False, "caption": None})
    for wrong in ({"rating": 6}, {"rating": "3"}, {"stars": 3}, {"favourite": None}):
        problem(client.patch(ONE, json=wrong), 422)


def test_many_are_changed_at_once_and_back(client: httpx.Client) -> None:
    client.patch(ONE, json={"rating": 2})
    before = [client.get(path).json() for path in (ONE, TWO)]
    ids = [identity(1), identity(2)[:10]]
    sent = {"ids": ids, "add_tags": ["sea"], "rating": 4, "favourite": True, "album": "Lisbon"}
    answer = client.post(BATCH, json=sent).json()
    assert answer["changed"] == 2
    for path in (ONE, TWO):
        image = client.get(path).json()
        assert (image["tags"], image["rating"], image["favourite"]) == (["sea"], 4, True)
        assert [album["name"] for album in image["albums"]] == ["Lisbon"]
    assert client.post(BATCH, json=answer["undo"]).status_code == 200
    assert [client.get(path).json() for path in (ONE, TWO)] == before
    client.patch(ONE, json={"rating": None})
    problem(client.post(BATCH, json={"ids": ids, "rating": 9}), 422)
    problem(client.post(BATCH, json={"ids": [*ids, "0" * 64], "favourite": True}), 404)
    problem(client.post(BATCH, json={"ids": ["0" * 64] * 10_001}), 422)
    both = {"ids": ids, "add_tags": ["a"], "remove_tags": ["A"]}
    problem(client.post(BATCH, json=both), 400, "added and removed")
    assert client.get(ONE).json()["favourite"] is False


def test_tags_are_completed_and_renamed(client: httpx.Client) -> None:
    client.post(BATCH, json={"ids": [identity(1), identity(2)], "add_tags": ["Strand", "x/y"]})
    expected = [{"tag": "Strand", "count": 2, "origins": {"person": 2}}]
    assert client.get("/api/v1/tags?prefix=str").json() == {"tags": expected}
    assert client.patch("/api/v1/tags/strand", json={"name": "Beach"}).json() == {"pictures": 2}
    assert client.patch("/api/v1/tags/x%2Fy", json={"name": "z"}).json() == {"pictures": 2}
    assert client.get(ONE).json()["tags"] == ["Beach", "z"]
    problem(client.patch("/api/v1/tags/strand", json={"name": "Beach"}), 404)
    problem(client.patch("/api/v1/tags/beach", json={"name": ""}), 422)


def test_albums(client: httpx.Client) -> None:
    for one in client.get("/api/v1/albums").json()["albums"]:
        client.delete(f"/api/v1/albums/{one['id']}")
    created = client.post("/api/v1/albums", json={"name": "Porto", "ids": [identity(1)]})
    assert created.status_code == 201 and created.json()["count"] == 1
    place = f"/api/v1/albums/{created.json()['id']}"
    assert client.patch(place, json={"name": "Braga"}).json()["name"] == "Braga"
    listed = client.get("/api/v1/images", params={"album": "braga"}).json()
    assert [one["id"] for one in listed["images"]] == [identity(1)]
    problem(client.get("/api/v1/images", params={"album": "none"}), 404)
    assert client.delete(place).status_code == 204
    problem(client.delete(place), 404)
    assert client.get(ONE).json()["albums"] == []


def test_what_people_say_is_downloaded_and_added_to_another_library(
    client: httpx.Client, tmp_path: Path
) -> None:
    sent = {"add_tags": ["lake"], "rating": 3, "favourite": True, "caption": "By the lake"}
    client.post(BATCH, json={"ids": [identity(2)], **sent})
    downloaded = client.get("/api/v1/annotations")
    assert "attachment" in downloaded.headers["Content-Disposition"]
    assert identity(2) in {one["id"] for one in downloaded.json()["pictures"]}
    for seed in range(2, 5):
        paint(tmp_path / "pictures" / f"{seed}.jpg", seed)
    engine = open_library(tmp_path / "home")
    engine.sync(tmp_path / "pictures")
    with serving(engine) as other:
        report = other.post("/api/v1/annotations", content=downloaded.content).json()
        assert report["pictures"] == 1
        assert {Path(path).name for path in report["unknown"]} <= {"0.jpg", "1.jpg"}
        image = other.get(TWO).json()
        assert "lake" in image["tags"] and image["rating"] == 3
        assert image["caption"] == "By the lake"
        for wrong in (b"", b"[]", b"{}", b'{"version": 2, "pictures": []}', b"[" * 100_000):
            answer = problem(other.post("/api/v1/annotations", content=wrong), 400)
            assert "lookalike tag export" in answer["detail"]
        bad = {"version": 1, "pictures": [{"id": identity(3), "tags": 5, "paths": []}]}
        problem(other.post("/api/v1/annotations", json=bad), 400)
        assert other.get(f"/api/v1/images/{identity(3)}").json()["tags"] == []
    close_library(engine)


def test_a_reader_changes_nothing(engine: Engine, client: httpx.Client) -> None:
    reader = bearer(engine.add_token("reader", "read"))
    before = client.get(ONE).json()
    for method, path, body in (
        ("PUT", f"{ONE}/tags/x", None),
        ("DELETE", f"{ONE}/tags/beach", None),
        ("PATCH", ONE, {"rating": 1}),
        ("POST", BATCH, {"ids": [identity(1)], "rating": 1}),
        ("PATCH", "/api/v1/tags/beach", {"name": "x"}),
        ("POST", "/api/v1/annotations", {"version": 1, "pictures": []}),
        ("POST", "/api/v1/albums", {"name": "x"}),
        ("PATCH", "/api/v1/albums/x", {"name": "x"}),
        ("DELETE", "/api/v1/albums/x", None),
    ):
        answer = client.request(method, path, json=body, headers=reader)
        assert problem(answer, 403)["code"] == "role_missing"
    assert client.get(ONE, headers=reader).json() == before
    assert client.get("/api/v1/tags", headers=reader).status_code == 200
