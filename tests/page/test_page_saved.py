"""The page in a headless Chromium: saved searches."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.browsing import CHROMIUM, DRIVER, MISSING, QUIET, Page, list_violations
from helpers.libraries import close_library, open_library
from helpers.pictures import jpeg
from helpers.serving import own_base, serving
from selenium.webdriver.common.keys import Keys

from search import Engine, Query
from search.api.auth import Access
from search.querying.query import Term

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason=MISSING),
]
base = own_base

SHOWN = "[...document.querySelectorAll('#grid a')].map(a => a.title.split('/').at(-1)[0]).join('')"
SAVED = "[...document.querySelectorAll('#saved-start-list li')].map(li => li.innerText.trim())"
IN_PANEL = "[...document.querySelectorAll('#saved-list .facet')].map(one => one.textContent)"
OPEN_DIALOG = "document.querySelector('dialog[open]')?.id"


@pytest.fixture
def engine(home: Path, folder: Path) -> Iterator[Engine]:
    engine = open_library(home)
    add(engine, folder, 1, 2, 3)
    yield engine
    close_library(engine)


def add(engine: Engine, folder: Path, *seeds: int) -> None:
    for seed in seeds:
        (folder / f"{seed}.jpg").write_bytes(jpeg(seed))
    engine.sync(folder)


def save(page: Page, name: str) -> str:
    """Save what is searched for, and return the name that the page proposes."""
    page.click("#search-save")
    page.wait_for(f"{OPEN_DIALOG} === 'ask'")
    proposed = str(page.evaluate("document.getElementById('ask-text').value"))
    page.press_keys(*name, Keys.ENTER)  # the proposed name is selected
    return proposed


def press(page: Page, button: str) -> None:
    """Press a button of a list by the keyboard. The list is drawn anew while it counts."""
    page.evaluate("document.querySelector(arguments[0]).focus()", button)
    page.press_keys(Keys.ENTER)


def wait_for_toast(page: Page, text: str) -> None:
    page.wait_for("document.getElementById('toast').textContent.includes(arguments[0])", text)


def test_a_search_is_saved_and_tells_what_is_new(
    page: Page, base: str, engine: Engine, folder: Path
) -> None:
    page.open(base, "/?w=type%3Djpeg")
    assert save(page, "all of them") == "Type: JPEG"
    wait_for_toast(page, "“all of them” is saved")
    add(engine, folder, 4, 5)
    page.open(base)
    page.wait_for(f"{SAVED}[0] === 'all of them\\n2 new'")
    page.click("#saved-start .saved-new")
    page.wait_for(f"{QUIET} && {SHOWN}.length === 2")
    assert set(page.evaluate(SHOWN)) == {"4", "5"}
    assert page.read_text("#results-title") == "2 new in “all of them”"
    assert page.read_address() == "/?w=type%3Djpeg&new=all%20of%20them"
    page.driver.refresh()  # the address says so too
    page.wait_for(f"{QUIET} && {SHOWN}.length === 2")
    page.click(".condition-action")
    page.wait_for(f"{QUIET} && {SHOWN}.length === 5")
    assert page.read_address() == "/?w=type%3Djpeg"
    page.open(base)
    page.wait_for(f"{SAVED}[0] === 'all of them'")
    page.open(base, "/?w=type%3Djpeg&new=all%20of%20them")
    assert "Nothing is new" in page.read_placeholder()
    page.click(".condition")
    page.wait_for(f"{QUIET} && {SHOWN}.length === 5")


def test_a_search_by_pictures_and_words_is_opened_with_all_of_it(
    page: Page, base: str, engine: Engine, tmp_path: Path
) -> None:
    query = tmp_path / "my query.jpg"
    query.write_bytes(jpeg(2) + b"\0")  # not in the library
    page.open(base)
    page.choose_file(query)
    page.wait_for_results()
    page.find("#term-words").send_keys("hat", Keys.ENTER)
    page.wait_for(f"{QUIET} && document.querySelectorAll('.term').length === 2")
    assert save(page, "like two") == "my query.jpg"
    wait_for_toast(page, "is saved")
    (saved,) = engine.saved_searches()
    assert [set(term) for term in saved.query["terms"]] == [{"image", "weight"}, {"text", "weight"}]
    assert engine.saved_picture("like two", 0) == query.read_bytes()
    page.evaluate("indexedDB.deleteDatabase('lookalike') && history.replaceState(null, '', '/')")
    page.open(base)
    page.wait_for(f"{SAVED}[0] === 'like two'")
    press(page, "#saved-start .saved-open")
    page.wait_for(f"{QUIET} && document.querySelectorAll('.term').length === 2")
    page.wait_for("document.getElementById('query-image').naturalWidth > 0")
    names = "[...document.querySelectorAll('.term-name')].map(one => one.textContent)"
    assert page.evaluate(names) == ["like two", "hat"]
    assert not page.list_warnings()


def test_the_filters_rename_replace_mark_and_delete(
    page: Page, base: str, engine: Engine, folder: Path
) -> None:
    engine.save_search("one", Query((), where=("width>10",)))
    page.open(base, "/?w=height%3E10")
    page.click("#filters-open")
    page.wait_for(f"{IN_PANEL}[0] === 'one'")
    save(page, "one")
    page.wait_for("document.getElementById('ask-title').textContent.includes('Replace it?')")
    page.click("#ask-confirm")
    wait_for_toast(page, "“one” is saved")
    assert [one.query["where"] for one in engine.saved_searches()] == [["height>10"]]
    save(page, "a/b")
    wait_for_toast(page, "no slash")
    press(page, "#saved-list [data-key='edit one']")
    page.wait_for(f"{OPEN_DIALOG} === 'ask'")
    page.find("#ask-text").clear()
    page.find("#ask-text").send_keys("tall ones", Keys.ENTER)
    page.wait_for(f"{IN_PANEL}[0] === 'tall ones'")
    add(engine, folder, 4)
    page.driver.refresh()
    page.wait_for(QUIET)
    if page.evaluate("document.getElementById('finder').hidden"):
        page.click("#filters-open")
    page.wait_for("document.querySelector('#saved-list .saved-new')?.textContent === '1 new'")
    press(page, "#saved-list [data-key='check tall ones']")
    page.wait_for("!document.querySelector('#saved-list .saved-new')")
    assert not engine.run_saved_search("tall ones", "last").hits
    press(page, "#saved-list [data-key='bin tall ones']")
    page.wait_for(f"{OPEN_DIALOG} === 'ask'")
    page.click("#ask-confirm")
    page.wait_for("document.getElementById('saved-group').hidden")
    assert engine.saved_searches() == []


def test_a_search_that_the_page_cannot_show_says_so(page: Page, base: str, engine: Engine) -> None:
    vector = tuple(float(i == 0) for i in range(512))
    engine.save_search("by vector", Query((Term(vector=vector),), k=2))
    engine.save_search("hidden too", Query.of(text="hat", hidden=True))
    page.open(base)
    page.wait_for(f"{SAVED}.length === 2")
    page.click("#saved-start [data-key='open by vector']")
    wait_for_toast(page, "cannot show this search")
    page.click("#saved-start [data-key='open hidden too']")
    wait_for_toast(page, "leaves out parts of this search: hidden pictures")
    page.wait_for("document.getElementById('words').value === 'hat'")


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_phone_has_all_of_it(page: Page, base: str, engine: Engine, language: str) -> None:
    engine.save_search("a name that is long enough for two lines of a phone", Query.of(text="hat"))
    page.resize(375, 760, touch=True)
    page.open(base)
    page.evaluate(
        "localStorage.setItem('lookalike-preferences', JSON.stringify({language: arguments[0]}))",
        language,
    )
    page.open(base)
    page.wait_for(f"{SAVED}.length === 1")
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    assert list_violations(page) == []
    page.click("#filters-open")
    page.wait_for(f"{OPEN_DIALOG} === 'finder-sheet'")
    assert list_violations(page) == []
    page.click("#saved-list .facet")
    page.wait_for(
        f"{QUIET} && !({OPEN_DIALOG}) && document.getElementById('words').value === 'hat'"
    )
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    page.click("#search-save")
    page.wait_for(f"{OPEN_DIALOG} === 'ask'")
    assert list_violations(page) == []


def test_who_may_only_read_is_offered_nothing_to_save(page: Page, engine: Engine) -> None:
    token = engine.add_token("anna", "read")
    with serving(engine, Access(token="right", find_token=engine.find_token)) as client:
        page.open(str(client.base_url), "/?w=type%3Djpeg", f"{OPEN_DIALOG} === 'login'")
        page.find("#token").send_keys(token, Keys.ENTER)
        page.wait_for(f"{QUIET} && document.body.classList.contains('is-read-only')")
        page.wait_for(f"{SHOWN}.length === 3")
        assert not page.find("#search-save").is_displayed()
