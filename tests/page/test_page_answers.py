"""The page in a headless Chromium: queries of several parts, answers with an end, the selection,
and the large view."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from helpers.browsing import CHROMIUM, DRIVER, MISSING, QUIET, Page
from helpers.libraries import close_library, open_library
from helpers.pictures import paint
from helpers.project import SAMPLES
from helpers.serving import serving, until
from PIL import Image
from PIL.TiffImagePlugin import IFDRational
from selenium.webdriver.common.keys import Keys

from search import Engine
from search.api import file_manager

HAT, SHOE = SAMPLES / "hat" / "03.jpg", SAMPLES / "shoes" / "02.jpg"
PLACES = "new URLSearchParams(location.search)"
SELECTED = "document.querySelectorAll('#grid .is-selected').length"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason=MISSING),
]


def identify(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


ID, SHOE_ID = identify(HAT)[:16], identify(SHOE)[:16]
LINK = f"/?q=id:{ID}"
PAIR = f"/?t=1;;id:{ID}&t=1;;id:{SHOE_ID}"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An engine over 22 sample pictures."""
    folder = tmp_path_factory.mktemp("answers") / "photos"
    for kind in ("hat", "shoes"):
        shutil.copytree(SAMPLES / kind, folder / kind)
    engine = open_library(folder.parent / "home", upload_bytes=400_000)
    engine.sync(folder)
    yield engine
    close_library(engine)


def list_paths(client: httpx.Client, *terms: dict[str, object]) -> list[str]:
    answer = client.post("/api/v1/search", json={"terms": [*terms], "k": 200})
    return [hit["path"].rpartition("/")[2] for hit in answer.json()["hits"]]


def list_shown(page: Page) -> list[str]:
    return [label.partition(",")[0] for label in page.list_labels()]


# the query and its parts -------------------------------------------------------------------------


def test_parts_of_a_query_are_weighed_turned_and_removed(
    page: Page, base: str, client: httpx.Client
) -> None:
    page.open(base, PAIR)
    page.wait_for_results("22 results")
    page.wait_for("document.querySelector('#terms').innerText.includes('02.jpg')")
    page.click("#terms li:nth-child(1) [data-tool=more]")
    page.wait_for("location.search.includes('t=2;;id:')")
    assert page.evaluate("document.activeElement.dataset.tool") == "more"
    page.click("#terms li:nth-child(2) [data-tool=away]")
    page.wait_for("location.search.includes('t=-1;;id:')")
    page.wait_for_results("22 results")
    away = {"image": f"id:{SHOE_ID}", "weight": -1.0}
    names = list_paths(client, {"image": f"id:{ID}", "weight": 2.0}, away)
    assert list_shown(page) == names[: len(list_shown(page))]
    page.click("#terms li:nth-child(1) [data-tool=less]")
    page.wait_for("!location.search.includes('t=2')")
    page.click("#terms li:nth-child(2) [data-tool=remove]")
    page.wait_for("location.search === arguments[0]", LINK[1:])
    assert page.wait_for_results("22 results")[0].endswith("score 1.00")
    assert not page.find("#terms").is_displayed()
    page.driver.back()
    page.wait_for("location.search.includes('t=-1;;id:')")


def test_words_and_a_picture_are_added_to_a_query(page: Page, base: str, unknown: Path) -> None:
    page.open(base, LINK)
    page.wait_for_results("22 results")
    page.find("#term-words").send_keys("hat", Keys.ENTER)
    page.wait_for("location.search.includes('t=1;;hat')")
    page.find("#added-file").send_keys(str(unknown))
    page.wait_for("document.querySelectorAll('#terms li').length === 3")
    assert page.read_address() == "/"
    page.wait_for_results("22 results")
    page.driver.refresh()
    page.wait_for_results("22 results")
    assert [row.text.split("\n")[0] for row in page.driver.find_elements("css selector", ".term")] \
        == ["03.jpg", "hat", "my hat.png"]  # fmt: skip
    page.driver.back()
    page.wait_for("document.querySelectorAll('#terms li').length === 2")


