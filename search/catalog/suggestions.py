"""Names in the catalog that begin with what is typed, with the number of their pictures.

Every question reads a range of an index, or finds its values by jumps in one; so it takes as long
in a large library as in a small one. A user of some roots is told nothing of others.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    Column,
    ColumnElement,
    CompoundSelect,
    Connection,
    and_,
    func,
    select,
    union_all,
)

from search.catalog.full_text import LIKELY, Phrase, tokenize
from search.catalog.schema import (
    album_pictures,
    albums,
    files,
    labels,
    marks,
    pictures,
    places,
    roots,
    tags,
)
from search.files import shown

if TYPE_CHECKING:
    from search.catalog.reads import CatalogReader
    from search.catalog.writes import Space

END = "\U0010ffff"  # no character comes after it
MOST_VALUES = 1000
"""Cameras, lenses, albums that are compared with what is typed."""
MOST_FILES = 500
"""Pictures whose folders are looked at."""
MOST_MONTHS = 24


class NameReader:
    """Reads names. Threads may share it."""

    def __init__(self, reader: CatalogReader) -> None:
        self._reader = reader

    def tags(self, start: str, most: int) -> dict[str, int]:
        """Return tags whose normalized form begins with a text, the most frequent first."""
        form, number = tags.c.normalized, func.count()
        query = select(func.min(tags.c.tag), number).where(form >= start, form < start + END)
        return self._count(query.group_by(form).order_by(number.desc(), form), tags.c.picture, most)

    def labels(self, space: Space, start: str, most: int) -> dict[str, int]:
        """Return likely labels that begin with a text, the most frequent first."""
        name, number = labels.c.label, func.count()
        query = select(name, number).where(labels.c.space == space.id, labels.c.score >= LIKELY)
        query = self._reader.limit_to_part(query.group_by(name), labels.c.picture)
        left_out = labels.c.picture.in_(self._select_left_out())
        counted = Counter[str]()
        with self._reader.database.read() as c:
            for one in {start, start.capitalize()}:  # a range of the index each
                begun = query.where(name >= one, name < one + END)
                counts = {str(label): int(count) for label, count in c.execute(begun)}
                counted.update(counts)
                for label, count in c.execute(begun.where(left_out)) if counts else ():
                    counted[str(label)] -= int(count)
        ordered = sorted(counted.items(), key=lambda one: (-one[1], one[0]))
        return {label: count for label, count in ordered[:most] if count > 0}

    def values(self, column: Column[Any], start: str, most: int) -> dict[str, int]:
        """Return the values of a column of `pictures` of which a word begins with a text."""
        counted: dict[str, int] = {}
        with self._reader.database.read() as c:
            for value in _iterate_values(c, column):
                if _begins(value, start) and (count := self._count_pictures(c, column == value)):
                    counted[value] = count
        return dict(Counter(counted).most_common(most))

    def albums(self, start: str, most: int) -> dict[str, int]:
        """Return the names of albums of which a word begins with a text."""
        counted: dict[str, int] = {}
        with self._reader.database.read() as c:
            query = select(albums.c.id, albums.c.name).order_by(albums.c.name).limit(MOST_VALUES)
            for row in c.execute(query).all():
                if _begins(row.name, start):
                    here = select(album_pictures.c.picture).where(album_pictures.c.album == row.id)
                    if count := self._count_pictures(c, pictures.c.row_id.in_(here)):
                        counted[row.name] = count
        return dict(Counter(counted).most_common(most))

    def collections(self, start: str, most: int) -> dict[str, int]:
        """Return the names of collections of which a word begins with a text."""
        counted: dict[str, int] = {}
        for name, root_ids in self._reader.list_collections().items():
            if _begins(name, start):
                held = select(places.c.picture).join(files, files.c.id == places.c.file)
                held = held.where(files.c.root.in_(root_ids))
                with self._reader.database.read() as c:
                    counted[name] = self._count_pictures(c, pictures.c.row_id.in_(held))
        return dict(Counter(counted).most_common(most))

    def dates(self, start: str) -> dict[str, int]:
        """Return the years that begin with some digits, or the months of a year, oldest first."""
        length, date = (7 if len(start) >= 4 else 4), pictures.c.taken
        counted: dict[str, int] = {}
        last = start
        with self._reader.database.read() as c:
            for _ in range(MOST_MONTHS):
                value = c.scalar(select(func.min(date)).where(date >= last))
                if value is None or not value.startswith(start):
                    break
                key = value[:length]
                if count := self._count_pictures(c, and_(date >= key, date < key + END)):
                    counted[key] = count
                last = key + END
        return counted

    def count_taken(self, since: str, before: str) -> int:
        """Return how many pictures were taken in a period. since, before: as `taken` is written."""
        date = pictures.c.taken
        with self._reader.database.read() as c:
            return self._count_pictures(c, and_(date >= since, date < before))

    def folders(self, start: str, most: int) -> dict[str, int]:
        """Return the names of folders of which a word begins with a text, as `shown` returns them,
        and of how many of the newest pictures with such a word they hold some file; the most
        frequent first."""
        phrase = Phrase.of(start)
        if phrase is None:
            return {}
        row_ids = self._reader.find_text([phrase], MOST_FILES, prefix=True)
        query = select(places.c.picture, files.c.path, roots.c.path)
        query = query.join(files, files.c.id == places.c.file)
        query = query.join(roots, roots.c.id == files.c.root)
        held = Counter[tuple[bytes, bytes]]()  # files by folder: many share one
        with self._reader.database.read() as c:
            for _, path, root in c.execute(query.where(places.c.picture.in_(row_ids))):
                held[root, os.path.dirname(path)] += 1
        counted = Counter[str]()
        for (root, path), number in held.items():
            if self._reader.sees(root):
                folder = os.path.join(os.path.basename(root), path)
                names = {shown(os.fsdecode(one)) for one in folder.split(b"/") if one}
                counted.update({name: number for name in names if _begins(name, start)})
        return dict(counted.most_common(most))

    def _count(self, query: Any, picture: ColumnElement[Any], most: int) -> dict[str, int]:
        present = select(pictures.c.row_id).where(pictures.c.row_id == picture)
        query = query.where(present.where(pictures.c.orphaned.is_(None)).exists())
        with self._reader.database.read() as c:
            rows = c.execute(self._reader.limit(query, picture).limit(most))
            return {str(name): int(number) for name, number in rows}

    def _count_pictures(self, c: Connection, criterion: ColumnElement[bool]) -> int:
        """Count pictures that are shown: all in an index, less the few that are not shown."""
        row_id = pictures.c.row_id
        query = select(func.count()).select_from(pictures).where(criterion)
        total = c.scalar(self._reader.limit_to_part(query, row_id)) or 0
        left_out = query.where(row_id.in_(self._select_left_out()))
        return total - (c.scalar(self._reader.limit_to_part(left_out, row_id)) or 0)

    def _select_left_out(self) -> CompoundSelect[Any]:
        """Return a query for the pictures that no list shows: orphaned and hidden ones."""
        queries = [select(pictures.c.row_id).where(pictures.c.orphaned.is_not(None))]
        if not self._reader.shows_hidden:
            queries.append(select(marks.c.picture).where(marks.c.hidden))
        return union_all(*queries)


def _iterate_values(c: Connection, column: Column[Any]) -> Iterator[str]:
    """Yield the distinct values of a column, by jumps in its index within one query."""
    first = select(func.min(column).label("value")).cte("jumps", recursive=True)
    following = select(func.min(column)).where(column > first.c.value).scalar_subquery()
    values = first.union_all(select(following).where(first.c.value.is_not(None)))
    query = select(values.c.value).where(values.c.value.is_not(None)).limit(MOST_VALUES)
    yield from map(str, c.scalars(query))


def _begins(name: str, start: str) -> bool:
    """Return whether a word of a name, and what follows it, begins with what is typed."""
    typed, words = tokenize(start), tokenize(name)
    if not typed:
        return not start.strip()
    return any(_is_prefix(typed, words[i:]) for i in range(len(words)))


def _is_prefix(typed: Collection[str], words: list[str]) -> bool:
    *first, last = typed
    size = len(first)
    return words[:size] == first and len(words) > size and words[size].startswith(last)
