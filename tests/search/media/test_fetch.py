"""Fetching by URL: refused addresses, pinned addresses, and deadlines."""

from __future__ import annotations

import gzip
import secrets
import socket
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from ipaddress import ip_address
from typing import Any
from urllib.parse import quote, unquote

import pytest
from helpers.pictures import jpeg

from search import Engine, InputError, PictureError
from search.media import fetch
from search.media.addresses import Address, AllowedHosts, is_public
from search.media.fetch import Fetcher, resolve
from search.media.urls import parse_url

PICTURE = jpeg(1)


class Handler(BaseHTTPRequestHandler):
    """Answers by the name of the path."""

    requests: list[tuple[str, str]] = []
    request_headers: list[dict[str, str]] = []

    def do_GET(self) -> None:
        self.requests.append((self.path, self.headers["Host"]))
        self.request_headers.append(dict(self.headers.items()))
        kind = self.path[1:].split("?")[0]
        try:
            getattr(self, f"answer_{kind}")()
        except OSError:
            pass  # the client closed the connection

    def head(self, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def answer_picture(self) -> None:
        self.head(Content_Type="text/html", Content_Length=str(len(PICTURE)))
        self.wfile.write(PICTURE)

    def answer_liar(self) -> None:
        self.head(Content_Type="image/jpeg", Content_Length="5")
        self.wfile.write(b"hello")

    def answer_away(self) -> None:
        self.head(302, Location=unquote(self.path.split("?", 1)[1]))

    def answer_round(self) -> None:
        self.head(302, Location="/round")

    def answer_endless(self) -> None:
        self.head()
        while True:
            self.wfile.write(b"x" * 4096)

    def answer_slow(self) -> None:
        self.head()
        while True:
            self.wfile.write(b"x")
            self.wfile.flush()
            time.sleep(0.05)

    def answer_slow_head(self) -> None:
        while True:
            self.wfile.write(b"HTTP/1.1 200 OK\r\n" if not self.requests else b"X")
            self.wfile.flush()
            time.sleep(0.05)

    def answer_large(self) -> None:
        self.head(Content_Length=str(10**12))

    def answer_short(self) -> None:
        self.head(Content_Length="1000")
        self.wfile.write(b"cut off")

    def send(self, data: bytes, **headers: str) -> None:
        self.head(Content_Length=str(len(data)), **headers)
        self.wfile.write(data)

    def answer_broken_gzip(self) -> None:
        self.send(b"abc", Content_Encoding="gzip")

    def answer_cut_gzip(self) -> None:
        self.send(gzip.compress(PICTURE)[:-20], Content_Encoding="gzip")

    def answer_bomb(self) -> None:
        self.send(gzip.compress(bytes(10**7)), Content_Encoding="gzip")

    def answer_brotli(self) -> None:
        self.send(b"abc", Content_Encoding="br")

    def answer_gzip(self) -> None:
        self.send(gzip.compress(PICTURE), Content_Encoding="GZIP")

    def answer_deflate(self) -> None:
        self.send(zlib.compress(PICTURE), Content_Encoding="deflate")

    def answer_headless_deflate(self) -> None:
        self.send(zlib.compress(PICTURE, wbits=-15), Content_Encoding="deflate")

    def answer_page(self) -> None:
        text = f'<!doctype html><meta property="og:image" content="{self.path.split("?", 1)[1]}">'
        self.send(text.encode(), Content_Type="text/html")

    def answer_bare_page(self) -> None:
        self.send(b"<html><img src=/picture></html>", Content_Type="text/html; charset=utf-8")

    def answer_missing(self) -> None:
        self.head(404, Content_Length="0")

    def answer_no_address(self) -> None:
        self.head(302, Location="http://[")

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server.server_port
    server.shutdown()
    server.server_close()
    thread.join()


def loopback(address: Address) -> bool:
    """A stand-in for the public internet: one address of this machine."""
    return str(address) == "127.0.0.1"


def names(**known: str) -> Callable[[str, int], Sequence[str]]:
    """Resolve `name.test`. Addresses stay as they are."""

    def resolver(host: str, port: int) -> Sequence[str]:
        if host.endswith(".test"):
            return known[host.removesuffix(".test")].split()
        return resolve(host, port)

    return resolver


def fetcher(seconds: float = 5.0, most: int = 100_000, **known: str) -> Fetcher:
    resolver = names(**{"here": "127.0.0.1", **known})
    return Fetcher(most, seconds, resolve=resolver, allowed=loopback)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.255.255.254",
        "0.0.0.0",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "192.0.0.8",
        "198.18.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:a9fe:a9fe",
        "2002:7f00:1::",
        "2002:a00:1::1",
        "2001:0:1:2:3:4:5:6",
        "64:ff9b::7f00:1",
        "64:ff9b::10.0.0.1",
        "64:ff9b:1::8.8.8.8",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "fc00::1",
        "fd12:3456::1",
        "ff02::1",
        "2001:db8::1",
        "100::1",
        "5f00::1",
        "168.63.129.16",
        "192.88.99.1",
        "192.175.48.1",
        "203.0.113.1",
        "::ffff:168.63.129.16",
        "64:ff9b::a83f:8110",
        "2002:a83f:8110::1",
        "3fff::1",
        "3fff:fff:ffff::1",
        "2001:2::1",
        "2001:20::1",
        "2001:1ff::1",
    ],
)
def test_no_address_inside_is_public(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize(
    "address",
    [
        "8.8.8.8",
        "1.1.1.1",
        "2606:4700::1111",
        "::ffff:8.8.8.8",
        "64:ff9b::8.8.8.8",
        "2002:808:808::",
    ],
)
def test_addresses_of_the_internet_are_public(address: str) -> None:
    assert is_public(ip_address(address))


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "http://127.1/",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://0x7f.1/",
        "http://0177.0.0.1/",
        "http://0/",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[fe80::1]:80/",
        "http://[64:ff9b::7f00:1]/",
        "http://10.1.2.3:8080/a.jpg",
        "https://192.168.0.1/a.jpg",
        "http://169.254.169.254/latest/meta-data/",
        "http://１２７.０.０.１/",
        "HTTP://127.0.0.1/",
    ],
)
def test_every_spelling_of_an_inner_address_is_refused(url: str) -> None:
    with pytest.raises(InputError, match=r"not on the public internet|no address"):
        Fetcher(1000, 2.0).fetch(url)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("ftp://example.org/a.jpg", "http://"),
        ("file:///etc/passwd", "http://"),
        ("gopher://example.org/", "http://"),
        ("http:///a.jpg", "http://"),
        ("//example.org/a.jpg", "http://"),
        ("http://name:secret@example.org/", "without a name"),
        ("http://example.org:99999/", "no address"),
        ("http://exa mple.org/", "address"),
        ("http://example.org/\r\nHost: x", "address"),
        ("http://[::1/", "address"),
        ("http://" + "a" * 70 + ".org" + "/" * 5000, "longer than"),
    ],
)
def test_what_is_no_address_is_refused(url: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        parse_url(url)
    assert "secret" not in str(caught.value)


def test_a_picture_is_fetched_by_the_name_it_was_asked_for(port: int) -> None:
    Handler.requests.clear()
    assert fetcher().fetch(f"http://here.test:{port}/picture#part").data == PICTURE
    assert Handler.requests == [("/picture", f"here.test:{port}")]


def test_one_inner_address_among_the_others_is_enough_to_refuse(port: int) -> None:
    with pytest.raises(InputError, match="public internet"):
        fetcher(both="127.0.0.1 10.0.0.1").fetch(f"http://both.test:{port}/picture")


def test_a_name_is_resolved_once_and_the_checked_address_is_the_one(port: int) -> None:
    queries = []

    def rebinding(host: str, _: int) -> Sequence[str]:
        queries.append(host)
        return ["127.0.0.1"] if len(queries) == 1 else ["127.0.0.2"]

    fetch = Fetcher(100_000, 5.0, resolve=rebinding, allowed=loopback).fetch
    assert fetch(f"http://here.test:{port}/picture").data == PICTURE
    assert queries == ["here.test"]
    with pytest.raises(InputError, match="public internet"):
        fetch(f"http://here.test:{port}/picture")


def test_redirects_are_checked_like_the_first_address(port: int) -> None:
    start = f"http://here.test:{port}/away?"
    assert fetcher().fetch(f"{start}/picture").data == PICTURE
    known = {"inner": "127.0.0.2"}
    for target in (
        f"http://inner.test:{port}/picture",
        f"http://127.0.0.2:{port}/picture",
        f"//inner.test:{port}/picture",
        "http://169.254.169.254/",
    ):
        Handler.requests.clear()
        with pytest.raises(InputError, match="public internet"):
            fetcher(**known).fetch(start + target)
        assert len(Handler.requests) == 1
    with pytest.raises(InputError, match="http://"):
        fetcher().fetch(f"{start}file:///etc/passwd")
    with pytest.raises(InputError, match="redirects to http://.*no address"):
        fetcher().fetch(f"http://here.test:{port}/no_address")
    with pytest.raises(InputError, match="more than 5 redirects"):
        fetcher().fetch(f"http://here.test:{port}/round")


@pytest.mark.parametrize(
    "target",
    [
        "javascript:1",
        "javascript:alert(1)",
        "data:text/html,hello",
        "mailto:someone@example.org",
        "\\\\127.0.0.1\\picture",
        "/\\127.0.0.1/picture",
        "http:\\\\127.0.0.1\\picture",
        "http://127.0.0.1\\@here.test/picture",
        "http://[::1/",
        "http://here.test:x/",
        "http://here.test:99999999/",
        "/pic ture",
        "http://user:secret@here.test/",
    ],
)
def test_a_redirect_to_no_url_is_refused(port: int, target: str) -> None:
    Handler.requests.clear()
    with pytest.raises(InputError, match="it redirects to"):
        fetcher().fetch(f"http://here.test:{port}/away?{quote(target)}")
    assert len(Handler.requests) == 1


@contextmanager
def name_server(*answers: str) -> Iterator[Callable[[str, int], Sequence[str]]]:
    """A name server on this machine, and a resolver that asks it.

    answers: addresses that it gives for any name, one after the other; the last one for good.
    """
    waiting = list(answers)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind(("127.0.0.1", 0))
        place = listening.getsockname()

        def answer() -> None:
            while True:
                question, client = listening.recvfrom(512)
                if question == b"end":
                    return
                address = waiting.pop(0) if len(waiting) > 1 else waiting[0]
                head = question[:2] + struct.pack(">5H", 0x8180, 1, 1, 0, 0)
                record = struct.pack(">3HIH", 0xC00C, 1, 1, 0, 4)  # kept for no second
                listening.sendto(head + question[12:] + record + socket.inet_aton(address), client)

        def ask(host: str, _: int) -> Sequence[str]:
            name = b"".join(bytes([len(part)]) + part.encode() for part in host.split("."))
            query = struct.pack(">6H", 7, 0x0100, 1, 0, 0, 0) + name + b"\0\0\1\0\1"
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
                asking.settimeout(10)
                asking.sendto(query, place)
                return [socket.inet_ntoa(asking.recv(512)[-4:])]

        thread = threading.Thread(target=answer)
        thread.start()
        try:
            yield ask
        finally:
            listening.sendto(b"end", place)
            thread.join()


@pytest.mark.parametrize("then", ["127.0.0.2", "10.0.0.1", "169.254.169.254"])
def test_a_name_that_is_bound_again_leads_nowhere_else(port: int, then: str) -> None:
    with name_server("127.0.0.1", then) as ask:
        fetch = Fetcher(100_000, 5.0, resolve=ask, allowed=loopback).fetch
        Handler.requests.clear()
        assert fetch(f"http://evil.test:{port}/picture").data == PICTURE
        with pytest.raises(InputError, match="public internet"):
            fetch(f"http://evil.test:{port}/picture")
        assert Handler.requests == [("/picture", f"evil.test:{port}")]
    with name_server("127.0.0.1", then) as ask:  # in between two hops
        fetch = Fetcher(100_000, 5.0, resolve=ask, allowed=loopback).fetch
        with pytest.raises(InputError, match="public internet"):
            fetch(f"http://evil.test:{port}/away?/picture")
    with name_server("127.0.0.1", then) as ask:  # and between a page and its picture
        fetch = Fetcher(100_000, 5.0, resolve=ask, allowed=loopback).fetch
        with pytest.raises(InputError, match="public internet"):
            fetch(f"http://evil.test:{port}/page?/picture")


@pytest.mark.parametrize("kind", ["gzip", "deflate", "headless_deflate"])
def test_an_encoded_answer_is_decoded(port: int, kind: str) -> None:
    assert fetcher().fetch(f"http://here.test:{port}/{kind}").data == PICTURE


def test_a_request_says_who_asks_and_from_where(port: int) -> None:
    Handler.request_headers.clear()
    known = names(here="127.0.0.1")
    ours = Fetcher(10**6, 5.0, resolve=known, allowed=loopback, contact="me@example.org")
    ours.fetch(f"http://here.test:{port}/picture?secret")
    fetcher().fetch(f"http://here.test:{port}/picture")
    with_contact, without = Handler.request_headers
    agent = f"lookalike/{version('lookalike')} ("
    assert with_contact["User-Agent"] == f"{agent}+me@example.org)"
    assert without["User-Agent"].startswith(agent)
    assert with_contact["Referer"] == f"http://here.test:{port}/"
    assert "gzip" in with_contact["Accept-Encoding"]


def test_the_main_picture_of_a_web_page_is_taken(port: int) -> None:
    both = fetcher(there="127.0.0.1")
    page = f"http://here.test:{port}/page?"
    url = f"http://there.test:{port}/picture"
    for name, where in (("/picture", f"http://here.test:{port}/picture"), (url, url)):
        Handler.request_headers.clear()
        fetched = both.fetch(page + name)
        assert (fetched.data, fetched.url, fetched.page) == (PICTURE, where, page + name)
        assert Handler.request_headers[1]["Referer"] == f"http://here.test:{port}/"
    inline = both.fetch(page + "data:image/gif;base64,R0lGODlh")
    assert (inline.data, inline.url) == (b"GIF89a", None) and inline.page
    assert both.fetch(f"http://here.test:{port}/picture").page is None


def test_a_web_page_without_a_picture_is_said(port: int) -> None:
    with pytest.raises(PictureError, match="names no main picture"):
        fetcher().fetch(f"http://here.test:{port}/bare_page")
    with pytest.raises(PictureError, match="names it as its main picture"):
        fetcher().fetch(f"http://here.test:{port}/page?/bare_page")
    with pytest.raises(InputError, match="public internet"):
        fetcher().fetch(f"http://here.test:{port}/page?http://127.0.0.2:{port}/picture")
    with pytest.raises(InputError, match="begins with http"):
        fetcher().fetch(f"http://here.test:{port}/page?file:///etc/passwd")


@pytest.mark.parametrize("entry", ["here.test", "HERE.test.", "127.0.0.0/8", "127.0.0.1"])
def test_a_host_of_ones_own_is_allowed_by_a_setting(port: int, entry: str) -> None:
    known = names(here="127.0.0.1", other="10.0.0.1")
    hosts = AllowedHosts.parse([entry, "nas.lan"])
    ours = Fetcher(100_000, 5.0, resolve=known, allow_hosts=hosts)
    assert ours.fetch(f"http://here.test:{port}/picture").data == PICTURE
    with pytest.raises(InputError, match="LOOKALIKE_ALLOW_HOSTS"):
        ours.fetch("http://other.test/picture")
    with pytest.raises(InputError, match="public internet"):
        ours.fetch(f"http://here.test:{port}/away?http://other.test/picture")


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("endless", "larger than"),
        ("large", "larger than"),
        ("slow", "within 0.5 s"),
        ("slow_head", "within 0.5 s"),
        ("short", "cannot be fetched"),
        ("broken_gzip", "gzip is broken"),
        ("cut_gzip", "ends too early"),
        ("bomb", "larger than"),
        ("brotli", "answered in br"),
        ("missing", "status 404"),
    ],
)
def test_an_answer_that_is_none_is_refused_in_time(port: int, kind: str, message: str) -> None:
    begun = time.monotonic()
    with pytest.raises(InputError, match=message):
        fetcher(seconds=0.5 if "slow" in kind else 5.0).fetch(f"http://here.test:{port}/{kind}")
    assert time.monotonic() - begun < 3


