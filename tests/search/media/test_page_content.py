"""Web pages and sitemaps: what they show, in any encoding, sound, broken and hostile."""

from __future__ import annotations

import gzip

import pytest

from search.media import sitemaps
from search.media.page_content import choose_candidate, decode_page, parse_page
from search.media.sitemaps import parse_sitemap
from search.media.sites import RobotRules


def urls(html: str) -> list[str]:
    return [one.url for one in parse_page(html.encode(), "text/html").pictures]


@pytest.mark.parametrize(
    ("html", "url"),
    [
        ('<img src="a.jpg">', "a.jpg"),
        ("<IMG SRC=a.jpg>", "a.jpg"),
        ('<img src="s.gif" data-src="a.jpg">', "a.jpg"),
        ('<img src="data:image/gif;base64,AAAA" data-lazy-src="a.jpg">', "a.jpg"),
        ('<img src="s.jpg" srcset="s.jpg 1x, a.jpg 2x">', "a.jpg"),
        ('<img src="s.jpg" data-srcset="s.jpg 300w,\n a.jpg 1200w, m.jpg 600w">', "a.jpg"),
        ('<picture><source srcset="a.jpg 900w"><img src="s.jpg"></picture>', "a.jpg"),
        ('<noscript><img src="a.jpg"></noscript>', "a.jpg"),
        ('<meta property="og:image" content="a.jpg">', "a.jpg"),
        ('<video poster="a.jpg"></video>', "a.jpg"),
        ('<link rel="image_src" href="a.jpg">', "a.jpg"),
        ('<img src="a.jpg?w=1&amp;h=2">', "a.jpg?w=1&h=2"),
    ],
)
def test_the_best_address_of_a_picture_is_taken(html: str, url: str) -> None:
    assert urls(html) == [url]


def test_what_is_no_picture_of_the_page_is_left_out() -> None:
    html = (
        '<style>a{background:url(b.jpg)}</style><div style="background:url(b.jpg)"></div>'
        '<img><img src=""><img src="data:image/gif;base64,AA"><img width=1 height=1 src=c.gif>'
        '<script>"<img src=d.jpg>"</script><!-- <img src="e.jpg"> -->'
    )
    assert urls(html) == []


def test_words_of_a_picture_and_of_its_page() -> None:
    html = """<title>A  page</title><svg><title>icon</title></svg>
        <figure><figcaption>Both <i>birds</i></figcaption><img src=1.jpg alt="left&#10;one">
        <img src=2.jpg></figure><img src=3.jpg title=T><img src=1.jpg title=later>
        <meta property=og:image content=4.jpg><meta property=og:image:alt content=main>"""
    page = parse_page(html.encode(), "")
    assert page.title == "A page"
    assert [tuple(one) for one in page.pictures] == [
        ("1.jpg", "left one", "later", "Both birds"),
        ("2.jpg", "", "", "Both birds"),
        ("3.jpg", "", "T", ""),
        ("4.jpg", "main", "", ""),
    ]


def test_rules_of_a_page_are_read() -> None:
    page = parse_page(
        b'<meta name=robots content="noindex, nofollow"><base href="/x/"><a href=a>a</a>'
        b"<a rel=nofollow href=b>b</a><link rel=canonical href=/c><input type=password>",
        "",
    )
    assert (page.may_index, page.may_follow, page.has_password) == (False, False, True)
    assert (page.base, page.canonical, page.links) == ("/x/", "/c", ["a"])


@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        ("<title>Größe 雪</title>".encode(), "text/html"),
        ("<title>Größe 雪</title>".encode("utf-16"), "text/html"),
        (b'<meta charset="gb18030">' + "<title>Größe 雪</title>".encode("gb18030"), ""),
        ("<title>Größe 雪</title>".encode("gb18030"), 'text/html; charset="GB18030"'),
        ("<title>Größe 雪</title>".encode(), "text/html; charset=nonsense"),
        ("<title>Größe 雪</title>".encode(), "text/html; charset=base64"),
    ],
)
def test_pages_have_any_encoding(data: bytes, media_type: str) -> None:
    assert parse_page(data, media_type).title == "Größe 雪"


def test_a_page_without_an_encoding() -> None:
    assert decode_page("Größe €".encode("cp1252"), "text/html") == "Größe €"
    assert decode_page("Größe €".encode("cp1252"), "text/html; charset=iso-8859-1") == "Größe €"


@pytest.mark.parametrize(
    "html",
    [
        "<img src='a.jpg'><" * 20_000,
        "<img src='a.jpg'>" + "<![" * 100_000,
        "<img src='a.jpg'>" + "<a " + "a=" * 200_000,
        "<img src='a.jpg'>" + "<!--" * 100_000,
        "<img src='a.jpg'>" + "<figure><figcaption>" * 50_000,
        "<img src='a.jpg'>" + "&" * 300_000 + "<title>" * 1000,
        "<img src='a.jpg'><img srcset='" + "a " * 100_000 + "'>",
        "<img src='a.jpg'><img srcset='" + "," * 100_000 + "'>",
        "<img src='a.jpg'><script>" + "</scrip" * 50_000,
        "<img src='a.jpg'><img src='data:image/png;base64," + "A" * 2_000_000 + "'>",
    ],
)
def test_broken_and_hostile_pages_end(html: str) -> None:
    assert "a.jpg" in urls(html)


def test_links_and_pictures_of_a_page_are_limited() -> None:
    page = parse_page("".join(f"<a href={n}><img src={n}.jpg>" for n in range(20_000)).encode(), "")
    assert (len(page.links), len(page.pictures), page.is_whole) == (10_000, 5_000, False)


def test_candidates() -> None:
    assert choose_candidate("") is None
    assert choose_candidate("a.jpg, b.jpg 2x, data:image/gif;base64,AA 9x") == (2000, "b.jpg")
    assert choose_candidate("a,b.jpg 100w, c.jpg 50w") == (100, "a,b.jpg")


def test_sitemaps_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sitemaps, "SITEMAP_BYTES", 10_000)
    monkeypatch.setattr(sitemaps, "MOST_URLS", 50)
    bomb = gzip.compress(b"<urlset>" + b" " * 10**7)
    assert "more than 10000" in parse_sitemap(bomb).problem
    entries = "".join(f"<url><loc>https://a.example/{n}</loc></url>" for n in range(100))
    many = parse_sitemap(f"<urlset>{entries}</urlset>".encode())
    assert "more than 50" in many.problem and len(many.pages) == 51
    assert parse_sitemap(gzip.compress(b"<urlset/>")[:-12] + b"x").problem
    assert parse_sitemap(b"<a>" * 100).problem and parse_sitemap(b"").pages == []
    cut = parse_sitemap(f"<urlset>{entries[:100]}".encode())
    assert cut.problem and len(cut.pages) == 2


def test_rules_of_robots() -> None:
    rules = RobotRules(
        "User-agent: *\nDisallow: /\nUser-agent: lookalike\nDisallow: /a\nAllow: /a/b\n"
        f"Crawl-delay: 2.5\nDisallow: /{'*a' * 5000}b\nSitemap: https://a.example/s.xml\n"
    )
    allowed = {path: rules.allow(f"https://a.example{path}") for path in ("/", "/a/c", "/a/b/c")}
    assert allowed == {"/": True, "/a/c": False, "/a/b/c": True}
    assert (rules.delay, rules.sitemaps) == (2.5, ("https://a.example/s.xml",))
    rules.allow("https://a.example/" + "a" * 5000)
    assert RobotRules("\0\xff<html>nonsense").allow("https://a.example/")
