"""`lookalike serve`: listens on a socket and runs the app, in one process, until a signal."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from types import FrameType
from typing import NamedTuple

import uvicorn
from fastapi import FastAPI

from search.api.app import create_app
from search.api.auth import Access, EndedSessions, Links
from search.api.connections import BACKLOG, ConnectionLimits, LimitedProtocol, count_allowed
from search.api.deps import Context
from search.api.limits import RepeatedLines
from search.api.phone import draw_text, list_addresses, make_url
from search.api.request_log import log_json
from search.api.token_file import choose_token
from search.engine import Engine
from search.errors import InputError, QueryError

STOP_SECONDS = 3  # for requests that are under way when a signal comes


def _is_worth_logging(record: logging.LogRecord) -> bool:
    """Whether to log a line. Requests that the end of the server cancels are not logged."""
    cut = record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError)
    return not (cut or record.getMessage().rstrip().endswith("CancelledError"))


class Addresses(NamedTuple):
    """Where a server answers. address: on this machine; link: opens the page there, logged in;
    browser_link: as link, for a browser that the command opens. others: links for other machines of
    the network. qr: the first of these as a QR code for a terminal, or an empty text."""

    address: str
    link: str
    browser_link: str
    others: list[str]
    qr: str


class _Server(uvicorn.Server):
    """Calls `ready` as soon as it answers, and ends without raising the signal again."""

    def __init__(self, config: uvicorn.Config, context: Context, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._context, self._ready = context, ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.force_exit = self.should_exit  # the second signal ends it without waiting
        # else followers of jobs stay connected
        self.should_exit = self._context.connected.stopping = True


def serve(
    engine: Engine,
    host: str,
    port: int,
    allow: Sequence[str],
    announce: Callable[[Addresses], None],
    local_token: str | None = None,
    no_token: bool = False,
    watch: bool = False,
) -> None:
    """Serve the page and the API until SIGINT or SIGTERM.

    port: 0 to 65535; 0 takes any free one. allow: folders and URLs of object
    storage that may be indexed; if there are none,
    the user's home folder and the indexed folders on loopback. announce: called as soon as
    the server answers. local_token: a second token, for
    commands of the same user. no_token: answer everybody on this machine. watch: whether to sync
    the indexed folders as they change. Raises InputError for an address that cannot be served, and
    QueryError for a wrong port.
    """
    if engine.settings.log_json:
        log_json()
    where, local = _resolve(host, port)
    token = choose_token(engine.settings, host, local, no_token)
    folders = [engine.resolve_place(path) for path in allow]
    if missing := [one for one in folders if "://" not in one and not os.path.isdir(one)]:
        raise InputError(f"--allow {missing[0]}: no folder; give one that is there")
    if engine.inbox_folder is not None and not engine.inbox_folder.is_dir():
        raise InputError(f"the inbox {engine.inbox_folder} is not there; make it, then start again")
    items = engine.library.transient_items
    access = Access(
        host=host,
        token=token,
        local=local,
        local_token=local_token,
        find_token=engine.find_token,
        ended=EndedSessions(items, engine.home / "ended-sessions"),
        links=Links(items),
    )
    app = create_app(engine, access, folders if folders or not local else None, watch)
    listening = _listen(host, where)
    name = f"[{host}]" if ":" in host else host
    if host in ("0.0.0.0", "::"):
        name = "127.0.0.1" if host == "0.0.0.0" else "[::1]"
    port = listening.getsockname()[1]
    address = f"http://{name}:{port}"
    for name in ("uvicorn.error", "asyncio", "search.api.limits"):
        logging.getLogger(name).addFilter(RepeatedLines())
    logging.getLogger("uvicorn.error").addFilter(_is_worth_logging)
    with listening:

        def announce_link() -> None:
            path = access.make_link() if token else ""
            others = [make_url(one, port, path) for one in list_addresses(host)]
            links = [f"{address}{access.make_link()}" if token else address for _ in range(2)]
            qr = draw_text(others[0]) if others else ""
            announce(Addresses(address, links[0], links[1], others, qr))

        _Server(make_config(app), app.state.context, announce_link).run(sockets=[listening])


def make_config(app: FastAPI, limits: ConnectionLimits | None = None) -> uvicorn.Config:
    """Return how to serve an app. limits: by default as many connections as files allow."""
    limits = limits or ConnectionLimits(count_allowed())
    context: Context = app.state.context
    return uvicorn.Config(
        app,
        http=LimitedProtocol.with_limits(limits, context.metrics.count_refused),
        ws="none",
        backlog=BACKLOG,
        log_config=None,
        log_level="warning",
        access_log=False,
        lifespan="on",
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=STOP_SECONDS,
    )


def _resolve(host: str, port: int) -> tuple[tuple[int, str, int], bool]:
    """Return the family, address and port to listen on, and whether it is loopback.

    Raises QueryError for a wrong port, and InputError for a host that is not of this machine.
    """
    if not 0 <= port <= 65535:
        raise QueryError(f"--port {port}: give 0 to 65535")
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise InputError(f"--host {host}: no address of this machine") from error
    family, *_, place = addresses[0]
    address = str(place[0])
    return (family, address, port), ip_address(address.partition("%")[0]).is_loopback


def _listen(host: str, where: tuple[int, str, int]) -> socket.socket:
    """Open a listening socket. Raises InputError if the port is taken or not allowed."""
    family, address, port = where
    # asyncio sets TCP_NODELAY only on a socket whose protocol is named; without it each answer on
    # a kept connection waits some 40 ms for the client's delayed acknowledgement
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":  # elsewhere it would let two servers share a port
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((address, port))
        listening.listen(256)
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRINUSE:
            raise InputError(f"port {port} is taken; give another --port") from error
        raise InputError(f"cannot serve on {host}, port {port}: {error.strerror}") from error
    return listening
