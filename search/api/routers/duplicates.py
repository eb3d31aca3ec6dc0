"""`/api/v1/duplicates`: groups of duplicates, and their removal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Annotated, Any

from fastapi import Query
from starlette.responses import JSONResponse

from search.api.deps import Context, Here
from search.api.jobs import PictureProgress
from search.api.problems import Problem
from search.api.roles import make_router, requires
from search.api.routers.removal import is_allowed
from search.api.schemas import (
    DuplicatesRemovalJson,
    RemovedJson,
    StartedJson,
    Where,
    problems,
)
from search.engine import Engine
from search.records.duplicates import DuplicateKind, Duplicates
from search.records.removals import Removal

router = make_router(prefix="/api/v1/duplicates", tags=["duplicates"])
KIND = "compare"
QUICK = 20_000_000
"""Pairs of pictures that a request waits for to be compared: some seconds."""
COMPARING: dict[int | str, dict[str, Any]] = {
    202: {"description": "Pictures are compared first", "model": StartedJson}
}
Score = Annotated[float | None, Query(description="Least cosine of any two of a group.")]
Probability = Annotated[
    float | None,
    Query(
        description="Least probability, 0 to 1, that one of a group is a copy of another; instead "
        "of `min_score`. Needs a calibration of the model."
    ),
]
Path = Annotated[str, Query(max_length=4096)]


@router.get(
    "",
    summary="List groups of duplicates",
    response_model=Duplicates,
    responses={**COMPARING, **problems(400, 404, 422)},
)
@requires("read", within=True)
async def list_duplicates(
    here: Here,
    kind: Annotated[DuplicateKind | None, Query(description="All kinds without it.")] = None,
    min_score: Score = None,
    min_probability: Probability = None,
    where: Where = [],  # noqa: B006
    folder: Annotated[Path | None, Query(description="Only files in it.")] = None,
    between: Annotated[
        list[Path], Query(max_length=2, description="Two folders: only groups with files of both.")
    ] = [],  # noqa: B006
    keep: Annotated[
        str | None,
        Query(max_length=4096, description="Rules, such as `largest,oldest,folder:PATH`."),
    ] = None,
    sort: Annotated[str, Query(max_length=20, description="`bytes` or `score`.")] = "bytes",
    page: Annotated[int, Query(ge=1, le=10**6)] = 1,
    size: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> JSONResponse:
    """The picture that is kept comes first in each group; `action` tells what removal does. When
    many pictures were not compared yet, a job compares them, and its id is the answer (202): ask
    again when it is done. What was compared is kept, and follows the library."""
    options: dict[str, Any] = {"min_score": min_score, "where": where, "folder": folder}
    options |= {"keep": keep, "min_probability": min_probability}
    options |= {"between": between or None, "sort": sort, "page": page, "size": size}
    return await _answer(here, kind, lambda: here.engine.duplicates(kind, **options).to_json())


@router.post(
    "/remove",
    summary="Move duplicates to the system's bin",
    response_model=RemovedJson,
    responses={**COMPARING, **problems(400, 404, 422)},
)
@requires("write", within=True)
async def remove_duplicates(body: DuplicatesRemovalJson, here: Here) -> JSONResponse:
    """Of `groups`, the files that it names; or of all groups of a `kind`, what the list offers, at
    most 10,000 pictures. Tags, captions, ratings and albums of pictures that go are given to the
    one that is kept. `POST /images/restore` takes all of it back."""

    def remove() -> dict[str, Any]:
        allows = lambda root: is_allowed(here, root)  # noqa: E731
        if body.groups is not None:
            replacements = [one.replacement() for one in body.groups]
            return here.engine.remove_duplicates(replacements, allows).to_json()
        groups = here.engine.iterate_duplicates(body.kind, **body.options())
        removal: Removal = here.engine.remove_duplicates(groups, allows)
        return removal.to_json()

    return await _answer(here, "exact" if body.groups is not None else body.kind, remove)


async def _answer(here: Context, kind: str | None, call: Callable[[], Any]) -> JSONResponse:
    """Answer with JSON, or with a job that compares pictures first, if that takes long."""

    def call_if_quick() -> Any:
        if kind != "exact" and here.engine.count_comparisons() > QUICK:
            return None
        return call()

    async with here.searches.admit():
        document = await here.searches.run(call_if_quick)
    if document is not None:
        return JSONResponse(document)
    job_id = await here.look(lambda: _start_comparing(here))
    headers = {"Location": f"/api/v1/jobs/{job_id}", "Retry-After": "10"}
    return JSONResponse({"job": job_id}, status_code=202, headers=headers)


def _start_comparing(here: Context) -> str:
    """Return the id of the job that compares pictures, which may run already."""

    def run() -> Iterator[PictureProgress]:
        return _compare(here.engine)

    try:
        return here.jobs.start(KIND, "", KIND, run, owner=here.grant.digest).id
    except Problem as problem:
        if "job" not in problem.more:
            raise
        return str(problem.more["job"])


def _compare(engine: Engine) -> Iterator[PictureProgress]:
    with closing(engine.compare()) as steps:
        for one in steps:
            yield PictureProgress(KIND, one.done, one.total, report=one.report)
