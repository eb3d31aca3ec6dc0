"""The page in a headless Chromium: collections are chosen beside the search box."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.browsing import CHROMIUM, DRIVER, MISSING, QUIET, Page, list_violations
from helpers.libraries import close_library, open_library
from helpers.pictures import identity, paint
from helpers.serving import own_base
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from search import Engine

COUNT = "document.querySelectorAll('#grid li').length"
CHOICE = "document.getElementById('collection')"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason=MISSING),
]
base = own_base


@pytest.fixture
def engine(home: Path, folder: Path) -> Iterator[Engine]:
    engine = open_library(home)
    for name, seeds in (("work", (1, 2, 3)), ("holiday", (4, 5))):
        for seed in seeds:
            paint(folder / name / f"{seed}.jpg", seed)
        engine.sync(folder / name)
    yield engine
    close_library(engine)


def test_a_collection_is_chosen_and_stays(
    page: Page, base: str, engine: Engine, folder: Path
) -> None:
    page.open(base)
    page.wait_for("document.getElementById('library-count').textContent === '5'")
    assert page.evaluate(f"{CHOICE}.hidden")  # there is none yet
    engine.collections.add("Work", [folder / "work"])
    engine.collections.add("Holiday & more", [folder / "holiday"])
    page.open(base, "/?w=")
    page.wait_for(f"!{CHOICE}.hidden")
    choice = Select(page.find("#collection"))
    assert [one.text for one in choice.options] == ["Everywhere", "Holiday & more", "Work"]
    choice.select_by_visible_text("Holiday & more")
    page.wait_for(f"{QUIET} && {COUNT} === 2")
    where = "w=collection%3D%22Holiday%20%26%20more%22"
    assert page.read_address() == f"/?{where}"
    assert page.read_text(".condition").strip() == "Collection: Holiday & more"
    page.find("#words").send_keys(f"id:{identity(1)[:16]}", Keys.ENTER)  # of the other one
    page.wait_for(f"{QUIET} && location.search.startsWith('?q=') && {COUNT} === 2")
    assert page.read_address().endswith(where)
    page.click("#grid a")
    page.wait_for("document.getElementById('detail-similar').href.includes('w=collection')")
    page.click("#detail-close")
    Select(page.find("#collection")).select_by_visible_text("Work")
    page.wait_for(f"{QUIET} && {COUNT} === 3")
    Select(page.find("#collection")).select_by_visible_text("Everywhere")
    page.wait_for(f"{QUIET} && {COUNT} === 5")
    assert "w=" not in page.read_address()
    page.driver.back()
    page.wait_for(f"{QUIET} && {COUNT} === 3 && {CHOICE}.value === 'Work'")
    page.open(base, "/?w=collection%3DWrok")
    assert "Work" in page.read_placeholder()  # the nearest name
    assert page.evaluate(f"{CHOICE}.value") == "Wrok"
    assert list_violations(page) == []
    page.list_warnings()  # the server refuses the name


def test_a_folder_is_named_in_its_options(
    page: Page, base: str, engine: Engine, folder: Path
) -> None:
    page.open(base)
    page.click("#library")
    page.click("#roots details summary")
    page.wait_for("document.querySelector('#roots [list]') !== null")
    field = page.find("#roots [list]")
    field.send_keys("Summer", Keys.TAB)
    page.wait_for(f"!{CHOICE}.hidden")
    assert engine.collections.find("summer").folders == (str(folder / "holiday"),)
    page.wait_for("document.querySelector('#roots .meta').textContent.startsWith('Summer')")
    page.click("#roots details summary")
    page.wait_for("document.querySelector('#roots [list]') !== null")
    page.find("#roots [list]").clear()  # which is a change
    page.wait_for(f"{CHOICE}.hidden")
    assert engine.collections.all() == []


def test_filters_have_the_collections(page: Page, base: str, engine: Engine, folder: Path) -> None:
    engine.collections.add("Work", [folder / "work"])
    page.open(base)
    page.click("#filters-open")
    page.click("#finder [data-where='collection=Work']")
    page.wait_for(f"{QUIET} && {COUNT} === 3 && {CHOICE}.value === 'Work'")
    page.click("#finder [data-where='collection=Work']")
    page.wait_for(f"{QUIET} && {COUNT} === 5 && {CHOICE}.value === ''")
