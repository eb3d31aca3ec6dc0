"""What somebody meets who uses the page for the first time, in a headless Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.browsing import CHROMIUM, DRIVER, MISSING, Page
from helpers.libraries import close_library, open_library
from helpers.pictures import paint
from helpers.serving import show_library
from PIL import Image
from selenium.webdriver.common.keys import Keys

from search import Engine

MANY = 130  # more than the page loads at once
PROBLEM = "document.getElementById('folder-problem').textContent"
SELECTED = "document.getElementById('selection-count').textContent"
OUTSIDE = """[...document.querySelectorAll(arguments[0])].filter((one) => {
  const { left, right, width } = one.getBoundingClientRect();
  return width && (left < 0 || right > innerWidth);
}).map(({ id }) => id)"""
LINES = """new Set([...document.querySelectorAll('#toolbar > *')].map((one) => {
  const { top, height } = one.getBoundingClientRect();
  return height && Math.round((top + height / 2) / 10);
}).filter(Boolean)).size"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason=MISSING),
]


@pytest.fixture
def engine(home: Path) -> Iterator[Engine]:
    engine = open_library(home)
    yield engine
    close_library(engine)


def fill(folder: Path, n: int) -> Path:
    """Write pictures of one colour each."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(n):
        color = (number % 8 * 30, number // 8 * 12, 128)
        Image.new("RGB", (40, 40), color).save(folder / f"{number:03}.png")
    return folder


def test_select_all_selects_pictures_that_are_not_loaded_yet(
    page: Page, engine: Engine, folder: Path
) -> None:
    engine.sync(fill(folder, MANY))
    with show_library(engine, page) as base:
        page.open(base)
        page.press_keys("a", held=Keys.CONTROL)
        page.wait_for(f"{SELECTED} === '{MANY} selected'")
        assert page.find("#selection-all").get_attribute("disabled")
        page.press_keys(Keys.ESCAPE)
        page.find("#grid .tile-checkbox").click()
        page.wait_for(f"{SELECTED} === '1 selected'")
        assert page.read_text("#selection-all") == f"Select all {MANY}"
        page.click("#selection-all")
        page.wait_for(f"{SELECTED} === '{MANY} selected'")


def test_on_a_phone_every_control_can_be_reached(page: Page, engine: Engine, folder: Path) -> None:
    engine.sync(fill(folder, 12))
    with show_library(engine, page) as base:
        page.resize(375, 812, touch=True)
        try:
            page.open(base)
            assert page.evaluate(LINES) == 1
            page.press_keys("a", held=Keys.CONTROL)
            page.wait_for(f"{SELECTED} === '12 selected'")
            assert page.evaluate(OUTSIDE, "#selection-bar :is(button, select), #toolbar *") == []
            names = [name for role, name in page.list_roles() if role == "button"]
            assert {"More like these", "Less like these"} <= set(names)
            page.press_keys(Keys.ESCAPE)
            page.click("#library")
            page.wait_for("document.getElementById('folders').open")
            assert page.evaluate("document.getElementById('folder-path').clientWidth") > 250
            assert page.evaluate(OUTSIDE, "#folders :is(button, input, select, a)") == []
        finally:
            page.resize(1280, 800)


def test_a_wrong_path_is_forgotten_when_another_is_looked_for(
    page: Page, engine: Engine, folder: Path
) -> None:
    fill(folder / "2024" / "May", 2)
    with show_library(engine, page, allow=[folder]) as base:
        page.open(base)
        page.click("#library")
        page.find("#folder-path").send_keys(f"{folder}/typo", Keys.ENTER)
        page.wait_for(f"{PROBLEM} !== ''")
        assert page.evaluate(PROBLEM) == (
            "There is no such folder. Check its spelling, or browse for it."
        )
        page.click("#browse")
        assert page.evaluate(PROBLEM) == ""
        page.click("#browser-list .folder-row")
        page.wait_for("document.getElementById('browser-list').textContent.includes('2024')")
        assert "0 pictures" not in page.read_text("#browser")  # its subfolder has some


def test_the_first_pictures_show_while_a_folder_is_indexed(
    page: Page, engine: Engine, folder: Path
) -> None:
    for number in range(2):
        paint(folder / f"{number}.jpg", number)
    index, is_waiting = engine.index, [True]

    def pause(*arguments: object, **more: object):  # type: ignore[no-untyped-def]
        for progress in index(*arguments, **more):  # type: ignore[arg-type]
            yield progress
            while is_waiting and engine.status().pictures:
                yield progress  # the job goes on after its first pictures

    engine.index = pause  # type: ignore[method-assign]
    with show_library(engine, page, allow=[folder]) as base:
        page.open(base)
        page.click("#library")
        page.find("#folder-path").send_keys(str(folder), Keys.ENTER)
        page.wait_for("document.querySelector('.job[data-state=running]')")
        page.wait_for("document.querySelectorAll('#grid li').length === 2")
        assert "2 pictures" in page.read_text("#folders-summary")
        assert page.find(".job").get_attribute("data-state") == "running"
        is_waiting.clear()
        page.wait_for("document.querySelector('.job[data-state=done]')")


def test_a_map_that_is_closed_asks_for_nothing(page: Page, engine: Engine, folder: Path) -> None:
    engine.sync(fill(folder, 1))
    with show_library(engine, page) as base:
        page.open(base)
        page.click("#map-open")
        page.wait_for("document.getElementById('map-summary').textContent.startsWith('No')")
        page.list_requests()
        page.press_keys("+")  # draws, and loads in a moment
        page.press_keys(Keys.ESCAPE)
        page.wait_for("!document.getElementById('map').open")
        page.click("#map-open")
        page.wait_for("document.getElementById('map-summary').textContent.startsWith('No')")
        requests = [url for url in page.list_requests() if "places" in url]
        assert requests and not any("NaN" in url or "Infinity" in url for url in requests)
