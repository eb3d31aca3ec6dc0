"""The page in a headless Chromium: uploads, results, folders, problems, languages."""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import numpy as np
import pytest
from helpers.browsing import CHROMIUM, DRIVER, MISSING, QUIET, Page, browsing
from helpers.libraries import close_library, open_library
from helpers.pictures import jpeg, paint
from helpers.project import SAMPLES
from helpers.serving import serving, until
from PIL import Image
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

import search
from search import Engine
from search.api.auth import Access
from search.api.problems import CODES
from search.catalog.writes import ExtractedFile
from search.media.fetch import Fetcher
from search.records.indexing import SKIP_CODES, Progress
from search.records.pictures import Metadata
from search.types import FileEntry

HAT = SAMPLES / "hat" / "03.jpg"
ID = hashlib.sha256(HAT.read_bytes()).hexdigest()
LINK = f"/?q=id:{ID[:16]}"
HITS = 5000
FIRST = "document.querySelector('#grid a')?.getAttribute('aria-label')"
FOCUSED = "document.activeElement"
CROP = "document.querySelector('.crop').hidden === false"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason=MISSING),
]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page") / "photos"
    for kind in ("hat", "shoes"):
        shutil.copytree(SAMPLES / kind, folder / kind)
    return folder


@pytest.fixture(scope="module")
def shared(photos: Path) -> Iterator[Engine]:
    """An engine over 22 sample pictures, with small limits. It fetches URLs of this machine."""
    engine = open_library(photos.parent / "home", upload_bytes=400_000)
    engine.library.fetcher = Fetcher(
        400_000, 5.0, resolve=lambda *_: ["127.0.0.1"], allowed=lambda _: True
    )
    engine.sync(photos)
    yield engine
    close_library(engine)


@pytest.fixture(scope="module")
def client(shared: Engine, photos: Path) -> Iterator[httpx.Client]:
    with serving(shared, allow=[photos.parent]) as client:
        yield client


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    """The address of a server with the pictures below `tmp_path`."""
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    handler.log_message = lambda *_: None  # type: ignore[attr-defined]
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://pictures.test:{server.server_port}"
        server.shutdown()
        thread.join()


def write_clipboard(page: Page, code: str) -> None:
    """Run code that writes to the clipboard."""
    page.cdp("Browser.grantPermissions", permissions=["clipboardReadWrite"])
    page.driver.execute_async_script(f"const done = arguments[0]; ({code}).then(done)")


# uploads -----------------------------------------------------------------------------------------


def test_a_dropped_picture_shows_its_neighbours(page: Page, base: str, unknown: Path) -> None:
    page.open(base)
    assert page.read_text("#summary") == "22 pictures"
    page.drop_file(unknown)
    labels = page.wait_for_results("22 results")
    assert labels[0].startswith("03.jpg, …/photos/hat, ")
    assert page.read_text("#query-name") == "my hat.png"
    assert page.wait_for("document.querySelector('#stage.is-ready img')?.naturalWidth") == 300
    assert page.read_address() == "/" and page.find("#query-note").is_displayed()


def test_a_pasted_screenshot_shows_its_neighbours(page: Page, base: str) -> None:
    """Ctrl+V, with the picture on the system's clipboard."""
    page.open(base, LINK)
    page.wait_for("document.querySelector('#stage.is-ready')")
    code = """(async () => {
        const image = document.getElementById('query-image');
        const canvas = new OffscreenCanvas(image.naturalWidth, image.naturalHeight);
        canvas.getContext('2d').drawImage(image, 0, 0);
        const blob = await canvas.convertToBlob();
        await navigator.clipboard.write([new ClipboardItem({'image/png': blob})]);
    })()"""
    page.open(base, LINK)
    page.wait_for("document.querySelector('#stage.is-ready')")
    write_clipboard(page, code)
    page.press_keys("v", held=Keys.CONTROL)
    page.wait_for("document.getElementById('query-kind').textContent === 'Your picture'")
    assert page.wait_for_results()[0].startswith("03.jpg, …/photos/hat, ")


def test_a_pasted_address_is_searched_by(
    page: Page, base: str, unknown: Path, tmp_path: Path, web: str
) -> None:
    shutil.copy(unknown, tmp_path / "hat.png")
    page.open(base)
    write_clipboard(page, f"navigator.clipboard.writeText('{web}/hat.png')")
    page.press_keys("v", held=Keys.CONTROL)
    assert page.wait_for_results()[0].startswith("03.jpg, …/photos/hat, ")
    assert page.read_address() == f"/?q={web}/hat.png"
    assert page.wait_for("document.querySelector('#stage.is-ready img')?.src").startswith("blob:")
    assert not [url for url in page.list_requests() if "pictures.test" in url and base not in url]


def test_an_address_is_typed(page: Page, base: str, unknown: Path, web: str) -> None:
    page.open(base)
    page.find("#words").send_keys(f"{web}/{unknown.name.replace(' ', '%20')}", Keys.ENTER)
    assert page.wait_for_results()[0].startswith("03.jpg, …/photos/hat, ")


def test_a_chosen_file_that_the_library_holds_has_a_link(page: Page, base: str) -> None:
    page.open(base)
    page.choose_file(HAT)
    assert page.wait_for_results()[0] == "03.jpg, …/photos/hat, the same, score 1.00"
    page.wait_for("location.search.startsWith('?q=id:')")
    assert page.read_address() == LINK
    assert not page.find("#query-note").is_displayed() and not page.find("#keep").is_displayed()


def test_a_format_that_no_browser_shows_is_shown(page: Page, base: str, tmp_path: Path) -> None:
    path = tmp_path / "hat.tiff"
    with Image.open(HAT) as hat:
        hat.resize((150, 200)).save(path)
    page.open(base)
    page.choose_file(path)
    assert page.wait_for_results()[0].startswith("03.jpg")
    assert page.wait_for("document.querySelector('#stage.is-ready img')?.naturalWidth") == 150


