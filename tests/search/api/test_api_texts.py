"""Text in pictures over HTTP: what was read, the job that reads, and who may see it."""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path

import pytest
from helpers.pictures import identity, paint
from helpers.serving import events, problem, serving, until
from test_roles import OWN, bearer

from search import Engine
from search.api.auth import Access
from search.indexing.texts import PictureTexts
from search.media import text_models
from search.records.texts import PictureText, TextLine, TextProgress, TextReport

Open = Callable[..., Engine]
BOX = ((0.1, 0.2), (0.5, 0.2), (0.5, 0.3), (0.1, 0.3))
TEXT = PictureText((TextLine("zebra crossing", 0.9, BOX),), "m" * 16)


@pytest.fixture
def engine(library: Open, folder: Path) -> Engine:
    """A library of two folders with a picture each; that of `b` has text."""
    engine = library(ocr=True)
    for seed, name in ((1, "a"), (2, "b")):
        paint(folder / name / f"{seed}.jpg", seed)
        engine.sync(folder / name)
    engine.library.texts.record({engine.library.reader.resolve(identity(2)): TEXT})
    return engine


def place(seed: int) -> str:
    return f"/api/v1/images/{identity(seed)}"


def test_a_picture_tells_its_text_with_boxes(engine: Engine) -> None:
    with serving(engine) as client:
        answer = client.get(f"{place(2)}/text").json()
        (line,) = answer["lines"]
        assert line == {"text": "zebra crossing", "confidence": 0.9, "box": [list(c) for c in BOX]}
        assert (answer["id"], answer["model"], answer["failed"]) == (identity(2), "m" * 16, None)
        unread = client.get(f"{place(1)}/text").json()
        assert unread == {"id": identity(1), "lines": [], "model": None, "failed": None}
        assert client.get(place(2)).json()["has_text"] is True
        assert client.get(place(1)).json()["has_text"] is None
        texts = client.get("/api/v1/status").json()["texts"]
        assert (texts["read"], texts["with_text"], texts["pending"]) == (1, 1, 1)
        problem(client.get(f"/api/v1/images/{'0' * 64}/text"), 404)


def test_a_collection_shows_no_text_of_others(engine: Engine, folder: Path) -> None:
    user = bearer(engine.add_token("user", "write", [folder / "a"]))
    access = Access(token=OWN, find_token=engine.find_token)
    with serving(engine, access) as client:
        problem(client.get(f"{place(2)}/text", headers=user), 404)
        assert client.get(f"{place(1)}/text", headers=user).json()["lines"] == []
        texts = client.get("/api/v1/status", headers=user).json()["texts"]
        assert (texts["read"], texts["with_text"], texts["pending"]) == (0, 0, 1)
        problem(client.post("/api/v1/text", headers=user), 403, "whole library")
        reader = bearer(engine.add_token("reader", "read"))
        problem(client.post("/api/v1/text", headers=reader), 403, "the role write")


@pytest.fixture
def endless(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Makes reading text endless; returns what became of it."""
    states = list[str]()

    def read(self: PictureTexts) -> Generator[TextProgress, None, None]:
        try:
            states.append("begun")
            while True:
                yield TextProgress(0, 1)
        finally:
            states.append("closed")

    monkeypatch.setattr(PictureTexts, "read", read)
    return states


def test_a_job_that_is_cancelled_stays_so(
    engine: Engine, endless: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(engine) as client:
        jobs = client.app.state.context.text_jobs  # type: ignore[attr-defined]
        assert jobs.is_due()
        job = client.post("/api/v1/text").json()["job"]
        until(lambda: "begun" in endless)
        document = problem(client.post("/api/v1/text"), 429)
        assert document["code"] == "job_running" and document["job"] == job
        assert not jobs.is_due()
        client.delete(f"/api/v1/jobs/{job}")
        until(lambda: client.get(f"/api/v1/jobs/{job}").json()["state"] == "cancelled")
        assert endless == ["begun", "closed"] and not jobs.is_due()


def test_a_server_reads_by_itself(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    report = TextReport(read=1, pending=0)

    def read(self: PictureTexts) -> Generator[TextProgress, None, None]:
        engine.library.texts.record({engine.library.reader.resolve(identity(1)): TEXT})
        yield TextProgress(1, 1, "/a/1.jpg", report)

    monkeypatch.setattr(PictureTexts, "read", read)
    monkeypatch.setattr("search.api.text_jobs.LOOK_SECONDS", 0.05)
    with serving(engine) as client:

        def list_jobs() -> list[str]:
            jobs = client.get("/api/v1/jobs").json()["jobs"]
            return [job["id"] for job in jobs if (job["kind"], job["state"]) == ("text", "done")]

        until(lambda: bool(list_jobs()))
        (job,) = list_jobs()
        last = events(client, job)[-1]
        assert last["event"] == "done" and last["data"]["report"] == report.to_json()
        assert client.get(f"{place(1)}/text").json()["lines"]


def test_without_the_extra_the_answer_says_what_to_install(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_models, "list_models", list)
    with serving(engine) as client:
        answer = problem(client.post("/api/v1/text"), 503, "pip install")
        assert answer["code"] == "model_unavailable"
        assert client.get(f"{place(2)}/text").json()["lines"]  # of when it was installed
        assert "pip install" in client.get("/api/v1/status").json()["texts"]["install"]
