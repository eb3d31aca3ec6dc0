"""The query on one line: by command line, HTTP and Python."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.pictures import identity, paint
from helpers.serving import files, problem, serving
from typer.testing import CliRunner

from search import Engine, QueryError
from search.cli.app import app
from search.querying.query import MAX_TERMS

Open = Callable[..., Engine]


def test_every_interface_answers_a_line_alike(library: Open, home: Path, folder: Path) -> None:
    engine = library()
    for name, seed in (("sea/1.jpg", 1), ("sea/draft 2.jpg", 2), ("hill/3.jpg", 3)):
        paint(folder / name, seed)
    engine.sync(folder)
    line = f"2:id:{identity(3)[:12]} + sea -draft type:jpeg"
    hits = engine.search(line=line)
    assert {hit.id for hit in hits} == {identity(1), identity(3)}
    assert hits.query["where"] == ["not words=draft", "type=jpeg"]
    shown = [(hit.id, hit.score) for hit in hits]
    with serving(engine) as client:
        answer = client.post("/api/v1/search", json={"line": line})
        assert [(hit["id"], hit["score"]) for hit in answer.json()["hits"]] == shown
        file = folder / "hill" / "3.jpg"  # over HTTP it is a text
        answer = client.post("/api/v1/search", json={"line": str(file)})
        assert answer.json()["query"]["terms"] == [{"text": str(file), "weight": 1.0}]
        wrong = client.post("/api/v1/search", json={"line": "widht>=3"})
        assert wrong.status_code == 400 and "width" in wrong.json()["detail"]
    run = CliRunner().invoke(app, ["--home", str(home), "search", "--query", line, "--json"])
    assert run.exit_code == 0, run.output
    answered = json.loads(run.stdout)["hits"]
    assert [(hit["id"], hit["score"]) for hit in answered] == shown
    line = f"'{file}'".strip("'") + " - sea"
    run = CliRunner().invoke(app, ["--home", str(home), "search", "--query", line, "--json"])
    assert json.loads(run.stdout)["hits"][0]["id"] == identity(3)
    assert engine.search(line=line)[0].id == identity(3)


@pytest.mark.parametrize("count", [MAX_TERMS + 1, 200])
def test_every_interface_refuses_too_many_terms_alike(
    library: Open, home: Path, folder: Path, count: int
) -> None:
    picture = paint(folder / "1.jpg", 1)
    engine = library(upload_files=count)
    engine.sync(folder)
    with pytest.raises(QueryError) as caught:
        engine.search([picture] * count)
    message = str(caught.value)
    assert f"has {count} terms" in message and f"{MAX_TERMS} is the most" in message
    uploads = files(*[picture.read_bytes()] * count)
    with serving(engine) as client:
        problem(client.post("/api/v1/search", files=uploads), 400, message)
        terms = [{"image": f"id:{identity(1)}"}] * count
        problem(client.post("/api/v1/search", json={"terms": terms}), 400, message)
    words = ["--home", str(home), "search", *[str(picture)] * count]
    run = CliRunner().invoke(app, words)
    assert isinstance(run.exception, QueryError) and str(run.exception) == message


def test_a_condition_of_words_is_exact(library: Open, folder: Path) -> None:
    engine = library()
    for name, seed in (("two boats.jpg", 1), ("boats two.jpg", 2), ("sea.jpg", 3)):
        paint(folder / name, seed)
    engine.sync(folder)

    def find(**query: str) -> set[str]:
        return {hit.id for hit in engine.search(**query)}  # type: ignore[arg-type]

    assert find(where="words=boat") == {identity(1), identity(2)}
    assert find(line='words:"two boats"') == {identity(1), identity(2)}
    assert find(where="not words=boats and not words=nothing") == {identity(3)}
    assert find(line="-sea -two") == set()
    part = engine.within(["/none"])
    assert list(part.search(where="words=boat")) == []
