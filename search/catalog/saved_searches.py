"""Saved searches, with the pictures of their queries."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Select, delete, func, insert, select, update

from search.catalog.schema import saved_pictures, saved_searches as saved
from search.errors import InputError, NotFoundError
from search.records.saved import MOST_BYTES, MOST_NAME, MOST_SEARCHES, SavedSearch

if TYPE_CHECKING:
    from search.catalog.database import Database


class SavedSearches:
    """The saved searches of a catalog. Each belongs to an owner, and is known to that one alone.

    owner: digest of the token of a user, empty for the owner of the library. Threads may share it.
    """

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        """clock: returns seconds since 1970."""
        self._database, self._clock = database, clock

    def add(
        self,
        owner: str,
        name: str,
        query: dict[str, Any],
        files: Sequence[bytes],
        newest: int,
    ) -> SavedSearch:
        """Save a query.

        query: its JSON. files: the pictures that it names by `image: N`. newest: number of the
        newest picture, which counts as seen. Raises InputError for a name that is taken or cannot
        be, and for too many searches or too large pictures.
        """
        _check_name(name)
        now = self._clock()
        with self._database.write() as c:
            names = set(c.scalars(select(saved.c.name).where(saved.c.owner == owner)))
            if name in names:
                raise _describe_taken(name)
            if len(names) >= MOST_SEARCHES:
                raise InputError(f"there are {MOST_SEARCHES} saved searches; remove some")
            size = select(func.sum(func.length(saved_pictures.c.data)))
            stored = c.scalar(size.where(saved_pictures.c.owner == owner)) or 0
            if stored + sum(map(len, files)) > MOST_BYTES:
                raise InputError(
                    f"the pictures of saved searches may have {MOST_BYTES // 2**20} MiB in all; "
                    "remove a search, or index the picture and search by id:ID"
                )
            search = SavedSearch(name, query, now, now, newest)
            c.execute(insert(saved).values(owner=owner, **search.to_json()))
            rows = [
                {"owner": owner, "name": name, "number": i, "data": data}
                for i, data in enumerate(files)
            ]
            if rows:
                c.execute(insert(saved_pictures), rows)
        return search

    def all(self, owner: str) -> list[SavedSearch]:
        """Return the searches of an owner, by name."""
        with self._database.read() as c:
            return [_search(row) for row in c.execute(_select(owner).order_by(saved.c.name))]

    def get(self, owner: str, name: str) -> tuple[SavedSearch, list[bytes]]:
        """Return a search and its pictures. Raises NotFoundError."""
        of_search = saved_pictures.c.owner == owner, saved_pictures.c.name == name
        files = select(saved_pictures.c.data).where(*of_search).order_by(saved_pictures.c.number)
        with self._database.read() as c:
            row = c.execute(_select(owner).where(saved.c.name == name)).first()
            if row is None:
                raise _describe_missing(name)
            return _search(row), [bytes(data) for data in c.scalars(files)]

    def picture(self, owner: str, name: str, number: int) -> bytes:
        """Return the picture file that a search names by `image: N`. Raises NotFoundError."""
        of_search = saved_pictures.c.owner == owner, saved_pictures.c.name == name
        where = *of_search, saved_pictures.c.number == number
        with self._database.read() as c:
            data = c.scalar(select(saved_pictures.c.data).where(*where))
            if data is not None:
                return bytes(data)
            if c.scalar(select(saved.c.name).where(*_is(owner, name))) is None:
                raise _describe_missing(name)
            raise NotFoundError(f"the search {name!r} has no picture {number}; 0 is the first")

    def rename(self, owner: str, name: str, other: str) -> None:
        """Give a search another name. Raises NotFoundError, and InputError for a name that is taken
        or cannot be."""
        _check_name(other)
        with self._database.write() as c:
            names = set(c.scalars(select(saved.c.name).where(saved.c.owner == owner)))
            if name not in names:
                raise _describe_missing(name)
            if other == name:
                return
            if other in names:
                raise _describe_taken(other)
            for table in (saved_pictures, saved):
                where = table.c.owner == owner, table.c.name == name
                c.execute(update(table).where(*where).values(name=other))

    def mark(self, owner: str, name: str, newest: int) -> None:
        """Note that the answer was seen with the pictures up to a number; an earlier one changes
        nothing. Raises NotFoundError."""
        with self._database.write() as c:
            where = _is(owner, name)
            if c.scalar(select(saved.c.name).where(*where)) is None:
                raise _describe_missing(name)
            values = {"newest": newest, "seen": self._clock()}
            c.execute(update(saved).where(*where, saved.c.newest <= newest).values(values))

    def delete(self, owner: str, name: str) -> None:
        """Delete a search. Raises NotFoundError."""
        with self._database.write() as c:
            for table in (saved_pictures, saved):
                where = table.c.owner == owner, table.c.name == name
                count = c.execute(delete(table).where(*where)).rowcount
            if not count:
                raise _describe_missing(name)


def _select(owner: str) -> Select[Any]:
    columns = saved.c.name, saved.c.query, saved.c.created, saved.c.seen, saved.c.newest
    return select(*columns).where(saved.c.owner == owner)


def _search(row: Any) -> SavedSearch:
    return SavedSearch(row.name, row.query, row.created, row.seen, int(row.newest))


def _is(owner: str, name: str) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return saved.c.owner == owner, saved.c.name == name


def _check_name(name: str) -> None:
    is_name = 1 <= len(name.strip()) <= MOST_NAME and name.isprintable() and "/" not in name
    if not is_name:
        raise InputError(
            f"the name of a search has 1 to {MOST_NAME} characters on one line, and no slash"
        )


def _describe_taken(name: str) -> InputError:
    return InputError(f"there is a search {name!r}; remove it, or take another name")


def _describe_missing(name: str) -> NotFoundError:
    return NotFoundError(f"no search is saved as {name!r}; `lookalike saved list` lists them")
