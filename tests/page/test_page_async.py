"""The page while it waits: jobs, late answers, lists that grow, and the focus."""

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
from sqlalchemy import delete
from test_page import FOCUSED, HAT, ID, LINK

from search import Engine, Progress
from search.api.jobs import Jobs
from search.catalog import schema
from search.errors import StorageError
from search.records.indexing import IndexReport
from search.records.pictures import KeptPicture

pytestmark = test_page.pytestmark
photos, shared, client = (
    test_page.photos,
    test_page.shared,
    test_page.client,
)
web, crowd = test_page.web, test_page.crowd

ANSWERED = "fetch('/api/v1/status').then((answer) => answer.status)"


def create_waiting_run(go: threading.Event) -> Callable[[], Iterator[Progress]]:
    """A run that adds nothing and ends when the event is set."""

    def run() -> Iterator[Progress]:
        yield Progress("scan", 0, 0)
        while not go.wait(0.05):
            yield Progress("index", 1, 2, "a.jpg")
        yield Progress("finish", 2, 2, None, IndexReport(unchanged=2))

    return run


def start_jobs(client: httpx.Client, *names: str) -> tuple[Jobs, threading.Event]:
    """Start jobs that end when the returned event is set."""
    jobs, go = client.app.state.context.jobs, threading.Event()  # type: ignore[attr-defined]
    for name in names:
        jobs.start("index", name, name, create_waiting_run(go))
    return jobs, go


def await_promise(page: Page, code: str) -> Any:
    """Return the value of a promise of the page."""
    page.driver.set_script_timeout(20)
    return page.driver.execute_async_script(f"const done = arguments[0]; ({code}).then(done)")


def read_focus(page: Page) -> str:
    return str(page.evaluate(f"{FOCUSED}.id || {FOCUSED}.className || {FOCUSED}.tagName"))


# jobs --------------------------------------------------------------------------------------------


def test_many_jobs_do_not_block_the_page(page: Page, client: httpx.Client, base: str) -> None:
    _, go = start_jobs(client, *(f"/many/{i}" for i in range(9)))
    try:
        page.open(base)
        page.wait_for("document.querySelectorAll('.job').length === 9")
        page.wait_for("document.querySelector('.job[data-state=running]')")
        assert await_promise(page, ANSWERED) == 200
        open_ends = "performance.getEntries().filter((e) => e.name.endsWith('/events')).length"
        assert page.evaluate(open_ends) == 0  # all tabs of a browser share a few connections
    finally:
        go.set()
    page.wait_for("document.querySelectorAll('.job[data-state=done]').length === 9")


def test_a_job_that_the_server_does_not_know_ends(
    page: Page, client: httpx.Client, base: str, shared: Engine
) -> None:
    jobs, go = start_jobs(client, "/gone")
    page.open(base)
    page.click("#library")
    page.wait_for("document.querySelector('.job[data-state=running]')")
    cancel = "document.querySelector('.job .panel-row button')"
    page.evaluate(f"{cancel}.focus()")
    known = dict(jobs._jobs)
    jobs._jobs.clear()
    with shared.library.database.write() as c:
        c.execute(delete(schema.jobs))
    page.evaluate(f"{cancel}?.click()")  # unless the page has learned by itself that it ended
    page.wait_for("document.querySelector('.job[data-state=cancelled]')")
    assert read_focus(page) == "folders-close"
    jobs._jobs.update(known)
    go.set()


