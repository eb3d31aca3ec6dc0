"""`POST /api/v1/index`, and jobs: listing, following, cancelling them."""

from __future__ import annotations

import json
import os
import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import anyio
from fastapi import Request, Response
from starlette.responses import JSONResponse, StreamingResponse
from starlette.types import Receive, Scope, Send

from search.api.auth import Grant
from search.api.deps import Context, Here
from search.api.jobs import Job, no_such_job
from search.api.problems import Problem
from search.api.roles import Needs, make_router, requires
from search.api.schemas import IndexJson, JobJson, JobsJson, StartedJson, problems
from search.errors import LookalikeError
from search.files import find_shown, shown
from search.records.jobs import JobRecord

router = make_router(prefix="/api/v1", tags=["jobs"])

POLL_SECONDS = 0.1  # between two looks at a job, so at most ten events a second
REMOTE_POLL_SECONDS = 0.5  # the same for a job of another server
BEAT_SECONDS = 15.0
CHECK_SECONDS = 1.0  # between two looks at the token of a user who follows a job
MAX_FOLLOWERS = 64
CANCELLING = Needs("write", within=True)  # a job that another token started


def parse_path(field: str, value: str, kind: str = "folder") -> str:
    """Return the path of a field without links. It may be as answers have it.

    kind: what it is the path of. Raises Problem 400 for one that is not absolute.
    """
    if "\0" in value or not os.path.isabs(value):
        reason = f"{field}: give the absolute path of a {kind}"
        raise Problem(400, reason, code="path_not_absolute")
    return os.path.realpath(find_shown(value))


def resolve_path(here: Context, field: str, value: str) -> tuple[Path, list[Path]]:
    """Return the path of a field without links, and the indexed roots around it.

    The path may be as answers have it. Raises Problem 400 for one that is not absolute, and 403 for
    one that is not allowed. The answer is the same whether or not a forbidden path exists.
    """
    place = Path(parse_path(field, value if "\0" in value else os.path.expanduser(value)))
    roots = [Path(root.path) for root in here.engine.status().roots]
    is_allowed = any(place.is_relative_to(one) for one in here.allowed())
    if not is_allowed or not here.engine.is_within(str(place)):
        raise _refuse(field)
    return place, [root for root in roots if place.is_relative_to(root)]


def resolve_folder(here: Context, value: str) -> tuple[str, str]:
    """Return the folder that a path or a URL names, and the indexed root around it (or itself).

    Raises Problem as `resolve_path`, 404 if it does not exist, and 400 if it is a file.
    """
    if "://" in value:
        return _resolve_url(here, value)
    place, around = resolve_path(here, "path", value)
    exists = os.path.exists(place)
    if not exists and not around:
        raise Problem(404, "path: there is no such folder", code="folder_not_found")
    if exists and not os.path.isdir(place) and not here.engine.is_film(place):
        reason = "path: it is a file and no film; give the folder it is in"
        raise Problem(400, reason, code="not_a_folder")
    return str(place), str(max(around, key=lambda root: len(str(root)), default=place))


def _resolve_url(here: Context, value: str) -> tuple[str, str]:
    """Return the URL of object storage or of a site in its normal form, and the indexed root around
    it.

    Neither is asked. Raises InputError for a URL that cannot be used, and Problem 403 for
    one that is neither allowed nor indexed.
    """
    place = here.engine.resolve_place(value)
    if "://" not in place:  # such as a data: URL
        reason = "path: give a folder, s3://BUCKET/PREFIX, or https://SITE/"
        raise Problem(400, reason, code="path_not_absolute")
    urls = [root.path for root in here.engine.status().roots if "://" in root.path]
    allowed = [*(urls if here.allow is None else map(str, here.allow)), *here.added]
    is_allowed = any(f"{place}/".startswith(f"{one}/") for one in allowed)
    if not is_allowed or not here.engine.is_within(place):
        raise _refuse("path")
    around = [url for url in urls if f"{place}/".startswith(f"{url}/")]
    return place, max(around, key=len, default=place)


def _refuse(field: str) -> Problem:
    reason = "this folder is not allowed here; start the server with --allow DIR (or --allow URL)"
    return Problem(403, f"{field}: {reason}", code="folder_not_allowed")


@router.post(
    "/index",
    summary="Index a folder, in the background",
    status_code=202,
    response_model=StartedJson,
    responses=problems(400, 404, 422, 429),
)
@requires("write", within=True)
async def start_index(body: IndexJson, here: Here) -> JSONResponse:
    """One job at a time for each root, and as `lookalike index PATH`."""
    place, root = await here.look(lambda: resolve_folder(here, body.path))
    names = ("exclude", "pages", "delay")
    options = {name: value for name in names if (value := getattr(body, name)) is not None}
    if not here.engine.is_site(place) and options.keys() & {"pages", "delay"}:
        reason = "pages, delay: only a web site takes them; leave them out"
        raise Problem(400, reason, code="input_invalid")
    run = partial(here.engine.index, place, **options)
    owner = here.grant.digest
    job = await here.look(lambda: here.jobs.start("index", place, root, run, owner=owner))
    where = {"Location": f"/api/v1/jobs/{job.id}"}
    return JSONResponse({"job": job.id}, status_code=202, headers=where)


@router.get(
    "/jobs", summary="List the jobs, newest first", response_model=JobsJson, responses=problems()
)
@requires("read", within=True)
async def list_jobs(here: Here) -> JSONResponse:
    """Those that wait and run, and the last 100 of each kind that are over, on all servers of the
    library."""
    jobs = [job for job in await here.look(here.jobs.all) if may_see(here.grant, job)]
    return JSONResponse({"jobs": [show_job(here.grant, job) for job in jobs]})


