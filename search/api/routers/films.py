"""`/api/v1/images/{id}/frames`: the frames of a film."""

from __future__ import annotations

from starlette.responses import JSONResponse

from search.api.deps import Here
from search.api.roles import make_router, requires
from search.api.routers.images import check_id
from search.api.schemas import FramesJson, problems

router = make_router(prefix="/api/v1/images", tags=["images"])


@router.get(
    "/{picture_id}/frames",
    summary="List the frames of the film that a picture is of",
    response_model=FramesJson,
    responses=problems(400, 404),
)
@requires("read", within=True)
async def list_frames(picture_id: str, here: Here) -> JSONResponse:
    """In the order of time. None for a picture that is a file of its own. `GET /images/{id}/file`
    of each has the film itself, with `Range`."""
    name = check_id(picture_id)
    listed = await here.look(lambda: here.engine.frames(name))
    return JSONResponse(listed.to_json())
