"""The page in a headless Chromium: what limits an answer, and what is done with a selection."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.browsing import CHROMIUM, DRIVER, MISSING, Page
from helpers.libraries import close_library, find_id, open_library
from helpers.project import SAMPLES
from helpers.serving import show_library
from PIL import Image

from search import Engine

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason=MISSING),
]

NAMES = "[...document.querySelectorAll('#grid a')].map(a => a.title.split('/').at(-1))"
CHIPS = "[...document.querySelectorAll('#conditions li')].map(li => li.textContent)"


@pytest.fixture
def engine(home: Path, folder: Path) -> Iterator[Engine]:
    """An engine over a picture, the same pixels in another file, an edited copy, and others."""
    shutil.copy(SAMPLES / "dress" / "01.jpg", folder / "one.jpg")
    with Image.open(folder / "one.jpg") as picture:
        picture.save(folder / "pixels.png")
        picture.resize((picture.width * 2 // 3, picture.height * 2 // 3)).save(folder / "less.jpg")
    for number in ("02", "03"):
        shutil.copy(SAMPLES / "shirt" / f"{number}.jpg", folder / f"shirt-{number}.jpg")
    engine = open_library(home, verify_seconds=120.0)
    engine.sync(folder)
    yield engine
    close_library(engine)


@pytest.fixture
def base(engine: Engine, page: Page) -> Iterator[str]:
    with show_library(engine, page) as address:
        yield address
        page.evaluate("localStorage.clear()")


# the answer --------------------------------------------------------------------------------------


def test_hits_are_limited_to_the_same_picture(page: Page, base: str, engine: Engine) -> None:
    start = f"/?q=id:{find_id(engine, 'one')[:16]}"
    page.open(base, start)
    page.wait_for_results("5 results")
    page.choose_option("#kind", "copy")
    page.wait_for_results("3 results")
    assert page.read_address() == f"{start}&kind=copy"
    assert sorted(page.evaluate(NAMES)) == ["less.jpg", "one.jpg", "pixels.png"]
    assert page.evaluate(CHIPS) == ["same or edited picture"]
    page.choose_option("#kind", "identical")
    page.wait_for_results("2 results")
    assert sorted(page.evaluate(NAMES)) == ["one.jpg", "pixels.png"]
    page.driver.refresh()  # the address keeps it
    page.wait_for_results("2 results")
    assert page.evaluate("document.getElementById('kind').value") == "identical"
    page.click("#conditions button")
    page.wait_for_results("5 results")
    assert page.read_address() == start and page.evaluate(CHIPS) == []
    page.driver.back()
    page.wait_for_results("2 results")


def test_words_have_no_kind(page: Page, base: str) -> None:
    page.open(base, "/?q=dress&kind=copy")
    page.wait_for_results("5 results")
    assert page.find("#fold").is_displayed() and not page.find("#kind").is_displayed()
    assert page.evaluate(CHIPS) == []


def test_copies_are_folded_and_unfolded(page: Page, base: str, engine: Engine) -> None:
    start = f"/?q=id:{find_id(engine, 'one')[:16]}"
    page.open(base, start)
    page.wait_for_results("5 results")
    page.click("#fold")
    page.wait_for_results("3 results")
    assert page.read_address() == f"{start}&fold=1"
    assert "+2 copies" in page.list_labels()[0]
    page.driver.refresh()
    page.wait_for_results("3 results")
    assert page.find("#fold").is_selected()
    page.click("#fold")
    page.wait_for_results("5 results")
    assert page.read_address() == start
