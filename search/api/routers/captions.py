"""Captions of pictures by a model, as a job."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing

from fastapi import Response
from starlette.responses import JSONResponse

from search.api.deps import Here
from search.api.jobs import PictureProgress
from search.api.roles import make_router, requires
from search.api.schemas import CaptionsJson, StartedJson, problems
from search.records.captions import CaptionProgress, CaptionStatus

KIND = "caption"
router = make_router(prefix="/api/v1", tags=["images"])


@router.get(
    "/captions",
    summary="Count captions, and list the models that make them",
    response_model=CaptionStatus,
    responses=problems(503),
)
@requires("write")
async def get_captions(here: Here) -> JSONResponse:
    """As `lookalike caption --status --json`."""
    return JSONResponse((await here.look(here.engine.caption_status)).to_json())


@router.post(
    "/captions",
    summary="Let a model caption pictures, in the background",
    status_code=202,
    response_model=StartedJson,
    responses=problems(400, 422, 429),
)
@requires("write")
async def start_captioning(body: CaptionsJson, here: Here) -> Response:
    """The pictures without a caption of a person, a file or this model, newest first. One job at a
    time; what it has made stays if it is cancelled."""
    steps = await here.look(lambda: here.engine.caption(body.where, body.model))  # refuses at once
    owner = here.grant.digest
    job = await here.look(
        lambda: here.jobs.start(KIND, "", KIND, lambda: _follow(steps), owner=owner)
    )
    where = {"Location": f"/api/v1/jobs/{job.id}"}
    return JSONResponse({"job": job.id}, status_code=202, headers=where)


def _follow(steps: Generator[CaptionProgress]) -> Iterator[PictureProgress]:
    with closing(steps):  # which commits what was made
        for one in steps:
            yield PictureProgress(one.phase, one.done, one.total, one.path, report=one.report)
