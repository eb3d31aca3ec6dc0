"""Saved searches: `/api/v1/searches`. Each user has searches of their own."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Query as Parameter, Request, Response
from starlette.responses import JSONResponse

from search.api.content import SANDBOX, image_content
from search.api.deps import Context, Here, read_body
from search.api.roles import make_router, requires
from search.api.schemas import (
    RenameJson,
    SavedAnswerJson,
    SavedSearchesJson,
    SeenJson,
    multipart,
    problems,
)
from search.querying.query import Query, QueryJson
from search.records.saved import MOST_NAME, SavedSearch

router = make_router(prefix="/api/v1", tags=["search"])

Name = Annotated[str, Path(min_length=1, max_length=MOST_NAME)]
Number = Annotated[int, Path(ge=0, lt=2**31)]


def _owner(here: Context) -> str:
    return here.grant.digest or ""


@router.get(
    "/searches",
    summary="List the saved searches",
    response_model=SavedSearchesJson,
    responses=problems(),
)
@requires("read", within=True)
async def list_saved_searches(here: Here) -> JSONResponse:
    """By name. `image: N` of a query is a picture that was saved with it."""
    searches = await here.look(lambda: here.engine.saved_searches(_owner(here)))
    return JSONResponse({"searches": [one.to_json() for one in searches]})


@router.put(
    "/searches/{name}",
    summary="Save a search",
    status_code=201,
    response_model=SavedSearch,
    responses=problems(400, 404, 408, 413, 415, 422),
    openapi_extra=multipart("The query's files; `image: 0` is the first.", QueryJson, "query"),
)
@requires("write", within=True)
async def save_search(name: Name, request: Request, here: Here) -> JSONResponse:
    """Multipart with `image` files and `query` (JSON), or the JSON alone, as for a search. What is
    in the library now counts as seen. A name that is taken is refused."""
    body = await read_body(request, here.engine.settings.upload_files, "query")
    query = Query.from_json(body.json or "{}", body.files)
    saved = await here.look(lambda: here.engine.save_search(name, query, _owner(here)))
    return JSONResponse(saved.to_json(), status_code=201)


@router.get(
    "/searches/{name}/hits",
    summary="Run a saved search",
    response_model=SavedAnswerJson,
    responses=problems(400, 404, 408, 413, 415, 422),
)
@requires("read", within=True)
async def run_saved_search(
    name: Name, here: Here, since: Annotated[str | None, Parameter(max_length=100)] = None
) -> JSONResponse:
    """since: only pictures that came to the library since then: `last`, since the answer was marked
    as seen; or a period, such as `7d` or `2024-05`."""
    async with here.searches.admit():
        answer = await here.searches.run(
            lambda: here.engine.run_saved_search(name, since, _owner(here))
        )
    here.metrics.count_search(answer.hits)
    return JSONResponse(answer.to_json())


@router.get(
    "/searches/{name}/pictures/{number}",
    summary="Get a picture of a saved search",
    response_class=Response,
    responses={200: image_content("application/octet-stream"), **problems(404, 422)},
)
@requires("read", within=True)
async def get_saved_picture(name: Name, number: Number, here: Here) -> Response:
    """The bytes of the file that was saved with the search. number: as `image: N` of its query."""
    data = await here.look(lambda: here.engine.saved_picture(name, number, _owner(here)))
    headers = {
        "Content-Disposition": "attachment",
        "Content-Security-Policy": SANDBOX,
        "Cache-Control": "no-store",
    }
    return Response(data, media_type="application/octet-stream", headers=headers)


@router.patch(
    "/searches/{name}",
    summary="Rename a saved search",
    status_code=204,
    responses=problems(400, 404, 422),
)
@requires("write", within=True)
async def rename_saved_search(name: Name, body: RenameJson, here: Here) -> Response:
    """A name that is taken is refused."""
    await here.look(lambda: here.engine.rename_saved_search(name, body.name, _owner(here)))
    return Response(status_code=204)


@router.post(
    "/searches/{name}/seen",
    summary="Mark the answer of a saved search as seen",
    status_code=204,
    responses=problems(404, 422),
)
@requires("read", within=True)
async def mark_saved_search(name: Name, body: SeenJson, here: Here) -> Response:
    """newest: of the answer. Pictures that came after it are still new."""
    await here.look(lambda: here.engine.mark_saved_search(name, body.newest, _owner(here)))
    return Response(status_code=204)


@router.delete(
    "/searches/{name}",
    summary="Delete a saved search",
    status_code=204,
    responses=problems(404),
)
@requires("read", within=True)
async def delete_saved_search(name: Name, here: Here) -> Response:
    """With the pictures that were saved with it."""
    await here.look(lambda: here.engine.delete_saved_search(name, _owner(here)))
    return Response(status_code=204)