@router.get("/jobs/{job_id}", summary="Get a job", response_model=JobJson, responses=problems(404))
@requires("read", within=True)
async def get_job(job_id: str, here: Here) -> JSONResponse:
    """Its state, its progress, and its report at the end."""
    return JSONResponse(show_job(here.grant, await _get_job(here, job_id)))


@router.delete(
    "/jobs/{job_id}",
    summary="Cancel a job",
    response_model=JobJson,
    responses={
        202: {"description": "It ends after its current batch", "model": JobJson},
        **problems(404),
    },
)
@requires("read", within=True)
async def cancel_job(job_id: str, here: Here) -> JSONResponse:
    """The pictures that it has committed stay. Indexing the folder again goes on from there.
    A token with the role `read` may cancel the jobs that it started."""
    job = await _get_job(here, job_id)
    if not _is_own(here.grant, job):
        CANCELLING.check(here.grant)
    job = await here.look(lambda: here.jobs.cancel(job_id))
    return JSONResponse(show_job(here.grant, job), status_code=200 if job.over else 202)


@router.get(
    "/jobs/{job_id}/events",
    summary="Follow a job by server-sent events",
    response_class=Response,
    responses={
        200: {
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
            "description": "Events; each has the job",
        },
        204: {"description": "It is over, and the last event was seen"},
        **problems(404),
    },
)
@requires("read", within=True)
async def follow_job(job_id: str, request: Request, here: Here) -> Response:
    """Events `progress`, first with the current state, and at the end `done`, `failed` or
    `cancelled`. With Last-Event-ID only later events."""
    job = await _get_job(here, job_id)
    last = request.headers.get("last-event-id", "")
    last_version = int(last) if last.isascii() and last.isdecimal() and len(last) < 18 else 0
    if job.over and last_version >= job.version:
        return Response(status_code=204)  # a browser does not connect again then
    return EventStream(job, last_version, here)


async def _get_job(here: Context, job_id: str) -> Job | JobRecord:
    """Return a job. Raises Problem 404 for one that the request may not see, as for none."""
    job = await here.look(lambda: here.jobs.get(job_id))
    if not may_see(here.grant, job):
        raise no_such_job()
    return job


def _is_own(grant: Grant, job: Job | JobRecord) -> bool:
    """Whether a request has the token of a user that started a job on this server."""
    return isinstance(job, Job) and job.owner is not None and job.owner == grant.digest


def may_see(grant: Grant, job: Job | JobRecord) -> bool:
    """Whether a request may see a job: with collections, its own, and those that index them."""
    if grant.collections is None or _is_own(grant, job):
        return True
    path = job.to_json()["path"]
    roots = [shown(root) for root in grant.collections]
    return job.kind == "index" and any(f"{path}/".startswith(f"{root}/") for root in roots)


def show_job(grant: Grant, job: Job | JobRecord) -> dict[str, Any]:
    """Return the JSON of a job. With collections, what a run tells of all folders is left out: it
    also embeds pictures of others, and counts the library."""
    document = job.to_json()
    if grant.collections is None or job.kind != "index":
        return document
    progress = document["progress"]
    if progress is not None:
        progress = progress | {"path": None}
        if progress["phase"] not in ("scan", "index"):
            progress |= {"done": 0, "total": 0}
    return document | {"progress": progress, "report": None}


class EventStream(StreamingResponse):
    """The events of a job. A limited number of them is sent at once."""

    def __init__(self, job: Job | JobRecord, last_version: int, here: Context) -> None:
        """last_version: version of the job that the client knows."""
        headers = {"X-Accel-Buffering": "no"}
        events = _follow(job, last_version, here)
        super().__init__(events, media_type="text/event-stream", headers=headers)
        self._here = here

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # nothing is awaited between the two, so that no other request comes in between
        if self._here.connected.followers >= MAX_FOLLOWERS:
            raise Problem(503, "too many are following jobs; try again later", retry=5)
        self._here.connected.followers += 1
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._here.connected.followers -= 1


async def _follow(job: Job | JobRecord, last_version: int, here: Context) -> AsyncIterator[str]:
    yield "retry: 2000\n\n"
    beat = checked = time.monotonic()
    while not here.connected.stopping:
        if here.grant.digest is not None and time.monotonic() - checked >= CHECK_SECONDS:
            try:
                if await here.look(partial(here.access.find_token, here.grant.digest)) is None:
                    return  # it was revoked
            except LookalikeError:
                return  # the client asks again, and then gets the reason
            checked = time.monotonic()
        if isinstance(job, JobRecord):  # of another server
            try:
                job = await here.look(partial(here.jobs.get, job.id))
            except (LookalikeError, Problem):
                return  # the client asks again, and then gets the reason
        version, over = job.version, job.over
        if version > last_version:
            name = job.state if over else "progress"
            data = json.dumps(show_job(here.grant, job), ensure_ascii=False)
            yield f"id: {version}\nevent: {name}\ndata: {data}\n\n"
            last_version, beat = version, time.monotonic()
        if over:
            return
        if time.monotonic() - beat >= BEAT_SECONDS:
            yield ": still here\n\n"
            beat = time.monotonic()
        await anyio.sleep(REMOTE_POLL_SECONDS if isinstance(job, JobRecord) else POLL_SECONDS)
