"""Original files of pictures, one or many in an archive; tables and contact sheets."""

from __future__ import annotations

import json
import os
from bisect import bisect_left
from collections.abc import Sequence
from typing import Any, BinaryIO, TypeVar
from urllib.parse import parse_qsl, quote

from fastapi import Request, Response

from search.api.content import (
    FILMS,
    SANDBOX,
    TYPES,
    FileResponse,
    PiecesResponse,
    cache_headers,
    find_part,
    image_content,
)
from search.api.deps import Here, parse_json, read_json
from search.api.problems import Problem, response as problem_response
from search.api.roles import make_router, requires
from search.api.routers.images import check_id
from search.api.schemas import IdsJson, TableJson, ids_body, problems
from search.errors import FieldError
from search.files import shown
from search.records.pictures import FRAME_TYPES

Ids = TypeVar("Ids", bound=IdsJson)
router = make_router(prefix="/api/v1/images", tags=["images"])

MOST_BYTES = 2**35
"""Most bytes of the files of an archive."""
ATTACHMENT = "attachment; filename=lookalike.{ending}"


@router.head("/{picture_id}/file", include_in_schema=False)
@router.get(
    "/{picture_id}/file",
    summary="Get the bytes of the original file",
    response_class=Response,
    responses={
        200: image_content(*TYPES.values()),
        206: {"description": "The part of `Range`", **image_content(*TYPES.values())},
        **problems(400, 404, 416),
    },
)
@requires("read", within=True)
async def get_file(picture_id: str, request: Request, here: Here) -> Response:
    """Only while the file is as it was indexed. `Range` asks for a part, one in a request."""
    name = check_id(picture_id)
    picture, opened = await here.look(lambda: here.engine.original(name))
    try:
        media = TYPES.get(picture.metadata.type, "application/octet-stream")
        if picture.metadata.type in FRAME_TYPES:
            media = FILMS.get(os.path.splitext(picture.path)[1].lower(), media)
        modified, size = _find_time(opened), picture.metadata.bytes
        headers, is_known = cache_headers(request, f"{picture.id}-file", media, modified)
        headers["Accept-Ranges"] = "bytes"
        filename = quote(shown(picture.path.rpartition("/")[2]), safe="")
        headers["Content-Disposition"] = f"inline; filename*=UTF-8''{filename}"
        part = find_part(request, size, headers)
        if is_known or part is None:
            opened.close()
    except BaseException:
        opened.close()
        raise
    if is_known:
        return Response(status_code=304, headers=headers)
    if part is None:
        detail = f"the file has {size} bytes, and none of them are in this range"
        return problem_response(416, detail, {"Content-Range": f"bytes */{size}"})
    if len(part) == size:
        return FileResponse(here, opened, part, headers)
    headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{size}"
    return FileResponse(here, opened, part, headers, 206)


@router.post(
    "/download",
    summary="Download the original files of pictures as a ZIP archive",
    response_class=Response,
    responses={200: image_content("application/zip"), **problems(400, 404, 413, 415, 422)},
    openapi_extra=ids_body(),
)
@requires("read", within=True)
async def download_images(request: Request, here: Here) -> Response:
    """Uncompressed, and sent while it is read. A form may send `ids` too, so that a browser saves
    the archive itself. A picture without a file that is as it was indexed is left out, and named in
    `missing.txt`."""
    ids = (await _read_body(request, IdsJson)).ids
    pictures = await here.look(lambda: here.engine.select(ids))
    total = sum(one.metadata.bytes for one in pictures if one.time is None)
    if total > MOST_BYTES:
        raise Problem(
            413, f"the files have {total} bytes, more than {MOST_BYTES}; select fewer pictures"
        )
    headers = {"Content-Type": "application/zip", "Content-Disposition": _attach("zip")}
    return PiecesResponse(here, here.engine.archive(pictures), headers)


@router.post(
    "/csv",
    summary="Download what is known of pictures as a table",
    response_class=Response,
    responses={200: image_content("text/csv"), **problems(400, 404, 413, 415, 422)},
    openapi_extra=ids_body(TableJson),
)
@requires("read", within=True)
async def tabulate_images(request: Request, here: Here) -> Response:
    """CSV in UTF-8, a row for each picture. A form may send `ids` and `scores` too."""
    body = await _read_body(request, TableJson)

    def make_table() -> bytes:
        pictures = here.engine.select(body.ids)
        return here.engine.table(pictures, match_scores(body, [one.id for one in pictures]))

    data = await here.look(make_table)
    headers = {"Content-Type": "text/csv; charset=utf-8", "Content-Disposition": _attach("csv")}
    return Response(data, headers=headers)


@router.post(
    "/sheet",
    summary="Download pictures as a contact sheet",
    response_class=Response,
    responses={200: image_content("text/html"), **problems(400, 404, 413, 415, 422)},
    openapi_extra=ids_body(TableJson),
)
@requires("read", within=True)
async def draw_contact_sheet(request: Request, here: Here) -> Response:
    """One page of HTML that holds the thumbnails, with names and scores, sent while it is written.
    A form may send `ids` and `scores` too."""
    body = await _read_body(request, TableJson)
    pictures = await here.look(lambda: here.engine.select(body.ids))
    scores = match_scores(body, [one.id for one in pictures])
    headers = {
        "Content-Type": "text/html; charset=utf-8",
        "Content-Disposition": _attach("html"),
        "Content-Security-Policy": SANDBOX,
    }
    sheet = here.engine.contact_sheet(pictures, scores, is_linked=False)
    return PiecesResponse(here, sheet, headers)


def _attach(ending: str) -> str:
    return ATTACHMENT.format(ending=ending)


def _find_time(file: BinaryIO) -> float | None:
    """Return when a file was changed, in seconds since 1970; None for an object."""
    try:
        return os.fstat(file.fileno()).st_mtime
    except OSError:
        return None


def match_scores(body: TableJson, picture_ids: Sequence[str]) -> dict[str, float | None] | None:
    """Return the scores of pictures, by their whole ids; None if none were sent."""
    if body.scores is None:
        return None
    ordered, matched = sorted(picture_ids), dict[str, float | None]()
    for start, score in zip(body.ids, body.scores, strict=True):
        place = bisect_left(ordered, start)  # an id may be the beginning of one
        if place < len(ordered):
            matched.setdefault(ordered[place], score)
    return matched


async def _read_body(request: Request, shape: type[Ids]) -> Ids:
    """Return a body: JSON, or a form whose fields `ids` have one or several each, and whose other
    fields are JSON.

    Raises Problem and FieldError.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json":
        return parse_json(shape, await read_json(request))
    if kind != "application/x-www-form-urlencoded":
        raise Problem(415, "send application/json or application/x-www-form-urlencoded")
    fields: list[tuple[str, str]] = parse_qsl((await read_json(request)).decode("ascii", "replace"))
    document: dict[str, Any] = {"ids": []}
    for name, value in fields:
        if name == "ids":
            document["ids"] += value.split()
        elif name in shape.model_fields:
            document[name] = parse_value(name, value)
    return parse_json(shape, json.dumps(document))


def parse_value(name: str, text: str) -> Any:
    """Return the JSON in a field of a form. Raises FieldError."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise FieldError([(name, "this is no JSON")]) from None
