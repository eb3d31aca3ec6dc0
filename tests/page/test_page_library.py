"""The library's panel, settings, help, phones and an absent server, in a headless Chromium."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest
from helpers.browsing import CHROMIUM, DRIVER, MISSING, Page, list_violations
from helpers.libraries import close_library, find_id, open_library
from helpers.pictures import jpeg, paint
from helpers.project import SAMPLES
from helpers.serving import serving, until
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from search import Engine, Hits
from search.api import file_manager, phone
from search.api.auth import Access
from search.indexing.texts import PictureTexts
from search.records.annotations import Change
from search.records.captions import CaptionProgress
from search.records.texts import TextProgress, TextReport, TextStatus

REPORT = TextReport(read=1, with_text=1)
DONE = "document.querySelector('.job[data-state=done]')"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason=MISSING),
]


@pytest.fixture
def engine(home: Path) -> Iterator[Engine]:
    engine = open_library(home)
    yield engine
    close_library(engine)


@contextmanager
def owned(engine: Engine, page: Page, **more: object) -> Iterator[str]:
    """A server whose owner has the page open; its address."""
    access = Access(token="of the owner", find_token=engine.find_token)
    with serving(engine, access, **more) as client:  # type: ignore[arg-type]
        page.emulate_media(prefers_reduced_motion="reduce")
        page.driver.delete_all_cookies()
        page.open(str(client.base_url), access.make_link())
        yield str(client.base_url)


def open_panel(page: Page) -> None:
    page.click("#library")
    page.wait_for("document.getElementById('folders').open")


def test_a_folder_is_found_by_browsing_and_added(page: Page, engine: Engine, folder: Path) -> None:
    for number in range(3):
        paint(folder / "2024" / f"{number}.jpg", number)
    (folder / ".secret").mkdir()
    with owned(engine, page, allow=[folder]):
        open_panel(page)
        page.click("#browse")
        page.wait_for("document.querySelector('#browser-list .folder-row')")
        assert str(folder) in page.read_text("#browser-list")
        page.click("#browser-list .folder-row")
        page.wait_for("document.querySelectorAll('#browser-list .folder-row').length === 3")
        assert "2024" in page.read_text("#browser-list")
        assert "3 pictures" in page.read_text("#browser-list")
        assert "hidden" in page.read_text("#browser-list li.is-muted")
        page.click(f"#browser-list li[data-path='{folder / '2024'}'] button")
        page.wait_for("document.getElementById('browser-path').textContent.endsWith('2024')")
        page.click("#browser-add")
        page.wait_for(DONE)
        page.wait_for("document.querySelector('#roots [data-path]')")
    assert [root.path for root in engine.status().roots] == [str(folder / "2024")]


def test_the_owner_allows_a_folder_by_one_click(
    page: Page, engine: Engine, folder: Path, tmp_path: Path
) -> None:
    other = paint(tmp_path / "other" / "a.jpg", 1).parent
    with owned(engine, page, allow=[folder]):
        open_panel(page)
        page.find("#folder-path").send_keys(str(other), Keys.ENTER)
        page.wait_for("!document.getElementById('folder-allow').hidden")
        assert "not allowed" in page.read_text("#folder-problem")
        assert "owner" in page.read_text("#folder-allow")
        page.click("#folder-allow button")
        page.wait_for(DONE)
    assert [root.path for root in engine.status().roots] == [str(other)]


def test_options_of_a_folder(page: Page, engine: Engine, folder: Path) -> None:
    paint(folder / "a.jpg", 1)
    paint(folder / "private" / "b.jpg", 2)
    (folder / "broken.jpg").write_bytes(b"nothing")
    (folder / "drawing.psd").write_bytes(b"x")
    engine.sync(folder)
    with owned(engine, page):
        open_panel(page)
        page.click("#roots .options > summary")
        page.click("#roots .left-out summary")
        page.wait_for("document.querySelectorAll('#roots .skipped li').length === 2")
        listed = page.find("#roots .skipped").text
        assert "broken.jpg" in listed and "not read: PSD" in listed
        page.click("#roots .skipped button")
        page.wait_for("document.querySelector('#roots .skipped button').textContent === 'Copied'")

        Select(page.find("#roots select")).select_by_visible_text("every 6 hours")
        page.wait_for("document.querySelector('#roots .meta').textContent.includes('6 hours')")
        assert engine.status().roots[0].sync_hours == 6

        page.click("#roots .options > summary")
        page.find("#roots textarea").send_keys("private")
        page.driver.find_element(By.XPATH, "//button[text()='Save and scan']").click()
        page.wait_for(DONE)
        assert engine.status().roots[0].exclude == ("private",)
        assert engine.status().pictures == 1


def test_a_file_that_is_left_out_is_shown_in_the_file_manager(
    page: Page, engine: Engine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[str] = []

    def show_file(path: str) -> bool:
        shown.append(path)
        return True

    monkeypatch.setattr(file_manager, "show_file", show_file)
    paint(folder / "a.jpg", 1)
    (folder / "drawing.psd").write_bytes(b"x")
    engine.sync(folder)
    button = f"#roots .skipped [aria-label='Show in the file manager: {folder / 'drawing.psd'}']"
    for has_desktop in (False, True):
        command = ["true"] if has_desktop else None
        monkeypatch.setattr(file_manager, "find_command", lambda _, command=command: command)
        with owned(engine, page):
            open_panel(page)
            page.click("#roots .options > summary")
            page.click("#roots .left-out summary")
            page.wait_for("document.querySelectorAll('#roots .skipped li').length === 1")
            is_offered = page.evaluate("document.querySelector(arguments[0]) !== null", button)
            assert is_offered == has_desktop
            if has_desktop:
                page.click(button)
                until(lambda: shown == [str(folder / "drawing.psd")])


def test_a_folder_is_removed_after_a_question(page: Page, engine: Engine, folder: Path) -> None:
    paint(folder / "a.jpg", 1)
    engine.sync(folder)
    with owned(engine, page):
        open_panel(page)
        page.click("#roots .options > summary")
        for answer in ("Keep it", "Remove"):
            remove = (By.XPATH, "//button[text()='Remove from the library']")
            page.wait_for("document.querySelector('#roots .root-options > .buttons button')")
            page.driver.find_element(*remove).click()
            page.wait_for("document.activeElement.textContent === 'Keep it'")
            page.driver.find_element(By.XPATH, f"//button[text()='{answer}']").click()
        page.wait_for("document.querySelector('#roots .empty-note')")
        page.wait_for("document.body.classList.contains('is-empty')")
    assert engine.status().roots == () and (folder / "a.jpg").exists()


def test_a_paused_job_goes_on(page: Page, engine: Engine, folder: Path) -> None:
    for number in range(3):
        paint(folder / f"{number}.jpg", number)
    index = engine.index
    calls = []

    def slow(*arguments: object, **more: object):  # type: ignore[no-untyped-def]
        calls.append(arguments)
        for progress in index(*arguments, **more):  # type: ignore[arg-type]
            while len(calls) == 1:
                yield progress  # until it is paused
            yield progress

    engine.index = slow  # type: ignore[method-assign]
    with owned(engine, page, allow=[folder]):
        open_panel(page)
        page.find("#folder-path").send_keys(str(folder), Keys.ENTER)
        page.wait_for("document.querySelector('.job[data-state=running]')")
        page.click(".job .panel-row button")
        page.wait_for("document.querySelector('.job[data-state=cancelled]')")
        assert "Paused" in page.read_text(".job .counts")
        page.click(".job .panel-row button")
        page.wait_for(DONE)
    assert engine.status().pictures == 3


def test_an_empty_library_offers_a_folder_first(page: Page, engine: Engine) -> None:
    with owned(engine, page):
        for width, height in ((375, 667), (1280, 720)):
            page.resize(width, height)
            button = "document.querySelector('#state button').getBoundingClientRect().bottom"
            assert page.evaluate(f"{button} < innerHeight"), (width, height)
        assert page.evaluate("document.querySelectorAll('#grid li').length") == 0
        page.driver.refresh()
        assert "empty" in page.read_placeholder()


def test_settings_are_kept_in_the_browser(page: Page, engine: Engine, folder: Path) -> None:
    for name in ("hat", "shoes"):
        shutil.copytree(SAMPLES / name, folder / name)
    engine.sync(folder)
    with owned(engine, page) as base:
        page.choose_file(SAMPLES / "hat" / "03.jpg")
        page.wait_for_results("22 results")
        page.click(".bar [data-settings]")
        models = [one.text for one in Select(page.find("#settings-model")).options]
        assert models == ["that of the server", "mini"]
        Select(page.find("#settings-cut-off")).select_by_visible_text("50% or more")
        Select(page.find("#settings-theme")).select_by_visible_text("dark")
        page.wait_for("!document.getElementById('results-title').textContent.startsWith('22 ')")
        few = len(page.list_labels())
        assert 0 < few < 22
        background = "getComputedStyle(document.body).backgroundColor"
        assert page.evaluate(background) == "rgb(18, 20, 19)"
        page.open(base)
        assert page.evaluate(background) == "rgb(18, 20, 19)"
        page.click(".bar [data-settings]")
        Select(page.find("#settings-language")).select_by_visible_text("中文")
        page.wait_for("document.documentElement.lang === 'zh-CN'")
        page.evaluate("localStorage.clear()")


def test_a_model_is_chosen_among_those_of_the_library(
    page: Page, engine: Engine, folder: Path, home: Path
) -> None:
    for name in ("01", "02", "03"):
        shutil.copy(SAMPLES / "hat" / f"{name}.jpg", folder / f"{name}.jpg")
    engine.sync(folder)
    close_library(engine)
    with Engine.open(home, model="mini-1", ocr=False) as other:
        other.sync(folder, beside=True)
    with Engine.open(home, ocr=False) as both:
        answers, search = list[str](), both.search

        def note(*arguments: Any, **options: Any) -> Hits:
            hits = search(*arguments, **options)
            answers.append(hits.model)
            return hits

        both.search = note  # type: ignore[method-assign]
        with owned(both, page) as base:
            page.choose_file(SAMPLES / "hat" / "03.jpg")
            page.wait_for_results("3 results")
            assert set(answers) == {"mini"}
            page.click(".bar [data-settings]")
            models = Select(page.find("#settings-model"))
            texts = [one.text for one in models.options]
            assert texts == ["that of the server", "mini", "mini-1"]
            answers.clear()
            models.select_by_visible_text("mini-1")
            until(lambda: "mini-1" in answers)
            page.wait_for_results("3 results")
            page.open(base)  # the choice holds
            page.click(".bar [data-settings]")
            chosen = Select(page.find("#settings-model")).first_selected_option.text
            assert chosen == "mini-1"
            both.forget_model("mini-1")  # it answers no more: the library's own does
            page.open(base)
            page.wait_for("document.getElementById('settings-model').options.length === 2")
            answers.clear()
            page.choose_file(SAMPLES / "hat" / "02.jpg")
            page.wait_for_results("3 results")
            assert set(answers) == {"mini"}
            page.evaluate("localStorage.clear()")


def test_the_settings_tell_whether_text_is_read(page: Page, engine: Engine, folder: Path) -> None:
    paint(folder / "a.jpg", 1)
    engine.sync(folder)
    with owned(engine, page):
        page.click(".bar [data-settings]")
        state = "Off, since the setting ocr is off. 0 pictures read"
        page.wait_for(
            "document.getElementById('settings-text').textContent === arguments[0]", state
        )
    read = TextStatus(enabled=True, installed=True, read=7, with_text=2)
    status = replace(engine.status(), texts=read)
    engine.status = lambda *_, **__: status  # type: ignore[method-assign]
    with owned(engine, page):
        page.click(".bar [data-settings]")
        state = "On, since the setting ocr is on. 7 pictures read"
        page.wait_for(
            "document.getElementById('settings-text').textContent === arguments[0]", state
        )


def test_labels_of_the_model_are_shown_where_the_reader_wants(
    page: Page, engine: Engine, folder: Path
) -> None:
    shutil.copy(SAMPLES / "outwear" / "03.jpg", folder / "coat.jpg")
    engine.sync(folder)
    name = engine.picture(find_id(engine, "coat")).labels[0].name
    facts = "document.getElementById('detail-facts').textContent"
    tile = "document.querySelector('#grid .frame-labels')?.textContent ?? ''"
    with owned(engine, page):
        for where, has_fact, has_tile in (
            ("view", True, False),
            ("tiles", True, True),
            ("off", False, False),
        ):
            page.click(".bar [data-settings]")
            page.choose_option("#settings-labels", where)
            page.click("#settings-close")
            page.wait_for(f"{tile}.includes(arguments[0]) === arguments[1]", name, has_tile)
            assert (f", {name}" in page.list_labels()[0].replace("coat.jpg", "")) == has_tile
            page.click("#grid a")
            page.wait_for(f"{facts}.includes('Folder')")
            assert page.evaluate(f"{facts}.includes(arguments[0])", name) == has_fact
            page.press_keys(Keys.ESCAPE)
            page.wait_for("!document.getElementById('detail').open")
        page.driver.refresh()
        page.wait_for("document.querySelector('#grid li')")
        assert page.evaluate("document.getElementById('settings-labels').value") == "off"
        page.evaluate("localStorage.clear()")


def test_help_lists_the_keys(page: Page, engine: Engine) -> None:
    with owned(engine, page):
        page.find("#words").send_keys("?")
        assert not page.evaluate("document.getElementById('help').open")
        page.evaluate("document.activeElement.blur()")
        page.press_keys("?")
        page.wait_for("document.getElementById('help').open")
        assert "show this help" in page.read_text("#help-keys")
        page.press_keys(Keys.ESCAPE)
        page.wait_for("!document.getElementById('help').open")


def test_logging_out_asks_for_the_token(page: Page, engine: Engine) -> None:
    with owned(engine, page):
        open_panel(page)
        page.wait_for("document.getElementById('log-out').checkVisibility()")
        before = page.driver.get_cookies()  # also of servers of other tests: ports share them
        page.click("#log-out")
        page.wait_for("document.getElementById('login').open")
        until(lambda: len(page.driver.get_cookies()) < len(before))
    with serving(engine) as free:
        page.open(str(free.base_url))
        open_panel(page)
        page.wait_for("document.getElementById('folders-summary').textContent")
        assert not page.find("#log-out").is_displayed() and not page.find("#phone").is_displayed()


def test_the_panel_shows_a_code_for_a_phone(
    page: Page, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(phone, "iterate_own", lambda: iter(["192.168.1.20"]))
    access = Access(token="a", host="0.0.0.0", local=False)
    with serving(engine, access, allow=[]) as client:
        page.driver.delete_all_cookies()
        page.open(str(client.base_url), access.make_link())
        open_panel(page)
        page.wait_for("document.getElementById('phone').checkVisibility()")
        page.click("#phone")
        page.wait_for("document.querySelector('.qr')?.complete")
        picture = np.frombuffer(page.find(".qr").screenshot_as_png, np.uint8)
        text, *_ = cv2.QRCodeDetector().detectAndDecode(cv2.imdecode(picture, 0))
        port = client.base_url.port
        assert text.startswith(f"http://192.168.1.20:{port}/?login=")
        page.driver.delete_all_cookies()
        page.open(str(client.base_url), text.partition(str(port))[2])  # the phone is logged in
        assert "empty" in page.read_placeholder()


def test_a_shared_picture_is_searched_by(page: Page, engine: Engine, folder: Path) -> None:
    paint(folder / "a.jpg", 1)
    engine.sync(folder)
    with owned(engine, page) as base:
        body = {"image": ("photo.jpg", jpeg(1), "image/jpeg")}
        bearer = {"Authorization": "Bearer of the owner"}
        answer = httpx.post(f"{base.rstrip('/')}/share", files=body, headers=bearer)
        page.open(base, answer.headers["location"])
        assert page.wait_for_results("1 result")[0].endswith("score 1.00")
        assert "shared" not in page.read_address()


def test_an_absent_server_is_told_by_the_page_that_is_kept(
    page: Page, engine: Engine, folder: Path
) -> None:
    paint(folder / "a.jpg", 1)
    engine.sync(folder)
    with owned(engine, page) as base:
        page.wait_for("navigator.serviceWorker.controller")
        caching = "const [done] = arguments; caches.open('lookalike-page').then(c => c.keys())"
        keys = f"{caching}.then(k => done(k.map(r => new URL(r.url).pathname)))"
        until(lambda: "/web/app.js" in page.driver.execute_async_script(keys))
        assert not [one for one in page.driver.execute_async_script(keys) if "/api/" in one]
    page.driver.get(base)
    assert "does not answer" in page.read_placeholder()
    assert not page.find("#detail-gone").is_displayed()
    assert page.find("#state button").is_displayed()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(page: Page, engine: Engine, folder: Path, scheme: str) -> None:
    paint(folder / "a.jpg", 1)
    (folder / "drawing.psd").write_bytes(b"x")
    with owned(engine, page, allow=[folder]) as base:
        page.emulate_media(prefers_color_scheme=scheme, prefers_reduced_motion="reduce")
        violations = {"empty": list_violations(page)}
        open_panel(page)
        page.click("#browse")
        page.wait_for("document.querySelector('#browser-list .folder-row')")
        violations["browser"] = list_violations(page)
        page.click("#browser-list .folder-row")
        page.wait_for("!document.getElementById('browser-add').hidden")
        page.click("#browser-add")
        page.wait_for(DONE)
        page.wait_for("document.querySelector('#roots .options')")
        page.click("#roots .options > summary")
        page.click("#roots .left-out summary")
        page.wait_for("document.querySelector('#roots .skipped li')")
        violations["panel"] = list_violations(page)
        page.click("#folders-close")
        for name in ("settings", "help"):
            page.click(f".bar [data-{name}]")
            violations[name] = list_violations(page)
            page.click(f"#{name}-close")
        page.open(base)
        violations["start"] = list_violations(page)
        page.choose_file(folder / "a.jpg")
        page.wait_for_results("1 result")
        violations["results"] = list_violations(page)
        page.driver.get(f"{base.rstrip('/')}/docs")
        violations["docs"] = list_violations(page)
    assert {name: one for name, one in violations.items() if one} == {}


def test_a_route_is_tried_in_the_reference(page: Page, engine: Engine, folder: Path) -> None:
    """Without a file of another server."""
    paint(folder / "a.jpg", 1)
    engine.sync(folder)
    with owned(engine, page) as base:
        page.driver.get(f"{base.rstrip('/')}/docs")
        page.list_requests()
        answer = "document.querySelector('#{} .answer pre')?.textContent ?? ''"
        page.click("#list_images summary")
        page.click("#list_images button")
        page.wait_for(f"{answer.format('list_images')}.includes('a.jpg')")
        page.click("#search_images summary")
        page.find("#search_images input[type=file]").send_keys(str(folder / "a.jpg"))
        page.click("#search_images button")
        page.wait_for(f"{answer.format('search_images')}.includes('\"score\": 1')")
        page.click("#list_folders summary")
        page.find("#list_folders input").clear()
        page.find("#list_folders input").send_keys("/etc")
        page.click("#list_folders button")
        page.wait_for(f"{answer.format('list_folders')}.includes('folder_not_allowed')")
        assert all(url.startswith((base, "blob:")) for url in page.list_requests())


def test_a_picture_is_not_called_gone_while_the_server_is(
    page: Page, engine: Engine, folder: Path
) -> None:
    paint(folder / "a.jpg", 1)
    paint(folder / "b.jpg", 2)
    engine.sync(folder)
    problem = "document.getElementById('detail-problem').textContent"
    with owned(engine, page):
        (folder / "b.jpg").unlink()
        page.click("#grid a[aria-label^='b.jpg']")
        page.wait_for("document.getElementById('detail-gone').checkVisibility()")
        page.press_keys(Keys.ESCAPE)
        page.wait_for("!document.getElementById('detail').open")
    page.click("#grid a[aria-label^='a.jpg']")
    page.wait_for(f"{problem}.includes('does not answer')")
    page.driver.execute_async_script("setTimeout(arguments[0], 300)")
    assert not page.find("#detail-gone").is_displayed()


def test_captions_are_started_paused_and_counted(
    page: Page, home: Path, folder: Path, coca: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = open_library(home, caption_model=coca)
    for number in range(3):
        paint(folder / f"{number}.jpg", number)
    engine.sync(folder)
    engine.tags.change([find_id(engine, "0")], Change(caption="Mine"))
    caption, is_slow = engine.caption, [True]

    def slow(*arguments: object) -> Iterator[CaptionProgress]:
        for progress in caption(*arguments):  # type: ignore[arg-type]
            while is_slow:
                yield progress  # until it is paused
            yield progress

    monkeypatch.setattr(engine, "caption", slow)
    state = "document.getElementById('caption-state').textContent"
    try:
        with owned(engine, page):
            open_panel(page)
            page.wait_for(f"{state} === '1 by people and files · 0 by a model · 2 without'")
            models = Select(page.find("#caption-model"))
            assert [one.text for one in models.options] == [coca]
            assert "seconds" in page.read_text("#caption-hint")
            assert list_violations(page) == []
            page.click("#caption-start")
            page.wait_for("document.querySelector('.job[data-state=running]')")
            assert "Captioning pictures" in page.read_text(".job")
            page.wait_for("document.getElementById('caption-start').disabled")
            page.click(".job .panel-row button")
            page.wait_for("document.querySelector('.job[data-state=cancelled]')")
            assert "What was made stays" in page.read_text(".job")
            is_slow.clear()
            page.click(".job .panel-row button")
            page.wait_for(DONE)
            assert "2 pictures captioned" in page.read_text(".job[data-state=done]")
            page.wait_for(f"{state} === '1 by people and files · 2 by a model · 0 without'")
            page.wait_for("!document.getElementById('caption-start').disabled")
    finally:
        close_library(engine)


def test_the_text_in_pictures_is_read_from_the_panel(
    page: Page, engine: Engine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paint(folder / "a.jpg", 1)
    engine.sync(folder)
    status = TextStatus(enabled=False, pending=1)

    def read_one(_: PictureTexts) -> Iterator[TextProgress]:
        yield TextProgress(1, 1, None, REPORT)

    monkeypatch.setattr(PictureTexts, "status", lambda *_, **__: status)
    monkeypatch.setattr(PictureTexts, "read", read_one)
    with owned(engine, page):
        open_panel(page)
        page.wait_for("document.getElementById('text-hint').textContent.startsWith('Off')")
        assert not page.find("#text-start").is_displayed()
        status = TextStatus(installed=False, install="pip install 'lookalike[ocr]'", pending=1)
        page.wait_for("document.getElementById('text-hint').textContent.includes('pip install')")
        status = TextStatus(pending=1)
        page.wait_for("document.getElementById('text-start').checkVisibility()")
        assert "1 still to be read" in page.read_text("#text-state")
        status = TextStatus(read=1, with_text=1)
        page.click("#text-start")
        page.wait_for(DONE)
        assert "Reading the text" in page.read_text(".job")
        assert "1 picture read · 1 with text" in page.read_text(".job")
        page.wait_for("!document.getElementById('text-start').checkVisibility()")


def test_what_people_say_is_saved_and_added(
    page: Page, engine: Engine, folder: Path, tmp_path: Path
) -> None:
    paint(folder / "a.jpg", 1)
    engine.sync(folder)
    engine.tags.add([find_id(engine, "a")], ["lake"])
    page.cdp("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    with owned(engine, page):
        open_panel(page)
        page.click("a[href='/api/v1/annotations']")
        saved = tmp_path / "lookalike-annotations.json"
        until(saved.exists, 60)
        engine.tags.change([find_id(engine, "a")], Change(remove_tags=("lake",)))
        document = json.loads(saved.read_text())
        document["pictures"].append(
            {**document["pictures"][0], "id": "0" * 64, "paths": ["/b.jpg"]}
        )
        saved.write_text(json.dumps(document))
        page.find("#annotations-file").send_keys(str(saved))
        state = "document.getElementById('annotations-state').textContent"
        page.wait_for(f"{state} === '1 picture from the file · 1 not in this library'")
        assert list(engine.picture(find_id(engine, "a")).annotations.tags) == ["lake"]
        saved.write_text("{}")
        page.find("#annotations-file").send_keys(str(saved))
        page.wait_for("document.getElementById('descriptions-problem').textContent !== ''")
        assert list_violations(page) == []
