"""The page in a headless Chromium: order, filters, the timeline, folders, tags, albums, the map."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.browsing import CHROMIUM, DRIVER, MISSING, QUIET, Page, list_violations
from helpers.libraries import close_library, find_id, open_library
from helpers.serving import own_base
from PIL import ExifTags, Image
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from search import Engine
from search.records.annotations import Change

SHOWN = "[...document.querySelectorAll('#grid a')].map(a => a.title.split('/').at(-1)[0]).join('')"
SET = SHOWN.replace(".join(", ".sort().join(")
PRESSED = "document.querySelector(arguments[0])?.getAttribute('aria-pressed')"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason=MISSING),
]
base = own_base

# name: color, size, date, place, folder
PHOTOS = {
    "a": ("#d02020", (120, 80), "2024:05:06 10:00:00", (48.85, 2.35), "paris"),
    "b": ("#2040d0", (80, 120), "2024:05:01 10:00:00", (48.86, 2.36), "paris"),
    "c": ("#20a030", (100, 100), "2022:12:31 10:00:00", (35.68, 139.69), "asia/tokyo"),
    "d": ("#f0f0f0", (200, 60), None, None, "asia"),
}


def take_photo(folder: Path, name: str) -> None:
    color, size, date, place, where = PHOTOS[name]
    exif = Image.Exif()
    if date:
        exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = date
    if place:
        gps = exif.get_ifd(ExifTags.IFD.GPSInfo)
        gps[ExifTags.GPS.GPSLatitudeRef], gps[ExifTags.GPS.GPSLongitudeRef] = "N", "E"
        gps[ExifTags.GPS.GPSLatitude] = (place[0], 0.0, 0.0)
        gps[ExifTags.GPS.GPSLongitude] = (place[1], 0.0, 0.0)
    (folder / where).mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, color).save(folder / where / f"{name}.jpg", exif=exif)


@pytest.fixture
def engine(home: Path, folder: Path) -> Iterator[Engine]:
    for name in PHOTOS:
        take_photo(folder, name)
    engine = open_library(home)
    engine.sync(folder)
    yield engine
    close_library(engine)


def open_filters(page: Page) -> None:
    page.click("#filters-open")
    page.wait_for("document.querySelector('#finder-groups [data-where=\"type=jpeg\"]')")


def test_pictures_are_put_in_order(page: Page, base: str, folder: Path) -> None:
    page.open(base)
    Select(page.find("#sort")).select_by_visible_text("date")
    page.wait_for(f"{SHOWN} === 'abcd'")
    assert page.read_address() == "/?sort=-date"
    page.click("#sort-reverse")
    page.wait_for(f"{SHOWN} === 'cbad'")  # without a date last
    Select(page.find("#sort")).select_by_visible_text("name")
    page.wait_for(f"{SHOWN} === 'abcd'")
    page.driver.back()
    page.wait_for(f"{SHOWN} === 'cbad'")
    assert Select(page.find("#sort")).first_selected_option.text == "date"
    page.open(base, "/?q=name:c&w=has%3Dgps&sort=-name")
    page.wait_for(f"{QUIET} && document.querySelector('.condition')")
    assert Select(page.find("#sort")).first_selected_option.text == "name"


def test_an_answer_to_a_picture_is_ordered_and_counted(
    page: Page, base: str, engine: Engine
) -> None:
    page.open(base, f"/?q=id:{find_id(engine, 'a')[:16]}")
    page.wait_for(f"{QUIET} && {SHOWN}.length === 4")
    Select(page.find("#sort")).select_by_visible_text("name")
    page.click("#sort-reverse")
    page.wait_for(f"{SHOWN} === 'dcba'")
    open_filters(page)
    page.click("#finder [data-where='color=red']")
    page.wait_for(f"{QUIET} && {SHOWN} === 'a'")
    assert page.evaluate(PRESSED, "#finder [data-where='color=red']") == "true"


def test_values_are_counted_chosen_and_taken_back(page: Page, base: str) -> None:
    page.open(base)
    open_filters(page)
    button = "#finder [data-where='date=2024']"
    page.wait_for("document.querySelector(arguments[0]).textContent === '2024 2'", button)
    page.click(button)
    page.wait_for(f"{QUIET} && {SET} === 'ab'")
    page.wait_for(f"{PRESSED} === 'true'", button)
    assert page.evaluate("document.activeElement.dataset.where") == "date=2024"
    assert page.read_text(".condition").strip() == "Date: 2024"
    assert page.read_text("#filters-label") == "Filters (1)"
    page.click("#finder [data-where='date=2024-05']")  # months of a year that is chosen
    page.wait_for("document.querySelectorAll('.condition').length === 2")
    page.click(".condition")
    page.click(".condition")
    page.wait_for(f"{QUIET} && {SHOWN}.length === 4")
    page.wait_for(f"{PRESSED} === 'false'", button)
    page.press_keys(Keys.ESCAPE)
    kind = "#finder [data-where='type=jpeg']"
    counted = "document.querySelector(arguments[0]).textContent.endsWith(' 4')"
    page.wait_for(counted, kind)  # the counts of all pictures replace those of the conditions
    page.find(kind).send_keys(Keys.ENTER)  # by keyboard alone
    page.wait_for("document.querySelector('.condition')")
    page.click("#filters-clear")
    page.wait_for("document.getElementById('conditions').hidden")


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_wrong_range_is_refused_with_advice(page: Page, base: str, language: str) -> None:
    page.open(base)
    page.evaluate(
        "localStorage.setItem('lookalike-preferences', JSON.stringify({language: arguments[0]}))",
        language,
    )
    page.open(base, "/")
    open_filters(page)
    page.find("#finder [name='date>=']").send_keys("2024-13", Keys.ENTER)
    page.wait_for("document.getElementById('range-problem').textContent")
    problem = page.read_text("#range-problem")
    assert "2024-05-06" in problem and ("此" in problem or "这" in problem) == (language == "zh")
    assert page.evaluate("document.activeElement.name") == "date>="
    page.press_keys(Keys.BACKSPACE, Keys.BACKSPACE, Keys.BACKSPACE, Keys.ENTER)
    page.wait_for(f"{QUIET} && {SET} === 'ab'")
    page.find("#finder [name='width<=']").send_keys("100", Keys.ENTER)
    page.wait_for(f"{QUIET} && {SHOWN} === 'b'")


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_wrong_condition_in_the_address_is_answered_with_advice(
    page: Page, base: str, language: str
) -> None:
    page.open(base)
    page.evaluate(
        "localStorage.setItem('lookalike-preferences', JSON.stringify({language: arguments[0]}))",
        language,
    )
    for query, title, advice in (
        ("w=widht%3D3", ("There is no such field", "没有这个字段"), "width"),
        ("w=rating%3D-1", ("The field does not take", "该字段不接受"), "0"),
        ("w=date%3D2024-13", ("The field does not take", "该字段不接受"), "2024-05"),
        ("q=hat&w=type%3Djpeg%20and", ("The condition cannot be read", "无法识别"), "type=jpeg"),
    ):
        page.open(base, "/?w=type%3Dpng")  # another placeholder before
        assert page.read_placeholder().startswith(("No such picture", "没有这样的图片"))
        page.open(base, f"/?{query}")
        problem = page.read_placeholder()
        assert problem.startswith(title[language == "zh"]) and advice in problem
        assert page.read_text(".condition").strip()  # to take it back


def test_folders_open_level_by_level(page: Page, base: str, folder: Path) -> None:
    page.open(base)
    open_filters(page)
    page.click("#finder .tree-open")
    page.wait_for("document.querySelector('#finder [data-path$=\"/asia\"]')")
    assert page.read_text("#finder [data-path$='/asia']") == "asia 2"
    assert page.evaluate("document.querySelector('#finder [data-path$=\"/tokyo\"]')") is None
    page.click("#finder .tree ul ul .tree-open")
    page.wait_for("document.querySelector('#finder [data-path$=\"/tokyo\"]')")
    page.click("#finder [data-path$='/tokyo']")
    page.wait_for(f"{QUIET} && {SHOWN} === 'c'")
    page.wait_for(f"{PRESSED} === 'true'", "#finder [data-path$='/tokyo']")
    assert page.read_text("#finder [data-path$='/asia']") == "asia 2"  # to go there next


def test_albums_are_made_renamed_and_deleted(page: Page, base: str, engine: Engine) -> None:
    engine.tags.change([find_id(engine, "a")], Change(album="Lisbon"))
    page.open(base)
    open_filters(page)
    page.click("#finder [data-where='album=Lisbon']")
    page.wait_for(f"{QUIET} && {SHOWN} === 'a'")
    page.click("#finder [data-group=album] .button-secondary")
    page.find("#ask-text").send_keys("New", Keys.ENTER)
    page.wait_for("document.querySelector('#finder [data-where=\"album=New\"]')")
    page.click("#finder [aria-label='Rename album New']")
    page.press_keys("a", held=Keys.CONTROL)
    page.press_keys(*"Newer", Keys.ENTER)
    page.wait_for("document.querySelector('#finder [data-where=\"album=Newer\"]')")
    page.click("#finder [aria-label='Rename album Lisbon']")
    page.press_keys("a", held=Keys.CONTROL)
    page.press_keys(*"Porto", Keys.ENTER)
    page.wait_for(f"{QUIET} && {PRESSED} === 'true'", "#finder [data-where='album=Porto']")
    assert page.evaluate(SHOWN) == "a" and page.read_address() == "/?w=album%3DPorto"
    assert {album.name for album in engine.albums.all()} == {"Porto", "Newer"}
    page.click("#finder [aria-label='Delete album Porto']")
    page.click("#ask-confirm")
    page.wait_for(f"{QUIET} && {SHOWN}.length === 4")  # and its condition is gone
    assert [album.name for album in engine.albums.all()] == ["Newer"]


def test_tags_favourites_and_ratings(page: Page, base: str, engine: Engine) -> None:
    ids = [find_id(engine, name) for name in "ab"]
    engine.tags.change(ids, Change(add_tags=("beach",)))
    engine.tags.change(ids[:1], Change(favourite=True, rating=4))
    page.open(base, "/?w=tag%3Dbeach")
    open_filters(page)
    page.click("#finder [aria-label='Rename tag beach']")
    page.press_keys("a", held=Keys.CONTROL)
    page.press_keys(*"strand", Keys.ENTER)
    page.wait_for(f"{QUIET} && {PRESSED} === 'true'", "#finder [data-where='tag=strand']")
    assert page.evaluate(f"{SHOWN}.length") == 2 and page.read_address() == "/?w=tag%3Dstrand"
    page.click("#finder [data-where='tag=strand']")
    assert engine.picture(ids[0]).tags == ("strand",)
    for condition in ("is=favourite", "rating=4"):
        page.click(f"#finder [data-where='{condition}']")
        page.wait_for(f"{QUIET} && {SHOWN} === 'a'")
        page.click(f"#finder [data-where='{condition}']")
        page.wait_for(f"{QUIET} && {SHOWN}.length === 4")


def test_hidden_pictures_are_shown_and_come_back(page: Page, base: str, engine: Engine) -> None:
    engine.tags.change([find_id(engine, "d")], Change(hidden=True))
    page.open(base)
    open_filters(page)
    page.click("#finder [data-group=marks] .button-secondary")
    page.wait_for(f"{QUIET} && {SHOWN} === 'd'")
    assert page.read_text("#results-title") == "Hidden pictures"
    page.evaluate("document.querySelector('#grid .tile-checkbox').click()")
    page.click("#selection-unhide")
    page.wait_for(f"{QUIET} && {SHOWN} === ''")
    assert engine.browse(hidden=True).total == 0 and engine.browse().total == 4


def test_the_timeline_goes_to_a_month(page: Page, base: str) -> None:
    page.open(base, "/?sort=-date")
    page.wait_for("!document.getElementById('timeline').hidden")
    years = "[...document.querySelectorAll('#timeline-years span')].map(s => s.textContent).join()"
    assert page.evaluate(years) == "2024,2022"
    value = "document.getElementById('timeline').getAttribute('aria-valuetext')"
    assert page.evaluate(value) == "May 2024, 2 pictures"
    page.find("#timeline").send_keys(Keys.PAGE_DOWN)
    assert page.evaluate(value) == "December 2022, 1 picture"
    page.open(base, "/?sort=-date&from=2022-12")
    page.wait_for(f"{QUIET} && {SHOWN} === 'cd'")
    assert "From December 2022 on" in page.read_text(".condition")
    page.click(".condition")
    page.wait_for(f"{QUIET} && {SHOWN} === 'abcd'")
    page.open(base, "/?sort=name")
    assert page.evaluate("document.getElementById('timeline').hidden")


def test_the_timeline_is_dragged_by_the_mouse(
    page: Page, base: str, engine: Engine, folder: Path
) -> None:
    for number in range(48):  # so that there is something to scroll
        exif = Image.Exif()
        year, month = 2010 + number // 12, number % 12 + 1
        exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = (
            f"{year}:{month:02}:03 10:00:00"
        )
        color = (5 * number, 80, 255 - 5 * number)
        Image.new("RGB", (90, 60), color).save(folder / f"m{number}.jpg", exif=exif)
    engine.sync(folder)
    page.open(base, "/?sort=-date")
    page.wait_for("!document.getElementById('timeline').hidden")
    edge = page.evaluate("document.getElementById('timeline').getBoundingClientRect().toJSON()")
    x, top, high = edge["x"] + edge["width"] / 2, edge["y"], edge["height"]
    value = "document.getElementById('timeline').getAttribute('aria-valuetext')"
    first = (
        "[...document.querySelectorAll('#grid li')].filter((one) =>"
        " one.getBoundingClientRect().bottom > 100)[0].querySelector('a').title"
    )
    page.drag_mouse((x, top + 5), (x, top + 0.3 * high), (x, top + 0.5 * high))
    page.wait_for(f"scrollY > 600 && {value}.includes('201')")
    year = page.evaluate(value).split()[1].rstrip(",")
    newest = 12 * (int(year) - 2010)
    page.wait_for(f"{newest} <= Number({first}.match(/m(\\d+)/)[1])")
    page.drag_mouse((x, top + 0.5 * high), (x, top + 1))
    page.wait_for(f"scrollY < 600 && {value} === 'May 2024, 2 pictures'")
    page.wait_for(f"/[ab].jpg$/.test({first})")
    assert page.read_address() == "/?sort=-date"
    page.find("#timeline").send_keys(Keys.END)
    page.wait_for("scrollY > 600")
    page.find("#timeline").send_keys(Keys.HOME)
    page.wait_for(f"scrollY < 600 && {value} === 'May 2024, 2 pictures'")
    page.open(base, "/?sort=-date&from=2012-01")
    page.wait_for(QUIET)
    page.drag_mouse((x, top + 0.5 * high), (x, top + 1))  # to pictures that the list leaves out
    page.wait_for(f"{QUIET} && location.search === '?sort=-date'")


def test_the_map_shows_where_pictures_were_taken(page: Page, base: str) -> None:
    page.open(base)
    page.click("#map-open")
    page.wait_for("document.querySelectorAll('.map-group').length === 2")
    assert page.read_text("#map-summary") == "3 pictures"
    counts = "[...document.querySelectorAll('.map-group')].map(one => one.textContent).join()"
    assert page.evaluate(counts) == "2,"
    page.click("#map-in")
    page.click("#map-in")  # far enough that no cell of a place is at the edge
    page.wait_for("document.getElementById('map-summary').textContent.includes('No picture')")
    page.click("#map-all")
    page.wait_for("document.querySelectorAll('.map-group').length === 2")
    page.wait_for("document.getElementById('map-summary').textContent === '3 pictures'")
    page.click("[aria-label='1 picture here']")  # one place
    page.wait_for(f"{QUIET} && {SHOWN} === 'c'")
    assert "near=35.68" in page.evaluate("new URLSearchParams(location.search).get('w')")
    page.click("#map-open")  # under the present conditions
    page.wait_for("document.getElementById('map-summary').textContent === '1 picture'")


def test_the_map_is_moved_by_mouse_wheel_and_keys(page: Page, base: str) -> None:
    page.open(base)
    page.click("#map-open")
    page.wait_for("document.querySelectorAll('.map-group').length === 2")
    page.wait_for("document.getElementById('map-summary').textContent === '3 pictures'")
    places = (
        "[...document.querySelectorAll('.map-group')].map((one) => {"
        " const {x, y} = one.getBoundingClientRect(); return [x, y]; })"
    )
    edge = page.evaluate("document.getElementById('map-stage').getBoundingClientRect().toJSON()")
    middle = edge["x"] + edge["width"] / 2, edge["y"] + edge["height"] / 2

    def read_places(n: int = 2) -> list[list[float]]:
        page.wait_for(f"{places}.length === arguments[0]", n)
        listed: list[list[float]] = page.evaluate(f"{places}")
        return listed

    start = read_places()
    page.drag_mouse(middle, (middle[0] + 20, middle[1] + 10), (middle[0] + 60, middle[1] + 40))
    for before, after in zip(start, read_places(), strict=True):
        assert after == pytest.approx([before[0] + 60, before[1] + 40], abs=1)
    page.press_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_DOWN)
    for before, after in zip(start, read_places(), strict=True):
        assert after[0] < before[0] + 60 and after[1] < before[1] + 40
    page.click("#map-all")
    page.wait_for("document.getElementById('map-summary').textContent === '3 pictures'")
    fitted = read_places()
    page.turn_wheel(*middle, 300)  # down: out
    small = read_places()
    assert small[1][0] - small[0][0] < 0.9 * (fitted[1][0] - fitted[0][0])
    page.turn_wheel(*middle, -600)
    large = read_places()
    assert large[1][0] - large[0][0] > 1.1 * (fitted[1][0] - fitted[0][0])
    assert page.evaluate("document.getElementById('map').open")


def test_facts_of_a_picture_are_links(page: Page, base: str, engine: Engine) -> None:
    picture = find_id(engine, "a")[:16]
    facts = "[...document.querySelectorAll('#detail-facts a')]"
    link = f"{facts}.find((one) => one.textContent.includes(arguments[0]))"
    for text, condition, names in (
        ("48.85000", "near=48.85,2.35,2km", "ab"),
        ("May 6, 2024", "date=2024-05-06", "a"),
        ("JPEG", "type=jpeg", "abcd"),
        ("paris", "folder=", "ab"),
    ):
        page.open(base, f"/?see={picture}")
        page.wait_for(link, text)
        page.evaluate(f"{link}.click()", text)
        page.wait_for(f"{QUIET} && {SET} === arguments[0]", names)
        where = page.evaluate("new URLSearchParams(location.search).get('w')")
        assert where.startswith(condition)
        assert not page.evaluate("document.getElementById('detail').open")
    page.open(base, f"/?see={picture}")
    page.wait_for(link, "Map")
    outside = page.evaluate(f"(one => [one.href, one.target, one.rel])({link})", "Map")
    assert outside[0].startswith("https://www.openstreetmap.org/?mlat=48.85&mlon=2.35")
    assert outside[1:] == ["_blank", "noopener noreferrer"]
    page.click("#detail-facts .swatches a")
    page.wait_for(QUIET)
    assert "color=#" in page.evaluate("new URLSearchParams(location.search).get('w')")
    page.wait_for(f"{SHOWN} === 'a'")


def test_tags_are_completed(page: Page, base: str, engine: Engine) -> None:
    engine.tags.add([find_id(engine, "b")], ["beach", "beach ball"])
    engine.tags.add([find_id(engine, "c")], ["mountain"])
    options = "[...document.querySelectorAll(arguments[0])].map((one) => one.value)"
    page.open(base, f"/?see={find_id(engine, 'a')[:16]}")
    page.wait_for("document.getElementById('marks').hidden === false")
    page.find("#mark-tag").send_keys("bea")
    page.wait_for(f"{options}.length === 2", "#known-tags option")
    assert sorted(page.evaluate(options, "#known-tags option")) == ["beach", "beach ball"]
    page.find("#mark-tag").send_keys("ch", Keys.ENTER)
    page.wait_for("document.querySelector('#mark-tags a')?.textContent === 'beach'")
    page.open(base)
    page.press_keys("a", held=Keys.CONTROL)
    page.click("#selection-tag")
    page.find("#ask-text").send_keys("mou")
    page.wait_for(f"{options}.join() === 'mountain'", "#ask-suggestions option")


def test_the_size_of_pictures_is_kept(page: Page, base: str) -> None:
    page.open(base)
    height = "document.querySelector('#grid .frame').clientHeight"
    before = page.evaluate(height)
    page.find("#view-size").send_keys(Keys.ARROW_RIGHT)
    page.wait_for(f"{height} > {before}")
    page.open(base, "/?sort=name")
    assert page.evaluate(height) > before


@pytest.mark.parametrize("width", [375, 1280])
def test_filters_fit_and_axe_finds_nothing(page: Page, base: str, width: int) -> None:
    page.resize(width, 800)
    for scheme in ("light", "dark"):
        page.emulate_media(prefers_reduced_motion="reduce", prefers_color_scheme=scheme)
        page.open(base, "/?sort=-date&w=type%3Djpeg")
        if page.evaluate("document.getElementById('filters-open').ariaExpanded") == "false":
            page.click("#filters-open")
        page.wait_for("document.querySelector('[data-group=type] [data-where]')")
        assert list_violations(page) == []
        overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert page.evaluate(overflow) <= 0
        if width == 375:
            assert page.evaluate("document.getElementById('finder-sheet').open")
            page.press_keys(Keys.ESCAPE)
            page.wait_for("document.getElementById('filters-open').ariaExpanded === 'false'")
            assert list_violations(page) == []
