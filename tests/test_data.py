"""The promised accuracy of `mini` and of searches, on the shared data."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
import pytest
from helpers.project import DATA, needs_data
from PIL import Image

from search import Engine
from search.embedders.mini import Mini

pytestmark = needs_data


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with Engine.open(home=tmp_path_factory.mktemp("home")) as engine:
        report = engine.sync(DATA / "clothing" / "test")
        assert (report.added, report.embedded, report.skipped) == (372, 372, ())
        yield engine


def test_a_second_sync_embeds_nothing(engine: Engine) -> None:
    report = engine.sync(DATA / "clothing" / "test")
    assert (report.unchanged, report.embedded) == (372, 0)


def test_a_file_finds_itself_first(engine: Engine) -> None:
    for path in sorted((DATA / "clothing" / "test").glob("*/*"))[::10]:
        first = engine.search(image=path, k=1)[0]
        assert str(path) in first.paths and first.score >= 0.999


def test_half_size_jpeg_q30_copies_find_their_originals(engine: Engine) -> None:
    paths = sorted((DATA / "clothing" / "test").glob("*/*"))[::3][:100]
    right = 0
    for path in paths:
        with Image.open(path) as picture:
            half = picture.convert("RGB").resize((picture.width // 2, picture.height // 2))
        copy = io.BytesIO()
        half.save(copy, "JPEG", quality=30)
        right += str(path) in engine.search(image=copy.getvalue(), k=1)[0].paths
    assert len(paths) == 100 and right >= 97


@pytest.mark.parametrize(
    ("folder", "least_map", "least_nn"),
    [
        ("clothing/test", 0.66, 0.83),
        ("photos-dev", 0.885, 0.950),
    ],
)
def test_mini_is_as_good_as_promised(folder: str, least_map: float, least_nn: float) -> None:
    mini = Mini()
    paths = sorted(p for p in (DATA / folder).glob("*/*") if p.is_file())
    labels = np.array([p.parent.name for p in paths])
    pixels = []
    for path in paths:
        with Image.open(path) as picture:
            pixels.append(mini.preprocessing(picture.convert("RGB")))
    x = np.concatenate([mini.embed(pixels[i : i + 16]) for i in range(0, len(pixels), 16)])
    scores = x @ x.T
    np.fill_diagonal(scores, -2)
    relevant = (labels[np.argsort(-scores, 1)] == labels[:, None])[:, :-1]
    precision = np.cumsum(relevant, 1) / np.arange(1, len(paths))
    assert ((precision * relevant).sum(1) / relevant.sum(1)).mean() >= least_map
    assert relevant[:, 0].mean() >= least_nn
