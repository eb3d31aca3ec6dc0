"""The variants dialog in a headless Chromium: options, jobs, and the variants."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from helpers.browsing import CHROMIUM, DRIVER, MISSING, Page, browsing
from helpers.libraries import close_library, open_library
from helpers.pipelines import save_stable_unclip
from helpers.serving import serving, until
from helpers.variants import Paced, ask
from PIL import Image
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys
from test_page import FOCUSED, HAT, ID, LINK, SAMPLES, luminance

from search import Engine
from search.api.variant_cache import KIND
from search.records.variants import REGIMES

TILES = "[...document.querySelectorAll('#variants-list img')]"
DONE = "document.querySelectorAll('#variants-list button.variant-open').length"
READY = (
    "document.querySelector('#variants-regimes button') && "
    "document.querySelector('#variants-query')"
)
STATE = "document.getElementById('variants-state').textContent"
OPEN = "document.getElementById(arguments[0]).open"
SEARCHED = "document.getElementById('query-name').textContent"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason=MISSING),
]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An engine over a dozen hats."""
    engine = open_library(tmp_path_factory.mktemp("page variants") / "home")
    engine.sync(SAMPLES / "hat")
    yield engine
    close_library(engine)


@pytest.fixture
def paced(shared: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Paced]:
    """Makes a step of variants for each release of a semaphore."""
    paced = Paced(shared, monkeypatch)
    yield paced
    paced.release_all()


def open_variants(page: Page, base: str, path: str = LINK) -> None:
    """Open the variants dialog for the picture that an address searches for."""
    page.open(base, path)
    page.wait_for("document.querySelector('#stage.is-ready')")
    page.click("#query-variants")
    page.wait_for(f"{READY} && document.getElementById('variants-query').complete")


def fill_field(page: Page, field: str, value: object) -> None:
    page.find(field).clear()
    page.find(field).send_keys(str(value))


def make_variants(page: Page, n: int = 1) -> None:
    """Make near copies, which take the fewest steps, and wait for them."""
    page.click("[data-regime=near]")
    fill_field(page, "#variants-count", n)
    page.click("#variants-submit")
    page.wait_for(
        f"{DONE} === arguments[0] && document.getElementById('variants-progress').hidden", n
    )
    page.wait_for(f"{TILES}.every(image => image.complete && image.naturalWidth)")


# making variants ---------------------------------------------------------------------------------


def test_four_variants_of_a_clothing_photo(page: Page, base: str, client: httpx.Client) -> None:
    open_variants(page, base)
    assert page.evaluate("document.querySelector('[aria-pressed=true]').dataset.regime") == "same"
    assert page.read_text("#variants-submit") == "Make 4 variants"
    page.click("#variants-submit")
    until(lambda: page.evaluate(DONE) == 4, 240)  # the machine may be busy
    assert "4 variants in" in page.read_text("#variants-state")
    job = client.get("/api/v1/jobs").json()["jobs"][0]
    created = job["report"]["variants"]
    assert [one["sigma"] for one in created] == [REGIMES["same"]] * 4
    page.wait_for(
        "[...document.querySelectorAll('#variants-list img')].every(i => i.naturalWidth === 288)"
    )
    shown = page.evaluate(
        "[...document.querySelectorAll('#variants-list .score')].map(s => s.textContent)"
    )
    assert shown == [f"{one['similarity']:.2f}" for one in created]
    assert page.read_text("#variants-submit") == "Make 4 others"


def test_the_next_seed_makes_other_variants(page: Page, base: str) -> None:
    open_variants(page, base)
    fill_field(page, "#variants-seed", 7)
    make_variants(page)
    assert page.read_text("#variants-list .score")
    first = page.evaluate(f"{TILES}[0].src")
    assert page.read_text("#variants-submit") == "Make 1 other"
    page.click("#variants-submit")
    page.wait_for(f"{DONE} === 1 && {TILES}[0].src !== arguments[0]", first)
    assert page.evaluate("document.getElementById('variants-seed').value") == "8"
    page.click("[data-regime=same]")
    assert page.read_text("#variants-submit") == "Make 1 variant"


