"""Which transforms between two pictures count as evidence."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from helpers.project import SAMPLES
from PIL import Image, ImageDraw, ImageFilter, ImageOps

from search.media.local_features import LocalFeatures, extract, unpack, unpack_dense
from search.querying.geometry import (
    Alignment,
    align,
    align_whole,
    count_distinct,
    find_consensus,
    is_plausible,
    measure_overlap,
    outline,
)


def open_sample(name: str = "dress/01.jpg") -> Image.Image:
    with Image.open(SAMPLES / name) as file:
        return file.convert("RGB")


def describe(picture: Image.Image, kind: str = "dense") -> LocalFeatures:
    return unpack_dense(extract(picture, kind))


def draw_stripes(width: int, color: str, step: int) -> Image.Image:
    page = Image.new("RGB", (width, 400), "white")
    draw = ImageDraw.Draw(page)
    for x in range(-400, width, step):
        draw.line((x, 0, x + 400, 400), fill=color, width=step // 3)
    return page


def test_a_crop_lies_where_it_was_cut() -> None:
    picture = open_sample()
    width, height = picture.size
    box = (width // 4, height // 4, width * 3 // 4, height // 2)
    query, hit = describe(picture.crop(box), "query"), describe(picture)
    alignment = align(query, hit)
    assert alignment is not None and alignment.inliers > 20 and alignment.agreement > 0.9
    corners = outline(alignment.matrix, query, hit)
    expected = [(0.25, 0.25), (0.75, 0.25), (0.75, 0.5), (0.25, 0.5)]
    assert np.abs(corners - expected).max() < 0.01
    assert measure_overlap(corners) == pytest.approx(0.125, abs=0.01)


def test_a_crop_lies_on_compact_features_with_pixels() -> None:
    picture, stranger = open_sample(), open_sample("shoes/01.jpg")
    width, height = picture.size
    box = (width // 8, height // 8, width * 7 // 8, height * 7 // 8)
    query = describe(picture.crop(box), "query")

    def align_compact(one: Image.Image) -> Alignment | None:
        points = unpack(extract(one, "compact"))
        return align(query, replace(points, pixels=describe(one).pixels))

    alignment = align_compact(picture)
    assert alignment is not None and alignment.inliers > 20 and alignment.agreement > 0.9
    corners = outline(alignment.matrix, query, unpack(extract(picture, "compact")))
    expected = [(0.125, 0.125), (0.875, 0.125), (0.875, 0.875), (0.125, 0.875)]
    assert np.abs(corners - expected).max() < 0.02
    other = align_compact(stranger)
    assert other is None or other.inliers < 8


def test_strangers_do_not_agree() -> None:
    first, second = open_sample(), open_sample("shoes/01.jpg")
    alignment = align(describe(first, "query"), describe(second))
    assert alignment is None or alignment.inliers < 10 and alignment.agreement < 0.5


@pytest.mark.parametrize("step", [16, 24, 40])
def test_stripes_prove_nothing(step: int) -> None:
    first, second = draw_stripes(500, "red", step), draw_stripes(640, "blue", step)
    alignment = align(describe(first, "query"), describe(second))
    assert alignment is None or alignment.inliers < 5


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("mirrored", [False, True])
def test_whole_pictures_are_laid_on_each_other_by_pixels(turns: int, mirrored: bool) -> None:
    picture = open_sample()
    edited = picture.rotate(90 * turns, expand=True)
    edited = ImageOps.mirror(edited) if mirrored else edited
    query, hit = describe(edited, "query"), describe(picture)
    alignment = align_whole(query, hit)
    assert alignment.agreement > 0.9 and alignment.mirrored == mirrored
    assert measure_overlap(outline(alignment.matrix, query, hit)) == pytest.approx(1, abs=0.02)


def test_what_moved_does_not_hide_what_stayed() -> None:
    """A thing with many points before a background with few."""
    stage = open_sample("shoes/02.jpg").resize((500, 500)).filter(ImageFilter.GaussianBlur(2))
    thing = open_sample("dress/02.jpg").resize((200, 200))
    first, second = stage.copy(), stage.copy()
    first.paste(thing, (10, 250))
    second.paste(thing, (260, 10))
    query, hit = describe(first, "query"), describe(second)
    alignment = align(query, hit)
    assert alignment is not None
    corners = outline(alignment.matrix, query, hit)
    assert np.abs(corners - [(0, 0), (1, 0), (1, 1), (0, 1)]).max() < 0.02


def test_a_consensus_leaves_out_pairs_that_lie_elsewhere() -> None:
    rng = np.random.default_rng(0)
    query = np.column_stack([rng.uniform(0, 300, (30, 2)), np.full(30, 8), np.full(30, 10)])
    hit = query.copy()
    hit[:, :2] = query[:, :2] * 2 + 7
    hit[:, 2] *= 2
    hit[20:, :2] = rng.uniform(0, 600, (10, 2))
    agrees = find_consensus(query.astype(np.float32), hit.astype(np.float32), 5.0)
    assert agrees[:20].all() and agrees[20:].sum() <= 1


def test_points_that_collapse_or_look_alike_count_once() -> None:
    points = np.random.default_rng(0).uniform(0, 300, (20, 4)).astype(np.float32)
    one_place = np.tile(points[:1], (20, 1))
    codes = np.random.default_rng(1).integers(0, 256, (20, 16)).astype(np.uint8)
    assert count_distinct(points, points, codes) >= 19
    assert count_distinct(points, one_place) == 1
    assert count_distinct(points, points, np.zeros((20, 16), np.uint8)) == 1
    assert count_distinct(points[:0], points[:0], codes[:0]) == 0


@pytest.mark.parametrize(
    ("matrix", "plausible"),
    [
        (np.eye(3), True),
        (np.diag((0.3, 0.3, 1.0)), True),
        (np.array([[0, -1, 300], [1, 0, 0], [0, 0, 1.0]]), True),
        (np.diag((-1.0, 1.0, 1.0)), False),
        (np.diag((1.0, 0.1, 1.0)), False),
        (np.diag((0.01, 0.01, 1.0)), False),
        (np.array([[1, 0, 0], [0, 1, 0], [-0.01, 0, 1.0]]), False),
        (np.full((3, 3), np.nan), False),
        (np.zeros((3, 3)), False),
    ],
)
def test_only_transforms_that_a_person_could_make_count(
    matrix: np.ndarray, plausible: bool
) -> None:
    picture = describe(open_sample())
    assert is_plausible(matrix, picture, picture) == plausible
