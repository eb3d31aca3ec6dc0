"""The log of requests, and a log of JSON lines."""

from __future__ import annotations

import json
import logging
import re
import secrets
import time
from contextvars import ContextVar
from datetime import UTC, datetime

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from search.api.metrics import Metrics

HEADER = "X-Request-ID"
PLAIN = re.compile(r"[A-Za-z0-9._-]{1,64}")
log = logging.getLogger(__name__)
current_id: ContextVar[str | None] = ContextVar("request id", default=None)
"""The id of the request that is being answered, for every line that is logged meanwhile."""


class RequestLog:
    """Middleware that gives each request an id, and counts and logs it once it is answered."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, start = 500, time.perf_counter()
        request_id = choose_id(Headers(scope=scope).get(HEADER, ""))
        current_id.set(request_id)  # in the context of this request's own task

        async def send_noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[HEADER] = request_id
            await send(message)

        try:
            await self._app(scope, receive, send_noting)
        finally:
            route = getattr(scope.get("route"), "path", "none")
            seconds = time.perf_counter() - start
            self._metrics.count_request(scope["method"], route, status, seconds)
            line = f"{scope['method'][:20]} {route} {status}"
            fields = {
                "method": scope["method"][:20],
                "route": route,
                "status": status,
                "milliseconds": round(1000 * seconds, 1),
            }
            log.info("%s", line, extra={"fields": fields})


def choose_id(sent: str) -> str:
    """Return the id that a client sent, if it is short and plain, else a new one."""
    return sent if PLAIN.fullmatch(sent) else secrets.token_hex(8)


class JsonFormatter(logging.Formatter):
    """Formats a line of the log as one JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line. It has the id of the request that it belongs to, if there is one."""
        moment = datetime.fromtimestamp(record.created, UTC)
        document = {
            "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if request_id := current_id.get():
            document["id"] = request_id
        document |= getattr(record, "fields", {})
        if record.exc_info:
            document["exception"] = self.formatException(record.exc_info)
        return json.dumps(document)


def log_json() -> None:
    """Write the log to standard error as JSON lines, with one for each request."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(handlers=[handler], force=True)
    logging.getLogger("search").setLevel(logging.INFO)
