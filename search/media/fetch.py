"""URL -> bytes, safely: only public addresses, pinned, within bytes, seconds and redirects.

A name is resolved once for each hop, every address it has is checked, and the connection goes to
the one that was checked, so a name cannot mean something else a moment later. Host and TLS still
carry the name. Proxies of the environment are not used, since they would resolve it again.
"""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import TypeAlias, TypeVar

import httpx

from search.errors import InputError

log = logging.getLogger(__name__)

Address: TypeAlias = IPv4Address | IPv6Address
T = TypeVar("T")

UNICAST = IPv6Network("2000::/3")
NAT64 = IPv6Network("64:ff9b::/96")
PROTOCOLS = IPv4Network("192.0.0.0/24")  # not in every Python's list of private ones
TEREDO = IPv6Network("2001::/32")
NAME = re.compile(r"[A-Za-z0-9._:-]+")
CONNECT_SECONDS = 5.0
LONGEST = 4096  # characters of an address
HEADERS = {"Accept": "image/*", "Accept-Encoding": "identity", "User-Agent": "lookalike"}


def is_public(address: Address) -> bool:
    """Whether an address is of the public internet; one that carries another is as that one."""
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if address in NAT64:
            inner = IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
        if address not in UNICAST or address in TEREDO:
            return False
    elif address in PROTOCOLS:
        return False
    return address.is_global and not (
        address.is_multicast or address.is_reserved or address.is_unspecified
    )


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
    ) -> None:
        """most: bytes of an answer; seconds: for all of it; redirects: followed at most."""
        self._most, self._seconds, self._redirects = most, seconds, redirects
        self._resolve, self._allowed = resolve, allowed

    def fetch(self, url: str) -> bytes:
        """Return the body that a URL answers with; the decoder decides whether it is a picture.

        Raises InputError with what is wrong with the URL or its answer.
        """
        future: Future[bytes] = Future()

        def work() -> None:  # in a thread of its own: the caller may have a running loop
            try:
                future.set_result(asyncio.run(self._within(url)))
            except BaseException as error:
                future.set_exception(error)

        threading.Thread(target=work, name="fetch", daemon=True).start()
        return future.result()

    async def _within(self, url: str) -> bytes:
        try:
            async with asyncio.timeout(self._seconds):
                return await self._follow(url)
        except TimeoutError:
            raise InputError(
                f"{url}: no whole answer within {self._seconds:g} s; save the picture and give "
                "the file"
            ) from None

    async def _follow(self, url: str) -> bytes:
        context = ssl.create_default_context()
        async with httpx.AsyncClient(
            verify=context,
            trust_env=False,
            follow_redirects=False,
            timeout=httpx.Timeout(self._seconds, connect=CONNECT_SECONDS),
        ) as client:
            here = parse(url)
            for _ in range(self._redirects + 1):
                answer = await self._ask(client, here)
                try:
                    log.info("%s answered %d", here, answer.status_code)
                    if not answer.has_redirect_location:
                        return await self._read(here, answer)
                    here = parse(str(here.join(answer.headers["Location"])))
                except httpx.HTTPError as error:
                    raise _describe_failure(here, error) from error
                except httpx.InvalidURL as error:
                    raise InputError(f"{url}: it redirects to no address: {error}") from error
                finally:
                    await answer.aclose()
        raise InputError(f"{url}: more than {self._redirects} redirects; give the last address")

    async def _ask(self, client: httpx.AsyncClient, url: httpx.URL) -> httpx.Response:
        """Connect to an address that was checked, and read the head of the answer."""
        failure: Exception | None = None
        for address in await self._addresses(url):
            request = client.build_request(
                "GET",
                url.copy_with(host=address),
                headers={**HEADERS, "Host": url.netloc.decode("ascii")},
                extensions={"sni_hostname": url.raw_host.decode("ascii")},
            )
            try:
                return await client.send(request, stream=True)
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
            if not self._allowed(address):
                raise InputError(
                    f"{url}: {host} is not on the public internet; save the picture and give the "
                    "file"
                )
        return [str(address) for address in addresses]

    async def _read(self, url: httpx.URL, answer: httpx.Response) -> bytes:
        """The body, as it is sent: an encoded one could be a thousand times as large."""
        if not answer.is_success:
            raise InputError(f"{url}: answered with status {answer.status_code}, not a picture")
        encoding = answer.headers.get("Content-Encoding", "identity").strip().lower()
        if encoding not in ("", "identity"):
            raise InputError(
                f"{url}: answered in {encoding[:40]} though the request asked for none"
            )
        data = bytearray()
        length = answer.headers.get("Content-Length", "")
        too_long = length.isdecimal() and int(length[:20]) > self._most
        if not too_long:
            async for chunk in answer.aiter_raw():
                data += chunk
                if too_long := len(data) > self._most:
                    break
        if too_long:
            raise InputError(f"{url}: it is larger than {self._most} bytes; give a smaller one")
        return bytes(data)


def parse(url: str) -> httpx.URL:
    """An absolute http or https address. Raises InputError for anything else."""
    shown = url[:100]
    if len(url) > LONGEST:
        raise InputError(f"{shown}...: longer than {LONGEST} characters")
    try:
        parsed = httpx.URL(url)
        host = parsed.raw_host.decode("ascii")
    except (httpx.InvalidURL, UnicodeError, ValueError) as error:
        raise InputError(f"{shown}: no address: {error}") from error
    if parsed.scheme not in ("http", "https") or not host:
        raise InputError(f"{shown}: give an address that begins with http:// or https://")
    if not NAME.fullmatch(host) or (parsed.port or 0) > 65535:
        raise InputError(f"{shown}: no address: check its name and port")
    if parsed.userinfo:
        raise InputError(f"{parsed.copy_with(userinfo=b'')}: give it without a name and password")
    return parsed.copy_with(fragment=None)


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