def test_a_variant_is_searched_by(page: Page, base: str) -> None:
    open_variants(page, base)
    make_variants(page)
    page.click("#variants-list button.variant-open")
    page.wait_for(f"{SEARCHED}.startsWith('03 variant')")
    assert page.wait_for_results()[0].startswith("03.jpg")  # a near copy finds its original first
    assert not page.evaluate(OPEN, "variants") and page.read_address() == "/"
    page.driver.back()
    page.wait_for(f"{SEARCHED} === '03.jpg'")
    page.click("#query-variants")
    assert page.evaluate(DONE) == 1  # what was made is still there


def test_variants_of_an_uploaded_picture(page: Page, base: str, tmp_path: Path) -> None:
    with Image.open(HAT) as hat:
        hat.resize((400, 200)).save(tmp_path / "my hat.tiff")
    page.open(base)
    page.choose_file(tmp_path / "my hat.tiff")
    page.wait_for_results()
    page.wait_for("document.querySelector('#stage.is-ready')")
    page.click("#query-variants")
    page.wait_for(READY)
    make_variants(page)
    image = page.find("#variants-list img")
    assert page.evaluate("[arguments[0].naturalWidth, arguments[0].naturalHeight]", image) == [
        384,
        192,
    ]
    assert page.evaluate("document.querySelector('#variants-list a').download").startswith(
        "my hat variant"
    )


def test_variants_of_a_crop(page: Page, base: str) -> None:
    open_variants(page, base, f"{LINK}&crop=10,20,50,25")
    make_variants(page)
    image = page.find("#variants-list img")
    size = page.evaluate("[arguments[0].naturalWidth, arguments[0].naturalHeight]", image)
    assert size == [384, pytest.approx(384 * (0.25 * 534) / (0.5 * 400), abs=3)]


def test_variants_from_the_detail_dialog(page: Page, base: str, client: httpx.Client) -> None:
    page.open(
        base, f"{LINK}&see={ID[:16]}", until="document.querySelector('#detail-image.is-ready')"
    )
    page.click("#detail-variants")
    page.wait_for(READY)
    make_variants(page)
    assert client.get("/api/v1/jobs").json()["jobs"][0]["path"] == f"id:{ID}"
    page.press_keys(Keys.ESCAPE)
    page.wait_for(f"!{OPEN}", "variants")
    assert page.evaluate(OPEN, "detail")
    page.click("#detail-variants")
    page.click("#variants-list button.variant-open")
    page.wait_for(f"{SEARCHED}.includes('variant')")
    page.wait_for_results()
    assert not page.evaluate(OPEN, "detail") and not page.evaluate(OPEN, "variants")


# the slider --------------------------------------------------------------------------------------


def test_the_regimes_show_less_and_less_of_the_picture(page: Page, base: str) -> None:
    open_variants(page, base)
    code = """(i => {
        const canvas = document.querySelectorAll('#variants-regimes canvas')[i];
        return [...canvas.getContext('2d').getImageData(0, 0, 72, 72).data];
    })(arguments[0])"""
    canvases = [np.reshape(page.evaluate(code, i), (72, 72, 4))[..., :3] for i in range(3)]
    with Image.open(HAT) as hat:
        square = np.asarray(hat.convert("RGB").crop((0, 67, 400, 467)).resize((72, 72)))
    assert np.corrcoef(square.ravel(), canvases[0].ravel())[0, 1] > 0.9
    left = [one.std(axis=(0, 1)).mean() for one in (square, *canvases)]
    assert left == sorted(left, reverse=True) and left[1] > 2 * left[3]


