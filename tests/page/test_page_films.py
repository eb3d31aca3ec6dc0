"""The page in a headless Chromium: moments of films."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.browsing import CHROMIUM, DRIVER, MISSING, Page, list_violations
from helpers.films import make_film, take_screenshot
from helpers.libraries import close_library, open_library
from helpers.serving import own_base
from test_page_painting import draw, open_painting, paint_and_wait

from search import Engine
from search.generation import restoration

READY = "document.querySelector('#detail-image.is-ready')"
STRIP = "[...document.querySelectorAll('#detail-strip button')]"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason=MISSING),
]
base = own_base


@pytest.fixture
def engine(home: Path, folder: Path) -> Iterator[Engine]:
    """A library of two films: the browser can play the first one, and not the second."""
    make_film(folder / "playable.webm", range(3), "libvpx", options={"deadline": "realtime"})
    make_film(folder / "other.avi", range(3, 5), "mpeg4", options={})
    engine = open_library(home)
    assert engine.sync(folder).skipped == ()
    yield engine
    close_library(engine)


def test_a_moment_shows_its_time_a_strip_and_the_film(
    page: Page, base: str, engine: Engine, tmp_path: Path
) -> None:
    shot = tmp_path / "shot.png"
    take_screenshot(1).save(shot)
    hit = engine.search(image=shot)[0]
    assert Path(hit.path).name == "playable.webm" and hit.time is not None
    page.open(base)
    page.find("#file").send_keys(str(shot))
    page.wait_for("document.querySelector('.frame-time')")
    times = page.evaluate("[...document.querySelectorAll('.frame-time')].map((e) => e.textContent)")
    assert f"0:00:{int(hit.time):02}" in times
    page.open(base, f"/?see={hit.id[:16]}")
    page.wait_for(READY)
    page.wait_for(f"{STRIP}.length > 2")
    assert page.evaluate(f"{STRIP}.length") == len(engine.frames(hit.id).frames)
    shown = page.evaluate("document.querySelector('#detail-strip [aria-current]').textContent")
    assert shown == f"0:00:{int(hit.time):02}"
    page.click("#detail-play")
    page.wait_for("document.getElementById('detail-video').readyState >= 2")
    played = page.evaluate("document.getElementById('detail-video').currentTime")
    assert played == pytest.approx(hit.time, abs=1.5)
    assert list_violations(page) == []
    page.evaluate(f"{STRIP}[0].click()")
    page.wait_for("document.getElementById('detail-video').currentTime < 1.5")


def test_frames_are_shown_where_the_browser_cannot_play(
    page: Page, base: str, engine: Engine, tmp_path: Path
) -> None:
    hits = engine.search(image=take_screenshot(3), k=50)
    hit = next(hit for hit in hits if Path(hit.path).name == "other.avi")
    page.open(base, f"/?see={hit.id[:16]}")
    page.wait_for(READY)
    page.wait_for(f"{STRIP}.length > 1")
    page.click("#detail-play")
    page.wait_for("!document.getElementById('detail-unplayable').hidden")
    assert not page.find("#detail-video").is_displayed()
    other = engine.frames(hit.id).frames[0]
    page.evaluate(f"{STRIP}[0].click()")
    page.wait_for(f"location.search.includes('{other.id[:8]}')")
    page.wait_for(READY)


def test_a_part_of_a_frame_is_painted_over(
    page: Page, base: str, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restoration, "PAINT_SIDE", 32)
    shot = tmp_path / "shot.png"
    take_screenshot(1).save(shot)
    frame = engine.search(image=shot)[0]
    page.open(base, f"/?q=id:{frame.id[:16]}")
    page.wait_for_results()
    open_painting(page)
    draw(page, (0.2, 0.2), (0.4, 0.2))
    paint_and_wait(page)
    shown = "document.getElementById('query-image').{0}"
    size = [page.evaluate(shown.format(f"natural{side}")) for side in ("Width", "Height")]
    assert size == [frame.width, frame.height]
    page.wait_for("document.getElementById('restored-image').naturalWidth > 0")
    assert page.list_warnings() == []
