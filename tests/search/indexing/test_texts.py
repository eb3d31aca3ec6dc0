"""Text in pictures of a library: read last, in pieces, and again only if that may help."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from helpers.pictures import paint
from helpers.texts import CHINESE, ENGLISH, write_text

from search import Engine, LibraryError, ModelError
from search.errors import LockedError, NotFoundError
from search.indexing import text_run
from search.media import text_models
from search.media.decoder_pool import DecoderPool
from search.media.rules import Limits

Open = Callable[..., Engine]

# A decoding process that reads a text at once, and dies where the picture is 33 wide.
QUICK = """
import os, time
from search.media import decoder, text
def read_lines(picture):
    if picture.width == 33:
        time.sleep(600)
    return [["well", 0.9, *[0.5] * 8]]
text.read_lines = read_lines
decoder.main()
"""
COMMAND = (sys.executable, "-P", "-c", QUICK)


@pytest.fixture(scope="module")
def quick() -> Iterator[DecoderPool]:
    with DecoderPool(1, Limits(seconds=3), COMMAND) as pool:
        yield pool


@pytest.fixture
def engine(library: Open, quick: DecoderPool) -> Engine:
    engine = library(ocr=True)
    engine.library.text_readers = quick
    return engine


def test_the_text_of_a_library_is_read_with_the_real_models(library: Open, folder: Path) -> None:
    engine = library(ocr=True)
    write_text(folder / "a.png", [ENGLISH, CHINESE])
    paint(folder / "b.jpg", 1)
    engine.sync(folder)
    before = engine.status().texts
    assert (before.read, before.pending, before.installed, before.install) == (0, 2, True, None)
    *_, last = engine.texts.read()
    engine.library.text_readers.close()
    assert last.report is not None
    assert (last.report.read, last.report.with_text, last.report.pending) == (2, 1, 0)
    assert last.report.characters == len(ENGLISH + CHINESE)
    texts = {p.path[-5:]: engine.texts.of(p.id).text for p in engine.pictures().pictures}
    assert texts == {"a.png": f"{ENGLISH}\n{CHINESE}", "b.jpg": ""}
    after = engine.status().texts
    assert (after.read, after.with_text, after.pending) == (2, 1, 0)


def test_a_run_goes_on_where_it_stopped(engine: Engine, folder: Path) -> None:
    for seed in range(5):
        paint(folder / f"{seed}.jpg", seed)
    engine.sync(folder)
    run = engine.texts.read()
    for progress in run:
        if progress.done == 2:
            break
    run.close()
    assert engine.status().texts.read == 2
    reports = [one.report for one in engine.texts.read() if one.report]
    assert [(one.read, one.pending) for one in reports] == [(3, 0)]
    assert [one.report.read for one in engine.texts.read() if one.report] == [0]


def test_a_picture_that_takes_too_long_is_read_again_only_on_request(
    engine: Engine, folder: Path
) -> None:
    from PIL import Image

    Image.new("RGB", (33, 40)).save(folder / "slow.png")
    paint(folder / "a.jpg", 1)
    engine.sync(folder)
    *_, last = engine.texts.read()
    assert last.report is not None and last.report.read == 1 and last.report.pending == 0
    (skip,) = last.report.skipped
    assert skip.code == "decode_timeout" and skip.path.endswith("slow.png")
    status = engine.status().texts
    assert (status.read, status.failed, status.pending) == (2, 1, 0)
    *_, last = engine.texts.read()
    assert last.report is not None and not last.report.skipped
    *_, last = engine.texts.read(again=True)
    assert last.report is not None and last.report.skipped == (skip,)


def test_a_newer_model_reads_again_on_request(
    engine: Engine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paint(folder / "a.jpg", 1)
    engine.sync(folder)
    list(engine.texts.read())
    monkeypatch.setattr(text_models, "RULE", 99)
    assert [one.report.read for one in engine.texts.read() if one.report] == [0]
    assert [one.report.read for one in engine.texts.read(again=True) if one.report] == [1]
    (picture,) = engine.pictures().pictures
    assert engine.texts.of(picture.id).model == text_models.fingerprint()


def test_a_picture_whose_file_is_gone_is_left_for_the_next_run(
    engine: Engine, folder: Path
) -> None:
    data = paint(folder / "a.jpg", 1).read_bytes()
    paint(folder / "b.jpg", 2)
    engine.sync(folder)
    (folder / "a.jpg").unlink()
    *_, last = engine.texts.read()
    assert last.report is not None and (last.report.read, last.report.pending) == (1, 1)
    (folder / "a.jpg").write_bytes(data)
    engine.sync(folder)
    *_, last = engine.texts.read()
    assert last.report is not None and (last.report.read, last.report.pending) == (1, 0)


def test_nothing_is_read_while_another_process_writes(
    engine: Engine, folder: Path, library: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    paint(folder / "a.jpg", 1)
    engine.sync(folder)
    other = library(engine.home)
    with other.library.database.hold_lock(1, lambda _: None):
        monkeypatch.setattr(engine.library.write_lock, "_seconds", 0.0)
        with pytest.raises(LockedError):
            list(engine.texts.read())
    assert engine.status().texts.read == 0


def test_commits_are_small(engine: Engine, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_run, "COMMIT_COUNT", 2)
    monkeypatch.setattr(text_run, "BLOCK", 3)
    for seed in range(5):
        paint(folder / f"{seed}.jpg", seed)
    engine.sync(folder)
    read = [engine.status().texts.read for _ in engine.texts.read()]
    assert read == [0, 0, 2, 2, 4, 4, 5]


def test_one_picture_is_read_at_once_and_not_recorded(engine: Engine, folder: Path) -> None:
    path = paint(folder / "a.jpg", 1)
    engine.sync(folder)
    (picture,) = engine.pictures().pictures
    for image in (str(path), path.read_bytes(), f"id:{picture.id[:8]}"):
        assert engine.texts.extract(image).text == "well"
    assert engine.texts.of(picture.id).model is None
    with pytest.raises(NotFoundError):
        engine.texts.extract(str(folder / "none.jpg"))


def test_without_the_extra_all_else_works_and_the_command_is_named(
    engine: Engine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "rapidocr", None)
    path = paint(folder / "a.jpg", 1)
    engine.sync(folder)
    assert engine.search(image=path)
    status = engine.status().texts
    assert not status.installed and status.pending == 1
    assert status.install is not None and "pip install" in status.install
    for call in (engine.texts.read, lambda: engine.texts.extract(str(path))):
        with pytest.raises(
            ModelError, match="`ocr` is not installed; install it with .*pip install"
        ):
            call()


def test_the_setting_turns_it_off(library: Open) -> None:
    with pytest.raises(LibraryError, match="LOOKALIKE_OCR"):
        library(ocr=False).texts.read()
