"""Captions by a model over HTTP and on the command line."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest
from helpers.pictures import identity, paint
from helpers.serving import events, problem, serving, until
from typer.testing import CliRunner

from search import Engine
from search.cli.app import app
from search.records.annotations import Change
from search.records.captions import CaptionProgress

Open = Callable[..., Engine]


@pytest.fixture
def engine(library: Open, folder: Path, coca: str) -> Engine:
    engine = library(caption_model=coca)
    for seed in range(2):
        paint(folder / f"{seed}.jpg", seed)
    engine.sync(folder)
    return engine


def test_a_job_captions_and_the_picture_says_by_whom(engine: Engine) -> None:
    with serving(engine) as client:
        answer = client.post("/api/v1/captions", json={"where": ["name=1"]})
        assert answer.status_code == 202
        last = events(client, answer.json()["job"])[-1]
        assert last["event"] == "done" and last["data"]["kind"] == "caption"
        report = last["data"]["report"]
        assert report["captioned"] == 1 and report["skipped"] == []
        image = client.get(f"/api/v1/images/{identity(1)}").json()
        assert image["caption"] and image["caption_origin"] == "model"
        assert client.get(f"/api/v1/images/{identity(0)}").json()["caption"] is None
        csv = client.post("/api/v1/images/csv", json={"ids": [identity(1)]}).text
        assert csv.splitlines()[0].endswith("caption,caption_origin")
        assert csv.splitlines()[1].endswith(",model")


def test_wrong_requests_are_refused(engine: Engine) -> None:
    with serving(engine) as client:
        for sent, status, code in (
            ({"model": "coca_ViT-B-32:/etc/passwd"}, 422, "fields_invalid"),
            ({"model": "ViT-B-32"}, 503, "model_unavailable"),
            ({"where": ["nothing=1"]}, 400, "condition_field_unknown"),
            ({"other": 1}, 422, "fields_invalid"),
        ):
            assert problem(client.post("/api/v1/captions", json=sent), status)["code"] == code
        job = client.post("/api/v1/captions", json={"model": "coca_ViT-B-32"}).json()["job"]
        last = events(client, job)[-1]
        assert (last["event"], last["data"]["code"]) == ("failed", "model_unavailable")
        assert "cannot be had" in last["data"]["error"]


def test_a_job_can_be_cancelled(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    states = list[str]()

    def caption(*_: Any) -> Generator[CaptionProgress]:
        try:
            states.append("begun")
            while True:
                yield CaptionProgress("caption", 0, 1)
        finally:
            states.append("closed")

    monkeypatch.setattr(Engine, "caption", caption)
    with serving(engine) as client:
        job = client.post("/api/v1/captions", json={}).json()["job"]
        until(lambda: "begun" in states)
        assert problem(client.post("/api/v1/captions", json={}), 429)["code"] == "job_running"
        client.delete(f"/api/v1/jobs/{job}")
        until(lambda: client.get(f"/api/v1/jobs/{job}").json()["state"] == "cancelled")
        assert states == ["begun", "closed"]


def test_the_command_captions_and_shows(home: Path, folder: Path, coca: str) -> None:
    paint(folder / "0.jpg", 0)

    def ask(*words: str) -> Any:
        return CliRunner().invoke(app, ["--home", str(home), "--model", "mini", *words])

    assert ask("index", str(folder)).exit_code == 0
    done = ask("caption", "--model", coca, "type=jpeg", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["captioned"] == 1
    image = str(folder / "0.jpg")
    assert ask("caption", image, "list").stdout.strip().endswith("(model)")
    assert ask("caption", image, "set", "A hat").exit_code == 0
    (shown,) = json.loads(ask("caption", image, "list", "--json").stdout)["pictures"]
    assert (shown["caption"], shown["caption_origin"]) == ("A hat", "person")
    assert ask("caption", image, "remove").exit_code == 0
    assert "(model)" in ask("caption", image, "list").stdout
    assert ask("caption", image, "set").exit_code == 2


def test_captions_are_counted_and_models_listed(
    engine: Engine, coca: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.tags.change([identity(0)], Change(caption="Mine"))
    with serving(engine) as client:
        status = client.get("/api/v1/captions").json()
        assert (status["captioned"], status["by_model"], status["without"]) == (1, 0, 1)
        first, *others = status["models"]
        assert first == {"name": coca, "installed": True, "default": True}
        names = [one["name"] for one in others]
        assert "coca_ViT-B-32:laion2b_s13b_b90k" in names
        assert not any(one["default"] or one["installed"] for one in others)
        job = client.post("/api/v1/captions", json={}).json()["job"]
        assert events(client, job)[-1]["event"] == "done"
        status = client.get("/api/v1/captions").json()
        assert (status["captioned"], status["by_model"], status["without"]) == (1, 1, 0)
        assert engine.caption_status().to_json() == status
    monkeypatch.setenv("LOOKALIKE_CAPTION_MODEL", coca)
    arguments = ["--home", str(engine.library.home), "caption", "--status"]
    printed = CliRunner().invoke(app, [*arguments, "--json"])
    assert json.loads(printed.stdout) == status
    assert f"{coca}: its weights are here" in CliRunner().invoke(app, arguments).stdout
    assert CliRunner().invoke(app, [*arguments, "date>=2024"]).exit_code == 2
