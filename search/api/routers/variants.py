"""`/api/v1/variants`: more pictures like one; `/api/v1/restored`, and `POST /api/v1/augment`."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from contextlib import closing
from functools import partial

import anyio
from fastapi import Request, Response
from PIL import Image
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse

from search.api.content import SANDBOX, image_content
from search.api.deps import Context, Here, RequestBody, parse_json, read_body
from search.api.jobs import Job, PictureProgress
from search.api.problems import Problem
from search.api.roles import make_router, requires
from search.api.routers.index import resolve_path
from search.api.schemas import (
    AugmentJson,
    RestoredPictureJson,
    RestoreOptionsJson,
    StartedJson,
    VariantLimitsJson,
    VariantOptionsJson,
    VariantsJson,
    multipart,
    problems,
)
from search.api.variant_cache import SECONDS, VariantCache
from search.errors import FieldError, GeneratorError
from search.querying.query import normalize_url
from search.records.restoration import RestoredPicture
from search.records.variants import MOST_VARIANTS, REGIMES, SIGMAS, AugmentProgress, VariantProgress

router = make_router(prefix="/api/v1", tags=["variants"])

MAX_WAITING = 12  # requests in the queue
POLL_SECONDS = 0.05  # between two looks at a job
PREVIEW_SIDE = 128  # pixels


@router.get(
    "/variants",
    summary="Get the limits of the options of variants",
    response_model=VariantLimitsJson,
    responses=problems(),
)
@requires("read", within=True)
async def get_variant_limits(here: Here) -> JSONResponse:
    """Of the generators, the first is the default. They are those of the server's settings."""
    generators = await here.look(here.engine.generators)
    limits = {"n": MOST_VARIANTS, "sigma": list(SIGMAS), "regimes": dict(REGIMES)}
    return JSONResponse({**limits, "generators": [one.to_json() for one in generators]})


@router.post(
    "/variants",
    summary="Make pictures like one",
    response_model=VariantsJson,
    responses={
        202: {"model": StartedJson, "description": "A job, whose events carry previews"},
        **problems(400, 404, 408, 413, 415, 422, 429),
    },
    openapi_extra=multipart("The picture, one of them.", VariantOptionsJson, "options"),
)
@requires("read", within=True)
async def create_variants(request: Request, here: Here) -> JSONResponse:
    """Multipart with one `image` and `options` (JSON), or JSON with `id` or `url`. The server works
    on one request at a time, and searches go first. A client that disconnects cancels it."""
    body = await read_body(request, 1, "options")
    options = parse_json(VariantOptionsJson, body.json or b"{}")
    async with here.searches.admit():  # as many at once as of searches
        picture = await _read_picture(here, body, options)
        arguments = options.model_dump(exclude={"id", "url", "wait"})
        await here.look(lambda: _check_generator(here, options.generator))
        steps = await here.look(lambda: here.engine.vary(picture, **arguments))
        name = picture if isinstance(picture, str) else ""
        run = partial(_follow_variants, steps, here.variant_cache)
        options_of_job = ("variants", name, None, run, MAX_WAITING, here.grant.digest)
        job = await here.look(lambda: here.jobs.start(*options_of_job))
    if not options.wait:
        return _job_response(job)
    await _wait_for(job, request, here)
    return JSONResponse(job.report and job.report.to_json())


@router.get(
    "/variants/{name}.png",
    summary="Get a variant",
    response_class=Response,
    responses={200: image_content("image/png"), **problems(404)},
)
@requires("read", within=True)
async def get_variant(name: str, here: Here) -> Response:
    """Kept for an hour. If there are more than 1,000, the oldest are deleted."""
    headers = {
        "Content-Security-Policy": SANDBOX,
        "Cache-Control": f"private, max-age={SECONDS:.0f}, immutable",
    }
    png = await here.look(lambda: here.variant_cache.get(name))
    return Response(png, headers=headers, media_type="image/png")


@router.post(
    "/restored",
    summary="Restore a picture as a search with `restore` does, or estimate what it suffers from",
    response_model=RestoredPictureJson,
    responses=problems(400, 404, 408, 413, 415, 422),
    openapi_extra=multipart(
        "The picture, one of them.", RestoreOptionsJson, "options", with_mask=True
    ),
)
@requires("read", within=True)
async def restore_picture(request: Request, here: Here) -> JSONResponse:
    """Multipart with one `image`, perhaps a `mask` and `options` (JSON), or JSON with `id` or
    `url`. The restored picture has a short side of at most 512 pixels. A mask has the size of the
    picture, and is white where it is painted over."""
    body = await read_body(request, 1, "options", with_mask=True)
    options = parse_json(RestoreOptionsJson, body.json or b"{}")
    async with here.searches.admit():
        picture = await _read_picture(here, body, options)
        only = options.estimate

        def restore() -> RestoredPicture:
            engine, crop = here.engine, options.crop
            return engine.restore_picture(picture, crop=crop, mask=body.mask, estimate_only=only)

        restored = await here.searches.run(restore)
    record = restored.restoration.to_json()
    del record["term"]
    png = None
    if restored.restoration.applied and not only:
        out = io.BytesIO()
        restored.picture.save(out, "PNG")
        png = base64.b64encode(out.getvalue()).decode()
    width, height = restored.size
    size = {"width": width, "height": height}
    return JSONResponse({"restored": record, "png": png, **size, "paints": restored.can_paint})


