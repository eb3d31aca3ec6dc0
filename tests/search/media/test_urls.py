"""URLs as people paste them, and pages that name their main picture."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from helpers.pictures import jpeg
from pydantic import ValidationError

from search import Engine, InputError, Query, QueryError, Settings
from search.errors import SizeError
from search.media.fetch import FetchedPicture, Fetcher
from search.media.sources import is_url
from search.media.urls import decode_data_url, normalize_url
from search.media.web_page import find_main_picture, is_web_page

PIXEL = f"data:image/jpeg;base64,{base64.b64encode(jpeg(1)).decode()}"


@pytest.mark.parametrize(
    ("text", "url"),
    [
        (" https://example.org/a.jpg\r\n", "https://example.org/a.jpg"),
        ("\n\tHTTP://example.org/", "HTTP://example.org/"),
        ("www.example.org/a.jpg", "https://www.example.org/a.jpg"),
        ("WWW.example.org", "https://WWW.example.org"),
        ("//cdn.example.org/a.jpg ", "https://cdn.example.org/a.jpg"),
        ("//[2606:4700::1111]/a.jpg", "https://[2606:4700::1111]/a.jpg"),
        ("data:image/png;base64,AAAA", "data:image/png;base64,AAAA"),
        ("example.org/a.jpg", None),
        ("/etc/passwd", None),
        ("///etc/passwd", None),
        ("//", None),
        ("www.", None),
        ("www.two words.org", None),
        ("file:///etc/passwd", None),
        ("javascript:1", None),
        ("cat", None),
        ("", None),
    ],
)
def test_what_is_pasted_is_read_as_a_browser_does(text: str, url: str | None) -> None:
    assert normalize_url(text) == url


def test_a_file_comes_before_a_url_without_a_scheme(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert is_url("www.example.jpg") and is_url(f"/{tmp_path}/a.jpg")
    for name in ("www.example.jpg", "a.jpg"):
        (tmp_path / name).write_bytes(b"")
    assert not is_url("www.example.jpg") and not is_url(f"/{tmp_path}/a.jpg")


def test_over_http_such_a_url_is_never_a_file(tmp_path: Path) -> None:
    """Who sends a URL may not be who owns the files."""
    (tmp_path / "a.jpg").write_bytes(b"")
    for text in (f"/{tmp_path}/a.jpg", " www.example.org/a.jpg"):
        query = Query.from_json({"terms": [{"image": text}]})
        assert str(query.terms[0].image).startswith("https://")
    with pytest.raises(QueryError):
        Query.from_json({"terms": [{"image": str(tmp_path / "a.jpg")}]})


def test_a_data_url_is_the_picture_in_it(engine: Engine, folder: Path) -> None:
    (folder / "a.jpg").write_bytes(jpeg(1))
    engine.sync(folder)
    assert engine.search(image=f" {PIXEL}\n")[0].score >= 0.999
    assert engine.search(Query.from_json({"terms": [{"image": PIXEL}]}))[0].score >= 0.999
    assert Fetcher(10**6, 1.0).fetch("data:,a%20b") == FetchedPicture(b"a b")
    for broken in (PIXEL[:-3], "data:image/png;base64,%"):
        with pytest.raises(InputError, match="cut off or broken"):
            decode_data_url(broken, 10**6)
    for large in ("data:,abcd", "data:," + "a" * 10_000):
        with pytest.raises(SizeError, match="larger than 3") as caught:
            decode_data_url(large, 3)
        assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("page", "name"),
    [
        ('<meta property="og:image" content="/a.jpg?b=1&amp;c=2">', "/a.jpg?b=1&c=2"),
        ("<META content='/a.jpg' PROPERTY='og:image' />", "/a.jpg"),
        ("<meta name=twitter:image content=/a.jpg>", "/a.jpg"),
        (
            '<link rel="image_src" href="/b.jpg"><meta property="og:image" content="/a.jpg">',
            "/a.jpg",
        ),
        (
            '<meta property="og:image" content="/a.jpg"><meta property="og:image" content="/b">',
            "/a.jpg",
        ),
        ('<meta itemprop="image" content="/a.jpg">', "/a.jpg"),
        ('<meta property="og:image" content=""><link rel=image_src href=/b>', "/b"),
        ('<meta property="og:title" content="/a.jpg"><img src="/b.jpg">', None),
    ],
)
def test_the_main_picture_is_what_the_page_names(page: str, name: str | None) -> None:
    data = f"<!DOCTYPE html><html><head>{page}</head></html>".encode()
    assert is_web_page(data, "") and find_main_picture(data) == name


def test_a_picture_is_no_page_whatever_its_type() -> None:
    assert not is_web_page(jpeg(1), "text/html")
    assert not is_web_page(b"<svg/>", "image/svg+xml")
    assert is_web_page(b"\xef\xbb\xbf \n<div>", "Text/HTML; charset=utf-8")


def test_a_setting_with_a_wrong_network_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for wrong in ("10.0.0.0/33", "http://nas.lan"):
        with pytest.raises(ValidationError):
            Settings(allow_hosts=wrong)
    with pytest.raises(ValidationError):
        Settings(contact="a\r\nb")
    monkeypatch.setenv("LOOKALIKE_ALLOW_HOSTS", "nas.lan, 10.0.0.0/8")
    assert Settings.load().allow_hosts == "nas.lan, 10.0.0.0/8"
