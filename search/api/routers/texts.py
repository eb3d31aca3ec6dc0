"""Text in pictures: what was read in one, and a job that reads the pictures."""

from __future__ import annotations

from fastapi import Response
from starlette.responses import JSONResponse

from search.api.deps import Here
from search.api.roles import make_router, requires
from search.api.routers.images import check_id
from search.api.schemas import StartedJson, TextJson, problems

router = make_router(prefix="/api/v1", tags=["images"])


@router.get(
    "/images/{picture_id}/text",
    summary="Get the text in a picture, with its boxes",
    response_model=TextJson,
    responses=problems(400, 404),
)
@requires("read", within=True)
async def get_text(picture_id: str, here: Here) -> JSONResponse:
    """Its lines from top to bottom; none and no `model` if it was not read yet."""
    name = check_id(picture_id)
    picture = await here.look(lambda: here.engine.picture(name))
    text = await here.look(lambda: here.engine.texts.of(picture.id))
    return JSONResponse({"id": picture.id, **text.to_json()})


@router.post(
    "/text",
    summary="Read the text in pictures, in the background",
    status_code=202,
    response_model=StartedJson,
    responses=problems(429),
)
@requires("write")
async def start_reading(here: Here) -> Response:
    """The pictures that were not read yet. A server does this by itself, unless the job was
    cancelled or the setting `ocr` is off."""
    job = await here.look(lambda: here.text_jobs.start(here.grant.digest))
    where = {"Location": f"/api/v1/jobs/{job.id}"}
    return JSONResponse({"job": job.id}, status_code=202, headers=where)
