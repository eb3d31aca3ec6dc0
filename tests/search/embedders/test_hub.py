"""The hub: complete downloads, timeouts when it cannot be reached, and `auto`."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from helpers.pictures import jpeg, paint
from huggingface_hub import constants, file_download
from huggingface_hub.utils import close_session

from search import Engine, InputError, ModelError
from search.embedders import hub, openclip_models

REPO, FILES = openclip_models.DEFAULT_RECIPE.repo, openclip_models.DEFAULT_RECIPE.files
COMMAND = Path(sys.executable).with_name("lookalike")
Open = Callable[..., Engine]


class Hub(BaseHTTPRequestHandler):
    """A hub that has `content` as the second of the files, and misbehaves by `way`."""

    protocol_version = "HTTP/1.1"
    content = b""
    way = "well"
    has = FILES[1]
    requests: list[str] = []
    used = False  # this connection
    over = threading.Event()  # the test is; nothing hangs any longer

    def do_HEAD(self) -> None:
        self.answer(b"")

    def do_GET(self) -> None:
        self.answer(self.content)

    def answer(self, content: bytes) -> None:
        if self.way == "idle" and self.used:
            self.close_connection = True
            return
        self.used = True
        self.requests.append(f"{self.command} {self.path}")
        if self.way == "silent":
            self.over.wait(60)
        wrong = {"broken": 500, "private": 401, "gone": 404}.get(self.way)
        status = wrong or (200 if self.path.endswith(f"/{self.has}") else 404)
        self.send_response(status)
        if status == 404 and not wrong:
            self.send_header("X-Error-Code", "EntryNotFound")
        size = len(self.content) if status == 200 else 0
        self.send_header("Content-Length", str(size))
        self.send_header("X-Repo-Commit", "0" * 40)
        self.send_header("ETag", '"etag"')
        self.end_headers()
        if status == 200 and content:
            part = len(content) // 2 if self.way in ("cut", "stalls") else len(content)
            self.wfile.write(content[:part])
            self.wfile.flush()
            if self.way == "stalls":
                self.over.wait(60)
            self.close_connection = self.way not in ("well", "idle")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Server(ThreadingHTTPServer):
    """Do not wait for threads that hang, and print no broken connections."""

    daemon_threads = True
    block_on_close = False

    def handle_error(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[[str, bytes], str]]:
    """Start a hub with this behaviour and file. Returns its address."""
    Hub.over.clear()
    server = Server(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}"

    def start(way: str, content: bytes = b"weights" * 100_000) -> str:
        monkeypatch.setattr(Hub, "way", way)
        monkeypatch.setattr(Hub, "content", content)
        monkeypatch.setattr(Hub, "requests", [])
        point(monkeypatch, address, tmp_path / "cache")
        return address

    yield start
    monkeypatch.setattr(Hub, "way", "gone")  # what is tried again ends
    Hub.over.set()
    wait_for_calls()
    close_session()
    server.shutdown()
    server.server_close()


def wait_for_calls() -> None:
    """Wait until every call of the hub has ended; an aborted download ends a little later."""
    for thread in threading.enumerate():
        if thread.name == "hub":
            thread.join(20)
            assert not thread.is_alive()


def point(monkeypatch: pytest.MonkeyPatch, address: str, cache: Path) -> None:
    """Make the hub this one, with a cache of its own."""
    template = f"{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(file_download, "HUGGINGFACE_CO_URL_TEMPLATE", template, raising=False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)


def fetch() -> list[tuple[int, int]]:
    return list(hub.fetch(REPO, FILES))


def files(cache: Path) -> list[Path]:
    """Return the files of the cache, without locks and marks."""
    there = [p for p in cache.rglob("*") if p.is_file() and p.stat().st_size > 1000]
    return there


# fetching --------------------------------------------------------------------------------------


def test_a_file_is_fetched_once(serve: Callable[..., str], tmp_path: Path) -> None:
    serve("well")
    assert hub.find_cached(REPO, FILES) is None
    steps = fetch()
    path = hub.find_cached(REPO, FILES)
    assert path is not None and path.read_bytes() == Hub.content and path.name == FILES[1]
    assert all(0 <= done <= len(Hub.content) for done, _ in steps)
    Hub.requests.clear()
    assert fetch() == [] and Hub.requests == []


def test_a_connection_that_the_hub_closed_is_opened_again(serve: Callable[..., str]) -> None:
    serve("idle")
    fetch()
    assert hub.find_cached(REPO, FILES) is not None


@pytest.mark.parametrize(
    ("way", "message"),
    [
        ("silent", "out of reach"),
        ("broken", "answered 500"),
        ("private", "answered 401"),
        ("refusing", "out of reach"),
        ("nameless", "out of reach"),
    ],
)
def test_a_hub_that_cannot_be_reached_is_given_up(
    serve: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    way: str,
    message: str,
) -> None:
    serve(way)
    if way == "refusing":
        with socket.create_server(("127.0.0.1", 0)) as closed:
            port = closed.getsockname()[1]
        point(monkeypatch, f"http://127.0.0.1:{port}", tmp_path / "cache")
    if way == "nameless":  # the lookup of its name hangs
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: Hub.over.wait(60) and [])
        point(monkeypatch, "http://hub.test", tmp_path / "cache")
    monkeypatch.setattr(hub, "REACH", 0.5)
    begun = time.monotonic()
    with pytest.raises(ConnectionError, match=message):
        fetch()
    assert time.monotonic() - begun < 3
    assert hub.find_cached(REPO, FILES) is None


def test_the_hub_has_less_than_five_seconds() -> None:
    assert hub.REACH < 5


def test_what_the_hub_has_not_is_said(serve: Callable[..., str]) -> None:
    serve("well")
    with pytest.raises(ConnectionError, match=r"has none of a\.bin, b\.bin"):
        list(hub.fetch(REPO, ["a.bin", "b.bin"]))


@pytest.mark.parametrize("way", ["cut", "stalls"])
def test_a_download_that_breaks_off_leaves_nothing_that_is_taken_for_whole(
    serve: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    serve(way)
    monkeypatch.setattr(hub, "STALL", 0.5)
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 1)
    begun = time.monotonic()
    with pytest.raises(ConnectionError, match="the download (stands still|broke off)"):
        fetch()
    assert time.monotonic() - begun < 6
    assert hub.find_cached(REPO, FILES) is None
    monkeypatch.setattr(Hub, "way", "well")
    monkeypatch.setattr(hub, "STALL", 20.0)  # the one given up still holds the cache's lock
    fetch()
    path = hub.find_cached(REPO, FILES)
    assert path is not None and path.read_bytes() == Hub.content


def test_a_download_that_nobody_waits_for_ends_and_takes_its_part_away(
    serve: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve("stalls", b"x" * 30_000_000)  # so long that its bytes are written before it is whole
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 1)
    before = set(threading.enumerate())
    steps = hub.fetch(REPO, FILES)
    while not next(steps)[0]:
        pass
    assert files(tmp_path / "cache")
    steps.close()
    for thread in set(threading.enumerate()) - before:
        if thread.name == "hub":
            thread.join(20)
            assert not thread.is_alive()
    assert files(tmp_path / "cache") == []


def test_offline_asks_nobody(serve: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    serve("well")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ConnectionError, match="out of reach"):
        fetch()
    assert Hub.requests == []


# which model a library gets ----------------------------------------------------------------------


def weights(clip: str) -> bytes:
    return Path(clip.partition(":")[2]).read_bytes()


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the default model a small one, whose weights are those of the tests."""
    monkeypatch.setattr(Hub, "has", FILES[0])
    recipes = {"small": openclip_models.DEFAULT_RECIPE}
    monkeypatch.setattr(openclip_models, "list_recipes", lambda *_: recipes)
    monkeypatch.setattr("search.embedders.models.DEFAULT", "ViT-S-32-alt:small")


