"""A headless Chromium for the tests of the page."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select, WebDriverWait

from helpers.project import ROOT

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
MISSING = "needs Debian's packages chromium and chromium-driver: install them with apt-get"
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --hide-scrollbars "
    "--disable-background-networking --disable-component-update --disable-sync "
    "--disable-dev-shm-usage"
).split()
SECONDS = 60.0  # at most: a busy machine is no failure
QUIET = "!document.body.classList.contains('is-busy')"

AXE = ROOT / "build" / "page" / "node_modules" / "axe-core" / "axe.min.js"
VIOLATIONS = """const done = arguments[0];
axe.run('body', {resultTypes: ['violations']}).then((result) =>
  done(result.violations.map(({id, nodes}) => [id, nodes.map(({html}) => html.slice(0, 200))])))"""


class Page:
    """One tab, driven as a person would."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver, self.base = driver, ""

    def open(self, base: str, path: str = "/", until: str = "") -> None:
        """Load an address of a server. until: an expression to wait for; by default, that pictures
        or a placeholder are shown."""
        self.base = base.rstrip("/")
        self.driver.get(self.base + path)
        self.wait_for(
            until or f"{QUIET} && document.querySelector('#grid li, #state:not([hidden])')"
        )

    def evaluate(self, code: str, *arguments: Any) -> Any:
        """Return the value of an expression of JavaScript."""
        return self.driver.execute_script(f"return {code}", *arguments)

    def wait_for(self, code: str, *arguments: Any) -> Any:
        """Wait until an expression is true, and return its value."""
        waiting = WebDriverWait(self.driver, SECONDS, poll_frequency=0.03)
        return waiting.until(lambda _: self.evaluate(code, *arguments), code)

    def find(self, css: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, css)

    def click(self, css: str) -> None:
        """Click an element. Try again if the page replaces it meanwhile."""
        self._retry(lambda: self.find(css).click(), css)

    def _retry(self, act: Callable[[], None], what: str) -> None:
        """Do something with an element, again if the page replaces it meanwhile."""
        replaced = [NoSuchElementException, StaleElementReferenceException]
        waiting = WebDriverWait(
            self.driver, SECONDS, poll_frequency=0.03, ignored_exceptions=replaced
        )

        def attempt(_: object) -> bool:
            act()
            return True

        waiting.until(attempt, what)

    def choose_option(self, css: str, value: str) -> None:
        """Choose the option with this value."""
        self._retry(lambda: Select(self.find(css)).select_by_value(value), css)

    def read_text(self, css: str) -> str:
        return str(self.evaluate("document.querySelector(arguments[0]).textContent", css))

    def press_keys(self, *keys: str, held: str = "") -> None:
        """Press keys one after the other. held: a key that is held down meanwhile."""
        chain = ActionChains(self.driver, duration=10)
        if held:
            chain.key_down(held)
        for key in keys:
            chain.send_keys(key)
        if held:
            chain.key_up(held)
        chain.perform()

    def wait_for_results(self, title: str = "result") -> list[str]:
        """Wait for a heading with this title, and return the labels of the pictures."""
        shown = "document.getElementById('results-title').textContent"
        self.wait_for(f"{QUIET} && {shown}.includes(arguments[0])", title)
        return self.list_labels()

    def list_labels(self) -> list[str]:
        """Return name, folder and score of each picture in the document."""
        labels: list[str] = self.evaluate(
            "[...document.querySelectorAll('#grid a')].map(a => a.getAttribute('aria-label'))"
        )
        return labels

    def read_placeholder(self) -> str:
        """Wait for a message in place of pictures, and return it."""
        return str(
            self.wait_for(f"{QUIET} && document.querySelector('#state:not([hidden])')?.innerText")
        )

    def read_address(self) -> str:
        """Return the address without the server."""
        return self.driver.current_url.removeprefix(self.base)

    def choose_file(self, path: Path) -> None:
        """Choose a file."""
        self.find("#file").send_keys(str(path))

    def drop_file(self, path: Path) -> None:
        """Drop a file on the page, beside the query: one that is dropped there is added to it."""
        data = {"items": [], "files": [str(path)], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self.cdp("Input.dispatchDragEvent", type=kind, x=800, y=400, data=data)

    def drag_mouse(self, *points: tuple[float, float]) -> None:
        """Press the mouse at the first point, move it over the others, and release it."""
        kinds = ["mousePressed", *["mouseMoved"] * (len(points) - 1), "mouseReleased"]
        for kind, (x, y) in zip(kinds, [*points, points[-1]], strict=True):
            button = {"button": "left", "buttons": 1, "clickCount": 1}
            self.cdp("Input.dispatchMouseEvent", type=kind, x=x, y=y, **button)

    def turn_wheel(self, x: float, y: float, down: float) -> None:
        """Turn the wheel over a point. down: pixels."""
        more = {"deltaX": 0, "deltaY": down}
        self.cdp("Input.dispatchMouseEvent", type="mouseWheel", x=x, y=y, **more)

    def cdp(self, command: str, **arguments: Any) -> Any:
        """Send a command of the DevTools protocol."""
        return self.driver.execute_cdp_cmd(command, arguments)

    def emulate_media(self, **features: str) -> None:
        """Emulate media features such as `prefers_color_scheme`. Without any: the real ones."""
        listed = [{"name": n.replace("_", "-"), "value": v} for n, v in features.items()]
        self.cdp("Emulation.setEmulatedMedia", features=listed)

    def resize(self, width: int, height: int, touch: bool = False) -> None:
        """Set the size of the window in pixels. touch: the pointer is a finger."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1}
        self.cdp("Emulation.setDeviceMetricsOverride", mobile=touch, **size)
        self.cdp("Emulation.setTouchEmulationEnabled", enabled=touch)

    def list_roles(self) -> list[tuple[str, str]]:
        """Return role and name of each element that a screen reader reads."""
        nodes = self.cdp("Accessibility.getFullAXTree")["nodes"]
        return [
            (node["role"]["value"], node.get("name", {}).get("value", ""))
            for node in nodes
            if not node["ignored"]
        ]

    def list_requests(self) -> list[str]:
        """Return the URLs that were requested since the last call."""
        events = [json.loads(e["message"])["message"] for e in self.driver.get_log("performance")]
        return [
            event["params"]["request"]["url"]
            for event in events
            if event["method"] == "Network.requestWillBeSent"
        ]

    def list_warnings(self) -> list[str]:
        """Return the warnings and errors on the console since the last call."""
        entries = self.driver.get_log("browser")
        return [e["message"] for e in entries if e["level"] in ("SEVERE", "WARNING")]


@contextmanager
def browsing(
    profile: Path, languages: str = "en-US,en", flags: Sequence[str] = ()
) -> Iterator[Page]:
    """Open a browser with a new profile in this folder. flags: more of the command line."""
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM or ""
    for flag in (*FLAGS, *flags, f"--user-data-dir={profile}", "--window-size=1280,800"):
        options.add_argument(flag)
    options.add_experimental_option("prefs", {"intl.accept_languages": languages})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = webdriver.ChromeService(DRIVER, env={**os.environ, "TZ": "UTC"})
    driver = webdriver.Chrome(options=options, service=service)
    try:
        page = Page(driver)
        page.resize(1280, 800)
        yield page
    finally:
        driver.quit()


def list_violations(page: Page) -> list[object]:
    """What axe finds on the page."""
    if not AXE.is_file():
        pytest.skip("scripts/check_page installs axe-core")
    page.driver.execute_script(AXE.read_text())
    violations: list[object] = page.driver.execute_async_script(VIOLATIONS)
    return violations