def test_several_pictures_add_up(page: Page, base: str, unknown: Path) -> None:
    shoe = SAMPLES / "shoes" / "02.jpg"
    page.open(base)
    page.find("#file").send_keys(f"{unknown}\n{shoe}")
    page.wait_for_results("22 results")
    parts = [("image", path.read_bytes()) for path in (unknown, shoe)]
    answer = httpx.post(f"{base}/api/v1/search", files=parts, data={"query": '{"k": 22}'})
    names = [hit["path"].rpartition("/")[2] for hit in answer.json()["hits"]]
    assert [label.partition(",")[0] for label in page.list_labels()] == names[
        : len(page.list_labels())
    ]
    page.wait_for(
        "(images => images.length === 2 && images.every(i => i.naturalWidth))"
        "([...document.querySelectorAll('#terms img')])"
    )
    page.choose_file(HAT)
    assert page.wait_for_results()[0].endswith("score 1.00")
    assert not page.find("#terms").is_displayed() and page.find("#stage").is_displayed()


def test_a_phone_offers_its_camera(page: Page, base: str, unknown: Path) -> None:
    page.open(base)
    assert not page.find(".bar .camera").is_displayed()
    page.resize(360, 640, touch=True)
    page.wait_for("matchMedia('(pointer: coarse)').matches")
    assert page.find(".bar .camera").is_displayed() and page.find(".hero .camera").is_displayed()
    shot = page.find("#photo")
    assert shot.get_attribute("capture") == "environment"
    assert shot.get_attribute("accept") == "image/*"
    shot.send_keys(str(unknown))
    assert page.wait_for_results()[0].startswith("03.jpg")


# results and their addresses ---------------------------------------------------------------------


def test_a_link_shows_the_same_results_to_everybody(page: Page, base: str) -> None:
    page.open(base, f"{LINK}&k=3&crop=10,10,80,80")
    assert len(page.wait_for_results("3 results")) == 3
    assert page.evaluate(CROP) and page.read_text("#crop-start") == "Whole picture"
    expected = {"image": f"id:{ID}", "crop": ["10%", "10%", "80%", "80%"]}
    answer = httpx.post(f"{base}/api/v1/search", json={"terms": [expected], "k": 3})
    scores = [f"{hit['score']:.2f}" for hit in answer.json()["hits"]]
    assert [label.rpartition(" ")[2] for label in page.list_labels()] == scores
    page.driver.refresh()
    assert len(page.wait_for_results("3 results")) == 3


def test_back_and_forward(page: Page, base: str, unknown: Path) -> None:
    page.open(base)
    page.choose_file(unknown)
    page.wait_for_results("22 results")
    page.click("#grid a")
    page.click("#detail-similar")
    page.wait_for("location.search.startsWith('?q=id:')")
    assert page.wait_for_results()[0].endswith("score 1.00")
    page.driver.back()
    page.wait_for("document.getElementById('detail').open")
    page.driver.back()
    page.wait_for("!document.getElementById('detail').open")
    assert page.read_text("#query-name") == "my hat.png" and page.wait_for_results()[0].startswith(
        "03.jpg"
    )
    page.driver.back()
    page.wait_for_results("Newest")
    page.driver.forward()
    page.wait_for_results("22 results")
    assert page.read_text("#query-name") == "my hat.png"
    page.driver.refresh()  # the browser kept the file
    assert page.wait_for_results("22 results")[0].startswith("03.jpg")
    assert page.read_text("#query-name") == "my hat.png"
    page.driver.execute_async_script("""
        const done = arguments[0];
        indexedDB.open('lookalike').onsuccess = ({ target }) => {
          const change = target.result.transaction('files', 'readwrite');
          change.objectStore('files').clear();
          change.oncomplete = () => { target.result.close(); done(); };
        };
    """)
    page.driver.refresh()
    assert "does not have that picture any more" in page.read_placeholder()
    page.choose_file(unknown)
    assert page.wait_for_results("22 results")[0].startswith("03.jpg")


def test_details_of_a_picture_and_more_like_it(page: Page, base: str, client: httpx.Client) -> None:
    page.open(base, LINK)
    page.wait_for_results()
    page.click("#grid li:nth-child(2) a")
    page.wait_for("document.querySelectorAll('#detail-facts dd').length > 4")
    shown = page.read_text("#detail-facts")
    identity = page.evaluate("new URLSearchParams(location.search).get('see')")
    metadata = client.get(f"/api/v1/images/{identity}").json()
    assert f"{metadata['width']} × {metadata['height']} pixels" in shown and "JPEG" in shown
    assert shown.count("Colors") == 1
    colours = page.evaluate("[...document.querySelectorAll('.swatches a')].map(s => s.title)")
    assert colours == metadata["palette"]
    loaded = page.wait_for("document.querySelector('#detail-image.is-ready')?.naturalWidth")
    assert loaded == metadata["width"]
    page.press_keys(Keys.ARROW_RIGHT)
    page.wait_for("new URLSearchParams(location.search).get('see') !== arguments[0]", identity)
    page.press_keys(Keys.ARROW_LEFT)
    page.wait_for("new URLSearchParams(location.search).get('see') === arguments[0]", identity)
    page.press_keys(Keys.ESCAPE)
    page.wait_for("!document.getElementById('detail').open")
    assert page.evaluate(f"{FOCUSED} === document.querySelector('#grid li:nth-child(2) a')")
    page.press_keys(Keys.ENTER)
    page.wait_for("document.getElementById('detail').open")
    page.click("#detail-similar")
    page.wait_for("location.search === arguments[0]", f"?q=id:{identity}")
    assert page.wait_for_results()[0].startswith(metadata["path"].rpartition("/")[2])


