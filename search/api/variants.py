"""`/api/v1/variants`: more pictures like one; and `POST /api/v1/augment`."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from contextlib import closing

import anyio
from fastapi import APIRouter, Request, Response
from PIL import Image
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse

from search.api.deps import Context, Given, Here, parsed, read
from search.api.images import SANDBOX
from search.api.index import allowed
from search.api.jobs import Job, Moment
from search.api.made import SECONDS, Made
from search.api.problems import Problem
from search.api.schemas import (
    AugmentJson,
    DialJson,
    StartedJson,
    VariantsJson,
    WantedJson,
    problems,
    upload,
)
from search.errors import FieldError
from search.query import is_address
from search.records import MOST_VARIANTS, REGIMES, SIGMAS, AugmentProgress, VariantProgress

router = APIRouter(prefix="/api/v1", tags=["variants"])

WAITING = 12  # requests behind the one that is at work
LOOK_SECONDS = 0.05
SMALL = 128  # pixels of a picture on the way


@router.get(
    "/variants",
    summary="What the dial of variants may be set to",
    response_model=DialJson,
    responses=problems(),
)
async def dial() -> JSONResponse:
    """The same on every server of a version."""
    most = {"n": MOST_VARIANTS, "sigma": list(SIGMAS), "regimes": dict(REGIMES)}
    return JSONResponse(most)


@router.post(
    "/variants",
    summary="Make pictures like this one",
    response_model=VariantsJson,
    responses={
        202: {"model": StartedJson, "description": "A job, whose events carry pictures on the way"},
        **problems(400, 404, 408, 413, 415, 422, 429),
    },
    openapi_extra=upload("The picture, one of them.", WantedJson, "options"),
)
async def make(request: Request, here: Here) -> JSONResponse:
    """Multipart with one `image` and `options` (JSON), or JSON with `id` or `url`. One request is
    worked on at a time, and searches go before it; who goes away cancels it."""
    async with here.searches.admit():  # as many uploads at once as of searches
        given = await read(request, 1, "options")
        wanted = parsed(WantedJson, given.said or b"{}")
        picture = await _picture(here, given, wanted)
        options = wanted.model_dump(exclude={"id", "url", "wait"})
        steps = await here.look(lambda: here.engine.vary(picture, **options))
        name = picture if isinstance(picture, str) else ""
        job = here.jobs.start("variants", name, None, lambda: _moments(steps, here.made), WAITING)
    if not wanted.wait:
        return _started(job)
    await _over(job, request, here)
    return JSONResponse(job.report and job.report.to_json())


@router.get(
    "/variants/{name}.png",
    summary="A variant",
    response_class=Response,
    responses={200: {"content": {"image/png": {}}}, **problems(404)},
)
async def variant(name: str, here: Here) -> Response:
    """Kept for an hour after it was made; of more than 1,000 the oldest go."""
    headers = {
        "Content-Security-Policy": SANDBOX,
        "Cache-Control": f"private, max-age={SECONDS:.0f}, immutable",
    }
    return Response(here.made.get(name), headers=headers, media_type="image/png")


@router.post(
    "/augment",
    summary="Make a training set of variants of a folder's pictures, in the background",
    status_code=202,
    response_model=StartedJson,
    responses=problems(400, 404, 422, 429),
)
async def augment(given: AugmentJson, here: Here) -> JSONResponse:
    """As `lookalike augment PATH -o OUTPUT`; both folders must be allowed, and one job at a time
    writes to OUTPUT. The same again goes on where it was."""

    def begun() -> tuple[str, str, Iterator[AugmentProgress]]:
        path, _ = allowed(here, "path", given.path)
        output, _ = allowed(here, "output", given.output)
        options = given.model_dump(exclude={"path", "output"})
        return str(path), str(output), here.engine.augment(path, output=output, **options)

    path, output, steps = await here.look(begun)
    return _started(here.jobs.start("augment", path, output, lambda: _counted(steps)))


def _started(job: Job) -> JSONResponse:
    where = {"Location": f"/api/v1/jobs/{job.id}"}
    return JSONResponse({"job": job.id}, status_code=202, headers=where)


async def _picture(here: Context, given: Given, wanted: WantedJson) -> bytes | str:
    """What the request brings, or names. Raises FieldError unless it is one picture."""
    named = [value for value in (wanted.id, wanted.url) if value is not None]
    if len(given.files) + len(named) != 1:
        raise FieldError([("image", "give one picture: a file `image`, or `id`, or `url`")])
    if wanted.id is not None:
        name = wanted.id.removeprefix("id:")
        return f"id:{(await here.look(lambda: here.engine.picture(name))).id}"
    if wanted.url is not None and not is_address(wanted.url):
        raise FieldError([("url", "give an address that begins with http:// or https://")])
    return wanted.url or given.files[0]


def _moments(steps: Iterator[VariantProgress], made: Made) -> Iterator[Moment]:
    """A job's moments. Closing them cancels."""
    with closing(steps):  # type: ignore[type-var]
        for step in steps:
            if step.made is not None:
                yield Moment("vary", step.total, step.total, report=made.keep(step.made))
            else:
                pictures = tuple(_small(picture) for picture in step.pictures)
                yield Moment("vary", step.done, step.total, pictures=pictures)


def _counted(steps: Iterator[AugmentProgress]) -> Iterator[Moment]:
    """As `_moments`, of an augmentation."""
    with closing(steps):  # type: ignore[type-var]
        for step in steps:
            yield Moment("augment", step.done, step.total, step.path, report=step.report)


def _small(picture: Image.Image) -> str:
    """A picture as a `data:` URL."""
    small, out = picture.convert("RGB"), io.BytesIO()
    small.thumbnail((SMALL, SMALL))
    small.save(out, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(out.getvalue()).decode()}"


async def _over(job: Job, request: Request, here: Context) -> None:
    """Wait until a job is done; cancel it when nobody waits any more. Raises what it failed of."""
    try:
        while not job.over:
            if here.stopping:
                raise Problem(503, "the server is stopping", retry=5)
            if await request.is_disconnected():
                raise ClientDisconnect()
            await anyio.sleep(LOOK_SECONDS)
    finally:
        if not job.over:
            here.jobs.cancel(job.id)
    if job.failure is not None:
        failure, job.failure = job.failure, None  # its frames will hold what was sent
        raise failure
    if job.state == "failed":
        raise Problem(500, job.error or "")
    if job.state == "cancelled":
        raise Problem(503, "it was cancelled; ask again", retry=1)
