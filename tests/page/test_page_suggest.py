"""The search box: suggestions in groups, and a line of words and conditions."""

from __future__ import annotations

import test_page
from helpers.browsing import Page
from selenium.webdriver.common.keys import Keys

from search import Engine

pytestmark = test_page.pytestmark
photos, shared, client = (
    test_page.photos,
    test_page.shared,
    test_page.client,
)

OPTIONS = (
    "[...document.querySelectorAll('#suggestions [role=option]')].map((one) => one.textContent)"
)
ACTIVE = (
    "document.getElementById(document.querySelector('#words')"
    ".getAttribute('aria-activedescendant') ?? '')?.textContent ?? null"
)
EXPANDED = "document.querySelector('#words').getAttribute('aria-expanded')"


def test_suggestions_are_taken_by_keyboard_and_searched(
    page: Page, base: str, shared: Engine
) -> None:
    reader = shared.library.reader
    for row_id in reader.newest(0, 3):
        shared.library.catalog.tag(row_id, ["Zanzibar beach"])
    page.open(base)
    page.find("#words").send_keys("zan")
    page.wait_for(f"{OPTIONS}.length === 1")
    assert page.evaluate(f"{OPTIONS}") == ["Zanzibar beach3"]
    assert page.evaluate(f"{EXPANDED}") == "true" and page.evaluate(f"{ACTIVE}") is None
    page.find("#words").send_keys(Keys.ARROW_DOWN)
    assert page.evaluate(f"{ACTIVE}") == "Zanzibar beach3"
    page.find("#words").send_keys(Keys.ENTER)
    typed = page.evaluate("document.querySelector('#words').value")
    assert typed == 'tag:"Zanzibar beach" ' and page.evaluate(f"{EXPANDED}") == "false"
    page.find("#words").send_keys(Keys.ENTER)
    assert len(page.wait_for_results()) == 3
    page.open(base)
    page.click("#words")
    page.wait_for(f"{OPTIONS}.length === 1")  # recent searches
    assert page.evaluate(f"{OPTIONS}") == ['tag:"Zanzibar beach"']
    page.find("#words").send_keys(Keys.ESCAPE)
    assert page.evaluate(f"{EXPANDED}") == "false"
    page.find("#words").send_keys("zanzibar -beach", Keys.ENTER)
    page.wait_for("document.querySelector('#state').hidden === false")
    assert page.list_warnings() == []
