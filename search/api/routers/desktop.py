"""What the page does on the desktop of the computer that the server runs on."""

from __future__ import annotations

import os

from fastapi import Response
from starlette.responses import JSONResponse

from search.api import file_manager
from search.api.deps import Context, Here
from search.api.problems import Problem
from search.api.roles import make_router, requires
from search.api.routers.images import check_id
from search.api.schemas import DesktopJson, problems

router = make_router(prefix="/api/v1", tags=["system"])


@router.get(
    "/desktop",
    summary="Tell what the page can do on the desktop",
    response_model=DesktopJson,
    responses=problems(),
)
@requires("admin")
async def get_desktop(here: Here) -> JSONResponse:
    """Files are shown only by a server that listens on this machine alone."""
    return JSONResponse({"shows_files": _shows_files(here)})


@router.post(
    "/images/{picture_id}/reveal",
    summary="Show a picture's file in the file manager",
    status_code=204,
    responses=problems(400, 403, 404),
)
@requires("admin")
async def reveal_image(picture_id: str, here: Here) -> Response:
    """Of the computer that the server runs on, and only for its owner."""
    name = check_id(picture_id)
    if not _shows_files(here):
        raise Problem(403, "this server has no file manager to show files in", code="not_allowed")
    picture, opened = await here.look(lambda: here.engine.original(name))
    opened.close()
    if not os.path.isabs(picture.path) or not os.path.isfile(picture.path):
        raise Problem(404, "the file of this picture is not on this computer")
    if not await here.look(lambda: file_manager.show_file(picture.path)):
        raise Problem(503, "the file manager did not open", code="failed")
    return Response(status_code=204)


def _shows_files(here: Context) -> bool:
    return here.access.local and file_manager.find_command(os.sep) is not None
