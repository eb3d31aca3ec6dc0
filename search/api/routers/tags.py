"""What people say of pictures: `/api/v1/tags`, `/api/v1/albums`, and changes of pictures."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Query, Request, Response
from starlette.responses import JSONResponse

from search.api.deps import Context, Here, read_json
from search.api.roles import make_router, requires
from search.api.routers.images import check_id
from search.api.schemas import (
    MOST_CHANGED,
    AlbumsJson,
    AnnotationsJson,
    BatchJson,
    ChangedJson,
    ImageJson,
    ImportedJson,
    MarksJson,
    NewAlbumJson,
    RenamedJson,
    RenameJson,
    TagsJson,
    json_body,
    problems,
)
from search.errors import FieldError
from search.records.annotations import MOST_TAG, Album, Change, Changed

router = make_router(prefix="/api/v1", tags=["annotations"])

TagPath = Annotated[str, Path(min_length=1, max_length=MOST_TAG)]


@router.get(
    "/annotations",
    summary="Download what people say of all pictures",
    response_model=AnnotationsJson,
    responses=problems(),
)
@requires("read")
async def export_annotations(here: Here) -> Response:
    """Tags, favourites, stars, captions, albums and hidden pictures, as `lookalike tag export`
    writes them. Pictures that have none of these are left out."""
    data = await here.look(here.engine.dump_annotations)
    headers = {"Content-Disposition": 'attachment; filename="lookalike-annotations.json"'}
    return Response(data, media_type="application/json", headers=headers)


@router.post(
    "/annotations",
    summary="Add what people said of pictures",
    response_model=ImportedJson,
    responses=problems(400, 413),
    openapi_extra=json_body(AnnotationsJson),
)
@requires("write")
async def import_annotations(request: Request, here: Here) -> JSONResponse:
    """What the other route answers, perhaps of another library. A picture is found by its id, else
    by its paths. What the library has stays; captions and stars take the place of those it has."""
    data = await read_json(request, here.engine.settings.upload_bytes)
    report = await here.look(lambda: here.engine.load_annotations(data))
    return JSONResponse(report.to_json())


@router.get("/tags", summary="List tags", response_model=TagsJson, responses=problems(400, 422))
@requires("read", within=True)
async def list_tags(
    here: Here,
    prefix: Annotated[str, Query(max_length=MOST_TAG)] = "",
    limit: Annotated[int, Query(ge=1, le=10_000)] = 100,
) -> JSONResponse:
    """Those that begin with a prefix, the most frequent first, with their counts. The origin
    `model` counts the pictures in which the library's model sees it."""
    tags = await here.look(lambda: here.engine.tags.all(prefix, limit))
    return JSONResponse({"tags": [one.to_json() for one in tags]})


@router.patch(
    "/tags/{tag:path}",
    summary="Rename a tag",
    response_model=RenamedJson,
    responses=problems(400, 404, 422),
)
@requires("write", within=True)
async def rename_tag(tag: TagPath, body: RenameJson, here: Here) -> JSONResponse:
    """Of all pictures. A picture that has both tags keeps one."""
    count = await here.look(lambda: here.engine.tags.rename(tag, body.name))
    return JSONResponse({"pictures": count})


@router.put(
    "/images/{picture_id}/tags/{tag:path}",
    summary="Add a tag to a picture",
    response_model=ImageJson,
    responses=problems(400, 404, 422),
)
@requires("write", within=True)
async def add_tag(picture_id: str, tag: TagPath, here: Here) -> JSONResponse:
    """A tag that it has in any spelling stays as it is."""
    return await _change(here, picture_id, Change(add_tags=(tag,)))


@router.delete(
    "/images/{picture_id}/tags/{tag:path}",
    summary="Remove a tag from a picture",
    response_model=ImageJson,
    responses=problems(400, 404, 422),
)
@requires("write", within=True)
async def remove_tag(picture_id: str, tag: TagPath, here: Here) -> JSONResponse:
    """In any spelling. A tag that its file gave does not come back from there."""
    return await _change(here, picture_id, Change(remove_tags=(tag,)))


@router.patch(
    "/images/{picture_id}",
    summary="Mark a picture",
    response_model=ImageJson,
    responses=problems(400, 404, 422),
)
@requires("write", within=True)
async def mark_image(picture_id: str, body: MarksJson, here: Here) -> JSONResponse:
    """As a favourite, with stars, as hidden, or with a caption."""
    return await _change(here, picture_id, body.change())


@router.post(
    "/images/batch",
    summary="Change pictures",
    response_model=ChangedJson,
    responses=problems(400, 404, 422),
)
@requires("write", within=True)
async def change_images(body: BatchJson, here: Here) -> JSONResponse:
    """Tags, marks and an album of up to 10,000 pictures, in one transaction. The answer has what
    undoes it."""
    changes = [(tuple(one.ids), one.change()) for one in body.changes]
    if body.ids or not changes:
        changes.insert(0, (tuple(body.ids), body.change()))
    if sum(len(ids) for ids, _ in changes) > MOST_CHANGED:
        raise FieldError([("changes", f"have more than {MOST_CHANGED} ids")])
    answer: Changed = await here.look(lambda: here.engine.tags.change_all(changes))
    return JSONResponse(answer.to_json())


@router.get("/albums", summary="List albums", response_model=AlbumsJson, responses=problems())
@requires("read", within=True)
async def list_albums(here: Here) -> JSONResponse:
    """By name, with the counts of their pictures."""
    albums = await here.look(here.engine.albums.all)
    return JSONResponse({"albums": [one.to_json() for one in albums]})


@router.post(
    "/albums",
    summary="Make an album",
    status_code=201,
    response_model=Album,
    responses=problems(400, 404, 422),
)
@requires("write", within=True)
async def create_album(body: NewAlbumJson, here: Here) -> JSONResponse:
    """With some pictures, or empty."""
    album = await here.look(lambda: here.engine.albums.create(body.name, body.ids))
    return JSONResponse(album.to_json(), status_code=201)


@router.patch(
    "/albums/{album}",
    summary="Rename an album",
    response_model=Album,
    responses=problems(400, 404, 422),
)
@requires("write", within=True)
async def rename_album(album: str, body: RenameJson, here: Here) -> JSONResponse:
    """A token for some collections renames its part of the album, which becomes an album of its
    own if it is not the whole."""
    renamed = await here.look(lambda: here.engine.albums.rename(album, body.name))
    return JSONResponse(renamed.to_json())


@router.delete(
    "/albums/{album}", summary="Delete an album", status_code=204, responses=problems(404)
)
@requires("write", within=True)
async def delete_album(album: str, here: Here) -> Response:
    """Its pictures stay."""
    await here.look(lambda: here.engine.albums.delete(album))
    return Response(status_code=204)


async def _change(here: Context, picture_id: str, change: Change) -> JSONResponse:
    """Change one picture, and answer with it."""
    name = check_id(picture_id)
    changed = await here.look(lambda: here.engine.tags.change([name], change))
    picture = await here.look(lambda: here.engine.picture(changed.ids[0]))
    return JSONResponse(picture.to_json())
