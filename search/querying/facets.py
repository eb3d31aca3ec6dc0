"""Counts of pictures: by the values that they have, by month, and by folder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, func, literal_column, select

from search.catalog.listing import PictureList
from search.catalog.reads import CatalogReader
from search.catalog.schema import (
    album_pictures,
    albums,
    colors,
    files,
    labels,
    marks,
    pictures,
    places,
    roots,
    tags,
)
from search.catalog.sql import first_folder
from search.errors import QueryError, UnknownFieldError
from search.files import parse_shown
from search.media.colors import CELLS, SHADES, near_cells, parse_color
from search.media.object_urls import join_place
from search.querying.conditions import Comparison
from search.querying.fields import (
    HAS,
    IS,
    LEAST_COLOR,
    compile_condition,
    describe_unknown,
    nearness,
    shape_of,
)
from search.querying.selection import Selection
from search.querying.values import split_folder
from search.records.browsing import Facet, Facets, FolderCount, Month

FACETS = ("type", "shape", "year", "month", "camera", "folder", "collection", "color", "tag",
          "label", "album", "rating", "is", "has")  # fmt: skip
MOST_VALUES = 100
"""Values of a facet at most; the others have fewer pictures."""
IN_TURN = ("year", "month")
COUNT_BYTES = 300
"""Memory of one count with its name, about."""


class FacetCounter:
    """Counts the pictures that a selection holds. Reads the catalog. Threads may share it."""

    def __init__(self, reader: CatalogReader) -> None:
        self._reader, self._list = reader, PictureList(reader)

    def count(
        self,
        selection: Selection,
        names: Sequence[str] = FACETS,
        picture_ids: Sequence[str] | None = None,
    ) -> Facets:
        """Return how many pictures have each value of some facets.

        names: of `FACETS`. picture_ids: count among these alone, such as those of an answer; the
        others are kept in memory until the catalog changes. Raises UnknownFieldError.
        """
        for name in names:
            if name not in FACETS:
                raise UnknownFieldError(describe_unknown("facet", name, FACETS))
        criterion = selection.criterion
        if picture_ids is not None:
            among = pictures.c.id.in_(picture_ids)
            criterion = among if criterion is None else and_(criterion, among)
            return self._count_facets(selection, names, criterion)
        return self._reader.database.answers.get(
            ("facets", tuple(names), selection.key),
            lambda: self._count_facets(selection, names, criterion),
            lambda answer: COUNT_BYTES * sum(map(len, answer.fields.values())),
        )

    def _count_facets(
        self, selection: Selection, names: Sequence[str], criterion: ColumnElement[bool] | None
    ) -> Facets:
        total = self._list.count(criterion)
        with self._reader.database.read() as c:
            counted = {name: self._count(c, name, criterion, selection) for name in names}
        facets = {
            name: tuple(_facet(name, str(value), n) for value, n in _order(name, rows))
            for name, rows in counted.items()
        }
        return Facets(total, facets)

    def months(self, selection: Selection) -> tuple[Month, ...]:
        """Return the count of each month, newest first; pictures without a date come last. Kept in
        memory until the catalog changes."""
        return self._reader.database.answers.get(
            ("months", selection.key),
            lambda: self._count_months(selection),
            lambda answer: COUNT_BYTES * len(answer),
        )

    def _count_months(self, selection: Selection) -> tuple[Month, ...]:
        base = self._list.select(selection.criterion).subquery()
        month = func.substr(pictures.c.taken, 1, 7)
        query = select(month, func.count()).join(base, base.c.row_id == pictures.c.row_id)
        with self._reader.database.read() as c:
            rows = [(value, n) for value, n in c.execute(query.group_by(month))]
        rows.sort(key=lambda row: row[0] or "", reverse=True)
        return tuple(Month(value, n) for value, n in rows)

    def folders(self, selection: Selection, path: str | None) -> tuple[FolderCount, ...]:
        """Return the folders directly in a folder that have pictures, by name.

        path: absolute, perhaps as `shown` returns it; None for the indexed folders. Kept in memory
        until the catalog changes. Raises QueryError for a relative path.
        """
        return self._reader.database.answers.get(
            ("folders", path, selection.key),
            lambda: self._count_folders_in(selection, path),
            lambda answer: COUNT_BYTES * len(answer),
        )

    def _count_folders_in(self, selection: Selection, path: str | None) -> tuple[FolderCount, ...]:
        listed = self._reader.list_roots()
        if path is None:
            counts = [(one, self._folder(one, selection, root)) for root, one in listed.items()]
            return tuple(count for _, count in sorted(counts) if count and count.count)
        if not os.path.isabs(path) and "://" not in path:
            raise QueryError(f"{path} is not absolute; give the path of a folder from the root on")
        folder = path.rstrip("/")
        children = dict[str, FolderCount]()
        readings = dict.fromkeys((folder, parse_shown(folder)))
        for root, below in (pair for one in readings for pair in split_folder(one, listed)):
            if below is None and listed[root] not in readings:
                continue  # an indexed folder within the folder
            inner = "" if below is None else os.fsdecode(below[0])
            for name, count, has_folders in self._list_children(selection, root, inner):
                place = join_place(listed[root], inner + name)
                children[place] = FolderCount(place, count, has_folders)
        return tuple(children[one] for one in sorted(children))

    def _list_children(
        self, selection: Selection, root: int, inner: str
    ) -> list[tuple[str, int, bool]]:
        """Return name, pictures and whether it has folders of each folder with pictures in a
        folder, in one pass. inner: its path in the root, with a slash at its end."""
        first = os.fsencode(inner)
        name = first_folder(files.c.path, len(first))
        # the folder in the folder of this name
        deeper = first_folder(files.c.path, len(first) + func.length(name) + 1)
        query = select(
            name.label("name"), func.count(places.c.picture.distinct()), func.count(deeper)
        )
        query = self._limit(query, selection, root, first).where(name.is_not(None))
        with self._reader.database.read() as c:
            rows = c.execute(query.group_by(literal_column("1"))).all()
        return [(os.fsdecode(bytes(one)), count, bool(n)) for one, count, n in rows]

    def _folder(self, path: str, selection: Selection, root: int) -> FolderCount:
        """Return the count of a root. path: of the root."""
        query = select(
            func.count(places.c.picture.distinct()), func.count(first_folder(files.c.path, 0))
        )
        with self._reader.database.read() as c:
            count, deeper = c.execute(self._limit(query, selection, root, b"")).one()
        return FolderCount(path, count, bool(deeper))

    def _limit(self, query: Any, selection: Selection, root: int, first: bytes) -> Any:
        """Limit a query to the files with selected pictures below a folder. first: its path in the
        root, with a slash at its end."""
        query = query.select_from(files).join(places, places.c.file == files.c.id)
        selected = self._list.select(selection.criterion)
        # a sum, so that SQLite does not look for each selected picture in each file
        picture = places.c.picture + literal_column("0")
        return query.where(_within(root, first), picture.in_(selected))

    def _count(
        self,
        c: Connection,
        name: str,
        criterion: ColumnElement[bool] | None,
        selection: Selection,
    ) -> list[tuple[Any, int]]:
        """Return the values of a facet with their counts."""
        base = self._list.select(criterion)
        if name == "color":
            return self._count_colors(c, base)
        if name in ("is", "has"):
            flags = IS if name == "is" else HAS
            return [(one, self._count_where(c, name, one, criterion, selection)) for one in flags]
        if name == "folder":
            return self._count_folders(c, base)
        if name == "collection":
            query = select(roots.c.collection, func.count(places.c.picture.distinct()))
            query = query.join_from(places, files, files.c.id == places.c.file)
            query = query.join(roots, roots.c.id == files.c.root).group_by(roots.c.collection)
            query = query.where(roots.c.collection.is_not(None), places.c.picture.in_(base))
            query = self._reader.limit_files(query)
            return [(value, n) for value, n in c.execute(query)]
        if name == "tag":
            query = select(func.min(tags.c.tag), func.count()).group_by(tags.c.normalized)
            query = query.where(tags.c.picture.in_(base))
        elif name == "album":
            query = select(albums.c.name, func.count(album_pictures.c.picture.distinct()))
            query = query.join(album_pictures, album_pictures.c.album == albums.c.id)
            query = query.where(album_pictures.c.picture.in_(base)).group_by(albums.c.name)
        elif name == "rating":
            query = select(marks.c.rating, func.count()).group_by(marks.c.rating)
            query = query.where(marks.c.rating > 0, marks.c.picture.in_(base))
        elif name == "label":
            vocabulary, space = selection.scope.vocabulary(), selection.scope.space
            if vocabulary is None or space is None:
                return []
            query = select(labels.c.label, func.count()).group_by(labels.c.label)
            query = query.where(labels.c.space == space.id, labels.c.picture.in_(base))
            query = query.where(labels.c.score >= vocabulary.threshold)
        else:
            value = {
                "type": pictures.c.type,
                "shape": shape_of(),
                "camera": pictures.c.camera,
                "year": func.substr(pictures.c.taken, 1, 4),
                "month": func.substr(pictures.c.taken, 1, 7),
            }[name].label("value")
            inner = base.add_columns(value).subquery()
            query = select(inner.c.value, func.count()).group_by(inner.c.value)
            query = query.where(inner.c.value.is_not(None))
        return [(value, n) for value, n in c.execute(query)]

    def _count_colors(self, c: Connection, base: Any) -> list[tuple[Any, int]]:
        """Return how many pictures have each color, as the condition `color` says, in one pass."""
        import numpy as np  # slow to import, and few commands count colors

        query = select(colors.c.picture, colors.c.cell, colors.c.share)
        query = query.where((colors.c.picture + literal_column("0")).in_(base))
        rows = np.array(c.execute(query).cursor.fetchall(), np.float64).reshape(-1, 3)
        _, picture = np.unique(rows[:, 0], return_inverse=True)
        cell, counted = rows[:, 1].astype(np.int64), list[tuple[Any, int]]()
        for color in SHADES:
            levels = near_cells(parse_color(color) or ())
            near = np.zeros(CELLS)
            for i, cells in enumerate(levels):
                near[list(cells)] = nearness(i, len(levels))
            held = np.bincount(picture, rows[:, 2] * near[cell]) >= LEAST_COLOR
            counted.append((color, int(held.sum())))
        return counted

    def _count_where(
        self,
        c: Connection,
        field: str,
        value: str,
        criterion: ColumnElement[bool] | None,
        selection: Selection,
    ) -> int:
        """Return how many pictures also hold a condition."""
        holds = compile_condition(Comparison(field, "=", value), selection.scope)
        both = holds if criterion is None else and_(criterion, holds)
        return c.scalar(select(func.count()).select_from(self._list.select(both).subquery())) or 0

    def _count_folders(self, c: Connection, base: Any) -> list[tuple[Any, int]]:
        first = first_folder(files.c.path, 0).label("first")
        inner = select(places.c.picture, roots.c.path.label("root"), first).distinct()
        inner = inner.join(files, files.c.id == places.c.file)
        inner = inner.join(roots, roots.c.id == files.c.root).where(places.c.picture.in_(base))
        rows = self._reader.limit_files(inner).subquery()
        query = select(rows.c.root, rows.c.first, func.count()).group_by(rows.c.root, rows.c.first)
        return [
            (join_place(os.fsdecode(root), os.fsdecode(bytes(name))), n)
            for root, name, n in c.execute(query)
            if name is not None
        ]


def _within(root: int, first: bytes) -> ColumnElement[bool]:
    """Return the criterion that a file is below a folder of a root. first: its path and a slash."""
    if not first:
        return files.c.root == root
    return and_(files.c.root == root, files.c.path >= first, files.c.path < first[:-1] + b"0")


def _order(name: str, rows: list[tuple[Any, int]]) -> list[tuple[Any, int]]:
    """Return the values that pictures have, those of most pictures first."""
    present = [(value, n) for value, n in rows if n]
    if name in IN_TURN:
        return sorted(present, reverse=True)[: 12 * MOST_VALUES]
    return sorted(present, key=lambda row: (-row[1], str(row[0])))[:MOST_VALUES]


def _facet(name: str, value: str, count: int) -> Facet:
    field = "date" if name in IN_TURN else name
    text = value.replace("*", "?") if name in ("camera", "tag", "folder", "album") else value
    try:
        where = str(Comparison(field, "=", text))
    except QueryError:  # a value that cannot be written, such as bytes that are no text
        where = ""
    return Facet(value, count, where)