def test_the_slider_by_keys(page: Page, base: str, client: httpx.Client) -> None:
    open_variants(page, base)
    page.evaluate("document.getElementById('variants-sigma').focus()")

    def read_slider() -> tuple[str, float]:
        where, _, sigma = page.evaluate(f"{FOCUSED}.getAttribute('aria-valuetext')").partition(
            ", σ "
        )
        return where, float(sigma)

    assert read_slider() == ("Same subject", pytest.approx(REGIMES["same"], rel=0.05))
    page.press_keys(Keys.HOME)
    assert read_slider() == ("Nearer than a near copy", pytest.approx(REGIMES["near"] / 5, rel=0.1))
    page.press_keys(Keys.END)
    assert read_slider() == ("Same concept", pytest.approx(REGIMES["concept"], rel=0.05))
    page.press_keys(*[Keys.PAGE_DOWN] * 3)
    assert read_slider()[0] == "Same subject to Same concept"
    assert (
        page.evaluate("document.querySelectorAll('#variants-regimes [aria-pressed=true]').length")
        == 0
    )
    page.press_keys(*[Keys.PAGE_DOWN] * 4)
    sigma = read_slider()[1]
    page.press_keys(Keys.TAB)
    fill_field(page, "#variants-count", 1)
    page.press_keys(Keys.ENTER)
    page.wait_for(f"{DONE} === 1")
    created = client.get("/api/v1/jobs").json()["jobs"][0]["report"]["variants"]
    assert created[0]["sigma"] == pytest.approx(sigma, rel=0.05)
    page.evaluate("document.querySelector('[data-regime=near]').focus()")
    page.press_keys(Keys.SPACE)
    page.wait_for("document.querySelector('[data-regime=near]')?.ariaPressed === 'true'")
    assert page.read_text("#variants-distance").startswith("Near copy")


def test_invalid_numbers_are_not_sent(page: Page, base: str, client: httpx.Client) -> None:
    open_variants(page, base)
    before = client.get("/api/v1/jobs").json()
    for field, value in (
        ("#variants-count", 0),
        ("#variants-count", 1000),
        ("#variants-count", ""),
        ("#variants-seed", -1),
    ):
        fill_field(page, "#variants-count", 1)
        fill_field(page, field, value)
        page.click("#variants-submit")
        assert page.evaluate(f"{FOCUSED} === document.querySelector(arguments[0])", field)
        assert page.evaluate(f"{FOCUSED}.validationMessage")
    assert client.get("/api/v1/jobs").json() == before
    page.click("#variants-random")
    assert page.evaluate("document.getElementById('variants-seed').checkValidity()")


# from similar pictures ---------------------------------------------------------------------------


def test_variants_that_start_from_similar_pictures(
    page: Page, base: str, client: httpx.Client
) -> None:
    """By keys alone. Each variant shows the library's picture that it started from."""
    open_variants(page, base)
    assert not page.find("#variants-start").is_displayed()  # near copies cannot start from others
    fill_field(page, "#variants-count", 2)
    page.evaluate("document.querySelector('[data-regime=concept]').focus()")
    page.press_keys(Keys.ENTER)
    page.wait_for("document.getElementById('variants-start').checkVisibility()")
    page.press_keys(Keys.TAB, Keys.TAB)  # over the slider, to the choice
    assert page.evaluate(f"{FOCUSED}.id") == "variants-start-picture"
    page.press_keys(Keys.ARROW_DOWN)
    assert page.evaluate(f"{FOCUSED}.id") == "variants-start-neighbours" and page.evaluate(
        f"{FOCUSED}.checked"
    )
    assert page.read_text("#variants-distance") == "Same concept"  # the server chooses the noise
    assert {"This picture", "Similar pictures in the library"} <= set(list_names(page)["radio"])
    page.press_keys(Keys.ENTER)
    until(lambda: page.evaluate(DONE) == 2, 240)
    created = client.get("/api/v1/jobs").json()["jobs"][0]["report"]["variants"]
    sources = [one["source"] for one in created]
    assert all(sources) and ID not in [source["id"] for source in sources]
    shown = page.evaluate(
        "[...document.querySelectorAll('#variants-list .source')].map(a => a.innerText)"
    )
    assert shown == [f"from {Path(source['path']).name}" for source in sources]
    thumbnails = "[...document.querySelectorAll('.source img')]"
    page.wait_for(f"{thumbnails}.every(image => image.complete && image.naturalWidth)")
    assert sources[0]["id"] in page.evaluate(f"{thumbnails}[0].src")
    page.click("[data-regime=near]")
    assert not page.find("#variants-start").is_displayed()
    assert page.read_text("#variants-submit") == "Make 2 variants"
    page.click("#variants-list .source")
    page.wait_for(
        f"!{OPEN} && location.search === arguments[1]", "variants", f"?q=id:{sources[0]['id'][:16]}"
    )


