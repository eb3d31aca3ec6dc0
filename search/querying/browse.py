"""Single pictures of the library: what is known of them, and how they are shown."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import BinaryIO

from sqlalchemy import and_

from search.catalog.catalog import Catalog
from search.catalog.films import Films
from search.catalog.listing import IS_HIDDEN, Cursor, PictureList
from search.catalog.reads import CatalogReader
from search.embedders.models import Models
from search.errors import NotFoundError, QueryError, RemoteError, StorageError
from search.media.decoder_pool import DecodedPicture, DecodeRequest
from search.media.frames import request_frame
from search.media.object_urls import join_place
from search.media.open_file import FilePlace, open_file
from search.media.rules import ANIMATED
from search.media.sources import PictureResolver
from search.media.thumbnails import Thumbnails
from search.querying.conditions import Condition
from search.querying.facets import FACETS, FacetCounter
from search.querying.places import PlaceCounter
from search.querying.selection import Selection
from search.records.browsing import Bounds, Facets, FolderCount, Month, Page, PlaceGroup, Sort
from search.records.films import FilmFrames, Moment
from search.records.pictures import Picture

NEWEST_FIRST = "-added"
PART = 500  # pictures that are described at once


class PictureBrowser:
    """Read-only, but for missing thumbnails, which are written again. Threads may share it.

    Methods take an id or the beginning of one. They raise QueryError for an invalid id, and
    NotFoundError when there is no such picture, or none of its files is as it was indexed, and
    RemoteError when its files are in object storage that gives no answer.
    """

    def __init__(
        self,
        reader: CatalogReader,
        thumbnails: Thumbnails,
        resolver: PictureResolver,
        catalog: Catalog,
        models: Models,
        open_file: Callable[[FilePlace], BinaryIO | None] = open_file,
    ) -> None:
        """open_file: opens a file that is as it was indexed."""
        self._open_file = open_file
        self._reader, self._thumbnails, self._resolver = reader, thumbnails, resolver
        self._catalog, self._models = catalog, models
        self._list, self._counter = PictureList(reader), FacetCounter(reader)
        self._places = PlaceCounter(reader)

    def picture(self, picture_id: str) -> Picture:
        """Return the record of a picture."""
        if pictures := self._pictures([self._reader.resolve(picture_id)]):
            return pictures[0]
        raise NotFoundError(f"no picture in the library has id {picture_id}")

    def pictures(self, picture_ids: Sequence[str]) -> list[Picture]:
        """Return the records of pictures, each once, in their order."""
        row_ids = list(self._reader.resolve_all(picture_ids).values())
        return [
            one
            for start in range(0, len(row_ids), PART)
            for one in self._pictures(row_ids[start : start + PART])
        ]

    def page(
        self,
        page: int,
        size: int,
        where: Sequence[str | Condition] = (),
        sort: str | None = None,
        cursor: str | None = None,
        hidden: bool = False,
    ) -> Page:
        """Return a page of pictures.

        page: from 1. size: pictures on a page. where: conditions that all hold. sort: a key of
        `records.SORT_KEYS` but `score`, with `-` for the reverse; None for newest first. cursor:
        `next` of the page before this one, by which any page takes as long as the first. hidden:
        list the hidden pictures, which are on no other page. Raises QueryError.
        """
        order = Sort.parse(sort or NEWEST_FIRST)
        if order.key == "score":
            raise QueryError("sort by score needs a picture or a text; give another sort")
        reader = self._reader.with_hidden() if hidden else self._reader
        criterion, listing = self.select(where, reader).criterion, PictureList(reader)
        after = Cursor.decode(cursor, order) if cursor else None
        skip = 0 if after else (page - 1) * size
        if hidden and criterion is not None:
            criterion = and_(criterion, IS_HIDDEN)
        total = reader.count_listed() if criterion is None else listing.count(criterion)
        if criterion is None and after is None and str(order) == NEWEST_FIRST:
            row_ids = reader.newest(skip, size)
            places = [Cursor(0, None, row_id) for row_id in row_ids]
        else:
            if hidden and criterion is None:
                criterion = IS_HIDDEN
            places = listing.page(criterion, order, size, skip, after)
        pictures = self._pictures([one.row_id for one in places])
        following = places[-1].encode(order) if len(places) == size else None
        return Page(page, -(-total // size), total, tuple(pictures), following)

    def select(
        self, where: Sequence[str | Condition], reader: CatalogReader | None = None
    ) -> Selection:
        """Return the selection of conditions that all hold. Raises ConditionError."""
        space = self._catalog.find_own_space()
        return Selection(reader or self._reader, self._models, where, space)

    def facets(
        self,
        where: Sequence[str | Condition],
        names: Sequence[str],
        picture_ids: Sequence[str] | None,
    ) -> Facets:
        """Return counts of values. See `FacetCounter.count`."""
        return self._counter.count(self.select(where), names or FACETS, picture_ids)

    def months(self, where: Sequence[str | Condition]) -> tuple[Month, ...]:
        """Return counts by month. See `FacetCounter.months`."""
        return self._counter.months(self.select(where))

    def places(
        self, where: Sequence[str | Condition], bounds: Bounds, cells: int
    ) -> tuple[PlaceGroup, ...]:
        """Return groups of pictures by place. See `PlaceCounter.group`."""
        return self._places.group(self.select(where), bounds, cells)

    def folders(
        self, where: Sequence[str | Condition], path: str | None
    ) -> tuple[FolderCount, ...]:
        """Return the folders in a folder. See `FacetCounter.folders`."""
        return self._counter.folders(self.select(where), path)

    def page_of(self, ids: Sequence[str], page: int, size: int) -> Page:
        """Return a page of some pictures, by their ids. page: from 1. size: pictures on a page."""
        part = ids[(page - 1) * size : page * size]
        pictures = self._pictures(list(self._reader.resolve_all(part).values()))
        return Page(page, -(-len(ids) // size), len(ids), tuple(pictures))

    def thumbnail(self, picture_id: str) -> bytes:
        """Return a thumbnail as WebP; write it again if it is missing."""
        picture = self.picture(picture_id)
        if (data := self._thumbnails.read(picture.id)) is not None:
            return data
        thumbnail = self._decode(picture, DecodeRequest()).thumbnail or b""
        with suppress(StorageError):  # a disk that is full or write-protected
            self._thumbnails.write(picture.id, thumbnail)
        return thumbnail

    def preview(self, picture_id: str) -> bytes:
        """Return a preview as JPEG, long side at most 1600 pixels; nothing is stored."""
        return self._decode(self.picture(picture_id), DecodeRequest(preview=True)).preview or b""

    def content(self, picture_id: str) -> bytes:
        """Return the bytes of a picture's file; of a frame of a film, a PNG of it."""
        _, file = self.open_picture(picture_id)
        with file:
            return file.read()

    def open_picture(self, picture_id: str) -> tuple[Picture, BinaryIO]:
        """As `original`, but a frame of a film is opened as a PNG."""
        picture = self.picture(picture_id)
        if picture.time is None:
            return self.original(picture.id)
        content = self._decode(picture, DecodeRequest(content=True)).content
        return picture, io.BytesIO(content or b"")

    def original(self, picture_id: str) -> tuple[Picture, BinaryIO]:
        """Return a picture and its open file; never a link, nor a file that has changed. The file
        of a frame is its film."""
        picture = self.picture(picture_id)
        away: RemoteError | None = None
        for place in self._reader.places(self._reader.resolve(picture.id)):
            try:
                if file := self._open_file(place):
                    return picture, file
            except RemoteError as error:
                away = error
        if away is not None:
            raise away
        raise NotFoundError(
            f"no file of picture {picture.id[:12]} is as it was indexed; index its folder again"
        )

    def frames(self, picture_id: str) -> FilmFrames:
        """Return the frames of the film that a picture is of; none for other pictures."""
        picture = self.picture(picture_id)
        for place in self._reader.places(self._reader.resolve(picture.id)):
            if place.time is not None or picture.metadata.type.upper() in ANIMATED:
                films = Films(self._reader.database)
                duration, frames = films.list_film(place.root, place.path)
                moments = tuple(Moment(*one) for one in frames)
                return FilmFrames(join_place(place.root, place.path), duration, moments)
        return FilmFrames(picture.path, None, ())

    def has_file(self, picture_id: str) -> bool:
        """Return whether a file that is as it was indexed holds this picture."""
        try:
            self.original(picture_id)[1].close()
        except (NotFoundError, RemoteError):
            return False
        return True

    def _pictures(self, row_ids: Sequence[int]) -> list[Picture]:
        described, metadata = self._reader.describe(row_ids), self._reader.load_metadata(row_ids)
        have_text = self._reader.have_text(row_ids)
        annotations = self._reader.annotations(row_ids)
        space = self._catalog.find_own_space()
        labels = (
            self._models.summarize_labels(space, self._reader.labels(space, row_ids))
            if space
            else {}
        )
        return [
            Picture(
                d.id,
                d.choose_path(),
                d.paths,
                metadata[row_id],
                d.tags,
                labels.get(row_id, ()),
                d.low_content,
                d.decode_rule,
                d.original_name,
                d.source_url,
                have_text.get(row_id),
                annotations[row_id],
                d.page,
                d.time,
            )
            for row_id in row_ids
            if (d := described.get(row_id)) and row_id in metadata and row_id in annotations
        ]

    def _request_frame(self, picture: Picture) -> DecodeRequest:
        """Return a request for a frame of a film that is as it was indexed."""
        for place in self._reader.places(self._reader.resolve(picture.id)):
            if request := request_frame(place, self._open_file, picture.id):
                return request
        raise NotFoundError(
            f"the film of picture {picture.id[:12]} is not as it was indexed; index its folder "
            "again"
        )

    def _decode(self, picture: Picture, source: DecodeRequest) -> DecodedPicture:
        """Decode the picture's file. source: without path and data."""
        if picture.time is None:
            source = replace(source, data=self.content(picture.id))
        else:
            request = self._request_frame(picture)
            source = replace(source, path=request.path, frame=request.frame)
        loaded = self._resolver.decode(source)
        if loaded.id != picture.id:
            raise NotFoundError(
                f"{picture.path} has changed since it was indexed; index its folder again"
            )
        return loaded
