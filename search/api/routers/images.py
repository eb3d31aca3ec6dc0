"""`/api/v1/images`: pictures to keep, what is known of pictures, and their files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, BinaryIO
from urllib.parse import quote

from fastapi import APIRouter, Query, Request, Response
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from search.api.deps import Context, Here, parsed, read
from search.api.problems import Problem
from search.api.schemas import AddressJson, ImageJson, PageJson, problems, upload
from search.errors import FieldError
from search.querying.query import is_address
from search.records import Picture, shown

router = APIRouter(prefix="/api/v1/images", tags=["images"])

TYPES = {"heif": "image/heif", "avif": "image/avif", "tiff": "image/tiff", "bmp": "image/bmp"} | {
    name: f"image/{name}" for name in ("jpeg", "png", "webp", "gif")
}
SANDBOX = "default-src 'none'; sandbox; frame-ancestors 'none'"
CHUNK = 2**18
MOST_PAGES = 10**6


class FileResponse(Response):
    """An open file, sent piece by piece, and closed whatever happens."""

    def __init__(self, here: Context, file: BinaryIO, size: int, headers: dict[str, str]) -> None:
        super().__init__(headers={**headers, "Content-Length": str(size)})
        self._here, self._file, self._left = here, file, size

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            head = {"status": self.status_code, "headers": self.raw_headers}
            await send({"type": "http.response.start", **head})
            while self._left:
                size = min(CHUNK, self._left)
                data = await self._here.look(lambda size=size: self._file.read(size))  # type: ignore[misc]
                if not data:
                    break  # cut short since: the connection ends before the length that was said
                self._left -= len(data)
                await send({"type": "http.response.body", "body": data, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            self._file.close()


def _id(identity: str) -> str:
    """An id, or the beginning of one, as a path has it. Raises Problem 404 for anything else."""
    if not 6 <= len(identity) <= 64 or set(identity) - set("0123456789abcdef"):
        raise Problem(404, "an id has 64 hexadecimal digits, of which the first 6 or more may do")
    return identity


def _headers(request: Request, tag: str, media: str) -> tuple[dict[str, str], bool]:
    """Headers of a picture's bytes, and whether the browser has them already. tag: names the
    bytes."""
    tag = f'"{tag}"'
    headers = {
        "Content-Type": media,
        "Content-Security-Policy": SANDBOX,
        "Cache-Control": "private, max-age=3600",
        "ETag": tag,
    }
    return headers, tag in request.headers.get("if-none-match", "")


@router.post(
    "",
    summary="Keep a picture in the library's own folder, searchable at once",
    status_code=201,
    response_model=ImageJson,
    responses=problems(400, 408, 413, 415, 422),
    openapi_extra=upload("The picture, one of them.", AddressJson),
)
async def keep(request: Request, here: Here) -> JSONResponse:
    """Multipart with one `image`, or JSON with its `url`. One that is kept already stays as it
    is."""
    async with here.searches.admit():
        image = await _read_image(request)
        picture = await here.searches.run(lambda: here.engine.keep(image))
    where = {"Location": f"/api/v1/images/{picture.id}"}
    return JSONResponse(picture.to_json(), status_code=201, headers=where)


@router.post(
    "/preview",
    summary="A JPEG that any browser shows, of a picture that is not in the library",
    response_class=Response,
    responses={200: {"content": {"image/jpeg": {}}}, **problems(400, 408, 413, 415, 422)},
    openapi_extra=upload("The picture, one of them.", AddressJson),
)
async def show(request: Request, here: Here) -> Response:
    """Multipart with one `image`, or JSON with its `url`; long side at most 1600, upright."""
    async with here.previews.admit():
        image = await _read_image(request)
        data = await here.previews.run(lambda: here.engine.preview(image))
    headers = {"Content-Type": "image/jpeg", "Content-Security-Policy": SANDBOX}
    return Response(data, headers=headers)


@router.get(
    "",
    summary="Some of the library's pictures, the last that came first",
    response_model=PageJson,
    responses=problems(400, 422),
)
async def page(
    here: Here,
    page: Annotated[int, Query(ge=1, le=MOST_PAGES)] = 1,
    where: Annotated[list[str] | None, Query(description="Not in this version.")] = None,
) -> JSONResponse:
    """100 on a page; a page behind the last is empty."""
    if where and any(where):
        raise Problem(400, "where is not part of this version; leave it out")
    return JSONResponse((await here.look(lambda: here.engine.pictures(page))).to_json())


@router.get(
    "/{identity}",
    summary="What is known of a picture",
    response_model=ImageJson,
    responses=problems(400, 404),
)
async def image(identity: str, here: Here) -> JSONResponse:
    """By its id, or the beginning of it."""
    return JSONResponse((await _picture(here, identity)).to_json())


@router.get(
    "/{identity}/thumbnail",
    summary="A WebP, long side at most 256",
    response_class=Response,
    responses={200: {"content": {"image/webp": {}}}, **problems(400, 404)},
)
async def thumbnail(identity: str, request: Request, here: Here) -> Response:
    """Made again where it is missing."""
    make = here.engine.thumbnail
    return await _made(request, here, identity, "thumbnail", "image/webp", make)


@router.get(
    "/{identity}/preview",
    summary="A JPEG that any browser shows, long side at most 1600",
    response_class=Response,
    responses={200: {"content": {"image/jpeg": {}}}, **problems(400, 404, 415)},
)
async def preview(identity: str, request: Request, here: Here) -> Response:
    """Upright, without the metadata of the original."""
    make = here.engine.preview
    return await _made(request, here, identity, "preview", "image/jpeg", make)


@router.get(
    "/{identity}/file",
    summary="The original's bytes",
    response_class=Response,
    responses={200: {"content": {media: {} for media in TYPES.values()}}, **problems(400, 404)},
)
async def file(identity: str, request: Request, here: Here) -> Response:
    """Only where it is as it was indexed."""
    name = _id(identity)
    picture, opened = await here.look(lambda: here.engine.original(name))
    media = TYPES.get(picture.facts.type, "application/octet-stream")
    headers, known = _headers(request, f"{picture.id}-file", media)
    if known:
        opened.close()
        return Response(status_code=304, headers=headers)
    called = quote(shown(picture.path.rpartition("/")[2]), safe="")
    headers["Content-Disposition"] = f"inline; filename*=UTF-8''{called}"
    return FileResponse(here, opened, picture.facts.bytes, headers)


async def _read_image(request: Request) -> bytes | str:
    """The bytes of the picture that a request brings, or its URL. Raises FieldError."""
    body = await read(request, 1, None)
    if body.files:
        return body.files[0]
    if body.json is None:
        raise FieldError([("image", "is missing")])
    url = parsed(AddressJson, body.json).url
    if not is_address(url):
        raise FieldError([("url", "give an address that begins with http:// or https://")])
    return url


async def _picture(here: Context, identity: str) -> Picture:
    name = _id(identity)
    return await here.look(lambda: here.engine.picture(name))


async def _made(
    request: Request,
    here: Context,
    identity: str,
    kind: str,
    media: str,
    make: Callable[[str], bytes],
) -> Response:
    """Bytes that are made of a picture. Under another decode rule they are others, with another
    tag."""
    picture = await _picture(here, identity)
    headers, known = _headers(request, f"{picture.id}-{kind}-{picture.decode_rule}", media)
    if known:
        return Response(status_code=304, headers=headers)
    turns = here.previews if kind == "preview" else here.looks
    async with turns.admit():
        data: Any = await turns.run(lambda: make(picture.id))
    return Response(data, headers=headers)
