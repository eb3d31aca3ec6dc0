"""The page in a headless Chromium: what limits an answer, and what is done with a selection."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.browsing import CHROMIUM, DRIVER, MISSING, QUIET, Page
from helpers.libraries import close_library, find_id, open_library
from helpers.project import SAMPLES
from helpers.serving import own_base, show_library
from PIL import Image
from selenium.webdriver.common.keys import Keys

from search import Engine
from search.records.annotations import Change

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason=MISSING),
]
base = own_base

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


# the selection -----------------------------------------------------------------------------------


def select_all(page: Page, base: str) -> None:
    page.open(base)
    page.press_keys("a", held=Keys.CONTROL)
    page.wait_for("!document.getElementById('selection-bar').hidden")


def wait_for_toast(page: Page, text: str) -> None:
    page.wait_for("document.getElementById('toast').textContent.includes(arguments[0])", text)


def undo(page: Page) -> None:
    page.click("#toast button")
    wait_for_toast(page, "Undone")
    page.wait_for(QUIET)


def test_a_tag_is_removed_from_the_selection(page: Page, base: str, engine: Engine) -> None:
    ids = [find_id(engine, name) for name in ("one", "less")]
    engine.tags.add(ids, ["blue"])
    select_all(page, base)
    page.click("#selection-tag")
    page.wait_for("document.activeElement.id === 'ask-text'")
    page.click("#ask-other")  # nothing is written yet
    assert page.evaluate("document.getElementById('ask').open")
    page.find("#ask-text").send_keys("blue")
    page.click("#ask-other")
    wait_for_toast(page, "2 pictures are not tagged “blue” any more")
    assert [engine.picture(one).tags for one in ids] == [(), ()]
    undo(page)
    assert [engine.picture(one).tags for one in ids] == [("blue",), ("blue",)]
    page.click("#selection-tag")
    page.find("#ask-text").send_keys("red")
    page.click("#ask-other")
    wait_for_toast(page, "none of the selected pictures has it")


def test_the_selection_is_taken_out_of_an_album(page: Page, base: str, engine: Engine) -> None:
    one = find_id(engine, "one")
    engine.tags.change([one], Change(album="Wardrobe"))
    select_all(page, base)
    page.click("#selection-album")
    page.find("#ask-text").send_keys("Wardrobe")
    page.click("#ask-other")
    wait_for_toast(page, "1 picture is not in “Wardrobe” any more")
    assert engine.picture(one).annotations.albums == ()
    undo(page)
    assert [album.name for album in engine.picture(one).annotations.albums] == ["Wardrobe"]
    page.click("#selection-album")
    page.find("#ask-text").send_keys("Nowhere")
    page.click("#ask-other")
    wait_for_toast(page, "Nowhere")  # there is no such album


def test_the_mark_of_favourites_is_taken_off(page: Page, base: str, engine: Engine) -> None:
    engine.tags.change([find_id(engine, "one")], Change(favourite=True))
    pressed = "document.getElementById('selection-favourite').ariaPressed === arguments[0]"
    select_all(page, base)
    page.wait_for(pressed, "mixed")
    page.click("#selection-favourite")
    wait_for_toast(page, "favourites now")
    page.wait_for(pressed, "true")
    assert engine.browse("is=favourite").total == 5
    page.click("#selection-favourite")
    wait_for_toast(page, "5 pictures are no favourites any more")
    page.wait_for(pressed, "false")
    assert engine.browse("is=favourite").total == 0
    undo(page)
    assert engine.browse("is=favourite").total == 5


def test_the_large_view_shows_the_albums_of_a_picture(
    page: Page, base: str, engine: Engine
) -> None:
    one = find_id(engine, "one")
    for album in ("Wardrobe", "To sell"):
        engine.tags.change([one], Change(album=album))
    chips = "[...document.querySelectorAll('#mark-albums li')].map(li => li.textContent)"
    page.open(base, f"/?see={one[:16]}")
    page.wait_for(f"{chips}.length === 2")
    assert page.evaluate(chips) == ["To sell", "Wardrobe"]
    page.click("[aria-label='Take out of the album To sell']")
    page.wait_for(f"{chips}.length === 1")
    assert [album.name for album in engine.picture(one).annotations.albums] == ["Wardrobe"]
    page.wait_for("document.activeElement.id === 'mark-tag'")
    page.click("#mark-albums a")
    page.wait_for_results()
    assert page.read_address() == "/?w=album%3DWardrobe"
    assert page.evaluate(NAMES) == ["one.jpg"]


def test_delete_asks_and_moves_the_selection_to_the_bin(
    page: Page, base: str, engine: Engine, folder: Path, bin_folder: Path
) -> None:
    is_open = "document.getElementById('ask').open"
    page.open(base)
    page.press_keys(Keys.DELETE)  # nothing is selected
    assert not page.evaluate(is_open)
    page.evaluate("document.querySelector('#grid a').focus()")
    page.press_keys(" ")
    page.find("#words").send_keys("x", Keys.BACKSPACE)  # which is for the text
    assert not page.evaluate(is_open)
    page.evaluate("document.querySelector('#grid a').focus()")
    page.press_keys(Keys.BACKSPACE)
    page.wait_for(is_open)
    assert page.read_text("#ask-title") == "Move 1 picture to the bin?"
    page.press_keys(Keys.ESCAPE)
    page.wait_for(f"!{is_open}")
    assert len(list(folder.iterdir())) == 5
    page.press_keys(Keys.DELETE)
    page.wait_for(is_open)
    page.click("#ask-confirm")
    wait_for_toast(page, "in the bin")
    assert len(list(folder.iterdir())) == 4 and len(list(bin_folder.iterdir())) == 1
    undo(page)
    assert len(list(folder.iterdir())) == 5


def test_who_may_only_read_deletes_nothing(page: Page, engine: Engine) -> None:
    with show_library(engine, page) as address:
        page.open(address)
        page.evaluate("document.body.classList.add('is-read-only')")
        page.press_keys("a", held=Keys.CONTROL)
        page.press_keys(Keys.DELETE)
        assert not page.evaluate("document.getElementById('ask').open")


def test_the_help_lists_the_key(page: Page, base: str) -> None:
    page.open(base)
    page.press_keys("?")
    rows = page.read_text("#help-keys")
    assert "Delete" in rows and "move the selection to the bin" in rows


def test_the_selected_picture_is_opened(page: Page, base: str) -> None:
    page.open(base)
    page.evaluate("document.querySelectorAll('#grid .tile-checkbox')[1].click()")
    page.evaluate("document.querySelectorAll('#grid .tile-checkbox')[2].click()")
    assert not page.find("#selection-open").is_enabled()  # it opens one
    page.evaluate("document.querySelectorAll('#grid .tile-checkbox')[2].click()")
    name = page.evaluate(NAMES)[1]
    page.click("#selection-open")
    page.wait_for("document.getElementById('detail').open")
    page.wait_for("document.getElementById('detail-name').textContent === arguments[0]", name)
    page.press_keys(Keys.ESCAPE)
    page.wait_for("!document.getElementById('detail').open")
    assert page.read_text("#selection-count") == "1 selected"
