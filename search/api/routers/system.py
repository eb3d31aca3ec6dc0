"""The server itself: status, health, metrics, log-in, documentation."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from starlette.responses import HTMLResponse, JSONResponse

from search.api import docs
from search.api.auth import SESSION_SECONDS
from search.api.deps import Here
from search.api.problems import Problem
from search.api.schemas import LoginJson, StatusJson, problems

router = APIRouter(tags=["system"])


@router.get(
    "/api/v1/status",
    summary="The library at a glance",
    response_model=StatusJson,
    responses=problems(),
)
async def status(here: Here) -> JSONResponse:
    """As `lookalike status --json`."""
    return JSONResponse((await here.look(here.engine.status)).to_json())


@router.post(
    "/api/v1/login",
    summary="Take the token, give the page's cookie",
    status_code=204,
    responses=problems(400, 413, 422),
)
async def login(given: LoginJson, request: Request, here: Here) -> Response:
    """The cookie is HttpOnly and SameSite=Strict, and ends after 30 days."""
    if here.access.token is None:
        return Response(status_code=204)  # nothing is asked for: everybody is in
    if not here.access.is_token(given.token):
        raise Problem(401, "this is not the token", code="token_wrong")
    response = Response(status_code=204)
    response.set_cookie(
        here.access.cookie,
        here.access.session(),
        max_age=SESSION_SECONDS,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return response


@router.delete("/api/v1/login", summary="Forget the page's cookie", status_code=204)
async def logout(here: Here) -> Response:
    """Log this browser out."""
    response = Response(status_code=204)
    response.delete_cookie(here.access.cookie, httponly=True, samesite="strict")
    return response


@router.get("/healthz", summary="Whether the server runs")
async def health() -> dict[str, str]:
    """Asks nothing of the library."""
    return {"status": "ok"}


@router.get("/readyz", summary="Whether the library answers", responses=problems())
async def ready(here: Here) -> dict[str, str]:
    """Reads one row of the catalog, and no folder, since anybody may ask it."""
    await here.look(here.engine.ready)
    return {"status": "ready"}


@router.get("/metrics", summary="Counts and times for Prometheus", response_class=Response)
async def metrics(here: Here) -> Response:
    """In Prometheus' text format."""
    here.metrics.working(here.jobs.count())
    return Response(here.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


@router.get("/docs", include_in_schema=False)
async def documentation(request: Request) -> HTMLResponse:
    """What this API takes and answers, to read."""
    page = docs.render(request.app.openapi())
    return HTMLResponse(page, headers={"Content-Security-Policy": docs.POLICY})
