"""Duplicates by HTTP, by the command line and in Python are the same."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from helpers.duplicates import Album, turn
from helpers.serving import events, problem, serving
from typer.testing import CliRunner

from search.api.routers import duplicates as routes
from search.cli.app import app as cli

URL = "/api/v1/duplicates"


@pytest.fixture
def album(engine: Any, folder: Path, tmp_path: Path) -> Album:
    album = Album(engine, folder, tmp_path / "other")
    for name in ("a.jpg", "again.jpg"):
        album.add(folder / name, turn(1), "a")
    album.add(folder / "small.jpg", turn(0.99), size=(200, 150))
    album.add(folder / "alike.jpg", turn(0.97, aside=1), look=1)
    album.add(tmp_path / "other" / "b.jpg", turn(0, 1), "b")
    album.add(folder / "b.jpg", turn(0, 1), "b")
    return album


@pytest.fixture
def client(album: Album) -> Iterator[httpx.Client]:
    with serving(album.engine) as one:
        yield one


def run(home: Path, *words: str | Path, code: int = 0) -> Any:
    """Return what `duplicates` did."""
    done = CliRunner().invoke(cli, ["--home", str(home), "duplicates", *map(str, words)])
    assert done.exit_code == code, done.output
    return done


def test_every_interface_lists_the_same(
    album: Album, client: httpx.Client, folder: Path, tmp_path: Path
) -> None:
    other, engine = tmp_path / "other", album.engine
    cases: list[tuple[dict[str, Any], list[str]]] = [
        ({}, []),
        ({"kind": "similar", "min_score": 0.9}, ["--kind", "similar", "--min-score", "0.9"]),
        ({"min_probability": 0.95}, ["--min-probability", "0.95"]),
        ({"kind": "copy", "min_probability": 0.5}, ["--kind", "copy", "--min-probability", ".5"]),
        ({"folder": str(folder), "sort": "score"}, ["--in", str(folder), "--sort", "score"]),
        ({"between": [str(other), str(folder)]}, ["--between", str(other), str(folder)]),
        (
            {"where": ["width>300", "type=jpeg"], "keep": f"oldest,folder:{folder}"},
            ["--where", "width>300", "--where", "type=jpeg", "--keep", f"oldest,folder:{folder}"],
        ),
    ]
    for options, words in cases:
        listed = json.loads(json.dumps(engine.duplicates(**options).to_json()))
        answer = client.get(URL, params=options)
        assert answer.status_code == 200, answer.text
        assert answer.json() == listed and listed["groups"]
        assert json.loads(run(engine.home, "--json", *words).stdout) == listed
    first = client.get(URL, params={"size": 1}).json()
    second = client.get(URL, params={"size": 1, "page": 2}).json()
    whole = engine.duplicates().to_json()["groups"]
    assert [*first["groups"], *second["groups"]] == json.loads(json.dumps(whole))[:2]
    assert first["total"] == first["pages"] == len(whole)


@pytest.mark.parametrize(
    ("query", "status", "detail"),
    [
        ("kind=twin", 422, ""),
        ("min_score=0.1", 400, "0.85 to 1"),
        ("min_probability=2", 400, "give 0 to 1"),
        ("min_probability=0.9&min_score=0.9", 400, "not both"),
        ("min_probability=0.9&kind=exact", 400, "leave it out"),
        ("min_probability=high", 422, ""),
        ("keep=biggest", 400, "no rule 'biggest'"),
        ("sort=date", 400, "bytes, score"),
        ("between=/a", 400, "two folders"),
        ("folder=/nowhere", 404, "no indexed folder"),
        ("where=widht>3", 400, "did you mean width"),
        ("page=0", 422, ""),
    ],
)
def test_wrong_requests_are_refused(
    client: httpx.Client, query: str, status: int, detail: str
) -> None:
    document = problem(client.get(f"{URL}?{query}"), status, detail)
    assert (document["code"] == "keep_rule_invalid") is ("keep" in query)


def test_a_list_names_what_is_removed_and_undone(
    album: Album, client: httpx.Client, folder: Path, bin_folder: Path
) -> None:
    (group,) = client.get(URL, params={"kind": "exact", "folder": str(folder)}).json()["groups"]
    keeper, removed = (one["files"][0] for one in group["pictures"])
    body = {"groups": [{"keep": keeper, "remove": [removed]}]}
    removal = client.post(f"{URL}/remove", json=body).json()
    assert (removal["files"], removal["removed"], removal["failed"]) == (1, [], [])
    assert not Path(removed["path"]).exists() and Path(keeper["path"]).exists()
    again = client.post(f"{URL}/remove", json=body).json()
    assert [one["code"] for one in again["failed"]] == ["not_found"] and again["files"] == 0
    restored = client.post("/api/v1/images/restore", json={"undo": removal["undo"]})
    assert restored.json() == {"restored": [removed["id"]], "failed": []}
    assert Path(removed["path"]).exists()


def test_all_of_a_kind_are_removed(
    album: Album, client: httpx.Client, folder: Path, bin_folder: Path
) -> None:
    body = {"kind": "copy", "where": ["width>0"], "keep": "largest"}
    removal = client.post(f"{URL}/remove", json=body).json()
    assert removal["files"] == 1 and not (folder / "small.jpg").exists()
    for wrong in ({}, {"kind": "copy", "groups": []}, {"groups": [{"keep": 1}]}, {"keep": "x"}):
        problem(client.post(f"{URL}/remove", json=wrong), 422)
    problem(client.post(f"{URL}/remove", json={"kind": "copy", "keep": "x"}), 400, "no rule")


def test_a_least_probability_limits_what_is_removed(
    album: Album, client: httpx.Client, folder: Path, bin_folder: Path
) -> None:
    body = {"kind": "copy", "min_probability": 1}
    assert client.post(f"{URL}/remove", json=body).json()["files"] == 0
    problem(client.post(f"{URL}/remove", json=body | {"min_score": 0.9}), 400, "not both")
    problem(client.post(f"{URL}/remove", json=body | {"min_probability": "1"}), 422)
    words = ("--kind", "copy", "--remove", "--yes", "--json", "--min-probability")
    assert json.loads(run(album.engine.home, *words, "1").stdout)["files"] == 0
    assert (folder / "small.jpg").exists()
    removal = client.post(f"{URL}/remove", json=body | {"min_probability": 0.9}).json()
    assert removal["files"] == 1 and not (folder / "small.jpg").exists()


def test_a_model_without_a_calibration_has_no_probabilities(
    album: Album, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "search.querying.duplicates.load_calibrations", lambda reader, space: dict[str, Any]()
    )
    reason = "run `lookalike calibrate`, or give min_score"
    problem(client.get(URL, params={"min_probability": 0.9}), 400, reason)
    words = ["--home", str(album.engine.home), "duplicates", "--min-probability", "0.9"]
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 1 and reason in str(done.exception)


def test_long_comparisons_are_a_job(
    album: Album, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "QUICK", 0)
    assert client.get(URL, params={"kind": "exact"}).status_code == 200  # compares no vectors
    started = client.get(URL)
    assert started.status_code == 202
    job = started.json()["job"]
    assert started.headers["location"] == f"/api/v1/jobs/{job}"
    last = events(client, job)[-1]
    assert last["event"] == "done"
    report = last["data"]["report"]
    assert report["pictures"] == 4 and report["pairs"] > 0
    assert client.get(URL).json()["total"] == len(album.engine.duplicates().groups)


def test_the_command_line_lists_and_removes(
    album: Album, folder: Path, tmp_path: Path, bin_folder: Path
) -> None:
    home, engine = album.engine.home, album.engine
    text = run(home, "--kind", "copy").stdout
    assert text.splitlines()[0].startswith("copy at 0.990, frees")
    assert f"remove  {folder / 'small.jpg'}" in text and "1 groups; removing frees" in text
    assert run(home, "--kind", "copy", "--paths").stdout == f"{folder / 'small.jpg'}\n"
    nul = run(home, "--kind", "copy", "--print0").stdout_bytes
    assert nul == os.fsencode(folder / "small.jpg") + b"\0"
    table, sheet = tmp_path / "a.csv", tmp_path / "a.html"
    run(home, "--csv", table, "--html", sheet)
    rows = list(csv.DictReader(table.read_text("utf-8-sig").splitlines()))
    assert {row["kind"] for row in rows} == {"exact", "copy", "similar"}
    listed = [f.path for g in engine.duplicates().groups for p in g.pictures for f in p.files]
    assert [row["path"] for row in rows] == listed
    assert sheet.read_text().count("<h2>") == len(engine.duplicates().groups)
    assert len(json.loads(run(home, "-n", "1", "--json").stdout)["groups"]) == 1
    done = json.loads(run(home, "--kind", "exact", "--remove", "--yes", "--json").stdout)
    assert done["files"] == 2 and len(list(bin_folder.iterdir())) == 2
    assert run(home, "--kind", "exact").stdout == "no duplicates\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--remove",), "--remove needs --kind"),
        (("--kind", "copy", "--remove"), "give --yes"),
        (("--yes",), "goes with --remove"),
        (("--json", "--paths"), "give one of them"),
        (("-n", "0"), "give 1 or more"),
    ],
)
def test_wrong_commands_are_refused(
    album: Album, folder: Path, words: tuple[str, ...], message: str
) -> None:
    assert message in run(album.engine.home, *words, code=2).output
    assert (folder / "small.jpg").exists()


@pytest.mark.parametrize(("answers", "is_removed"), [("y\ny\n", True), ("y\nn\n", False)])
def test_a_removal_is_asked_for_twice(
    album: Album,
    folder: Path,
    bin_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    answers: str,
    is_removed: bool,
) -> None:
    monkeypatch.setattr("search.cli.duplicates.is_terminal", lambda: True)
    words = ["--home", str(album.engine.home), "duplicates", "--kind", "copy", "--remove"]
    done = CliRunner().invoke(cli, words, input=answers)
    assert done.exit_code == (0 if is_removed else 1)
    assert "Move 1 files of 1 groups" in done.output and "Go on?" in done.output
    assert (folder / "small.jpg").exists() is not is_removed
