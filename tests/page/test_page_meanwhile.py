"""The page while things go on: jobs, late answers, lists that grow; and where the focus is."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import test_page
from helpers.browsing import Page
from helpers.libraries import close_library, open_library
from helpers.pictures import jpeg, paint
from helpers.serving import serving, until
from selenium.webdriver.common.keys import Keys
from test_page import FOCUSED, HAT, ID, LINK

from search import Engine, Progress
from search.api.jobs import Jobs
from search.errors import StorageError
from search.records import IndexReport

pytestmark = test_page.pytestmark
photos, shared, client, base = (
    test_page.photos,
    test_page.shared,
    test_page.client,
    test_page.base,
)
unknown, web, crowd = test_page.unknown, test_page.web, test_page.crowd

ANSWERED = "fetch('/api/v1/status').then((answer) => answer.status)"


def gated(go: threading.Event) -> Callable[[], Iterator[Progress]]:
    """A run that adds nothing, once it may."""

    def run() -> Iterator[Progress]:
        yield Progress("scan", 0, 0)
        while not go.wait(0.05):
            yield Progress("index", 1, 2, "a.jpg")
        yield Progress("finish", 2, 2, None, IndexReport(unchanged=2))

    return run


def begun(client: httpx.Client, *names: str) -> tuple[Jobs, threading.Event]:
    """Jobs of these names, that end once they may."""
    jobs, go = client.app.state.context.jobs, threading.Event()  # type: ignore[attr-defined]
    for name in names:
        jobs.start("index", name, name, gated(go))
    return jobs, go


def promised(page: Page, code: str) -> Any:
    """What a promise in the page comes to."""
    page.driver.set_script_timeout(20)
    return page.driver.execute_async_script(f"const done = arguments[0]; ({code}).then(done)")


def focus(page: Page) -> str:
    return str(page.js(f"{FOCUSED}.id || {FOCUSED}.className || {FOCUSED}.tagName"))


# jobs ------------------------------------------------------------------------------------------


def test_many_jobs_at_once_leave_the_page_free(page: Page, client: httpx.Client, base: str) -> None:
    _, go = begun(client, *(f"/many/{i}" for i in range(9)))
    try:
        page.open(base)
        page.wait("document.querySelectorAll('.work').length === 9")
        page.wait("document.querySelector('.work[data-state=running]')")
        assert promised(page, ANSWERED) == 200
        open_ends = "performance.getEntries().filter((e) => e.name.endsWith('/events')).length"
        assert page.js(open_ends) == 0  # which all tabs of a browser share few of
    finally:
        go.set()
    page.wait("document.querySelectorAll('.work[data-state=done]').length === 9")


def test_a_job_that_the_server_has_forgotten_ends(
    page: Page, client: httpx.Client, base: str
) -> None:
    jobs, go = begun(client, "/gone")
    page.open(base)
    page.click("#library")
    page.wait("document.querySelector('.work[data-state=running]')")
    known = dict(jobs._jobs)
    jobs._jobs.clear()  # as a new start does
    page.click(".work .quiet")
    page.wait("document.querySelector('.work[data-state=cancelled]')")
    assert focus(page) == "folders-close"
    jobs._jobs.update(known)
    go.set()


def test_the_end_of_a_job_that_added_nothing_disturbs_nobody(
    page: Page,
    client: httpx.Client,
    base: str,
    shared: Engine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, go = begun(client, "/same")
    page.open(base)
    page.wait("document.querySelector('.work[data-state=running]')")
    page.js("document.querySelector('#grid').firstChild.dataset.mark = 1")
    page.find("#words").send_keys("half a wo")
    listed = list[int]()
    monkeypatch.setattr(shared, "pictures", lambda page=1, size=100: listed.append(page))
    go.set()
    page.wait("document.querySelector('.work[data-state=done]')")
    promised(page, "new Promise((done) => setTimeout(done, 500))")
    assert listed == []
    assert page.js("document.getElementById('words').value") == "half a wo"
    assert page.js("document.querySelector('#grid').firstChild.dataset.mark") == "1"


# answers that come late ------------------------------------------------------------------------


def test_who_moves_on_while_a_picture_is_kept_is_not_thrown_back(
    page: Page, base: str, shared: Engine, unknown: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = threading.Event()

    def slow(_: bytes | str) -> Any:
        go.wait(20)
        return shared.picture(ID)

    monkeypatch.setattr(shared, "keep", slow)
    page.open(base)
    page.drop(unknown)
    page.results("22 results")
    page.click("#keep")
    page.click("#grid a")
    page.click("#detail-similar")
    page.wait("location.search.startsWith('?q=id:') && !location.search.includes('see=')")
    page.results("22 results")
    here = page.path()
    go.set()
    page.wait("document.getElementById('toast').textContent.includes('Kept')")
    assert promised(page, ANSWERED) == 200
    assert page.path() == here and not page.find("#keep").is_displayed()
    go.clear()
    page.drop(unknown)
    page.results("22 results")
    page.click("#keep")
    page.click(".brand")
    page.results("Newest")
    go.set()
    page.wait("!document.getElementById('keep').ariaDisabled")
    assert page.path() == "/" and page.results("Newest")


def test_the_link_to_the_pictures_keeps_the_query(page: Page, base: str, unknown: Path) -> None:
    page.open(base)
    page.drop(unknown)
    page.results("22 results")
    page.js("document.querySelector('.skip').focus()")
    page.press(Keys.ENTER)
    assert focus(page) == "found"
    assert page.results("22 results") and page.find("#query").is_displayed()


def test_an_address_that_failed_can_be_asked_for_again(
    page: Page, base: str, web: str, tmp_path: Path
) -> None:
    page.open(base)
    page.find("#words").send_keys(f"{web}/later.png", Keys.ENTER)
    page.said()
    (tmp_path / "later.png").write_bytes(HAT.read_bytes())
    page.find("#words").send_keys(Keys.ENTER)
    assert page.results("22 results")
    page.wait("document.querySelector('#stage.ready') && !document.getElementById('stage').hidden")


def test_an_empty_library_stays_one_after_a_search(page: Page, home: Path) -> None:
    engine = open_library(home)
    with serving(engine) as client:
        page.open(str(client.base_url))
        assert "empty" in page.said().lower()
        page.drop(HAT)
        page.wait("document.body.classList.contains('asking')")
        page.said()
        page.driver.back()
        page.wait("!document.body.classList.contains('asking')")
        assert page.said().endswith("Add a folder")
    close_library(engine)


# lists that grow -------------------------------------------------------------------------------


def test_arrows_walk_beyond_what_was_loaded(page: Page, crowd: httpx.Client) -> None:
    page.open(str(crowd.base_url))
    page.click("#grid li[data-place='0'] a")
    page.wait("document.getElementById('detail').open")
    page.press(*[Keys.ARROW_RIGHT] * 99)
    name = "document.getElementById('detail-name').textContent"
    page.wait(f"{name} === '04900.jpg'")
    page.wait("!document.getElementById('detail-next').disabled")
    page.press(*[Keys.ARROW_RIGHT] * 10)
    page.wait(f"{name} === '04890.jpg'")


def test_a_page_that_fails_is_not_asked_for_without_end(
    page: Page, crowd: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = crowd.app.state.context.engine  # type: ignore[attr-defined]
    real, asked = engine.pictures, list[int]()

    def failing(page: int = 1, size: int = 100) -> Any:
        asked.append(page)
        if page > 1:
            raise StorageError("no")
        return real(page, size)

    monkeypatch.setattr(engine, "pictures", failing)
    page.open(str(crowd.base_url))
    page.js("scrollTo(0, document.body.scrollHeight)")
    until(lambda: 2 in asked)
    promised(page, "new Promise((done) => setTimeout(done, 700))")
    assert asked.count(2) <= 6  # as often as it was scrolled, not for ever
    monkeypatch.undo()
    page.wait(
        "(scrollTo(0, document.body.scrollHeight - innerHeight - 50 * Math.random()), "
        "[...document.querySelectorAll('#grid li')].some(l => l.ariaPosInSet > 101))"
    )


# where the focus is ----------------------------------------------------------------------------


def test_the_focus_stays_where_keys_go_on(page: Page, base: str) -> None:
    page.open(base, LINK)
    page.results("22 results")
    page.click("#grid li[data-place='1'] a")
    page.wait("document.getElementById('detail').open")
    page.js("document.getElementById('detail-previous').focus()")
    page.press(Keys.ENTER)
    page.wait("document.getElementById('detail-previous').disabled")
    assert focus(page) == "detail-close"
    before = page.path()
    page.press(Keys.ARROW_RIGHT)
    page.wait("location.search !== arguments[0]", before)
    page.press(Keys.ESCAPE)
    page.wait("!document.getElementById('detail').open")
    page.click("#crop-start")
    page.wait("location.search.includes('crop=')")
    page.press(Keys.DELETE)
    page.wait("!location.search.includes('crop=')")
    assert focus(page) == "crop-start"


def test_the_focus_outlives_what_goes_away(
    page: Page, home: Path, folder: Path, crowd: httpx.Client
) -> None:
    for seed in range(3):
        paint(folder / f"{seed}.jpg", seed)
    engine = open_library(home)
    engine.sync(folder)
    with serving(engine) as client:
        page.open(str(client.base_url))
        page.click("#library")
        page.wait("document.querySelector('#roots button')")
        page.js("document.querySelector('#roots button').focus()")
        page.js("document.querySelector('#roots li').dataset.mark = 1")
        page.press(Keys.ENTER)  # look again
        page.wait("document.querySelector('.work[data-state=done]')")
        page.wait("!document.querySelector('#roots li').dataset.mark")
        assert page.js(f"Boolean({FOCUSED}.closest('#roots'))")
    close_library(engine)
    page.open(str(crowd.base_url), f"/?q=id:{hashlib.sha256(bytes(4)).hexdigest()[:16]}")
    page.results("200 results")
    page.js("document.getElementById('more').focus()")
    page.press(Keys.ENTER)
    page.results("1,000 results")
    assert focus(page) == "found"


def test_the_focus_goes_on_from_a_picture_that_was_kept(page: Page, home: Path) -> None:
    engine = open_library(home)
    engine.keep(jpeg(1))
    with serving(engine) as client:
        page.open(str(client.base_url))
        page.drop(HAT)
        page.results("1 result")
        page.js("document.getElementById('keep').focus()")
        page.press(Keys.ENTER)
        page.wait("document.getElementById('keep').hidden")
        assert focus(page) == "query-make"
    close_library(engine)
