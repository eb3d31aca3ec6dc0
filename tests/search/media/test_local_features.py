"""Local features of pictures: what is stored, and what a mirrored picture has."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.project import SAMPLES
from PIL import Image, ImageOps

from search.media import local_features
from search.media.local_features import LocalFeatures, extract, pack, unpack, unpack_dense
from search.vectors.features.entries import POINT_BITS, list_entries

PICTURE = SAMPLES / "dress" / "01.jpg"


def open_sample() -> Image.Image:
    with Image.open(PICTURE) as file:
        return file.convert("RGB")


def test_compact_features_take_at_most_4_kb_and_are_spread_over_the_picture() -> None:
    data = extract(open_sample(), "compact")
    features = unpack(data)
    assert len(data) <= 4096 and 100 <= len(features) <= local_features.COMPACT_COUNT
    assert features.descriptors is None and features.codes.shape == (len(features), 16)
    columns = np.floor(features.points[:, 0] / features.width * 2).astype(int)
    rows = np.floor(features.points[:, 1] / features.height * 2).astype(int)
    counts = np.bincount(rows * 2 + columns, minlength=4)
    assert counts.min() > len(features) / 10


def test_a_frame_has_more_points_and_the_index_only_the_first_of_them() -> None:
    data = extract(open_sample(), "frame")
    features = unpack(data)
    assert len(data) <= 9000 and 300 <= len(features) <= local_features.FRAME_COUNT
    _, ids, codes = list_entries({7: data})
    assert len(ids) == local_features.COMPACT_COUNT and (ids >> POINT_BITS == 7).all()
    first = features.cut(local_features.COMPACT_COUNT).codes
    assert sorted(map(bytes, codes)) == sorted(map(bytes, first))


@pytest.mark.parametrize("kind", ["compact", "frame"])
def test_compact_features_are_read_as_they_were_packed(kind: str) -> None:
    features = unpack(extract(open_sample(), kind))
    again = unpack(pack(features))
    assert np.allclose(again.points, features.points, atol=0.01)
    assert (again.codes == features.codes).all()
    assert (again.width, again.height) == (features.width, features.height)


@pytest.mark.parametrize("kind", ["compact", "frame", "dense", "query"])
@pytest.mark.parametrize("size", [(1, 1), (1, 300), (64, 64), (2000, 3)])
def test_a_blank_or_tiny_picture_has_no_points(kind: str, size: tuple[int, int]) -> None:
    data = extract(Image.new("RGB", size, "red"), kind)
    features = unpack(data) if kind in ("compact", "frame") else unpack_dense(data)
    assert len(features) == 0


def test_a_small_query_is_enlarged() -> None:
    small = open_sample().resize((60, 107))
    assert max(vars(unpack_dense(extract(small, "query")))["height"], 0) == 400
    assert unpack_dense(extract(small, "dense")).height == 107


def test_mirrored_features_are_those_of_the_mirrored_picture() -> None:
    picture = open_sample()
    mirrored = unpack_dense(extract(picture, "dense")).mirror()
    expected = unpack_dense(extract(ImageOps.mirror(picture), "dense"))
    assert mirrored.pixels is not None and expected.pixels is not None
    assert np.abs(mirrored.pixels.astype(int) - expected.pixels).mean() < 2
    nearest = (mirrored.directions @ expected.directions.T).max(1)
    assert np.median(nearest) > 0.95
    plain = unpack_dense(extract(picture, "dense"))
    assert np.median((plain.directions @ expected.directions.T).max(1)) < 0.9


def test_codes_of_a_changed_picture_are_near() -> None:
    def count_near(picture: Image.Image, other: Image.Image) -> int:
        first, second = (unpack(extract(one, "compact")).codes for one in (picture, other))
        bits = np.unpackbits(first[:, None] ^ second[None], axis=2).sum(2)
        return int((bits.min(1) < 25).sum())

    picture = open_sample()
    with Image.open(SAMPLES / "shoes" / "01.jpg") as file:
        stranger = file.convert("RGB")
    edited = ImageOps.grayscale(picture).convert("RGB").rotate(20, expand=True)
    assert count_near(picture, edited) > 40 > count_near(picture, stranger)


@pytest.mark.parametrize("data", [b"", b"abc", b"\0" * 5, b"\0" * 1000])
def test_other_bytes_are_no_features(data: bytes) -> None:
    with pytest.raises(ValueError, match="no local features"):
        unpack(data)
    with pytest.raises(ValueError, match="no local features"):
        unpack_dense(data + b"x")


def test_compact_features_cannot_be_mirrored() -> None:
    features = LocalFeatures(1, 1, np.zeros((0, 4), np.float32), np.zeros((0, 16), np.uint8))
    with pytest.raises(ValueError, match="cannot be mirrored"):
        features.mirror()
