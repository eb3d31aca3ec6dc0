"""The page in a headless Chromium, checked by axe: the grid, the selection, dialogs, by width."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from helpers.browsing import CHROMIUM, DRIVER, MISSING, QUIET, Page, list_violations
from helpers.libraries import close_library, find_id, open_library
from helpers.project import SAMPLES
from helpers.serving import own_base
from PIL import ExifTags, Image
from selenium.webdriver.common.keys import Keys

from search import Engine
from search.records.annotations import Change

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason=MISSING),
]
base = own_base

PLACES = {"a": (48.85, 2.35), "b": (48.86, 2.36), "c": (35.68, 139.69)}


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An engine over samples with dates, places, a tag, an album and a favourite."""
    folder = tmp_path_factory.mktemp("axe") / "photos"
    shutil.copytree(SAMPLES / "outwear", folder)
    shutil.copy(folder / "03.jpg", folder / "again.jpg")
    for number, (name, place) in enumerate(PLACES.items()):
        exif = Image.Exif()
        date = f"20{20 + number}:05:06 10:00:00"
        exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = date
        gps = exif.get_ifd(ExifTags.IFD.GPSInfo)
        gps[ExifTags.GPS.GPSLatitudeRef], gps[ExifTags.GPS.GPSLongitudeRef] = "N", "E"
        gps[ExifTags.GPS.GPSLatitude] = (place[0], 0.0, 0.0)
        gps[ExifTags.GPS.GPSLongitude] = (place[1], 0.0, 0.0)
        Image.new("RGB", (90, 60), ("red", "green", "blue")[number]).save(
            folder / f"{name}.jpg", exif=exif
        )
    engine = open_library(folder.parent / "home")
    engine.sync(folder)
    change = Change(add_tags=("warm",), album="Coats", favourite=True, rating=3)
    engine.tags.change([find_id(engine, "03")], change)
    yield engine
    close_library(engine)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [375, 768, 1280, 2560])
def test_axe_finds_nothing_at_any_width(
    page: Page, base: str, engine: Engine, width: int, scheme: str
) -> None:
    violations: dict[str, list[object]] = {}

    def check(name: str) -> None:
        violations[name] = list_violations(page)

    def close(dialog: str) -> None:
        page.press_keys(Keys.ESCAPE)
        page.wait_for("!document.getElementById(arguments[0]).open", dialog)

    picture = find_id(engine, "03")[:16]
    page.resize(width, 800, touch=width == 375)
    page.emulate_media(prefers_color_scheme=scheme, prefers_reduced_motion="reduce")
    page.open(base, "/?sort=-date")
    page.click("[data-settings]")
    page.choose_option("#settings-labels", "tiles")
    check("settings")
    close("settings")
    page.wait_for(f"{QUIET} && document.querySelector('#grid .frame-labels')")
    check("list")
    page.evaluate("document.querySelectorAll('#grid .tile-checkbox')[0].click()")
    page.evaluate("document.querySelectorAll('#grid .tile-checkbox')[2].click()")
    check("selection")
    for button in ("selection-tag", "selection-album", "selection-remove"):
        page.evaluate("document.getElementById(arguments[0]).click()", button)
        page.wait_for("document.getElementById('ask').open")
        check(button)
        close("ask")
    page.evaluate("document.getElementById('map-open').click()")
    page.wait_for("document.querySelectorAll('.map-group').length > 1")
    check("map")
    close("map")
    page.open(base, f"/?q=id:{picture}")
    page.wait_for_results()
    page.choose_option("#kind", "copy")
    page.wait_for("document.querySelector('#conditions .condition')")
    page.wait_for(QUIET)
    check("answer")
    page.evaluate("document.getElementById('query-variants').click()")
    page.wait_for("document.getElementById('variants').open")
    check("variants")
    close("variants")
    page.open(base, f"/?see={picture}")
    page.wait_for("document.querySelector('#mark-albums li')")
    page.wait_for("document.querySelector('#detail-image.is-ready')")
    check("large view")
    assert {name: one for name, one in violations.items() if one} == {}
