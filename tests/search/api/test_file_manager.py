"""Showing a picture's file in the file manager: the commands, and who may ask for it."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import httpx
import pytest
from helpers.pictures import paint
from helpers.serving import problem, serving

from search import Engine
from search.api import file_manager
from search.api.auth import Access

DESKTOP = {"DISPLAY": ":0"}
BUS = {**DESKTOP, "DBUS_SESSION_BUS_ADDRESS": "unix:path=/run/bus"}


@pytest.mark.parametrize(
    ("platform", "environment", "command"),
    [
        ("darwin", {}, ["open", "-R", "/a b/-c'.jpg"]),
        ("win32", {}, ["explorer", "/select,/a b/-c'.jpg"]),
        ("linux", {}, None),
        ("linux", DESKTOP, ["/bin/xdg-open", "/a b"]),
    ],
)
def test_each_system_has_its_command(
    monkeypatch: pytest.MonkeyPatch,
    platform: str,
    environment: dict[str, str],
    command: list[str] | None,
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}")
    assert file_manager.find_command("/a b/-c'.jpg", platform, environment) == command


def test_a_path_is_one_argument_of_the_message_bus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}")
    command = file_manager.find_command("/a b/','x.jpg", "linux", BUS)
    assert command is not None and command[0] == "/bin/gdbus"
    assert command[-2] == "['file:///a%20b/%27%2C%27x.jpg']"


def test_without_a_program_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert file_manager.find_command("/a.jpg", "linux", BUS) is None


def test_the_owner_shows_a_file(
    engine: Engine, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program is a script that writes down its arguments."""
    picture = paint(folder / "a b.jpg", 7)
    engine.sync(folder)
    identity = engine.pictures().pictures[0].id
    note = tmp_path / "note"
    script = f"import sys, pathlib; pathlib.Path({str(note)!r}).write_text(sys.argv[1])"
    command = lambda path: [sys.executable, "-c", script, path]  # noqa: E731
    with serving(engine) as client:
        place = f"/api/v1/images/{identity}/reveal"
        monkeypatch.setattr(file_manager, "find_command", lambda _: None)
        assert client.get("/api/v1/desktop").json() == {"shows_files": False}
        problem(client.post(place), 403, "no file manager")
        monkeypatch.setattr(file_manager, "find_command", command)
        assert client.get("/api/v1/desktop").json() == {"shows_files": True}
        assert client.post(place).status_code == 204
        assert note.read_text() == str(picture)
        problem(client.post(f"/api/v1/images/{'0' * 64}/reveal"), 404)
        picture.unlink()
        problem(client.post(place), 404)
        monkeypatch.setattr(file_manager, "find_command", lambda _: [str(tmp_path / "none")])
        paint(folder / "a b.jpg", 7)
        engine.sync(folder)
        problem(client.post(place), 503, "did not open")


def test_the_owner_shows_a_file_that_is_left_out(
    engine: Engine, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[str] = []

    def show_file(path: str) -> bool:
        shown.append(path)
        return True

    monkeypatch.setattr(file_manager, "find_command", lambda path: ["true", path])
    monkeypatch.setattr(file_manager, "show_file", show_file)
    paint(folder / "a.jpg", 7)
    (folder / "drawing.psd").write_bytes(b"x")
    (tmp_path / "secret.psd").write_bytes(b"x")
    (folder / "link.psd").symlink_to(tmp_path / "secret.psd")
    engine.sync(folder)
    with serving(engine) as client:
        left = client.get("/api/v1/folders/left-out", params={"path": str(folder)}).json()
        assert str(folder / "drawing.psd") in [one["path"] for one in left["left_out"]]

        def ask(path: object) -> httpx.Response:
            return client.post("/api/v1/folders/reveal", json={"path": str(path)})

        assert ask(folder / "drawing.psd").status_code == 204
        assert shown == [str(folder / "drawing.psd")]
        outside = (tmp_path / "secret.psd", tmp_path / "none", folder / ".." / "secret.psd")
        for path in (*outside, folder / "link.psd"):
            assert problem(ask(path), 403)["code"] == "folder_not_allowed"
        for path in (folder, folder / "none.psd"):
            problem(ask(path), 404)
        for path in ("drawing.psd", "~/drawing.psd", "/a\0b"):
            assert problem(ask(path), 400)["code"] == "path_not_absolute"
        problem(client.post("/api/v1/folders/reveal", json={}), 422)
        assert len(shown) == 1


def test_a_server_for_other_machines_shows_no_files(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_manager, "find_command", lambda path: ["true", path])
    with serving(engine, Access(local=False)) as client:
        assert client.get("/api/v1/desktop").json() == {"shows_files": False}
        problem(client.post(f"/api/v1/images/{'0' * 64}/reveal"), 403)
        problem(client.post("/api/v1/folders/reveal", json={"path": "/a"}), 403, "file manager")
