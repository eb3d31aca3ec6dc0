"""Text in pictures is read by processes of low priority, whatever the picture does to them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.texts import CHINESE, ENGLISH, write_text
from PIL import Image

from search.errors import PictureError
from search.media import text, text_models
from search.media.decoder_pool import DecodedPicture, DecodeFailure, DecodeRequest, DecoderPool
from search.media.rules import Limits
from search.media.text import MOST_CHARACTERS, parse_lines

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")

# A decoding process that misbehaves when it reads text.
HOSTILE = """
import os, signal, sys, time
from search.media import decoder, text
def read_lines(picture):
    if picture.width == 31:
        time.sleep(600)
    if picture.width == 32:
        os.kill(os.getpid(), signal.SIGKILL)
    if picture.width == 33:
        return [["no box", 0.5]]
    return [["well", 0.9, *[0.5] * 8]]
text.read_lines = read_lines
decoder.main()
"""


@pytest.fixture(scope="module")
def pool() -> Iterator[DecoderPool]:
    with DecoderPool(1, Limits(seconds=300)) as pool:
        yield pool


def read(pool: DecoderPool, path: Path) -> DecodedPicture | DecodeFailure:
    return pool.submit(DecodeRequest(str(path), metadata=False, text=True)).result()


def test_english_and_chinese_are_read_with_their_boxes(pool: DecoderPool, tmp_path: Path) -> None:
    result = read(pool, write_text(tmp_path / "a.png", [ENGLISH, CHINESE]))
    assert isinstance(result, DecodedPicture) and result.text
    assert [line.text for line in result.text] == [ENGLISH, CHINESE]
    for i, line in enumerate(result.text):
        assert line.confidence > 0.8
        xs, ys = zip(*line.box, strict=True)
        assert min(xs) == pytest.approx(20 / 640, abs=0.02) and max(xs) < 0.6
        baseline = 60 * (i + 1) / 240
        assert min(ys) < baseline < max(ys) + 0.01 and max(ys) - min(ys) < 0.3


def test_a_picture_without_text_has_no_lines(pool: DecoderPool, tmp_path: Path) -> None:
    Image.linear_gradient("L").save(tmp_path / "a.png")
    result = read(pool, tmp_path / "a.png")
    assert isinstance(result, DecodedPicture) and result.text == ()


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets this process read text without losing its priority, and quickly."""
    monkeypatch.setattr(os, "nice", lambda _: 0)
    monkeypatch.setattr(text, "DETECTED_PIXELS", 800_000)


@pytest.mark.parametrize("size", [(4000, 3000), (800, 9000)], ids=["page", "long screenshot"])
def test_a_few_small_words_of_a_large_picture_are_read(
    here: None, tmp_path: Path, size: tuple[int, int]
) -> None:
    picture = Image.open(write_text(tmp_path / "a.png", [ENGLISH], size, 30)).convert("RGB")
    (line,) = parse_lines(text.read_lines(picture))
    assert line.text == ENGLISH
    assert line.box[0] == pytest.approx((20 / size[0], 34 / size[1]), abs=0.03)  # of a coarse look


@LINUX
def test_the_process_has_the_lowest_priority_and_one_thread_of_work(
    pool: DecoderPool, tmp_path: Path
) -> None:
    read(pool, write_text(tmp_path / "a.png", [ENGLISH]))
    parents = {}
    for place in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = place.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == os.getpid() and b"search.media.decoder" in (
            place.with_name("cmdline").read_bytes()
        ):
            parents[place.parent.name] = int(fields[16])  # nice
    assert max(parents.values()) >= 15


def test_a_process_that_hangs_dies_or_lies_costs_one_picture(tmp_path: Path) -> None:
    for width in (31, 32, 33, 34):
        Image.new("RGB", (width, 40)).save(tmp_path / f"{width}.png")
    command = (sys.executable, "-P", "-c", HOSTILE)
    with DecoderPool(1, Limits(seconds=2), command) as pool:
        late, killed, liar, well = (read(pool, tmp_path / f"{n}.png") for n in (31, 32, 33, 34))
    assert isinstance(late, DecodeFailure) and (late.code, late.slow) == ("decode_timeout", True)
    assert isinstance(killed, DecodeFailure) and killed.slow
    assert isinstance(liar, DecodeFailure) and liar.code == "decode_failed"
    assert isinstance(well, DecodedPicture) and well.text and well.text[0].text == "well"


def test_what_a_process_sends_is_checked() -> None:
    for rows in (
        None,
        5,
        [5],
        [["a", 1]],
        [["a", 1, *range(9)]],
        [["a", "x", *range(8)]],
        [[b"", 1]],
    ):
        with pytest.raises(PictureError):
            parse_lines(rows)
    (line,) = parse_lines([["a\0bc" * MOST_CHARACTERS, 7, -1, 2, *[0.5] * 6], [" ", 1, *[0] * 8]])
    assert len(line.text) == MOST_CHARACTERS and line.text.startswith("a b")
    assert line.confidence == 1 and line.box[0] == (0, 1)


def test_a_newer_model_has_another_fingerprint(monkeypatch: pytest.MonkeyPatch) -> None:
    before = text_models.fingerprint()
    assert text_models.is_installed() and len(before) == 16
    monkeypatch.setattr(text_models, "list_models", list)
    assert text_models.fingerprint() != before


@pytest.mark.parametrize("name", ["rapidocr", "onnxruntime"])
def test_without_the_extra_nothing_is_installed(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    assert not text_models.is_installed()
