"""Painting over a part of a query on the page: a mask is drawn by mouse, touch, pen and keys."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from helpers.browsing import CHROMIUM, DRIVER, MISSING, Page, browsing, list_violations
from helpers.libraries import close_library, open_library
from helpers.project import SAMPLES
from helpers.serving import serving
from helpers.variants import HAT, save
from helpers.web_site import serve_site
from PIL import Image
from selenium.webdriver.common.keys import Keys
from test_page import FOCUSED, LINK

from search import Engine
from search.errors import MaskError
from search.generation import restoration
from search.media.fetch import Fetcher
from search.records.restoration import RestoredPicture

Mask = npt.NDArray[np.bool_]
Point = tuple[float, float]

AREA = """(() => {
    const area = document.getElementById('painting-area');
    const {left, top, width, height} = area.getBoundingClientRect();
    return [left, top, width, height];
})()"""
ALPHA = """(() => {
    const canvas = document.getElementById('painting-mask');
    const {data} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    const marked = data.filter((value, i) => i % 4 === 3 && value > 127).length;
    return [canvas.width, canvas.height, marked];
})()"""
APPLIES = "!document.getElementById('painting-apply').ariaDisabled"
IS_OPEN = "document.getElementById('painting').open"
NAME = "document.getElementById('query-name').textContent"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason=MISSING),
]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An engine over a dozen hats, which paints with small weights, and coarsely."""
    place = tmp_path_factory.mktemp("page painting")
    patch = pytest.MonkeyPatch()
    patch.setattr(restoration, "PAINT_SIDE", 32)
    engine = open_library(place / "home", checkpoint=save(place / "small.safetensors"))
    engine.library.fetcher = Fetcher(
        10**6, 5.0, resolve=lambda *_: ["127.0.0.1"], allowed=lambda _: True
    )
    engine.sync(SAMPLES / "hat")
    yield engine
    close_library(engine)
    patch.undo()


@pytest.fixture
def masks(monkeypatch: pytest.MonkeyPatch) -> list[Mask]:
    """The masks that came to the server, (H, W), true where they are white."""
    came: list[Mask] = []
    restore = Engine.restore_picture

    def record(engine: Engine, *of: Any, mask: Any = None, **more: Any) -> RestoredPicture:
        if mask is not None:
            with Image.open(io.BytesIO(mask)) as picture:
                came.append(np.asarray(picture.convert("L")) > 127)
        return restore(engine, *of, mask=mask, **more)

    monkeypatch.setattr(Engine, "restore_picture", record)
    return came


def open_painting(page: Page) -> None:
    """Open the view for the picture that is shown large, and wait for it."""
    page.wait_for("!document.getElementById('paint').hidden")
    page.click("#paint")
    page.wait_for("!document.getElementById('painting-area').hidden")


def locate(page: Page, points: Sequence[Point]) -> list[Point]:
    """Return points, in shares of the picture, as pixels of the window."""
    left, top, width, height = page.evaluate(AREA)
    return [(left + x * width, top + y * height) for x, y in points]


