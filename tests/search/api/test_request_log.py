"""The log of requests, their ids, metrics of a busy server, and how a server stops."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from helpers.pictures import jpeg
from helpers.serving import files, problem, raw, serving, until

from search import Engine, Hits
from search.api.connections import ConnectionLimits
from search.api.deps import Context
from search.api.request_log import JsonFormatter
from search.records.indexing import Progress


def context_of(client: httpx.Client) -> Context:
    return client.app.state.context  # type: ignore[attr-defined,no-any-return]


@pytest.mark.parametrize("path", ["/healthz", "/nothing", "/api/v1/images/xyz", "/api/v1/jobs/a"])
def test_each_answer_has_an_id(engine: Engine, path: str) -> None:
    with serving(engine) as client:
        ids = {client.get(path).headers["X-Request-ID"] for _ in range(3)}
        assert len(ids) == 3 and all(re.fullmatch("[0-9a-f]{16}", one) for one in ids)
        mine = client.get(path, headers={"X-Request-ID": "trace-1.a_B"})
        assert mine.headers["X-Request-ID"] == "trace-1.a_B"
        refused = client.get(path, headers={"Host": "evil.example", "X-Request-ID": "mine"})
        assert refused.status_code == 403 and refused.headers["X-Request-ID"] == "mine"


@pytest.mark.parametrize("sent", ["", "x" * 65, "a b", '"}', "a\tb", "../x", "é".encode()])
def test_an_id_that_is_not_short_and_plain_is_replaced(engine: Engine, sent: str) -> None:
    with serving(engine) as client:
        answer = client.get("/healthz", headers={"X-Request-ID": sent})
        assert re.fullmatch("[0-9a-f]{16}", answer.headers["X-Request-ID"])


def test_an_error_of_the_server_has_its_id_in_the_answer_and_in_the_log(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[dict[str, Any]] = []

    class LineCollector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(json.loads(JsonFormatter().format(record)))

    def fail() -> None:
        raise ZeroDivisionError("a fault")

    handler = LineCollector()
    logging.getLogger().addHandler(handler)
    monkeypatch.setattr(logging.getLogger("search"), "level", logging.INFO)
    logging.getLogger("search.api.request_log")._cache.clear()  # type: ignore[attr-defined]
    try:
        with serving(engine) as client:
            monkeypatch.setattr(engine, "ready", fail)
            answer = client.get("/readyz", headers={"X-Request-ID": "mine"})
    finally:
        logging.getLogger().removeHandler(handler)
        logging.getLogger("search.api.request_log")._cache.clear()  # type: ignore[attr-defined]
    problem(answer, 500)
    assert answer.headers["X-Request-ID"] == "mine"
    fault = next(line for line in lines if "exception" in line)
    assert fault["id"] == "mine" and "ZeroDivisionError: a fault" in fault["exception"]
    request = next(line for line in lines if line["logger"] == "search.api.request_log")
    assert (request["id"], request["status"], request["route"]) == ("mine", 500, "/readyz")


@pytest.mark.slow
@pytest.mark.parametrize("way", ["option", "setting"])
def test_the_log_of_a_server_is_json_lines(home: Path, way: str) -> None:
    environment = {**os.environ, "LOOKALIKE_HOME": str(home)}
    words = ["serve", "--port", "0", "--no-token"]
    if way == "option":
        words.append("--log-json")
    else:
        environment["LOOKALIKE_LOG_JSON"] = "1"
    command = [sys.executable, "-m", "search", *words]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        with httpx.Client(base_url=address, trust_env=False, timeout=30) as client:
            client.get("/api/v1/images/secret-name", headers={"X-Request-ID": "mine"})
        process.terminate()
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 0 and "secret-name" not in errors
    lines = [json.loads(line) for line in errors.splitlines() if line.startswith("{")]
    (line,) = (one for one in lines if one.get("id") == "mine" and "route" in one)
    assert line["method"] == "GET" and line["route"] == "/api/v1/images/{picture_id}"
    assert line["status"] in (400, 404) and line["milliseconds"] >= 0
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])


def test_a_full_queue_answers_503_and_the_metrics_say_so(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()
    answer = engine.search

    def wait(*query: Any) -> Hits:
        go_on.wait(60)
        return answer(*query)

    monkeypatch.setattr(engine, "search", wait)
    with serving(engine) as client, ThreadPoolExecutor(40) as pool:
        context = context_of(client)

        def search() -> httpx.Response:
            return client.post("/api/v1/search", files=files(jpeg(1)))

        waiting = [pool.submit(search) for _ in range(40)]
        until(lambda: context.searches.held == 40, 30)
        refused = search()
        assert problem(refused, 503)["code"] == "busy"
        assert refused.headers["Retry-After"] == "1"
        metrics = client.get("/metrics").text
        assert 'lookalike_queue{queue="search"} 40.0' in metrics
        busy = r'lookalike_requests_total\{.*route="/api/v1/search",status="503"\} 1.0'
        assert re.search(busy, metrics)
        go_on.set()
        assert {problem(one.result(), 404)["code"] for one in waiting} == {"library_empty"}
        assert 'lookalike_queue{queue="search"} 0.0' in client.get("/metrics").text


def test_refused_connections_and_failures_of_decoding_are_counted(engine: Engine) -> None:
    def value(metrics: str, name: str) -> float:
        line = next((one for one in metrics.splitlines() if one.startswith(f"{name} ")), "0 0")
        return float(line.split()[-1])

    failures = 'lookalike_decode_failures{code="not_a_picture"}'
    with serving(engine, limits=ConnectionLimits(1)) as client:
        before = client.get("/metrics").text
        problem(client.post("/api/v1/images/preview", files=files(b"no picture")), 415)
        context = context_of(client)
        body = b"POST /api/v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999\r\n"
        client.close()
        held = raw(client, body + b"Content-Type: application/json\r\n\r\n{")
        until(lambda: context.bodies.held > 0)
        with raw(client, b"") as refused:
            assert refused.recv(100).startswith(b"HTTP/1.1 503 ")
        held.close()
        context.metrics.set_decode_failures(engine.decode_failures)
        after = context.metrics.to_text().decode()
    assert value(after, failures) == value(before, failures) + 1
    assert value(after, "lookalike_connections_refused_total") == 1


def test_a_stop_answers_what_was_accepted_and_ends_the_job_between_batches(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, batches, closed = threading.Event(), [], threading.Event()
    monkeypatch.setattr(engine, "words", lambda *_: go_on.wait(60) and Words())

    class Words:
        def to_json(self) -> dict[str, str]:
            return {"answer": "whole"}

    def run() -> Any:
        try:
            for i in range(1000):
                batches.append(f"begin {i}")
                go_on.wait(60)
                batches.append(f"end {i}")
                yield Progress("index", i, 1000)
        finally:
            closed.set()

    with serving(engine) as client, ThreadPoolExecutor(6) as pool:
        context = context_of(client)
        job = context.jobs.start("index", "/a", None, run)
        accepted = [pool.submit(client.get, "/api/v1/words") for _ in range(6)]
        until(lambda: context.looks.held == 6 and bool(batches))
        client.server.should_exit = True  # type: ignore[attr-defined]
        until(lambda: is_refused(client))
        go_on.set()
        answers = [one.result() for one in accepted]
        assert [one.json() for one in answers] == [{"answer": "whole"}] * 6
        until(closed.is_set)
        until(lambda: job.over)
    assert job.state == "cancelled" and batches[-1].startswith("end")


def is_refused(client: httpx.Client) -> bool:
    """Whether the server takes no connection any more."""
    try:
        raw(client, b"").close()
    except ConnectionError:
        return True
    return False


def test_a_formatter_takes_any_line() -> None:
    record: Callable[..., logging.LogRecord] = logging.LogRecord
    line = JsonFormatter().format(record("a", logging.INFO, "", 0, "a %s\n\ud800", ("b",), None))
    assert "\n" not in line and json.loads(line)["message"] == "a b\n\ud800"
