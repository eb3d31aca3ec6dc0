"""The commands tag, favourite, rating, album and hidden."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from helpers.libraries import close_library, open_library
from helpers.pictures import identity, paint
from test_cli import COMMAND, run


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a library `home` of three pictures `pictures/N.jpg`."""
    return make_library(tmp_path_factory.mktemp("tags"))


def make_library(place: Path) -> Path:
    for seed in range(3):
        paint(place / "pictures" / f"{seed}.jpg", seed)
    engine = open_library(place / "home")
    engine.sync(place / "pictures")
    close_library(engine)
    return place


def run_json(place: Path, *words: str | Path, stdin: bytes = b"") -> Any:
    return json.loads(run(place / "home", *words, "--json", stdin=stdin).stdout)


def test_tags(place: Path) -> None:
    home, one = place / "home", place / "pictures" / "1.jpg"
    done = run(home, "tag", one, f"id:{identity(2)}", "add", "Beach", "été")
    assert done.stdout == b"2 of 2 pictures changed\n"
    ids = f"{identity(0)}\nid:{identity(1)}\n".encode()
    assert run_json(place, "tag", "-", "add", "beach", stdin=ids)["changed"] == 1
    assert run(home, "tag", "list", "be").stdout == b"      3  Beach  (3 person)\n"
    assert run_json(place, "tag", "rename", "beach", "Strand") == {"pictures": 3}
    assert run_json(place, "tag", identity(1)[:8], "remove", "ÉTÉ")["changed"] == 1
    listed = run(home, "tag", one, "list").stdout.decode()
    assert listed == f"{identity(1)[:12]}  Strand\n"
    assert run_json(place, "tag", one, "list")["pictures"][0]["tags"] == {"Strand": "person"}
    stray = paint(place / "stray.jpg", 9)
    assert b"not in the library" in run(home, "tag", stray, "add", "x", code=1).stderr
    for words in (
        ("add", "x"),
        (str(one), "add"),
        (str(one), "list", "x"),
        ("rename", "a"),
        ("x",),
    ):
        run(home, "tag", *words, code=2)


def test_marks_and_albums(place: Path) -> None:
    home, one = place / "home", str(place / "pictures" / "1.jpg")
    run(home, "favourite", one, "add")
    run(home, "rating", one, "set", "4")
    run(home, "album", one, identity(2), "add", "Lisbon")
    run(home, "hidden", one, "add")
    engine = open_library(home)
    shown = engine.picture(identity(1)).annotations
    close_library(engine)
    assert (shown.favourite, shown.rating, shown.hidden) == (True, 4, True)
    assert [album.name for album in shown.albums] == ["Lisbon"]
    assert run(home, "hidden", "list").stdout.decode() == f"{identity(1)[:12]}  {one}\n"
    assert run(home, "album", "list").stdout == b"      1  Lisbon\n"  # without the hidden one
    run(home, "hidden", one, "remove")
    run(home, "rating", one, "remove")
    assert run(home, "album", "list", "lisbon").stdout.decode().split() == [
        identity(1),
        identity(2),
    ]
    assert run_json(place, "album", "rename", "Lisbon", "Porto")["name"] == "Porto"
    run(home, "album", one, "remove", "Porto")
    run(home, "album", "delete", "Porto")
    assert run_json(place, "album", "list") == {"albums": []}
    run(home, "rating", one, "set", "6", code=1)
    for words in (("rating", one, "set"), ("album", one, "add"), ("favourite", one)):
        run(home, *words, code=2)


def test_pictures_are_removed_and_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    home, pictures = tmp_path / "home", tmp_path / "pictures"
    make_library(tmp_path)
    assert b"give --yes" in run(home, "remove", pictures / "1.jpg", code=2).stderr
    assert len(list(pictures.iterdir())) == 3
    ids = f"{identity(1)}\n{identity(2)}".encode()
    removal = run_json(tmp_path, "remove", "-", "--yes", stdin=ids)
    assert removal["removed"] == [identity(1), identity(2)] and removal["files"] == 2
    assert [one.name for one in pictures.iterdir()] == ["0.jpg"]
    assert len(list((tmp_path / "data" / "Trash" / "files").iterdir())) == 2
    done = run(home, "remove", "--undo", removal["undo"])
    assert done.stdout == b"2 pictures are back\n" and len(list(pictures.iterdir())) == 3
    paint(pictures / "1.jpg", 9)
    done = run(home, "remove", "-y", f"id:{identity(0)}", f"id:{identity(1)}", code=1)
    assert done.stdout.startswith(b"1 files are in the bin\nto take them back: lookalike remove")
    assert b"1.jpg: it is not as it was indexed" in done.stderr
    assert [one.name for one in sorted(pictures.iterdir())] == ["1.jpg", "2.jpg"]
    run(home, "remove", code=2)
    run(home, "remove", "x", "--undo", "y", code=2)


@pytest.mark.parametrize(("answer", "left"), [("n", 1), ("y", 0)])
def test_a_terminal_is_asked_before_a_picture_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, left: int
) -> None:
    import pty

    home, picture = tmp_path / "home", make_library(tmp_path) / "pictures" / "1.jpg"
    shown, terminal = pty.openpty()
    os.write(shown, f"{answer}\n".encode())
    environment = {**os.environ, "LOOKALIKE_HOME": str(home), "XDG_DATA_HOME": str(tmp_path)}
    done = subprocess.run(
        [COMMAND, "remove", picture], stdin=terminal, capture_output=True, env=environment
    )
    os.close(terminal)
    os.close(shown)
    assert str(picture).encode() in done.stderr and b"Move 1 files" in done.stderr
    assert (done.returncode, picture.exists()) == (left, bool(left))


def test_tags_are_exported_and_imported(tmp_path: Path) -> None:
    home = make_library(tmp_path) / "home"
    run(home, "tag", identity(1), "add", "lake")
    run(home, "tag", "export", tmp_path / "tags.json")
    run(home, "tag", identity(1), "remove", "lake")
    document = run_json(tmp_path, "tag", "import", tmp_path / "tags.json")
    assert document == {"pictures": 1, "unknown": []}
    assert b"  lake" in run(home, "tag", identity(1), "list").stdout
