"""Searches that verify, and what calibrations say of them: by HTTP, command line and in Python."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from helpers.libraries import close_library, open_library
from helpers.project import SAMPLES
from helpers.serving import files, problem, serving
from PIL import Image, ImageOps
from typer.testing import CliRunner, Result

from search import Engine, Query, QueryError
from search.cli.app import app
from search.records.hits import VERDICTS

KINDS = ("hat", "pants", "shoes")  # 33 pictures; a calibration needs 30
ORIGINAL = "hat/03.jpg"
PATIENT = 600.0  # seconds, so that a slow machine verifies as much as a quick one


def copy_samples(folder: Path) -> Path:
    for kind in KINDS:
        shutil.copytree(SAMPLES / kind, folder / kind)
    return folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_samples(tmp_path_factory.mktemp("verified") / "photos")


@pytest.fixture(scope="module")
def shared(photos: Path) -> Iterator[Engine]:
    """An engine over some samples."""
    engine = open_library(photos.parent / "home", verify_seconds=PATIENT)
    engine.sync(photos)
    yield engine
    close_library(engine)


@pytest.fixture(scope="module")
def client(shared: Engine) -> Iterator[httpx.Client]:
    with serving(shared) as one:
        one.timeout = httpx.Timeout(PATIENT)
        yield one


@pytest.fixture(scope="module")
def part(photos: Path) -> Path:
    """The middle of a picture of the library, mirrored."""
    path = photos.parent / "part.png"
    with Image.open(photos / ORIGINAL) as picture:
        width, height = picture.size
        box = (width // 5, height // 5, 4 * width // 5, 4 * height // 5)
        ImageOps.mirror(picture.convert("RGB").crop(box)).save(path)
    return path


def run(home: Path, *words: str | Path) -> Result:
    environment = {"LOOKALIKE_VERIFY_SECONDS": str(PATIENT), "COLUMNS": "200"}
    done = CliRunner().invoke(app, ["--home", str(home), *map(str, words)], env=environment)
    assert done.exit_code == 0, done.output
    return done


def check_alike(answer: dict[str, Any], expected: dict[str, Any]) -> None:
    """Check that two answers as JSON tell the same of the same hits, but for roundings."""
    assert [hit["id"] for hit in answer["hits"]] == [hit["id"] for hit in expected["hits"]]
    for hit, other in zip(answer["hits"], expected["hits"], strict=True):
        assert hit["kind"] == other["kind"]
        assert hit["probability"] == pytest.approx(other["probability"], abs=1e-3)
        one, another = hit["evidence"] or {}, other["evidence"] or {}
        assert set(one) == set(another)
        for name, value in one.items():
            if isinstance(value, float):
                assert value == pytest.approx(another[name], abs=1e-3), name
            elif isinstance(value, list):
                corners = [pytest.approx(corner, abs=1e-3) for corner in another[name]]
                assert value == corners, name
            else:
                assert value == another[name], name


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"verify": True}, ("--verify",)),
        ({"kind": "copy"}, ("--kind", "copy")),
        ({"kind": "similar", "k": 5}, ("--kind", "similar", "-k", "5")),
    ],
)
def test_every_interface_verifies_alike(
    shared: Engine, client: httpx.Client, part: Path, options: dict, words: tuple[str, ...]
) -> None:
    hits = shared.search(Query.from_json(options, [part.read_bytes()]))
    expected = json.loads(json.dumps(hits.to_json()))
    first = expected["hits"][0]
    assert first["path"].endswith(ORIGINAL) and first["kind"] == "copy"
    assert first["evidence"]["mirrored"] and first["probability"] > 0.9
    assert len(hits) == (1 if options.get("kind") == "copy" else options.get("k", 10))
    form = {"query": json.dumps(options)}
    answer = client.post("/api/v1/search", files=files(part.read_bytes()), data=form)
    assert answer.status_code == 200, answer.text
    check_alike(answer.json(), expected)
    printed = json.loads(run(shared.home, "search", part, "--json", *words).stdout)
    check_alike(printed, expected)


def test_the_command_line_says_what_a_comparison_showed(shared: Engine, part: Path) -> None:
    lines = run(shared.home, "search", part, "--verify", "-k", "3").stdout.splitlines()
    assert len(lines) == 3 and ORIGINAL in lines[0]
    assert f"{VERDICTS['edited']}, mirrored: " in lines[0]
    hit = shared.search(part, verify=True)[0]
    assert hit.evidence is not None
    shares = (hit.evidence.query_overlap, hit.evidence.hit_overlap)
    assert "{:.0%} of the query, {:.0%} of it".format(*shares) in lines[0]
    assert all(line.endswith(f"  {VERDICTS['alike']}") for line in lines[1:])
    same = run(shared.home, "search", SAMPLES / ORIGINAL, "--verify", "-k", "1").stdout
    assert same.rstrip().endswith("  identical")
    plain = run(shared.home, "search", part, "-k", "3").stdout
    assert not any(words in plain for words in (*VERDICTS.values(), "identical"))


def test_a_model_has_probabilities_once_it_is_calibrated(
    library: Callable[..., Engine], home: Path, tmp_path: Path, part: Path, timm_model: str
) -> None:
    """Under a model with random weights, which no calibration ships for."""
    engine = library(model=timm_model, verify_seconds=PATIENT)
    engine.sync(copy_samples(tmp_path / "photos"))

    def list_probabilities(**options: Any) -> set[float | None]:
        return {hit.probability for hit in engine.search(part, k=3, **options)}

    assert list_probabilities() == list_probabilities(verify=True) == {None}
    with pytest.raises(QueryError, match="run `lookalike calibrate`"):
        engine.duplicates(min_probability=0.9)
    with serving(engine) as client:
        client.timeout = httpx.Timeout(PATIENT)
        answer = client.post("/api/v1/search", files=files(part.read_bytes())).json()
        assert {hit["probability"] for hit in answer["hits"]} == {None}
        url = "/api/v1/duplicates?min_probability=0.9"
        problem(client.get(url), 400, "run `lookalike calibrate`")
        report = json.loads(run(home, "calibrate", "-n", "12", "--json").stdout)
        assert set(report) == {"model", "pictures", "pairs", "error", "seconds"}
        assert report["pictures"] == 12 and set(report["pairs"]) == {"cosine", "verified"}
        assert all(0 <= error <= 1 for error in report["error"].values())
        answer = client.post("/api/v1/search", files=files(part.read_bytes())).json()
        assert None not in {hit["probability"] for hit in answer["hits"]}
        assert client.get(url).status_code == 200
    for options in ({}, {"verify": True}):
        assert all(0 < one < 1 for one in list_probabilities(**options) if one is not None)
        assert None not in list_probabilities(**options)
