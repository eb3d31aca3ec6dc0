"""URL -> bytes, safely: only public addresses, pinned, within bytes, seconds and redirects.

A name is resolved once for each hop, every address it has is checked, and the connection goes to
the one that was checked, so a name cannot mean something else a moment later. Host and TLS still
carry the name. Proxies of the environment are not used, since they would resolve it again.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import threading
import time
import zlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import CancelledError, Future, TimeoutError as FutureTimeoutError
from contextlib import suppress
from importlib.metadata import version
from ipaddress import ip_address
from types import MappingProxyType
from typing import NamedTuple, TypeVar

import httpx

from search.errors import AddressError, InputError, PictureError, RemoteError, SizeError
from search.media.addresses import Address, AllowedHosts, is_public
from search.media.urls import decode_data_url, join_url, normalize_url, parse_url, shorten_url
from search.media.web_page import find_main_picture, is_web_page

log = logging.getLogger(__name__)

T = TypeVar("T")

CONNECT_SECONDS = 5.0
REUSED_BYTES = 2**25
MOST_HOSTS = 64  # whose connections a session keeps open
ENCODINGS = {"gzip": 31, "x-gzip": 31, "deflate": 47}  # zlib's window bits
AGENT = f"lookalike/{version('lookalike')}"
HEADERS = {
    "Accept": "image/*,text/html;q=0.5,*/*;q=0.1",
    "Accept-Encoding": "gzip, deflate",
}


class FetchedPicture(NamedTuple):
    """What a URL gave.

    data: the bytes. url: where they are, after redirects; None for a `data:` URL. page: the web
    page that names this picture as its main one, if the URL led to a page.
    """

    data: bytes
    url: str | None = None
    page: str | None = None


class FetchedAnswer(NamedTuple):
    """What a URL answered. status: of HTTP. data: the body of an answer with status 200, decoded.
    headers: by their names in lower case. location: where a redirect leads to, as it is written."""

    status: int
    data: bytes
    headers: Mapping[str, str]
    location: str | None = None


def resolve(host: str, port: int) -> Sequence[str]:
    """All addresses of a name, as the system knows them. Raises OSError."""
    entries = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in entries))


class Fetcher:
    """Fetches URLs that users give. Threads may share it."""

    def __init__(
        self,
        most: int,
        seconds: float,
        redirects: int = 5,
        resolve: Callable[[str, int], Sequence[str]] = resolve,
        allowed: Callable[[Address], bool] = is_public,
        allow_hosts: AllowedHosts | None = None,
        contact: str | None = None,
        purpose: str = "fetches single pictures for a person; no crawler",
        reuse_seconds: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """most: bytes of an answer; seconds: for all of it; redirects: followed at most.

        allow_hosts: hosts that are fetched from although their addresses are not `allowed`.
        contact: of who runs this, which the sites are told. purpose: what they are told if there
        is none. reuse_seconds: for which `fetch` gives a picture again without asking the site; it
        holds `REUSED_BYTES` of pictures at most.
        """
        self._most, self._seconds, self._redirects = most, seconds, redirects
        self._resolve, self._allowed = resolve, allowed
        self._allow_hosts = allow_hosts or AllowedHosts()
        about = f"+{contact}" if contact else purpose
        self._agent = f"{AGENT} ({about})"
        self._reuse_seconds, self._clock = reuse_seconds, clock
        self._lock = threading.Lock()
        self._recent: dict[str, tuple[float, Future[FetchedPicture]]] = {}

    def fetch(self, url: str) -> FetchedPicture:
        """Return the picture at a URL, or the main picture of the web page at it.

        The decoder decides whether it is a picture. Raises InputError with what is wrong with the
        URL or its answer, and PictureError for a page that names no picture.
        """
        url = normalize_url(url) or url
        if (data := decode_data_url(url, self._most)) is not None:
            return FetchedPicture(data)
        with self._lock:
            self._drop_old()
            future = self._recent[url][1] if url in self._recent else self._start(url)
            if self._reuse_seconds and url not in self._recent:
                self._recent[url] = self._clock() + self._reuse_seconds, future
        return future.result()

    def _start(self, url: str) -> Future[FetchedPicture]:
        """Fetch a URL in a thread of its own: the caller may have a running loop."""
        future: Future[FetchedPicture] = Future()

        def work() -> None:
            try:
                future.set_result(asyncio.run(self._fetch_in_time(url)))
            except BaseException as error:
                future.set_exception(error)

        threading.Thread(target=work, name="fetch", daemon=True).start()
        return future

    def _drop_old(self) -> None:
        """Forget failures, pictures that were fetched too long ago, and the oldest ones if they are
        too large together."""
        now, total = self._clock(), 0
        for url, (end, future) in reversed(list(self._recent.items())):
            if not future.done():
                continue
            total += 0 if future.exception() else len(future.result().data)
            if now >= end or future.exception() or total > REUSED_BYTES:
                del self._recent[url]

    async def _fetch_in_time(self, url: str) -> FetchedPicture:
        here = parse_url(url)
        try:
            async with (
                asyncio.timeout(self._seconds),
                # not a client: it would build requests of its own from what an answer says
                httpx.AsyncHTTPTransport(ssl.create_default_context(), trust_env=False) as http,
            ):
                return await self._fetch(http, here)
        except TimeoutError:
            raise InputError(
                f"{shorten_url(url)}: no whole answer within {self._seconds:g} s; save the picture "
                "and give the file"
            ) from None

    async def _fetch(self, http: httpx.AsyncHTTPTransport, url: httpx.URL) -> FetchedPicture:
        where, data, media_type = await self._follow(http, url, None)
        if not is_web_page(data, media_type):
            return FetchedPicture(data, str(where))
        page, name = where, find_main_picture(data)
        if name is None:
            raise PictureError(
                f"{url}: not a picture but a web page, which names no main picture; open the "
                "picture alone and give its address"
            )
        if (inline := decode_data_url(name, self._most)) is not None:
            return FetchedPicture(inline, None, str(page))
        where, data, media_type = await self._follow(http, join_url(page, name), page)
        if is_web_page(data, media_type):
            raise PictureError(
                f"{where}: not a picture, although {page} names it as its main picture; open the "
                "picture alone and give its address"
            )
        log.info("%s is the main picture of %s", where, page)
        return FetchedPicture(data, str(where), str(page))

    async def _follow(
        self, http: httpx.AsyncHTTPTransport, url: httpx.URL, page: httpx.URL | None
    ) -> tuple[httpx.URL, bytes, str]:
        """Follow redirects. Return the last URL, the bytes and the media type of the answer.

        page: the web page that names the URL, if one does.
        """
        here = url
        for _ in range(self._redirects + 1):
            answer = await self._request(http, here, page or here)
            try:
                log.info("%s answered %d", here, answer.status_code)
                if not answer.has_redirect_location:
                    data = await self._read(here, answer)
                    return here, data, answer.headers.get("Content-Type", "")
                target = answer.headers["Location"]
            except httpx.HTTPError as error:
                raise _describe_failure(here, error) from error
            finally:
                await answer.aclose()
            try:
                here = join_url(here, target)
            except InputError as error:
                raise InputError(f"{shorten_url(str(url))}: it redirects to {error}") from error
        raise InputError(f"{url}: more than {self._redirects} redirects; give the last address")

    async def get_once(
        self,
        http: httpx.AsyncHTTPTransport,
        url: httpx.URL,
        headers: Mapping[str, str],
        most: int,
    ) -> FetchedAnswer:
        """Return what a URL answers; redirects are not followed.

        http: of the URL's host alone, since it may use a connection again. headers: of the request,
        beside those of every one. most: bytes of the body. Raises AddressError, SizeError for a
        larger body, and RemoteError if there is no whole answer in time.
        """
        try:
            async with asyncio.timeout(self._seconds):
                answer = await self._request(http, url, url, headers)
                try:
                    log.info("%s answered %d", url, answer.status_code)
                    location, data = None, b""
                    if answer.has_redirect_location:
                        location = answer.headers["Location"]
                    elif answer.status_code == 200:
                        data = await self._read(url, answer, most)
                finally:
                    await answer.aclose()
        except TimeoutError:
            raise RemoteError(f"{url}: no whole answer within {self._seconds:g} s") from None
        except httpx.HTTPError as error:
            raise RemoteError(str(_describe_failure(url, error))) from error
        except (AddressError, SizeError):
            raise
        except InputError as error:
            raise RemoteError(str(error)) from error
        return FetchedAnswer(answer.status_code, data, dict(answer.headers), location)

    async def _request(
        self,
        http: httpx.AsyncHTTPTransport,
        url: httpx.URL,
        referer: httpx.URL,
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> httpx.Response:
        """Connect to an address that was checked, and read the head of the answer.

        referer: a URL of the site whose page shows the picture. headers: more of them.
        """
        failure: Exception | None = None
        seconds = dict.fromkeys(("read", "write", "pool"), self._seconds)
        for address in await self._addresses(url):
            request = httpx.Request(
                "GET",
                url.copy_with(host=address),
                headers={
                    "Host": url.netloc.decode("ascii"),
                    **HEADERS,
                    "User-Agent": self._agent,
                    "Referer": f"{referer.scheme}://{referer.netloc.decode('ascii')}/",
                    **headers,
                },
                extensions={
                    "sni_hostname": url.raw_host.decode("ascii"),
                    "timeout": {"connect": CONNECT_SECONDS, **seconds},
                },
            )
            try:
                return await http.handle_async_request(request)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                failure = error  # the next address may answer
            except httpx.HTTPError as error:
                raise _describe_failure(url, error) from error
        raise _describe_failure(url, failure)

    async def _addresses(self, url: httpx.URL) -> list[str]:
        """The addresses of a URL's host; none unless all of them are allowed."""
        host = url.raw_host.decode("ascii")
        port = url.port or (443 if url.scheme == "https" else 80)
        try:
            texts = await _in_thread(lambda: self._resolve(host, port))
            addresses = [ip_address(one) for one in texts]
        except (OSError, ValueError) as error:
            raise InputError(f"{url}: {host} has no address that can be reached") from error
        if not addresses:
            raise InputError(f"{url}: {host} has no address that can be reached")
        for address in addresses:
            if not (self._allowed(address) or self._allow_hosts.allow(host, address)):
                raise AddressError(
                    f"{url}: {host} is not on the public internet; save the picture and give the "
                    "file, or allow the host with LOOKALIKE_ALLOW_HOSTS"
                )
        return [str(address) for address in addresses]

    async def _read(self, url: httpx.URL, answer: httpx.Response, most: int | None = None) -> bytes:
        """Return the body, decoded, up to a limit of bytes. Raises SizeError if one is given, and
        InputError otherwise."""
        if not 200 <= answer.status_code < 300:
            raise InputError(f"{url}: answered with status {answer.status_code}, not a picture")
        length = answer.headers.get("Content-Length", "")
        kind = InputError if most is None else SizeError
        data, most = bytearray(), self._most if most is None else most
        if not (length.isdecimal() and int(length[:20]) > most):
            async for chunk in _decode_body(url, answer, most + 1):
                data += chunk
                if len(data) > most:
                    break
            else:
                return bytes(data)
        raise kind(f"{url}: it is larger than {most} bytes; give a smaller one")


