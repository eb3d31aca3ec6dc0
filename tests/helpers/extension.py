"""The browser extension in a headless Chromium, whose worker is driven by the DevTools protocol."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import websocket

from helpers.browsing import Page, browsing
from helpers.project import ROOT

SOURCE = ROOT / "scripts" / "extension"


class Extension:
    """The extension in a browser. page: a tab. id: of the extension."""

    def __init__(self, page: Page, address: str) -> None:
        """address: of the browser's DevTools."""
        self.page, self._address = page, address
        page.driver.set_script_timeout(60)
        self.id = ""
        while not self.id:
            self.id = next((one["url"].split("/")[2] for one in self._list_workers()), "")

    def _list_workers(self) -> list[dict[str, str]]:
        """Return the targets of the extension's worker: one, as soon as it has started."""
        listed = httpx.get(f"http://{self._address}/json", trust_env=False).json()
        workers = (one for one in listed if one["type"] == "service_worker")
        return [one for one in workers if one["url"].endswith("/background.js")]

    def evaluate(self, code: str) -> Any:
        """Return the value of an expression in the worker, which is awaited."""
        (worker,) = self._list_workers()
        connection = websocket.create_connection(
            worker["webSocketDebuggerUrl"], timeout=60, suppress_origin=True
        )
        try:
            options = {"expression": code, "awaitPromise": True, "returnByValue": True}
            message = {"id": 1, "method": "Runtime.evaluate", "params": options}
            connection.send(json.dumps(message))
            while (answer := json.loads(connection.recv())).get("id") != 1:
                pass
        finally:
            connection.close()
        assert "exceptionDetails" not in answer["result"], answer
        return answer["result"]["result"].get("value")

    def choose(self, item: str, picture: str, page_url: str) -> None:
        """Do what the worker does when a menu item of a picture is chosen, and wait for it."""
        info = {"menuItemId": item, "srcUrl": picture, "pageUrl": page_url, "frameId": 0}
        tab = f"(await chrome.tabs.query({{url: {json.dumps(page_url)}}}))[0]"
        self.evaluate(f"(async () => handleClick({json.dumps(info)}, {tab}))()")

    def read_result(self) -> tuple[str, list[str]]:
        """Return the badge, and what notifications there are."""
        badge, names = self.evaluate(
            "(async () => [await chrome.action.getBadgeText({}), "
            "Object.keys(await new Promise((done) => chrome.notifications.getAll(done)))])()"
        )
        return badge, names

    def save_options(self, address: str, token: str) -> str:
        """Fill the options in and save them; return what the page says."""
        page = self.page
        page.driver.get(f"chrome-extension://{self.id}/options.html")
        page.wait_for("document.querySelector('button').textContent")
        for name, text in (("address", address), ("token", token)):
            page.find(f"#{name}").clear()
            page.find(f"#{name}").send_keys(text)
        page.click("button")
        return str(page.wait_for("document.getElementById('result').textContent"))


@contextmanager
def open_extension(
    folder: Path, origins: list[str], languages: str = "en-US,en"
) -> Iterator[Extension]:
    """Open a browser with the extension. folder: for its files and the profile. origins: what it
    may reach. A user allows them in a dialog, which no driver can: here the manifest does."""
    shutil.copytree(SOURCE, folder / "extension")
    manifest = folder / "extension" / "manifest.json"
    document = json.loads(manifest.read_text())
    document["host_permissions"] = [f"{origin}/*" for origin in origins]
    manifest.write_text(json.dumps(document))
    flags = (
        "--disable-features=DisableLoadExtensionCommandLineSwitch",
        f"--load-extension={folder / 'extension'}",
    )
    with browsing(folder / "profile", languages, flags) as page:
        capabilities = page.driver.capabilities["goog:chromeOptions"]
        yield Extension(page, capabilities["debuggerAddress"])
