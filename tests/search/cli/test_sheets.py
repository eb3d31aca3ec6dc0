"""Answers of `search` as paths, tables and contact sheets."""

from __future__ import annotations

import csv
import html
import os
import re
from pathlib import Path

import pytest
from helpers.libraries import close_library, open_library
from helpers.pictures import paint
from test_cli import run

NAMES = ("plain.jpg", "=HYPERLINK(1).jpg", '<b onclick="x">.jpg', "new\nline.jpg")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a library `home` of pictures with odd names."""
    place = tmp_path_factory.mktemp("sheets")
    for seed, name in enumerate(NAMES):
        paint(place / "pictures" / name, seed)
    engine = open_library(place / "home")
    engine.sync(place / "pictures")
    close_library(engine)
    return place


def test_an_answer_is_written_as_paths_and_files(place: Path) -> None:
    query, sheet, table = place / "pictures" / NAMES[0], place / "a.html", place / "a.csv"
    written = ("--html", sheet, "--csv", table)
    done = run(place / "home", "search", query, "--print0", *written)
    paths = done.stdout.split(b"\0")
    expected = {os.fsencode(place / "pictures" / name) for name in NAMES}
    assert set(paths[:-1]) == expected and paths[-1] == b"" and len(paths) == 5
    rows = list(csv.DictReader(table.read_text("utf-8-sig").splitlines(keepends=True)))
    assert [row["rank"] for row in rows] == ["1", "2", "3", "4"]
    assert {os.fsencode(row["path"]) for row in rows} == expected
    text = sheet.read_text()
    assert "<script" not in text and "<b onclick" not in text and "http" not in text
    assert len(re.findall(r'<img alt="" src="data:image/', text)) == 5  # with that of the query
    titles = [html.unescape(one) for one in re.findall(r'<figure title="([^"]*)"', text)]
    assert {os.fsencode(one) for one in titles} == expected
    assert str(query) in text
    lines = run(place / "home", "search", query, "-k", "1", "--paths").stdout
    assert lines == os.fsencode(query) + b"\n"


def test_hits_of_conditions_alone_have_no_score(place: Path) -> None:
    sheet, table = place / "b.html", place / "b.csv"
    written = ("--html", sheet, "--csv", table)
    run(place / "home", "search", "--where", "width>0", *written)
    rows = list(csv.DictReader(table.read_text("utf-8-sig").splitlines(keepends=True)))
    assert len(rows) == 4 and {row["score"] for row in rows} == {""}
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", sheet.read_text(), re.DOTALL)
    assert {html.unescape(one) for one in captions} == {*NAMES}


def test_wrong_uses_are_refused(place: Path) -> None:
    query = place / "pictures" / NAMES[0]
    run(place / "home", "search", query, "--paths", "--json", code=2)
    done = run(place / "home", "search", query, "--csv", place / "none" / "a.csv", code=1)
    assert b"cannot write" in done.stderr


def test_no_cell_of_a_table_is_a_formula(place: Path) -> None:
    folder = place / "pictures"
    run(place / "home", "tag", folder / NAMES[0], "add", "=1+1")
    run(place / "home", "search", folder / NAMES[0], "-k", "1", "--csv", place / "b.csv")
    (row,) = csv.DictReader((place / "b.csv").read_text("utf-8-sig").splitlines())
    assert row["tags"] == "'=1+1"
