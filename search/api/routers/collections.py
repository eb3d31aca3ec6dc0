"""Collections, which are indexed folders under a name: `/api/v1/collections`."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Query, Response
from starlette.responses import JSONResponse

from search.api.deps import Here
from search.api.roles import make_router, requires
from search.api.schemas import (
    CollectionFoldersJson,
    CollectionJson,
    CollectionsJson,
    RenameJson,
    problems,
)
from search.records.annotations import MOST_TAG

router = make_router(prefix="/api/v1/collections", tags=["folders"])

Name = Annotated[str, Path(min_length=1, max_length=MOST_TAG)]


@router.get("", summary="List collections", response_model=CollectionsJson, responses=problems())
@requires("read", within=True)
async def list_collections(here: Here) -> JSONResponse:
    """By name. The condition `collection=NAME` selects the pictures of one."""
    listed = await here.look(here.engine.collections.all)
    return JSONResponse({"collections": [one.to_json() for one in listed]})


@router.put(
    "/{collection:path}",
    summary="Put indexed folders into a collection",
    response_model=CollectionJson,
    responses=problems(400, 404, 422),
)
@requires("write")
async def add_to_collection(
    collection: Name, body: CollectionFoldersJson, here: Here
) -> JSONResponse:
    """It is made if there is none of this name. A folder that is in another one leaves it."""
    add = here.engine.collections.add
    return JSONResponse((await here.look(lambda: add(collection, body.folders))).to_json())


@router.patch(
    "/{collection:path}",
    summary="Rename a collection",
    response_model=CollectionJson,
    responses=problems(400, 404, 422),
)
@requires("write")
async def rename_collection(collection: Name, body: RenameJson, here: Here) -> JSONResponse:
    """A name that another one has is refused."""
    rename = here.engine.collections.rename
    return JSONResponse((await here.look(lambda: rename(collection, body.name))).to_json())


@router.delete(
    "/{collection:path}",
    summary="Take folders out of a collection",
    status_code=204,
    responses=problems(404),
)
@requires("write")
async def remove_collection(
    collection: Name,
    here: Here,
    folder: Annotated[list[Annotated[str, Query(max_length=4096)]], Query(max_length=1000)] = [],  # noqa: B006
) -> Response:
    """Those that are named, else all of them, so that the collection is gone. The pictures stay in
    the library."""
    await here.look(lambda: here.engine.collections.remove(collection, folder))
    return Response(status_code=204)
