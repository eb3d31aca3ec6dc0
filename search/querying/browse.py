"""Single pictures of the library: what is known of them, and how they are shown."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import BinaryIO

from search.catalog.catalog import Catalog
from search.catalog.reads import CatalogReader
from search.embedders.models import Models
from search.errors import NotFoundError
from search.media.decoder_pool import DecodedPicture, PictureSource
from search.media.open_file import open_file
from search.media.sources import PictureResolver
from search.media.thumbnails import Thumbnails
from search.records import Page, Picture


class PictureBrowser:
    """Read-only, but for thumbnails that are made again. Threads may share it.

    Its methods take an id or the beginning of one; they raise QueryError for what is no id and
    NotFoundError where there is no such picture, or no file of it that is as it was indexed.
    """

    def __init__(
        self,
        reader: CatalogReader,
        thumbnails: Thumbnails,
        resolver: PictureResolver,
        catalog: Catalog,
        models: Models,
    ) -> None:
        self._reader, self._thumbnails, self._resolver = reader, thumbnails, resolver
        self._catalog, self._models = catalog, models

    def picture(self, identity: str) -> Picture:
        """What is known of a picture."""
        if found := self._pictures([self._reader.resolve(identity)]):
            return found[0]
        raise NotFoundError(f"no picture in the library has id {identity}")

    def page(self, page: int, size: int) -> Page:
        """Some of the pictures, the last that came first. page: from 1."""
        total = self._reader.count(None)["pictures"]
        found = self._pictures(self._reader.newest((page - 1) * size, size))
        return Page(page, -(-total // size), total, tuple(found))

    def thumbnail(self, identity: str) -> bytes:
        """WebP, made again where it is missing."""
        picture = self.picture(identity)
        if self._thumbnails.has(picture.id):
            with suppress(OSError):
                return self._thumbnails.path(picture.id).read_bytes()
        made = self._decoded(picture, PictureSource()).thumbnail or b""
        self._thumbnails.write(picture.id, made)
        return made

    def preview(self, identity: str) -> bytes:
        """JPEG, made each time."""
        return self._decoded(self.picture(identity), PictureSource(preview=True)).preview or b""

    def content(self, identity: str) -> bytes:
        """The bytes of its file."""
        _, file = self.original(identity)
        with file:
            return file.read()

    def original(self, identity: str) -> tuple[Picture, BinaryIO]:
        """A picture and its file, opened; never a link, nor a file that has changed since."""
        picture = self.picture(identity)
        for place in self._reader.places(self._reader.resolve(picture.id)):
            if file := open_file(place):
                return picture, file
        raise NotFoundError(
            f"no file of picture {picture.id[:12]} is as it was indexed; index its folder again"
        )

    def _pictures(self, numbers: Sequence[int]) -> list[Picture]:
        described, facts = self._reader.describe(numbers), self._reader.load_metadata(numbers)
        model = self._catalog.serving()
        labels = self._models.shown(model, self._reader.labels(model, numbers)) if model else {}
        return [
            Picture(
                d.id,
                d.there(),
                d.paths,
                facts[number],
                d.tags,
                labels.get(number, ()),
                d.low_content,
                d.decode_rule,
            )
            for number in numbers
            if (d := described.get(number)) and number in facts
        ]

    def _decoded(self, picture: Picture, source: PictureSource) -> DecodedPicture:
        """A source without a path or data, made of the picture's file."""
        loaded = self._resolver.decode(replace(source, data=self.content(picture.id)))
        if loaded.id != picture.id:
            raise NotFoundError(
                f"{picture.path} has changed since it was indexed; index its folder again"
            )
        return loaded
