"""A real server in a thread, and what the tests of the HTTP API ask of its answers."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import uvicorn

from search import Engine
from search.api.app import create_app
from search.api.auth import Access
from search.api.connections import ConnectionLimits
from search.api.problems import CODES
from search.api.server import make_config

if TYPE_CHECKING:
    from helpers.browsing import Page


@contextmanager
def serving(
    engine: Engine,
    access: Access | None = None,
    limits: ConnectionLimits | None = None,
    port: int = 0,
    **more: Any,
) -> Iterator[httpx.Client]:
    """A client of a real server in a thread."""
    app = create_app(engine, access, **more)
    server = uvicorn.Server(make_config(app, limits))
    with socket.create_server(("127.0.0.1", port)) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        with httpx.Client(base_url=address, trust_env=False, timeout=30) as client:
            client.app, client.server = app, server  # type: ignore[attr-defined]
            try:
                yield client
            finally:
                server.should_exit = True
                thread.join()


@contextmanager
def show_library(engine: Engine, page: Page, **more: Any) -> Iterator[str]:
    """The address of a server whose page has no animations. more: see `create_app`."""
    with serving(engine, **more) as client:
        page.emulate_media(prefers_reduced_motion="reduce")
        yield str(client.base_url)


@pytest.fixture
def own_base(engine: Engine, page: Page) -> Iterator[str]:
    """The address of a server over `engine`, which a file defines. The page forgets afterwards."""
    with show_library(engine, page) as address:
        yield address
        page.evaluate("localStorage.clear()")


def problem(response: httpx.Response, status: int, detail: str = "") -> dict[str, Any]:
    """Check that a response is this problem and reveals nothing about the code."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = response.json()
    assert document["status"] == status and document["title"] and document["type"]
    assert document["code"] in CODES
    assert detail.lower() in document["detail"].lower()
    assert "Traceback" not in response.text and ".py" not in response.text
    return document


def files(*data: bytes) -> list[tuple[str, tuple[str, bytes, str]]]:
    return [("image", ("a.jpg", one, "image/jpeg")) for one in data]


def raw(client: httpx.Client, text: bytes) -> socket.socket:
    """Yield a connection that sent these bytes."""
    url = client.base_url
    connection = socket.create_connection((url.host, url.port), timeout=10)
    connection.sendall(text)
    return connection


def until(true: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait for it."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def events(client: httpx.Client, name: str, **headers: str) -> list[dict[str, Any]]:
    """All events of a job, to the end of the stream."""
    received, event = [], dict[str, Any]()
    with client.stream("GET", f"/api/v1/jobs/{name}/events", headers=headers) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        for line in response.iter_lines():
            if not line and "data" in event:
                received.append({**event, "data": json.loads(event["data"])})
                event = {}
            elif ": " in line:
                key, _, value = line.partition(": ")
                event[key] = value
    return received
