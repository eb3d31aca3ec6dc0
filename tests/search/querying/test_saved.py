"""Saved searches: by Python, HTTP and the command line."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from helpers.pictures import identity, jpeg
from helpers.serving import problem, serving
from PIL import Image

from search import Engine, InputError, NotFoundError, Query
from search.api.auth import Access
from search.cli.app import app
from search.errors import ConditionError, PictureError, QueryError
from search.querying.query import Term

pytestmark = pytest.mark.catalogs("sqlite", "postgresql")


def index(engine: Engine, folder: Path, *seeds: int) -> None:
    for i in seeds:
        (folder / f"{i}.jpg").write_bytes(jpeg(i))
    engine.sync(folder)


@pytest.fixture
def filled(engine: Engine, folder: Path) -> Engine:
    index(engine, folder, 1, 2, 3)
    return engine


def names(hits: Any) -> set[str]:
    return {Path(hit.path).stem for hit in hits}


def test_only_new_pictures_are_told_until_they_are_marked(filled: Engine, folder: Path) -> None:
    filled.save_search("all", Query((), where=("type=jpeg",), k=1))
    assert len(filled.run_saved_search("all").hits) == 1
    assert not filled.run_saved_search("all", "last").hits
    index(filled, folder, 4, 5)
    answer = filled.run_saved_search("all", "last")
    assert names(answer.hits) == {"4", "5"}  # more than k
    index(filled, folder, 6)  # while the answer is looked at
    filled.mark_saved_search("all", answer.newest)
    assert names(filled.run_saved_search("all", "last").hits) == {"6"}
    filled.mark_saved_search("all", 0)  # an answer of before
    assert names(filled.run_saved_search("all", "last").hits) == {"6"}
    assert names(filled.run_saved_search("all", "1d").hits) == {"1", "2", "3", "4", "5", "6"}
    assert not filled.run_saved_search("all", "2999").hits


def test_a_search_keeps_its_pictures(filled: Engine, folder: Path, tmp_path: Path) -> None:
    query = tmp_path / "query.jpg"
    query.write_bytes(jpeg(2))
    with Image.open(query) as opened:
        pixels = opened.convert("RGB")
    sources = {
        "path": str(query),
        "bytes": jpeg(2),
        "picture": pixels,
        "file": io.BytesIO(jpeg(2)),
        "id": f"id:{identity(2)}",
        "hit": filled.search(image=f"id:{identity(2)}", k=1)[0],
    }
    for name, image in sources.items():
        terms = (Term(image=image), Term(vector=(0.001,) * 512))
        filled.save_search(name, Query(terms, k=1))
    query.unlink()
    for name in sources:
        assert names(filled.run_saved_search(name).hits) == {"2"}, name


def test_wrong_names_and_pictures_are_refused(filled: Engine, tmp_path: Path) -> None:
    query = Query((), where=("type=jpeg",))
    filled.save_search("a", query)
    with pytest.raises(InputError, match="there is a search 'a'"):
        filled.save_search("a", query)
    for name in ("", " ", "a\nb", "a/b", "x" * 201):
        with pytest.raises(InputError, match="characters"):
            filled.save_search(name, query)
    with pytest.raises(PictureError, match=r"none\.jpg"):
        filled.save_search("b", Query.of(str(tmp_path / "none.jpg")))
    masked = Query((Term(image=jpeg(1)),), restore=True, mask=jpeg(1))
    with pytest.raises(QueryError, match="mask"):
        filled.save_search("b", masked)
    with pytest.raises(ConditionError):
        filled.run_saved_search("a", "one day")
    filled.delete_saved_search("a")
    for call in (filled.delete_saved_search, filled.run_saved_search):
        with pytest.raises(NotFoundError, match="'a'"):
            call("a")
    with pytest.raises(NotFoundError, match="'a'"):
        filled.mark_saved_search("a", 1)
    assert filled.saved_searches() == []


def test_a_search_gets_another_name_and_gives_its_pictures(filled: Engine) -> None:
    terms = Term(image=jpeg(1)), Term(image=f"id:{identity(3)}"), Term(image=jpeg(2))
    filled.save_search("a", Query(terms, k=2))
    filled.save_search("b", Query((), where=("type=jpeg",)))
    for name in ("b", "", "a/b"):
        with pytest.raises(InputError):
            filled.rename_saved_search("a", name)
    filled.rename_saved_search("a", "a")
    filled.rename_saved_search("a", "A cat")
    with pytest.raises(NotFoundError, match="'a'"):
        filled.rename_saved_search("a", "c")
    assert [one.name for one in filled.saved_searches()] == ["A cat", "b"]
    assert [filled.saved_picture("A cat", i) for i in range(2)] == [jpeg(1), jpeg(2)]
    assert len(filled.run_saved_search("A cat").hits) == 2
    for name, number in (("A cat", 2), ("b", 0), ("a", 0)):
        with pytest.raises(NotFoundError):
            filled.saved_picture(name, number)


def test_nothing_is_searched_while_nothing_is_new(
    filled: Engine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled.save_search("one", Query((Term(image=jpeg(1)),)))
    monkeypatch.setattr(filled.library.searches, "search", lambda query: pytest.fail("searched"))
    answer = filled.run_saved_search("one", "last")
    monkeypatch.undo()
    full = filled.run_saved_search("one").hits
    assert answer.hits.model == full.model and answer.hits.query == full.query
    assert answer.hits.took_ms.keys() == full.took_ms.keys() and not answer.hits
    index(filled, folder, 4)
    assert names(filled.run_saved_search("one", "last").hits) == {"4"}


# HTTP --------------------------------------------------------------------------------------------


@pytest.fixture
def client(filled: Engine) -> Iterator[httpx.Client]:
    with serving(filled, Access(token="right", find_token=filled.find_token)) as one:
        one.headers["Authorization"] = "Bearer right"
        yield one


def test_a_client_saves_runs_and_marks(client: httpx.Client, filled: Engine, folder: Path) -> None:
    place = "/api/v1/searches/like%20two"
    sent = {"query": (None, json.dumps({"min_score": 0.9, "k": 100}))}
    saved = client.put(place, files={"image": ("a.jpg", jpeg(2), "image/jpeg"), **sent})
    assert saved.status_code == 201 and saved.json()["name"] == "like two"
    problem(client.put(place, json={"where": ["type=jpeg"]}), 400, "there is a search")
    (listed,) = client.get("/api/v1/searches").json()["searches"]
    assert listed == saved.json()
    answer = client.get(f"{place}/hits").json()
    assert answer["hits"][0]["id"] == identity(2)
    assert client.get(f"{place}/hits", params={"since": "last"}).json()["hits"] == []
    (folder / "copy.jpg").write_bytes(jpeg(2) + b"\0")
    filled.sync(folder)
    new = client.get(f"{place}/hits", params={"since": "last"}).json()
    assert [Path(hit["path"]).name for hit in new["hits"]] == ["copy.jpg"]
    assert client.post(f"{place}/seen", json={"newest": new["newest"]}).status_code == 204
    assert client.get(f"{place}/hits", params={"since": "last"}).json()["hits"] == []
    problem(client.post(f"{place}/seen", json={"newest": -1}), 422)
    picture = client.get(f"{place}/pictures/0")
    assert picture.content == jpeg(2)
    assert picture.headers["content-type"] == "application/octet-stream"
    assert picture.headers["content-disposition"] == "attachment"
    problem(client.get(f"{place}/pictures/1"), 404, "no picture 1")
    problem(client.get(f"{place}/pictures/-1"), 422)
    assert client.patch(place, json={"name": "two"}).status_code == 204
    problem(client.patch(place, json={"name": "three"}), 404)
    problem(client.patch("/api/v1/searches/two", json={"name": "a/b"}), 400, "no slash")
    assert client.patch("/api/v1/searches/two", json={"name": "like two"}).status_code == 204
    assert client.delete(place).status_code == 204
    for answer in (client.delete(place), client.get(f"{place}/hits")):
        problem(answer, 404, "like two")


def test_each_user_has_searches_of_their_own(client: httpx.Client, filled: Engine) -> None:
    place, body = "/api/v1/searches/mine", {"where": ["type=jpeg"]}
    anna = {"Authorization": f"Bearer {filled.add_token('anna', 'write')}"}
    eve = {"Authorization": f"Bearer {filled.add_token('eve', 'read')}"}
    assert client.put(place, json=body, headers=anna).status_code == 201
    problem(client.put(place, json=body, headers=eve), 403)
    for headers in (eve, {}):
        assert client.get("/api/v1/searches", headers=headers).json()["searches"] == []
        problem(client.get(f"{place}/hits", headers=headers), 404)
        problem(client.get(f"{place}/pictures/0", headers=headers), 404)
    problem(client.patch(place, json={"name": "other"}), 404)
    problem(client.patch(place, json={"name": "other"}, headers=eve), 403)
    assert len(client.get(f"{place}/hits", headers=anna).json()["hits"]) == 3


# command line ------------------------------------------------------------------------------------


@pytest.mark.catalogs("sqlite")
def test_the_command_tells_what_is_new(
    engine: Engine, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    index(engine, folder, 1, 2)

    def run(*words: str) -> str:
        app(["--home", str(engine.home), *words], standalone_mode=False)
        return capsys.readouterr().out

    assert run("search", "--where", "type=jpeg", "--save", "all", "--paths").count(".jpg") == 2
    assert "all" in run("saved", "list") and run("saved", "run", "all", "--paths").count("jpg") == 2
    assert run("saved", "run", "all", "--since", "last", "--paths") == ""
    index(engine, folder, 3)
    assert run("search", "--where", "type=jpeg", "--since", "1d", "--paths").count(".jpg") == 3
    new = json.loads(run("saved", "run", "all", "--since", "last", "--json"))
    assert [Path(hit["path"]).name for hit in new["hits"]] == ["3.jpg"]
    assert run("saved", "run", "all", "--since", "last", "--paths") == ""
    run("saved", "rename", "all", "every one")
    run("saved", "remove", "every one")
    (tmp_path / "query.jpg").write_bytes(jpeg(2))
    run("search", str(tmp_path / "query.jpg"), "--save", "two")
    run("saved", "picture", "two", "-o", str(tmp_path / "copy.jpg"))
    assert (tmp_path / "copy.jpg").read_bytes() == jpeg(2)
    run("saved", "remove", "two")
    assert json.loads(run("saved", "list", "--json")) == {"searches": []}
