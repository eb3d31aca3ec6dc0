"""Lists of the pictures that hold a criterion: their ids, and pages in any order."""

from __future__ import annotations

import base64
import json
from collections.abc import Collection
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import ColumnElement, Select, and_, func, or_, select

from search.catalog.schema import colors, files, marks, pictures, places, roots
from search.catalog.sql import base_name, path_order, path_text
from search.catalog.writes import CHUNK, chunks
from search.errors import QueryError

if TYPE_CHECKING:
    from search.catalog.reads import CatalogReader
    from search.records.browsing import Sort
    from search.types import RowIds

Criterion = ColumnElement[bool]
IS_HIDDEN: Criterion = pictures.c.row_id.in_(select(marks.c.picture).where(marks.c.hidden))


class Cursor(NamedTuple):
    """The place in a list after a picture. phase: 1 for pictures that have no value of the key,
    which come last. key: the value, or None."""

    phase: int
    key: str | float | None
    row_id: int

    def encode(self, sort: Sort) -> str:
        """Return it as text for URLs."""
        document = json.dumps([str(sort), *self], separators=(",", ":"))
        return base64.urlsafe_b64encode(document.encode()).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str, sort: Sort) -> Cursor:
        """Parse what `encode` returned for the same order. Raises QueryError."""
        try:
            data = base64.urlsafe_b64decode(text.encode() + b"=" * (-len(text) % 4))
            name, phase, key, row_id = json.loads(data)
            numbers = type(phase) is int and type(row_id) is int and abs(row_id) < 2**63
            if not numbers or not isinstance(key, str | float | int | None):
                raise ValueError
        except (ValueError, TypeError, RecursionError):
            raise QueryError(
                "the cursor is none of this server's; leave it out for the first page"
            ) from None
        if name != str(sort):
            raise QueryError(
                f"the cursor is of a list by {str(name)[:20]}, this one is by {sort}; leave it out"
            )
        return cls(phase, key, row_id)