def test_each_picture_of_a_query_has_its_crop(page: Page, base: str) -> None:
    page.open(base, PAIR)
    page.wait_for_results("22 results")
    page.click("#terms li:nth-child(2) .term-picture")
    page.wait_for("document.getElementById('query-name').textContent === '02.jpg'")
    page.wait_for("document.querySelector('#stage.is-ready')")
    page.click("#crop-start")
    page.wait_for(f"{PLACES}.getAll('t')[1] === arguments[0]", f"1;15,15,70,70;id:{SHOE_ID}")
    assert page.evaluate(f"{PLACES}.getAll('t')[0]") == f"1;;id:{ID}"
    assert page.read_text("#query-name") == "02.jpg"


def test_a_file_that_is_no_picture_is_named_and_the_others_are_searched_by(
    page: Page, base: str, client: httpx.Client, unknown: Path, tmp_path: Path
) -> None:
    (tmp_path / "text.jpg").write_bytes(b"hello")
    page.open(base)
    page.find("#file").send_keys(f"{unknown}\n{tmp_path / 'text.jpg'}")
    page.wait_for_results("22 results")
    answer = client.post("/api/v1/search", files=[("image", unknown.read_bytes())],
                         data={"query": '{"k": 200}'})  # fmt: skip
    names = [hit["path"].rpartition("/")[2] for hit in answer.json()["hits"]]
    assert list_shown(page) == names[: len(list_shown(page))]
    problem = page.read_text(".term.left-out")
    assert "text.jpg" in problem and "That is not a picture" in problem
    assert len(page.driver.find_elements("css selector", ".term")) == 2
    page.click(".term.left-out [data-tool=remove]")
    page.wait_for("document.getElementById('terms').hidden")


def test_a_query_is_shown_over_an_empty_library(page: Page, home: Path, unknown: Path) -> None:
    with serving(open_library(home)) as client:
        page.open(str(client.base_url))
        page.choose_file(unknown)
        page.wait_for("document.querySelector('#stage.is-ready')")
        assert "empty" in page.read_placeholder()
        assert page.find("#query-image").is_displayed()
        assert page.evaluate("document.getElementById('query-image').naturalWidth") == 300


# answers with an end -----------------------------------------------------------------------------


def test_an_answer_says_where_alike_pictures_end(page: Page, base: str) -> None:
    page.open(base, LINK)
    page.wait_for_results("22 results")
    summary = page.read_text("#summary")
    count = int(summary.split()[0])
    assert "alike, then less alike" in summary and 0 < count < 21
    assert page.find("#divider").is_displayed()
    words = [label.split(", ")[-2] for label in page.list_labels()]
    assert words[0] == "yours" and words[1 : count + 1] == ["alike"] * count
    assert set(words[count + 1 :]) == {"less alike"}
    tile = "document.querySelector(`#grid li[data-place='${arguments[0]}']`)"
    top = f"{tile}.getBoundingClientRect().top"
    tops = [page.evaluate(top, place) for place in (count, count + 1)]
    divider = page.evaluate("document.getElementById('divider').getBoundingClientRect().top")
    assert tops[0] < divider < tops[1]


def test_scores_are_words_and_numbers_on_demand(page: Page, base: str) -> None:
    page.open(base, LINK)
    page.wait_for_results("22 results")
    shown = "[...document.querySelectorAll('#grid .likeness')].some(e => e.checkVisibility())"
    numbers = shown.replace("likeness", "number")
    assert page.evaluate(shown) and not page.evaluate(numbers)
    page.click("#show-numbers")
    assert page.evaluate(numbers) and not page.evaluate(shown)
    page.driver.refresh()
    page.wait_for_results("22 results")
    assert page.evaluate(numbers)
    page.click("#show-numbers")


def test_a_least_score_is_set_and_kept_in_the_address(page: Page, base: str) -> None:
    page.open(base, LINK)
    page.wait_for_results("22 results")
    code = """(value => { const slider = document.getElementById('min-score'); slider.value = value;
        slider.dispatchEvent(new Event('input')); slider.dispatchEvent(new Event('change')); })"""
    page.evaluate(f"{code}(0.7)")
    page.wait_for(f"{PLACES}.get('min') === '0.7'")
    page.wait_for(f"{QUIET} && !document.getElementById('summary').textContent.includes('…')")
    labels = page.list_labels()
    assert 1 <= len(labels) < 22
    assert all(float(label.rpartition(" ")[2]) >= 0.7 for label in labels)
    page.driver.refresh()
    page.wait_for(f"{QUIET} && document.querySelector('#grid li')")
    assert page.list_labels() == labels
    assert page.read_text("#min-score-value") == "0.70"