def test_an_empty_library_has_no_similar_pictures(page: Page, home: Path) -> None:
    engine = open_library(home)
    with serving(engine) as client:
        page.open(str(client.base_url))
        page.wait_for("document.getElementById('library-count').textContent === '0'")
        page.choose_file(HAT)
        page.wait_for("document.querySelector('#stage.is-ready')")
        page.evaluate("document.getElementById('query-variants').click()")
        page.wait_for(READY)
        page.click("[data-regime=concept]")
        assert not page.find("#variants-start").is_displayed()
    close_library(engine)


# jobs --------------------------------------------------------------------------------------------


def test_previews_and_cancel(page: Page, base: str, client: httpx.Client, paced: Paced) -> None:
    open_variants(page, base)
    page.click("#variants-submit")
    page.wait_for("document.querySelectorAll('.placeholder').length === 4")
    until(lambda: paced.reached == 1, 60)
    while not client.get("/api/v1/jobs").json()["jobs"][0]["progress"]["pictures"]:
        paced.step()
    page.wait_for(
        "document.querySelectorAll('.placeholder img.is-started[src^=\"data:image/jpeg\"]').length"
    )
    assert page.evaluate("document.getElementById('variants-progress').value") > 0
    assert page.read_text("#variants-submit") == "Cancel"
    page.click("#variants-submit")
    page.wait_for(f"{STATE} === 'Cancelled.'")
    paced.go.release(2)
    until(lambda: paced.closed == 1)
    assert page.evaluate("document.querySelectorAll('#variants-list li').length") == 0
    assert page.read_text("#variants-submit") == "Make 4 variants"


@pytest.mark.parametrize("way", ["closed", "left"])
def test_leaving_cancels_the_job(
    page: Page, base: str, client: httpx.Client, paced: Paced, way: str
) -> None:
    open_variants(page, base)
    page.click("#variants-submit")
    until(lambda: paced.at_once == 1)
    page.wait_for("document.getElementById('variants-progress').hidden === false")
    name = client.get("/api/v1/jobs").json()["jobs"][0]["id"]
    if way == "closed":
        page.press_keys(Keys.ESCAPE)
    else:
        page.driver.get("about:blank")

    def state() -> str:
        paced.go.release(1)
        return str(client.get(f"/api/v1/jobs/{name}").json()["state"])

    until(lambda: state() == "cancelled")


def test_a_job_waits_for_its_turn(
    page: Page, base: str, client: httpx.Client, paced: Paced
) -> None:
    ask(client, wait=False)
    until(lambda: paced.at_once == 1)
    open_variants(page, base)
    fill_field(page, "#variants-count", 1)
    page.click("#variants-submit")
    page.wait_for(f"{STATE}.startsWith('Waiting for its turn')")
    page.click("#variants-close")  # and a search is answered meanwhile
    page.open(base, LINK)
    assert page.wait_for_results()[0].endswith("score 1.00")
    assert paced.at_once == 1


def test_too_many_jobs(page: Page, base: str, client: httpx.Client, paced: Paced) -> None:
    names = []
    while (response := ask(client, wait=False)).status_code == 202:
        names.append(response.json()["job"])
        until(lambda: paced.at_once == 1)
    open_variants(page, base)
    page.click("#variants-submit")
    page.wait_for(
        "document.getElementById('variants-problem').textContent.startsWith('Too much at once')"
    )
    assert page.read_text("#variants-submit") == "Make 4 variants"
    for name in names:
        client.delete(f"/api/v1/jobs/{name}")


# using variants ----------------------------------------------------------------------------------


