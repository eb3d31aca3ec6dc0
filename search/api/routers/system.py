"""The server itself: status, health, metrics, login, documentation."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

from fastapi import Request, Response
from starlette.responses import HTMLResponse, JSONResponse

from search.api import docs
from search.api.auth import client_of
from search.api.deps import Here
from search.api.phone import draw_svg, list_addresses, make_url
from search.api.problems import RETRY, Problem
from search.api.roles import grant_of, make_router, requires
from search.api.schemas import GrantJson, LinkJson, LoginJson, StateJson, problems
from search.errors import LookalikeError
from search.files import shown
from search.records.status import Status

log = logging.getLogger(__name__)
router = make_router(tags=["system"])


@router.get(
    "/api/v1/status",
    summary="Get the library at a glance",
    response_model=Status,
    responses=problems(),
)
@requires("read", within=True)
async def get_status(here: Here) -> JSONResponse:
    """As `lookalike status --json`. Roots are `watched` if this server notices their changes."""
    status = await here.look(here.engine.status)
    roots = tuple(replace(root, watched=here.is_watched(root)) for root in status.roots)
    return JSONResponse(replace(status, roots=roots).to_json())


@router.post(
    "/api/v1/login",
    summary="Exchange the token for the page's cookie",
    status_code=204,
    responses=problems(400, 413, 422, 429),
)
@requires("open")
async def log_in(body: LoginJson, request: Request, here: Here) -> Response:
    """The cookie is HttpOnly and SameSite=Strict, and ends after 30 days."""
    if here.access.token is None:
        return Response(status_code=204)  # the server needs no token
    grant = await here.access.check_token([body.token], client_of(request.scope))
    if grant is None:
        raise Problem(401, "this is not the token", code="token_wrong")
    response = Response(status_code=204)
    here.access.set_cookie(response, request.url.scheme == "https", grant)
    return response


@router.get(
    "/api/v1/login",
    summary="Get what this token or login may do",
    response_model=GrantJson,
    responses=problems(),
)
@requires("read", within=True)
async def get_grant(request: Request, here: Here) -> dict[str, Any]:
    """Its role, and the indexed folders that it is for; null for the whole library."""
    grant = grant_of(request)
    collections = None if grant.collections is None else sorted(map(shown, grant.collections))
    has_login = here.access.token is not None
    return {"role": grant.role, "collections": collections, "has_login": has_login}


@router.post(
    "/api/v1/login/links",
    summary="Make a link that opens the page, logged in",
    response_model=LinkJson,
    responses=problems(),
)
@requires("admin")
async def create_link(request: Request, here: Here) -> dict[str, Any]:
    """It works once, and within a day. `lookalike link` prints one. For a phone of the network,
    `urls` has it whole, and `qr` draws the first of them."""
    path = await here.look(here.access.make_link)
    addresses = (
        [] if here.access.local else await here.look(lambda: list_addresses(here.access.host))
    )
    _, port = request.scope["server"]
    urls = [make_url(one, port, path) for one in addresses]
    return {"path": path, "urls": urls, "qr": draw_svg(urls[0]) if urls else None}


@router.delete("/api/v1/login", summary="Delete the page's cookie", status_code=204)
@requires("open")
async def log_out(request: Request, here: Here) -> Response:
    """Log this browser out. The cookie is refused from then on, wherever it was copied to."""
    session = here.access.read_session(request.headers)
    await here.look(lambda: here.access.end_session(session))
    response = Response(status_code=204)
    response.delete_cookie(here.access.cookie, httponly=True, samesite="strict")
    return response


@router.get("/healthz", summary="Check that the server runs", response_model=StateJson)
@requires("open")
async def get_health() -> dict[str, str]:
    """It does not look at the library."""
    return {"status": "ok"}


@router.get(
    "/readyz",
    summary="Check that the library answers",
    response_model=StateJson,
    responses=problems(),
)
@requires("open")
async def get_readiness(here: Here) -> dict[str, str]:
    """It reads one row of the catalog, and no folder, since it needs no token."""
    try:
        await here.look(here.engine.ready)
    except LookalikeError as error:  # its message names the database's host and user
        log.warning("not ready: %s", error)
        detail = "the library cannot be used now; the log of the server says why"
        raise Problem(503, detail, RETRY, code=error.code) from error
    return {"status": "ready"}


@router.get(
    "/metrics",
    summary="Get counts and times for Prometheus",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **problems()},
)
@requires("read")
async def get_metrics(here: Here) -> Response:
    """In the text format of Prometheus."""
    here.metrics.set_jobs(here.jobs.count())
    queues = {"search": here.searches, "look": here.looks, "preview": here.previews}
    here.metrics.set_queues({name: turns.held for name, turns in queues.items()})
    here.metrics.set_decode_failures(here.engine.decode_failures)
    return Response(here.metrics.to_text(), media_type="text/plain; version=0.0.4; charset=utf-8")


@router.get("/docs", include_in_schema=False)
@requires("read", within=True)
async def get_documentation(request: Request) -> HTMLResponse:
    """The OpenAPI document as a page."""
    page = docs.render(request.app.openapi())
    return HTMLResponse(page, headers={"Content-Security-Policy": docs.POLICY})
