"""`/api/v1/folders`: the folders that may be indexed, what was left out of them, and their
settings."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from fastapi import Query, Response
from starlette.responses import JSONResponse

from search.api.deps import Context, Here
from search.api.problems import Problem
from search.api.roles import make_router, requires
from search.api.routers.index import resolve_path
from search.api.schemas import (
    AllowedJson,
    FolderJson,
    FolderOptionsJson,
    FolderPathJson,
    LeftOutJson,
    problems,
)
from search.engine import Engine
from search.files import find_shown, shown
from search.records.status import RootStatus

router = make_router(prefix="/api/v1/folders", tags=["folders"])

MAX_FOLDERS = 1000  # subfolders in an answer
MAX_FILES = 1000  # files in an answer
look_at_folder = Engine.look_at_folder
PathQuery = Annotated[str, Query(max_length=4096)]


@router.get(
    "",
    summary="List the subfolders of a folder that may be indexed",
    response_model=FolderJson,
    responses=problems(400, 404),
)
@requires("write", within=True)
async def list_folders(here: Here, path: PathQuery = "") -> JSONResponse:
    """With the number of pictures directly in each, which is counted up to 1,000 (`has_more`).
    Without a path: the folders that may be indexed. Links to folders are not followed."""
    return JSONResponse(await here.look(lambda: _list(here, path)))


@router.post(
    "/allow",
    summary="Allow a folder until the server ends",
    response_model=AllowedJson,
    responses=problems(400, 404, 422),
)
@requires("admin")
async def allow_folder(body: FolderPathJson, here: Here) -> JSONResponse:
    """As `--allow` at its start. Only the owner may, with a token, and on a server of this machine
    alone."""
    return JSONResponse({"path": await here.look(lambda: _allow(here, body.path))})


@router.patch(
    "",
    summary="Change when a folder is synced by itself",
    status_code=204,
    responses=problems(404, 422),
)
@requires("write", within=True)
async def change_folder(body: FolderOptionsJson, here: Here) -> Response:
    """`sync_hours`: every so many hours, 0 for never, null as it changes."""
    root = await here.look(lambda: _find_root(here, body.path))
    await here.look(lambda: here.engine.set_schedule(root.path, body.sync_hours))
    return Response(status_code=204)


@router.delete(
    "",
    summary="Take a folder out of the library",
    status_code=204,
    responses=problems(404, 429),
)
@requires("write", within=True)
async def forget_folder(path: PathQuery, here: Here) -> Response:
    """As `lookalike forget`. The files of the folder stay as they are."""
    root = await here.look(lambda: _find_root(here, path))
    await here.look(partial(_forget, here, root.path))
    return Response(status_code=204)


@router.get(
    "/left-out",
    summary="List the files of a folder that cannot be found by search",
    response_model=LeftOutJson,
    responses=problems(404),
)
@requires("write", within=True)
async def list_left_out(here: Here, path: PathQuery) -> JSONResponse:
    """`skipped`: pictures that could not be read, by the last sync. `left_out`: files of other
    kinds, as the folder is now. 1,000 of each at most (`has_more`)."""
    root = await here.look(lambda: _find_root(here, path))
    left = await here.look(lambda: here.engine.left_out(root.path, MAX_FILES))
    return JSONResponse(left.to_json())


def _list(here: Context, path: str) -> dict[str, Any]:
    """Answer `list_folders`. Raises Problem as `resolve_path`, and 404 for no folder."""
    roots = {root.path for root in here.engine.status().roots}
    if not path:
        places = [one for one in here.allowed() if here.engine.is_within(one) and "://" not in one]
        listed = [_describe(Path(one), roots) for one in dict.fromkeys(places)]
        folders = [one | {"name": one["path"]} for one in listed if one is not None]
        return {"path": "", "parent": None, "pictures": 0, "folders": folders, "has_more": False}
    place, _ = resolve_path(here, "path", path)
    described = _describe(place, roots)
    if described is None:
        raise Problem(404, "path: there is no such folder", code="folder_not_found")
    names = _list_names(place)
    entries = (_describe(place / name, roots) for name in names[:MAX_FOLDERS])
    parent = "" if str(place) in here.allowed() else shown(str(place.parent))
    return {
        "path": described["path"],
        "parent": parent,
        "pictures": described["pictures"],
        "folders": [one for one in entries if one is not None],
        "has_more": len(names) > MAX_FOLDERS,
    }


def _list_names(place: Path) -> list[str]:
    """Return the names of the subfolders of a folder, hidden ones last. Raises Problem 404 if it
    cannot be listed."""
    try:
        with os.scandir(place) as entries:
            names = [one.name for one in entries if one.is_dir(follow_symlinks=False)]
    except OSError as error:
        reason = f"path: the folder cannot be listed: {error.strerror}"
        raise Problem(404, reason, code="folder_not_found") from error
    return sorted(names, key=lambda name: (name.startswith("."), name.casefold()))


def _describe(place: Path, roots: set[str]) -> dict[str, Any] | None:
    """Return a folder as `FolderEntryJson` has it, or None if it is not there."""
    glance = look_at_folder(place)
    if glance is None:
        return None
    path = str(place)
    return {
        "name": shown(place.name or path),
        "path": shown(path),
        **glance._asdict(),
        "is_hidden": place.name.startswith("."),
        "is_indexed": path in roots or any(place.is_relative_to(root) for root in roots),
    }


def _allow(here: Context, path: str) -> str:
    """Allow a folder or a web site; return its path without links, or its URL. Raises Problem."""
    if not here.access.local or here.access.token is None:
        reason = (
            "only the owner allows folders, by a token, on a server of this machine alone; start "
            "the server with --allow DIR"
        )
        raise Problem(403, reason, code="not_allowed")
    if here.engine.is_site(path):
        site = here.engine.resolve_place(path)
        if site not in here.added:
            here.added.append(site)
        return site
    place = "" if "\0" in path else os.path.expanduser(path)
    if not os.path.isabs(place):
        reason = "path: give the absolute path of a folder"
        raise Problem(400, reason, code="path_not_absolute")
    place = os.path.realpath(find_shown(place))
    if not os.path.isdir(place):
        raise Problem(404, "path: there is no such folder", code="folder_not_found")
    if place not in here.added:
        here.added.append(place)
    return shown(place)


def _find_root(here: Context, path: str) -> RootStatus:
    """Return the indexed folder with this path. Raises Problem 404."""
    for root in here.engine.status().roots:
        if path in (root.path, shown(root.path)):
            return root
    raise Problem(404, "path: this folder is not indexed", code="folder_not_found")


def _forget(here: Context, path: str) -> None:
    """Forget an indexed folder, unless an index job runs. Raises Problem 429, LookalikeError."""
    for job in here.jobs.all():
        if job.kind == "index" and not job.over:
            reason = f"job {job.id} is indexing; wait for it, or cancel it"
            raise Problem(429, reason, retry=5, more={"job": job.id}, code="job_running")
    here.engine.forget(path)
