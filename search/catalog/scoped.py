"""Reads of a part of the catalog: what has a file in some of the roots."""

from __future__ import annotations

import os
from collections.abc import Collection, Hashable
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Connection, Select, func, select

from search.catalog import counts
from search.catalog.reads import CatalogReader, check_id, only_one
from search.catalog.schema import files, pictures, places, roots, texts, vectors
from search.catalog.writes import Space, chunks

if TYPE_CHECKING:
    from search.catalog.database import Database
    from search.records.annotations import Annotations
    from search.records.pictures import Label, Metadata
    from search.records.texts import PictureText
    from search.types import RowIds, Vectors


class CollectionReader(CatalogReader):
    """Reads pictures that have a file in some roots, and of their files only those. Other pictures
    are as if the library did not have them. Threads may share it.

    Reads of maintenance (`iterate_vectors`, `list_unembedded` and such) are those of the whole
    library: nothing that answers a user calls them.
    """

    def __init__(self, database: Database, collections: Collection[str]) -> None:
        """collections: paths of the roots. One that is no root any more has no pictures."""
        super().__init__(database)
        self._paths = frozenset(map(os.fsencode, collections))
        self._roots = select(roots.c.id).where(roots.c.path.in_(sorted(self._paths)))

    is_whole = False

    @property
    def part(self) -> Hashable:
        """See `CatalogReader`."""
        return self.shows_hidden, self._paths

    def sees(self, root: bytes) -> bool:
        """See `CatalogReader`."""
        return root in self._paths

    def limit_to_part(self, query: Select[Any], picture: ColumnElement[Any]) -> Select[Any]:
        """See `CatalogReader`."""
        place = select(places.c.id).join(files, files.c.id == places.c.file)
        place = place.where(places.c.picture == picture, files.c.root.in_(self._roots))
        return query.where(place.exists())

    def limit_files(self, query: Select[Any]) -> Select[Any]:
        """See `CatalogReader`."""
        return query.where(files.c.root.in_(self._roots))

    def visible_roots(self, c: Connection) -> Collection[int]:
        """See `CatalogReader`."""
        return set(c.scalars(self._roots))

    def visible_ids(self, space: Space) -> RowIds | None:
        """See `CatalogReader`."""
        import numpy as np  # slow to import, and a command may need no vectors

        query = select(vectors.c.picture).where(vectors.c.space == space.id)
        with self.database.read() as c:
            query = self.limit(query, vectors.c.picture).order_by(vectors.c.picture)
            row_ids = c.scalars(query).all()
        return np.fromiter(row_ids, np.int64, len(row_ids))

    def load_vectors(self, space: Space, row_ids: Collection[int]) -> tuple[list[int], Vectors]:
        """See `CatalogReader`."""
        return super().load_vectors(space, self._select(row_ids))

    def load_metadata(self, row_ids: Collection[int]) -> dict[int, Metadata]:
        """See `CatalogReader`."""
        return super().load_metadata(self._select(row_ids))

    def labels(self, space: Space, row_ids: Collection[int]) -> dict[int, tuple[Label, ...]]:
        """See `CatalogReader`."""
        return super().labels(space, self._select(row_ids))

    def texts_of(self, row_ids: Collection[int]) -> dict[int, PictureText]:
        """See `CatalogReader`."""
        return super().texts_of(self._select(row_ids))

    def have_text(self, row_ids: Collection[int]) -> dict[int, bool]:
        """See `CatalogReader`."""
        return super().have_text(self._select(row_ids))

    def count_texts(self) -> dict[int, int]:
        """See `CatalogReader`. They are counted at each call, as in `count`."""
        present = select(pictures.c.row_id).where(pictures.c.orphaned.is_(None))
        query = select(counts.TEXT_STATE, func.count()).group_by(counts.TEXT_STATE)
        query = query.where(texts.c.picture.in_(self.limit(present, pictures.c.row_id)))
        with self.database.read() as c:
            return {int(state): int(number) for state, number in c.execute(query)}

    def count(self, space: Space | None) -> dict[str, int]:
        """See `CatalogReader`. The pictures are counted at each call: kept counts are of all."""
        present = select(pictures.c.row_id).where(pictures.c.orphaned.is_(None))
        present = self.limit_to_part(present, pictures.c.row_id)
        embedded = select(func.count()).select_from(vectors)
        embedded = embedded.where(vectors.c.picture.in_(present))
        with self.database.read() as c:
            count = c.scalar(select(func.count()).select_from(present.subquery())) or 0
            of_space = embedded.where(vectors.c.space == space.id) if space else None
            searchable = 0 if of_space is None else c.scalar(of_space) or 0
        in_roots = sum(self.files_by_root().values())
        return {"pictures": count, "files": in_roots, "embedded": searchable}

    def files_by_root(self) -> dict[int, int]:
        """See `CatalogReader`."""
        with self.database.read() as c:
            visible = set(c.scalars(self._roots))
        return {root: n for root, n in super().files_by_root().items() if root in visible}

    def newest(self, skip: int, count: int) -> list[int]:
        """See `CatalogReader`."""
        if self.shows_hidden:
            return self.hidden_ids()[skip : skip + count]
        query = select(pictures.c.row_id).where(pictures.c.orphaned.is_(None))
        query = self.limit(query, pictures.c.row_id).order_by(pictures.c.row_id.desc())
        with self.database.read() as c:
            return list(c.scalars(query.offset(skip).limit(count)))

    def hidden_ids(self) -> list[int]:
        """See `CatalogReader`."""
        return self._select(super().hidden_ids())

    def annotations(self, row_ids: Collection[int]) -> dict[int, Annotations]:
        """See `CatalogReader`."""
        return super().annotations(self._select(row_ids))

    def resolve(self, picture_id: str) -> int:
        """See `CatalogReader`."""
        first = check_id(picture_id)
        query = select(pictures.c.row_id).where(pictures.c.orphaned.is_(None))
        query = query.where(pictures.c.id >= first, pictures.c.id < first + "g")
        with self.database.read() as c:
            row_ids = c.scalars(self.limit_to_part(query, pictures.c.row_id).limit(2)).all()
        return only_one(first, row_ids)

    def _select(self, row_ids: Collection[int]) -> list[int]:
        """Return those of the row ids that have a file in the roots, in order."""
        visible = set[int]()
        with self.database.read() as c:
            for part in chunks(row_ids):
                query = select(pictures.c.row_id).where(pictures.c.row_id.in_(part))
                visible |= set(c.scalars(self.limit_to_part(query, pictures.c.row_id)))
        return [row_id for row_id in row_ids if row_id in visible]