class PictureList:
    """Reads lists of pictures that a reader shows. Threads may share it."""

    def __init__(self, reader: CatalogReader) -> None:
        self._reader = reader

    def select(self, criterion: Criterion | None) -> Select[Any]:
        """Select the row ids of the present pictures that hold a criterion."""
        query = select(pictures.c.row_id).where(pictures.c.orphaned.is_(None))
        query = query if criterion is None else query.where(criterion)
        return self._reader.limit(query, pictures.c.row_id)

    def count(self, criterion: Criterion | None) -> int:
        """Return how many pictures hold a criterion."""
        if criterion is None:
            return self._reader.count(None)["pictures"]
        with self._reader.database.read() as c:
            query = select(func.count()).select_from(self.select(criterion).subquery())
            return c.scalar(query) or 0

    def row_ids(self, criterion: Criterion | None) -> RowIds:
        """Return the shown pictures that hold a criterion, (n,) row ids, ascending."""
        import numpy as np  # slow to import, and a command may need no vectors

        if criterion is None or not self._reader.is_whole:
            return self._read_ids(self.select(criterion))
        # an index alone may serve this; few pictures are not shown
        row_ids = self._read_ids(select(pictures.c.row_id).where(criterion))
        absent = self._read_ids(select(pictures.c.row_id).where(pictures.c.orphaned.is_not(None)))
        if not self._reader.shows_hidden:
            absent = np.union1d(
                absent, self._read_ids(select(marks.c.picture).where(marks.c.hidden))
            )
        return np.setdiff1d(row_ids, absent, assume_unique=True) if len(absent) else row_ids

    def _read_ids(self, query: Select[Any]) -> RowIds:
        """Return the numbers of a query, (n,), ascending."""
        import numpy as np

        with self._reader.database.read() as c:
            rows = c.execute(query).cursor.fetchall()  # by the driver, since there may be many
        return np.sort(np.fromiter((row[0] for row in rows), np.int64, len(rows)))

    def choose(self, criterion: Criterion, row_ids: Collection[int]) -> set[int]:
        """Return those of some pictures that hold a criterion."""
        chosen = set[int]()
        with self._reader.database.read() as c:
            for part in chunks(row_ids):
                chosen.update(c.scalars(self.select(and_(pictures.c.row_id.in_(part), criterion))))
        return chosen

    def order(self, row_ids: Collection[int], sort: Sort) -> list[int]:
        """Return some pictures in an order, without those that are not shown."""
        parts = [self.page(pictures.c.row_id.in_(part), sort, CHUNK) for part in chunks(row_ids)]
        if len(parts) > 1:  # a key is comparable with that of another part only in the same phase
            return [
                one.row_id
                for phase in (0, 1)
                for one in sorted(
                    (one for part in parts for one in part if one.phase == phase),
                    key=lambda one: (one.key is not None, one.key, one.row_id),
                    reverse=sort.reverse,
                )
            ]
        return [one.row_id for part in parts for one in part]

    def page(
        self,
        criterion: Criterion | None,
        sort: Sort,
        count: int,
        skip: int = 0,
        after: Cursor | None = None,
    ) -> list[Cursor]:
        """Return the places of a page of pictures, in order.

        Pictures that have no value of the key come last. count: pictures at most. skip: pictures to
        leave out before. after: begin after this place, which takes as long for any page.
        """
        if not isinstance(after, Cursor | None):
            raise TypeError("after is a Cursor")
        page = list[Cursor]()
        with self._reader.database.read() as c:
            for phase, (query, key) in enumerate(self._phases(criterion, sort.key)):
                if len(page) == count or (after is not None and after.phase > phase):
                    continue
                if after is not None and after.phase == phase:
                    query = query.where(_is_after(key, after, sort.reverse))
                order = [pictures.c.row_id] if key is None else [key, pictures.c.row_id]
                ordered = query.order_by(*(one.desc() if sort.reverse else one for one in order))
                limited = ordered.offset(skip).limit(count - len(page))
                rows = c.execute(limited).all()
                page += [Cursor(phase, row[1] if len(row) > 1 else None, row[0]) for row in rows]
                if skip and len(page) < count:
                    total = c.scalar(select(func.count()).select_from(query.subquery())) or 0
                    skip = max(0, skip - total)
        return page

    def _phases(
        self, criterion: Criterion | None, key: str
    ) -> list[tuple[Select[Any], ColumnElement[Any] | None]]:
        """Return the queries of pictures with a key and of those without, and the key of each."""
        base = self.select(criterion)
        if key == "added":
            return [(base, None)]
        if key == "size":
            return [(base.add_columns(pictures.c.bytes), pictures.c.bytes)]
        if key == "date":
            date = pictures.c.taken
            return [
                (base.add_columns(date).where(date.is_not(None)), date),
                (base.where(date.is_(None)), None),
            ]
        if key == "color":
            dominant = and_(colors.c.picture == pictures.c.row_id, colors.c.rank == 0)
            none = ~select(colors.c.picture).where(dominant).exists()
            return [
                (base.add_columns(colors.c.hue).join(colors, dominant), colors.c.hue),
                (base.where(none), None),
            ]
        path = path_text(files.c.path)
        value = path_text(roots.c.path) + "/" + path
        if key == "name":
            value = func.lower(base_name(path))
        least = (
            select(func.min(path_order(value)))
            .select_from(places)
            .join(files, files.c.id == places.c.file)
        )
        least = least.join(roots, roots.c.id == files.c.root)
        least = least.where(places.c.picture == pictures.c.row_id)
        first = self._reader.limit_files(least).correlate(pictures).scalar_subquery()
        return [(base.add_columns(first), first)]


def _is_after(key: ColumnElement[Any] | None, after: Cursor, reverse: bool) -> Criterion:
    """Return the criterion that a picture comes after a place."""
    number = pictures.c.row_id
    beyond = number < after.row_id if reverse else number > after.row_id
    if key is None:
        return beyond
    further = key < after.key if reverse else key > after.key
    return or_(further, and_(key == after.key, beyond))
