"""Limits of the connections of one server: how many there are, and how long each may wait.

A client that sends nothing, or that reads nothing, costs a connection for a bounded time. There are
always fewer connections than the process may have open files.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

try:
    import resource
except ImportError:  # not on Windows
    resource = None  # type: ignore[assignment]

MOST = 512  # connections
RESERVE = 256  # open files for all else: the catalog, decoding processes, what is sent
BACKLOG = 32  # connections that asyncio accepts before it looks at the number of those there are
MOST_HEAD = 1 << 16  # bytes of a request beside its body
BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\n"
    b"Connection: close\r\n\r\n"
)
LARGE_HEAD = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Length: 0\r\n"
    b"Connection: close\r\n\r\n"
)


def count_allowed() -> int:
    """Return how many connections there may be: 512, or fewer if few files may be open."""
    if resource is None:
        return MOST
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return MOST
    return max(1, min(MOST, files - RESERVE if files >= 2 * RESERVE else files // 2))


@dataclass(frozen=True)
class ConnectionLimits:
    """connections: at once. head_seconds: to send the head of a request. write_seconds: to take
    what was sent, once it fills the buffers."""

    connections: int
    head_seconds: float = 10.0
    write_seconds: float = 60.0


class LimitedProtocol(HttpToolsProtocol):
    """A connection. When there are too many, the one that has sent no request for longest goes."""

    limits: ConnectionLimits
    count_refused: Callable[[], None]
    _head_timer: asyncio.TimerHandle | None = None
    _write_timer: asyncio.TimerHandle | None = None
    _since: float = 0.0
    _head_bytes: int = 0
    _body_bytes: int = 0

    @classmethod
    def with_limits(
        cls, limits: ConnectionLimits, count_refused: Callable[[], None]
    ) -> type[LimitedProtocol]:
        """Return the protocol under these limits. count_refused: called for each 503."""
        members = {"limits": limits, "count_refused": staticmethod(count_refused)}
        return type(cls.__name__, (cls,), members)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.limits.connections and not self._make_room():
            self.count_refused()
            transport.write(BUSY)
            transport.close()
            return
        self._watch_head()

    def _make_room(self) -> bool:
        """Close the connection that waits for a head for longest. False if none does."""
        others = [one for one in self.connections if isinstance(one, LimitedProtocol)]
        waiting = [one for one in others if one is not self and one._head_timer is not None]
        if not waiting:
            return False
        oldest = min(waiting, key=lambda one: one._since)
        self.connections.discard(oldest)  # `connection_lost` comes later
        oldest._abort()
        return True

    def data_received(self, data: bytes) -> None:
        self._head_bytes += len(data)
        super().data_received(data)
        # the parser keeps what it has of a header; the marks of chunks may be as long as the body
        if self._head_bytes > MOST_HEAD + self._body_bytes and not self.transport.is_closing():
            if self.cycle is None or self.cycle.response_complete:
                self.transport.write(LARGE_HEAD)
                self.transport.close()
            else:
                self._abort()
        self._watch_head()

    def on_message_begin(self) -> None:
        self._head_bytes = self._body_bytes = 0
        super().on_message_begin()

    def on_body(self, body: bytes) -> None:
        self._head_bytes -= len(body)
        self._body_bytes += len(body)
        super().on_body(body)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch_head()

    def _watch_head(self) -> None:
        """Run the timer while there is no request at work."""
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_head_timer()
        elif self._head_timer is None and not self.transport.is_closing():
            self._since = self.loop.time()
            self._head_timer = self.loop.call_later(self.limits.head_seconds, self._abort)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._write_timer is None:
            self._write_timer = self.loop.call_later(self.limits.write_seconds, self._abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop_write_timer()

    def _stop_write_timer(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    def _abort(self) -> None:
        self._stop_head_timer()
        self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_head_timer()
        self._stop_write_timer()
        super().connection_lost(exc)