def test_a_resolver_that_hangs_is_left_behind() -> None:
    def hang(host: str, port: int) -> Sequence[str]:
        time.sleep(1.0)
        return ["127.0.0.1"]

    begun = time.monotonic()
    with pytest.raises(InputError, match="within 0.2 s"):
        Fetcher(1000, 0.2, resolve=hang).fetch("http://example.test/")
    assert time.monotonic() - begun < 0.9


def test_what_does_not_answer_is_said(port: int) -> None:
    with socket.socket() as occupied:
        occupied.bind(("127.0.0.1", 0))
        closed = occupied.getsockname()[1]
        with pytest.raises(InputError, match="cannot be fetched"):
            fetcher().fetch(f"http://here.test:{closed}/")
    with pytest.raises(InputError, match="has no address"):
        Fetcher(1000, 2.0, resolve=names(none="")).fetch("http://none.test/")


def test_proxies_of_the_environment_are_not_used(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.2:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.2:1")
    assert fetcher().fetch(f"http://here.test:{port}/picture").data == PICTURE


def test_a_picture_is_reused_for_a_while(port: int) -> None:
    now, key = 0.0, secrets.token_hex(4)
    reusing = Fetcher(
        100_000,
        5.0,
        resolve=names(here="127.0.0.1"),
        allowed=loopback,
        reuse_seconds=60.0,
        clock=lambda: now,
    )
    url = f"http://here.test:{port}/picture?{key}"

    def count() -> int:
        return sum(key in path for path, _ in Handler.requests)

    with ThreadPoolExecutor(4) as pool:  # as the page does, which shows and searches at once
        assert {one.data for one in pool.map(reusing.fetch, [url] * 4)} == {PICTURE}
    assert count() == 1
    now = 59.0
    assert reusing.fetch(url).data == PICTURE and count() == 1
    now = 61.0
    assert reusing.fetch(url).data == PICTURE and count() == 2


def test_what_failed_or_is_too_large_is_fetched_again(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    reusing = Fetcher(
        100_000, 5.0, resolve=names(here="127.0.0.1"), allowed=loopback, reuse_seconds=60.0
    )
    key = secrets.token_hex(4)
    for _ in range(2):
        with pytest.raises(InputError, match="404"):
            reusing.fetch(f"http://here.test:{port}/missing?{key}")
    assert sum(key in path for path, _ in Handler.requests) == 2
    monkeypatch.setattr(fetch, "REUSED_BYTES", 2 * len(PICTURE))
    urls = [f"http://here.test:{port}/picture?{key}{i}" for i in range(3)]
    for url in (*urls, urls[2], urls[0]):
        assert reusing.fetch(url).data == PICTURE
    counts = [sum(f"/picture?{key}{i}" == path for path, _ in Handler.requests) for i in range(3)]
    assert counts == [2, 1, 1]


def test_the_library_is_searched_by_url(engine: Engine, folder: Any, port: int) -> None:
    (folder / "a.jpg").write_bytes(PICTURE)
    (folder / "b.jpg").write_bytes(jpeg(2))
    engine.sync(folder)
    engine.library.fetcher = fetcher()
    hits = engine.search(image=f"http://here.test:{port}/picture", k=1)
    assert hits[0].path == str(folder / "a.jpg") and hits[0].score >= 0.999
    assert hits.query["terms"][0]["image"] == f"http://here.test:{port}/picture"
    assert not hits.pages
    pasted = f"\n http://here.test:{port}/page?/picture\n"
    by_page = engine.search(image=[jpeg(2), pasted], k=1).to_json()["pages"]
    where = f"http://here.test:{port}/"
    assert by_page == [{"term": 1, "page": f"{where}page?/picture", "picture": f"{where}picture"}]
    with pytest.raises(PictureError, match="not a picture"):
        engine.search(image=f"http://here.test:{port}/liar")
    engine.library.fetcher = Fetcher(1000, 2.0)
    with pytest.raises(InputError, match="public internet"):
        engine.search(image=f"http://localhost:{port}/picture")
