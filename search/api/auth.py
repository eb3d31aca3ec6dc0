"""Access control: tokens and cookies, Host and Origin, the size of bodies, headers of answers.

Who sends a request, and what it may do, is its `Grant`. What a route needs, it declares itself (see
`search.api.roles`).

A page of another site must not reach this server through a visitor's browser. DNS rebinding shows
in Host; a form or script of another page shows in Origin or Sec-Fetch-Site. A browser extension is
no page: no page can send its origin. It needs a token in the request itself, since a cookie is sent
for whoever asks.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

import anyio
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection, cookie_parser
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from search.api import problems
from search.api.limits import BodyBudget, LimitedBody, WrongTokens, too_large
from search.api.problems import Problem
from search.errors import LookalikeError
from search.records.tokens import Role, Token
from search.records.transient import Item, Kind, MemoryItems, TransientItems

SESSION_SECONDS = 30 * 86400
ENDED = Kind("ended session", SESSION_SECONDS, most=10_000)
LINK = Kind("login link", 86400, most=100)
UNGUESSABLE = 32  # characters of a token that no number of tries finds
TOKEN = re.compile(r"[0-9a-f]{64}")  # of a user; nothing else is looked up
GRANT = "grant"  # of a request, in the state of its scope
LARGE_ROUTES = ("search", "images", "images/preview", "restored", "variants")
LARGE = frozenset(("/share", *(f"/api/v1/{name}" for name in LARGE_ROUTES)))
SAVED = "/api/v1/searches/"  # whose queries have pictures
SHARE = ("POST", "/share")  # from the system's sheet of apps, without a page
EXTENSIONS = ("chrome-extension://", "moz-extension://")  # beginnings of origins
SMALL_BODY = 2**20  # most bytes of a body on other routes
LOGIN = "/api/v1/login"
OPEN = frozenset(
    {
        ("GET", "/"),
        ("HEAD", "/"),
        ("GET", "/healthz"),
        ("GET", "/readyz"),
        ("POST", LOGIN),
        ("DELETE", LOGIN),  # the cookie may be no longer valid
    }
)
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
class Grant:
    """What a request may do. collections: paths of the roots that it may see; None for the whole
    library. digest: SHA-256 of the token of a user, None for the server's own."""

    role: Role = "admin"
    collections: frozenset[str] | None = None
    digest: str | None = None

    @classmethod
    def of(cls, token: Token) -> Grant:
        """Return what the token of a user grants."""
        collections = None if token.collections is None else frozenset(token.collections)
        return cls(token.role, collections, token.digest)


OWNER = Grant()
"""The server's own token, or no token where none is needed: everything."""


class EndedSessions:
    """Sessions that were logged out of before they ended by themselves."""

    def __init__(self, items: TransientItems, folder: Path | None = None) -> None:
        """folder: where they are remembered when the server ends, as empty files; None: nowhere."""
        self._items, self._folder = items, folder
        if folder is not None and folder.is_dir():
            for file in folder.iterdir():
                with suppress(OSError):
                    if file.stat().st_mtime < time.time() - SESSION_SECONDS:
                        file.unlink()

    def add(self, session: str) -> None:
        """Remember a session for as long as it would have been valid."""
        name = self._name(session)
        self._items.add(ENDED, name, Item())
        if self._folder is not None:
            with suppress(OSError):  # it is refused at least until the server ends
                self._folder.mkdir(mode=0o700, exist_ok=True)
                (self._folder / name).touch(mode=0o600)

    def has(self, session: str) -> bool:
        """Whether a session was ended. Raises LookalikeError if the catalog cannot be read."""
        name = self._name(session)
        if self._folder is not None and (self._folder / name).exists():
            return True
        return self._items.get(ENDED, name) is not None

    @staticmethod
    def _name(session: str) -> str:
        return hashlib.sha256(session.encode(errors="replace")).hexdigest()[:32]


class Links:
    """One-time links that log a browser in."""

    def __init__(self, items: TransientItems) -> None:
        self._items = items

    def make(self) -> str:
        """Return the path of a new link. Raises LookalikeError if it cannot be kept."""
        code = secrets.token_urlsafe(24)
        self._items.add(LINK, self._digest(code), Item())
        return f"/?login={code}"

    def use(self, code: str) -> bool:
        """Whether a link is valid. It is not from then on."""
        return self._items.take(LINK, self._digest(code)) is not None

    @staticmethod
    def _digest(code: str) -> str:
        return hashlib.sha256(code.encode(errors="replace")).hexdigest()


