"""Calibrations of a library: those that ship, and those fitted on edits of its own pictures."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.libraries import close_library, open_library
from PIL import Image

import search
from search import Engine
from search.errors import LibraryError, QueryError
from search.querying.calibration import FEATURES, load_shipped

SAMPLES = Path(search.__file__).parent / "samples"
HAT = SAMPLES / "hat" / "03.jpg"


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    engine = open_library(tmp_path_factory.mktemp("calibration") / "home")
    engine.sync(SAMPLES)
    yield engine
    close_library(engine)


@pytest.mark.catalogs("sqlite", "postgresql")
def test_a_library_without_a_calibration(engine: Engine, folder: Path) -> None:
    space = engine.library.reader
    assert not space.spaces()
    with pytest.raises(LibraryError):
        list(engine.calibrate())


def test_the_calibrations_that_ship_are_of_the_model_that_ships(samples: Engine) -> None:
    space = samples.library.reader.spaces()[0]
    assert samples.library.reader.calibration(space) is None
    shipped = load_shipped()[space.fingerprint]
    assert {"cosine"} <= set(shipped) <= set(FEATURES)
    for name, one in shipped.items():
        assert one.features == FEATURES[name] and one.pairs > 1000
        assert list(one.knots) == sorted(one.knots) and list(one.values) == sorted(one.values)
        assert all(0 < value < 1 for value in one.values)


def test_the_probability_falls_with_the_score(samples: Engine, tmp_path: Path) -> None:
    edited = tmp_path / "edited.jpg"
    with Image.open(HAT) as hat:
        hat.crop((10, 20, 380, 500)).save(edited, quality=60)
    hits = samples.search(image=edited, k=100)
    assert Path(hits[0].path) == HAT
    probabilities = [hit.probability or math.nan for hit in hits]
    assert probabilities == sorted(probabilities, reverse=True)
    assert probabilities[0] > 0.5 > probabilities[5] and 0 < probabilities[-1] < 0.2


def test_only_a_single_picture_has_probabilities(samples: Engine) -> None:
    for query in (
        {"text": "hat"},
        {"image": [HAT, SAMPLES / "hat" / "04.jpg"]},
        {"where": "width>1"},
    ):
        hits = samples.search(**query, k=3)  # type: ignore[arg-type]
        assert [hit.probability for hit in hits] == [None] * 3
    blank = Image.new("RGB", (64, 64), "black")
    assert [hit.probability for hit in samples.search(image=blank, k=3)] == [None] * 3


def test_a_calibration_of_the_library_takes_the_place_of_the_shipped_one(samples: Engine) -> None:
    before = samples.search(image=HAT, k=5)
    steps = list(samples.calibrate(n=20, seed=1))
    assert [step.done for step in steps[:3]] == [1, 2, 3]
    report = steps[-1].report
    assert report is not None and report.model == "mini" and report.pictures == 20
    assert 20 < report.pairs["cosine"] <= 40 and 0 <= report.error["cosine"] <= 1
    json.dumps(report.to_json())
    after = samples.search(image=HAT, k=5)
    assert [hit.score for hit in before] == [hit.score for hit in after]
    assert [hit.probability for hit in before] != [hit.probability for hit in after]
    again = list(samples.calibrate(n=20, seed=1))[-1].report
    assert again is not None and again.pairs == report.pairs and again.error == report.error


def test_a_small_library_cannot_be_calibrated(engine: Engine, folder: Path) -> None:
    for place in (SAMPLES / "hat").glob("*.jpg"):
        (folder / place.name).write_bytes(place.read_bytes())
    engine.sync(folder)
    with pytest.raises(LibraryError, match="needs 30"):
        list(engine.calibrate())
    with pytest.raises(QueryError, match="n is 0"):
        engine.calibrate(n=0)
