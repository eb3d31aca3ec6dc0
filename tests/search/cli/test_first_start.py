"""The browser that a start of the server opens."""

from __future__ import annotations

import sys
import webbrowser
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from search.api import server
from search.api.server import Addresses
from search.cli.app import app
from search.cli.serve import has_desktop

ADDRESSES = Addresses("http://127.0.0.1:1", "http://link", "http://browser-link", [], "")


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that the browser opens. The server announces itself and ends."""
    addresses = list[str]()

    def announce(
        engine: Any, host: str, port: int, allow: Any, call: Callable[..., None], *_: Any
    ) -> None:
        call(ADDRESSES)

    def run(thread: Any) -> None:
        thread.run()

    monkeypatch.setattr(server, "serve", announce)
    monkeypatch.setattr(webbrowser, "open", addresses.append)
    monkeypatch.setattr("search.cli.serve.threading.Thread.start", run)
    return addresses


def start(home: Path, *options: str) -> None:
    app(["--home", str(home), "serve", *options], standalone_mode=False)


def test_the_first_start_at_a_terminal_opens_the_page(
    tmp_path: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISPLAY", ":0")
    start(tmp_path / "log")
    assert not opened  # standard output is no terminal
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    for _ in range(2):
        start(tmp_path / "home")
    assert opened == [ADDRESSES.browser_link]
    start(tmp_path / "home", "--browser")
    assert len(opened) == 2
    start(tmp_path / "quiet", "--no-browser")
    assert len(opened) == 2


@pytest.mark.parametrize(
    ("platform", "environment", "expected"),
    [
        ("linux", {}, False),
        ("linux", {"DISPLAY": ":0"}, True),
        ("linux", {"WAYLAND_DISPLAY": "wayland-0"}, True),
        ("freebsd14", {"DISPLAY": ""}, False),
        ("darwin", {}, True),
        ("win32", {}, True),
    ],
)
def test_a_desktop_is_told_by_the_platform(
    platform: str, environment: Mapping[str, str], expected: bool
) -> None:
    assert has_desktop(platform, environment) is expected