@dataclass(frozen=True)
class Access:
    """The rules of one server.

    host: the one it was started on. token: required if there is one. local: whether it listens on
    loopback only. local_token: a second token, for commands of the server's own user. find_token:
    returns the token of a user by its SHA-256 (64 hexadecimal digits), None if there is none; it
    may wait for a database. clock: seconds since 1970. ended: sessions that were logged out of.
    wrong: tokens that were tried. links: one-time links of the page.
    """

    host: str = "127.0.0.1"
    token: str | None = None
    local: bool = True
    local_token: str | None = None
    find_token: Callable[[str], Token | None] = lambda digest: None
    clock: Callable[[], float] = time.time
    ended: EndedSessions = field(default_factory=lambda: EndedSessions(MemoryItems()))
    wrong: WrongTokens = field(default_factory=WrongTokens)
    links: Links = field(default_factory=lambda: Links(MemoryItems()))

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

    async def authenticate(self, headers: Headers, client: str) -> Grant | None:
        """Return what a request may do, by its token or by a cookie that a login set; None if it
        has neither.

        client: address that the request comes from. Raises Problem 429 as `check_token`, and
        LookalikeError if the tokens of users cannot be read.
        """
        if self.token is None:
            return OWNER
        value = read_bearer(headers)
        if value is not None:
            sent = value.encode("latin-1")  # the bytes; most programs send UTF-8
            texts = sent.decode(errors="replace"), value
            return await self.check_token(texts, client)
        return await self.read_grant(headers)

    async def check_token(self, texts: Sequence[str], client: str) -> Grant | None:
        """Return what a text grants that is, in one of its readings, a token; None if it is none.

        Wrong ones are counted and logged. After too many, Problem 429 is raised, and a token that
        could be guessed is not taken; one that could not be is, so that nobody is locked out.
        Raises LookalikeError as `authenticate`.
        """
        if any(_equal(text, self.local_token) for text in texts):
            return OWNER
        is_right = any(_equal(text, self.token) for text in texts)
        is_blocked = self.wrong.is_blocked(client)
        if is_right and not (is_blocked and len(self.token or "") < UNGUESSABLE):
            return OWNER
        if not is_right and TOKEN.fullmatch(texts[0]):
            grant = await self._find_grant(hashlib.sha256(texts[0].encode()).hexdigest())
            if grant is not None:
                return grant
        if is_blocked:
            reason = "too many wrong tokens; try again in a minute"
            raise Problem(429, reason, retry=60, code="too_many_attempts")
        self.wrong.add(client)
        return None

    async def _find_grant(self, digest: str) -> Grant | None:
        """Look a token of a user up in the catalog, so that a revoked one ends at once."""
        token = await anyio.to_thread.run_sync(self.find_token, digest)
        return None if token is None else Grant.of(token)

    @property
    def cookie(self) -> str:
        """The name of the cookie. It depends on the token, since browsers share cookies among all
        servers of a machine."""
        return f"lookalike-{self._sign('name')[:8]}"

    async def read_grant(self, headers: Headers) -> Grant | None:
        """Return what the cookie of a request grants; None without a valid one. Raises
        LookalikeError as `authenticate`."""
        value = self.read_session(headers)
        if not self._is_valid_session(value):
            return None
        if await anyio.to_thread.run_sync(self.ended.has, value):
            return None
        digest = value.split(".")[2:-1]
        return await self._find_grant(digest[0]) if digest else OWNER

    def read_session(self, headers: Headers) -> str:
        """Return the value of a request's cookie, or an empty text."""
        return cookie_parser(headers.get("cookie", "")).get(self.cookie, "")

    def make_link(self) -> str:
        """Return the path that opens the page, logged in: once, and within a day."""
        return "/" if self.token is None else self.links.make()

    def use_link(self, code: str) -> bool:
        """Whether a one-time link logs a browser in."""
        return self.token is not None and self.links.use(code)

    def set_cookie(self, response: Response, is_secure: bool, grant: Grant = OWNER) -> None:
        """Log the browser in that a response goes to.

        is_secure: whether it came over TLS. grant: what the session may do.
        """
        response.set_cookie(
            self.cookie,
            self.make_session(grant),
            max_age=SESSION_SECONDS,
            httponly=True,
            samesite="strict",
            secure=is_secure,
        )

    def end_session(self, value: str) -> None:
        """Refuse a cookie's value from now on. Others are not remembered."""
        if self._is_valid_session(value):
            self.ended.add(value)

    def make_session(self, grant: Grant = OWNER) -> str:
        """Return a cookie's value: when it ends, the digest of a user's token, which is looked up
        at each request, and a signature with the server's token."""
        head = f"{int(self.clock()) + SESSION_SECONDS}.{secrets.token_hex(8)}"
        if grant.digest is not None:
            head = f"{head}.{grant.digest}"
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
    """Compare in a time that does not depend on the text."""
    return secret is not None and hmac.compare_digest(
        text.encode(errors="replace"), secret.encode()
    )


