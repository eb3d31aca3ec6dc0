"""The share target of the installed page: another app on the phone sends a picture to search by."""

from __future__ import annotations

from urllib.parse import quote

from fastapi import Request, Response
from starlette.datastructures import UploadFile
from starlette.responses import RedirectResponse

from search.api.deps import Here, require_end
from search.api.problems import Problem
from search.api.roles import grant_of, make_router, requires
from search.querying.query import normalize_url

router = make_router(include_in_schema=False)

SANDBOX = "default-src 'none'; sandbox; frame-ancestors 'none'"
MAX_TEXT = 4096  # characters of a field


@router.post("/share")
@requires("read", within=True)
async def receive_share(request: Request, here: Here) -> Response:
    """Multipart with an `image`, or with the address of one in `url` or `text`. The page is opened
    by a redirect, and takes the picture by its id."""
    complete = Request(request.scope, require_end(request))
    async with complete.form(max_files=2, max_fields=4, max_part_size=MAX_TEXT * 4) as form:
        image = form.get("image")
        if isinstance(image, UploadFile):
            data = await image.read()
            media = image.content_type or "application/octet-stream"
            owner = grant_of(request).digest
            name = await here.look(lambda: here.shares.add(data, media, owner))
            return RedirectResponse(f"/?shared={name}", 303)
        texts = [form.get(field) for field in ("url", "text", "title")]
    for text in texts:
        for word in (text[:MAX_TEXT] if isinstance(text, str) else "").split():
            if normalize_url(word) is not None:
                return RedirectResponse(f"/?q={quote(word, safe='')}", 303)
    raise Problem(400, "share a picture, or the address of one")


@router.get("/api/v1/shared/{name}")
@requires("read", within=True)
async def take_share(name: str, request: Request, here: Here) -> Response:
    """The picture of a share. It is there once, for who sent it."""
    owner = grant_of(request).digest
    picture = await here.look(lambda: here.shares.take(name, owner))
    if picture is None:
        raise Problem(404, "this picture was taken already, or is too old; share it again")
    media = picture.media if picture.media.startswith("image/") else "application/octet-stream"
    return Response(
        picture.data, headers={"Content-Type": media, "Content-Security-Policy": SANDBOX}
    )
