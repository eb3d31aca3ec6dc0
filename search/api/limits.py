"""Limits of what clients may cost: bytes and seconds of bodies, wrong tokens, lines of the log."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address, ip_network

import anyio
from starlette.types import Message, Receive, Send

from search.api.problems import Problem

BODY_SECONDS = 120.0  # for a whole body
PAUSE_SECONDS = 20.0  # between two parts of it
SHARES = 16  # the largest bodies that may be held at once
log = logging.getLogger(__name__)


class BodyBudget:
    """The bytes of bodies that one server holds at once."""

    def __init__(self, most: int) -> None:
        """most: bytes of all bodies."""
        self._most, self.held = most, 0

    def take(self, size: int) -> None:
        """Count more bytes. Raises Problem 503 if they are too many."""
        if self.held + size > self._most:
            raise Problem(503, "too many uploads at once; try again in a few seconds", retry=5)
        self.held += size

    def give_back(self, size: int) -> None:
        """Count fewer bytes."""
        self.held -= size


class LimitedBody:
    """The body of one request, within its limits of bytes and time."""

    def __init__(self, receive: Receive, send: Send, most: int, budget: BodyBudget) -> None:
        """most: bytes, whatever its Content-Length says."""
        self._receive, self._send, self._most, self._budget = receive, send, most, budget
        self._is_complete = self._has_answer = False
        self.size = 0
        self._end = time.monotonic() + BODY_SECONDS

    async def send(self, message: Message) -> None:
        """Send a message of the answer."""
        self._has_answer = True
        await self._send(message)

    async def receive(self) -> Message:
        """Receive a message. Raises Problem 408, 413 and 503."""
        if self._is_complete:
            return await self._receive()
        left = min(PAUSE_SECONDS, self._end - time.monotonic())
        try:
            if left <= 0:
                raise TimeoutError
            with anyio.fail_after(left):
                message = await self._receive()
        except TimeoutError:
            if self._has_answer:  # the rest is of no use
                return {"type": "http.disconnect"}
            reason = f"the body took longer than {BODY_SECONDS:g} s, or paused for longer than "
            raise Problem(408, f"{reason}{PAUSE_SECONDS:g} s") from None
        if message["type"] == "http.request":
            size = len(message.get("body", b""))
            if self.size + size > self._most:
                raise too_large(self._most)
            self._budget.take(size)
            self.size += size
            self._is_complete = not message.get("more_body", False)
        return message


def too_large(limit: int) -> Problem:
    """The refusal of a body with more than `limit` bytes."""
    return Problem(413, f"the request has more than {limit} bytes; send less at once")


class WrongTokens:
    """Counts wrong tokens, and says who has sent too many of them."""

    SECONDS, OF_ONE, OF_ALL = 60.0, 10, 300

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._sent: deque[tuple[float, str]] = deque(maxlen=self.OF_ALL)

    def is_blocked(self, client: str) -> bool:
        """Whether a client, or all of them, have sent too many in the last minute."""
        while self._sent and self._sent[0][0] <= self._clock() - self.SECONDS:
            self._sent.popleft()
        network = _network(client)
        by_client = sum(one == network for _, one in self._sent)
        return by_client >= self.OF_ONE or len(self._sent) >= self.OF_ALL

    def add(self, client: str) -> None:
        """Count and log a wrong token."""
        log.warning("a wrong token from %s", client)
        self._sent.append((self._clock(), _network(client)))


def _network(client: str) -> str:
    """Return what one client can send from: its IPv4 address, or its IPv6 network."""
    try:
        address = ip_address(client)
    except ValueError:
        return client
    if isinstance(address, IPv6Address) and address.ipv4_mapped is None:
        return str(ip_network((int(address), 64), strict=False))
    return client


class RepeatedLines(logging.Filter):
    """Lets a few lines of a kind into the log, and later says how many were left out."""

    def __init__(
        self, most: int = 5, seconds: float = 60.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """most: lines of a kind in so many seconds."""
        super().__init__()
        self._most, self._seconds, self._clock = most, seconds, clock
        self._kinds: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to log a line."""
        kind, now = (record.name, str(record.msg)[:200]), self._clock()
        begun, count = self._kinds.get(kind, (now, 0))
        if now - begun >= self._seconds:
            if count > self._most:
                left_out = count - self._most
                record.msg = f"{record.getMessage()} ({left_out} lines like it were left out)"
                record.args = None
            begun, count = now, 0
        if len(self._kinds) > 1000:  # no kinds without end
            self._kinds.clear()
        self._kinds[kind] = begun, count + 1
        return count < self._most