def _hostname(host: str) -> str:
    """Return a Host header without its port, in lower case; empty if it is none."""
    match = HOST.fullmatch(host.strip().lower())
    return (match["address"] or match["name"]).rstrip(".") if match else ""


class AccessControl:
    """Middleware before all routes: it refuses requests, limits bodies and adds headers."""

    def __init__(self, app: ASGIApp, access: Access, max_bytes: int, budget: BodyBudget) -> None:
        """max_bytes: of a request's body, on the routes that take pictures. budget: of all."""
        self._app, self._access, self._max_bytes = app, access, max_bytes
        self._budget = budget

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
            await self._check(scope, headers)
        except Problem as problem:
            await problems.of(problem)(scope, receive, send_with_headers)
            return
        except LookalikeError as error:
            await problems.of_library(error)(scope, receive, send_with_headers)
            return
        body = LimitedBody(receive, send_with_headers, self._max_body(scope), self._budget)
        try:
            await self._app(scope, body.receive, body.send)
        finally:
            self._budget.give_back(body.size)

    async def _check(self, scope: Scope, headers: Headers) -> None:
        """Note what a request may do. Raise Problem for one that is not allowed, and
        LookalikeError."""
        host, path = headers.get("host", ""), scope["path"]
        if not self._access.knows(host):
            raise Problem(403, f"this server is not {host[:100]!r}; use the address it printed")
        origin = headers.get("origin")
        if origin == "null" and (scope["method"], path) == SHARE:
            # another app on the device sends it, and the browser says so; pages cannot
            origin = None if headers.get("sec-fetch-site") == "none" else origin
        is_extension = origin is not None and origin.lower().startswith(EXTENSIONS)
        if is_extension and (self._access.token is None or not read_bearer(headers)):
            reason = (
                "a browser extension sends a token of its own: `Authorization: Bearer TOKEN`; "
                "start the server without --no-token"
            )
            raise Problem(403, reason)
        is_own = origin is None or origin.lower() == f"{scope['scheme']}://{host.lower()}"
        site = headers.get("sec-fetch-site", "none")
        if path.startswith("/api/") and site not in ("none", "same-origin"):
            is_own = False
        if not is_own and not is_extension:
            raise Problem(403, "requests from pages of other sites are not allowed")
        is_open = (scope["method"], path) in OPEN or path.startswith(PAGE)
        if not is_open or is_extension:
            grant = await self._access.authenticate(headers, client_of(scope))
            if grant is None:
                raise Problem(401, "send the token: `Authorization: Bearer TOKEN`, or log in first")
            scope.setdefault("state", {})[GRANT] = grant
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length[:20]) > self._max_body(scope):
            raise too_large(self._max_body(scope))

    def _max_body(self, scope: Scope) -> int:
        path = scope["path"]
        is_large = path in LARGE or path.startswith(SAVED)
        return self._max_bytes if is_large else min(self._max_bytes, SMALL_BODY)


def read_bearer(headers: Headers) -> str | None:
    """Return the token in a request's own header, None without one."""
    kind, _, value = headers.get("authorization", "").partition(" ")
    return value.strip() if kind.lower() == "bearer" else None


def client_of(scope: Scope) -> str:
    """Return the address that a request comes from."""
    client = HTTPConnection(scope).client
    return client.host if client else ""
