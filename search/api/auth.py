"""Access control: tokens and cookies, Host and Origin, the size of bodies, headers of answers.

A page of another site must not reach this server through a visitor's browser. DNS rebinding shows
in Host; a form or script of another page shows in Origin or Sec-Fetch-Site.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from search.api import problems
from search.api.problems import Problem

SESSION_SECONDS = 30 * 86400
LARGE = frozenset(f"/api/v1/{name}" for name in ("search", "images", "images/preview", "variants"))
SMALL_BODY = 2**20  # most bytes of a body on other routes
OPEN_PATHS = frozenset({"/", "/healthz", "/readyz", "/api/v1/login"})
HOST = re.compile(r"(?:\[(?P<address>[0-9a-f:.]+)\]|(?P<name>[\w.-]+))(?::[0-9]{0,5})?", re.ASCII)
PAGE = "/web/"  # the page's own files, which are open too, since they hold no data
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True)
class Access:
    """The rules of one server.

    host: the one it was started on. token: required if there is one. local: whether it listens on
    loopback only. local_token: a second token, for commands of the server's own user. clock:
    seconds since 1970.
    """

    host: str = "127.0.0.1"
    token: str | None = None
    local: bool = True
    local_token: str | None = None
    clock: Callable[[], float] = time.time

    def knows(self, host: str) -> bool:
        """Whether a Host header names this server. A name that others can point here does not."""
        name = _hostname(host)
        if name in ("localhost", self.host.lower()):
            return True
        try:
            address = ip_address(name)
        except ValueError:
            own = socket.gethostname().lower()
            return not self.local and name in (own, f"{own}.local")
        return address.is_loopback or not self.local  # an address cannot be rebound

    def admits(self, headers: Headers) -> bool:
        """Whether a request carries the token, or a cookie that a login set."""
        if self.token is None:
            return True
        kind, _, value = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            sent = value.strip().encode("latin-1")  # the bytes; most programs send UTF-8
            texts = (sent.decode(errors="replace"), value.strip())
            return any(self.is_token(text) or _equal(text, self.local_token) for text in texts)
        return self._is_valid_session(cookie_parser(headers.get("cookie", "")).get(self.cookie, ""))

    @property
    def cookie(self) -> str:
        """The name of the cookie. It depends on the token, since browsers share cookies among all
        servers of a machine."""
        return f"lookalike-{self._sign('name')[:8]}"

    def is_token(self, text: str) -> bool:
        """Whether a text is the token. The time it takes does not depend on the text."""
        return _equal(text, self.token)

    def make_session(self) -> str:
        """Return a cookie's value: when it ends, and a signature with the token."""
        head = f"{int(self.clock()) + SESSION_SECONDS}.{secrets.token_hex(8)}"
        return f"{head}.{self._sign(head)}"

    def _is_valid_session(self, value: str) -> bool:
        head, _, signature = value.rpartition(".")
        if not hmac.compare_digest(signature.encode(), self._sign(head).encode()):
            return False
        return int(head.split(".")[0]) > self.clock()

    def _sign(self, head: str) -> str:
        key = hashlib.sha256(f"lookalike session:{self.token}".encode()).digest()
        return hmac.new(key, head.encode(), hashlib.sha256).hexdigest()


def _equal(text: str, secret: str | None) -> bool:
    return secret is not None and hmac.compare_digest(
        text.encode(errors="replace"), secret.encode()
    )


def _hostname(host: str) -> str:
    """Return a Host header without its port, in lower case; empty if it is none."""
    match = HOST.fullmatch(host.strip().lower())
    return (match["address"] or match["name"]).rstrip(".") if match else ""


class AccessControl:
    """Middleware before all routes: it refuses requests, limits bodies and adds headers."""

    def __init__(self, app: ASGIApp, access: Access, max_bytes: int) -> None:
        """max_bytes: of a request's body, on the routes that take pictures."""
        self._app, self._access, self._max_bytes = app, access, max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    answer.setdefault(name, value)
            await send(message)

        try:
            self._check(scope, headers)
        except Problem as problem:
            await problems.of(problem)(scope, receive, send_with_headers)
            return
        await self._app(scope, self._limit_body(scope, receive), send_with_headers)

    def _check(self, scope: Scope, headers: Headers) -> None:
        """Raise Problem for a request that is not allowed."""
        host, path = headers.get("host", ""), scope["path"]
        if not self._access.knows(host):
            raise Problem(403, f"this server is not {host[:100]!r}; use the address it printed")
        origin = headers.get("origin")
        if origin is not None and origin.lower() != f"{scope['scheme']}://{host.lower()}":
            raise Problem(403, "requests from pages of other sites are not allowed")
        site = headers.get("sec-fetch-site", "none")
        if path.startswith("/api/") and site not in ("none", "same-origin"):
            raise Problem(403, "requests from pages of other sites are not allowed")
        is_open = path in OPEN_PATHS or path.startswith(PAGE)
        if not is_open and not self._access.admits(headers):
            raise Problem(401, "send the token: `Authorization: Bearer TOKEN`, or log in first")
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length[:20]) > self._max_body(scope):
            raise _too_large(self._max_body(scope))

    def _max_body(self, scope: Scope) -> int:
        return self._max_bytes if scope["path"] in LARGE else min(self._max_bytes, SMALL_BODY)

    def _limit_body(self, scope: Scope, receive: Receive) -> Receive:
        """Receive a body, and raise Problem at the limit, whatever its Content-Length."""
        size, limit = 0, self._max_body(scope)

        async def receive_limited() -> Message:
            nonlocal size
            message = await receive()
            if message["type"] == "http.request":
                size += len(message.get("body", b""))
                if size > limit:
                    raise _too_large(limit)
            return message

        return receive_limited


def _too_large(limit: int) -> Problem:
    return Problem(413, f"the request has more than {limit} bytes; send less at once")
