"""`POST /api/v1/index`, and the jobs that it makes: looking, following, cancelling."""

from __future__ import annotations

import json
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
from fastapi import APIRouter, Request, Response
from starlette.responses import JSONResponse, StreamingResponse

from search.api.deps import Context, Here
from search.api.jobs import Job
from search.api.problems import Problem
from search.api.schemas import IndexJson, JobJson, JobsJson, StartedJson, problems

router = APIRouter(prefix="/api/v1", tags=["jobs"])

LOOK_SECONDS = 0.1  # between looks at a job that is followed, so at most ten events a second
BEAT_SECONDS = 15.0
MOST_FOLLOWERS = 64


def allowed(here: Context, field: str, given: str) -> tuple[Path, list[Path]]:
    """The place that a field means, without links, and the indexed roots around it.

    Raises Problem 400 for what is no absolute path, and 403 for one that is not allowed, before
    anything is told about it.
    """
    wanted = "" if "\0" in given else os.path.expanduser(given)
    if not os.path.isabs(wanted):
        said = f"{field}: give the absolute path of a folder"
        raise Problem(400, said, code="path_not_absolute")
    place = Path(os.path.realpath(wanted))
    roots = [Path(root.path) for root in here.engine.status().roots]
    folders = here.allow
    if folders is None:
        home = os.path.realpath(os.path.expanduser("~"))
        folders = [*([Path(home)] if os.path.isabs(home) else []), *roots]
    if not any(place.is_relative_to(one) for one in folders):
        said = "this folder is not allowed here; start the server with --allow DIR"
        raise Problem(403, f"{field}: {said}", code="folder_not_allowed")
    return place, [root for root in roots if place.is_relative_to(root)]


def folder(here: Context, given: str) -> tuple[str, str]:
    """The folder that is meant, and the indexed root it is in (or itself).

    Raises Problem as `allowed`, 404 for one that is not there, and 400 for what is no folder.
    """
    place, around = allowed(here, "path", given)
    there = os.path.exists(place)
    if not there and not around:
        raise Problem(404, "path: there is no such folder", code="folder_not_found")
    if there and not os.path.isdir(place):
        said = "path: it is a file; give the folder it is in"
        raise Problem(400, said, code="not_a_folder")
    return str(place), str(max(around, key=lambda root: len(str(root)), default=place))


@router.post(
    "/index",
    summary="Index a folder, in the background",
    status_code=202,
    response_model=StartedJson,
    responses=problems(400, 404, 422, 429),
)
async def index(given: IndexJson, here: Here) -> JSONResponse:
    """One job at a time for each root, and as `lookalike index PATH`."""
    place, root = await here.look(lambda: folder(here, given.path))
    job = here.jobs.start("index", place, root, lambda: here.engine.index(place))
    where = {"Location": f"/api/v1/jobs/{job.id}"}
    return JSONResponse({"job": job.id}, status_code=202, headers=where)


@router.get(
    "/jobs", summary="The jobs, the last one first", response_model=JobsJson, responses=problems()
)
async def jobs(here: Here) -> JSONResponse:
    """Those that wait and run, and the last 100 that are over."""
    return JSONResponse({"jobs": [job.to_json() for job in here.jobs.all()]})


@router.get("/jobs/{identity}", summary="A job", response_model=JobJson, responses=problems(404))
async def job(identity: str, here: Here) -> JSONResponse:
    """What is known of it now."""
    return JSONResponse(here.jobs.get(identity).to_json())


@router.delete(
    "/jobs/{identity}",
    summary="Cancel a job",
    response_model=JobJson,
    responses={202: {"description": "It ends after its batch", "model": JobJson}, **problems(404)},
)
async def cancel(identity: str, here: Here) -> JSONResponse:
    """What it has committed stays, and indexing again goes on from there."""
    job = here.jobs.cancel(identity)
    return JSONResponse(job.to_json(), status_code=200 if job.over else 202)


@router.get(
    "/jobs/{identity}/events",
    summary="Follow a job by server-sent events",
    response_class=Response,
    responses={
        200: {"content": {"text/event-stream": {}}, "description": "Events; each has the job"},
        204: {"description": "It is over, and the last event was seen"},
        **problems(404),
    },
)
async def events(identity: str, request: Request, here: Here) -> Response:
    """First where the job stands, then what changes, as `progress`, and at last `done`, `failed`
    or `cancelled`. With Last-Event-ID only what came after it."""
    job = here.jobs.get(identity)
    said = request.headers.get("last-event-id", "")
    seen = int(said) if said.isascii() and said.isdecimal() and len(said) < 18 else 0
    if job.over and seen >= job.version:
        return Response(status_code=204)  # so that a browser does not come again
    if here.followers >= MOST_FOLLOWERS:
        raise Problem(503, "too many are following jobs; try again later", retry=5)
    headers = {"X-Accel-Buffering": "no"}
    return StreamingResponse(
        _follow(job, seen, here), media_type="text/event-stream", headers=headers
    )


async def _follow(job: Job, seen: int, here: Context) -> AsyncIterator[str]:
    here.followers += 1
    try:
        yield "retry: 2000\n\n"
        beat = time.monotonic()
        while not here.stopping:
            version, over = job.version, job.over
            if version > seen:
                name = job.state if over else "progress"
                data = json.dumps(job.to_json(), ensure_ascii=False)
                yield f"id: {version}\nevent: {name}\ndata: {data}\n\n"
                seen, beat = version, time.monotonic()
            if over:
                return
            if time.monotonic() - beat >= BEAT_SECONDS:
                yield ": still here\n\n"
                beat = time.monotonic()
            await anyio.sleep(LOOK_SECONDS)
    finally:
        here.followers -= 1
