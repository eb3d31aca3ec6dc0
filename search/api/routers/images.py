"""`/api/v1/images`: uploading pictures, describing them, and their files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Query, Request, Response
from starlette.responses import JSONResponse

from search.api.content import SANDBOX, cache_headers, image_content
from search.api.deps import Context, Here, parse_json, read_body
from search.api.problems import Problem
from search.api.roles import make_router, requires
from search.api.schemas import (
    AddressJson,
    ImageJson,
    KeptOptionsJson,
    PageJson,
    SourcesJson,
    Where,
    multipart,
    problems,
)
from search.errors import FieldError
from search.querying.query import normalize_url
from search.records.annotations import MOST_TAG
from search.records.pictures import Picture

router = make_router(prefix="/api/v1/images", tags=["images"])

MAX_PAGES = 10**6
MAX_CURSOR = 8192  # characters; the cursor after a path of 4,096 bytes has some 5,500


def check_id(picture_id: str) -> str:
    """Return an id or the beginning of one. Raises Problem 404 for anything else."""
    if not 6 <= len(picture_id) <= 64 or set(picture_id) - set("0123456789abcdef"):
        raise Problem(404, "an id has 64 hexadecimal digits, of which the first 6 or more may do")
    return picture_id


@router.post(
    "",
    summary="Keep a picture in the library's own folder, searchable at once",
    status_code=201,
    response_model=ImageJson,
    responses={
        200: {"description": "The library has the picture already", "model": ImageJson},
        **problems(400, 408, 413, 415, 422),
    },
    openapi_extra=multipart("The picture, one of them.", KeptOptionsJson, "options"),
)
@requires("write", within=True)
async def keep_image(request: Request, here: Here) -> JSONResponse:
    """Multipart with one `image` and perhaps `options` (JSON), or JSON with its `url`. Its file
    keeps its name. A picture that is in the library already is not stored twice."""
    body = await read_body(request, 1, "options")
    options = parse_json(KeptOptionsJson, body.json or "{}")
    if body.files and options.url is not None:
        raise FieldError([("url", "is there beside a file; leave one of them out")])
    if not body.files and options.url is None:
        raise FieldError([("image" if body.json is None else "url", "is missing")])
    image = body.files[0] if body.files else _read_url(options.url or "")
    name = options.name or next(iter(body.names), "") or None
    async with here.searches.admit():
        picture = await here.searches.run(lambda: here.engine.keep(image, name, options.source))
    where = {"Location": f"/api/v1/images/{picture.id}"}
    status = 201 if picture.is_new else 200
    return JSONResponse(picture.to_json(), status_code=status, headers=where)


@router.post(
    "/preview",
    summary="Convert a picture to a JPEG that any browser shows",
    response_class=Response,
    responses={200: image_content("image/jpeg"), **problems(400, 408, 413, 415, 422)},
    openapi_extra=multipart("The picture, one of them.", AddressJson),
)
@requires("read", within=True)
async def preview_image(request: Request, here: Here) -> Response:
    """Multipart with one `image`, or JSON with its `url`; long side at most 1600, upright."""
    image = await _read_image(request)
    async with here.previews.admit():
        data = await here.previews.run(lambda: here.engine.preview(image))
    headers = {"Content-Type": "image/jpeg", "Content-Security-Policy": SANDBOX}
    return Response(data, headers=headers)


@router.get(
    "",
    summary="List the library's pictures",
    response_model=PageJson,
    responses=problems(400, 422),
)
@requires("read", within=True)
async def list_images(
    here: Here,
    page: Annotated[int, Query(ge=1, le=MAX_PAGES)] = 1,
    where: Where = [],  # noqa: B006
    sort: Annotated[str | None, Query(max_length=100)] = None,
    cursor: Annotated[str | None, Query(max_length=MAX_CURSOR)] = None,
    hidden: Annotated[bool, Query(description="List the hidden pictures instead.")] = False,
    album: Annotated[str | None, Query(max_length=MOST_TAG, description="Id or name.")] = None,
) -> JSONResponse:
    """100 on a page; a page behind the last is empty. Newest first without `sort`; of an album in
    the order in which its pictures were added. `next` of an answer is the cursor of the page after
    it, which takes as long for any page."""
    listed = await here.look(
        lambda: here.engine.browse(where, sort, page, cursor=cursor, hidden=hidden, album=album)
    )
    return JSONResponse(listed.to_json())


@router.get(
    "/{picture_id}",
    summary="Describe a picture",
    response_model=ImageJson,
    responses=problems(400, 404),
)
@requires("read", within=True)
async def get_image(picture_id: str, here: Here) -> JSONResponse:
    """By its id, or the beginning of it."""
    return JSONResponse((await _picture(here, picture_id)).to_json())


@router.get(
    "/{picture_id}/sources",
    summary="Tell where a picture comes from",
    response_model=SourcesJson,
    responses=problems(400, 404),
)
@requires("read", within=True)
async def get_sources(picture_id: str, here: Here) -> JSONResponse:
    """Its files, the pages that show it, where it was downloaded from, credits in it, and public
    search engines. Nothing is sent to these; `engines` has the addresses that a person may open."""
    name = check_id(picture_id)
    sources = await here.look(lambda: here.engine.sources(name))
    return JSONResponse(sources.to_json())


@router.delete(
    "/{picture_id}",
    summary="Move an upload to the system's bin",
    status_code=204,
    responses=problems(400, 403, 404),
)
@requires("write", within=True)
async def delete_image(picture_id: str, here: Here) -> Response:
    """Only a picture that was kept here. See `POST /images/remove` for files of the user's own."""
    name = check_id(picture_id)
    await here.look(lambda: here.engine.delete(name))
    return Response(status_code=204)


