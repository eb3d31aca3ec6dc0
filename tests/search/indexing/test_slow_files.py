"""Files whose decoding takes too long are tried again later, and not at every sync."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.pictures import identity, jpeg, paint
from sqlalchemy import delete, update

from search import Engine
from search.catalog import schema
from search.media.decoder_pool import DecodeFailure, DecodeRequest, DecoderPool

MINUTE, DAY = 60.0, 86400.0


class SlowFiles:
    """Lets the decoding of some files fail, and counts the tries. names: of the files."""

    def __init__(self, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
        self.names, self.tries, self._engine = set[str](), 0, engine
        real = DecoderPool._load

        def load(pool: DecoderPool, source: DecodeRequest, *more: Any) -> Any:
            if os.path.basename(source.path or "") in self.names:
                self.tries += 1
                return DecodeFailure("decoding took longer than 30 s", again=True, slow=True)
            return real(pool, source, *more)

        monkeypatch.setattr(DecoderPool, "_load", load)
        self.set_clock(0.0)

    def set_clock(self, seconds: float) -> None:
        self._engine.library.catalog._clock = lambda: seconds


@pytest.fixture
def slow(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> SlowFiles:
    return SlowFiles(engine, monkeypatch)


def test_a_slow_file_is_tried_again_at_ever_longer_times(
    engine: Engine, folder: Path, slow: SlowFiles
) -> None:
    paint(folder / "slow.jpg", 1)
    slow.names.add("slow.jpg")
    expected, now = 0, 0.0
    for wait in (10 * MINUTE, 40 * MINUTE, 160 * MINUTE):
        slow.set_clock(now)
        report = engine.sync(folder)
        expected += 1
        assert slow.tries == expected and report.skipped[0].path == str(folder / "slow.jpg")
        slow.set_clock(now + wait - 1)
        report = engine.sync(folder)
        assert slow.tries == expected
        assert "longer than 30 s; tried again after" in report.skipped[0].reason
        now += wait
    for _ in range(12):
        now += 30 * DAY
        slow.set_clock(now)
        engine.sync(folder)
        expected += 1
        assert slow.tries == expected  # never later than after 30 days
    slow.names.clear()
    slow.set_clock(now + 30 * DAY)
    assert engine.sync(folder).added == 1


def test_a_change_force_and_other_limits_do_not_wait(
    library: Callable[..., Engine], engine: Engine, folder: Path, slow: SlowFiles
) -> None:
    path = paint(folder / "slow.jpg", 1)
    slow.names.add("slow.jpg")
    engine.sync(folder)
    engine.sync(folder, force=True)
    assert slow.tries == 2
    path.write_bytes(jpeg(2))
    engine.sync(folder)
    assert slow.tries == 3
    engine.library.decoders.rule, rule = "other limits", engine.library.decoders.rule
    try:
        engine.sync(folder)
    finally:
        engine.library.decoders.rule = rule
    assert slow.tries == 4


def test_a_stalled_disk_takes_no_picture_out(engine: Engine, folder: Path, slow: SlowFiles) -> None:
    paint(folder / "a.jpg", 1)
    engine.sync(folder)
    slow.names.add("a.jpg")
    report = engine.sync(folder, force=True)
    assert report.skipped and engine.status().pictures == 1
    assert engine.search(image=jpeg(1))[0].id == identity(1)


def test_a_slow_picture_without_a_vector_waits_too(
    engine: Engine, folder: Path, slow: SlowFiles
) -> None:
    for seed in range(2):
        paint(folder / f"{seed}.jpg", seed)
    engine.sync(folder)
    with engine.library.database.write() as c:
        c.execute(delete(schema.vectors).where(schema.vectors.c.picture == 2))
    engine.library.catalog.repair_counts()
    slow.names.add("1.jpg")
    for _ in range(3):
        (skip,) = engine.sync(folder).skipped
        assert skip.path == str(folder / "1.jpg") and slow.tries == 1
    slow.set_clock(10 * MINUTE + 1)
    engine.sync(folder)
    assert slow.tries == 2
    slow.names.clear()
    assert engine.sync(folder).embedded == 0
    assert engine.sync(folder, force=["0.jpg"]).embedded == 1


def test_a_slow_picture_of_an_earlier_decode_rule_waits_too(
    engine: Engine, folder: Path, slow: SlowFiles
) -> None:
    paint(folder / "a.jpg", 1)
    engine.sync(folder)
    with engine.library.database.write() as c:
        c.execute(update(schema.pictures).values(decode_rule=1))
    slow.names.add("a.jpg")
    for _ in range(3):
        assert engine.sync(folder).skipped
    assert slow.tries == 1


def test_a_change_of_the_model_waits_for_a_slow_picture_three_times(
    library: Callable[..., Engine], folder: Path, monkeypatch: pytest.MonkeyPatch, clip: str
) -> None:
    for seed in range(3):
        paint(folder / f"{seed}.jpg", seed)
    library().sync(folder)
    new = library(model=clip)
    slow, now = SlowFiles(new, monkeypatch), 0.0
    slow.names.add("1.jpg")
    for tries in range(1, 4):
        slow.set_clock(now)
        assert library().status().model == "mini"
        report = new.sync(folder)
        assert slow.tries == tries and report.skipped
        now += 10 * DAY
    assert new.status().model == clip and new.status().embedded == 2
    assert new.search(image=jpeg(0))[0].id == identity(0)
    slow.names.clear()
    slow.set_clock(now)
    assert new.sync(folder).embedded == 1 and new.search(image=jpeg(1))[0].id == identity(1)
