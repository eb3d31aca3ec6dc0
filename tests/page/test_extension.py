"""The browser extension and the bookmarklet in a headless Chromium, against a real server."""

from __future__ import annotations

import json
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import httpx
import pytest
from helpers.browsing import CHROMIUM, DRIVER, MISSING, Page
from helpers.extension import SOURCE, Extension, open_extension
from helpers.libraries import close_library, open_library
from helpers.pictures import identity, jpeg
from helpers.project import ROOT
from helpers.serving import serving
from helpers.web_site import WebSite, serve_site

from search import Engine
from search.api.auth import Access

sys.path.insert(0, str(ROOT / "scripts"))
import pack_extension

OWN = "e" * 64
needs_browser = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason=MISSING)


@pytest.fixture(scope="module")
def site() -> Iterator[WebSite]:
    """A site with pictures, one of which needs the cookie of its login."""
    with serve_site() as one:
        one.files["/page"] = '<title>Birds</title><img src="/1.jpg"><img src="/a%20heron.jpg">'
        for path, seed in (("/1.jpg", 1), ("/a%20heron.jpg", 2)):
            one.answers[path] = (200, {"Content-Type": "image/jpeg"}, jpeg(seed))
        yield one


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    engine = open_library(tmp_path_factory.mktemp("extension"))
    yield engine
    close_library(engine)


@pytest.fixture(scope="module")
def client(engine: Engine) -> Iterator[httpx.Client]:
    access = Access(token=OWN, find_token=engine.find_token)
    with serving(engine, access) as client:
        client.headers["Authorization"] = f"Bearer {OWN}"
        yield client


@pytest.fixture(scope="module")
def extension(
    tmp_path_factory: pytest.TempPathFactory, client: httpx.Client, site: WebSite
) -> Iterator[Extension]:
    base = str(client.base_url).rstrip("/")
    with open_extension(tmp_path_factory.mktemp("browser"), [base, site.url]) as one:
        yield one


def open_page(extension: Extension, url: str) -> None:
    extension.page.driver.get(url)
    extension.page.wait_for("[...document.images].every((image) => image.complete)")


@pytest.mark.slow
@needs_browser
def test_options_are_tried_before_they_are_saved(
    extension: Extension, client: httpx.Client, engine: Engine
) -> None:
    base = str(client.base_url).rstrip("/")
    assert "does not take this token" in extension.save_options(base, "wrong")
    assert "no address of a server" in extension.save_options("ftp://x", OWN)
    assert "keeps no pictures" in extension.save_options(base, engine.add_token("anna", "read"))
    assert extension.save_options(f"{base.removeprefix('http://')}/web/", OWN).endswith("Saved.")
    stored = extension.evaluate("chrome.storage.local.get()")
    assert stored == {"address": base, "token": OWN}
    assert extension.page.evaluate("document.getElementById('address').value") == base


@pytest.mark.slow
@needs_browser
def test_a_picture_of_a_page_is_kept_with_its_source(
    extension: Extension, client: httpx.Client, engine: Engine, site: WebSite
) -> None:
    extension.save_options(str(client.base_url), OWN)
    page_url = f"{site.url}/page"
    open_page(extension, page_url)
    extension.choose("keep", f"{site.url}/a%20heron.jpg", page_url)
    assert extension.read_result() == ("✓", ["result"])
    picture = engine.picture(identity(2))
    assert (picture.original_name, picture.source_url) == ("a heron.jpg", page_url)
    assert Path(picture.path).read_bytes() == jpeg(2)
    extension.choose("keep", f"{site.url}/a%20heron.jpg", page_url)  # the library has it
    assert extension.read_result()[0] == "✓" and engine.status().pictures == 1


@pytest.mark.slow
@needs_browser
def test_a_picture_of_a_page_is_searched(
    extension: Extension, client: httpx.Client, engine: Engine, site: WebSite
) -> None:
    engine.keep(jpeg(1))
    base, page = str(client.base_url).rstrip("/"), extension.page
    extension.save_options(base, OWN)
    access: Access = client.app.state.context.access  # type: ignore[attr-defined]
    page.driver.get(base + access.make_link())  # the page is logged in, as it is for its user
    page_url = f"{site.url}/page"
    open_page(extension, page_url)
    before = set(page.driver.window_handles)
    extension.choose("search", f"{site.url}/1.jpg", page_url)
    (tab,) = set(page.driver.window_handles) - before
    first = page.driver.current_window_handle
    page.driver.switch_to.window(tab)
    try:
        page.wait_for("document.querySelectorAll('#grid li').length > 0")
        page.wait_for(f"location.search === '?q=id:{identity(1)[:16]}'")  # it is in the library
    finally:
        page.driver.close()
        page.driver.switch_to.window(first)


