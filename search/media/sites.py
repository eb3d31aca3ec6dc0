"""Web sites: fetches their pages and pictures at a pace, as their robots.txt permits (RFC 9309)."""

from __future__ import annotations

import hashlib
import io
import re
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, BinaryIO, NamedTuple
from urllib.parse import urlsplit

from search.errors import (
    InputError,
    PictureError,
    RemoteDeniedError,
    RemoteError,
    RemoteMissingError,
    RobotsError,
)
from search.media.object_urls import join_place
from search.media.open_file import FilePlace
from search.media.urls import join_url, parse_url
from search.media.web_page import is_web_page

if TYPE_CHECKING:
    from protego import Protego

    from search.media.fetch import Fetcher, FetchSession

PURPOSE = "indexes this site for its owner"
"""Purpose in the User-Agent while a site is indexed, unless the setting `contact` is given."""
PICTURES = "fetches single pictures for a person; no crawler"
"""The same for single pictures, when no site is indexed."""
AGENT = "lookalike"
"""The name under which a robots.txt has rules for this program."""
DELAY = 0.2
"""Seconds between two requests to a host."""
REDIRECTS = 5
ROBOTS_BYTES = 512 * 1024  # RFC 9309 asks for 500 KiB or more
MOST_STARS, MATCHED = 3, 512
"""`*` in a rule, and characters of a URL that rules are compared with: more take too long."""
MOST_ROBOTS, ROBOTS_SECONDS = 256, 3600.0
"""Hosts whose rules are kept, and for how long."""
MOST_FAILURES, PAUSE_SECONDS = 5, 30.0
"""After so many requests without an answer, a host is not asked again for so long."""
MOST_WAIT = 60.0
"""Longest time in seconds between two requests: a host that asks for more is not read."""
GONE = frozenset((404, 410))
DENIED = frozenset((401, 403, 407))
PAGE_ACCEPT = "text/html,application/xhtml+xml,application/xml;q=0.9,image/*;q=0.8,*/*;q=0.5"


class SiteAnswer(NamedTuple):
    """What a page or a picture answered, after redirects.

    url: where it is. status: 200, 304 or an error of HTTP. data: its bytes, for 200. etag,
    modified: what the next request names, empty if there is none. media_type: as the server says.
    redirect: the URL that was not followed, if `may_follow` did not allow it.
    """

    url: str
    status: int
    data: bytes = b""
    etag: str = ""
    modified: str = ""
    media_type: str = ""
    redirect: str | None = None


class Validators(NamedTuple):
    """What shows whether an answer is unchanged: the headers ETag and Last-Modified, and the
    SHA-256 of the bytes."""

    etag: str = ""
    modified: str = ""
    digest: str = ""


NONE = Validators()


class RobotRules:
    """What the robots.txt of a host permits. sitemaps: URLs that it names."""

    def __init__(self, text: str) -> None:
        from protego import Protego

        self._rules: Protego = Protego.parse(_simplify(text))
        self.sitemaps = tuple(self._rules.sitemaps)[:100]
        delay = self._rules.crawl_delay(AGENT)
        self.delay = float(delay) if delay is not None and delay >= 0 else 0.0

    def allow(self, url: str) -> bool:
        """Return whether a URL may be fetched."""
        return bool(self._rules.can_fetch(url[:MATCHED], AGENT))


def _simplify(text: str) -> str:
    """Cut rules after some wildcards: to compare a URL with many takes very long."""
    lines = []
    for line in text.splitlines():
        parts = re.sub(r"\*+", "*", line).split("*")
        if len(parts) > MOST_STARS + 1:
            line = "*".join(parts[: MOST_STARS + 1])
        lines.append(line)
    return "\n".join(lines)


