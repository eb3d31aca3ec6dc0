"""Screenshots are proven by what the library has of frames; the film is decoded only if need be."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.films import SCENE_SECONDS as SECONDS, make_film, take_screenshot

from search import Engine, Hits
from search.media.decoder_pool import DecodeRequest

PATIENT = 120.0  # seconds, so that a slow machine verifies as much as a quick one
SCENES = range(3)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_film(tmp_path_factory.mktemp("films") / "Harbour.mkv", SCENES)


@pytest.fixture
def engine(library: Callable[..., Engine], film: Path, folder: Path) -> Engine:
    """A library of the film."""
    shutil.copy(film, folder / film.name)
    engine = library(verify_seconds=PATIENT)
    engine.sync(folder)
    return engine


@pytest.fixture
def decoded(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The times of the frames that are decoded from the film."""
    times, decoders = list[float](), engine.library.decoders
    submit = decoders.submit

    def record(source: DecodeRequest, *args: object, **options: object) -> object:
        if source.frame is not None:
            times.append(source.frame.time)
        return submit(source, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(decoders, "submit", record)
    return times


def find(engine: Engine, scene: int) -> Hits:
    """Search for a part of the middle of a scene."""
    return engine.search(image=take_screenshot(scene).crop((48, 27, 272, 153)), kind="copy")


def is_near(hits: Hits, scene: int) -> bool:
    """Return whether the first hit is within two seconds of the middle of a scene."""
    return bool(hits) and abs((hits[0].time or 0.0) - SECONDS * (scene + 0.5)) <= 2.1


def delete_thumbnails(engine: Engine) -> None:
    for one in engine.browse().pictures:
        engine.library.thumbnails.delete(one.id)


@pytest.mark.parametrize("is_away", [False, True])
def test_a_screenshot_is_proven_without_the_film(
    engine: Engine, decoded: list[float], folder: Path, is_away: bool
) -> None:
    if is_away:
        (folder / "Harbour.mkv").unlink()
    for scene in SCENES:
        hits = find(engine, scene)
        assert is_near(hits, scene)
        evidence = hits[0].evidence
        assert evidence is not None and evidence.verdict == "edited"
        assert evidence.query_overlap == pytest.approx(1, abs=0.1)
    assert decoded == []


def test_without_thumbnails_the_film_is_decoded(engine: Engine, decoded: list[float]) -> None:
    delete_thumbnails(engine)
    assert is_near(find(engine, 1), 1)
    assert decoded


def test_without_local_features_the_film_is_decoded(engine: Engine, decoded: list[float]) -> None:
    """As in a library of an earlier version."""
    library = engine.library
    ids = [one.id for one in engine.browse().pictures]
    library.catalog.delete_features([library.reader.resolve(one) for one in ids])
    assert is_near(find(engine, 1), 1)
    assert decoded


def test_a_damaged_film_proves_nothing(engine: Engine, decoded: list[float], folder: Path) -> None:
    film = folder / "Harbour.mkv"
    film.write_bytes(b"x" * film.stat().st_size)
    assert is_near(find(engine, 1), 1)  # by what the library has
    delete_thumbnails(engine)
    assert not find(engine, 1)
    hits = engine.search(image=take_screenshot(1), verify=True)
    assert hits and all(hit.kind is None for hit in hits[:3])


def test_a_damaged_thumbnail_is_passed_over(engine: Engine, decoded: list[float]) -> None:
    for one in engine.browse().pictures:
        data = bytearray(engine.library.thumbnails.read(one.id) or b"")
        data[12:] = bytes(len(data) - 12)
        engine.library.thumbnails.write(one.id, bytes(data))
    assert is_near(find(engine, 1), 1)
    assert decoded
