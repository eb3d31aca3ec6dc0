"""The commands tag, favourite, rating, album and hidden."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from helpers.libraries import close_library, open_library
from helpers.pictures import identity, paint
from test_cli import run


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a library `home` of three pictures `pictures/N.jpg`."""
    place = tmp_path_factory.mktemp("tags")
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