def draw(page: Page, *points: Point, pointer: str = "mouse") -> None:
    """Draw a stroke through points, in shares of the picture."""
    places = locate(page, points)
    kinds = ["mousePressed", *["mouseMoved"] * (len(places) - 1), "mouseReleased"]
    for kind, (x, y) in zip(kinds, [*places, places[-1]], strict=True):
        pressed = {"button": "left", "buttons": int(kind != "mouseReleased")}
        more = {**pressed, "clickCount": 1, "pointerType": pointer}
        page.cdp("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)


def turn_pen(page: Page, point: Point) -> None:
    """Touch a point by the other end of a pen, which the DevTools protocol has no button for."""
    ((x, y),) = locate(page, [point])
    page.evaluate(
        "['pointerdown', 'pointerup'].map((name, i) => document.getElementById('painting-area')"
        ".dispatchEvent(new PointerEvent(name, {button: 5, buttons: i ? 0 : 32, pointerId: 1,"
        " pointerType: 'pen', clientX: arguments[0], clientY: arguments[1]})))",
        x,
        y,
    )


def draw_by_finger(page: Page, *points: Point) -> None:
    places = locate(page, points)
    kinds = ["touchStart", *["touchMove"] * (len(places) - 1)]
    for kind, (x, y) in zip(kinds, places, strict=True):
        page.cdp("Input.dispatchTouchEvent", type=kind, touchPoints=[{"x": x, "y": y}])
    page.cdp("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])


def count_marked(page: Page) -> int:
    """Return the number of pixels that are marked."""
    return int(page.evaluate(ALPHA)[2])


def find_middle(mask: Mask) -> tuple[float, float]:
    """Return the middle of what a mask covers, in shares from the left and the top."""
    rows, columns = mask.nonzero()
    height, width = mask.shape
    return float(columns.mean() / width), float(rows.mean() / height)


def paint_and_wait(page: Page) -> None:
    """Apply the mask and wait for the answer."""
    page.click("#painting-apply")
    page.wait_for(f"!{IS_OPEN} && document.querySelector('#stage.is-ready')")
    page.wait_for_results()


def read_scores(page: Page) -> list[tuple[str, str]]:
    """Return name and score of each hit."""
    return [(name, score) for name, *_, score in (one.split(", ") for one in page.list_labels())]


def read_shown(page: Page) -> npt.NDArray[np.int16]:
    """Return the pixels of the picture that is searched by, (H, W, 3)."""
    url = page.driver.execute_async_script(
        """const done = arguments[0], image = document.getElementById('query-image');
        image.decode().then(() => {
            const canvas = document.createElement('canvas');
            Object.assign(canvas, {width: image.naturalWidth, height: image.naturalHeight});
            canvas.getContext('2d').drawImage(image, 0, 0);
            done(canvas.toDataURL());
        })"""
    )
    with Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) as picture:
        return np.asarray(picture.convert("RGB"), np.int16)


# drawing -----------------------------------------------------------------------------------------


def test_a_stroke_is_painted_over_and_searched_by(
    page: Page, base: str, masks: list[Mask], unknown: Path
) -> None:
    page.open(base)
    page.choose_file(unknown)
    page.wait_for_results()
    before = read_scores(page)
    open_painting(page)
    assert page.evaluate(APPLIES) is False
    assert page.read_text("#painting-state") == "Nothing is marked yet."
    draw(page, (0.2, 0.25), (0.3, 0.25), (0.4, 0.25))
    assert page.evaluate(APPLIES) is True
    assert "of the picture is marked" in page.read_text("#painting-state")
    paint_and_wait(page)
    (mask,) = masks
    assert mask.shape == (400, 300)  # that of the picture
    x, y = find_middle(mask)
    assert abs(x - 0.3) < 0.01 and abs(y - 0.25) < 0.01
    assert 0.01 < mask.mean() < 0.1
    with Image.open(unknown) as file:
        original = np.asarray(file.convert("RGB"), np.int16)
    changed = (read_shown(page) != original).any(axis=-1)
    assert changed.any() and not changed[~mask].any()
    assert read_scores(page) != before
    assert page.read_text("#query-kind") == "Your picture, a part painted over"
    page.wait_for("document.getElementById('restored-image').naturalWidth === 300")
    assert page.read_text("#restored-caption") == "before a part was painted over"
    page.click("#restored-undo")
    page.wait_for(f"{NAME} === 'my hat.png' && document.getElementById('restored-from').hidden")
    page.wait_for_results()
    assert read_scores(page) == before
    assert page.list_warnings() == []


@pytest.mark.parametrize("ending", ["jpg", "tiff"])
def test_the_mask_of_a_turned_picture_is_upright(
    page: Page, base: str, masks: list[Mask], tmp_path: Path, ending: str
) -> None:
    """Cameras write pixels as they lie on the sensor, and how to turn them. Browsers do not show
    TIFF, so that the server does."""
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    path = tmp_path / f"turned.{ending}"
    with Image.open(HAT) as hat:
        hat.convert("RGB").resize((1500, 1000)).save(path, exif=exif)
    page.open(base)
    page.choose_file(path)
    page.wait_for_results()
    open_painting(page)
    _, _, width, height = page.evaluate(AREA)
    assert abs(width / height - 2 / 3) < 0.01
    draw(page, (0.8, 0.1), (0.9, 0.1))
    paint_and_wait(page)
    (mask,) = masks
    assert mask.shape == (768, 512)
    x, y = find_middle(mask)
    assert abs(x - 0.85) < 0.02 and abs(y - 0.1) < 0.02
    assert read_shown(page).shape == (768, 512, 3)


def test_a_part_under_a_crop_is_painted_over(page: Page, base: str, masks: list[Mask]) -> None:
    page.open(base, f"{LINK}&crop=50,25,40,50")
    page.wait_for_results()
    open_painting(page)
    width, height, _ = page.evaluate(ALPHA)
    draw(page, (0.5, 0.5), (0.6, 0.5))
    paint_and_wait(page)
    (mask,) = masks
    x, y = find_middle(mask)
    assert abs(x - (0.5 + 0.4 * 0.55)) < 0.01 and abs(y - 0.5) < 0.01  # of the whole picture
    assert abs(page.evaluate("document.getElementById('query-image').naturalWidth") - width) <= 1
    assert page.evaluate("document.querySelector('.crop').hidden") is True
    ratio = "document.getElementById('restored-image').{0}"
    shown = page.wait_for(f"{ratio.format('naturalWidth')} / {ratio.format('naturalHeight')}")
    assert abs(shown - width / height) < 0.02
    page.click("#restored-undo")
    page.wait_for("document.querySelector('.crop').hidden === false")
    assert page.read_address() == f"{LINK}&crop=50,25,40,50"


def test_strokes_are_erased_taken_back_and_cleared(page: Page, base: str) -> None:
    page.open(base, LINK)
    open_painting(page)
    counts = []
    for points in ([(0.2, 0.2), (0.8, 0.2)], [(0.2, 0.8), (0.8, 0.8)]):
        draw(page, *points)
        counts.append(count_marked(page))
    assert 0 < counts[0] < counts[1]
    page.click("label:has(#painting-eraser)")
    draw(page, (0.2, 0.2), (0.8, 0.2))
    assert counts[1] - counts[0] <= count_marked(page) < counts[1] - 0.9 * counts[0]
    page.click("#painting-undo")
    assert count_marked(page) == counts[1]
    page.click("#painting-clear")
    assert count_marked(page) == 0 and page.evaluate(APPLIES) is False
    page.click("#painting-apply")  # does nothing
    page.press_keys("z", held=Keys.CONTROL)  # what was cleared comes back
    assert count_marked(page) == counts[1] and page.evaluate(APPLIES) is True
    page.press_keys("zz", held=Keys.CONTROL)
    assert count_marked(page) == 0
    assert page.evaluate("document.getElementById('painting-undo').ariaDisabled") == "true"
    page.click("label:has(#painting-drawer)")
    draw(page, (0.5, 0.5), pointer="pen")
    spot = count_marked(page)
    assert spot > 0
    turn_pen(page, (0.5, 0.5))
    assert count_marked(page) < spot / 10
    assert page.list_warnings() == []


def test_everything_cannot_be_painted_over(page: Page, base: str, tmp_path: Path) -> None:
    """As in a picture that is smaller than the brush."""
    Image.new("RGB", (2, 2), (200, 30, 30)).save(tmp_path / "tiny.png")
    page.open(base)
    page.choose_file(tmp_path / "tiny.png")
    page.wait_for_results()
    open_painting(page)
    page.evaluate("document.getElementById('painting-size').value = 60")
    draw(page, (0.05, 0.2), (0.95, 0.2), (0.95, 0.8), (0.05, 0.8), (0.05, 0.2), (0.95, 0.5))
    assert page.read_text("#painting-state").startswith("Everything is marked.")
    assert page.evaluate(APPLIES) is False


def test_a_finger_draws(page: Page, base: str, masks: list[Mask]) -> None:
    page.resize(390, 844, touch=True)
    try:
        page.open(base, LINK)
        open_painting(page)
        draw_by_finger(page, (0.3, 0.6), (0.5, 0.6), (0.7, 0.6))
        assert page.evaluate("scrollY") == 0
        assert page.evaluate("document.getElementById('painting-brush').hidden") is True
        paint_and_wait(page)
    finally:
        page.resize(1280, 800)
    x, y = find_middle(masks[0])
    assert abs(x - 0.5) < 0.02 and abs(y - 0.6) < 0.02


# the keyboard ------------------------------------------------------------------------------------


def test_a_mask_is_drawn_and_applied_by_keys(page: Page, base: str, masks: list[Mask]) -> None:
    page.open(base, LINK)
    page.wait_for("!document.getElementById('paint').hidden")
    page.evaluate("document.getElementById('paint').focus()")
    page.press_keys(Keys.ENTER)
    page.wait_for(f"{FOCUSED}.id === 'painting-area'")
    page.wait_for("!document.getElementById('painting-brush').hidden")  # where it draws
    page.press_keys(Keys.SPACE)
    spot = count_marked(page)
    assert spot > 0
    page.press_keys("z", held=Keys.CONTROL)
    assert count_marked(page) == 0
    page.press_keys("]", "]", Keys.SPACE)
    larger = count_marked(page)
    assert larger > 1.5 * spot
    page.press_keys(*[Keys.ARROW_RIGHT] * 4)
    assert count_marked(page) == larger  # moves only
    page.press_keys(*[Keys.ARROW_DOWN] * 4, held=Keys.SHIFT)
    assert count_marked(page) > 2 * larger
    page.press_keys("z", held=Keys.CONTROL)
    assert count_marked(page) == larger  # the keys drew one stroke
    page.press_keys("[", Keys.ENTER)
    page.wait_for(f"!{IS_OPEN}")
    page.wait_for(f"{NAME} === 'painted.png'")
    x, y = find_middle(masks[0])
    assert abs(x - 0.5) < 0.01 and abs(y - 0.5) < 0.01
    assert page.evaluate(f"{FOCUSED}.id") == "paint"


def test_escape_and_cancel_leave_the_query(page: Page, base: str, masks: list[Mask]) -> None:
    page.open(base, LINK)
    page.wait_for_results()
    length = page.evaluate("history.length")
    for leave in (
        lambda: page.press_keys(Keys.ESCAPE),
        lambda: page.click("#painting-cancel"),
        lambda: page.click("#painting-close"),
    ):
        open_painting(page)
        draw(page, (0.5, 0.5))
        leave()
        page.wait_for(f"!{IS_OPEN} && {FOCUSED}.id === 'paint'")
    open_painting(page)
    assert count_marked(page) == 0  # what was cancelled is gone
    assert page.read_address() == LINK and page.evaluate("history.length") == length
    assert masks == []


def test_painting_can_be_cancelled(page: Page, base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes after it changes nothing."""
    page.open(base, LINK)
    open_painting(page)
    draw(page, (0.5, 0.5))
    page.click("#painting-apply")
    page.wait_for("!document.getElementById('painting-progress').hidden")
    page.press_keys(Keys.ESCAPE)
    page.wait_for(f"!{IS_OPEN}")
    open_painting(page)  # waits for the server, which has done the other by then
    assert page.read_address() == LINK and count_marked(page) == 0
    assert not page.read_text("#painting-problem")


# the query ---------------------------------------------------------------------------------------


def test_a_mask_stays_after_a_reload_and_can_be_changed(
    page: Page, base: str, masks: list[Mask]
) -> None:
    page.open(base, LINK)
    page.wait_for_results()
    open_painting(page)
    draw(page, (0.25, 0.25))
    paint_and_wait(page)
    assert page.read_address() == "/"
    page.driver.refresh()
    page.wait_for_results()
    assert page.read_text("#paint") == "Change the painted part"
    page.wait_for("document.getElementById('restored-image').naturalWidth > 0")
    open_painting(page)
    assert abs(count_marked(page) / masks[0].sum() - 1) < 0.02
    draw(page, (0.75, 0.25))
    paint_and_wait(page)
    x, y = find_middle(masks[1])
    assert abs(x - 0.5) < 0.01 and abs(y - 0.25) < 0.01
    assert abs(masks[1].sum() / masks[0].sum() - 2) < 0.1
    page.driver.back()
    page.driver.back()
    page.wait_for_results()
    page.wait_for("document.getElementById('restored-from').hidden")
    assert page.read_address() == LINK and page.read_text("#paint") == "Paint over a part"
    page.driver.forward()
    page.wait_for("!document.getElementById('restored-from').hidden")


def test_a_mask_belongs_to_one_picture_of_several(
    page: Page, base: str, masks: list[Mask], shared: Engine
) -> None:
    other = shared.find_id(SAMPLES / "hat" / "05.jpg")[:16]
    ids = [LINK.rpartition(":")[2], other]
    page.open(base, f"/?t=2;;id:{ids[0]}&t=1;;id:{ids[1]}&t=-1;;red")
    page.wait_for_results()
    page.click("[data-place='1'] .term-picture")
    page.wait_for("document.querySelector('#stage.is-ready')")
    open_painting(page)
    draw(page, (0.5, 0.9))
    paint_and_wait(page)
    names = page.evaluate("[...document.querySelectorAll('.term-name')].map(e => e.textContent)")
    assert names == ["03.jpg", "painted.png", "red"]
    assert page.read_text("[data-place='1'] output") == "× 1"
    assert page.read_text("[data-place='0'] output") == "× 2"
    page.click("[data-place='0'] .term-picture")
    page.wait_for("document.getElementById('restored-from').hidden")
    assert len(masks) == 1


def test_a_picture_of_a_web_page_is_painted_over(
    page: Page, base: str, masks: list[Mask], unknown: Path
) -> None:
    with serve_site() as site:
        site.files["/hat.png"] = unknown.read_bytes()
        site.files["/page"] = '<meta property="og:image" content="/hat.png">'
        page.open(base, f"/?q={site.url}/page")
        page.wait_for_results()
        open_painting(page)
        draw(page, (0.5, 0.1))
        paint_and_wait(page)
        assert masks[0].shape == (400, 300)
        page.wait_for("document.getElementById('restored-image').naturalWidth === 300")
        page.click("#restored-undo")
        page.wait_for_results()
        assert page.read_address() == f"/?q={site.url}/page"
        assert f"{site.url}/page" in page.read_text("#reading")


def test_a_painted_search_is_saved(page: Page, base: str, masks: list[Mask]) -> None:
    """With its painted picture, which is all that it needs."""
    page.open(base, LINK)
    open_painting(page)
    draw(page, (0.5, 0.5), (0.7, 0.5))
    paint_and_wait(page)
    scores = read_scores(page)
    page.click("#search-save")
    page.wait_for("document.getElementById('ask').open")
    page.find("#ask-text").clear()
    page.find("#ask-text").send_keys("without the middle", Keys.ENTER)
    page.wait_for("document.getElementById('toast').textContent.includes('without the middle')")
    page.click(".brand")
    page.wait_for("document.querySelector('#saved-start .saved-open')?.checkVisibility()")
    page.click("#saved-start .saved-open")
    page.wait_for("document.querySelector('#stage.is-ready')")
    page.wait_for_results()
    assert read_scores(page) == scores and len(masks) == 1


def test_what_is_drawn_stays_when_the_library_knows_the_picture(
    page: Page, base: str, masks: list[Mask]
) -> None:
    """A file that the library holds gets its address there a while after it was chosen."""
    page.open(base)
    page.driver.execute_script(
        "const digest = crypto.subtle.digest.bind(crypto.subtle);"
        "const released = new Promise((resolve) => { window.release = resolve; });"
        "crypto.subtle.digest = async (...of) => { await released; return digest(...of); }"
    )
    page.choose_file(HAT)
    page.wait_for_results()
    open_painting(page)
    draw(page, (0.5, 0.5))
    page.driver.execute_script("window.release()")
    page.wait_for("location.search.startsWith('?q=id:')")
    assert page.evaluate(IS_OPEN) is True and count_marked(page) > 0
    paint_and_wait(page)
    assert page.read_text("#query-name") == "painted.png" and len(masks) == 1


# problems ----------------------------------------------------------------------------------------


def test_a_mask_that_the_server_refuses_stays_to_be_changed(
    page: Page, base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    page.open(base, LINK)
    open_painting(page)
    draw(page, (0.5, 0.5))

    def refuse(*_: Any, **__: Any) -> RestoredPicture:
        raise MaskError("the mask is white everywhere; make the part black that should stay")

    monkeypatch.setattr(Engine, "restore_picture", refuse)
    page.click("#painting-apply")
    page.wait_for("document.getElementById('painting-problem').textContent")
    assert "the part black that should stay" in page.read_text("#painting-problem")
    assert page.evaluate(f"{IS_OPEN} && {APPLIES}") is True and count_marked(page) > 0


def test_what_cannot_paint_does_not_offer_it(page: Page, tmp_path: Path) -> None:
    engine = open_library(tmp_path / "home", checkpoint=tmp_path / "missing.safetensors")
    engine.sync(SAMPLES / "hat")
    with serving(engine) as client:
        page.open(str(client.base_url), LINK)
        page.wait_for_results()
        page.list_requests()
        page.driver.refresh()
        page.wait_for_results()
        page.wait_for(
            "performance.getEntriesByType('resource').some("
            "one => one.name.endsWith('/restored') && one.responseEnd)"
        )
        assert page.evaluate("document.getElementById('paint').hidden") is True
    close_library(engine)


def test_the_view_has_no_violations(page: Page, base: str) -> None:
    page.open(base, LINK)
    open_painting(page)
    draw(page, (0.5, 0.5))
    assert list_violations(page) == []
    roles = page.list_roles()
    assert ("dialog", "Paint over a part of the picture") in roles
    assert ("slider", "Size") in roles and ("radio", "Eraser") in roles
    assert ("group", "Drawing area over the picture") in roles


def test_the_view_is_in_chinese(base: str, tmp_path: Path) -> None:
    with browsing(tmp_path, "zh-CN,zh") as page:
        page.open(base, LINK)
        page.wait_for("!document.getElementById('paint').hidden")
        assert page.read_text("#paint") == "涂掉一部分"
        open_painting(page)
        draw(page, (0.5, 0.5))
        assert "已标记图片的" in page.read_text("#painting-state")