class FetchSession:
    """Fetches many URLs of a few hosts, over connections that stay open. Threads may share it."""

    def __init__(self, fetcher: Fetcher) -> None:
        self._fetcher, self._lock = fetcher, threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._transports: dict[str, httpx.AsyncHTTPTransport] = {}
        self._context = ssl.create_default_context()

    def get(self, url: httpx.URL, headers: Mapping[str, str], most: int) -> FetchedAnswer:
        """Return what a URL answers. See `Fetcher.get_once`."""
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=_run_loop, args=(self._loop,), name="site", daemon=True
                )
                self._thread.start()
        answer = asyncio.run_coroutine_threadsafe(self._get(url, headers, most), self._loop)
        try:
            return answer.result()
        except CancelledError as error:
            raise RemoteError(f"{url}: the library was closed; open it again") from error

    async def _get(self, url: httpx.URL, headers: Mapping[str, str], most: int) -> FetchedAnswer:
        # a transport for each host: its connections are told apart by address alone, and one that
        # was opened under another name has the certificate of that name
        origin = f"{url.scheme}://{url.netloc.decode('ascii')}"
        if origin not in self._transports:
            if len(self._transports) >= MOST_HOSTS:
                await self._transports.pop(next(iter(self._transports))).aclose()
            self._transports[origin] = httpx.AsyncHTTPTransport(self._context, trust_env=False)
        return await self._fetcher.get_once(self._transports[origin], url, headers, most)

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            loop, self._loop = self._loop, None
        if loop is None:
            return

        async def end() -> None:
            for one in self._transports.values():
                await one.aclose()
            self._transports.clear()
            for task in asyncio.all_tasks() - {asyncio.current_task()}:  # whoever waits goes on
                task.cancel()

        ended = asyncio.run_coroutine_threadsafe(end(), loop)
        with suppress(FutureTimeoutError):
            ended.result(CONNECT_SECONDS)
        loop.call_soon_threadsafe(loop.stop)
        if self._thread is not None:
            self._thread.join(CONNECT_SECONDS)


