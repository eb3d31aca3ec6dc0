"""`lookalike serve` as a process: its first line, its token, and how it ends."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from helpers.project import SAMPLES

import search
from search.api.server import serve

COMMAND = Path(sys.executable).with_name("lookalike")

pytestmark = pytest.mark.slow


@contextmanager
def server(home: Path, *words: str | Path, **settings: str) -> Iterator[tuple[Any, httpx.Client]]:
    """A server in a process, ended by SIGTERM: it must exit with 0 within seconds, without a
    stack trace."""
    environment = {**os.environ, "LOOKALIKE_HOME": str(home), **settings}
    process = subprocess.Popen(
        [COMMAND, "serve", "--port", "0", *words],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        address = process.stdout.readline().strip()
        assert address.startswith("http://127.0.0.1:")
        place = address.partition("?")[0]
        with httpx.Client(base_url=place, trust_env=False, timeout=30) as client:
            if (
                "LOOKALIKE_TOKEN" not in settings
            ):  # as the user opens the page; a token is for the test to send
                client.get(address)
            yield process, client
        process.terminate()
        rest, errors = process.communicate(timeout=15)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 0, errors
    assert rest == "" and "Traceback" not in errors


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("serve")
    shutil.copytree(SAMPLES / "hat", place / "photos")
    environment = {**os.environ, "LOOKALIKE_HOME": str(place / "home")}
    subprocess.run([COMMAND, "index", place / "photos"], env=environment, check=True)
    return place / "home"


def test_command_line_http_and_python_agree(home: Path) -> None:
    photo = home.parent / "photos" / "05.jpg"
    words = ["search", photo, "--crop", "10%,10%,80%,80%", "-k", "6", "--json"]
    environment = {**os.environ, "LOOKALIKE_HOME": str(home)}
    done = subprocess.run([COMMAND, *words], env=environment, capture_output=True, check=True)
    by_command = json.loads(done.stdout)["hits"]
    share = ["10%", "10%", "80%", "80%"]
    query = {"terms": [{"image": 0, "crop": share}], "k": 6}
    with server(home) as (_, client):
        response = client.post(
            "/api/v1/search",
            files={"image": photo.read_bytes()},
            data={"query": json.dumps(query)},
        )
        by_http = response.json()["hits"]
    with search.Engine.open(home) as engine:
        by_python = engine.search(image=photo, crop=share, k=6).to_json()["hits"]
    assert [h["id"] for h in by_command] == [h["id"] for h in by_http]
    assert [h["id"] for h in by_command] == [h["id"] for h in by_python]
    scores = [h["score"] for h in by_python]
    assert [h["score"] for h in by_command] == pytest.approx(scores, abs=1e-5)
    assert [h["score"] for h in by_http] == pytest.approx(scores, abs=1e-5)
    assert len(scores) == 6


def test_another_host_is_served_with_the_token_of_the_environment(home: Path) -> None:
    with server(home, "--host", "0.0.0.0", LOOKALIKE_TOKEN="right") as (_, client):
        assert client.get("/api/v1/status").status_code == 401
        headers = {"Authorization": "Bearer right"}
        assert client.get("/api/v1/status", headers=headers).status_code == 200


@pytest.mark.parametrize("way", ["host", "port", "allow", "token_file"])
def test_what_cannot_be_served_is_one_line(home: Path, way: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as occupied:
        words, message = {
            "host": (["--host", "0.0.0.0"], "LOOKALIKE_TOKEN"),
            "port": (["--port", str(occupied.getsockname()[1])], "is taken"),
            "allow": (["--allow", "/nowhere"], "/nowhere"),
            "token_file": ([], "/nowhere/token"),
        }[way]
        settings = {"LOOKALIKE_TOKEN_FILE": "/nowhere/token"} if way == "token_file" else {}
        environment = {**os.environ, "LOOKALIKE_HOME": str(home), **settings}
        command = [COMMAND, "serve", "--port", "0", *words]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and done.stdout == ""
    assert message in done.stderr and "Traceback" not in done.stderr


def test_an_interrupt_ends_it_even_while_somebody_uploads(home: Path) -> None:
    with server(home) as (process, client):
        assert client.get("/healthz").status_code == 200
        url = client.base_url
        connection = socket.create_connection((url.host, url.port))
        connection.sendall(
            b"POST /api/v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999\r\n"
            b"Content-Type: application/json\r\n\r\n{"
        )
        time.sleep(0.2)
        begun = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.wait(15) == 0
        assert time.monotonic() - begun < 8
        connection.close()


def test_more_connections_than_files_leave_the_server_answering(home: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))  # the server inherits it
    with server(home) as (_, client):
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert client.get("/healthz").status_code == 200
        place = (client.base_url.host, client.base_url.port or 0)
        held = []
        for _ in range(400):
            with contextlib.suppress(OSError):  # the server may close it meanwhile
                held.append(socket.create_connection(place, timeout=10))
                held[-1].sendall(b"GET /healthz HTTP/1.1\r\nHost: local")
        for _ in range(3):
            with httpx.Client(base_url=client.base_url, trust_env=False, timeout=30) as other:
                assert other.get("/healthz").status_code == 200
        for one in held:
            one.close()


def test_a_user_of_this_machine_needs_the_token(home: Path) -> None:
    environment = {**os.environ, "LOOKALIKE_HOME": str(home)}

    def run(*words: str | Path) -> str:
        command = [COMMAND, *words]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
        return done.stdout if not done.returncode else done.stderr

    with server(home) as (_, client):
        assert client.get("/api/v1/status").status_code == 200  # the printed address logged in
        with httpx.Client(base_url=client.base_url, trust_env=False, timeout=30) as other:
            for path in ("/healthz", "/readyz", "/"):
                assert other.get(path).status_code == 200
            for path in ("/api/v1/status", "/api/v1/images", "/metrics", "/openapi.json"):
                assert other.get(path).status_code == 401
            folder = {"path": str(home.parent / "photos")}
            assert other.post("/api/v1/index", json=folder).status_code == 401
            assert stat.S_IMODE((home / "token").stat().st_mode) == 0o600
            bearer = {"Authorization": f"Bearer {(home / 'token').read_text().strip()}"}
            assert other.get("/api/v1/status", headers=bearer).status_code == 200
            link = run("link").strip()
            assert link.startswith(f"{str(client.base_url).rstrip('/')}/?login=")
            assert other.get(link).status_code == 303
            assert other.get("/api/v1/status").status_code == 200
            cookies = dict(other.cookies)
        assert json.loads(run("status", "--json"))["pictures"] == 11
        assert len(json.loads(run("search", home.parent / "photos" / "05.jpg", "--json"))["hits"])
    assert "no server of this library is running" in run("link")
    with server(home) as (_, client):  # a restart logs nobody out
        with httpx.Client(base_url=client.base_url, trust_env=False, cookies=cookies) as other:
            assert other.get("/api/v1/status").status_code == 200


def test_without_a_token_it_is_said_what_that_means(home: Path) -> None:
    command = [COMMAND, "serve", "--port", "0", "--no-token"]
    environment = {**os.environ, "LOOKALIKE_HOME": str(home)}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        try:
            assert "?" not in address
            assert httpx.get(f"{address}/api/v1/status", trust_env=False).status_code == 200
        finally:
            process.terminate()
            _, output = process.communicate(timeout=15)
    assert "every user and program of this machine" in output


def test_a_second_interrupt_ends_it_without_a_word(home: Path) -> None:
    with server(home) as (process, _):
        for _ in range(2):
            process.send_signal(signal.SIGINT)
            time.sleep(0.03)
        assert process.wait(15) == 0


def test_a_stop_cancels_the_job_lets_its_followers_go_and_loses_nothing(
    home: Path, tmp_path: Path
) -> None:
    pictures = tmp_path / "pictures"
    shutil.copytree(SAMPLES, pictures)
    whole = (SAMPLES / "hat" / "01.jpg").read_bytes()
    for i in range(400):  # enough that it cannot be done before it is told to stop
        (pictures / f"{i}.jpg").write_bytes(whole + i.to_bytes(4, "big"))
    words = ("--allow", tmp_path)
    with server(tmp_path / "home", *words, LOOKALIKE_WORKERS="1") as (process, client):
        name = client.post("/api/v1/index", json={"path": str(pictures)}).json()["job"]
        with client.stream("GET", f"/api/v1/jobs/{name}/events") as response:
            lines = response.iter_lines()
            while '"phase": "index"' not in next(lines):
                pass
            process.terminate()
            rest = list(lines)
        assert not any("done" in line for line in rest if line.startswith("event"))
        assert process.wait(60) == 0
    with search.Engine.open(tmp_path / "home") as engine:
        before = engine.status().pictures
        assert 0 < before < 510 and engine.check().problems == ()
        assert engine.sync(pictures).pictures == 510


def test_a_job_is_cancelled_over_the_wire(home: Path, tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    shutil.copytree(SAMPLES, pictures)
    with server(tmp_path / "home", "--allow", pictures) as (_, client):
        refused = client.post("/api/v1/index", json={"path": str(home)})
        assert refused.status_code == 403
        name = client.post("/api/v1/index", json={"path": str(pictures)}).json()["job"]
        with client.stream("GET", f"/api/v1/jobs/{name}/events") as response:
            lines = response.iter_lines()
            while '"phase": "index"' not in next(lines):
                pass
            assert client.delete(f"/api/v1/jobs/{name}").status_code in (200, 202)
            last = [line for line in lines if line.startswith("event")][-1]
        assert last in ("event: cancelled", "event: done")
        assert client.get("/api/v1/status").json()["pictures"] > 0


def test_the_listening_socket_names_its_protocol(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """asyncio sets TCP_NODELAY only on connections of such a socket."""
    protocols = []

    def run(_: uvicorn.Server, sockets: list[socket.socket]) -> None:
        protocols.extend(listening.proto for listening in sockets)

    monkeypatch.setattr(uvicorn.Server, "run", run)
    with search.Engine.open(tmp_path) as engine:
        serve(engine, "127.0.0.1", 0, [], lambda *_: None)
    assert protocols == [socket.IPPROTO_TCP]