def test_a_new_library_fetches_clip_and_remembers_it(
    library: Open, folder: Path, clip: str, small: None, serve: Callable[..., str]
) -> None:
    serve("well", weights(clip))
    paint(folder / "a.jpg", 1)
    lines: list[str] = []
    engine = library(say=lines.append)
    phases = [progress.phase for progress in engine.index(folder)]
    assert phases[0] == "fetch" and phases[-1] == "finish"
    (line,) = lines
    assert line.startswith("model: ViT-S-32-alt:small; ") and REPO in line
    assert "`lookalike --model mini index FOLDER` changes it" in line
    Hub.requests.clear()
    again = library(say=lines.append)
    assert again.status().model == "ViT-S-32-alt:small"
    assert again.search(text="a hat")[0].path == str(folder / "a.jpg")
    assert again.sync(folder).embedded == 0
    assert len(lines) == 1 and Hub.requests == []


def test_weights_of_the_cache_are_taken_offline(
    library: Open,
    folder: Path,
    clip: str,
    small: None,
    serve: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    serve("well", weights(clip))
    fetch()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    paint(folder / "a.jpg", 1)
    library().sync(folder)
    assert library().status().model == "ViT-S-32-alt:small"


@pytest.mark.parametrize(("way", "why"), [("broken", "hub answered 500"), ("cut", "the download")])
def test_without_the_hub_a_new_library_gets_mini_and_says_so(
    library: Open,
    folder: Path,
    serve: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    way: str,
    why: str,
) -> None:
    serve(way)
    monkeypatch.setattr(hub, "STALL", 0.5)
    paint(folder / "a.jpg", 1)
    lines: list[str] = []
    library(say=lines.append).sync(folder)
    (line,) = lines
    assert line.startswith("model: mini, which comes with lookalike (no ViT-B-32: ")
    assert why in line and "commercially" in line
    assert "`lookalike --model ViT-B-32 index FOLDER` changes it" in line
    wait_for_calls()
    count = len(Hub.requests)
    monkeypatch.setattr(Hub, "way", "well")
    again = library(say=lines.append)
    again.sync(folder)
    again.search(image=str(folder / "a.jpg"))
    assert again.status().model == "mini" and len(lines) == 1 and len(Hub.requests) == count


def test_a_picture_to_keep_waits_for_no_download(library: Open, serve: Callable[..., str]) -> None:
    serve("silent")
    engine = library()
    engine.keep(jpeg(1))
    assert engine.status().model == "mini" and Hub.requests == []


@pytest.mark.parametrize("requested", [None, "mini"])
def test_the_first_folder_chooses_the_model_unless_somebody_did(
    library: Open,
    folder: Path,
    clip: str,
    small: None,
    serve: Callable[..., str],
    requested: str | None,
) -> None:
    serve("well", weights(clip))
    library(model=requested).keep(jpeg(1))
    assert library().status().model == "mini"
    paint(folder / "a.jpg", 2)
    engine = library()
    with pytest.raises(InputError, match="is a file"):  # which settles nothing
        engine.sync(folder / "a.jpg")
    engine.sync(folder)
    expected = requested or "ViT-S-32-alt:small"
    assert engine.status().model == expected and engine.status().embedded == 2
    assert engine.search(image=jpeg(1))[0].score >= 0.999


def test_a_kept_picture_that_is_gone_does_not_hold_the_choice_up(
    library: Open, folder: Path, clip: str, small: None, serve: Callable[..., str]
) -> None:
    serve("well", weights(clip))
    Path(library().keep(jpeg(1)).path).unlink()
    paint(folder / "a.jpg", 2)
    engine = library()
    engine.sync(folder)
    assert engine.status().model == "ViT-S-32-alt:small"
    assert engine.search(image=jpeg(2))[0].score >= 0.999


def test_the_first_folder_settles_what_a_kept_picture_began(
    library: Open, folder: Path, serve: Callable[..., str]
) -> None:
    serve("broken")
    library().keep(jpeg(1))
    paint(folder / "a.jpg", 2)
    assert library().sync(folder).embedded == 1
    count = len(Hub.requests)
    assert count and library().sync(folder).embedded == 0 and len(Hub.requests) == count


def test_weights_asked_for_by_name_that_cannot_be_had_are_an_error(
    library: Open, folder: Path, serve: Callable[..., str]
) -> None:
    serve("broken")
    paint(folder / "a.jpg", 1)
    with pytest.raises(ModelError, match=r"cannot be had: the hub answered 500; .*ViT-B-16:/path"):
        library(model="ViT-B-16").sync(folder)
    assert library().status().model is None


def test_weights_that_left_the_cache_are_said_and_not_sought(
    library: Open, folder: Path, clip: str, small: None, serve: Callable[..., str]
) -> None:
    serve("well", weights(clip))
    paint(folder / "a.jpg", 1)
    library().sync(folder)
    for path in files(Path(constants.HF_HUB_CACHE)):
        path.unlink()
    Hub.requests.clear()
    with pytest.raises(ModelError, match=r"are not here; `lookalike .* index FOLDER` fetches"):
        library().search(text="a hat")
    assert Hub.requests == []
    library().sync(folder)
    assert library().search(text="a hat")


@pytest.mark.slow
def test_the_command_says_one_line_and_keeps_standard_output_clean(
    folder: Path, home: Path, tmp_path: Path, serve: Callable[..., str]
) -> None:
    address = serve("cut")
    paint(folder / "a.jpg", 1)
    environment = {
        **{name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"},
        "HF_ENDPOINT": address,
        "HF_HUB_CACHE": str(tmp_path / "cache"),
        "HF_HUB_DOWNLOAD_TIMEOUT": "1",
        "LOOKALIKE_HOME": str(home),
    }
    done = subprocess.run(
        [COMMAND, "index", folder, "--json"], env=environment, capture_output=True, check=True
    )
    assert json.loads(done.stdout)["embedded"] == 1
    lines = [
        x for x in done.stderr.decode().splitlines() if not x.startswith(("fetching", "indexing"))
    ]
    assert len(lines) == 1 and lines[0].startswith("model: mini"), lines