@pytest.mark.slow
@needs_browser
def test_what_goes_wrong_is_told(
    extension: Extension, client: httpx.Client, engine: Engine, site: WebSite
) -> None:
    page_url = f"{site.url}/page"

    def read_problem(item: str, picture: str) -> str:
        extension.evaluate("globalThis.show = (mark, color, text) => { globalThis.last = text; }")
        extension.choose(item, picture, page_url)
        return str(extension.evaluate("last"))

    base, reader = str(client.base_url), engine.add_token("bert", "read")
    extension.save_options(base, reader)
    open_page(extension, page_url)
    assert "with the role write" in read_problem("keep", f"{site.url}/1.jpg")
    engine.revoke_token("bert")
    assert "does not take this token" in read_problem("keep", f"{site.url}/1.jpg")
    assert "cannot be read" in read_problem("keep", "blob:null/1")
    extension.evaluate("chrome.storage.local.set({token: '" + OWN + "'})")
    # no picture: the page may read it, and the server refuses its address on loopback
    assert "The server refused it" in read_problem("keep", f"{site.url}/page")
    extension.evaluate("chrome.storage.local.set({address: 'http://127.0.0.1:9'})")
    assert "may not reach" in read_problem("keep", f"{site.url}/1.jpg")
    extension.evaluate("chrome.storage.local.clear()")
    assert "No server is set" in read_problem("search", f"{site.url}/1.jpg")


@pytest.mark.slow
@needs_browser
def test_a_picture_that_the_page_may_not_read_is_fetched_by_the_server(
    tmp_path: Path, site: WebSite
) -> None:
    engine = open_library(tmp_path / "home", allow_hosts="127.0.0.1")
    with serve_site() as other, serving(engine, Access(token=OWN)) as client:
        other.answers["/3.jpg"] = (200, {"Content-Type": "image/jpeg"}, jpeg(3))
        base = str(client.base_url).rstrip("/")
        with open_extension(tmp_path, [base, site.url]) as extension:
            extension.save_options(base, OWN)
            page_url = f"{site.url}/page"
            open_page(extension, page_url)
            extension.choose("keep", f"{other.url}/3.jpg", page_url)
            assert extension.read_result()[0] == "✓"
        assert engine.picture(identity(3)).source_url == page_url
        assert "lookalike" in other.requests[-1].agent
    close_library(engine)


@pytest.mark.slow
@needs_browser
def test_the_bookmarklet_searches_for_the_largest_picture(
    page: Page, engine: Engine, site: WebSite
) -> None:
    with serving(engine) as client:
        page.open(str(client.base_url))
        page.click("[data-help]")
        link = page.evaluate("document.getElementById('bookmarklet').href")
        assert link.startswith("javascript:") and "\n" not in link
        page.driver.get(f"{site.url}/page")
        page.wait_for("[...document.images].every((image) => image.complete)")
        first = page.driver.current_window_handle
        page.driver.execute_script(unquote(link.removeprefix("javascript:")))
        (tab,) = set(page.driver.window_handles) - {first}
        page.driver.switch_to.window(tab)
        page.wait_for("location.search.startsWith('?q=http')")
        page.driver.close()
        page.driver.switch_to.window(first)
    page.list_warnings()


def test_the_zip_has_what_the_manifest_names(tmp_path: Path) -> None:
    target = tmp_path / "extension.zip"
    names = pack_extension.pack(target)
    with zipfile.ZipFile(target) as archive:
        assert sorted(archive.namelist()) == names
        for name in names:
            assert archive.read(name) == (SOURCE / name).read_bytes()
        manifest = json.loads(archive.read("manifest.json"))
    assert manifest["background"]["service_worker"] in names
    assert manifest["options_ui"]["page"] in names
    assert set(manifest["icons"].values()) <= set(names)
    assert {"_locales/en/messages.json", "_locales/zh_CN/messages.json"} <= set(names)
    assert {"server.js", "options.js", "options.css"} <= set(names)  # named by other files
    again = tmp_path / "again.zip"
    pack_extension.pack(again)
    assert again.read_bytes() == target.read_bytes()


def test_the_zip_refuses_what_is_missing_and_what_nothing_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    shutil.copytree(SOURCE, tmp_path / "extension")
    monkeypatch.setattr(pack_extension, "FOLDER", tmp_path / "extension")
    (tmp_path / "extension" / "notes.txt").write_text("x")
    with pytest.raises(ValueError, match="nothing names notes.txt"):
        pack_extension.list_files()
    (tmp_path / "extension" / "notes.txt").unlink()
    (tmp_path / "extension" / "server.js").unlink()
    with pytest.raises(ValueError, match="server.js is named and not there"):
        pack_extension.list_files()


def test_texts_of_the_extension_are_there_in_both_languages() -> None:
    texts = {
        one.name: json.loads((one / "messages.json").read_text())
        for one in (SOURCE / "_locales").iterdir()
    }
    assert set(texts["en"]) == set(texts["zh_CN"])
    sources = "".join(one.read_text() for one in SOURCE.glob("*.*") if one.suffix != ".png")
    for key, english in texts["en"].items():
        assert key in sources
        chinese = texts["zh_CN"][key]["message"]
        assert english["message"] and chinese and ("$1" in chinese) == ("$1" in english["message"])
