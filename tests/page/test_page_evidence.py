"""The page in a headless Chromium: hits that are compared closely with the picture of the query."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.browsing import CHROMIUM, DRIVER, MISSING, Page, list_violations
from helpers.libraries import close_library, find_id, open_library
from helpers.project import SAMPLES
from helpers.serving import show_library, until
from PIL import Image, ImageOps
from selenium.webdriver.common.keys import Keys

from search import Engine, Hits, Query
from search.errors import BusyError

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason=MISSING),
]

ORIGINAL = SAMPLES / "dress" / "01.jpg"
KINDS = ("dress", "outwear", "shirt")
PATIENT = 120.0  # seconds, so that a slow machine compares as much as a quick one
PROOFS = "[...document.querySelectorAll('#grid .proof')].map(e => e.textContent)"
SUMMARY = "document.getElementById('summary').textContent"
VERDICT = "document.querySelector('#detail-evidence:not([hidden]) #evidence-verdict')?.textContent"
ANSWERED = "performance.getEntries().filter((one) => one.name.endsWith('/v1/search')).length"
NOTE = "document.getElementById('alignment-note').textContent"
GREYS = """(canvas => {
    const {width, height} = canvas;
    const {data} = canvas.getContext('2d').getImageData(0, 0, width, height);
    let [sum, count] = [0, 0];
    for (let i = 0; i < data.length; i += 4) if (data[i + 3]) { sum += data[i + 1]; count += 1; }
    return [count / (width * height), sum / count]; })(document.querySelector(arguments[0]))"""
"""Share of a canvas that is opaque, and mean of its green values there."""
WATCH = """const real = window.fetch;
const replaceComparison = (replace) => {
    window.fetch = (url, options) => {
        const query = options?.body instanceof FormData ? options.body.get('query') : '';
        const isComparison = query.includes('verify');
        return isComparison ? replace(() => real(url, options), options) : real(url, options);
    };
};
"""
"""Lets a script replace the answers to comparisons."""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An engine over some samples."""
    folder = tmp_path_factory.mktemp("evidence") / "photos"
    for kind in KINDS:
        shutil.copytree(SAMPLES / kind, folder / kind)
    engine = open_library(folder.parent / "home", verify_seconds=PATIENT)
    engine.sync(folder)
    yield engine
    close_library(engine)


@pytest.fixture
def base(shared: Engine, page: Page) -> Iterator[str]:
    with show_library(shared, page) as address:
        yield address
        page.evaluate("localStorage.clear()")


@pytest.fixture
def part(tmp_path: Path) -> Path:
    """The middle of a picture of the library, mirrored."""
    path = tmp_path / "part.png"
    with Image.open(ORIGINAL) as picture:
        width, height = picture.size
        box = (round(0.2 * width), round(0.3 * height), round(0.7 * width), round(0.8 * height))
        ImageOps.mirror(picture.crop(box)).save(path)
    return path


@pytest.fixture
def searches(shared: Engine, monkeypatch: pytest.MonkeyPatch) -> list[Query]:
    """The queries that the engine is asked, in order."""
    queries, search = list[Query](), shared.search

    def note(query: Query, **more: Any) -> Hits:
        queries.append(query)
        return search(query, **more)

    monkeypatch.setattr(shared, "search", note)
    return queries


def search_by(page: Page, base: str, path: Path) -> None:
    """Search by a file, and wait until its hits are compared."""
    page.open(base)
    page.choose_file(path)
    page.wait_for_results()
    page.wait_for(f"{PROOFS}.length")


def open_first(page: Page) -> None:
    """Open the first hit, and the comparison with it."""
    page.click("#grid li[data-place='0'] a")
    page.wait_for("document.querySelector('#detail-image.is-ready')")
    page.click("#detail-align")
    page.wait_for(f"{NOTE}.includes('Inside')")


def choose_view(page: Page, name: str) -> None:
    page.click(f"label:has(#alignment-view-{name})")


# words -------------------------------------------------------------------------------------------


