"""`POST /api/v1/search`."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse

from search.api.deps import Here, read
from search.api.schemas import AnswerJson, problems, upload
from search.query import Query, QueryJson
from search.records import Hits

router = APIRouter(prefix="/api/v1", tags=["search"])


@router.post(
    "/search",
    summary="Find the pictures that look like the query's, best first",
    response_model=AnswerJson,
    responses=problems(400, 404, 408, 413, 415, 422),
    openapi_extra=upload("The query's files; `image: 0` is the first.", QueryJson, "query"),
)
async def search(request: Request, here: Here) -> JSONResponse:
    """Multipart with `image` files and `query` (JSON), or the JSON alone."""
    async with here.searches.admit():
        given = await read(request, here.engine.settings.upload_files, "query")

        def answer() -> Hits:
            return here.engine.search(Query.from_json(given.said or "{}", given.files))

        hits = await here.searches.run(answer)
    here.metrics.searched(hits)
    return JSONResponse(hits.to_json())