class SiteReader:
    """Fetches from web sites. Threads may share it.

    Methods raise RobotsError for what robots.txt forbids, RemoteError for a host that gives no
    answer, and AddressError for one that is not allowed.
    """

    def __init__(
        self, make_fetcher: Callable[[], Fetcher], delay: float = DELAY, max_bytes: int = 2**26
    ) -> None:
        """make_fetcher: makes what fetches, when it is first needed. delay: seconds between two
        requests to a host; a robots.txt may ask for more. max_bytes: of a picture that is opened.
        """
        self._make_fetcher, self.delay, self._max_bytes = make_fetcher, delay, max_bytes
        self._lock, self._robots_lock = threading.Lock(), threading.Lock()
        self._session: FetchSession | None = None
        self._robots: OrderedDict[str, tuple[float, RobotRules]] = OrderedDict()
        self._turns: dict[str, float] = {}
        self._failures, self._paused = Counter[str](), dict[str, float]()
        self._closed = threading.Event()
        self._delays: dict[str, float] = {}
        self._read: dict[str, Validators] = {}

    def close(self) -> None:
        """End waiting requests, and close all connections."""
        self._closed.set()
        if self._session is not None:
            self._session.close()

    def forget_robots(self) -> None:
        """Read the robots.txt of each host again when it is next needed, and try hosts again that
        gave no answer."""
        with self._lock:
            self._robots.clear()
            self._failures.clear()
            self._paused.clear()

    def set_delay(self, url: str, delay: float | None) -> None:
        """Set the seconds between two requests to the host of a URL; None for those of all."""
        self._delays.pop(_origin(url), None)
        if delay is not None:
            self._delays[_origin(url)] = delay

    def rules(self, url: str) -> RobotRules:
        """Return the rules of the host of a URL. Raises RemoteError if they cannot be read."""
        origin = _origin(url)
        with self._robots_lock:  # one thread reads them
            stored = self._robots.get(origin)
            if stored is None or time.monotonic() - stored[0] > ROBOTS_SECONDS:
                stored = time.monotonic(), RobotRules(self._read_robots(origin))
                with self._lock:
                    self._robots[origin] = stored
                    while len(self._robots) > MOST_ROBOTS:
                        self._robots.popitem(last=False)
            return stored[1]

    def _read_robots(self, origin: str) -> str:
        answer = self._follow(f"{origin}/robots.txt", {}, ROBOTS_BYTES, lambda url: True, None)
        if answer.status == 200:
            return answer.data.decode("utf-8", "replace")
        if 400 <= answer.status < 500 and answer.status != 429:
            return ""  # RFC 9309: there are no rules
        raise RemoteError(
            f"{origin}/robots.txt answered with status {answer.status}, so nothing of the site is "
            "read; try again later"
        )

    def get(
        self,
        url: str,
        most: int,
        before: Validators = NONE,
        may_follow: Callable[[str], bool] = lambda url: True,
        accept: str = PAGE_ACCEPT,
    ) -> SiteAnswer:
        """Fetch a page or a picture.

        most: bytes of its body; SizeError is raised for more. before: of the last answer; if it is
        unchanged, the status is 304. may_follow: whether a redirect to a URL is followed.
        """
        headers = {"Accept": accept}
        if before.etag:
            headers["If-None-Match"] = before.etag
        if before.modified:
            headers["If-Modified-Since"] = before.modified
        return self._follow(url, headers, most, may_follow, self.rules)

    def read(self, url: str, most: int) -> bytes:
        """Return the bytes of a picture; `take_validators` tells what it answered.

        Raises RemoteMissingError, PictureError for a web page in its place, and SizeError.
        """
        answer = self.get(url, most, accept="image/*,*/*;q=0.1")
        check_status(answer)
        digest = hashlib.sha256(answer.data).hexdigest()
        with self._lock:
            self._read[url] = Validators(answer.etag, answer.modified, digest)
        if is_web_page(answer.data, answer.media_type):
            raise PictureError("the site answers with a web page, not with a picture")
        return answer.data

    def take_validators(self) -> dict[str, Validators]:
        """Return the validators of what was read since the last call, by URL."""
        with self._lock:
            read, self._read = self._read, {}
        return read

    def open(self, place: FilePlace) -> BinaryIO | None:
        """Return the content of an indexed picture, or None when it is not as it was indexed."""
        try:
            data = self.read(join_place(place.root, place.path), self._max_bytes)
        except (RemoteMissingError, PictureError):
            return None
        is_same = number_of(hashlib.sha256(data).hexdigest()) == place.mtime_ns
        return io.BytesIO(data) if is_same else None

    def _follow(
        self,
        url: str,
        headers: Mapping[str, str],
        most: int,
        may_follow: Callable[[str], bool],
        rules: Callable[[str], RobotRules] | None,
    ) -> SiteAnswer:
        here = parse_url(url)
        for _ in range(REDIRECTS + 1):
            delay = self._delays.get(_origin(str(here)), self.delay)
            if rules is not None:
                robots = rules(str(here))
                if not robots.allow(str(here)):
                    raise RobotsError(
                        f"{here}: the robots.txt of the site forbids it; if the site is yours, "
                        f"allow the agent {AGENT} there"
                    )
                if robots.delay > MOST_WAIT:
                    raise RobotsError(
                        f"{_origin(str(here))}: its robots.txt asks for {robots.delay:g} s between "
                        f"two requests, more than {MOST_WAIT:g}; give {AGENT} a shorter "
                        "Crawl-delay there"
                    )
                delay = max(delay, robots.delay)
            answer = self._ask(str(here), headers, most, delay)
            if answer.redirect is None:
                return answer
            try:
                target = join_url(here, answer.redirect)
            except InputError as error:
                raise RemoteError(f"{url}: it redirects to {error}") from error
            if not may_follow(str(target)):
                return answer._replace(redirect=str(target))
            here = target
        raise RemoteError(f"{url}: more than {REDIRECTS} redirects")

    def _ask(self, url: str, headers: Mapping[str, str], most: int, delay: float) -> SiteAnswer:
        """Send one request, when it is the turn of its host."""
        host = _origin(url)
        self._wait_turn(host, delay)
        if time.monotonic() < self._paused.get(host, 0.0):
            raise RemoteError(f"{host} gave no answer several times; try again in a minute")
        try:
            answer = self._open_session().get(parse_url(url), headers, most)
        except RemoteError:
            self._note_failure(host)
            raise
        if answer.status in (429, 503):
            wait = answer.headers.get("retry-after", "")
            seconds = min(float(wait), MOST_WAIT) if wait.isdecimal() else 5 * delay
            with self._lock:
                self._turns[host] = max(self._turns.get(host, 0.0), time.monotonic() + seconds)
            self._note_failure(host)
        elif self._failures[host]:
            with self._lock:
                self._failures[host] = 0
        etag, modified, media_type = (
            answer.headers.get(name, "")[:500] for name in ("etag", "last-modified", "content-type")
        )
        data, location = answer.data, answer.location
        return SiteAnswer(url, answer.status, data, etag, modified, media_type, location)

    def _note_failure(self, host: str) -> None:
        with self._lock:
            self._failures[host] += 1
            if self._failures[host] >= MOST_FAILURES:
                self._paused[host] = time.monotonic() + PAUSE_SECONDS

    def _wait_turn(self, host: str, delay: float) -> None:
        with self._lock:
            now = time.monotonic()
            turn = max(now, self._turns.get(host, 0.0))
            self._turns[host] = turn + delay
        if (turn > now and self._closed.wait(turn - now)) or self._closed.is_set():
            raise RemoteError("the library was closed")

    def _open_session(self) -> FetchSession:
        from search.media.fetch import FetchSession

        with self._lock:
            if self._session is None:
                self._session = FetchSession(self._make_fetcher())
            return self._session


def check_status(answer: SiteAnswer) -> None:
    """Raise RemoteError for an answer with an error of HTTP."""
    if answer.status in GONE:
        raise RemoteMissingError(f"{answer.url}: it is not there (status {answer.status})")
    if answer.status in DENIED:
        raise RemoteDeniedError(
            f"{answer.url}: the site asks for a login or denies access (status {answer.status}); "
            "only what everybody sees can be read"
        )
    if answer.status not in (200, 304):
        raise RemoteError(f"{answer.url}: answered with status {answer.status}; try again later")


def number_of(digest: str) -> int:
    """Return the number that a file of a site has in the catalog in place of its time. digest:
    SHA-256 of its bytes, as hexadecimal digits."""
    return int(digest[:16], 16) >> 1


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