# the selection -----------------------------------------------------------------------------------


def test_pictures_are_selected_by_mouse_and_keys(page: Page, base: str) -> None:
    page.open(base, LINK)
    page.wait_for_results("22 results")
    page.evaluate("document.querySelector('#grid li:nth-child(2) .tile-checkbox').click()")
    assert page.evaluate(SELECTED) == 1 and page.find("#selection-bar").is_displayed()
    page.click("#grid li:nth-child(4) a")  # while pictures are selected, a click selects
    assert page.evaluate(SELECTED) == 2 and page.read_text("#selection-count") == "2 selected"
    page.evaluate(
        "document.querySelector('#grid li:nth-child(7) a').dispatchEvent("
        "new MouseEvent('click', {bubbles: true, cancelable: true, shiftKey: true}))"
    )
    assert page.evaluate(SELECTED) == 5
    page.press_keys(Keys.ESCAPE)
    assert page.evaluate(SELECTED) == 0 and not page.find("#selection-bar").is_displayed()
    page.evaluate("document.querySelector('#grid a').focus()")
    page.press_keys(" ", Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, " ")
    assert page.evaluate(SELECTED) == 2
    page.press_keys(Keys.ARROW_RIGHT, held=Keys.SHIFT)
    assert page.evaluate(SELECTED) == 3
    page.press_keys("a", held=Keys.CONTROL)
    assert page.read_text("#selection-count") == "22 selected"
    page.evaluate("document.querySelector('#grid a').focus()")
    page.press_keys(Keys.ENTER)
    page.wait_for("!document.getElementById('selection-bar').hidden")


