"""What goes wrong, as `application/problem+json` (RFC 9457); exceptions become statuses here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse

from search import errors

MEDIA = "application/problem+json"
STATUS: dict[type[errors.LookalikeError], int] = {
    errors.FieldError: 422,
    errors.CropError: 400,
    errors.SizeError: 413,
    errors.PictureError: 415,
    errors.NotFoundError: 404,
    errors.InputError: 400,
    errors.EmptyError: 404,
    errors.LookalikeError: 503,
}
RETRY = 5  # seconds after which a busy library may be free


class Problem(HTTPException):
    """A refusal with its status, also while FastAPI reads a body, where it takes all errors but
    these for bad JSON. retry: seconds after which another try makes sense; more: further members
    of the document."""

    def __init__(
        self, status: int, detail: str, retry: int | None = None, more: dict[str, Any] | None = None
    ) -> None:
        super().__init__(status, detail)
        self.status, self.retry, self.more = status, retry, more or {}


def clean(text: str) -> str:
    """Text that any encoder takes: JSON and file names may hold halves of characters."""
    return text.encode("utf-8", "backslashreplace").decode()


def response(
    status: int,
    detail: str,
    headers: Mapping[str, str] | None = None,
    more: Mapping[str, Any] | None = None,
) -> JSONResponse:
    """A problem document; its title is the status's own phrase."""
    detail = clean(detail)
    phrases = {s.value: s.phrase for s in HTTPStatus}
    said = {"type": "about:blank", "title": phrases.get(status, "Error"), "status": status}
    return JSONResponse(
        {**said, "detail": detail, **(more or {})}, status, dict(headers or {}), MEDIA
    )


def of(problem: Problem) -> JSONResponse:
    """The response that a Problem is."""
    headers = {} if problem.retry is None else {"Retry-After": str(problem.retry)}
    if problem.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return response(problem.status, problem.detail, headers, problem.more)


def _fields(fields: Sequence[tuple[str, str]]) -> JSONResponse:
    listed = [{"field": clean(where)[:200], "message": clean(what)} for where, what in fields]
    detail = "; ".join(f"{where}: {what}" for where, what in fields)[:2000]
    return response(422, detail, more={"errors": listed})


def _library(error: errors.LookalikeError) -> JSONResponse:
    if isinstance(error, errors.FieldError):
        return _fields(error.fields)
    status = next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)
    retry = {"Retry-After": str(RETRY)} if status == 503 else None
    return response(status, str(error), retry)


def install(app: FastAPI, headers: Mapping[str, str]) -> None:
    """Make every error of an app a problem document, and none a stack trace. headers: of what no
    middleware sees."""

    @app.exception_handler(Problem)
    async def problem(_: Request, error: Problem) -> JSONResponse:
        return of(error)

    @app.exception_handler(errors.LookalikeError)
    async def library(_: Request, error: errors.LookalikeError) -> JSONResponse:
        return _library(error)

    @app.exception_handler(RequestValidationError)
    async def fields(_: Request, error: RequestValidationError) -> JSONResponse:
        said = error.errors()
        if any(one["type"] == "json_invalid" for one in said):
            return response(400, "the body is no JSON")
        return _fields([(".".join(map(str, one["loc"][1:])), one["msg"]) for one in said])

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> JSONResponse:
        detail = str(error.detail)
        if error.status_code == 404 and not isinstance(error, Problem):  # of no route
            detail = f"{request.url.path} is no address of this version; /docs lists those it has"
        return response(error.status_code, detail, error.headers)

    @app.exception_handler(ClientDisconnect)
    async def gone(_: Request, error: ClientDisconnect) -> JSONResponse:
        return response(400, "the request was cut off")  # for the log: nobody reads it

    @app.exception_handler(Exception)
    async def unforeseen(_: Request, error: Exception) -> JSONResponse:
        return response(500, "something went wrong here; the server's log has more", headers)
