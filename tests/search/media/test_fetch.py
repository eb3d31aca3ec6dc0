"""Fetching by URL: refused addresses, pinned addresses, and deadlines."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from typing import Any

import pytest
from helpers.pictures import jpeg

from search import Engine, InputError, PictureError
from search.media.fetch import Address, Fetcher, is_public, parse, resolve

PICTURE = jpeg(1)


class Handler(BaseHTTPRequestHandler):
    """Answers by the name of the path."""

    requests: list[tuple[str, str]] = []

    def do_GET(self) -> None:
        self.requests.append((self.path, self.headers["Host"]))
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
        self.head(302, Location=self.path.split("?", 1)[1])

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

    def answer_zipped(self) -> None:
        self.head(Content_Encoding="gzip", Content_Length="3")
        self.wfile.write(b"abc")

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
        parse(url)
    assert "secret" not in str(caught.value)


def test_a_picture_is_fetched_by_the_name_it_was_asked_for(port: int) -> None:
    Handler.requests.clear()
    assert fetcher().fetch(f"http://here.test:{port}/picture#part") == PICTURE
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
    assert fetch(f"http://here.test:{port}/picture") == PICTURE
    assert queries == ["here.test"]
    with pytest.raises(InputError, match="public internet"):
        fetch(f"http://here.test:{port}/picture")


def test_redirects_are_checked_like_the_first_address(port: int) -> None:
    start = f"http://here.test:{port}/away?"
    assert fetcher().fetch(f"{start}/picture") == PICTURE
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
    with pytest.raises(InputError, match="no address"):
        fetcher().fetch(f"http://here.test:{port}/no_address")
    with pytest.raises(InputError, match="more than 5 redirects"):
        fetcher().fetch(f"http://here.test:{port}/round")


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("endless", "larger than"),
        ("large", "larger than"),
        ("slow", "within 0.5 s"),
        ("slow_head", "within 0.5 s"),
        ("short", "cannot be fetched"),
        ("zipped", "answered in gzip"),
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
    assert fetcher().fetch(f"http://here.test:{port}/picture") == PICTURE


def test_the_library_is_searched_by_url(engine: Engine, folder: Any, port: int) -> None:
    (folder / "a.jpg").write_bytes(PICTURE)
    (folder / "b.jpg").write_bytes(jpeg(2))
    engine.sync(folder)
    engine.library.fetcher = fetcher()
    hits = engine.search(image=f"http://here.test:{port}/picture", k=1)
    assert hits[0].path == str(folder / "a.jpg") and hits[0].score >= 0.999
    assert hits.query["terms"][0]["image"] == f"http://here.test:{port}/picture"
    with pytest.raises(PictureError, match="not a picture"):
        engine.search(image=f"http://here.test:{port}/liar")
    engine.library.fetcher = Fetcher(1000, 2.0)
    with pytest.raises(InputError, match="public internet"):
        engine.search(image=f"http://localhost:{port}/picture")
