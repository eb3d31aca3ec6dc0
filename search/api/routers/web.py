"""The page at `/` and its files, read once from the package."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from fastapi import Request, Response
from starlette.responses import RedirectResponse

from search.api.auth import OWNER, Grant
from search.api.deps import Here
from search.api.problems import Problem
from search.api.roles import make_router, requires

router = make_router(include_in_schema=False)

FOLDER = Path(__file__).parents[2] / "web"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".webmanifest": "application/manifest+json",
    ".json": "application/json",
}
WORKER = "service-worker.js"  # which serves the page at `/`, outside its own folder
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; media-src 'self'; manifest-src 'self'; worker-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)


@cache
def _read_files() -> dict[str, tuple[bytes, dict[str, str]]]:
    """Return content and headers by name. A browser asks each time, and gets 304 if it has it."""
    files = {}
    for path in FOLDER.iterdir():
        if path.suffix in TYPES:
            data = path.read_bytes()
            headers = {
                "Content-Type": TYPES[path.suffix],
                "Content-Security-Policy": POLICY,
                "Referrer-Policy": "same-origin",  # else its forms have the origin `null`
                "Cache-Control": "no-cache",
                "ETag": f'"{hashlib.sha256(data).hexdigest()[:32]}"',
            }
            if path.name == WORKER:
                headers["Service-Worker-Allowed"] = "/"
            files[path.name] = data, headers
    return files


@router.api_route("/", methods=["GET", "HEAD"])
@requires("open")
async def page(request: Request, here: Here, login: str = "") -> Response:
    """The page. login: code of a one-time link, which sets the cookie."""
    if login and request.method == "GET":
        session: Grant | None = OWNER
        if here.access.token is not None:
            session = await here.access.read_grant(request.headers)
        is_used = await here.look(lambda: here.access.use_link(login))
        if is_used or session:
            response = RedirectResponse("/", 303)
            if is_used and session != OWNER:
                here.access.set_cookie(response, request.url.scheme == "https")
            return response
    return _send_file(request, "index.html")  # which says it of a link that was used


@router.api_route("/web/{name}", methods=["GET", "HEAD"])
@requires("open")
async def asset(name: str, request: Request) -> Response:
    """A file of the page."""
    return _send_file(request, name)


def _send_file(request: Request, name: str) -> Response:
    if name not in _read_files():
        raise Problem(404, "the page has no such file")
    data, headers = _read_files()[name]
    if headers["ETag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(data, headers=headers)
