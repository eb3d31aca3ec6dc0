"""Clients that send slowly, or never: what they cost, and that others are answered meanwhile."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import anyio
import httpx
import pytest
from helpers.pictures import jpeg
from helpers.serving import files, problem, raw, serving, until

from search import Engine
from search.api import connections, limits
from search.api.auth import Access, EndedSessions
from search.api.connections import ConnectionLimits, count_allowed
from search.api.limits import RepeatedLines, WrongTokens
from search.api.routers import index
from search.records.indexing import Progress
from search.records.transient import MemoryItems

HALF = b"GET /healthz HTTP/1.1\r\nHost: local"
UPLOAD = (
    b"POST /api/v1/search HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 300000\r\n"
    b"Content-Type: multipart/form-data; boundary=x\r\n\r\n"
    b"--x\r\nContent-Disposition: form-data; name=image; filename=a.jpg\r\n\r\n"
)
INDEX = (
    b"POST /api/v1/index HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 3000\r\n"
    b"Content-Type: application/json\r\n\r\n{"
)


def is_closed(connection: socket.socket) -> bool:
    """Read to the end. Whether the server closed the connection."""
    try:
        while connection.recv(65536):
            pass
    except ConnectionError:
        pass
    except TimeoutError:
        return False
    finally:
        connection.close()
    return True


@pytest.mark.parametrize("start", [b"", HALF, HALF + b"host\r\n\r\n" + HALF])
def test_a_head_that_does_not_come_costs_no_connection(engine: Engine, start: bytes) -> None:
    with serving(engine, limits=ConnectionLimits(64, head_seconds=0.3)) as client:
        assert is_closed(raw(client, start))
        trickling = raw(client, HALF)
        with pytest.raises(OSError):  # bytes in between do not extend it
            for _ in range(200):
                trickling.sendall(b"x")
                time.sleep(0.05)
        trickling.close()
        assert client.get("/healthz").status_code == 200


LONG = b"x" * 300_000
CHUNKED = UPLOAD.replace(b"Content-Length: 300000", b"Transfer-Encoding: chunked").partition(b"--")


@pytest.mark.parametrize(
    "start",
    [
        b"GET /" + LONG,
        HALF + b"host\r\nX: " + LONG,
        HALF + b"host\r\n" + b"X: y\r\n" * 50_000,
        HALF + b"host\r\n\r\n" + HALF + b"host\r\nX: " + LONG,
        CHUNKED[0] + b"3;" + LONG,
        CHUNKED[0] + b"0\r\nX: " + LONG,
    ],
    ids=["path", "header", "headers", "second", "chunk", "trailer"],
)
def test_a_head_that_does_not_end_is_refused(engine: Engine, start: bytes) -> None:
    with serving(engine, limits=ConnectionLimits(64, head_seconds=600)) as client:
        connection = raw(client, start[:1000])
        with pytest.raises(OSError):  # whatever is in between, the server hangs up
            while True:
                connection.sendall(start[1000:])
        connection.close()
        assert client.get("/healthz").status_code == 200


def test_many_half_open_connections_leave_room_for_others(engine: Engine) -> None:
    with serving(engine, limits=ConnectionLimits(20, head_seconds=600)) as client:
        held = [raw(client, HALF) for _ in range(100)]
        for _ in range(3):
            with httpx.Client(base_url=client.base_url, trust_env=False) as other:
                assert other.get("/healthz").status_code == 200
        assert all(is_closed(one) for one in held[:70])  # the oldest went
        for one in held[70:]:
            one.close()


def test_beyond_the_limit_of_requests_at_work_a_client_is_told(engine: Engine) -> None:
    with serving(engine, limits=ConnectionLimits(3)) as client:
        context = client.app.state.context  # type: ignore[attr-defined]
        uploads = [raw(client, UPLOAD + b"x" * 1000) for _ in range(3)]
        until(lambda: context.bodies.held >= 3000)
        refused = raw(client, b"")
        assert refused.recv(100).startswith(b"HTTP/1.1 503 ")
        assert is_closed(refused)
        for one in uploads:
            one.close()
        until(lambda: client.get("/healthz").status_code == 200)


@pytest.mark.parametrize("files", [64, 256, 1024, 20_000, -1])
def test_there_are_fewer_connections_than_open_files(
    files: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections.resource, "getrlimit", lambda _: (files, files))
    count = count_allowed()
    assert 1 <= count <= 512 and (files < 0 or count + files // 2 <= files)


@pytest.mark.parametrize("start", [UPLOAD, INDEX])
def test_a_body_that_does_not_come_is_refused(
    engine: Engine, start: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(engine) as client:
        monkeypatch.setattr(limits, "PAUSE_SECONDS", 0.2)
        paused = raw(client, start)
        assert paused.recv(100).startswith(b"HTTP/1.1 408 ")
        paused.close()
        monkeypatch.setattr(limits, "PAUSE_SECONDS", 600.0)
        monkeypatch.setattr(limits, "BODY_SECONDS", 0.5)
        trickling = raw(client, start)
        trickling.settimeout(0.01)
        answer = b""
        for _ in range(1000):
            trickling.sendall(b" ")
            try:
                answer = trickling.recv(100)
                break
            except TimeoutError:
                pass
        assert answer.startswith(b"HTTP/1.1 408 ")
        trickling.close()


def test_slow_uploads_take_no_place_of_a_search(engine: Engine, folder: Path) -> None:
    (folder / "a.jpg").write_bytes(jpeg(1))
    engine.sync(folder)
    with serving(engine) as client:
        context = client.app.state.context  # type: ignore[attr-defined]
        slow = [raw(client, UPLOAD + b"x" * 100) for _ in range(60)]
        until(lambda: context.bodies.held >= 6000)
        for path in ("search", "images/preview"):
            assert client.post(f"/api/v1/{path}", files=files(jpeg(1))).status_code == 200
        for one in slow:
            one.close()


def test_bodies_that_are_held_are_limited_in_all(
    library: Callable[..., Engine],
) -> None:
    with serving(library(upload_bytes=10_000)) as client:
        context = client.app.state.context  # type: ignore[attr-defined]
        context.bodies.take(16 * 10_000 - 100)
        refused = client.post("/api/v1/search", files=files(jpeg(1)))
        problem(refused, 503, "uploads")
        assert refused.headers["Retry-After"]
        until(lambda: context.bodies.held == 16 * 10_000 - 100)


def test_who_reads_nothing_is_let_go(engine: Engine, folder: Path) -> None:
    (folder / "a.jpg").write_bytes(jpeg(1) + bytes(20_000_000))
    engine.sync(folder)
    name = engine.search(image=folder / "a.jpg")[0].id
    with serving(engine, limits=ConnectionLimits(64, write_seconds=0.3)) as client:
        request = f"GET /api/v1/images/{name}/file HTTP/1.1\r\nHost: localhost\r\n\r\n"
        reader = raw(client, request.encode())
        until(lambda: '/file",status="200"}' in client.get("/metrics").text)  # it has ended
        length = 0
        try:
            while data := reader.recv(2**20):
                length += len(data)
        except ConnectionError:
            pass
        reader.close()
        assert length < 20_000_000


def test_no_more_follow_a_job_than_may(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "MAX_FOLLOWERS", 8)
    go_on = threading.Event()

    def run() -> object:
        yield Progress("list", 0, 1)
        go_on.wait(60)

    with serving(engine) as client:
        context = client.app.state.context  # type: ignore[attr-defined]
        job = context.jobs.start("index", "/a", None, run).id
        barrier = threading.Barrier(40)

        def follow(_: int) -> int:
            barrier.wait()
            with client.stream("GET", f"/api/v1/jobs/{job}/events", timeout=60) as answer:
                for _ in answer.iter_lines():
                    pass
                return answer.status_code

        with ThreadPoolExecutor(40) as pool:
            answers = [pool.submit(follow, i) for i in range(40)]
            until(lambda: sum(one.done() for one in answers) == 32, 30)
            assert context.connected.followers == 8
            go_on.set()
            statuses = sorted(one.result() for one in answers)
        assert statuses == [200] * 8 + [503] * 32
        until(lambda: context.connected.followers == 0)


def test_wrong_tokens_are_limited_and_logged(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    now = [0.0]
    access = Access(token="right", local_token="of the user", wrong=WrongTokens(lambda: now[0]))
    with serving(engine, access) as client:
        logged_in = client.post("/api/v1/login", json={"token": "right"}).cookies
        client.cookies.clear()
        for i in range(10):
            if i % 2:
                problem(client.post("/api/v1/login", json={"token": f"guess {i}"}), 401)
            else:
                guess = {"Authorization": f"Bearer guess {i}"}
                problem(client.get("/api/v1/status", headers=guess), 401)
        assert caplog.text.count("a wrong token from 127.0.0.1") == 10
        assert "guess" not in caplog.text
        for token in ("guess", "right"):
            refused = client.post("/api/v1/login", json={"token": token})
            assert problem(refused, 429)["code"] == "too_many_attempts"
            assert refused.headers["Retry-After"] == "60"
            bearer = {"Authorization": f"Bearer {token}"}
            problem(client.get("/api/v1/status", headers=bearer), 429)
        command = {"Authorization": "Bearer of the user"}
        assert client.get("/api/v1/status", headers=command).status_code == 200
        assert client.get("/healthz").status_code == 200
        client.cookies.update(logged_in)
        assert client.get("/api/v1/status").status_code == 200
        now[0] = 61.0
        assert client.post("/api/v1/login", json={"token": "right"}).status_code == 204


def test_nobody_is_locked_out_by_the_guesses_of_others() -> None:
    access = Access(token="f" * 64)
    for _ in range(10):
        assert not anyio.run(access.check_token, ["guess"], "127.0.0.1")
    assert anyio.run(access.check_token, ["f" * 64], "127.0.0.1")


def test_clients_are_counted_by_address_and_by_network() -> None:
    wrong = WrongTokens(lambda: 0.0)
    for i in range(10):
        wrong.add(f"2001:db8::{i}")
        wrong.add("10.0.0.1")
    assert wrong.is_blocked("2001:db8::ffff") and wrong.is_blocked("10.0.0.1")
    assert not wrong.is_blocked("2001:db8:1::1") and not wrong.is_blocked("10.0.0.2")
    for i in range(300):
        wrong.add(f"10.1.{i // 250}.{i % 250}")
    assert wrong.is_blocked("10.0.0.2")


def test_a_cookie_is_of_no_use_after_its_logout(engine: Engine, tmp_path: Path) -> None:
    folder = tmp_path / "ended"
    access = Access(token="right", ended=EndedSessions(MemoryItems(), folder))
    with serving(engine, access) as client:
        copies = []
        for _ in range(2):
            client.cookies.clear()
            client.post("/api/v1/login", json={"token": "right"})
            copies.append({"Cookie": f"{access.cookie}={client.cookies[access.cookie]}"})
        client.cookies.clear()
        assert client.delete("/api/v1/login", headers=copies[0]).status_code == 204
        forged = {"Cookie": f"{access.cookie}=9999999999.00.00"}
        assert client.delete("/api/v1/login", headers=forged).status_code == 204
        statuses = [client.get("/api/v1/status", headers=one).status_code for one in copies]
        assert statuses == [401, 200]
        assert len(list(folder.iterdir())) == 1
    # the server was started again
    again = Access(token="right", ended=EndedSessions(MemoryItems(), folder))
    with serving(engine, again) as client:
        statuses = [client.get("/api/v1/status", headers=one).status_code for one in copies]
        assert statuses == [401, 200]


@pytest.mark.parametrize(
    "fields",
    [
        {"x" * 100_000: 1},
        {f"field {i}": 1 for i in range(5000)},
        {"terms": [{"image": "x" * 100_000}]},
        {"terms": [{"y" * 1000: 1}] * 60},
        {"k": "1" * 100_000},
        {"\x01" * 50_000: 1},
    ],
)
def test_answers_repeat_little_of_a_request(engine: Engine, fields: dict[str, object]) -> None:
    with serving(engine) as client:
        for path in ("search", "images", "index", "login", "augment", "variants"):
            answer = client.post(f"/api/v1/{path}", json=fields)
            assert 400 <= answer.status_code < 500 and len(answer.content) < 20_000
        missing = client.get("/" + "x" * 20_000)
        assert problem(missing, 404) and len(missing.content) < 2000


def test_lines_that_repeat_are_counted() -> None:
    now, lines = [0.0], []

    class LineCollector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    log = logging.Logger("test")
    log.addFilter(RepeatedLines(clock=lambda: now[0]))
    log.addHandler(LineCollector())
    for i in range(1000):
        log.error("no file for %d", i)
        log.error("another")
    assert len(lines) == 10
    now[0] = 61.0
    log.error("no file for %d", 5)
    log.error("no file for %d", 6)
    assert lines[10:] == ["no file for 5 (995 lines like it were left out)", "no file for 6"]
