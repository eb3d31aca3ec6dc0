"""The page in a headless Chromium: groups of duplicates, what is kept, and their removal."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.browsing import CHROMIUM, DRIVER, MISSING, QUIET, Page, browsing, list_violations
from helpers.duplicates import Album, turn
from helpers.libraries import close_library, open_library
from helpers.pictures import paint
from helpers.project import SAMPLES
from helpers.serving import serving, show_library
from PIL import Image
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from search import Engine
from search.api.routers import duplicates
from search.errors import StorageError
from search.records.annotations import Change
from search.records.duplicates import CompareProgress

GROUPS = "document.querySelectorAll('.duplicate-group').length"
SUMMARY = "document.getElementById('duplicates-summary').textContent"
KEPT_PATH = (
    "[...document.querySelectorAll('.duplicate-group')].map(group => "
    "group.querySelector('[aria-checked=true]').title.split('/').at(-1)).join()"
)
TOAST = "document.getElementById('toast').textContent.includes(arguments[0])"
FOCUSED = "document.activeElement.title.split('/').at(-1)"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason=MISSING),
]


@pytest.fixture
def engine(home: Path, folder: Path) -> Iterator[Engine]:
    """A library with two groups of the same bytes, and a small copy of a third picture."""
    for seed, names in ((1, ("a", "sub/a2", "sub/a3")), (2, ("b", "b2"))):
        first = paint(folder / f"{names[0]}.jpg", seed)
        for name in names[1:]:
            (folder / name).parent.mkdir(exist_ok=True)
            shutil.copy(first, folder / f"{name}.jpg")
    shutil.copy(SAMPLES / "hat" / "03.jpg", folder / "c.jpg")
    with Image.open(folder / "c.jpg") as picture:
        small = picture.resize((picture.width // 2, picture.height // 2), Image.Resampling.LANCZOS)
        small.save(folder / "c-small.jpg", quality=90)
    engine = open_library(home)
    engine.sync(folder)
    yield engine
    close_library(engine)


@pytest.fixture
def base(engine: Engine, page: Page, folder: Path, bin_folder: Path) -> Iterator[str]:
    with show_library(engine, page, allow=[folder]) as address:
        yield address


def open_kind(page: Page, base: str, kind: str = "exact", count: int = 2) -> None:
    page.open(base, f"/?duplicates={kind}", until=f"{GROUPS} === {count}")


def confirm(page: Page) -> None:
    page.wait_for("document.getElementById('ask').open")
    page.click("#ask-confirm")


def test_duplicates_are_opened_from_the_toolbar_and_the_library(page: Page, base: str) -> None:
    page.open(base, "/?w=type%3Djpeg")
    page.click("#duplicates-open")
    page.wait_for(f"{GROUPS} === 2")
    assert page.read_address() == "/?w=type%3Djpeg&duplicates=exact"
    assert page.evaluate(SUMMARY).startswith("2 groups")
    page.click("#duplicates-tabs li:nth-child(2) a")
    page.wait_for(f"location.search.includes('copy') && {GROUPS} === 1")
    assert page.evaluate(KEPT_PATH) == "c.jpg"
    assert "differs" in page.find(".duplicate-card dl div").get_attribute("class")
    page.click("#duplicates-conditions button")
    page.wait_for(f"location.search === '?duplicates=copy' && {GROUPS} === 1")
    page.driver.back()
    page.driver.back()
    page.driver.back()
    page.wait_for(f"{QUIET} && document.querySelector('#grid li')")
    assert not page.find("#duplicates").is_displayed()
    page.click("#library")
    page.click("#folders a[data-route]")
    page.wait_for(f"{GROUPS} === 2 && !document.getElementById('folders').open")
    page.driver.refresh()
    page.wait_for(f"{GROUPS} === 2")


def test_what_is_kept_is_changed_and_the_others_are_removed_by_keys(
    page: Page, base: str, engine: Engine, folder: Path, bin_folder: Path
) -> None:
    engine.tags.change([engine.browse("name=a").pictures[0].id], Change(add_tags=("beach",)))
    open_kind(page, base)
    assert page.evaluate(KEPT_PATH).startswith("a")
    page.press_keys(Keys.ARROW_DOWN)
    first = page.evaluate(FOCUSED)
    page.press_keys(Keys.ARROW_DOWN)
    assert page.evaluate(FOCUSED) == page.evaluate(KEPT_PATH).split(",")[1] != first
    page.press_keys(Keys.HOME, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    chosen = page.evaluate(FOCUSED)
    page.press_keys("k")
    assert page.evaluate(KEPT_PATH).split(",")[0] == chosen != first
    page.press_keys(Keys.ENTER)
    page.wait_for("document.getElementById('ask').open")
    assert page.read_text("#ask-title") == "Move 2 files to the bin?"
    page.press_keys(Keys.ESCAPE)
    page.wait_for("!document.getElementById('ask').open")
    assert len(list(folder.rglob("a*.jpg"))) == 3 and page.evaluate(GROUPS) == 2
    page.press_keys(Keys.DELETE)
    confirm(page)
    page.wait_for(f"{GROUPS} === 1")
    assert [path.name for path in folder.rglob("a*.jpg")] == [chosen]
    assert len(list(bin_folder.iterdir())) == 2
    assert page.evaluate(SUMMARY).startswith("1 group ")
    assert page.evaluate(FOCUSED) == page.evaluate(KEPT_PATH)  # keys go on
    page.wait_for(TOAST, "2 files")
    page.press_keys("z")
    page.wait_for(f"{GROUPS} === 2")
    assert len(list(folder.rglob("a*.jpg"))) == 3 and page.evaluate(FOCUSED) == chosen
    page.wait_for(TOAST, "Undone")
    page.press_keys("z")  # there is nothing more to take back
    page.press_keys(Keys.ARROW_DOWN)
    assert page.evaluate(GROUPS) == 2


def test_all_groups_that_are_shown_are_removed(
    page: Page, base: str, engine: Engine, folder: Path
) -> None:
    open_kind(page, base)
    page.click("#duplicates-all")
    page.wait_for("document.getElementById('ask').open")
    assert page.read_text("#ask-title") == "Move 3 files to the bin?"
    page.click("#ask-confirm")
    page.wait_for("document.getElementById('ask-title').textContent.startsWith('Really move 3')")
    assert len(list(folder.rglob("*.jpg"))) == 7
    confirm(page)
    page.wait_for(f"{GROUPS} === 0 && !document.getElementById('duplicates-note').hidden")
    assert page.read_text("#duplicates-note").startswith("There are none of this kind")
    assert len(list(folder.rglob("*.jpg"))) == 4 and engine.duplicates("exact").total == 0
    page.click("#toast button")
    page.wait_for(f"{GROUPS} === 2")
    assert len(list(folder.rglob("*.jpg"))) == 7


def test_a_file_that_was_changed_stays(page: Page, base: str, folder: Path) -> None:
    open_kind(page, base)
    page.press_keys(Keys.HOME)
    chosen = page.evaluate(FOCUSED)
    others = [path for path in folder.rglob("a*.jpg") if path.name != chosen]
    for path in others:
        path.write_bytes(b"changed")
    page.press_keys(Keys.ENTER)
    confirm(page)
    page.wait_for(TOAST, "2 stay")
    assert all(path.exists() for path in others)


def test_a_rule_chooses_what_is_kept(page: Page, base: str) -> None:
    open_kind(page, base, "copy", 1)
    Select(page.find("#duplicates-rule")).select_by_visible_text("the oldest")
    page.wait_for("location.search.includes('keep=oldest')")
    page.wait_for(f"{GROUPS} === 1")
    Select(page.find("#duplicates-rule")).select_by_visible_text("the largest")
    page.wait_for("!location.search.includes('keep')")
    page.wait_for(f"{GROUPS} === 1 && {KEPT_PATH} === 'c.jpg'")
    page.click(".duplicate-card:nth-child(2) [role=radio]")
    page.wait_for(f"{KEPT_PATH} === 'c-small.jpg'")
    page.click(".duplicate-card .duplicate-name")  # large, and back
    page.wait_for("document.querySelector('#detail-image.is-ready')")
    page.press_keys(Keys.ESCAPE)
    page.wait_for("!document.getElementById('detail').open")
    assert page.evaluate(KEPT_PATH) == "c-small.jpg"


def test_hundreds_of_groups_come_as_they_are_scrolled_to(
    page: Page, home: Path, folder: Path
) -> None:
    engine = open_library(home)
    album = Album(engine, folder)
    for i in range(120):
        for name in ("x", "y"):
            album.add(folder / f"{i:03}{name}.jpg", turn(0.1, aside=i), pixels=str(i), look=i)
    with serving(engine) as client:
        page.open(str(client.base_url), "/?duplicates=exact", until=f"{GROUPS} >= 50")
        assert page.evaluate(SUMMARY).startswith("120 groups")
        assert page.evaluate(GROUPS) < 120
        for count in (100, 120):
            page.evaluate("scrollTo(0, document.body.scrollHeight)")
            page.wait_for(f"{GROUPS} >= {count}")
        page.wait_for("document.getElementById('duplicates-more').hidden")
        assert page.evaluate(GROUPS) == 120
        page.press_keys(Keys.END)
        assert page.evaluate("document.activeElement.closest('li') === "
                             "document.querySelector('.duplicate-group:last-child')")  # fmt: skip
    close_library(engine)


def test_a_reader_removes_nothing(page: Page, base: str) -> None:
    open_kind(page, base)
    page.evaluate("document.body.classList.add('is-read-only')")
    assert not page.find(".duplicate-group button.write-action").is_displayed()
    page.press_keys(Keys.HOME, Keys.ENTER)
    assert not page.evaluate("document.getElementById('ask').open")


def test_an_empty_library_is_told(page: Page, home: Path) -> None:
    engine = open_library(home)
    with serving(engine) as client:
        shown = "!document.getElementById('duplicates-note').hidden"
        page.open(str(client.base_url), "/?duplicates=copy", until=shown)
        assert page.read_text("#duplicates-note").startswith("The library is empty")
    close_library(engine)


@pytest.mark.parametrize("width", [375, 1280])
def test_groups_fit_and_axe_finds_nothing(page: Page, base: str, width: int) -> None:
    page.resize(width, 800)
    for scheme in ("light", "dark"):
        page.emulate_media(prefers_reduced_motion="reduce", prefers_color_scheme=scheme)
        open_kind(page, base)
        assert list_violations(page) == []
        overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert page.evaluate(overflow) <= 0


def test_duplicates_in_chinese(tmp_path: Path, base: str) -> None:
    with browsing(tmp_path / "profile", "zh-CN,zh") as chinese:
        open_kind(chinese, base)
        assert chinese.evaluate(SUMMARY).startswith("2 组")
        assert chinese.read_text("#duplicates-title") == "重复图片"
        text = chinese.evaluate("document.getElementById('duplicates').innerText")
        assert "to the bin" not in text and "保留" in text


def test_a_long_comparison_is_followed_and_shows_its_groups(
    page: Page, base: str, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    compare, is_waiting = engine.compare, [True]

    def slow() -> Iterator[CompareProgress]:
        while is_waiting:
            yield CompareProgress(3, 12)
            time.sleep(0.01)
        yield from compare()

    monkeypatch.setattr(duplicates, "QUICK", -1)  # also nothing to compare takes long, at first
    monkeypatch.setattr(engine, "compare", slow)
    page.open(base, "/?duplicates=copy", until=f"{SUMMARY}.includes('3 of 12')")
    assert page.find("#duplicates-progress").is_displayed()
    assert page.evaluate("document.getElementById('duplicates-progress').value") == 0.25
    assert not page.find("#duplicates-all").is_displayed()
    assert list_violations(page) == []
    page.click("#duplicates-tabs a")  # exact ones need no comparison: they come at once
    page.wait_for(f"{GROUPS} === 2")
    assert not page.find("#duplicates-progress").is_displayed()
    page.driver.back()
    page.wait_for(f"{SUMMARY}.includes('3 of 12') && {GROUPS} === 0")
    monkeypatch.setattr(duplicates, "QUICK", 10**9)
    is_waiting.clear()
    page.wait_for(f"{GROUPS} === 1")
    assert not page.find("#duplicates-progress").is_displayed()


def test_a_comparison_that_fails_is_told(
    page: Page, base: str, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> Iterator[CompareProgress]:
        yield CompareProgress(0, 12)
        raise StorageError("the disk is full; free some space")

    monkeypatch.setattr(duplicates, "QUICK", -1)
    monkeypatch.setattr(engine, "compare", fail)
    note = "document.getElementById('duplicates-note')"
    page.open(base, "/?duplicates=copy", until=f"{note}.textContent.includes('disk is full')")
    assert not page.find("#duplicates-progress").is_displayed()
