"""A real headless Chromium, and what the tests of the page do in it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
MISSING = "needs Debian's packages chromium and chromium-driver: install them with apt-get"
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --hide-scrollbars "
    "--disable-background-networking --disable-component-update --disable-sync "
    "--disable-dev-shm-usage"
).split()
SECONDS = 60.0  # at most: a busy machine is no failure
QUIET = "!document.body.classList.contains('busy')"


class Page:
    """One tab, driven as a person would."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver, self.base = driver, ""

    def open(self, base: str, path: str = "/", seen: str = "") -> None:
        """Load an address of a server and wait until something is shown; seen: what, else."""
        self.base = base.rstrip("/")
        self.driver.get(self.base + path)
        self.wait(seen or f"{QUIET} && document.querySelector('#grid li, #state:not([hidden])')")

    def js(self, code: str, *given: Any) -> Any:
        """What an expression is worth in the page."""
        return self.driver.execute_script(f"return {code}", *given)

    def wait(self, code: str, *given: Any) -> Any:
        """The value of an expression, once it is a true one."""
        waiting = WebDriverWait(self.driver, SECONDS, poll_frequency=0.03)
        return waiting.until(lambda _: self.js(code, *given), code)

    def find(self, css: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, css)

    def click(self, css: str) -> None:
        """Click what is there, once it stays while it is clicked."""
        waiting = WebDriverWait(
            self.driver,
            SECONDS,
            poll_frequency=0.03,
            ignored_exceptions=[NoSuchElementException, StaleElementReferenceException],
        )
        waiting.until(lambda _: self.find(css).click() or True, css)

    def text(self, css: str) -> str:
        return str(self.js("document.querySelector(arguments[0]).textContent", css))

    def press(self, *keys: str, held: str = "") -> None:
        """Press keys one after the other, with another one held."""
        chain = ActionChains(self.driver, duration=10)
        if held:
            chain.key_down(held)
        for key in keys:
            chain.send_keys(key)
        if held:
            chain.key_up(held)
        chain.perform()

    def results(self, title: str = "result") -> list[str]:
        """The labels of the pictures that are shown, once those of a query are."""
        shown = "document.getElementById('found-title').textContent"
        self.wait(f"{QUIET} && {shown}.includes(arguments[0])", title)
        return self.labels()

    def labels(self) -> list[str]:
        """Name, folder and score of each picture in the document."""
        found: list[str] = self.js(
            "[...document.querySelectorAll('#grid a')].map(a => a.getAttribute('aria-label'))"
        )
        return found

    def said(self) -> str:
        """What stands in place of pictures, once something does."""
        return str(
            self.wait(f"{QUIET} && document.querySelector('#state:not([hidden])')?.innerText")
        )

    def path(self) -> str:
        """The address, without the server."""
        return self.driver.current_url.removeprefix(self.base)

    def choose(self, path: Path) -> None:
        """Choose a file."""
        self.find("#file").send_keys(str(path))

    def drop(self, path: Path) -> None:
        """Drag a file of this machine over the page, and let it go."""
        data = {"items": [], "files": [str(path)], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self.cdp("Input.dispatchDragEvent", type=kind, x=300, y=300, data=data)

    def cdp(self, command: str, **given: Any) -> Any:
        """A command of the browser's own protocol."""
        return self.driver.execute_cdp_cmd(command, given)

    def media(self, **features: str) -> None:
        """Emulate such as `prefers-color-scheme`; nothing for what the browser has."""
        listed = [{"name": n.replace("_", "-"), "value": v} for n, v in features.items()]
        self.cdp("Emulation.setEmulatedMedia", features=listed)

    def resize(self, width: int, height: int, touch: bool = False) -> None:
        """The window's size in pixels, and whether a finger is the pointer."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1}
        self.cdp("Emulation.setDeviceMetricsOverride", mobile=touch, **size)
        self.cdp("Emulation.setTouchEmulationEnabled", enabled=touch)

    def tree(self) -> list[tuple[str, str]]:
        """Role and name of everything that a screen reader comes by."""
        nodes = self.cdp("Accessibility.getFullAXTree")["nodes"]
        return [
            (node["role"]["value"], node.get("name", {}).get("value", ""))
            for node in nodes
            if not node["ignored"]
        ]

    def requests(self) -> list[str]:
        """Every URL that was asked for since this was last called."""
        events = [json.loads(e["message"])["message"] for e in self.driver.get_log("performance")]
        return [
            event["params"]["request"]["url"]
            for event in events
            if event["method"] == "Network.requestWillBeSent"
        ]

    def complaints(self) -> list[str]:
        """What the console said since this was last called."""
        entries = self.driver.get_log("browser")
        return [e["message"] for e in entries if e["level"] in ("SEVERE", "WARNING")]


@contextmanager
def browsing(profile: Path, languages: str = "en-US,en") -> Iterator[Page]:
    """A browser with a fresh profile in this folder."""
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM or ""
    for flag in (*FLAGS, f"--user-data-dir={profile}", "--window-size=1280,800"):
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
