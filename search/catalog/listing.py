"""Lists of the pictures that hold a criterion: their ids, and pages in any order."""

from __future__ import annotations

import base64
import heapq
import itertools
import json
import os
from collections.abc import Collection
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    LargeBinary,
    Select,
    and_,
    func,
    literal,
    or_,
    select,
    true,
)

from search.catalog.schema import colors, files, marks, pictures, places, roots
from search.catalog.sql import name_key
from search.catalog.writes import CHUNK, chunks
from search.errors import QueryError

if TYPE_CHECKING:
    from search.catalog.reads import CatalogReader
    from search.records.browsing import Sort
    from search.types import RowIds

NO_CURSOR = "the cursor is none of this server's; leave it out for the first page"
FILE_KEYS = ("name", "folder")
"""Keys of an order that belong to files."""
Criterion = ColumnElement[bool]
IS_HIDDEN: Criterion = pictures.c.row_id.in_(select(marks.c.picture).where(marks.c.hidden))


class Cursor(NamedTuple):
    """The place in a list after a picture. phase: 1 for pictures that have no value of the key,
    which come last. key: the value, or None; a name or a path as `os.fsdecode` returns it."""

    phase: int
    key: str | float | None
    row_id: int

    def encode(self, sort: Sort) -> str:
        """Return it as text for URLs."""
        # letters as they are, since the long path of a file would otherwise be twice as long
        document = json.dumps([str(sort), *self], ensure_ascii=False, separators=(",", ":"))
        return base64.urlsafe_b64encode(os.fsencode(document)).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str, sort: Sort) -> Cursor:
        """Parse what `encode` returned for the same order. Raises QueryError."""
        try:
            data = base64.urlsafe_b64decode(text.encode() + b"=" * (-len(text) % 4))
            name, phase, key, row_id = json.loads(os.fsdecode(data))
            numbers = type(phase) is int and type(row_id) is int and abs(row_id) < 2**63
            if not numbers or not isinstance(key, str | float | int | None):
                raise ValueError
        except (ValueError, TypeError, RecursionError):
            raise QueryError(NO_CURSOR) from None
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
                    key=lambda one: (one.key is not None, _to_order(one.key), one.row_id),
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
        if criterion is None and sort.key in FILE_KEYS:
            return self._page_by_files(sort, count, skip, after)
        page, row_id = list[Cursor](), pictures.c.row_id
        with self._reader.database.read() as c:
            for phase, (query, key) in enumerate(self._phases(criterion, sort.key)):
                if len(page) == count or (after is not None and after.phase > phase):
                    continue
                if after is not None and after.phase == phase:
                    value = _encode_key(after.key) if sort.key in FILE_KEYS else after.key
                    query = query.where(_is_after(key, row_id, value, after.row_id, sort.reverse))
                ordered = query.order_by(*_list_order(key, row_id, sort.reverse))
                limited = ordered.offset(skip).limit(count - len(page))
                rows = c.execute(limited).all()
                for number, *keys in rows:
                    value = keys[0] if keys else None
                    value = os.fsdecode(value) if isinstance(value, bytes) else value
                    page.append(Cursor(phase, value, number))
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
        value = _key_of_file(key)
        first = select(value).select_from(places).join(files, files.c.id == places.c.file)
        first = first.join(roots, roots.c.id == files.c.root).order_by(value).limit(1)
        first = first.where(places.c.picture == pictures.c.row_id)
        least = self._reader.limit_files(first).correlate(pictures).scalar_subquery()
        return [(base.add_columns(least), least)]

    def _page_by_files(
        self, sort: Sort, count: int, skip: int, after: Cursor | None
    ) -> list[Cursor]:
        """As `page`, of all pictures by their files. An index has the files in order, for paths
        those of each root; so a page costs as much as it shows."""
        place, file = places.alias(), files.alias()
        row_id, pages = place.c.picture, list[list[tuple[bytes, int]]]()
        with self._reader.database.read() as c:
            parts = self._list_parts(c, sort.key, file)
            offset, skip = (skip, 0) if len(parts) == 1 else (0, skip)  # SQL skips faster
            for part, prefix, key in parts:
                query = self._select_first(place, file, sort.key).where(part)
                if after is not None:
                    rest = _encode_key(after.key)
                    if rest.startswith(prefix):
                        value = rest.removeprefix(prefix)
                        query = query.where(
                            _is_after(key, row_id, value, after.row_id, sort.reverse)
                        )
                    elif (prefix > rest) == sort.reverse:
                        continue  # all of the part is before that place
                query = query.add_columns(key).order_by(*_list_order(key, row_id, sort.reverse))
                rows = c.execute(query.offset(offset).limit(skip + count)).all()
                pages.append([(prefix + bytes(row[1]), row[0]) for row in rows])
        merged = heapq.merge(*pages, reverse=sort.reverse)
        page = itertools.islice(merged, skip, skip + count)
        return [Cursor(0, os.fsdecode(key), row_id) for key, row_id in page]

    def _list_parts(
        self, c: Connection, key: str, file: FromClause
    ) -> list[tuple[Criterion, bytes, ColumnElement[Any]]]:
        """Return parts of the files that an index has in order: the criterion of a part, the
        beginning of its keys, and the rest of these. file: an alias of `files`."""
        if key == "name":
            return [(true(), b"", name_key(file.c.path))]
        rows = c.execute(select(roots.c.id, roots.c.path)).all()
        return [
            (file.c.root == root, path + b"/", file.c.path)
            for root, path in rows
            if self._reader.sees(path)
        ]

    def _select_first(self, place: FromClause, file: FromClause, key: str) -> Select[Any]:
        """Select shown pictures, each through the file of it that is first in an order.

        place, file: aliases of `places` and `files`.
        """
        is_seen: Criterion = true()
        if not self._reader.is_whole:
            is_seen = files.c.root.in_(self._reader.list_roots())
        first = select(places.c.id).join(files, files.c.id == places.c.file)
        first = first.join(roots, roots.c.id == files.c.root)
        first = first.where(places.c.picture == place.c.picture, is_seen)
        first = first.order_by(_key_of_file(key), places.c.id).limit(1)
        is_present = select(pictures.c.orphaned.is_(None))
        is_present = is_present.where(pictures.c.row_id == place.c.picture)
        query = select(place.c.picture).join(file, file.c.id == place.c.file)
        # in this form neither criterion makes SQLite read another table before the files
        query = query.where(place.c.id + 0 == first.scalar_subquery())
        query = query.where(is_present.scalar_subquery())
        return self._reader.limit(query, place.c.picture)