def test_a_job_without_changes_does_not_reload_the_page(
    page: Page,
    client: httpx.Client,
    base: str,
    shared: Engine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, go = start_jobs(client, "/same")
    page.open(base)
    page.wait_for("document.querySelector('.job[data-state=running]')")
    page.evaluate("document.querySelector('#grid').firstChild.dataset.mark = 1")
    page.find("#words").send_keys("half a wo")
    listed = list[int]()
    monkeypatch.setattr(shared, "browse", lambda *_, **__: listed.append(1))
    go.set()
    page.wait_for("document.querySelector('.job[data-state=done]')")
    await_promise(page, "new Promise((done) => setTimeout(done, 500))")
    assert listed == []
    assert page.evaluate("document.getElementById('words').value") == "half a wo"
    assert page.evaluate("document.querySelector('#grid').firstChild.dataset.mark") == "1"


# late answers ------------------------------------------------------------------------------------


def test_keeping_a_picture_does_not_undo_navigation(
    page: Page, base: str, shared: Engine, unknown: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = threading.Event()

    def slow(*_: Any) -> KeptPicture:
        go.wait(20)
        return KeptPicture(**vars(shared.picture(ID)), is_new=True)

    monkeypatch.setattr(shared, "keep", slow)
    page.open(base)
    page.drop_file(unknown)
    page.wait_for_results("22 results")
    page.click("#keep")
    page.click("#grid a")
    page.click("#detail-similar")
    page.wait_for("location.search.startsWith('?q=id:') && !location.search.includes('see=')")
    page.wait_for_results("22 results")
    here = page.read_address()
    go.set()
    page.wait_for("document.getElementById('toast').textContent.includes('Kept')")
    assert await_promise(page, ANSWERED) == 200
    assert page.read_address() == here and not page.find("#keep").is_displayed()
    go.clear()
    page.drop_file(unknown)
    page.wait_for_results("22 results")
    page.click("#keep")
    page.click(".brand")
    page.wait_for_results("Newest")
    go.set()
    page.wait_for("!document.getElementById('keep').ariaDisabled")
    assert page.read_address() == "/" and page.wait_for_results("Newest")


def test_the_link_to_the_pictures_keeps_the_query(page: Page, base: str, unknown: Path) -> None:
    page.open(base)
    page.drop_file(unknown)
    page.wait_for_results("22 results")
    page.evaluate("document.querySelector('.skip-link').focus()")
    page.press_keys(Keys.ENTER)
    assert read_focus(page) == "results"
    assert page.wait_for_results("22 results") and page.find("#query").is_displayed()


def test_an_address_that_failed_can_be_tried_again(
    page: Page, base: str, web: str, tmp_path: Path
) -> None:
    page.open(base)
    page.find("#words").send_keys(f"{web}/later.png", Keys.ENTER)
    page.read_placeholder()
    (tmp_path / "later.png").write_bytes(HAT.read_bytes())
    page.find("#words").send_keys(Keys.ENTER)
    assert page.wait_for_results("22 results")
    page.wait_for(
        "document.querySelector('#stage.is-ready') && !document.getElementById('stage').hidden"
    )


def test_an_empty_library_stays_one_after_a_search(page: Page, home: Path) -> None:
    engine = open_library(home)
    with serving(engine) as client:
        page.open(str(client.base_url))
        assert "empty" in page.read_placeholder().lower()
        page.drop_file(HAT)
        page.wait_for("document.body.classList.contains('has-request')")
        page.read_placeholder()
        page.driver.back()
        page.wait_for("!document.body.classList.contains('has-request')")
        assert page.read_placeholder().endswith("Add a folder")
    close_library(engine)


# lists that grow ---------------------------------------------------------------------------------


def test_arrow_keys_load_more_pictures(page: Page, crowd: httpx.Client) -> None:
    page.open(str(crowd.base_url))
    page.click("#grid li[data-place='0'] a")
    page.wait_for("document.getElementById('detail').open")
    page.press_keys(*[Keys.ARROW_RIGHT] * 99)
    name = "document.getElementById('detail-name').textContent"
    page.wait_for(f"{name} === '04900.jpg'")
    page.wait_for("!document.getElementById('detail-next').disabled")
    page.press_keys(*[Keys.ARROW_RIGHT] * 10)
    page.wait_for(f"{name} === '04890.jpg'")


def test_a_failing_page_is_not_requested_endlessly(
    page: Page, crowd: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = crowd.app.state.context.engine  # type: ignore[attr-defined]
    real, pages = engine.browse, list[int]()

    def fail_later(*args: Any, cursor: str | None = None, **more: Any) -> Any:
        pages.append(2 if cursor else 1)
        if cursor:
            raise StorageError("no")
        return real(*args, **more)

    monkeypatch.setattr(engine, "browse", fail_later)
    page.open(str(crowd.base_url))
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    until(lambda: 2 in pages)
    await_promise(page, "new Promise((done) => setTimeout(done, 700))")
    assert pages.count(2) <= 6  # as often as it was scrolled, not for ever
    monkeypatch.undo()
    page.wait_for(
        "(scrollTo(0, document.body.scrollHeight - innerHeight - 50 * Math.random()), "
        "[...document.querySelectorAll('#grid li')].some(l => l.ariaPosInSet > 101))"
    )


# the focus ---------------------------------------------------------------------------------------


def test_the_focus_stays_where_keys_go_on(page: Page, base: str) -> None:
    page.open(base, LINK)
    page.wait_for_results("22 results")
    page.click("#grid li[data-place='1'] a")
    page.wait_for("document.getElementById('detail').open")
    page.evaluate("document.getElementById('detail-previous').focus()")
    page.press_keys(Keys.ENTER)
    page.wait_for("document.getElementById('detail-previous').disabled")
    assert read_focus(page) == "detail-close"
    before = page.read_address()
    page.press_keys(Keys.ARROW_RIGHT)
    page.wait_for("location.search !== arguments[0]", before)
    page.press_keys(Keys.ESCAPE)
    page.wait_for("!document.getElementById('detail').open")
    page.click("#crop-start")
    page.wait_for("location.search.includes('crop=')")
    page.press_keys(Keys.DELETE)
    page.wait_for("!location.search.includes('crop=')")
    assert read_focus(page) == "crop-start"


def test_the_focus_moves_on_from_removed_elements(
    page: Page, home: Path, folder: Path, crowd: httpx.Client
) -> None:
    for seed in range(3):
        paint(folder / f"{seed}.jpg", seed)
    engine = open_library(home)
    engine.sync(folder)
    with serving(engine) as client:
        page.open(str(client.base_url))
        page.click("#library")
        page.wait_for("document.querySelector('#roots button')")
        page.evaluate("document.querySelector('#roots button').focus()")
        page.evaluate("document.querySelector('#roots li').dataset.mark = 1")
        page.press_keys(Keys.ENTER)  # look again
        page.wait_for("document.querySelector('.job[data-state=done]')")
        page.wait_for("!document.querySelector('#roots li').dataset.mark")
        assert page.evaluate(f"Boolean({FOCUSED}.closest('#roots'))")
    close_library(engine)
    page.open(str(crowd.base_url), f"/?q=id:{hashlib.sha256(bytes(4)).hexdigest()[:16]}")
    page.wait_for_results("200 results")
    page.evaluate("document.getElementById('more').focus()")
    page.press_keys(Keys.ENTER)
    page.wait_for_results("1,000 results")
    assert read_focus(page) == "results"


def test_the_focus_moves_on_from_the_keep_button(page: Page, home: Path) -> None:
    engine = open_library(home)
    engine.keep(jpeg(1))
    with serving(engine) as client:
        page.open(str(client.base_url))
        page.drop_file(HAT)
        page.wait_for_results("1 result")
        page.evaluate("document.getElementById('keep').focus()")
        page.press_keys(Keys.ENTER)
        page.wait_for("document.getElementById('keep').hidden")
        assert read_focus(page) == "query-variants"
    close_library(engine)
