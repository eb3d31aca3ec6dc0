"""What goes wrong, as `application/problem+json` (RFC 9457); exceptions become statuses here."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse

from search import errors
from search.api import request_log

MEDIA = "application/problem+json"
STATUS: dict[type[errors.LookalikeError], int] = {
    errors.FieldError: 422,
    errors.CropError: 400,
    errors.SizeError: 413,
    errors.PictureError: 415,
    errors.NotFoundError: 404,
    errors.CollectionError: 403,
    errors.NotUploadError: 403,
    errors.InputError: 400,
    errors.EmptyError: 404,
    errors.LookalikeError: 503,
}
CODES = {
    "address_not_allowed": "the host of a URL is neither on the public internet nor allowed",
    "busy": "too much is asked at once, or the library is busy; Retry-After says for how long",
    "catalog_unavailable": "the database of the catalog does not answer; it may later",
    "cluster_failed": "a Ray cluster cannot be reached, or its nodes cannot be used",
    "condition_field_unknown": "a condition or a sort names a field that there is not",
    "condition_invalid": "a condition cannot be read",
    "condition_unsupported": "a condition is one that this version or library cannot answer",
    "condition_value_invalid": "a condition has a value or operator that its field does not take",
    "crop_invalid": "a crop is not within its picture",
    "failed": "something failed that the caller did not cause",
    "fields_invalid": "the JSON or the form has wrong fields; `errors` lists them",
    "film_invalid": "a film cannot be read",
    "folder_not_allowed": "this server may not read or write that folder",
    "folder_not_found": "there is no such folder",
    "input_invalid": "something that was given cannot be used, such as a URL that does not answer",
    "internal": "an error in the server; its log has more",
    "job_not_found": "no job has this id",
    "job_running": "another job is at this folder; `job` is its id",
    "json_invalid": "the body is not JSON",
    "keep_rule_invalid": "there is no such rule for which of several duplicates is kept",
    "library_empty": "the library has no pictures yet",
    "library_locked": "another process is writing to the library",
    "library_unusable": "the library's folder or its database cannot be used",
    "mask_invalid": "the mask is of another size than its picture, or all black or all white",
    "method_not_allowed": "the address does not take this method",
    "device_memory": "the device of the model has too little memory",
    "model_unavailable": "a model is unknown, cannot be loaded, or is not the library's",
    "generator_unknown": "there is no such generator of variants",
    "no_neighbours": "the library has no picture that variants could start from",
    "not_a_folder": "the path is a file; give the folder that it is in",
    "not_a_picture": "the bytes are not a picture, or a broken one",
    "not_an_upload": "the picture is a file of the user's and no upload",
    "not_allowed": "the request comes from another site, or under a name that is not this server's",
    "not_found": "no picture, tag or album has this id or name, or its file is gone",
    "path_not_absolute": "the path of a folder must be absolute, or begin with `~`",
    "picture_too_large": "the picture has more pixels or bytes than the limits allow",
    "query_invalid": "the query cannot be answered as it stands",
    "request_invalid": "the request is wrong",
    "robots_denied": "the robots.txt of a site forbids reading it",
    "role_missing": "the token may not do this, by its role or its collections",
    "route_not_found": "this version has no such address",
    "server_lost": "the server that ran the job ended, or lost the catalog; only jobs have it",
    "source_denied": "object storage or a web site denies access",
    "source_missing": "a bucket, an object or a page is not there",
    "source_unavailable": "object storage or a web site gives no answer, or a wrong one",
    "stopping": "the server is stopping",
    "storage_failed": "the disk is full, or refuses to write",
    "store_unavailable": "the vector store does not answer, or refuses; searches try it again",
    "timeout": "the request took too long",
    "token_missing": "the request has no valid token",
    "token_wrong": "this is not the server's token",
    "too_large": "the request has too many bytes or files",
    "too_many_attempts": "too many wrong tokens; wait for a minute",
    "too_many_jobs": "too many jobs are waiting",
    "unsupported_media_type": "send multipart/form-data or application/json",
    "upload_broken": "the form of the upload is cut off or broken",
    "variant_expired": "the variant is deleted; variants are kept for an hour",
}
"""What each code means. Codes never change their meaning; new ones may come."""

STATUS_CODES = {
    "address_not_allowed": "the host of a URL is neither on the public internet nor allowed",
    400: "request_invalid",
    401: "token_missing",
    403: "not_allowed",
    404: "not_found",
    405: "method_not_allowed",
    408: "timeout",
    413: "too_large",
    415: "unsupported_media_type",
    416: "request_invalid",
    422: "fields_invalid",
    429: "busy",
    500: "internal",
    503: "busy",
}
"""The code of a problem that names none, by its status."""

MAX_FIELDS, MAX_FIELD, MAX_MESSAGE = 10, 100, 200  # of a 422: fields, and characters of each
MAX_DETAIL = 1000  # characters
log = logging.getLogger(__name__)
RETRY = 5  # seconds after which a busy library may be free


class Problem(HTTPException):
    """A refusal with its status, also while FastAPI reads a body, where it takes all errors but
    these for bad JSON. code: one of `CODES`, by default that of the status; retry: seconds after
    which another try makes sense; more: further members of the document."""

    def __init__(
        self,
        status: int,
        detail: str,
        retry: int | None = None,
        more: dict[str, Any] | None = None,
        *,
        code: str | None = None,
    ) -> None:
        super().__init__(status, detail)
        self.status, self.retry, self.more = status, retry, more or {}
        self.code = code or STATUS_CODES[status]


def clean(text: str) -> str:
    """Text that any encoder takes: JSON and file names may hold halves of characters."""
    return text.encode("utf-8", "backslashreplace").decode()


def _shorten(text: str, most: int) -> str:
    """Shorten a text that may repeat what a client sent, so that no answer is a multiple of it."""
    return clean(text if len(text) <= most else f"{text[:most]}...")


def response(
    status: int,
    detail: str,
    headers: Mapping[str, str] | None = None,
    more: Mapping[str, Any] | None = None,
    code: str | None = None,
) -> JSONResponse:
    """A problem document; its title is the status's own phrase. code: by default the status's."""
    phrases = {s.value: s.phrase for s in HTTPStatus}
    document: dict[str, Any] = {
        "type": "about:blank",
        "title": phrases.get(status, "Error"),
        "status": status,
        "code": code or STATUS_CODES.get(status, "request_invalid" if status < 500 else "internal"),
        "detail": _shorten(detail, MAX_DETAIL),
        **(more or {}),
    }
    return JSONResponse(document, status, dict(headers or {}), MEDIA)


def of(problem: Problem) -> JSONResponse:
    """The response that a Problem is."""
    headers = {} if problem.retry is None else {"Retry-After": str(problem.retry)}
    if problem.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return response(problem.status, problem.detail, headers, problem.more, problem.code)


def _fields(fields: Sequence[tuple[str, str]]) -> JSONResponse:
    cut = [
        (_shorten(where, MAX_FIELD), _shorten(what, MAX_MESSAGE))
        for where, what in fields[:MAX_FIELDS]
    ]
    detail = "; ".join(f"{where}: {what}" for where, what in cut)
    if len(fields) > len(cut):
        detail = f"{len(fields)} fields are wrong; the first: {detail}"
    listed = [{"field": where, "message": what} for where, what in cut]
    return response(422, detail, more={"errors": listed})


def of_library(error: errors.LookalikeError) -> JSONResponse:
    """The response that an error of the library is."""
    if isinstance(error, errors.FieldError):
        return _fields(error.fields)
    status = next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)
    retry = {"Retry-After": str(RETRY)} if status == 503 else None
    if error.public is not None:
        log.warning("%s", error)
    return response(status, error.public or str(error), retry, code=error.code)


def install(app: FastAPI, headers: Mapping[str, str]) -> None:
    """Make every error of an app a problem document, and none a stack trace. headers: of what no
    middleware sees."""

    @app.exception_handler(Problem)
    async def problem(_: Request, error: Problem) -> JSONResponse:
        return of(error)

    @app.exception_handler(errors.LookalikeError)
    async def library(_: Request, error: errors.LookalikeError) -> JSONResponse:
        return of_library(error)

    @app.exception_handler(RequestValidationError)
    async def fields(_: Request, error: RequestValidationError) -> JSONResponse:
        errors = error.errors()
        if any(one["type"] == "json_invalid" for one in errors):
            return response(400, "the body is no JSON", code="json_invalid")
        return _fields([(".".join(map(str, one["loc"][1:])), one["msg"]) for one in errors])

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> JSONResponse:
        detail, code = str(error.detail), None
        if error.status_code == 404 and not isinstance(error, Problem):  # of no route
            detail = f"{request.url.path} is no address of this version; /docs lists those it has"
            code = "route_not_found"
        return response(error.status_code, detail, error.headers, code=code)

    @app.exception_handler(ClientDisconnect)
    async def gone(_: Request, error: ClientDisconnect) -> JSONResponse:
        # for the log: nobody reads it
        return response(400, "the request was cut off", code="upload_broken")

    @app.exception_handler(Exception)
    async def unforeseen(_: Request, error: Exception) -> JSONResponse:
        # this answer passes by all middleware
        named = {**headers, request_log.HEADER: request_log.current_id.get() or ""}
        return response(500, "something went wrong here; the server's log has more", named)