def _run_loop(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.run_forever()
    finally:
        loop.close()


async def _decode_body(url: httpx.URL, answer: httpx.Response, most: int) -> AsyncIterator[bytes]:
    """Yield the parts of a body, at most `most` bytes of each: a few bytes may hold gigabytes."""
    encoding = answer.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding in ("", "identity"):
        async for chunk in answer.aiter_raw():
            yield chunk
        return
    if encoding not in ENCODINGS:
        raise InputError(f"{url}: answered in {encoding[:40]}, which was not requested")
    decoder, is_first = zlib.decompressobj(ENCODINGS[encoding]), True
    try:
        async for chunk in answer.aiter_raw():
            try:
                part = decoder.decompress(chunk, most)
            except zlib.error:
                if not is_first or encoding != "deflate":
                    raise
                decoder = zlib.decompressobj(-zlib.MAX_WBITS)  # some servers leave its head out
                part = decoder.decompress(chunk, most)
            is_first = False
            yield part
    except zlib.error as error:
        raise InputError(f"{url}: its {encoding} is broken: {error}; try again") from error
    if not decoder.eof:
        raise InputError(f"{url}: its {encoding} ends too early; try again")


def _describe_failure(url: httpx.URL, error: Exception | None) -> InputError:
    reason = str(error or "").strip() or type(error).__name__
    return InputError(f"{url}: cannot be fetched: {reason}")


async def _in_thread(call: Callable[[], T]) -> T:
    """Wait for a blocking call; a deadline leaves it to end alone, even at exit."""
    future: Future[T] = Future()

    def work() -> None:
        try:
            future.set_result(call())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=work, name="resolve", daemon=True).start()
    loop = asyncio.get_running_loop()
    done = loop.create_future()

    def wake() -> None:
        if not done.done():
            done.set_result(None)

    def tell(_: Future[T]) -> None:
        try:
            loop.call_soon_threadsafe(wake)
        except RuntimeError:
            pass  # the loop has ended, so no caller waits

    future.add_done_callback(tell)
    await done
    return future.result()