@router.post(
    "/augment",
    summary="Make a training set of variants of a folder's pictures, in the background",
    status_code=202,
    response_model=StartedJson,
    responses=problems(400, 404, 422, 429),
)
@requires("write")
async def start_augmentation(body: AugmentJson, here: Here) -> JSONResponse:
    """As `lookalike augment PATH -o OUTPUT`. Both folders must be allowed, and one job at a time
    writes to OUTPUT. The same request resumes an interrupted job."""

    def open_steps() -> tuple[str, str, Iterator[AugmentProgress]]:
        _check_generator(here, body.generator)
        path, _ = resolve_path(here, "path", body.path)
        output, _ = resolve_path(here, "output", body.output)
        options = body.model_dump(exclude={"path", "output"})
        return str(path), str(output), here.engine.augment(path, output=output, **options)

    path, output, steps = await here.look(open_steps)
    run = partial(_follow_augmentation, steps)
    options_of_job = ("augment", path, output, run, None, here.grant.digest)
    return _job_response(await here.look(lambda: here.jobs.start(*options_of_job)))


def _job_response(job: Job) -> JSONResponse:
    where = {"Location": f"/api/v1/jobs/{job.id}"}
    return JSONResponse({"job": job.id}, status_code=202, headers=where)


def _check_generator(here: Context, name: str | None) -> None:
    """Raise GeneratorError unless a generator is one of the settings: a client may neither let the
    server read any folder, nor download what it likes."""
    if name is not None and name not in (names := here.engine.generator_names()):
        raise GeneratorError(
            f"this server has no generator {name}; give one of {', '.join(names)}, or add it to "
            "the setting `generator` of the server"
        )


async def _read_picture(
    here: Context, body: RequestBody, options: VariantOptionsJson | RestoreOptionsJson
) -> bytes | str:
    """The picture that the request sends or names. Raises FieldError unless it is one."""
    named = [value for value in (options.id, options.url) if value is not None]
    if len(body.files) + len(named) != 1:
        raise FieldError([("image", "give one picture: a file `image`, or `id`, or `url`")])
    if options.id is not None:
        name = options.id.removeprefix("id:")
        return f"id:{(await here.look(lambda: here.engine.picture(name))).id}"
    if options.url is None:
        return body.files[0]
    url = normalize_url(options.url)  # else it would be a path
    if url is None:
        raise FieldError([("url", "give an address that begins with http:// or https://")])
    return url


def _follow_variants(
    steps: Iterator[VariantProgress], cache: VariantCache
) -> Iterator[PictureProgress]:
    """Progress of a job that makes variants. Closing the iterator cancels the job."""
    with closing(steps):  # type: ignore[type-var]
        for step in steps:
            if step.result is not None:
                yield PictureProgress(
                    "vary", step.total, step.total, report=cache.add_all(step.result)
                )
            else:
                pictures = tuple(_preview_url(picture) for picture in step.pictures)
                phase = "fetch" if step.phase == "fetch" else "vary"
                yield PictureProgress(phase, step.done, step.total, pictures=pictures)


def _follow_augmentation(steps: Iterator[AugmentProgress]) -> Iterator[PictureProgress]:
    """Progress of a job that makes a training set. Closing the iterator cancels the job."""
    with closing(steps):  # type: ignore[type-var]
        for step in steps:
            yield PictureProgress("augment", step.done, step.total, step.path, report=step.report)


def _preview_url(picture: Image.Image) -> str:
    """A small copy of a picture as a `data:` URL."""
    small, out = picture.convert("RGB"), io.BytesIO()
    small.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE))
    small.save(out, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(out.getvalue()).decode()}"


async def _wait_for(job: Job, request: Request, here: Context) -> None:
    """Wait until a job is done. Cancel it if the client disconnects. Raises the job's error."""
    try:
        while not job.over:
            if here.connected.stopping:
                raise Problem(503, "the server is stopping", retry=5, code="stopping")
            if await request.is_disconnected():
                raise ClientDisconnect()
            await anyio.sleep(POLL_SECONDS)
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
