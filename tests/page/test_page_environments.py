"""The page in a headless Chromium: over plain HTTP, on the full screen, enlarged."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import test_page
from helpers.browsing import QUIET, Page
from selenium.webdriver.common.keys import Keys

pytestmark = test_page.pytestmark
photos, shared, client = test_page.photos, test_page.shared, test_page.client

INSECURE = """Object.defineProperty(Crypto.prototype, 'subtle', {get: () => undefined});
Object.defineProperty(Navigator.prototype, 'clipboard', {get: () => undefined});"""
"""What browsers leave out of a page that came over plain HTTP from another machine."""
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture
def insecure(page: Page) -> Iterator[Page]:
    script = page.cdp("Page.addScriptToEvaluateOnNewDocument", source=INSECURE)
    yield page
    page.cdp("Page.removeScriptToEvaluateOnNewDocument", **script)


# plain HTTP --------------------------------------------------------------------------------------


def read_clipboard(page: Page, field: str) -> str:
    """Paste into a text field, and return what is in it."""
    page.evaluate("document.querySelector(arguments[0]).focus()", field)
    page.press_keys("v", held=Keys.CONTROL)
    return str(page.wait_for("document.querySelector(arguments[0]).value", field))


def test_a_picture_is_searched_by_over_plain_http(insecure: Page, base: str, unknown: Path) -> None:
    page = insecure
    page.open(base)
    assert page.evaluate("[crypto.subtle, navigator.clipboard]") == [None, None]
    page.choose_file(unknown)
    assert page.wait_for_results("22 results")[0].startswith("03.jpg, …/photos/hat, ")
    page.choose_file(test_page.HAT)  # which the page cannot recognize without a digest
    page.wait_for("document.getElementById('query-name').textContent === '03.jpg'")
    assert page.wait_for_results("22 results")[0].startswith("03.jpg, …/photos/hat, ")
    assert page.read_address() == "/"
    assert page.list_warnings() == []


def test_texts_are_copied_over_plain_http(insecure: Page, base: str) -> None:
    page = insecure
    page.open(base, test_page.LINK)
    page.wait_for_results("22 results")
    page.click("#copy")
    page.wait_for("document.getElementById('toast').textContent")
    assert read_clipboard(page, "#term-words") == base + test_page.LINK
    page.evaluate("document.querySelectorAll('#grid .tile-checkbox')[1].click()")
    page.click("#selection-copy")
    page.wait_for("document.getElementById('toast').textContent.includes('copied')")
    page.evaluate("document.getElementById('term-words').value = ''")
    path = page.evaluate("document.querySelectorAll('#grid a')[1].title")
    assert read_clipboard(page, "#term-words") == path


# the full screen ---------------------------------------------------------------------------------


def test_a_picture_fills_the_screen(page: Page, base: str) -> None:
    full = "document.fullscreenElement?.id ?? ''"
    name = "document.getElementById('detail-name').textContent"
    page.open(base)
    page.click("#grid a")
    page.wait_for("document.querySelector('#detail-image.is-ready')")
    page.press_keys("f")
    page.wait_for(f"({full}) === 'detail-stage'")
    first = page.evaluate(name)
    page.press_keys(Keys.ARROW_RIGHT)  # the next picture, still on the full screen
    page.wait_for(f"{name} !== arguments[0]", first)
    assert page.evaluate(full) == "detail-stage"
    page.press_keys("f")
    page.wait_for(f"({full}) === ''")
    assert page.evaluate("document.getElementById('detail').open")
    page.click("#detail-full")
    page.wait_for(f"({full}) === 'detail-stage'")
    page.driver.back()  # which closes the large view
    page.wait_for(f"({full}) === '' && !document.getElementById('detail').open")


# enlarged ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", test_page.LINK, "/?q=hat&w=type%3Djpeg"])
def test_the_page_fits_when_it_is_enlarged(page: Page, base: str, path: str) -> None:
    """A window of 1280 x 800 pixels at 200 %."""
    page.resize(640, 400)
    page.open(base, path)
    page.wait_for(QUIET)
    assert page.evaluate(OVERFLOW) <= 0
    box = page.evaluate("document.getElementById('words').getBoundingClientRect().toJSON()")
    assert box["width"] >= 160 and box["height"] >= 24
    assert 0 <= box["left"] and box["right"] <= 640 and 0 <= box["top"] and box["bottom"] <= 400
    page.find("#words").send_keys(Keys.CONTROL, "a")
    page.find("#words").send_keys("shoe", Keys.ENTER)
    page.wait_for_results("22 results")
    assert page.read_address() == "/?q=shoe"
    page.press_keys("a", held=Keys.CONTROL)  # in the box, whose text it selects
    assert page.evaluate(OVERFLOW) <= 0


def test_dialogs_fit_when_the_page_is_enlarged(page: Page, base: str) -> None:
    page.resize(640, 400)
    page.emulate_media(prefers_reduced_motion="reduce")
    page.open(base, test_page.LINK)
    page.wait_for_results("22 results")
    wide = (
        "[...document.querySelectorAll('dialog[open], dialog[open] *')].filter((one) => {"
        " const style = getComputedStyle(one);"
        " return style.overflowX === 'auto' && one.scrollWidth > one.clientWidth + 1; })"
        ".map((one) => one.id || one.className)"
    )
    for opener, dialog in (
        ("#library", "folders"),
        ("[data-settings]", "settings"),
        ("#map-open", "map"),
        ("#filters-open", "finder-sheet"),
        ("#query-variants", "variants"),
        ("#grid a", "detail"),
    ):
        page.evaluate("document.querySelector(arguments[0]).click()", opener)
        page.wait_for("document.getElementById(arguments[0]).open", dialog)
        assert page.evaluate(wide) == [], dialog
        assert page.evaluate(OVERFLOW) <= 0
        edge = page.evaluate(
            "document.getElementById(arguments[0]).getBoundingClientRect().toJSON()", dialog
        )
        # the header leaves out what a scroll bar covers
        room = page.evaluate("document.querySelector('header').getBoundingClientRect().right")
        assert edge["left"] >= 0 and edge["right"] <= room, dialog
        assert edge["bottom"] <= 401, dialog
        page.press_keys(Keys.ESCAPE)
        page.wait_for("!document.getElementById(arguments[0]).open", dialog)
