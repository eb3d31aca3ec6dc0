"""The commands count, left-out and text, archives of answers, and the reading of text by index."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from helpers.pictures import paint
from helpers.texts import ENGLISH, write_text
from PIL import ExifTags, Image
from test_cli import run

from search import Engine


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a library `home` of `pictures`: three JPEGs, a broken one and a text file."""
    place = tmp_path_factory.mktemp("counts")
    for seed in range(3):
        paint(place / "pictures" / f"{seed}.jpg", seed)
    (place / "pictures" / "broken.jpg").write_bytes(b"no picture")
    (place / "pictures" / "list.txt").write_text("a list")
    run(place / "home", "index", place / "pictures")
    return place


def run_json_of(home: Path, *words: str | Path) -> Any:
    return json.loads(run(home, *words, "--json").stdout)


def run_json(place: Path, *words: str | Path) -> Any:
    return run_json_of(place / "home", *words)


def test_pictures_are_counted_by_what_they_have(place: Path) -> None:
    counted = run_json(place, "count", "type", "shape", "--where", "name=[01].jpg or name=1*")
    assert counted["total"] == 1
    assert [(one["value"], one["count"]) for one in counted["fields"]["type"]] == [("jpeg", 1)]
    assert set(counted["fields"]) == {"type", "shape"}
    with Engine.open(place / "home") as engine:
        assert run_json(place, "count") == engine.facets().to_json()
    lines = run(place / "home", "count", "type").stdout.decode().split("\n")
    assert [line.split() for line in lines[:3]] == [["type"], ["3", "jpeg"], ["3", "pictures"]]
    assert b"did you mean color?" in run(place / "home", "count", "colours", code=2).stderr


def test_files_that_no_search_finds_are_listed(place: Path) -> None:
    left = run_json(place, "left-out", place / "pictures")
    assert [Path(one["path"]).name for one in left["skipped"]] == ["broken.jpg"]
    assert [(Path(one["path"]).name, one["kind"]) for one in left["left_out"]] == [
        ("list.txt", "other")
    ]
    text = run(place / "home", "left-out", place / "pictures").stdout.decode()
    assert "broken.jpg: " in text and "list.txt: other" in text
    assert b"lookalike status" in run(place / "home", "left-out", place, code=1).stderr


def test_the_files_of_an_answer_are_written_as_an_archive(place: Path) -> None:
    file = place / "answer.zip"
    query = place / "pictures" / "1.jpg"
    paths = run(place / "home", "search", query, "-k", "2", "--zip", file, "--paths").stdout
    with zipfile.ZipFile(file) as archive:
        content = {archive.read(name) for name in archive.namelist()}
    assert content == {Path(path).read_bytes() for path in paths.decode().split()}
    nowhere = place / "nowhere" / "answer.zip"
    done = run(place / "home", "search", query, "--zip", nowhere, code=1)
    assert str(nowhere).encode() in done.stderr


def test_text_in_pictures_is_read_last_and_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOOKALIKE_OCR", "true")
    title = tmp_path / "pictures" / "film.png"
    paint(tmp_path / "pictures" / "1.jpg", 1)
    write_text(title, [ENGLISH])
    home = tmp_path / "home"
    run(home, "index", title.parent, "--no-ocr")
    assert json.loads(run(home, "status", "--json").stdout)["texts"]["pending"] == 2
    run(home, "index", title.parent)
    assert json.loads(run(home, "status", "--json").stdout)["texts"]["pending"] == 0
    assert ENGLISH in run(home, "text", title).stdout.decode()
    answer = json.loads(run(home, "search", "--text", ENGLISH, "--json").stdout)
    assert answer["hits"][0]["path"] == str(title)
    done = run(home, "index", title.parent, "--no-ocr", "--ocr-again", code=2)
    assert b"give one of them" in done.stderr


def test_pictures_are_counted_by_place(place: Path) -> None:
    home = place / "places"
    assert run_json_of(home, "places") == {"groups": []}
    for name, latitude in (("a", 48.85), ("b", 48.85), ("c", 10.0)):
        path = paint(place / "taken" / f"{name}.jpg", ord(name))
        with Image.open(path) as picture:
            exif = picture.getexif()
            exif.get_ifd(ExifTags.IFD.GPSInfo).update(
                {1: "N", 2: (latitude, 0.0, 0.0), 3: "E", 4: (2.35, 0.0, 0.0)}
            )
            picture.save(path, exif=exif)
    run(home, "index", place / "taken")
    groups = run_json_of(home, "places")["groups"]
    assert [(one["pictures"], one["latitude"]) for one in groups] == [(2, 48.85), (1, 10.0)]
    lines = run(home, "places", "--bounds", "0,40,5,50").stdout.decode().split()
    assert lines == ["2", "near=48.8500,2.3500"]
    assert len(run_json_of(home, "search", "--where", lines[1])["hits"]) == 2
    assert run_json_of(home, "places", "--where", "name=c.jpg")["groups"][0]["pictures"] == 1
    assert b"WEST,SOUTH,EAST,NORTH" in run(home, "places", "--bounds", "1,2", code=2).stderr
    assert b"64" in run(home, "places", "--cells", "65", code=2).stderr