def test_a_mirrored_part_is_told_in_words(
    page: Page, base: str, shared: Engine, part: Path
) -> None:
    search_by(page, base, part)
    assert page.evaluate(PROOFS) == ["same picture"]
    labels = page.list_labels()
    assert labels[0].startswith("01.jpg, ") and ", same picture, " in labels[0]
    assert "same picture: 1" in page.evaluate(SUMMARY)
    page.click("#grid li[data-place='0'] a")
    page.wait_for(f"{VERDICT} === 'The same picture, edited'")
    lines = page.read_text("#evidence-lines")
    evidence = shared.search(Query.of(part, verify=True))[0].evidence
    assert evidence is not None and evidence.mirrored
    assert f"{evidence.query_overlap:.0%} of your picture" in lines
    assert f"{evidence.hit_overlap:.0%} of it" in lines and "mirror image" in lines
    assert list_violations(page) == []
    page.press_keys(Keys.ARROW_RIGHT)  # the next hit is merely alike
    page.wait_for(f"{VERDICT}?.startsWith('Merely alike')")
    assert not page.find("#detail-align").is_displayed()


def test_the_picture_itself_is_told(page: Page, base: str, shared: Engine) -> None:
    picture_id = find_id(shared, "01")
    page.open(base, f"/?q=id:{picture_id[:16]}&see={picture_id[:16]}")
    page.wait_for(f"{VERDICT} === 'The same picture, pixel by pixel'")
    own = page.list_labels()[0]
    assert ", yours, " in own and "same" not in own


def test_words_are_not_compared(page: Page, base: str, searches: list[Query]) -> None:
    page.open(base, "/?q=dress")
    page.wait_for_results()
    page.click("#grid li[data-place='0'] a")
    page.wait_for("document.querySelector('#detail-image.is-ready')")
    page.wait_for("document.querySelectorAll('#detail-facts dd').length > 3")
    assert not page.find("#detail-evidence").is_displayed()
    assert [query.verify for query in searches] == [False]


# the second request ------------------------------------------------------------------------------


def test_plain_hits_come_first_and_the_comparison_can_be_turned_off(
    page: Page, base: str, part: Path, searches: list[Query]
) -> None:
    search_by(page, base, part)
    assert [query.verify for query in searches] == [False, True]
    page.click("[data-settings]")
    page.evaluate(
        "(field => { field.value = 'off'; field.dispatchEvent(new Event('change')); })"
        "(document.getElementById('settings-verify'))"
    )
    page.click("#settings-close")
    page.wait_for(f"!{PROOFS}.length")
    assert len(page.wait_for_results()) > 3
    page.driver.refresh()
    page.wait_for_results()
    page.click("#grid li[data-place='0'] a")
    page.wait_for("document.querySelectorAll('#detail-facts dd').length > 3")
    assert page.evaluate(VERDICT) in (None, "")
    assert not any(query.verify for query in searches[2:])