def _key_of_file(key: str) -> ColumnElement[Any]:
    """Return what pictures are sorted by, of one file, as bytes."""
    if key == "name":
        return name_key(files.c.path)
    path = roots.c.path.op("||")(literal(b"/")).op("||")(files.c.path)
    return path.cast(LargeBinary)


def _to_order(key: str | float | None) -> bytes | float | None:
    """Return what the key of a cursor is compared by."""
    return os.fsencode(key) if isinstance(key, str) else key


def _encode_key(key: str | float | None) -> bytes:
    """Return the bytes of the key of a cursor. Raises QueryError."""
    try:
        return os.fsencode(key)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise QueryError(NO_CURSOR) from None


def _list_order(
    key: ColumnElement[Any] | None, row_id: ColumnElement[Any], reverse: bool
) -> list[ColumnElement[Any]]:
    order = [row_id] if key is None else [key, row_id]
    return [one.desc() for one in order] if reverse else order


def _is_after(
    key: ColumnElement[Any] | None,
    row_id: ColumnElement[Any],
    value: Any,
    number: int,
    reverse: bool,
) -> Criterion:
    """Return the criterion that a picture comes after a place. value, number: of the key and the
    row id there."""
    beyond = row_id < number if reverse else row_id > number
    if key is None:
        return beyond
    further = key < value if reverse else key > value
    # the first of the two is what an index can serve
    return and_(key <= value if reverse else key >= value, or_(further, beyond))