def test_comparing_a_variant_with_the_query(page: Page, base: str) -> None:
    open_variants(page, base)
    make_variants(page)
    page.click("#variants-list .tools button")
    page.wait_for(OPEN, "compare")
    page.wait_for("document.getElementById('compare-query').naturalWidth > 0")
    clip = "document.getElementById('compare-query').style.clipPath"
    assert page.evaluate(f"{FOCUSED}.id") == "compare-edge" and "50%" in page.evaluate(clip)
    page.press_keys(Keys.HOME)
    assert "100%" in page.evaluate(clip)
    page.press_keys(Keys.END)
    assert page.evaluate(f"{FOCUSED}.getAttribute('aria-valuetext')") == "100 % yours"
    page.press_keys(Keys.HOME)
    hold = page.find("#compare-hold")
    page.evaluate("arguments[0].focus()", hold)
    page.cdp("Input.dispatchKeyEvent", type="keyDown", key=" ", code="Space")
    page.wait_for(f"!{clip}.includes('100%')")
    page.cdp("Input.dispatchKeyEvent", type="keyUp", key=" ", code="Space")
    page.wait_for(f"{clip}.includes('100%')")
    both = page.find("#compare-pair")
    drag = ActionChains(page.driver, duration=20).move_to_element(both).click_and_hold()
    drag.move_by_offset(-round(both.size["width"] / 4), 0).release().perform()
    assert int(page.evaluate("document.getElementById('compare-edge').value")) in range(23, 28)
    shapes = page.evaluate(
        "['compare-query', 'compare-variant'].map(id => (r => [r.x, r.y, r.width, r.height])"
        "(document.getElementById(id).getBoundingClientRect()))"
    )
    assert shapes[0] == pytest.approx(shapes[1], abs=1)  # one lies over the other
    page.press_keys(Keys.ESCAPE)
    page.wait_for(f"!{OPEN}", "compare")
    assert page.evaluate(OPEN, "variants")
    page.click("#variants-list .tools button")
    page.click("#compare-search")
    page.wait_for(f"{SEARCHED}.startsWith('03 variant')")
    assert page.wait_for_results()[0].startswith("03.jpg")


def test_download(page: Page, base: str) -> None:
    open_variants(page, base)
    make_variants(page)
    link = page.find("#variants-list a")
    assert page.evaluate("arguments[0].download", link) == "03 variant 0.png"
    data = httpx.get(page.evaluate("arguments[0].href", link)).content
    with Image.open(io.BytesIO(data)) as picture:
        assert picture.format == "PNG" and picture.size == (288, 384)


def test_keeping_one(page: Page, home: Path) -> None:
    engine = open_library(home)
    engine.keep(HAT.read_bytes())
    with serving(engine) as client:
        open_variants(page, str(client.base_url))
        make_variants(page)
        page.click("#variants-list .tools button:last-child")
        page.wait_for("document.getElementById('library-count').textContent === '2'")
        assert "Kept" in page.read_text("#toast")
        assert page.evaluate(
            "document.querySelector('dialog[open] #toast.is-visible')"
        )  # over what is open
        variant = client.get("/api/v1/jobs").json()["jobs"][0]["report"]["variants"][0]
        uploaded = client.get("/api/v1/images").json()["images"][0]
        assert Path(uploaded["path"]).read_bytes() == client.get(variant["url"]).content
        engine.library.transient_items.take(KIND, variant["id"])
        page.cdp("Network.clearBrowserCache")
        page.click("#variants-list .tools button:last-child")  # an hour later
        page.wait_for("document.getElementById('toast').textContent.includes('no such variant')")
    close_library(engine)


# languages, colours, sizes, keys -----------------------------------------------------------------


def list_names(page: Page) -> dict[str, list[str]]:
    """Return the names that a screen reader reads, by role."""
    names: dict[str, list[str]] = {}
    for role, name in page.list_roles():
        names.setdefault(role, []).append(name.strip())
    return names


def test_everything_has_a_name(page: Page, base: str) -> None:
    open_variants(page, base)
    make_variants(page)
    roles = ("button", "link", "slider", "spinbutton", "image", "dialog", "list", "group")
    named = list_names(page)
    assert [role for role in roles if not all(named.get(role, [""]))] == []
    assert {"Make variants"} <= set(named["dialog"]) and "Distance from the picture" in named[
        "slider"
    ]
    assert any(name.startswith("Search by variant 1, score") for name in named["button"])
    assert {"Compare, variant 1", "Keep this picture, variant 1"} <= set(named["button"])
    assert "Download, variant 1" in named["link"]
    page.click("#variants-list .tools button")
    page.wait_for("document.getElementById('compare-query').naturalWidth > 0")
    named = list_names(page)
    assert [role for role in ("button", "link", "slider", "image", "dialog") if
            not all(named.get(role, [""]))] == []  # fmt: skip


