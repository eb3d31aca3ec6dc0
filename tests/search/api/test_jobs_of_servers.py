"""Several servers of one library: each shows, follows and cancels the jobs of all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from helpers.pictures import paint
from helpers.project import ROOT
from helpers.serving import events, problem, serving, until
from sqlalchemy import update

from search import Engine, Progress, UnavailableError
from search.api.jobs import Jobs
from search.catalog import schema
from search.catalog.jobs import JobBoard
from search.records.indexing import IndexReport

Open = Callable[..., Engine]
pytestmark = pytest.mark.catalogs("sqlite", "postgresql")


@pytest.fixture
def servers(library: Open, folder: Path) -> Iterator[list[httpx.Client]]:
    """Clients of two servers with engines of their own on one library."""
    with serving(library(), allow=[folder]) as first, serving(library(), allow=[folder]) as second:
        yield [first, second]


def start_gated(client: httpx.Client, go: threading.Event, root: str = "/a") -> str:
    """Start a job that makes progress, and ends when `go` is set. Returns its id."""

    def run() -> Iterator[Progress]:
        step = 0
        while not go.is_set():
            step += 1
            yield Progress("index", step, 1_000_000, "a.jpg")
            go.wait(0.02)
        yield Progress("index", step, step, report=IndexReport(added=7))

    jobs: Jobs = client.app.state.context.jobs  # type: ignore[attr-defined]
    return jobs.start("index", root, root, run).id


def test_a_job_is_shown_and_followed_on_any_server(servers: list[httpx.Client]) -> None:
    first, second = servers
    go = threading.Event()
    name = start_gated(first, go)
    until(lambda: (second.get(f"/api/v1/jobs/{name}").json()["progress"] or {}).get("done", 0) > 1)
    assert [job["id"] for job in second.get("/api/v1/jobs").json()["jobs"]] == [name]
    assert second.get(f"/api/v1/jobs/{name}").json()["state"] == "running"
    threading.Timer(1.2, go.set).start()
    received = events(second, name)
    assert len(received) > 1 and {one["event"] for one in received[:-1]} == {"progress"}
    assert received[-1]["event"] == "done" and received[-1]["data"]["report"]["added"] == 7
    numbers = [int(one["id"]) for one in received]
    assert numbers == sorted(set(numbers))
    answers = [client.get(f"/api/v1/jobs/{name}").json() for client in servers]
    assert answers[0] == answers[1] == received[-1]["data"]
    headers = {"Last-Event-ID": received[-1]["id"]}
    for client in servers:
        answer = client.get(f"/api/v1/jobs/{name}/events", headers=headers)
        assert answer.status_code == 204


def test_a_job_is_cancelled_on_any_server(servers: list[httpx.Client]) -> None:
    first, second = servers
    name = start_gated(first, threading.Event())
    assert second.delete(f"/api/v1/jobs/{name}").status_code == 202
    assert events(second, name)[-1]["event"] == "cancelled"
    for client in servers:
        assert client.get(f"/api/v1/jobs/{name}").json()["state"] == "cancelled"
    assert second.delete(f"/api/v1/jobs/{name}").status_code == 200
    problem(second.delete("/api/v1/jobs/0000"), 404)


def test_a_folder_has_one_job_on_all_servers(servers: list[httpx.Client], folder: Path) -> None:
    go = threading.Event()
    paint(folder / "a.jpg", 1)
    name = start_gated(servers[0], go, str(folder))
    refusal = servers[1].post("/api/v1/index", json={"path": str(folder)})
    assert problem(refusal, 429)["job"] == name and refusal.json()["code"] == "job_running"
    go.set()
    until(lambda: servers[1].get(f"/api/v1/jobs/{name}").json()["state"] == "done")
    other = servers[1].post("/api/v1/index", json={"path": str(folder)}).json()["job"]
    assert events(servers[0], other)[-1]["data"]["report"]["added"] == 1


def test_jobs_are_remembered_when_a_server_ends(library: Open, folder: Path) -> None:
    engine, go = library(), threading.Event()
    with serving(engine) as client:
        done = start_gated(client, go)
        go.set()
        until(lambda: client.get(f"/api/v1/jobs/{done}").json()["state"] == "done")
        cancelled = start_gated(client, threading.Event())
    with serving(engine) as client:
        states = {job["id"]: job["state"] for job in client.get("/api/v1/jobs").json()["jobs"]}
    assert states == {done: "done", cancelled: "cancelled"}


def test_a_job_whose_lease_ran_out_has_failed_and_frees_its_folder(
    servers: list[httpx.Client], library: Open, folder: Path
) -> None:
    engine = library()
    lost = Jobs(board=JobBoard(engine.library.database))
    job = lost.start("index", str(folder), str(folder), lambda: iter(()))
    until(lambda: job.over)
    lost.close()
    with engine.library.database.write() as c:  # as its server left it when it was killed
        values = {
            "state": "running",
            "document": job.to_json() | {"state": "running"},
            "lease": 9.0,
        }
        c.execute(update(schema.jobs).where(schema.jobs.c.id == job.id).values(values))
    for client in servers:
        answer = client.get(f"/api/v1/jobs/{job.id}").json()
        assert (answer["state"], answer["code"]) == ("failed", "server_lost")
        assert events(client, job.id)[-1]["event"] == "failed"
    assert servers[0].post("/api/v1/index", json={"path": str(folder)}).status_code == 202


SERVE = """
import sys, search.api.jobs, search.catalog.jobs
search.catalog.jobs.LEASE_SECONDS, search.api.jobs.RENEW_SECONDS = 2.0, 0.3
from search import Engine, Progress
from search.api.jobs import Jobs