def test_a_long_press_selects(page: Page, base: str) -> None:
    page.resize(390, 844, touch=True)
    page.open(base)
    page.wait_for("document.querySelector('#grid .is-loaded')")
    page.evaluate("document.querySelector('#grid').scrollIntoView()")
    spot = page.evaluate("(r => [r.x + r.width / 2, r.y + r.height / 2])"
                         "(document.querySelector('#grid a').getBoundingClientRect())")  # fmt: skip
    point = {"x": spot[0], "y": spot[1]}
    page.cdp("Input.dispatchTouchEvent", type="touchStart", touchPoints=[point])
    page.wait_for(f"{SELECTED} === 1")
    page.cdp("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
    assert page.evaluate(SELECTED) == 1
    assert not page.evaluate("document.getElementById('detail').open")


def test_more_like_these_and_less_like_those(page: Page, base: str) -> None:
    page.open(base)
    for picture in (ID, SHOE_ID):
        code = "[...document.querySelectorAll('#grid li')].find(li => li.innerHTML.includes("
        page.evaluate(f"{code}'{picture}')).querySelector('.tile-checkbox').click()")
    assert not page.find("#selection-less").is_enabled()
    page.click("#selection-more")
    page.wait_for(f"{PLACES}.getAll('t').length === 2")
    page.wait_for_results("22 results")
    page.evaluate("document.querySelectorAll('#grid .tile-checkbox')[21].click()")
    page.click("#selection-less")
    page.wait_for(f"{PLACES}.getAll('t').length === 3")
    assert page.evaluate(f"{PLACES}.getAll('t')[2]").startswith("-0.5;;id:")


def test_paths_and_a_table_of_the_selection(page: Page, base: str, tmp_path: Path) -> None:
    page.open(base, LINK)
    page.wait_for_results("22 results")
    page.cdp("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    page.cdp("Browser.grantPermissions", permissions=["clipboardReadWrite"])
    for place in (1, 2):
        page.evaluate(
            f"document.querySelector('#grid li:nth-child({place}) .tile-checkbox').click()"
        )
    page.click("#selection-copy")
    page.wait_for("document.getElementById('toast').textContent.includes('2 paths are copied')")
    paths = page.evaluate(
        "[...document.querySelectorAll('#grid .is-selected a')].map(a => a.title)"
    )
    script = "navigator.clipboard.readText().then(arguments[0])"
    assert page.driver.execute_async_script(script).splitlines() == paths
    page.click("#selection-csv")
    table = tmp_path / "lookalike.csv"
    page.wait_for("document.getElementById('toast').textContent.includes('lookalike.csv')")
    until(table.exists)
    rows = table.read_text("utf-8-sig").splitlines()
    assert rows[0].startswith("path,id,") and [row.split(",")[0] for row in rows[1:]] == paths
    assert rows[0].endswith(",score") and all(float(row.split(",")[-1]) > 0 for row in rows[1:])
    page.click("#selection-sheet")
    sheet = tmp_path / "lookalike.html"
    until(sheet.exists)
    assert [re.findall('title="(.*?)"', sheet.read_text())] == [paths]
    page.click("#selection-zip")
    archive = tmp_path / "lookalike.zip"
    until(archive.exists)
    with zipfile.ZipFile(archive) as packed:
        data = {hashlib.sha256(packed.read(name)).hexdigest() for name in packed.namelist()}
    assert data == {identify(Path(path)) for path in paths}
    assert page.evaluate(SELECTED) == 2  # the page stays as it is


def test_a_picture_is_dragged_out_as_a_file(page: Page, base: str) -> None:
    page.open(base, LINK)
    page.wait_for_results("22 results")
    data = page.evaluate("""(() => {
        const transfer = new DataTransfer();
        const link = document.querySelector('#grid a');
        link.dispatchEvent(new DragEvent('dragstart', {bubbles: true, dataTransfer: transfer}));
        return transfer.getData('DownloadURL');
    })()""")
    kind, name, address = data.split(":", 2)
    assert (kind, name) == ("image/jpeg", "03.jpg")
    assert httpx.get(address).content == HAT.read_bytes()


def test_a_file_is_shown_in_the_file_manager(
    page: Page, base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[str] = []
    monkeypatch.setattr(file_manager, "find_command", lambda path: ["true", path])

    def show_file(path: str) -> bool:
        shown.append(path)
        return True

    monkeypatch.setattr(file_manager, "show_file", show_file)
    page.open(base, LINK)
    page.wait_for_results("22 results")
    page.evaluate("document.querySelector('#grid .tile-checkbox').click()")
    page.wait_for("!document.getElementById('selection-reveal').hidden")
    page.click("#selection-reveal")
    until(lambda: [os.path.basename(path) for path in shown] == ["03.jpg"])


def test_marks_of_the_selection_are_undone(page: Page, base: str, shared: Engine) -> None:
    identity = identify(HAT)
    page.open(base, LINK)
    page.wait_for_results("22 results")
    toast = "document.getElementById('toast').textContent.includes(arguments[0])"

    def select() -> None:
        page.wait_for(f"{QUIET} && document.querySelector('#grid .tile-checkbox')")
        page.evaluate(
            "document.querySelector('#grid li:not(.is-selected) .tile-checkbox')?.click()"
        )
        page.wait_for("!document.getElementById('selection-bar').hidden")

    select()
    page.click("#selection-favourite")
    page.wait_for(toast, "is a favourite now")
    assert shared.picture(identity).annotations.favourite
    page.click("#toast button")
    page.wait_for(toast, "Undone")
    assert not shared.picture(identity).annotations.favourite
    page.evaluate("document.querySelector('#selection-clear').click()")
    select()
    page.click("#selection-tag")
    page.find("#ask-text").send_keys("black hat", Keys.ENTER)
    page.wait_for(toast, "tagged “black hat” now")
    assert shared.picture(identity).tags == ("black hat",)
    page.click("#toast button")
    page.wait_for(toast, "Undone")
    page.evaluate("document.querySelector('#selection-clear').click()")
    select()
    page.click("#selection-album")
    page.press_keys(Keys.ESCAPE)  # nothing was asked for
    page.wait_for("!document.getElementById('ask').open")
    page.click("#selection-album")
    page.find("#ask-text").send_keys("hats", Keys.ENTER)
    page.wait_for(toast, "is in “hats” now")
    page.click("#toast button")
    page.wait_for(toast, "Undone")
    picture = shared.picture(identity)
    assert picture.tags == () and picture.annotations.albums == ()


def test_marks_are_made_in_the_large_view(page: Page, base: str, shared: Engine) -> None:
    identity = identify(SHOE)
    page.open(base, f"/?see={SHOE_ID}")
    page.wait_for("!document.getElementById('marks').hidden")
    page.click("#mark-stars button:nth-child(4)")
    page.wait_for("document.querySelectorAll('#mark-stars [aria-pressed=true]').length === 4")
    page.click("#mark-favourite")
    page.wait_for("document.getElementById('mark-favourite').ariaPressed === 'true'")
    page.find("#mark-tag").send_keys("ballet +1", Keys.ENTER)  # no key of the view
    page.wait_for("document.querySelector('#mark-tags a')?.textContent === 'ballet +1'")
    annotations = shared.picture(identity).annotations
    assert (
        annotations.rating == 4 and annotations.favourite and [*annotations.tags] == ["ballet +1"]
    )
    page.click("#mark-tags button")
    page.wait_for("document.getElementById('mark-tags').hidden")
    page.click("#mark-stars button:nth-child(4)")
    page.wait_for("!document.querySelector('#mark-stars [aria-pressed=true]')")
    page.click("#mark-favourite")
    page.wait_for("document.getElementById('mark-favourite').ariaPressed === 'false'")


# the large view ----------------------------------------------------------------------------------


def read_scale(page: Page) -> float:
    """Return how much the large picture is enlarged."""
    matrix = "new DOMMatrix(getComputedStyle(document.getElementById('detail-image')).transform)"
    return float(page.evaluate(f"{matrix}.a"))


def test_the_large_picture_is_zoomed_and_moved(page: Page, base: str) -> None:
    page.emulate_media(prefers_reduced_motion="reduce")
    page.open(base, f"{LINK}&see={ID}")
    page.wait_for("document.querySelector('#detail-image.is-ready')")
    page.wait_for("document.querySelectorAll('#detail-facts dd').length > 4")
    where = {"x": 450, "y": 400}
    page.cdp("Input.dispatchMouseEvent", type="mouseWheel", deltaX=0, deltaY=-300, **where)
    page.wait_for("document.querySelector('#detail-stage.is-zoomed')")
    scale = read_scale(page)
    assert scale > 1.5
    page.wait_for("document.getElementById('detail-image').src.endsWith('/file')")  # sharper
    page.press_keys("+")
    assert read_scale(page) == pytest.approx(scale * 1.5, rel=0.01)
    before = page.evaluate("new URLSearchParams(location.search).get('see')")
    page.press_keys(Keys.ARROW_DOWN)
    moved = "new DOMMatrix(getComputedStyle(document.getElementById('detail-image')).transform).f"
    assert page.evaluate(moved) < 0
    page.press_keys(Keys.ARROW_RIGHT)  # moves, and shows no other picture
    assert page.evaluate("new URLSearchParams(location.search).get('see')") == before
    page.press_keys("0")
    assert read_scale(page) == 1
    page.press_keys(Keys.ARROW_RIGHT)
    page.wait_for("new URLSearchParams(location.search).get('see') !== arguments[0]", before)


def test_a_swipe_shows_the_next_picture(page: Page, base: str) -> None:
    page.resize(390, 844, touch=True)
    page.open(base, f"{LINK}&see={ID}")
    page.wait_for("document.querySelector('#detail-image.is-ready')")
    page.wait_for("!document.getElementById('detail-next').disabled")
    for kind, x in (("touchStart", 300), ("touchMove", 200), ("touchMove", 120), ("touchEnd", 0)):
        points = [{"x": x, "y": 200}] if x else []
        page.cdp("Input.dispatchTouchEvent", type=kind, touchPoints=points)
    page.wait_for("new URLSearchParams(location.search).get('see') !== arguments[0]", ID)
    assert page.evaluate("document.getElementById('detail').open")


def test_a_slideshow_goes_on_by_itself_and_the_next_picture_is_there(page: Page, base: str) -> None:
    page.open(base, f"{LINK}&see={ID}")
    page.wait_for("!document.getElementById('detail-next').disabled")
    page.wait_for("document.querySelector('#detail-image.is-ready')")
    loaded = "performance.getEntriesByType('resource').filter(e => e.name.endsWith('/preview'))"
    page.wait_for(f"{loaded}.length >= 2")  # the next one before it is shown
    page.press_keys("s")
    assert page.evaluate("document.getElementById('detail-slides').ariaPressed") == "true"
    page.wait_for("new URLSearchParams(location.search).get('see') !== arguments[0]", ID)
    page.press_keys("s")
    assert page.evaluate("document.getElementById('detail-slides').ariaPressed") == "false"


def test_facts_are_links_to_what_has_them(page: Page, home: Path, folder: Path) -> None:
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = "Maker", "Camera 5"
    details: dict[int, object] = {0x8827: 400, 0xA434: "Lens 9"}
    for tag, above, below in ((0x829A, 1, 125), (0x829D, 28, 10), (0x920A, 50, 1)):
        details[tag] = IFDRational(above, below)
    exif.get_ifd(0x8769).update({0x9003: "2024:05:03 14:05:00", **details})
    with Image.open(HAT) as hat:
        hat.save(folder / "a.jpg", exif=exif)
    engine = open_library(home)
    engine.sync(folder)
    with serving(engine) as client:
        page.open(str(client.base_url))
        page.click("#grid a")
        page.wait_for("document.querySelectorAll('#detail-facts dd').length > 6")
        text = page.find("#detail-facts").text
        assert "1/125 s, f/2.8, ISO 400, 50 mm" in text
        links = page.evaluate(
            "[...document.querySelectorAll('#detail-facts a')].map(a => "
            "new URL(a.href).searchParams.get('w'))"
        )
        for condition in ("type=jpeg", "date=2024-05-03", 'camera="Maker Camera 5"',
                          'lens="Lens 9"'):  # fmt: skip
            assert condition in links, condition
        assert any(link.startswith("color=#") for link in links)
        assert any(link.startswith("folder=/") for link in links)
        page.list_requests()
        page.click("#detail-facts a")
        page.wait_for("location.search.startsWith('?w=')")
        page.wait_for("!document.getElementById('conditions').hidden")
        assert any("where=" in url for url in page.list_requests())
        page.click("#conditions button")
        page.wait_for("location.search === ''")
    close_library(engine)


# looks -------------------------------------------------------------------------------------------


def test_a_heading_counts_nothing_while_it_searches(page: Page, base: str) -> None:
    code = """const send = window.fetch;
        window.fetch = (url, ...rest) =>
          String(url).endsWith('/search') ? new Promise(() => {}) : send(url, ...rest);"""
    script = page.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": code})
    page.open(base, LINK, until="document.body.classList.contains('is-busy')")
    assert page.read_text("#results-title") == "Results"
    page.cdp("Page.removeScriptToEvaluateOnNewDocument", identifier=script["identifier"])


def test_a_wide_screen_is_used_and_names_are_whole(page: Page, base: str) -> None:
    page.resize(2560, 1300)
    page.open(base, LINK)
    page.wait_for_results("22 results")
    used = page.evaluate(
        "document.getElementById('grid').getBoundingClientRect().right"
        " - document.getElementById('query').getBoundingClientRect().left"
    )
    assert used > 0.94 * 2560
    for width in (375, 1280):
        page.resize(width, 800)
        page.wait_for("innerWidth === arguments[0]", width)
        names = "[...document.querySelectorAll('.tile-caption b')]"
        cut = f"{names}.some(name => name.scrollWidth > name.clientWidth)"
        assert not page.evaluate(cut)


def test_a_dialog_has_the_only_scrollbar_and_keeps_the_width(page: Page, base: str) -> None:
    page.open(base, LINK)
    page.wait_for_results("22 results")
    width = page.evaluate("document.getElementById('grid').clientWidth")
    page.click("#library")
    page.wait_for("document.getElementById('folders').open")
    assert page.evaluate("getComputedStyle(document.documentElement).overflowY") == "hidden"
    assert page.evaluate("document.getElementById('grid').clientWidth") == width


def test_a_picture_that_is_dragged_over_the_page_leaves_it_to_be_seen(
    page: Page, base: str, unknown: Path
) -> None:
    page.open(base, LINK)
    page.wait_for_results("22 results")
    data = {"items": [], "files": [str(unknown)], "dragOperationsMask": 1}
    page.cdp("Input.dispatchDragEvent", type="dragEnter", x=300, y=300, data=data)
    page.wait_for("document.querySelector('#drop-overlay.is-visible')")
    style = page.evaluate(
        "(s => [s.backdropFilter, s.backgroundColor])"
        "(getComputedStyle(document.getElementById('drop-overlay')))"
    )
    assert style == ["none", "rgba(0, 0, 0, 0)"]
    page.cdp("Input.dispatchDragEvent", type="dragCancel", x=300, y=300, data=data)


def test_selected_pictures_go_to_the_bin_and_come_back(
    page: Page, engine: Engine, folder: Path, bin_folder: Path
) -> None:
    paths = [paint(folder / f"{seed}.jpg", seed) for seed in range(3)]
    engine.sync(folder)
    with serving(engine, allow=[folder]) as client:
        page.open(str(client.base_url))
        page.wait_for(f"{QUIET} && document.querySelector('#grid .tile-checkbox')")
        page.evaluate("document.querySelector('#grid .tile-checkbox').click()")
        page.click("#selection-remove")
        page.wait_for("document.getElementById('ask').open")
        assert page.read_text("#ask-title") == "Move 1 picture to the bin?"
        page.click("#ask-cancel")
        page.wait_for("!document.getElementById('ask').open")
        assert all(path.exists() for path in paths)
        page.click("#selection-remove")
        page.click("#ask-confirm")
        until(lambda: bool(page.read_text("#toast")))
        assert "in the bin" in page.read_text("#toast")
        until(lambda: engine.status().pictures == 2)
        assert sum(path.exists() for path in paths) == 2 and len(list(bin_folder.iterdir())) == 1
        page.click("#toast button")
        until(lambda: engine.status().pictures == 3)
        assert all(path.exists() for path in paths)


# restoration -------------------------------------------------------------------------------------


def test_a_noisy_picture_is_restored_on_request(page: Page, base: str, tmp_path: Path) -> None:
    with Image.open(HAT) as file:
        picture = np.asarray(file.convert("RGB").resize((160, 160)))
    noise = np.random.default_rng(0).normal(0, 60, picture.shape)
    noisy = (picture + noise).round().clip(0, 255).astype(np.uint8)
    Image.fromarray(noisy).save(tmp_path / "noisy.png")
    page.open(base)
    page.choose_file(tmp_path / "noisy.png")
    page.wait_for("!document.getElementById('restore').hidden")
    assert "noisy" in page.read_text("#restore-note")
    page.click("#restore")
    page.wait_for("!document.getElementById('restored-from').hidden")
    page.wait_for("document.getElementById('restored-image').naturalWidth === 160")
    page.wait_for("document.querySelector('#stage.is-ready img').naturalWidth === 160")
    page.wait_for("document.getElementById('restore').hidden")
    assert any(HAT.name in label for label in page.wait_for_results()[:5])
    page.driver.refresh()  # the original is there still
    page.wait_for("document.getElementById('restored-image').naturalWidth === 160")
    assert page.read_text("#query-kind") == "Your picture, restored"
    page.click("#restored-undo")
    page.wait_for("document.getElementById('query-name').textContent === 'noisy.png'")
    assert page.wait_for("document.getElementById('restored-from').hidden")
    page.wait_for("!document.getElementById('restore').hidden")
    assert page.list_warnings() == []


def test_a_restored_picture_that_is_lost_gives_way_to_the_original(page: Page, base: str) -> None:
    """Browsers may drop what a page keeps. The original is a picture of the library here."""
    page.open(base, LINK)
    page.wait_for_results()
    page.driver.execute_async_script(
        """const done = arguments[0];
        import('/web/route.js').then(({parseRoute}) => {
            const route = parseRoute(location.search);
            const [term] = route.terms;
            const lost = {what: 'file:1', weight: 1, crop: null, from: {term}};
            history.replaceState({route: {...route, terms: [lost]}, y: 0}, '', '/');
            done();
        })"""
    )
    page.driver.refresh()
    page.wait_for("document.getElementById('toast').textContent.includes('the original')")
    assert page.wait_for_results()[0].startswith(HAT.name) and page.read_address() == LINK


def test_a_clean_picture_is_not_offered_to_be_restored(page: Page, base: str) -> None:
    page.open(base, LINK, until="document.querySelector('#grid figure, #grid a')")
    page.wait_for_results()
    assert page.evaluate("document.getElementById('restore').hidden") is True


def test_a_setting_expands_queries(page: Page, base: str) -> None:
    def read_scores() -> list[str]:
        page.wait_for_results()
        return [label.rpartition(",")[2] for label in page.list_labels()]

    page.open(base, LINK)
    before = read_scores()
    page.click("[data-settings]")
    page.evaluate(
        "Object.assign(document.getElementById('settings-expand'), {value: '5'})"
        ".dispatchEvent(new Event('change'))"
    )
    page.wait_for("JSON.parse(localStorage.getItem('lookalike-preferences')).expand === 5")
    page.open(base, LINK)
    assert read_scores() != before
