"""A web site on loopback, whose pages and pictures a test sets."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

Answer = tuple[int, dict[str, str], bytes]
TAGS = "etag", "last-modified"


class Request(NamedTuple):
    """A request that the site got. status: of its answer. conditional: it named what was before."""

    path: str
    status: int
    agent: str
    conditional: bool


class WebSite:
    """files: by path with query, a text is HTML. answers: whole answers by path. make: makes the
    text of pages that are neither. validator: the header that files have, None for none. dropping:
    connections end without an answer."""

    def __init__(self) -> None:
        self.files: dict[str, str | bytes] = {}
        self.answers: dict[str, Answer] = {}
        self.make: Callable[[str], str | None] = lambda path: None
        self.requests: list[Request] = []
        self.validator: str | None = "ETag"
        self.dropping = False
        self.url = ""

    def paths(self, status: int | None = None) -> list[str]:
        """Return the paths that were requested since the last call, with a status or all."""
        requests, self.requests = self.requests, []
        return [one.path for one in requests if status in (None, one.status)]

    def answer(self, path: str, headers: dict[str, str]) -> Answer:
        """Return the status, the headers and the body for a path."""
        if path in self.answers:
            return self.answers[path]
        content = self.files.get(path)
        if content is None:
            content = self.make(path)
        if content is None:
            return 404, {"Content-Type": "text/html"}, b"<title>not found</title>"
        kind = "text/html; charset=utf-8" if isinstance(content, str) else "application/x-unknown"
        body = content.encode() if isinstance(content, str) else content
        more = {"Content-Type": kind}
        digest = hashlib.sha256(body).hexdigest()
        if self.validator == "ETag":
            more["ETag"] = f'"{digest[:16]}"'
            same = headers.get("if-none-match") == more["ETag"]
        elif self.validator == "Last-Modified":
            day, minute = int(digest[:2], 16) % 28 + 1, int(digest[2:4], 16) % 60
            more["Last-Modified"] = f"Thu, {day:02} Jan 2026 10:{minute:02}:00 GMT"
            same = headers.get("if-modified-since") == more["Last-Modified"]
        else:
            same = False
        return (304, more, b"") if same else (200, more, body)


@contextmanager
def serve_site() -> Iterator[WebSite]:
    """Serve a site on loopback."""
    site = WebSite()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # the head and the body in one packet: else each answer waits for the other

        def do_GET(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            if site.dropping:
                self.close_connection = True
                self.connection.close()
                return
            status, more, body = site.answer(self.path, headers)
            conditional = bool({"if-none-match", "if-modified-since"} & headers.keys())
            site.requests.append(
                Request(self.path, status, headers.get("user-agent", ""), conditional)
            )
            self.send_response(status)
            for name, value in more.items():
                self.send_header(name, value)
            if status != 304:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            self.wfile.flush()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        site.url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield site
        finally:
            server.shutdown()
            thread.join()
