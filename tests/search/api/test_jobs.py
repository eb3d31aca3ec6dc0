"""Indexing over HTTP: which folders, one job at a time, events, cancelling."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from helpers.pictures import identity, jpeg, paint
from helpers.serving import events, files, problem, serving, until

from search import Engine, Progress
from search.api.jobs import Job, Jobs
from search.api.problems import Problem
from search.errors import LockedError
from search.records.indexing import IndexReport


@pytest.fixture
def client(engine: Engine, folder: Path) -> Iterator[httpx.Client]:
    with serving(engine, allow=[folder]) as client:
        yield client


def start(client: httpx.Client, folder: Path) -> str:
    response = client.post("/api/v1/index", json={"path": str(folder)})
    assert response.status_code == 202, response.text
    name: str = response.json()["job"]
    assert response.headers["Location"] == f"/api/v1/jobs/{name}"
    return name


def test_a_folder_is_indexed_and_followed_to_its_end(
    client: httpx.Client, engine: Engine, folder: Path
) -> None:
    for seed in range(70):
        paint(folder / f"{seed}.jpg", seed)
    name = start(client, folder)
    received = events(client, name)
    numbers = [int(event["id"]) for event in received]
    assert numbers == sorted(set(numbers))
    assert {event["event"] for event in received[:-1]} <= {"progress"}
    last = received[-1]
    assert last["event"] == "done" and last["data"]["report"]["added"] == 70
    job = client.get(f"/api/v1/jobs/{name}").json()
    assert job == last["data"] and job["state"] == "done" and job["error"] is None
    assert client.get("/api/v1/jobs").json() == {"jobs": [job]}
    assert engine.status().pictures == 70
    again = events(client, name)
    assert len(again) == 1 and again[0]["data"] == job
    headers = {"Last-Event-ID": last["id"]}
    assert client.get(f"/api/v1/jobs/{name}/events", headers=headers).status_code == 204
    assert len(events(client, name, **{"Last-Event-ID": "nonsense"})) == 1
    metrics = client.get("/metrics").text
    assert 'lookalike_jobs{state="running"} 0.0' in metrics


def test_searches_and_uploads_go_between_the_batches_of_a_job(
    client: httpx.Client, engine: Engine, folder: Path
) -> None:
    engine.keep(jpeg(999))
    for seed in range(200):
        paint(folder / f"{seed}.jpg", seed)
    name = start(client, folder)
    until(lambda: client.get(f"/api/v1/jobs/{name}").json()["progress"] is not None)
    hit = client.post("/api/v1/search", files=files(jpeg(999))).json()["hits"][0]
    uploaded = client.post("/api/v1/images", files=files(jpeg(998)))
    assert hit["id"] == identity(999) and uploaded.status_code == 201
    assert client.get(f"/api/v1/jobs/{name}").json()["state"] == "running"
    client.delete(f"/api/v1/jobs/{name}")
    assert events(client, name)[-1]["event"] in ("cancelled", "done")


def test_a_cancelled_job_ends_and_loses_nothing(
    client: httpx.Client, engine: Engine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(100):
        paint(folder / f"{seed}.jpg", seed)
    first, go = threading.Event(), threading.Event()
    real = engine.library.catalog.record

    def slow(*words: Any) -> None:
        real(*words)
        first.set()
        go.wait(10)

    monkeypatch.setattr(engine.library.catalog, "record", slow)
    name = start(client, folder)
    assert first.wait(10)
    response = client.delete(f"/api/v1/jobs/{name}")
    assert response.status_code == 202 and response.json()["state"] == "running"
    go.set()
    assert events(client, name)[-1]["event"] == "cancelled"
    assert engine.status().pictures == 32
    assert client.delete(f"/api/v1/jobs/{name}").status_code == 200
    assert events(client, start(client, folder))[-1]["data"]["report"]["added"] == 68
    assert engine.status().pictures == 100


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"path": "/etc"}, 403),
        ({"path": "/nowhere/at/all"}, 403),
        ({"path": "/"}, 403),
        ({"path": "~"}, 403),
        ({"path": "{folder}/../elsewhere"}, 403),
        ({"path": "{folder}/link"}, 403),
        ({"path": "{folder}2"}, 403),
        ({"path": "{folder}/nothing"}, 404),
        ({"path": "{folder}/a.jpg"}, 400),
        ({"path": "pictures"}, 400),
        ({"path": "{folder}\0"}, 400),
        ({"path": "~a\0"}, 400),
        ({"path": ""}, 422),
        ({"path": 7}, 422),
        ({"path": "x" * 5000}, 422),
        ({"path": "{folder}", "depth": 1}, 422),
        ({}, 422),
        ([], 422),
    ],
)
def test_only_allowed_folders_are_indexed(
    client: httpx.Client, engine: Engine, folder: Path, tmp_path: Path, body: Any, status: int
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "pictures2").mkdir()
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    paint(folder / "a.jpg", 1)
    if "path" in body and isinstance(body["path"], str):
        body = {**body, "path": body["path"].replace("{folder}", str(folder))}
    problem(client.post("/api/v1/index", json=body), status)
    assert client.get("/api/v1/jobs").json() == {"jobs": []}


def test_on_loopback_home_and_what_is_indexed_may_be_indexed(
    engine: Engine, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    (tmp_path / "user" / "Pictures").mkdir(parents=True)
    with serving(engine) as client:
        problem(client.post("/api/v1/index", json={"path": str(folder)}), 403, "--allow")
        assert events(client, start(client, Path("~/Pictures")))[-1]["event"] == "done"
        engine.sync(folder)
        assert events(client, start(client, folder))[-1]["event"] == "done"


def test_a_bad_body_or_job_is_refused(client: httpx.Client) -> None:
    kind = {"Content-Type": "application/json"}
    problem(client.post("/api/v1/index", content=b"{", headers=kind), 400, "no JSON")
    problem(client.post("/api/v1/index", content=b"\xff", headers=kind), 400)
    for name in ("nothing", "0" * 16, "..%2f"):
        problem(client.get(f"/api/v1/jobs/{name}"), 404)
        problem(client.get(f"/api/v1/jobs/{name}/events"), 404)
        problem(client.delete(f"/api/v1/jobs/{name}"), 404)


def test_a_follower_that_leaves_is_forgotten(
    client: httpx.Client, engine: Engine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = threading.Event()
    monkeypatch.setattr("search.api.routers.index.BEAT_SECONDS", 0.1)

    def stuck(_: Any) -> Iterator[Progress]:
        go.wait(20)
        yield Progress("finish", 0, 0, None, IndexReport())

    monkeypatch.setattr(engine, "index", stuck)
    context = client.app.state.context  # type: ignore[attr-defined]
    name = start(client, folder)
    with client.stream("GET", f"/api/v1/jobs/{name}/events") as response:
        lines = response.iter_lines()
        until(lambda: next(lines) == ": still here")
        assert context.connected.followers == 1
    until(lambda: context.connected.followers == 0)
    response = client.post("/api/v1/index", json={"path": str(folder)})
    assert problem(response, 429, "cancel")["job"] == name
    assert "Retry-After" in response.headers
    monkeypatch.setattr("search.api.routers.index.MAX_FOLLOWERS", 0)
    problem(client.get(f"/api/v1/jobs/{name}/events"), 503)
    go.set()


# the queue -------------------------------------------------------------------------------------


def gated(go: threading.Event) -> Callable[[], Iterator[Progress]]:
    def run() -> Iterator[Progress]:
        go.wait(10)
        yield Progress("index", 1, 2, "a.jpg")
        yield Progress("finish", 2, 2, None, IndexReport(added=2))

    return run


def test_one_runs_the_others_wait_and_more_are_refused() -> None:
    jobs, go = Jobs(waiting=2), threading.Event()
    first = jobs.start("index", "/a", "/a", gated(go))
    until(lambda: first.state == "running")
    others = [jobs.start("index", f"/{name}", f"/{name}", gated(go)) for name in "bc"]
    for path in ("/a", "/b", "/d"):
        with pytest.raises(Problem) as caught:
            jobs.start("index", path, path, gated(go))
        assert caught.value.status == 429
    assert jobs.count() == {"running": 1, "queued": 2}
    assert jobs.cancel(others[0].id).state == "cancelled"
    go.set()
    until(lambda: others[1].over)
    assert [job.state for job in (first, *others)] == ["done", "cancelled", "done"]
    jobs.start("index", "/a", "/a", gated(go))
    jobs.close()


def test_a_kind_of_jobs_waits_for_its_own_only() -> None:
    jobs, go, at_once = Jobs(waiting=1), threading.Event(), threading.Event()
    at_once.set()
    long = [jobs.start("index", name, name, gated(go)) for name in ("/a",)]
    until(lambda: long[0].state == "running")
    long.append(jobs.start("index", "/b", "/b", gated(go)))
    other = jobs.start("variants", "", None, gated(at_once))
    until(lambda: other.over)
    assert other.state == "done" and [job.state for job in long] == ["running", "queued"]
    assert [job.id for job in jobs.all()] == [other.id, long[1].id, long[0].id]
    same = [jobs.start("variants", "", None, gated(go), waiting=3) for _ in range(2)]  # no root
    assert len({job.id for job in same}) == 2
    go.set()
    jobs.close()


def test_jobs_that_are_over_are_forgotten_in_their_order() -> None:
    jobs, go = Jobs(remembered=3), threading.Event()
    go.set()
    jobs_started = []
    for _ in range(6):
        jobs_started.append(jobs.start("index", "/a", "/a", gated(go)))
        until(lambda: jobs_started[-1].over)
    assert [job.id for job in jobs.all()] == [job.id for job in jobs_started[:1:-1]]
    jobs.close()


def test_a_job_that_failed_holds_nothing_of_what_it_was_given() -> None:
    class Upload:
        """What a request sent."""

    def make_job() -> tuple[Callable[[], Iterator[Progress]], weakref.ref[Upload]]:
        upload = Upload()

        def run() -> Iterator[Progress]:
            yield Progress("scan", 0, 0)
            try:
                raise OSError(str(upload))
            except OSError as error:
                raise LockedError("it is held") from error

        return run, weakref.ref(upload)

    jobs = Jobs()
    run, held = make_job()
    failed = jobs.start("index", "/a", "/a", run)
    del run
    until(lambda: failed.over)
    gc.collect()
    until(lambda: held() is None)
    jobs.close()


@pytest.mark.parametrize(
    ("error", "message"),
    [(LockedError("process 7 is writing"), "process 7"), (RuntimeError("a secret"), "log")],
)
def test_a_job_that_fails_says_why_and_the_next_one_runs(error: Exception, message: str) -> None:
    def run() -> Iterator[Progress]:
        yield Progress("scan", 0, 0)
        raise error

    jobs, go = Jobs(), threading.Event()
    go.set()
    failed = jobs.start("index", "/a", "/a", run)
    until(lambda: failed.over)
    assert failed.state == "failed" and message in str(failed.error)
    assert "secret" not in str(failed.to_json())
    following = jobs.start("index", "/a", "/a", gated(go))
    until(lambda: following.over)
    assert following.state == "done"
    jobs.close()


def test_closing_ends_what_runs_and_what_waits() -> None:
    def endless() -> Iterator[Progress]:
        while True:
            time.sleep(0.01)
            yield Progress("index", 1, 2)

    jobs = Jobs()
    started: list[Job] = [jobs.start("index", name, name, endless) for name in ("/a", "/b")]
    until(lambda: started[0].state == "running")
    jobs.close()
    assert [job.state for job in started] == ["cancelled", "cancelled"]
    with pytest.raises(Problem):
        jobs.start("index", "/c", "/c", endless)
