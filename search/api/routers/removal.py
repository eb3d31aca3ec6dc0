"""Pictures to the system's bin and back: `/api/v1/images/remove` and `/api/v1/images/restore`."""

from __future__ import annotations

from pathlib import PurePath

from starlette.responses import JSONResponse

from search.api.deps import Context, Here
from search.api.roles import make_router, requires
from search.api.schemas import (
    IdsJson,
    RemovalJson,
    RemovedJson,
    RestoredJson,
    problems,
)

router = make_router(prefix="/api/v1/images", tags=["images"])


@router.post(
    "/remove",
    summary="Move pictures to the system's bin",
    response_model=RemovedJson,
    responses=problems(400, 404, 422),
)
@requires("write", within=True)
async def remove_images(body: IdsJson, here: Here) -> JSONResponse:
    """All their files, of folders that may be indexed here. A file that has changed since it was
    indexed stays, and so does one whose disk has no bin: `failed` names them."""
    removal = await here.look(
        lambda: here.engine.remove(body.ids, lambda one: is_allowed(here, one))
    )
    return JSONResponse(removal.to_json())


@router.post(
    "/restore",
    summary="Take pictures back from the bin",
    response_model=RestoredJson,
    responses=problems(400, 404, 422),
)
@requires("write", within=True)
async def restore_images(body: RemovalJson, here: Here) -> JSONResponse:
    """`undo` as the removal answered it, within 30 days. Nothing is replaced: a file whose place is
    taken stays in the bin."""
    call = lambda: here.engine.undo_removal(body.undo, lambda one: is_allowed(here, one))  # noqa: E731
    return JSONResponse((await here.look(call)).to_json())


def is_allowed(here: Context, root: str) -> bool:
    """Return whether files of an indexed folder may be moved. Uploads are the library's own."""
    if root in here.engine.library.uploads.folders or here.allow is None:
        return True
    if "://" in root:
        return any(f"{root}/".startswith(f"{one}/") for one in here.allowed())
    return any(PurePath(root).is_relative_to(one) for one in here.allowed())