def test_a_comparison_that_fails_leaves_the_hits(
    page: Page, base: str, shared: Engine, part: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    search, requests = shared.search, list[bool]()

    def refuse(query: Query, **more: Any) -> Hits:
        requests.append(query.verify)
        if query.verify:
            raise BusyError("no")
        return search(query, **more)

    monkeypatch.setattr(shared, "search", refuse)
    page.open(base)
    page.choose_file(part)
    labels = page.wait_for_results()
    until(lambda: True in requests)
    page.wait_for(f"{ANSWERED} === 2")
    assert page.wait_for_results() == labels
    assert page.read_text("#toast") == ""


def test_a_new_search_cancels_the_comparison(
    page: Page, base: str, part: Path, shared: Engine
) -> None:
    page.open(base)
    page.driver.execute_script(
        WATCH
        + """window.aborted = 0; window.requests = 0;
        replaceComparison((ask, {signal}) => new Promise((_, reject) => {
            window.requests += 1;
            signal.addEventListener('abort', () => {
                window.aborted += 1;
                reject(new DOMException('', 'AbortError'));
            });
        }))"""
    )
    page.choose_file(part)
    page.wait_for_results()
    page.wait_for("window.requests === 1")
    page.click("[data-place='0'] a")
    page.wait_for("document.querySelector('#detail-image.is-ready')")
    page.click("#detail-similar")
    page.wait_for("window.aborted === 1")
    page.wait_for("location.search.startsWith('?q=id:')")
    page.wait_for_results()


def test_what_is_looked_at_stays_when_the_order_changes(page: Page, base: str, part: Path) -> None:
    page.resize(700, 420)
    page.open(base)
    page.driver.execute_script(
        WATCH
        + """window.release = null;
        replaceComparison(async (ask) => {
            await new Promise((resolve) => { window.release = resolve; });
            const answer = await (await ask()).json();
            answer.hits = [answer.hits[0], ...answer.hits.slice(1).reverse()];
            return new Response(JSON.stringify(answer));
        })"""
    )
    page.choose_file(part)
    page.wait_for_results()
    page.wait_for("window.release !== null")
    page.evaluate("scrollTo(0, document.body.scrollHeight / 2)")
    page.wait_for("scrollY > 100")
    link = """(top => [...document.querySelectorAll('#grid a')].find(
        (a) => a.getBoundingClientRect().top > top))(120)"""
    page.evaluate(f"{link}.focus({{preventScroll: true}})")
    page.press_keys(Keys.SPACE)
    focused = "document.activeElement"
    name = f"{focused}.title"
    top = f"{focused}.getBoundingClientRect().top"
    before, place = page.evaluate(name), page.evaluate(f"{focused}.parentElement.dataset.place")
    at = page.evaluate(top)
    page.evaluate("window.release()")
    page.wait_for(f"{SUMMARY}.includes('same picture')")
    assert page.evaluate(name) == before
    assert page.evaluate(f"{focused}.parentElement.dataset.place") != place
    assert page.evaluate(top) == pytest.approx(at, abs=1)
    selected = "[...document.querySelectorAll('#grid .is-selected a')].map((a) => a.title)"
    assert page.evaluate(selected) == [before]
    places = "[...document.querySelectorAll('#grid li')].map((li) => Number(li.dataset.place))"
    shown = page.evaluate(places)
    assert shown == sorted(shown)


# the two pictures --------------------------------------------------------------------------------


def test_outline_overlay_and_difference(page: Page, base: str, part: Path) -> None:
    search_by(page, base, part)
    open_first(page)
    path = page.evaluate(
        "document.querySelector('#outline-hit-drawing .outline-line').getAttribute('d')"
    )
    corners = [tuple(map(float, corner.split())) for corner in path[1:-1].split("L")]
    expected = [(0.7, 0.3), (0.2, 0.3), (0.2, 0.8), (0.7, 0.8)]  # from the right: it is mirrored
    for corner, near in zip(corners, expected, strict=True):
        assert corner == pytest.approx(near, abs=0.02)
    assert page.evaluate("document.getElementById('outline-query').width") > 100
    assert list_violations(page) == []
    choose_view(page, "overlay")
    page.wait_for("document.getElementById('alignment-query').checkVisibility()")
    share, _ = page.evaluate(GREYS, "#alignment-query")
    assert share == pytest.approx(0.25, abs=0.03)
    clip = "document.getElementById('alignment-query').style.clipPath"
    before = page.evaluate(clip)
    page.evaluate("document.getElementById('alignment-edge').focus()")
    page.press_keys(Keys.ARROW_RIGHT)
    assert page.evaluate(clip) != before
    assert list_violations(page) == []
    choose_view(page, "difference")
    page.wait_for(f"{NOTE}.includes('Black is equal')")
    share, mean = page.evaluate(GREYS, "#alignment-difference")
    assert share == pytest.approx(0.25, abs=0.03)
    assert mean < 40  # four times as strong as it is: they lie on each other
    assert list_violations(page) == []
    page.press_keys(Keys.ESCAPE)
    page.wait_for("!document.getElementById('alignment').open")
    assert page.evaluate("document.getElementById('detail').open")
    assert page.evaluate("document.activeElement.id") == "detail-align"


def test_each_hit_is_compared_with_the_picture_of_several_that_it_shows(
    page: Page, base: str, part: Path, tmp_path: Path
) -> None:
    other = SAMPLES / "shirt" / "02.jpg"
    sent = {ORIGINAL: part, other: tmp_path / "wide.png"}
    with Image.open(other) as picture:
        width, height = picture.size
        picture.crop((0, height // 4, width, 3 * height // 4)).save(sent[other])
    page.open(base)
    page.choose_file(part)
    page.wait_for_results()
    page.find("#added-file").send_keys(str(sent[other]))
    page.wait_for("document.querySelectorAll('.term').length === 2")
    page.find("#term-words").send_keys("shirt", Keys.ENTER)  # words have another place in the query
    page.wait_for(f"document.querySelectorAll('.term').length === 3 && {PROOFS}.length >= 2")
    for hit, query in sent.items():
        path = "/".join(hit.parts[-2:])
        page.wait_for(
            "[...document.querySelectorAll('#grid a')].some(a => a.title.endsWith"
            "(arguments[0]) && a.querySelector('.proof'))",
            path,
        )
        page.click(f"#grid a[title$='{path}']")
        page.wait_for("document.querySelector('#detail-image.is-ready')")
        page.click("#detail-align")
        page.wait_for("document.getElementById('alignment').open")
        page.wait_for(f"{NOTE}.includes('Inside')")
        with Image.open(query) as picture:
            ratio = picture.width / picture.height
        shown = "(({width, height}) => width / height)(document.getElementById('outline-query'))"
        assert page.evaluate(shown) == pytest.approx(ratio, rel=0.02)
        page.press_keys(Keys.ESCAPE)
        page.wait_for("!document.getElementById('alignment').open")
        page.press_keys(Keys.ESCAPE)
        page.wait_for("!document.getElementById('detail').open")


def test_a_crop_of_the_query_is_what_is_compared(page: Page, base: str, shared: Engine) -> None:
    picture_id = find_id(shared, "01")
    page.open(base, f"/?q=id:{picture_id[:16]}&crop=20,30,50,50&see={picture_id[:16]}")
    page.wait_for(f"{VERDICT} === 'The same picture, edited'")
    page.click("#detail-align")
    page.wait_for(f"{NOTE}.includes('Inside')")
    choose_view(page, "difference")
    share, mean = page.evaluate(GREYS, "#alignment-difference")
    assert share == pytest.approx(0.25, abs=0.03) and mean < 40


@pytest.mark.parametrize(
    "outline",
    [[[0.1, 0.1], [0.5, 0.5], [0.9, 0.9], [1, 1]], [[0, 0], [1e9, 0], [1e9, 1e9], [0, 1e9]]],
)
def test_odd_outlines_do_not_break_the_comparison(
    page: Page, base: str, part: Path, outline: list[list[float]]
) -> None:
    page.open(base)
    page.driver.execute_script(
        WATCH
        + """const outline = arguments[0];
        replaceComparison(async (ask) => {
            const answer = await (await ask()).json();
            const compared = answer.hits.map((hit) => hit.evidence).filter(Boolean);
            for (const one of compared) if (one.hit_outline) one.hit_outline = outline;
            return new Response(JSON.stringify(answer));
        })""",
        outline,
    )
    page.choose_file(part)
    page.wait_for_results()
    page.wait_for(f"{PROOFS}.length")
    page.click("#grid li[data-place='0'] a")
    page.click("#detail-align")
    page.wait_for("document.getElementById('outline-hit').checkVisibility()")
    page.wait_for(f"!{NOTE}.includes('Loading')")
    if outline[1][0] < 1:
        assert "cannot be drawn" in page.read_text("#alignment-problem")
        assert not page.find("#alignment-view-overlay").is_enabled()
    else:
        choose_view(page, "difference")
        page.wait_for("document.getElementById('alignment-difference').checkVisibility()")
    assert not [
        text for text in page.list_warnings() if "TypeError" in text or "RangeError" in text
    ]


def test_a_picture_that_is_gone_is_told(page: Page, base: str, part: Path) -> None:
    search_by(page, base, part)
    page.click("#grid li[data-place='0'] a")
    page.wait_for("document.querySelector('#detail-image.is-ready')")
    page.evaluate("URL.revokeObjectURL(document.getElementById('query-image').src)")
    page.click("#detail-align")
    page.wait_for(
        "document.getElementById('alignment-problem').textContent.includes('cannot be loaded')"
    )
    assert page.evaluate(NOTE) == ""
