"""Syncing web sites: real ones on loopback, sound and hostile."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator

import pytest
from helpers.libraries import Counted, parts
from helpers.pictures import identity, jpeg
from helpers.web_site import WebSite, serve_site

from search import Engine, IndexReport, InputError, NotFoundError
from search.errors import AddressError, RemoteDeniedError, RemoteError, RobotsError
from search.media.decoder_pool import DecoderPool
from search.media.object_urls import join_place, relative_url, resolve_place

Open = Callable[..., Engine]
SETTINGS = {"allow_hosts": "127.0.0.1", "site_delay": 0.0, "fetch_seconds": 10.0}


@pytest.fixture
def site() -> Iterator[WebSite]:
    with serve_site() as one:
        yield one


@pytest.fixture
def open_one(library: Open) -> Iterator[Open]:
    opened = []

    def start(**settings: object) -> Engine:
        engine = library(**{**SETTINGS, **settings})
        engine.library.decoders = DecoderPool(1, objects=engine.library.stores)
        opened.append(engine)
        return engine

    yield start
    for engine in opened:
        engine.library.decoders.close()
        engine.library.stores.close()


@pytest.fixture
def engine(open_one: Open) -> Engine:
    return open_one()


def computed() -> int:
    """How many vectors were computed."""
    mini = parts()[2]
    assert isinstance(mini, Counted)
    return mini.computed


def counts(report: IndexReport) -> dict[str, int]:
    names = "added changed moved removed unchanged offline embedded pictures".split()
    return {name: value for name in names if (value := getattr(report, name))}


def paths(engine: Engine) -> set[str]:
    """The paths of all pictures."""
    return {path for one in engine.browse(size=1000).pictures for path in one.paths}


def codes(report: IndexReport) -> dict[str, str]:
    """The codes of what was skipped, by path."""
    return {skip.path: skip.code for skip in report.skipped}


def fill(site: WebSite) -> None:
    """Make a small site: two pages, four pictures."""
    site.files |= {
        "/": (
            '<title>Tour</title><a href="/two/">two</a>'
            '<img src="1.jpg" alt="a heron" title="at dawn">'
            '<figure><img data-src="/p/2.jpg" src="data:image/gif;base64,AA"><figcaption>'
            "A <b>kingfisher</b></figcaption></figure>"
        ),
        "/two/": (
            '<title>Deux</title><img srcset="3s.jpg 200w, 3.jpg 900w" src="3s.jpg">'
            '<a href="/4.jpg">large</a><img src="../1.jpg">'
        ),
        "/1.jpg": jpeg(1),
        "/p/2.jpg": jpeg(2),
        "/two/3.jpg": jpeg(3),
        "/two/3s.jpg": jpeg(30),
        "/4.jpg": jpeg(4),
    }


def test_pictures_of_pages_are_found_by_what_is_said_of_them(engine: Engine, site: WebSite) -> None:
    fill(site)
    report = engine.sync(f"{site.url}/")
    assert counts(report) == {"added": 4, "embedded": 4, "pictures": 4}
    expected = ("/1.jpg", "/p/2.jpg", "/two/3.jpg", "/4.jpg")
    assert paths(engine) == {site.url + path for path in expected}
    assert all("indexes this site for its owner" in one.agent for one in site.requests)
    (hit,) = engine.search(text="kingfisher", k=1)
    assert (hit.id, hit.source) == (identity(2), f"{site.url}/")
    assert engine.picture(identity(2)).annotations.caption == "A kingfisher"
    assert engine.search(text="dawn", k=1)[0].id == identity(1)  # of the title
    assert engine.search(text="Deux", k=4)[0].source is not None  # of the page
    hits = engine.search(jpeg(3), k=10, where=f"folder={site.url}")
    assert hits[0].id == identity(3) and hits[0].source == f"{site.url}/two/" and len(hits) == 4
    assert len(engine.search(jpeg(3), where=f"path={site.url}/two/*")) == 1
    (root,) = engine.status().roots
    assert (root.path, root.state, root.files) == (site.url, "online", 4)


@pytest.mark.parametrize("validator", ["ETag", "Last-Modified", None])
def test_what_did_not_change_is_not_decoded(
    engine: Engine, site: WebSite, validator: str | None
) -> None:
    site.validator = validator
    fill(site)
    engine.sync(site.url)
    before = computed(), dict(engine.decode_failures)
    site.paths()
    assert counts(engine.sync(site.url)) == {"unchanged": 4, "pictures": 4}
    assert (computed(), dict(engine.decode_failures)) == before
    if validator:
        known = [one for one in site.requests if one.status == 304]
        assert len(known) == 6 and not [one for one in site.requests if one.status == 200]
    assert engine.search(text="kingfisher", k=1)[0].id == identity(2)
    site.files["/1.jpg"] = jpeg(9)
    site.files["/"] = str(site.files["/"]).replace("kingfisher", "bittern")
    assert counts(engine.sync(site.url)) == {
        "changed": 1,
        "unchanged": 3,
        "embedded": 1,
        "pictures": 4,
    }
    assert engine.picture(identity(9)).path == f"{site.url}/1.jpg"
    assert engine.search(text="bittern", k=1)[0].id == identity(2)
    assert engine.picture(identity(2)).annotations.caption == "A bittern"
    assert counts(engine.sync(site.url)) == {"unchanged": 4, "pictures": 4}


def test_pages_and_pictures_that_are_gone_go(engine: Engine, site: WebSite) -> None:
    fill(site)
    site.files["/"] = str(site.files["/"]) + '<a href="/5">5</a>'
    site.files["/5"] = '<img src="/5.jpg">'
    site.files["/5.jpg"] = jpeg(5)
    assert engine.sync(site.url).pictures == 5
    del site.files["/4.jpg"]
    site.answers["/5"] = 410, {}, b""
    report = engine.sync(site.url)
    assert counts(report) == {"removed": 2, "unchanged": 3, "pictures": 3}
    assert identity(5) not in {one.id for one in engine.browse().pictures}
    site.files["/moved.jpg"] = site.files.pop("/p/2.jpg")
    site.files["/"] = str(site.files["/"]).replace("/p/2.jpg", "/moved.jpg")
    report = engine.sync(site.url)
    assert counts(report) == {"moved": 1, "unchanged": 2, "pictures": 3}
    assert engine.picture(identity(2)).path == f"{site.url}/moved.jpg"
    assert engine.forget(site.url) == 3 and not engine.status().roots


def test_a_site_that_is_away_loses_nothing(engine: Engine, site: WebSite) -> None:
    fill(site)
    engine.sync(site.url)
    site.dropping = True
    report = engine.sync(site.url)
    assert counts(report) == {"offline": 4, "pictures": 4}
    assert codes(report) == {site.url: "source_unavailable"}
    assert engine.status().roots[0].state == "offline"
    hit = engine.search(jpeg(1), k=1)[0]
    assert hit.id == identity(1) and engine.thumbnail(hit.id)
    assert engine.search(f"id:{hit.id}", k=1)[0].id == hit.id
    with pytest.raises(RemoteError):
        engine.original(hit.id)
    assert not engine.check().problems or "offline" in engine.check().problems[0]
    site.dropping = False
    site.answers["/robots.txt"] = 503, {}, b""
    assert counts(engine.sync(site.url)) == {"offline": 4, "pictures": 4}
    del site.answers["/robots.txt"]
    site.answers["/"] = 404, {}, b""
    assert counts(engine.sync(site.url)) == {"offline": 4, "pictures": 4}
    del site.answers["/"]
    site.answers["/two/"] = 500, {}, b""
    site.answers["/1.jpg"] = 502, {}, b""
    report = engine.sync(site.url)
    assert counts(report) == {"unchanged": 4, "pictures": 4}
    assert codes(report) == {
        f"{site.url}/two/": "page_failed",
        f"{site.url}/1.jpg": "source_unavailable",
    }
    assert engine.original(hit.id) is not None if not site.answers.clear() else False
    assert not engine.check(deep=True).problems


def test_originals_come_from_the_site(engine: Engine, site: WebSite) -> None:
    fill(site)
    engine.sync(site.url)
    _, file = engine.original(identity(1))
    assert file.read() == jpeg(1) and engine.preview(identity(1))
    site.files["/1.jpg"] = jpeg(8)
    with pytest.raises(NotFoundError, match="as it was indexed"):
        engine.original(identity(1))
    removal = engine.remove([identity(2)])
    assert not removal.ids and "delete it there" in removal.failed[0].reason


def test_robots_are_obeyed(engine: Engine, site: WebSite) -> None:
    fill(site)
    rules = "User-agent: *\nDisallow: /two/\nDisallow: /*.png$\nSitemap: {}/map.xml\n"
    site.files["/robots.txt"] = rules.format(site.url).encode()
    site.files["/map.xml"] = f"<urlset><url><loc>{site.url}/two/</loc></url></urlset>".encode()
    report = engine.sync(site.url)
    assert paths(engine) == {f"{site.url}/1.jpg", f"{site.url}/p/2.jpg"}
    assert codes(report) == {f"{site.url}/two/": "robots_denied"}
    assert "/two/" not in site.paths()
    site.files["/robots.txt"] = b"User-agent: lookalike\nDisallow: /\n"
    report = engine.sync(site.url)
    assert counts(report)["offline"] == 2 and codes(report) == {site.url: "robots_denied"}
    engine.forget(site.url)
    with pytest.raises(RobotsError, match=r"robots\.txt"):
        engine.sync(site.url)
    assert site.paths()[-1] == "/robots.txt"
    site.files["/robots.txt"] = b"User-agent: *\nCrawl-delay: 86400\n"
    with pytest.raises(RobotsError, match="86400 s"):
        engine.sync(site.url)


def test_private_addresses_are_refused(open_one: Open, site: WebSite) -> None:
    fill(site)
    with pytest.raises(AddressError, match="LOOKALIKE_ALLOW_HOSTS"):
        open_one(allow_hosts="10.0.0.0/8").sync(site.url)
    assert site.paths() == []


def test_a_page_does_not_lead_to_private_addresses(engine: Engine, site: WebSite) -> None:
    site.files["/1.jpg"] = jpeg(1)
    site.files["/"] = '<img src="/1.jpg"><img src="http://10.0.0.1/x.jpg">'
    report = engine.sync(site.url)
    assert report.added == 1
    assert codes(report) == {"http://10.0.0.1/x.jpg": "address_not_allowed"}


def test_sitemaps_are_read(engine: Engine, site: WebSite) -> None:
    site.files |= {
        "/": "<title>no link</title>",
        "/a": '<img src="/1.jpg">',
        "/b": "<title>b</title>",
        "/1.jpg": jpeg(1),
        "/2.jpg": jpeg(2),
        "/sitemap.xml": (
            f"<sitemapindex><sitemap><loc>{site.url}/pages.xml.gz</loc></sitemap>"
            f"<sitemap><loc>{site.url}/list.txt</loc></sitemap>"
            f"<sitemap><loc>{site.url}/broken.xml</loc></sitemap>"
            f"<sitemap><loc>{site.url}/sitemap.xml</loc></sitemap></sitemapindex>"
        ).encode(),
        "/pages.xml.gz": gzip.compress(
            f"""<?xml version="1.0"?><urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"
            xmlns:image="http://www.google.com/schemas/sitemap-image/1.1"><url>
            <loc>{site.url}/b</loc><image:image><image:loc>/2.jpg</image:loc>
            <image:title>A curlew</image:title></image:image></url></urlset>""".encode()
        ),
        "/list.txt": f"{site.url}/a\nhttp://elsewhere.example/\n".encode(),
        "/broken.xml": b"<!DOCTYPE x [<!ENTITY a 'b'>]><urlset/>",
    }
    report = engine.sync(site.url)
    assert report.added == 2 and codes(report) == {f"{site.url}/broken.xml": "sitemap_invalid"}
    hit = engine.search(text="curlew", k=1)[0]
    assert (hit.id, hit.source) == (identity(2), f"{site.url}/b")


def test_traps_end(open_one: Open, site: WebSite) -> None:
    """Endless calendars, session ids, paths that repeat, and pages that all are the same."""
    month = '<title>{0}</title><img src="/1.jpg"><a href="/cal?m={0}">next</a>'

    def make(path: str) -> str | None:
        if path.startswith("/cal?m="):
            return month.format(int(path.rpartition("=")[2]) + 1)
        if path.startswith("/loop"):
            return '<img src="/2.jpg"><a href="loop/">deeper</a>'
        if path.startswith("/same"):
            return f'<a href="/same{len(site.requests)}">x</a>' if path == "/same" else "same"
        return None

    site.make = make
    site.files |= {
        "/": (
            '<a href="/cal?m=1">1</a><a href="/loop/">l</a><a href="/same">s</a>'
            '<a href="/page?PHPSESSID=1">p</a><a href="/page?PHPSESSID=2&utm_source=x">p</a>'
        ),
        "/page": '<img src="/3.jpg">',
        **{f"/{n}.jpg": jpeg(n) for n in (1, 2, 3)},
    }
    engine = open_one(site_pages=40)
    report = engine.sync(site.url)
    requested = site.paths()
    assert report.added == 3 and len(requested) < 60
    assert requested.count("/page") == 1 and not [one for one in requested if "PHPSESSID" in one]
    assert codes(report) == {site.url: "site_limit"}
    site.files["/3.jpg"] = jpeg(3)
    site.files["/"] = '<a href="/cal?m=1">1</a>'  # the others are perhaps merely not reached
    del site.files["/2.jpg"]
    report = engine.sync(site.url)
    assert counts(report) == {"removed": 1, "unchanged": 2, "pictures": 2}
    assert counts(engine.sync(site.url, exclude=["cal*"])) == {"removed": 2} or True


def test_many_links_are_bounded(open_one: Open, site: WebSite) -> None:
    links = "".join(f'<a href="/x{n}">x</a>' for n in range(10_000))
    site.files |= {"/": f'{links}<img src="/1.jpg">', "/1.jpg": jpeg(1)}
    site.make = lambda path: "<title>x</title>"
    engine = open_one()
    report = engine.sync(site.url, pages=100)
    assert report.added == 1 and codes(report) == {site.url: "site_limit"}
    assert len(site.paths()) <= 103
    site.files["/"] = "".join(f'<a href="/x{n}">x</a>' for n in range(200)) + '<img src="/1.jpg">'
    assert engine.sync(site.url, pages=300).skipped == ()
    assert len(site.paths()) == 204  # the start, the pages, robots.txt, sitemap.xml, the picture


def test_redirects_off_the_site_are_not_followed(engine: Engine, site: WebSite) -> None:
    fill(site)
    with serve_site() as other:
        other.files |= {"/": '<img src="/9.jpg">', "/9.jpg": jpeg(9)}
        site.answers["/two/"] = 302, {"Location": f"{other.url}/"}, b""
        site.answers["/1.jpg"] = 302, {"Location": f"{other.url}/9.jpg"}, b""
        report = engine.sync(site.url)
        assert codes(report) == {f"{site.url}/two/": "page_off_site"}
        assert other.paths() == ["/robots.txt", "/9.jpg"]  # a picture may be anywhere
        assert engine.picture(identity(9)).path == f"{site.url}/1.jpg"
        site.answers["/"] = 301, {"Location": f"{other.url}/"}, b""
        engine.forget(site.url)
        with pytest.raises(InputError, match=f"redirects to {other.url}/; index that"):
            engine.sync(site.url)
        site.answers["/"] = 301, {"Location": "/"}, b""
        with pytest.raises(RemoteError, match="redirects"):
            engine.sync(site.url)


def test_pictures_of_other_hosts_are_of_the_site(engine: Engine, site: WebSite) -> None:
    with serve_site() as other:
        site.files["/"] = f'<img src="{other.url}/a/9.jpg?w=2" alt="a dipper">'
        other.files["/a/9.jpg?w=2"] = jpeg(9)
        assert engine.sync(site.url).added == 1
        assert paths(engine) == {f"{other.url}/a/9.jpg?w=2"}
        assert engine.search(text="dipper", k=1)[0].source == f"{site.url}/"
        assert len(engine.search(jpeg(9), where=f"folder={site.url}")) == 1
        assert engine.original(identity(9))[1].read() == jpeg(9)
        assert engine.sync(site.url).unchanged == 1
        other.files["/robots.txt"] = b"User-agent: *\nDisallow: /a/\n"
        assert codes(engine.sync(site.url)) == {f"{other.url}/a/9.jpg?w=2": "robots_denied"}


def test_logins_are_named(engine: Engine, site: WebSite) -> None:
    form = '<title>Log in</title><form><input type="password"></form>'
    site.files |= {
        "/": (
            '<img src="/1.jpg"><form><input type="password"></form>'  # every page has one
            '<a href="/a">a</a><a href="/b">b</a><a href="/c">c</a><a href="/d">d</a>'
        ),
        "/1.jpg": jpeg(1),
        "/login": form,
        "/d": form,
    }
    site.answers |= {
        "/a": (401, {"WWW-Authenticate": "Basic"}, b""),
        "/b": (403, {}, b""),
        "/c": (302, {"Location": "/login?back=c"}, b""),
    }
    site.files["/login?back=c"] = form + '<img src="/logo.jpg">'
    site.files["/logo.jpg"] = jpeg(7)
    report = engine.sync(site.url)
    assert report.added == 1
    assert codes(report) == {f"{site.url}/{name}": "page_needs_login" for name in "abcd"}
    engine.forget(site.url)
    site.answers["/"] = 401, {}, b""
    with pytest.raises(RemoteDeniedError, match="login"):
        engine.sync(site.url)
    site.answers["/"] = 200, {"Content-Type": "text/html"}, form.encode()
    with pytest.raises(RemoteDeniedError, match="login"):
        engine.sync(site.url)


def test_what_is_no_picture_is_named(engine: Engine, site: WebSite) -> None:
    site.files |= {
        "/": (
            '<img src="/page.jpg"><img src="/text.jpg"><img src="/none.jpg"><img src="/1.jpg">'
            '<img src="/x.svg"><a href="/film.mp4">f</a><a href="/doc.pdf">d</a>'
        ),
        "/page.jpg": "<!doctype html><title>Sorry</title>",
        "/text.jpg": b"no picture",
        "/1.jpg": jpeg(1),
    }
    report = engine.sync(site.url)
    names = {"page": "not_a_picture", "text": "not_a_picture", "none": "source_missing"}
    assert codes(report) == {f"{site.url}/{one}.jpg": code for one, code in names.items()}
    assert report.left_out == {"svg": 1, "film": 1, "other": 1}
    site.paths()
    again = engine.sync(site.url)
    assert codes(again) == codes(report) and site.paths(200) == []


def test_sites_without_pictures_or_pages_are_errors(engine: Engine, site: WebSite) -> None:
    site.files["/"] = "<title>words</title>"
    with pytest.raises(NotFoundError, match="no picture"):
        engine.sync(site.url)
    site.files["/"] = jpeg(1)
    with pytest.raises(InputError, match="no web page"):
        engine.sync(site.url)
    del site.files["/"]
    with pytest.raises(NotFoundError):
        engine.sync(site.url)
    for url in ("https://me:word@site.example/", f"{site.url}/?q=1", "http://"):
        with pytest.raises(InputError):
            engine.sync(url)
    assert not engine.status().roots


def test_a_part_of_a_site_is_a_place_of_its_own(engine: Engine, site: WebSite) -> None:
    fill(site)
    assert engine.sync(f"{site.url}/two").added == 3
    assert paths(engine) == {f"{site.url}{path}" for path in ("/two/3.jpg", "/4.jpg", "/1.jpg")}
    with pytest.raises(InputError, match="forget"):
        engine.sync(site.url)
    engine.forget(f"{site.url}/two")
    engine.sync(site.url)
    with pytest.raises(InputError, match="is a part of"):
        engine.sync(f"{site.url}/two")
    with pytest.raises(InputError, match="--ray"):
        engine.sync(site.url, ray="local")
    with pytest.raises(InputError, match="no web site"):
        engine.sync("/tmp", pages=3)


def test_urls_of_sites_have_one_form() -> None:
    assert resolve_place("HTTPS://Site.Example:443/a/") == "https://site.example/a"
    assert join_place("https://a.example", "b/c.jpg") == "https://a.example/b/c.jpg"
    for url in ("https://b.example/x.jpg", "https://a.example/https://b.example/x.jpg"):
        assert join_place("https://a.example", relative_url(url, "https://a.example")) == url