@router.head("/{picture_id}/thumbnail", include_in_schema=False)
@router.get(
    "/{picture_id}/thumbnail",
    summary="Get a picture as a WebP, long side at most 256",
    response_class=Response,
    responses={200: image_content("image/webp"), **problems(400, 404)},
)
@requires("read", within=True)
async def get_thumbnail(picture_id: str, request: Request, here: Here) -> Response:
    """It is made again if it is missing."""
    make = here.engine.thumbnail
    return await _answer_bytes(request, here, picture_id, "thumbnail", "image/webp", make)


@router.head("/{picture_id}/preview", include_in_schema=False)
@router.get(
    "/{picture_id}/preview",
    summary="Get a picture as a JPEG, long side at most 1600",
    response_class=Response,
    responses={200: image_content("image/jpeg"), **problems(400, 404, 415)},
)
@requires("read", within=True)
async def get_preview(picture_id: str, request: Request, here: Here) -> Response:
    """Upright, without the metadata of the original."""
    make = here.engine.preview
    return await _answer_bytes(request, here, picture_id, "preview", "image/jpeg", make)


async def _read_image(request: Request) -> bytes | str:
    """Return the picture in a request: its bytes, or its URL. Raises FieldError."""
    body = await read_body(request, 1, None)
    if body.files:
        return body.files[0]
    if body.json is None:
        raise FieldError([("image", "is missing")])
    return _read_url(parse_json(AddressJson, body.json).url)


def _read_url(text: str) -> str:
    """Return the URL of a picture. Raises FieldError for anything else."""
    url = normalize_url(text)
    if url is None:
        raise FieldError([("url", "give an address that begins with http:// or https://")])
    return url


async def _picture(here: Context, picture_id: str) -> Picture:
    name = check_id(picture_id)
    return await here.look(lambda: here.engine.picture(name))


async def _answer_bytes(
    request: Request,
    here: Context,
    picture_id: str,
    kind: str,
    media: str,
    make: Callable[[str], bytes],
) -> Response:
    """Answer with bytes that are made from a picture, such as its thumbnail.

    Their tag names the decode rule, since another rule gives other bytes.
    """
    picture = await _picture(here, picture_id)
    headers, known = cache_headers(request, f"{picture.id}-{kind}-{picture.decode_rule}", media)
    if known:
        return Response(status_code=304, headers=headers)
    turns = here.previews if kind == "preview" else here.looks
    async with turns.admit():
        data: Any = await turns.run(lambda: make(picture.id))
    return Response(data, headers=headers)