def run():
    while True:
        yield Progress("index", 1, 2)

with Engine.open(sys.argv[1]) as engine:
    print(Jobs(board=engine.library.jobs).start("index", "/a", "/a", run).id, flush=True)
    sys.stdin.read()
"""


@pytest.mark.catalogs("sqlite")
def test_a_job_of_a_server_that_is_killed_has_failed(servers: list[httpx.Client]) -> None:
    home = servers[0].get("/api/v1/status").json()["home"]
    with subprocess.Popen(
        [sys.executable, "-c", SERVE, home],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as process:
        assert process.stdout is not None
        address = f"/api/v1/jobs/{process.stdout.readline().decode().strip()}"
        until(lambda: servers[0].get(address).json()["state"] == "running")
        process.send_signal(signal.SIGKILL)
    until(lambda: servers[1].get(address).json()["state"] == "failed")
    assert servers[0].get(address).json()["code"] == "server_lost"


def test_jobs_go_on_while_the_catalog_is_away_and_are_written_when_it_is_back(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    board, go, is_away = JobBoard(engine.library.database), threading.Event(), threading.Event()

    class Flaky(JobBoard):
        def update(self, *arguments: object) -> None:
            if is_away.is_set():
                raise UnavailableError("away")
            board.update(*arguments)  # type: ignore[arg-type]

    jobs = Jobs(board=Flaky(engine.library.database))

    def run() -> Iterator[Progress]:
        yield Progress("index", 1, 2)
        go.wait(30)
        yield Progress("index", 2, 2, report=IndexReport())

    job = jobs.start("index", "/a", "/a", run)
    until(lambda: (record := board.get(job.id)) is not None and record.state == "running")
    is_away.set()
    go.set()
    until(lambda: job.over)
    assert jobs.get(job.id) is job and job.state == "done"
    is_away.clear()
    until(lambda: (record := board.get(job.id)) is not None and record.state == "done")
    jobs.close()


def test_old_jobs_are_forgotten(engine: Engine) -> None:
    jobs = Jobs(remembered=2, board=engine.library.jobs)
    ids = []
    for _ in range(5):
        job = jobs.start("index", "/a", "/a", lambda: iter(()))
        ids.append(job.id)
        until(lambda: (record := engine.library.jobs.get(ids[-1])) is not None and record.over)
    assert [record.id for record in engine.library.jobs.all()] == ids[:1:-1]
    jobs.close()