def test_metadata_of_a_photo(page: Page, home: Path, folder: Path) -> None:
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = "Maker", "Camera 5"
    exif.get_ifd(0x8769)[0x9003] = "2024:05:03 14:05:00"
    exif.get_ifd(0x8825).update({1: "N", 2: (48.0, 51.0, 30.0), 3: "W", 4: (2.0, 30.0, 0.0)})
    picture = Image.open(io.BytesIO(jpeg(1)))
    picture.save(folder / "a.jpg", exif=exif)
    shutil.copy(folder / "a.jpg", folder / "b.jpg")
    engine = open_library(home)
    engine.sync(folder)
    with serving(engine) as client:
        page.open(str(client.base_url))
        page.click("#grid a")
        page.wait_for("document.querySelectorAll('#detail-facts dd').length > 4")
        metadata = page.find("#detail-facts").text
        for message in (
            "May 3, 2024",
            "2:05",
            "Maker Camera 5",
            "48.85833° N, 2.50000° W",
            "b.jpg",
        ):
            assert message in metadata, message
        page.click("#detail-exif summary")
        assert "DateTimeOriginal" in page.find("#detail-tags").text
    close_library(engine)


def test_a_kept_picture_is_found_and_has_a_link(
    page: Page,
    home: Path,
    unknown: Path,
    web: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("send2trash.send2trash", os.unlink)
    with Image.open(SAMPLES / "shoes" / "02.jpg") as shoe:
        shoe.resize((200, 260)).save(tmp_path / "shoe.png")
    engine = open_library(home)
    engine.library.fetcher = Fetcher(
        400_000, 5.0, resolve=lambda *_: ["127.0.0.1"], allowed=lambda _: True
    )
    with serving(engine) as client:
        page.open(str(client.base_url))
        assert "empty" in page.read_placeholder()
        page.choose_file(unknown)
        page.wait_for(
            "location.pathname === '/' && document.body.classList.contains('has-request')"
        )
        assert "empty" in page.read_placeholder()
        page.click("#state .buttons button:last-child")  # a library may begin with it
        page.wait_for("location.search.startsWith('?q=id:')")
        identity = hashlib.sha256(unknown.read_bytes()).hexdigest()
        assert page.wait_for_results("1 result")[0].endswith("score 1.00")
        assert page.read_address() == f"/?q=id:{identity[:16]}"
        assert "Kept" in page.read_text("#toast")
        page.click("#toast button")  # undo, and once more
        page.wait_for("document.getElementById('toast').textContent.includes('Taken out')")
        page.wait_for("location.pathname === '/' && location.search === ''")
        page.wait_for("document.querySelectorAll('#state .buttons button').length === 2")
        assert engine.status().pictures == 0 and "empty" in page.read_placeholder()
        page.click("#state .buttons button:last-child")
        page.wait_for("location.search.startsWith('?q=id:')")
        page.open(str(client.base_url), f"/?q={web}/shoe.png")
        page.wait_for("document.querySelector('#stage.is-ready')")
        page.click("#keep")
        page.wait_for("location.search.startsWith('?q=id:')")
        assert page.wait_for_results("2 results")[0].endswith("score 1.00")
        page.wait_for("document.getElementById('library-count').textContent === '2'")
        uploaded = engine.picture(hashlib.sha256((tmp_path / "shoe.png").read_bytes()).hexdigest())
        assert Path(uploaded.path).read_bytes() == (tmp_path / "shoe.png").read_bytes()
    close_library(engine)


def test_a_click_outside_closes_a_dialog_but_selecting_text_does_not(page: Page, base: str) -> None:
    page.open(base)
    page.click("#library")
    field = page.find("#folder-path")
    field.send_keys("half a path")
    out = 60 - round(field.rect["x"] + field.rect["width"] / 2)  # beside the dialog
    drag = ActionChains(page.driver, duration=20).move_to_element(field).click_and_hold()
    drag.move_by_offset(out, 0).release().perform()
    assert page.evaluate("document.getElementById('folders').open && String(getSelection())")
    ActionChains(page.driver, duration=20).click().perform()
    page.wait_for("!document.getElementById('folders').open")


# the crop ----------------------------------------------------------------------------------------


def read_crop(page: Page) -> list[float]:
    """Return the crop in the address, in per cent."""
    text = page.wait_for("new URLSearchParams(location.search).get('crop')")
    return [float(part) for part in text.split(",")]


def test_a_crop_is_drawn_by_mouse(page: Page, base: str) -> None:
    page.open(base, LINK)
    page.wait_for("document.querySelector('#stage.is-ready')")
    frame = page.find("#crop-frame")
    wide, high = frame.size["width"], frame.size["height"]
    first = page.evaluate("document.getElementById('summary').textContent")
    drag = ActionChains(page.driver, duration=20).move_to_element_with_offset(
        frame, -round(wide * 0.3), -round(high * 0.25)
    )
    drag.click_and_hold().move_by_offset(round(wide * 0.5), round(high * 0.4)).release().perform()
    x, y, w, h = read_crop(page)
    assert (x, y, w, h) == pytest.approx((20, 25, 50, 40), abs=1.5)
    page.wait_for(
        f"{QUIET} && document.getElementById('summary').textContent !== arguments[0]", first
    )
    answer = httpx.post(
        f"{base}/api/v1/search",
        json={"terms": [{"image": f"id:{ID}", "crop": [f"{v}%" for v in (x, y, w, h)]}], "k": 200},
    ).json()
    assert page.list_labels()[0].endswith(f"{answer['hits'][0]['score']:.2f}")
    box = page.find(".crop")
    drag = ActionChains(page.driver, duration=20).move_to_element(box)
    drag.click_and_hold().move_by_offset(round(wide * 0.2), 0).release().perform()
    page.wait_for("!location.search.includes(arguments[0])", f"crop={x:g}")
    assert read_crop(page) == pytest.approx([x + 20, y, w, h], abs=1.5)
    page.click("#crop-start")
    page.wait_for("!location.search.includes('crop')")
    assert not box.is_displayed()


def test_a_crop_is_made_by_keys(page: Page, base: str) -> None:
    page.open(base, LINK)
    page.wait_for("document.querySelector('#stage.is-ready')")
    page.evaluate("document.getElementById('crop-start').focus()")
    page.press_keys(Keys.ENTER)
    assert read_crop(page) == [15, 15, 70, 70]
    assert "15 % from the left" in page.evaluate(f"{FOCUSED}.getAttribute('aria-label')")
    page.press_keys(Keys.ARROW_LEFT, Keys.ARROW_UP, held=Keys.CONTROL)  # the browser's own
    page.press_keys(Keys.ARROW_RIGHT, Keys.ARROW_DOWN)
    page.wait_for("location.search.includes('crop=17,17,70,70')")
    page.press_keys(Keys.ARROW_LEFT, Keys.ARROW_LEFT, held=Keys.SHIFT)
    page.wait_for("location.search.includes('crop=17,17,66,70')")
    page.press_keys(Keys.TAB)  # to the corner at the top left
    page.press_keys(Keys.ARROW_UP)
    page.wait_for("location.search.includes('crop=17,15,66,72')")
    page.press_keys(Keys.DELETE)
    page.wait_for("!location.search.includes('crop')")


def test_a_crop_is_drawn_by_finger(page: Page, base: str) -> None:
    page.resize(390, 844, touch=True)
    page.open(base, LINK)
    page.wait_for("document.querySelector('#stage.is-ready')")
    page.click("#crop-start")
    page.wait_for("location.search.includes('crop=15,15,70,70')")
    page.evaluate("scrollTo(0, 0)")
    spot = page.evaluate("(r => [r.x + r.width / 2, r.y + r.height / 2])"
                   "(document.querySelector('.corner.se').getBoundingClientRect())")  # fmt: skip
    size = page.evaluate("(r => [r.width, r.height])"
                   "(document.getElementById('crop-frame').getBoundingClientRect())")  # fmt: skip
    to = [spot[0] - size[0] * 0.2, spot[1] - size[1] * 0.3]
    for kind, at in (("touchStart", spot), ("touchMove", to), ("touchEnd", None)):
        points = [{"x": at[0], "y": at[1]}] if at else []
        page.cdp("Input.dispatchTouchEvent", type=kind, touchPoints=points)
    page.wait_for("!location.search.includes('crop=15,15,70,70')")
    assert read_crop(page) == pytest.approx([15, 15, 50, 40], abs=1.5)


def test_the_large_view_says_that_a_picture_is_truncated(
    page: Page, home: Path, folder: Path
) -> None:
    (folder / "cut.jpg").write_bytes((SAMPLES / "dress" / "01.jpg").read_bytes()[:-60])
    engine = open_library(home)
    engine.sync(folder)
    with serving(engine) as client:
        page.open(str(client.base_url))
        page.click("#grid li a")
        page.wait_for("document.querySelectorAll('#detail-facts dd').length > 4")
        assert "the last rows of the picture are missing" in page.read_text("#detail-facts")
    close_library(engine)


# folders -----------------------------------------------------------------------------------------


def test_a_folder_added_here_is_found_when_its_bar_is_full(
    page: Page, home: Path, folder: Path, tmp_path: Path
) -> None:
    for seed in range(60):
        paint(folder / f"{seed}.jpg", seed)
    (folder / "broken.jpg").write_bytes(b"nothing")
    for name in ("a.nef", "b.cr2", "c.psd"):
        (folder / name).touch()
    (tmp_path / "one.jpg").write_bytes(jpeg(7, "another file of it"))
    engine = open_library(home)
    with serving(engine, allow=[tmp_path]) as client:
        page.open(str(client.base_url))
        page.read_placeholder()
        page.click("#state button")
        page.find("#folder-path").send_keys(str(folder), Keys.ENTER)
        page.wait_for("document.querySelector('.job progress')?.value === 1")
        page.wait_for("document.querySelector('.job')?.dataset.state === 'done'")
        message = page.read_text(".job")
        assert "60 added" in message and "1 file skipped" in message
        assert "Left out: 2 RAW, 1 PSD" in message
        page.click(".job summary")
        assert "broken.jpg" in page.read_text(".skipped") and "not a picture" in page.read_text(
            ".skipped"
        )
        page.wait_for("document.getElementById('library-count').textContent === '60'")
        assert "60 files" in page.read_text("#roots")
        page.press_keys(Keys.ESCAPE)
        page.wait_for("!document.getElementById('folders').open")
        page.wait_for_results("Newest")
        page.drop_file(tmp_path / "one.jpg")
        assert page.wait_for_results("60 results")[0].startswith("7.jpg")
        page.click("#library")
        page.click("#roots button")  # again: nothing is new
        page.wait_for("document.querySelectorAll('.job[data-state=done]').length === 2")
        assert "60 unchanged" in page.read_text(".job")
    close_library(engine)


def test_progress_with_rate_and_time_left_and_cancel(
    page: Page, base: str, shared: Engine, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    going, closed = threading.Semaphore(), threading.Event()

    def index(path: object) -> Iterator[Progress]:
        try:
            for done in range(0, 100_000, 1000):
                going.acquire()
                yield Progress("index", done, 100_000, "a.jpg") if done else Progress("scan", 0, 0)
        finally:
            closed.set()

    monkeypatch.setattr(shared, "index", index)
    page.open(base)
    page.click("#library")
    page.find("#folder-path").send_keys(str(photos), Keys.ENTER)
    page.wait_for("document.querySelector('.job[data-state=running]')")
    assert page.evaluate("document.querySelector('.job progress').matches(':indeterminate')")
    going.release(2)
    page.wait_for("document.querySelector('.counts')?.textContent.includes('2,000 of 100,000')")
    going.release(3)
    page.wait_for("/a second.*left/.test(document.querySelector('.counts')?.textContent)")
    assert page.evaluate("document.querySelector('.job progress').value") == pytest.approx(
        0.05, abs=0.01
    )
    page.find("#folder-path").send_keys(str(photos), Keys.ENTER)
    page.wait_for(
        "document.getElementById('folder-problem').textContent.includes('at this folder')"
    )
    page.driver.refresh()  # a reload shows the same job
    page.wait_for("document.getElementById('library-bar').hidden === false")
    page.click("#library")
    page.wait_for("document.querySelector('.job[data-state=running]')")
    page.click(".job .button-secondary")
    going.release(200)
    page.wait_for("document.querySelector('.job[data-state=cancelled]')")
    assert "Paused" in page.read_text(".job")
    assert closed.wait(10) and not page.find("#library-bar").is_displayed()


@pytest.mark.parametrize(
    ("path", "message"),
    [("/etc", "not allowed"), ("photos", "absolute"), ("{}/../no", "no such folder")],
)
def test_a_folder_that_cannot_be_added(
    page: Page, base: str, photos: Path, path: str, message: str
) -> None:
    page.open(base)
    page.click("#library")
    page.find("#folder-path").send_keys(path.format(photos), Keys.ENTER)
    page.wait_for(
        "document.getElementById('folder-problem').textContent.includes(arguments[0])", message
    )
    assert page.evaluate(f"{FOCUSED}.id") == "folder-path"


# problems ----------------------------------------------------------------------------------------


def test_a_file_that_is_not_a_picture(page: Page, base: str, tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_bytes(b"hello")
    page.open(base)
    page.drop_file(tmp_path / "text.jpg")
    assert page.read_placeholder().startswith("That is not a picture\n\nThe picture: ")
    page.choose_file(HAT)  # and on it goes
    assert page.wait_for_results()[0].endswith("score 1.00")


def test_an_upload_that_is_too_large(page: Page, base: str, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (2000, 2000, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "large.png")
    page.open(base)
    page.drop_file(tmp_path / "large.png")
    assert page.read_placeholder().startswith(
        "That is too large\n\nThe request has more than 400000 bytes"
    )


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("?q=id:ffffffffff", "Not found"),
        ("?q=id:nonsense", "This cannot be searched for"),
        ("?q=ftp://example.test/a.jpg", "No similar picture found"),
        (f"{LINK[1:]}&crop=50,50,80,80", "The crop is outside the picture"),
        ("?q=qwertz", "No similar picture found"),
    ],
)
def test_addresses_without_results(page: Page, base: str, query: str, message: str) -> None:
    page.open(base, f"/{query}")
    title, _, detail = page.read_placeholder().partition("\n\n")
    assert title == message and len(detail) > 10


def test_an_address_that_is_not_a_picture(page: Page, base: str, web: str) -> None:
    page.open(base, f"/?q={web}/nothing.jpg")
    assert page.read_placeholder().startswith("This cannot be used\n\n")
    assert not page.find("#query").is_displayed()


def test_a_folder_dropped_here_is_explained(page: Page, base: str, photos: Path) -> None:
    page.open(base)
    page.drop_file(photos)
    assert "does not say where the folder is" in page.read_placeholder()
    page.click("#state button")
    page.wait_for("document.getElementById('folder-path').checkVisibility()")


def test_a_server_that_is_gone_and_comes_back(
    page: Page, library: Callable[..., Engine], folder: Path, unknown: Path
) -> None:
    paint(folder / "a.jpg", 1)
    engine = library()
    engine.sync(folder)
    with serving(engine) as client:
        page.open(str(client.base_url))
        page.cdp("Network.enable")
        page.cdp("Network.emulateNetworkConditions", offline=True, latency=0,
                 downloadThroughput=-1, uploadThroughput=-1)  # fmt: skip
        page.choose_file(unknown)
        assert page.read_placeholder().startswith("The server does not answer")
        page.cdp("Network.emulateNetworkConditions", offline=False, latency=0,
                 downloadThroughput=-1, uploadThroughput=-1)  # fmt: skip
        page.click("#state button")
        assert page.wait_for_results("1 result")
    page.drop_file(HAT)
    assert page.read_placeholder().startswith("The server does not answer")


def test_a_server_with_a_token_asks_for_it(page: Page, shared: Engine) -> None:
    with serving(shared, Access(token="sesame")) as client:
        page.open(str(client.base_url), LINK, until="document.getElementById('login').open")
        page.press_keys(Keys.ESCAPE)
        page.find("#token").send_keys("guess", Keys.ENTER)
        page.wait_for(
            "document.getElementById('login-problem').textContent.includes('not the token')"
        )
        page.find("#token").send_keys("sesame", Keys.ENTER)
        assert page.wait_for_results()[0].endswith("score 1.00")
        page.wait_for(
            "document.querySelector('#stage.is-ready') && document.querySelector('.is-loaded')"
        )
        cookie = page.driver.get_cookies()[0]
        assert cookie["httpOnly"] and cookie["sameSite"] == "Strict"
        page.driver.refresh()
        assert page.wait_for_results() and not page.evaluate(
            "document.getElementById('login').open"
        )


def test_a_link_that_was_used_says_how_to_get_another(page: Page, shared: Engine) -> None:
    access = Access(token="of this test")  # cookies of other tests are of no use
    with serving(shared, access) as client:
        base, link = str(client.base_url).rstrip("/"), access.make_link()
        page.open(base, link)
        assert page.read_address() == "/"  # no code stays in the history
        page.driver.delete_all_cookies()
        page.open(base, link, until="document.getElementById('login').open")
        assert "used already" in page.read_text("#login-hint")
        assert "lookalike link" in page.read_text("#login-hint")
        page.open(base, access.make_link())
        assert not page.evaluate("document.getElementById('login').open")


def test_a_reader_is_not_offered_what_changes_the_library(page: Page, shared: Engine) -> None:
    access = Access(token="of this role", find_token=shared.find_token)
    is_shown = "document.getElementById('{}').checkVisibility()"
    with serving(shared, access) as client:
        for role in ("write", "read"):
            page.driver.delete_all_cookies()
            asks = "document.getElementById('login').open"
            page.open(str(client.base_url), LINK, until=asks)
            page.find("#token").send_keys(shared.add_token(f"page-{role}", role), Keys.ENTER)
            page.wait_for("document.querySelector('#stage.is-ready')")
            page.evaluate("document.getElementById('library').click()")
            page.wait_for("document.querySelector('#roots [data-path]')")
            assert page.evaluate(is_shown.format("folder-form")) is (role == "write")
            assert page.evaluate("document.body.classList.contains('is-read-only')") is (
                role == "read"
            )


def test_a_browser_without_cookies_is_explained(
    page: Page, shared: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Access, "_is_valid_session", lambda *_: False)
    with serving(shared, Access(token="sesame")) as client:
        page.open(str(client.base_url), LINK, until="document.getElementById('login').open")
        page.find("#token").send_keys("sesame", Keys.ENTER)
        assert "did not keep the login" in page.read_placeholder()


# languages, colours, sizes, keys -----------------------------------------------------------------


def test_chinese_by_the_browsers_language(
    tmp_path: Path, base: str, page: Page, unknown: Path
) -> None:
    with browsing(tmp_path / "profile", "zh-CN,zh,en") as chinese:
        chinese.open(base, LINK)
        chinese.wait_for_results("22 个结果")
        assert chinese.evaluate("document.documentElement.lang") == "zh-CN"
        assert chinese.read_text("#library .word") == "图库"
        chinese.click("#grid a")
        chinese.wait_for("document.querySelectorAll('#detail-facts dd').length > 4")
        assert "像素" in chinese.read_text("#detail-facts")
        chinese.open(base, "/?q=id:nonsense")
        assert chinese.read_placeholder().startswith("无法这样搜索")
    page.open(base, LINK)
    assert (
        page.wait_for_results("22 results")
        and page.evaluate("document.documentElement.lang") == "en"
    )


def test_every_text_is_used(page: Page) -> None:
    """tsc and node check that both languages have each one."""
    web = Path(search.__file__).parent / "web"
    tables = re.findall(r"freeze\(\{\n(.*?)\n\}\)", (web / "texts.js").read_text(), re.S)
    english, chinese = (set(re.findall(r"^  (\w+):", table, re.M)) for table in tables)
    assert {name for name in english if not name.endswith("_one")} == chinese
    files = (*web.glob("*.js"), *web.glob("*.html"))
    sources = [path.read_text() for path in files if path.name != "texts.js"]
    used = set(re.findall(r"['\"](\w+)['\"]", "".join(sources)))
    unused = {
        name
        for name in chinese - used
        if not name.startswith(
            (
                *("problem_", "crop_", "left_out_", "skip_", "kind_"),
                *("theme_", "language_", "likeness_", "suggested_", "labels_"),
            )
        )
    }
    assert unused == set()


def test_every_problem_has_a_text_in_both_languages() -> None:
    texts = (Path(search.__file__).parent / "web" / "texts.js").read_text()
    assert [code for code in CODES if texts.count(f"  problem_{code}:") != 2] == []
    assert [code for code in SKIP_CODES if texts.count(f"  skip_{code}:") != 2] == []


def test_no_english_on_a_chinese_page(tmp_path: Path, base: str, web: str) -> None:
    """The server's sentences are English, so the page says in Chinese what their codes mean."""
    (tmp_path / "text.jpg").write_bytes(b"hello")
    with browsing(tmp_path / "profile", "zh-CN,zh,en") as chinese:
        for path, message in (
            ("/?q=id:nonsense", "无法这样搜索"),
            ("/?q=id:ffffffffff", "找不到"),
            (f"{LINK}&crop=50,50,80,80", "裁剪框超出了图片"),
            (f"/?q={web}/nothing.jpg", "无法使用这个内容"),
        ):
            chinese.open(base, path)
            assert chinese.read_placeholder().startswith(message) and not has_english(
                chinese.read_placeholder()
            )
        chinese.drop_file(tmp_path / "text.jpg")
        chinese.wait_for(
            f"{QUIET} && document.getElementById('state').innerText.includes('这不是图片')"
        )
        assert not has_english(chinese.read_placeholder())
        chinese.click("#library")
        chinese.find("#folder-path").send_keys("photos", Keys.ENTER)
        chinese.wait_for("document.getElementById('folder-problem').textContent")
        assert chinese.read_text("#folder-problem") == "请填写文件夹的完整路径"
        names = [name for _, name in chinese.list_roles()]
        assert [name for name in names if has_english(name)] == []
        with serving(open_library(tmp_path / "home"), allow=[tmp_path]) as client:
            chinese.open(str(client.base_url))
            chinese.click("#library")
            chinese.find("#folder-path").send_keys(str(tmp_path), Keys.ENTER)
            chinese.wait_for("document.querySelector('.job')?.dataset.state === 'done'")
            chinese.click(".job summary")
            skipped = chinese.read_text(".skipped").replace("text.jpg", "")
            assert "不是图片" in skipped and not has_english(skipped)


def has_english(text: str) -> bool:
    """Return whether a text has three consecutive words of an English sentence."""
    return re.search(r"\b[A-Za-z]{2,} [a-z]{2,} [a-z]{2,}\b", text) is not None


def luminance(colour: str) -> float:
    """Return the relative luminance of a CSS colour, as WCAG defines it."""
    parts = [float(v) / 255 for v in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in parts]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark_with_contrast(page: Page, base: str, scheme: str) -> None:
    page.emulate_media(prefers_color_scheme=scheme, prefers_reduced_motion="reduce")
    page.open(base, LINK)
    page.wait_for_results()
    style = "getComputedStyle(document.querySelector(arguments[0]))[arguments[1]]"
    behind = luminance(page.evaluate(style, "body", "backgroundColor"))
    assert (behind > 0.9) is (scheme == "light") and (behind < 0.02) is (scheme == "dark")
    page.click("#library")
    for css in (
        "#summary",
        ".folder",
        ".tile-caption i",
        ".hint",
        "#folders-summary",
        ".error-text",
        "#more",
    ):
        text = luminance(page.evaluate(style, css, "color"))
        light, dark = max(text, behind), min(text, behind)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, css
    text, button = (
        luminance(page.evaluate(style, ".form-row .button-primary", c))
        for c in ("color", "backgroundColor")
    )
    assert (max(text, button) + 0.05) / (min(text, button) + 0.05) >= 4.5


@pytest.mark.parametrize("path", ["/", LINK, f"{LINK}&see={ID[:16]}"])
def test_a_narrow_phone_scrolls_one_way_only(page: Page, base: str, path: str) -> None:
    page.resize(360, 640, touch=True)
    page.emulate_media(prefers_reduced_motion="reduce")
    page.open(base, path)
    page.evaluate("document.getElementById('library').click()")
    page.wait_for("document.getElementById('folders').open")
    for scroller in ("document.documentElement", "document.getElementById('folders')",
                     "document.getElementById('detail')"):  # fmt: skip
        assert page.evaluate(f"{scroller}.scrollWidth - {scroller}.clientWidth") == 0, scroller
    out = page.evaluate(
        "[...document.querySelectorAll('button, input, a, h1, h2, img')].filter(e => "
        "(r => r.width && (r.right > innerWidth + 1 || r.left < -1))(e.getBoundingClientRect()))"
        ".map(e => e.id || e.className)"
    )
    assert out == []


def test_parts_of_the_bar_never_overlap(page: Page, base: str) -> None:
    page.open(base)
    for width in (360, 480, 641, 768, 861, 1001, 1280, 1920):
        page.resize(width, 800)
        page.wait_for("innerWidth === arguments[0]", width)
        edges = page.evaluate(
            "['.brand', '.search-box', '.library'].flatMap(css => "
            "(r => [r.left, r.right])(document.querySelector(css).getBoundingClientRect()))"
        )
        assert edges == sorted(edges) and edges[0] >= 0 and edges[-1] <= width, width


def test_the_keyboard_reaches_everything(page: Page, base: str) -> None:
    page.open(base)
    page.press_keys(Keys.TAB)
    assert page.evaluate(f"{FOCUSED}.className") == "skip-link"
    reached = []
    while (
        here := page.evaluate(f"{FOCUSED}.id || {FOCUSED}.dataset.open || {FOCUSED}.tagName")
    ) != "A" or (not page.evaluate(f"{FOCUSED}.closest('#grid')")):
        reached.append(here)
        assert len(reached) < 20
        page.press_keys(Keys.TAB)
    assert {"words", "file", "library"} <= set(reached)
    first = page.evaluate(f"{FOCUSED}.getAttribute('aria-label')")
    page.press_keys(Keys.ARROW_RIGHT)
    assert page.evaluate(f"{FOCUSED}.getAttribute('aria-label')") != first
    page.press_keys(Keys.ARROW_DOWN)
    place = int(page.evaluate(f"{FOCUSED}.closest('li').dataset.place"))
    assert place > 2
    page.press_keys(Keys.ARROW_UP, Keys.HOME)
    assert page.evaluate(f"{FOCUSED}.getAttribute('aria-label')") == first
    page.press_keys(Keys.END)
    assert page.evaluate(f"{FOCUSED}.closest('li').dataset.place") == "21"
    page.press_keys(Keys.ENTER)
    page.wait_for("document.getElementById('detail').open")
    page.press_keys(Keys.ESCAPE)
    page.wait_for("!document.getElementById('detail').open")
    assert page.evaluate(f"{FOCUSED}.closest('li').dataset.place") == "21"
    page.evaluate("document.getElementById('library').focus()")
    page.press_keys(Keys.ENTER)
    page.wait_for(f"{FOCUSED}.id === 'folder-path'")
    page.press_keys(Keys.ESCAPE)
    page.wait_for("!document.getElementById('folders').open")
    assert page.evaluate(f"{FOCUSED}.id") == "library"


def test_everything_has_a_name(page: Page, base: str, unknown: Path) -> None:
    roles = {"button", "link", "textbox", "searchbox", "image", "dialog", "progressbar",
             "list", "search", "complementary", "region", "group"}  # fmt: skip

    def nameless() -> list[str]:
        return [role for role, name in page.list_roles() if role in roles and not name.strip()]

    page.open(base)
    assert nameless() == []
    page.choose_file(unknown)
    page.wait_for_results()
    page.click("#crop-start")
    page.wait_for(f"location.pathname === '/' && {CROP} && {QUIET}")
    assert nameless() == []
    names = page.list_roles()
    assert ("list", "22 results") in names and ("complementary", "What you search for") in names
    assert any(role == "link" and "score" in name for role, name in names)
    page.click("#grid a")
    page.wait_for("document.querySelectorAll('#detail-facts dd').length > 4")
    assert nameless() == [] and ("dialog", "03.jpg") in page.list_roles()
    page.press_keys(Keys.ESCAPE)
    page.wait_for("!document.getElementById('detail').open")
    page.click("#library")
    assert nameless() == [] and ("dialog", "Library") in page.list_roles()


def test_no_foreign_requests_and_no_console_warnings(page: Page, base: str, unknown: Path) -> None:
    page.open(base)
    page.choose_file(unknown)
    page.wait_for_results()
    page.click("#crop-start")
    page.wait_for(f"{QUIET} && {CROP}")
    page.click("#grid a")
    page.wait_for("document.querySelector('#detail-image.is-ready')")
    page.press_keys(Keys.ESCAPE)
    page.wait_for("!document.getElementById('detail').open")
    page.click("#library")
    urls = page.list_requests()
    assert len(urls) > 20
    assert [url for url in urls if not url.startswith((base, "blob:", "data:", "about:"))] == []
    assert page.list_warnings() == []
    refused = page.driver.execute_async_script(
        "const done = arguments[0];"
        "addEventListener('securitypolicyviolation', (event) => done(event.violatedDirective));"
        "document.body.append(Object.assign(new Image(), {src: 'https://example.test/a.png'}))"
    )
    assert refused == "img-src"


# large libraries ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A server of a library with thousands of pictures, entered without being embedded."""
    engine = open_library(tmp_path_factory.mktemp("crowd") / "home")
    embedder = engine.library.models.open("mini")
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(HITS, embedder.dim)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    with engine.library.write_lock.hold():
        space = engine.library.catalog.space("mini", embedder.fingerprint, embedder.dim)
        engine.library.catalog.serve(space)
        root = engine.library.catalog.add_root("/pictures", 0, ())
        entries = []
        for place, row in enumerate(rows):
            identity = hashlib.sha256(place.to_bytes(4, "big")).hexdigest()
            metadata = Metadata("jpeg", 300 + place % 7 * 50, 400, 1000)
            entry = FileEntry(f"{place:05}.jpg", 1000, 0, place)
            entries.append(ExtractedFile(entry, identity, identity, metadata, row))
            if place % 50 == 0:
                thumbnail = io.BytesIO()
                Image.new("RGB", (48, 40), tuple(rng.integers(0, 256, 3))).save(thumbnail, "WebP")
            engine.library.thumbnails.write(identity, thumbnail.getvalue())
        engine.library.catalog.record(root, space, entries)
    with serving(engine) as client:
        yield client
    close_library(engine)


def test_thousands_of_results_scroll_with_few_nodes(page: Page, crowd: httpx.Client) -> None:
    first = hashlib.sha256((0).to_bytes(4, "big")).hexdigest()
    page.open(str(crowd.base_url), f"/?q=id:{first[:16]}&k=10000")
    page.wait_for_results("5,000 results")
    answer = crowd.post("/api/v1/search", json={"terms": [{"image": f"id:{first}"}], "k": 10000})
    hits = answer.json()["hits"]
    assert len(hits) == HITS
    nodes = "document.querySelectorAll('#grid *').length"
    counts = [page.evaluate(nodes)]
    for share in (0.2, 0.5, 0.8, 1.0, 0.4, 1.0):
        page.evaluate(f"scrollTo(0, document.body.scrollHeight * {share})")
        middle = (
            "Number([...document.querySelectorAll('#grid li')]"
            ".find(one => one.getBoundingClientRect().bottom > innerHeight / 2)?.dataset.place)"
        )
        page.wait_for(
            f"document.querySelector('#grid .is-loaded') && ({middle}) > {HITS * share * 0.8}"
        )
        counts.append(page.evaluate(nodes))
    assert max(counts) < 900
    last = page.wait_for(
        "document.querySelector(`#grid li[aria-posinset='${arguments[0]}'] a`)", HITS
    )
    assert last.is_displayed()
    assert last.get_attribute("aria-label").startswith(hits[-1]["path"].rpartition("/")[2])
    assert page.evaluate("document.querySelector('#grid li').getAttribute('aria-setsize')") == str(
        HITS
    )
    last.click()
    page.wait_for("location.search.includes(arguments[0])", f"see={hits[-1]['id'][:16]}")
    page.driver.back()
    page.wait_for("!document.getElementById('detail').open")
    assert page.evaluate(f"{FOCUSED} === arguments[0]", last)
    frames = page.driver.execute_async_script("""
        const done = arguments[0]; let left = 60; const heights = [];
        const step = () => {
          scrollBy(0, -900);
          heights.push(document.querySelectorAll('#grid li').length);
          if (left--) requestAnimationFrame(step); else done(heights);
        };
        step();
    """)
    assert min(frames) > 10 and max(frames) < 200  # some are shown at any time, never all


def test_more_is_shown_on_demand(page: Page, crowd: httpx.Client) -> None:
    first = hashlib.sha256((0).to_bytes(4, "big")).hexdigest()
    page.open(str(crowd.base_url), f"/?q=id:{first[:16]}")
    page.wait_for_results("The first 200 results")
    page.click("#more")
    page.wait_for_results("1,000 results")
    assert page.read_address().endswith("&k=1000")


def test_scrolling_loads_more_of_the_newest_pictures(page: Page, crowd: httpx.Client) -> None:
    page.open(str(crowd.base_url))
    assert page.read_text("#summary") == "5,000 pictures"
    for count in (101, 201, 401):
        page.wait_for(
            "(scrollTo(0, document.body.scrollHeight), "
            "[...document.querySelectorAll('#grid li')].some(l => l.ariaPosInSet > arguments[0]))",
            count,
        )
    assert page.evaluate("document.querySelectorAll('#grid *').length") < 900


# the files of the page ---------------------------------------------------------------------------


def test_files_of_the_page_are_public_typed_and_cached(shared: Engine) -> None:
    with serving(shared, Access(token="sesame")) as client:
        start = client.get("/")
        assert start.status_code == 200 and start.headers["content-type"].startswith("text/html")
        assert "script-src 'self'" in start.headers["content-security-policy"]
        assert "unsafe" not in start.headers["content-security-policy"]
        for path in (Path(search.__file__).parent / "web").iterdir():
            answer = client.get(f"/web/{path.name}")
            assert answer.content == path.read_bytes()
            kinds = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
            kinds |= {".png": "image/png", ".json": "application/json"}
            kinds |= {".webmanifest": "application/manifest+json"}
            assert answer.headers["content-type"].startswith(kinds.get(path.suffix, "text/html"))
            assert answer.headers["cache-control"] == "no-cache"
            tag = {"If-None-Match": answer.headers["etag"]}
            assert client.get(f"/web/{path.name}", headers=tag).status_code == 304
            head = client.head(f"/web/{path.name}")
            assert head.status_code == 200 and head.content == b""
        assert client.get("/web/app.py").status_code == 404
        assert client.get("/web/../api/v1/status").status_code in (401, 404)
        until(lambda: client.get("/api/v1/status").status_code == 401)
