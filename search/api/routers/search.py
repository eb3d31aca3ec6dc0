"""`POST /api/v1/search`, the words that a text can be made of, and counts of pictures."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query as Parameter, Request
from starlette.responses import JSONResponse

from search.api.deps import Here, read_body
from search.api.roles import make_router, requires
from search.api.schemas import (
    AnswerJson,
    FacetsJson,
    FoldersJson,
    MonthsJson,
    PlacesJson,
    Where,
    multipart,
    problems,
)
from search.querying.query import Query, QueryJson
from search.records.browsing import MOST_CELLS, Bounds, Facets
from search.records.words import Suggestions, Words

router = make_router(prefix="/api/v1", tags=["search"])


@router.get(
    "/words",
    summary="List the words that a text can be made of, by their beginning",
    response_model=Words,
    responses=problems(400, 422),
)
@requires("read", within=True)
async def list_words(
    here: Here,
    prefix: Annotated[str, Parameter(max_length=100)] = "",
    limit: Annotated[int, Parameter(ge=1, le=10_000)] = 50,
) -> JSONResponse:
    """As `lookalike words --json`. A CLIP model takes any words and lists none."""
    return JSONResponse((await here.look(lambda: here.engine.words(prefix, limit))).to_json())


@router.get(
    "/suggest",
    summary="Suggest what a query may go on with",
    response_model=Suggestions,
    responses=problems(400, 422),
)
@requires("read", within=True)
async def list_suggestions(
    here: Here,
    q: Annotated[str, Parameter(max_length=200)],
    limit: Annotated[int, Parameter(ge=1, le=50)] = 5,
) -> JSONResponse:
    """q: what is typed of the last word, or of a value as in `tag:be`. Tags, albums, folders, words
    of the model, labels, dates, cameras, lenses and fields; `limit` of each kind."""
    suggested = await here.look(lambda: here.engine.suggest(q, limit))
    return JSONResponse(Suggestions(suggested).to_json())


@router.post(
    "/search",
    summary="Find the pictures that look like the query's, best first",
    response_model=AnswerJson,
    responses=problems(400, 404, 408, 413, 415, 422),
    openapi_extra=multipart(
        "The query's files; `image: 0` is the first.", QueryJson, "query", with_mask=True
    ),
)
@requires("read", within=True)
async def search_images(request: Request, here: Here) -> JSONResponse:
    """Multipart with `image` files and `query` (JSON), or the JSON alone. With `restore` also
    a file `mask` of the size of the picture, white where the picture is painted over."""
    body = await read_body(request, here.engine.settings.upload_files, "query", with_mask=True)
    async with here.searches.admit():  # not before the body has come: it may come slowly
        query = Query.from_json(body.json or "{}", body.files, body.mask)
        hits = await here.choose_turns(query).run(lambda: here.engine.search(query))
    here.metrics.count_search(hits)
    return JSONResponse(hits.to_json())


@router.get(
    "/facets",
    summary="Count the pictures by the values that they have",
    response_model=Facets,
    responses=problems(400, 422),
)
@requires("read", within=True)
async def count_facets(
    here: Here,
    where: Where = [],  # noqa: B006
    field: Annotated[list[str], Parameter(max_length=64)] = [],  # noqa: B006
) -> JSONResponse:
    """By type, shape, year, month, camera, folder, color, tag, label, album, rating, `is` and
    `has`, or by some `field`s."""
    return JSONResponse((await here.look(lambda: here.engine.facets(where, field))).to_json())


@router.post(
    "/facets",
    summary="Count the pictures of an answer by the values that they have",
    response_model=Facets,
    responses=problems(400, 422),
)
@requires("read", within=True)
async def count_facets_of_answer(body: FacetsJson, here: Here) -> JSONResponse:
    """As `GET`, among the pictures of some ids."""

    def count() -> Facets:
        return here.engine.facets(body.where, body.fields, body.ids)

    return JSONResponse((await here.look(count)).to_json())


@router.get(
    "/months",
    summary="Count the pictures by the month in which they were taken",
    response_model=MonthsJson,
    responses=problems(400, 422),
)
@requires("read", within=True)
async def count_months(here: Here, where: Where = []) -> JSONResponse:  # noqa: B006
    """Newest first; `month` is null for pictures without a date."""
    months = await here.look(lambda: here.engine.months(where))
    return JSONResponse({"months": [vars(one) for one in months]})


@router.get(
    "/places",
    summary="Count the pictures by the place where they were taken, for a map",
    response_model=PlacesJson,
    responses=problems(400, 422),
)
@requires("read", within=True)
async def count_places(
    here: Here,
    bounds: Annotated[
        str, Parameter(max_length=200, description="WEST,SOUTH,EAST,NORTH in degrees.")
    ] = "-180,-90,180,90",
    cells: Annotated[int, Parameter(ge=1, le=MOST_CELLS)] = 16,
    where: Where = [],  # noqa: B006
) -> JSONResponse:
    """Groups by the cells of a grid, with `cells` from west to east; those of most pictures first.
    Bounds across the meridian of 180 degrees have an east above 180, or a west below -180."""
    part = Bounds.parse(bounds)
    groups = await here.look(lambda: here.engine.places(part, cells, where))
    return JSONResponse({"groups": [vars(one) for one in groups]})


@router.get(
    "/tree",
    summary="Count the pictures of the folders in a folder",
    response_model=FoldersJson,
    responses=problems(400, 422),
)
@requires("read", within=True)
async def count_folders(
    here: Here,
    path: Annotated[str | None, Parameter(max_length=4096)] = None,
    where: Where = [],  # noqa: B006
) -> JSONResponse:
    """One level at a time. Without `path`: the indexed folders."""
    folders = await here.look(lambda: here.engine.folders(path, where))
    return JSONResponse({"folders": [one.to_json() for one in folders]})