def test_a_narrow_phone_scrolls_one_way_only(page: Page, base: str) -> None:
    page.resize(360, 640, touch=True)
    page.emulate_media(prefers_reduced_motion="reduce")
    open_variants(page, base)
    make_variants(page, 2)
    for panel in ("variants", "compare"):
        if panel == "compare":
            page.evaluate("document.querySelector('#variants-list .tools button').click()")
            page.wait_for(OPEN, "compare")
        dialog = page.find(f"#{panel}")
        assert page.evaluate("arguments[0].scrollWidth - arguments[0].clientWidth", dialog) == 0
        out = page.evaluate(
            "[...arguments[0].querySelectorAll('button, input, a, h2, img, canvas')].filter(e => "
            "(r => r.width && (r.right > innerWidth + 1 || r.left < -1))"
            "(e.getBoundingClientRect())).map(e => e.id || e.className)",
            dialog,
        )
        assert out == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast(page: Page, base: str, scheme: str) -> None:
    page.emulate_media(prefers_color_scheme=scheme, prefers_reduced_motion="reduce")
    open_variants(page, base)
    make_variants(page)
    page.cdp("Input.dispatchMouseEvent", type="mouseMoved", x=1, y=1)
    style = "getComputedStyle(document.querySelector(arguments[0]))[arguments[1]]"
    pairs = {
        "#variants-distance": "#variants",
        "#variants-state": ".results",
        ".tools .score": ".results",
        "#variants-submit": "#variants-submit",
        "#variants-regimes [aria-pressed=false]": "#variants-regimes [aria-pressed=false]",
    }
    for css, under in pairs.items():
        text = luminance(page.evaluate(style, css, "color"))
        behind = luminance(page.evaluate(style, under, "backgroundColor"))
        assert (max(text, behind) + 0.05) / (min(text, behind) + 0.05) >= 4.5, css


def test_in_chinese(tmp_path: Path, base: str) -> None:
    with browsing(tmp_path / "profile", "zh-CN,zh,en") as chinese:
        open_variants(chinese, base)
        assert chinese.read_text("#query-variants").strip() == "生成变体"
        make_variants(chinese)
        assert "1 张变体" in chinese.read_text("#variants-state")
        assert chinese.read_text("[data-regime=concept]") == "同一概念"
        chinese.click("[data-regime=concept]")
        assert "图库中的相似图片" in chinese.find("#variants-start").text


def test_no_foreign_requests_and_no_console_warnings(page: Page, base: str) -> None:
    open_variants(page, base)
    make_variants(page)
    page.click("#variants-list .tools button")
    page.wait_for("document.getElementById('compare-query').naturalWidth > 0")
    page.press_keys(Keys.ESCAPE)
    page.click("#variants-list button.variant-open")
    page.wait_for(f"{SEARCHED}.startsWith('03 variant')")
    page.wait_for_results()
    requests: list[Any] = page.list_requests()
    assert [url for url in requests if not url.startswith((base, "blob:", "data:", "about:"))] == []
    assert page.list_warnings() == []


# generators --------------------------------------------------------------------------------------


def test_without_a_choice_of_generators_none_is_shown(page: Page, base: str) -> None:
    open_variants(page, base)
    assert not page.find("#variants-generators").is_displayed()


def test_a_generator_is_chosen_with_its_license_in_view(
    page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The options of the request name it."""
    name = save_stable_unclip(tmp_path / "models" / "unclip")
    engine = open_library(tmp_path / "home", model="mini", generator=f"lookalike, {name}")
    requests = list[dict[str, Any]]()
    vary = engine.vary

    def note(image: Any, **options: Any) -> Any:
        requests.append(options)
        return vary(image, **{**options, "steps": 2, "size": 64})

    monkeypatch.setattr(engine, "vary", note)
    engine.sync(SAMPLES / "hat")
    try:
        with serving(engine) as client:
            open_variants(page, str(client.base_url))
            assert page.find("#variants-generators").is_displayed()
            names = page.evaluate(
                "[...document.getElementById('variants-generator').options].map(o => o.text)"
            )
            assert names == ["lookalike’s own model", "unclip"]
            assert page.read_text("#variants-license") == "License: apache-2.0"
            page.find("#variants-generator").send_keys("unclip")
            page.wait_for(
                "document.getElementById('variants-license').textContent === 'License: openrail'"
            )
            make_variants(page, 1)
            assert [one["generator"] for one in requests] == ["unclip"]
    finally:
        close_library(engine)
