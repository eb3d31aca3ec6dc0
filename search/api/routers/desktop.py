"""What the page does on the desktop of the computer that the server runs on."""

from __future__ import annotations

import os
from pathlib import Path

from fastapi import Response
from starlette.responses import JSONResponse

from search.api import file_manager
from search.api.deps import Context, Here
from search.api.problems import Problem
from search.api.roles import make_router, requires
from search.api.routers.images import check_id
from search.api.routers.index import parse_path
from search.api.schemas import DesktopJson, FilePathJson, problems

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
    _check_desktop(here)
    picture, opened = await here.look(lambda: here.engine.original(name))
    opened.close()
    if not os.path.isabs(picture.path) or not os.path.isfile(picture.path):
        raise Problem(404, "the file of this picture is not on this computer")
    await here.look(lambda: _show(picture.path))
    return Response(status_code=204)


@router.post(
    "/folders/reveal",
    summary="Show a file of an indexed folder in the file manager",
    status_code=204,
    responses=problems(400, 403, 404, 422),
)
@requires("admin")
async def reveal_file(body: FilePathJson, here: Here) -> Response:
    """Also one that is not indexed, as `GET /folders/left-out` lists it. Only for the owner."""
    _check_desktop(here)
    await here.look(lambda: _show(_find_file(here, body.path)))
    return Response(status_code=204)


def _check_desktop(here: Context) -> None:
    """Raises Problem 403 for a server that shows no files."""
    if not _shows_files(here):
        raise Problem(403, "this server has no file manager to show files in", code="not_allowed")


def _find_file(here: Context, value: str) -> str:
    """Return the path of a file below an indexed folder, without links.

    Raises Problem 400 for a path that is not absolute, 403 for one that is not below an indexed
    folder, whether or not it is there, and 404 for one that is no file.
    """
    path = parse_path("path", value, "file")
    roots = [root.path for root in here.engine.status().roots if "://" not in root.path]
    if not any(Path(path).is_relative_to(root) for root in roots):
        reason = "path: this file is in no indexed folder; index the folder first"
        raise Problem(403, reason, code="folder_not_allowed")
    if not os.path.isfile(path):
        raise Problem(404, "path: there is no such file on this computer")
    return path


def _show(path: str) -> None:
    if not file_manager.show_file(path):
        raise Problem(503, "the file manager did not open", code="failed")


def _shows_files(here: Context) -> bool:
    return here.access.local and file_manager.find_command(os.sep) is not None
