"""The page in a headless Chromium: the large view with the text in pictures, fingers, and stars."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.browsing import CHROMIUM, DRIVER, MISSING, QUIET, Page, list_violations
from helpers.libraries import close_library, find_id, open_library
from helpers.serving import own_base, until
from helpers.texts import CHINESE, ENGLISH, write_text
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from search import Engine
from search.records.annotations import Change
from search.records.captions import ModelCaption
from search.records.texts import PictureText, TextLine

TEXTS = (ENGLISH, CHINESE)
SIZE = (640, 240)
LINES = "[...document.querySelectorAll('.text-line')]"
RECTANGLES = (
    "arguments[0].map(css => document.querySelector(css).getBoundingClientRect())"
    ".map(r => [r.x, r.y, r.width, r.height])"
)
"""Measured at once: the picture moves on its way to another zoom."""
CAPTION = "document.getElementById('mark-caption').value"
READY = "document.querySelector('#detail-image.is-ready')"
PRESSED = "document.getElementById('detail-text-show').ariaPressed"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason=MISSING),
]
base = own_base


def box(left: float, top: float, right: float, bottom: float) -> tuple[tuple[float, float], ...]:
    return (left, top), (right, top), (right, bottom), (left, bottom)


BOXES = (box(0.03, 0.13, 0.55, 0.28), box(0.03, 0.38, 0.4, 0.53))
TALL = ((0.9, 0.1), (0.95, 0.1), (0.95, 0.9), (0.9, 0.9))


@pytest.fixture
def engine(home: Path, folder: Path) -> Iterator[Engine]:
    """A library of a picture with lines of text, and one without."""
    write_text(folder / "text.png", TEXTS, SIZE)
    write_text(folder / "blank.png", [], SIZE)
    engine = open_library(home)
    engine.sync(folder)
    lines = [TextLine(text, 0.9, one) for text, one in zip(TEXTS, BOXES, strict=True)]
    read = PictureText((*lines, TextLine("down", 0.9, TALL)), "m" * 16)
    row_id = engine.library.reader.resolve(find_id(engine, "text"))
    engine.library.texts.record({row_id: read})
    yield engine
    close_library(engine)


def test_a_caption_of_a_model_is_marked(page: Page, base: str, engine: Engine) -> None:
    picture_id = find_id(engine, "text")
    row_id = engine.library.reader.resolve(picture_id)
    engine.library.captions.record({row_id: ModelCaption("a sign on a wall", "m" * 16)})
    open_view(page, base, engine)
    assert page.evaluate(CAPTION) == "a sign on a wall"
    assert "by a model" in page.read_text("#mark-caption-note")
    engine.tags.change([picture_id], Change(caption="My sign"))
    open_view(page, base, engine)
    assert page.evaluate(CAPTION) == "My sign"
    assert page.read_text("#mark-caption-note") == ""


def test_a_caption_is_written_and_taken_back(page: Page, base: str, engine: Engine) -> None:
    picture_id = find_id(engine, "text")
    row_id = engine.library.reader.resolve(picture_id)
    engine.library.captions.record({row_id: ModelCaption("a sign on a wall", "m" * 16)})

    def read() -> tuple[str | None, str | None]:
        notes = engine.picture(picture_id).annotations
        return notes.caption, notes.caption_origin

    open_view(page, base, engine)
    field = page.find("#mark-caption")
    field.send_keys(" never kept", Keys.ESCAPE)
    assert page.evaluate(CAPTION) == "a sign on a wall"
    assert page.evaluate("document.getElementById('detail').open")
    field.clear()  # tells of a change, as leaving the field does
    page.wait_for("document.getElementById('toast').textContent.includes('saved')")
    until(lambda: not read()[0])
    page.wait_for("document.getElementById('mark-caption-note').textContent === ''")
    field.send_keys("Ada, 3 and +5", Keys.ENTER)  # neither stars nor zoom
    until(lambda: read() == ("Ada, 3 and +5", "person"))
    assert engine.picture(picture_id).annotations.rating is None
    page.wait_for("document.activeElement.id !== 'mark-caption'")
    field.clear()
    until(lambda: read() == ("a sign on a wall", "model"))
    page.wait_for("document.getElementById('mark-caption-note').textContent.includes('model')")


def open_view(page: Page, base: str, engine: Engine, name: str = "text") -> None:
    page.open(base, f"/?see={find_id(engine, name)[:16]}")
    page.wait_for(READY)
    page.wait_for("document.querySelectorAll('#detail-facts dd').length > 3")


def check_boxes(page: Page) -> None:
    """Check that the frames are where the lines are on the picture."""
    lines = [*BOXES, TALL]
    frames = [f".text-line:nth-child({i})" for i in range(1, len(lines) + 1)]
    (left, top, width, height), *rectangles = page.evaluate(RECTANGLES, ["#detail-image", *frames])
    for corners, frame in zip(lines, rectangles, strict=True):
        (x0, y0), _, (x1, y1), _ = corners
        expected = [left + x0 * width, top + y0 * height, (x1 - x0) * width, (y1 - y0) * height]
        assert frame == pytest.approx(expected, abs=1.5)


def show_text(page: Page) -> None:
    """Show the frames, once the text of the picture is there."""
    page.wait_for("!document.getElementById('detail-text-show').hidden")
    page.press_keys("t")
    page.wait_for(f"{PRESSED} === 'true' && {LINES}.length === 3")


# text in the picture -----------------------------------------------------------------------------


def test_text_is_framed_selected_and_copied(page: Page, base: str, engine: Engine) -> None:
    page.cdp("Browser.grantPermissions", permissions=["clipboardReadWrite"])
    open_view(page, base, engine)
    page.wait_for("!document.getElementById('detail-text-show').hidden")
    assert not page.find("#detail-text").is_displayed()
    show_text(page)
    check_boxes(page)
    line = page.find(".text-line")
    half = line.size["width"] // 2
    drag = ActionChains(page.driver, duration=10).move_to_element_with_offset(line, 1 - half, 0)
    drag.click_and_hold().move_by_offset(half, 0).move_by_offset(half - 2, 0).release().perform()
    assert page.evaluate("getSelection().toString()") == ENGLISH
    assert not page.evaluate("document.querySelector('#detail-stage.is-zoomed')")
    page.click("#detail-text-copy")
    page.wait_for("document.getElementById('toast').textContent.includes('copied')")
    script = "navigator.clipboard.readText().then(arguments[0])"
    assert page.driver.execute_async_script(script).splitlines() == [*TEXTS, "down"]
    assert list_violations(page) == []
    page.click("#detail-text-show")
    assert not page.find("#detail-text").is_displayed()


def test_frames_follow_zoom_and_size(page: Page, base: str, engine: Engine) -> None:
    open_view(page, base, engine)
    page.wait_for("!document.getElementById('detail-text-show').hidden")
    page.click("#detail-text-show")
    for keys in ((), ("+", "+", "+"), (Keys.ARROW_RIGHT, Keys.ARROW_DOWN)):
        page.press_keys(*keys)
        check_boxes(page)
    page.press_keys("0")
    page.resize(700, 900)
    left = "document.getElementById('{}').offsetLeft"
    page.wait_for(f"{left.format('detail-text')} === {left.format('detail-image')}")
    check_boxes(page)


def test_a_picture_without_text_offers_none(page: Page, base: str, engine: Engine) -> None:
    open_view(page, base, engine)
    show_text(page)
    step = Keys.ARROW_RIGHT if page.find("#detail-next").is_enabled() else Keys.ARROW_LEFT
    page.press_keys(step)
    page.wait_for("document.getElementById('detail-name').textContent === 'blank.png'")
    page.wait_for("document.querySelectorAll('#detail-facts dd').length > 3")
    assert not page.find("#detail-text-show").is_displayed()
    assert page.evaluate(f"{LINES}.length") == 0
    back = Keys.ARROW_LEFT if step == Keys.ARROW_RIGHT else Keys.ARROW_RIGHT
    page.press_keys(back)  # the choice holds for the next picture with text
    page.wait_for(f"{PRESSED} === 'true' && {LINES}.length === 3")


# fingers and keys --------------------------------------------------------------------------------


def touch(page: Page, kind: str, *xs: float) -> None:
    points = [{"x": x, "y": 200, "id": i} for i, x in enumerate(xs)]
    page.cdp("Input.dispatchTouchEvent", type=kind, touchPoints=points)


def test_two_fingers_zoom_at_their_middle(page: Page, base: str, engine: Engine) -> None:
    page.resize(390, 844, touch=True)
    open_view(page, base, engine)
    show_text(page)
    (before,) = page.evaluate(RECTANGLES, ["#detail-image"])
    middle = before[0] + before[2] / 2
    touch(page, "touchStart", middle - 30)
    touch(page, "touchStart", middle - 30, middle + 30)
    touch(page, "touchMove", middle - 60, middle + 60)
    touch(page, "touchMove", middle - 90, middle + 90)
    page.wait_for("document.querySelector('#detail-stage.is-zoomed')")
    touch(page, "touchEnd")
    (after,) = page.evaluate(RECTANGLES, ["#detail-image"])
    assert after[2] == pytest.approx(3 * before[2], rel=0.02)
    assert after[0] + after[2] / 2 == pytest.approx(middle, abs=2)
    check_boxes(page)
    assert page.evaluate("document.getElementById('detail').open")  # and no swipe
    assert page.evaluate("document.getElementById('detail-name').textContent") == "text.png"
    touch(page, "touchStart", 100)
    touch(page, "touchStart", 100, 300)
    touch(page, "touchMove", 190, 210)
    page.wait_for("!document.querySelector('#detail-stage.is-zoomed')")
    touch(page, "touchEnd")


def test_stars_by_keyboard(page: Page, base: str, engine: Engine) -> None:
    identity = find_id(engine, "text")
    pressed = "document.querySelectorAll('#mark-stars [aria-pressed=true]').length"
    open_view(page, base, engine)
    page.press_keys("4")
    page.wait_for(f"{pressed} === 4")
    page.press_keys("2")
    page.wait_for(f"{pressed} === 2")
    assert engine.picture(identity).annotations.rating == 2
    page.press_keys("2")  # again: none
    page.wait_for(f"{pressed} === 0")
    page.evaluate("document.querySelector('#mark-stars button:nth-child(3)').focus()")
    page.press_keys(Keys.ENTER)
    page.wait_for(f"{pressed} === 3")
    page.find("#mark-tag").send_keys("5")  # a tag is typed
    assert page.evaluate(pressed) == 3
    assert engine.picture(identity).annotations.rating == 3


def test_the_selection_is_rated_and_hidden_by_keyboard(
    page: Page, base: str, engine: Engine
) -> None:
    shown = "document.querySelectorAll('#grid li').length"
    message = "document.getElementById('toast').textContent.includes(arguments[0])"
    page.open(base, "/?w=name%3Dtext")
    page.wait_for(f"{shown} === 1")
    page.evaluate("document.querySelector('#grid a').focus()")
    page.press_keys(" ")
    page.evaluate("document.getElementById('selection-rating').focus()")
    page.press_keys(Keys.ARROW_DOWN, Keys.ARROW_DOWN, Keys.ENTER)
    page.wait_for(message, "1 picture")
    assert engine.picture(find_id(engine, "text")).annotations.rating is not None
    page.wait_for(f"{shown} === 1 && !document.getElementById('selection-bar').hidden")
    page.evaluate("document.getElementById('selection-hide').focus()")
    page.press_keys(Keys.ENTER)
    page.wait_for(f"{shown} === 0")
    assert engine.browse(hidden=True).total == 1
    page.evaluate("document.querySelector('#toast button').focus()")
    page.press_keys(Keys.ENTER)  # undo
    page.wait_for(f"{shown} === 1")
    assert engine.browse(hidden=True).total == 0


def test_a_tile_is_made_a_favourite_by_click_and_keyboard(
    page: Page, base: str, engine: Engine
) -> None:
    identity = find_id(engine, "text")
    heart = f"li:has(a[href*='{identity[:16]}']) .tile-favourite"
    pressed = "document.querySelector(arguments[0])?.getAttribute('aria-pressed') === arguments[1]"
    opacity = "getComputedStyle(document.querySelector(arguments[0])).opacity"
    page.open(base)
    page.wait_for(f"{QUIET} && document.querySelector(arguments[0])", heart)
    page.evaluate("document.querySelector(arguments[0]).click()", heart)
    page.wait_for(pressed, heart, "true")
    page.wait_for(f"{opacity} === '1'", heart)
    until(lambda: engine.picture(identity).annotations.favourite)
    assert page.evaluate("document.getElementById('selection-bar').hidden")
    label = "document.querySelector(arguments[0]).ariaLabel"
    assert page.evaluate(label, heart) == "Favourite: text.png"
    page.open(base, f"/?q=id:{identity[:16]}")  # an answer knows it too
    page.wait_for(pressed, heart, "true")
    page.evaluate("document.querySelector('#grid a').focus()")
    page.press_keys(Keys.TAB)
    page.wait_for("document.activeElement === document.querySelector(arguments[0])", heart)
    page.press_keys(" ")  # which presses it, and selects nothing
    page.wait_for(pressed, heart, "false")
    until(lambda: not engine.picture(identity).annotations.favourite)
    assert page.evaluate("document.getElementById('selection-bar').hidden")
    page.click("#grid a")  # the large view marks it, and the tile follows
    page.wait_for("document.getElementById('marks')?.hidden === false")
    page.click("#mark-favourite")
    page.wait_for(pressed, heart, "true")
