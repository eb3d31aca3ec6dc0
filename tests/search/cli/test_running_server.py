"""Commands that ask the running server of a library."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.libraries import close_library, open_library
from helpers.pictures import paint
from helpers.project import SAMPLES
from helpers.serving import serving
from typer.testing import CliRunner

from search import Engine
from search.api.auth import Access
from search.cli.app import app
from search.cli.running_server import FILE, publish

HAT = str(SAMPLES / "hat" / "03.jpg")
TOKEN = "of this user"
QUERIES: tuple[tuple[str, ...], ...] = (
    (HAT, "-k", "5"),
    (HAT, "--crop", "10%,10%,80%,80%", str(SAMPLES / "hat" / "05.jpg"), "--weight", "2"),
    ("--text", "hat", "--not", HAT, "--min-score", "-1"),
    ("-", "-k", "3"),
    (HAT, "--expand", "3", "--restore"),
)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    engine = open_library(tmp_path_factory.mktemp("running"))
    engine.sync(SAMPLES / "hat")
    yield engine
    close_library(engine)


@pytest.fixture(scope="module")
def server(engine: Engine) -> Iterator[Path]:
    """A published server with a token of its own; the file that publishes it."""
    access = Access(token="another", local_token=TOKEN)
    with publish(engine.settings, TOKEN) as publish_address, serving(engine, access) as client:
        publish_address(str(client.base_url).rstrip("/"))
        yield engine.home / FILE


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The calls of `Engine.open`, which all fail."""
    calls: list[dict[str, Any]] = []

    def fail(**options: Any) -> Engine:
        calls.append(options)
        raise RuntimeError("opened")

    monkeypatch.setattr(Engine, "open", fail)
    return calls


def run(engine: Engine, *arguments: str, before: tuple[str, ...] = ()) -> Any:
    options = ["--home", str(engine.home), *before, *arguments]
    return CliRunner().invoke(app, options, input=Path(HAT).read_bytes())


@pytest.mark.parametrize("words", QUERIES)
def test_the_server_gives_the_answer_of_the_command(
    engine: Engine, server: Path, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Engine, "open", lambda **_: pytest.fail("opened"))
        printed = run(engine, "search", *words, "--json")
    address = server.read_text()
    server.unlink()
    try:
        monkeypatch.setattr(Engine, "open", lambda **_: _Lent(engine))
        alone = run(engine, "search", *words, "--json")
    finally:
        server.write_text(address)
    answers = [json.loads(one.stdout) for one in (printed, alone)]
    for answer in answers:
        assert answer.pop("took_ms")["total"] > 0
    assert answers[0] == answers[1] and answers[0]["hits"]


@pytest.mark.skipif(sys.platform != "linux", reason="names are Unicode on this system")
def test_paths_are_printed_as_the_bytes_that_the_disk_has(
    library: Callable[..., Engine], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [b"caf\xe9.jpg", b"line\n.jpg", rb"text\xe9.jpg"]
    for seed, name in enumerate(names):
        paint(tmp_path / "old" / os.fsdecode(name), seed)
    engine = library()
    engine.sync(tmp_path / "old")
    with (
        publish(engine.settings, TOKEN) as publish_address,
        serving(engine, Access(token="another", local_token=TOKEN)) as client,
    ):
        publish_address(str(client.base_url).rstrip("/"))
        monkeypatch.setattr(Engine, "open", lambda **_: pytest.fail("opened"))
        printed = run(engine, "search", "--where", "width>0", "--sort", "name", "--print0")
    folder = os.fsencode(tmp_path / "old")
    assert printed.stdout_bytes == b"".join(folder + b"/" + name + b"\0" for name in names)


class _Lent:
    """An engine that a command does not close."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def __enter__(self) -> Engine:
        return self._engine

    def __exit__(self, *_: object) -> None:
        pass


def test_status_is_that_of_the_library(
    engine: Engine, server: Path, opened: list[dict[str, Any]]
) -> None:
    document = json.loads(run(engine, "status", "--json").stdout)
    assert document == engine.status().to_json() and not opened


@pytest.mark.parametrize(
    "before", [("--model", "mini"), ("--device", "cuda")], ids=["model", "device"]
)
def test_other_settings_are_not_for_the_server(
    engine: Engine, server: Path, opened: list[dict[str, Any]], before: tuple[str, ...]
) -> None:
    run(engine, "search", HAT, before=before)
    assert len(opened) == 1


@pytest.mark.parametrize(
    "words",
    [("search", "/nowhere.jpg"), ("search", str(SAMPLES / "LICENSE")), ("search", "id:000000")],
)
def test_errors_are_left_to_the_command(
    engine: Engine, server: Path, opened: list[dict[str, Any]], words: tuple[str, ...]
) -> None:
    run(engine, *words)
    assert len(opened) == 1


def test_a_server_that_is_gone_is_not_asked(
    engine: Engine, tmp_path: Path, opened: list[dict[str, Any]]
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    settings = engine.settings.model_copy(update={"home": home})
    with publish(settings, TOKEN) as publish_address:
        publish_address("http://127.0.0.1:9")
        document = (home / FILE).read_text()
        assert stat.S_IMODE((home / FILE).stat().st_mode) == 0o600
        with publish(settings, "of another server") as second:
            second("http://127.0.0.1:10")
        assert (home / FILE).read_text() == document
        CliRunner().invoke(app, ["--home", str(home), "search", HAT])  # nobody listens there
        assert len(opened) == 1
    assert not (home / FILE).exists()
    for left in (document, document[:20], "[]"):
        (home / FILE).write_text(left)  # as a server leaves it that was killed
        CliRunner().invoke(app, ["--home", str(home), "status"])
    assert len(opened) == 4


def test_the_token_of_the_file_is_required(engine: Engine, server: Path) -> None:
    access = Access(token="another", local_token=TOKEN)
    with serving(engine, access) as client:
        for token, status in ((TOKEN, 200), ("another", 200), ("wrong", 401)):
            headers = {"Authorization": f"Bearer {token}"}
            assert client.get("/api/v1/status", headers=headers).status_code == status


HEAVY = (
    "torch faiss open_clip timm numpy PIL pillow_heif sqlalchemy pydantic_settings filelock rich"
)


def heavy_modules(engine: Engine, *words: str) -> set[str]:
    """Run a command in a process of its own, and return which of `HEAVY` it imported."""
    command = ["lookalike", "--home", str(engine.home), *words]
    code = f"""
import sys
from search.cli import main
sys.argv = {command!r}
try:
    main()
finally:
    print(*(set({HEAVY!r}.split()) & set(sys.modules)), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout
    return set(done.stderr.splitlines()[-1].split())


@pytest.mark.parametrize("words", [("status",), ("search", HAT)], ids=["status", "search"])
def test_beside_a_server_nothing_heavy_is_imported(
    engine: Engine, server: Path, words: tuple[str, ...]
) -> None:
    assert heavy_modules(engine, *words) == set()
