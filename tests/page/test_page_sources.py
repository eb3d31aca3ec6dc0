"""The page in a headless Chromium: where a picture of a web site comes from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.browsing import CHROMIUM, DRIVER, MISSING, Page, list_violations
from helpers.libraries import close_library, open_library
from helpers.pictures import identity, jpeg
from helpers.serving import show_library
from helpers.web_site import WebSite, serve_site

from search import Engine
from search.media.decoder_pool import DecoderPool

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason=MISSING),
]
SHOWN = "document.getElementById('detail-image')"
LIST = "document.getElementById('sources-list').textContent"
LINKS = """[...document.querySelectorAll('#sources-list a, #detail-facts a[target]')].map(
    (a) => [a.getAttribute('href'), a.rel])"""


@pytest.fixture
def site() -> Iterator[WebSite]:
    with serve_site() as one:
        one.files |= {
            "/": '<title>Birds</title><img src="1.jpg" alt="a heron"><a href="/two">2</a>',
            "/two": '<img src="2.jpg">',
            "/1.jpg": jpeg(1),
            "/2.jpg": jpeg(2),
        }
        yield one


@pytest.fixture
def engine(tmp_path: Path, site: WebSite) -> Iterator[Engine]:
    one = open_library(tmp_path / "home", allow_hosts="127.0.0.1", site_delay=0.0)
    with DecoderPool(1, objects=one.library.stores) as pool:
        one.library.decoders = pool
        one.sync(site.url)
        yield one
    one.library.stores.close()
    close_library(one)


def test_the_large_view_tells_where_a_picture_comes_from(
    engine: Engine, site: WebSite, page: Page
) -> None:
    with show_library(engine, page) as base:
        page.open(base, f"/?see={identity(1)[:12]}")
        page.wait_for(f"JSON.stringify({LINKS}).includes({site.url + '/'!r})")
        page.click("#detail-sources summary")
        page.wait_for(f"{LIST}.includes('a heron')")
        assert "No public address of this picture is known" in page.evaluate(LIST)
        links = page.evaluate(LINKS)
        assert {rel for _, rel in links} == {"noopener noreferrer"}
        assert {f"{site.url}/", f"{site.url}/1.jpg"} <= {href for href, _ in links}
        assert list_violations(page) == []
        site.dropping = True
        page.open(base, f"/?see={identity(2)[:12]}")
        page.wait_for(f"{SHOWN}.getAttribute('src').endsWith('/thumbnail')")
        page.wait_for(f"{SHOWN}.naturalWidth > 0")
        page.wait_for("!document.getElementById('detail-gone').hidden")
        page.list_warnings()  # the server says that the site is away
