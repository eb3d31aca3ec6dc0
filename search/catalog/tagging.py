"""Tags, marks and albums of a library, as its users change and list them."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Connection, Select, delete, func, insert, select, update

from search.catalog.annotations import PART, apply_change, check_change
from search.catalog.schema import album_pictures, albums, labels, pictures, tags
from search.catalog.tags import (
    add_tags,
    clean_name,
    normalize_tag,
    remove_tags,
)
from search.errors import InputError, NotFoundError
from search.records.annotations import Album, Change, Changed, Origin, TagCount

if TYPE_CHECKING:
    from search.catalog.catalog import Catalog
    from search.catalog.reads import CatalogReader

Borrow = Callable[[], AbstractContextManager[None]]
"""Holds the write lock for short work."""
MOST_PICTURES = 10_000
"""Most pictures of one change."""
KIND = "name of an album"
CERTAIN = 0.5
"""Least probability of a label that counts as a tag of the model."""


class Tagging:
    """Changes tags, marks and captions of pictures, and lists tags. Threads may share it.

    Pictures are named by ids or the beginnings of ids; those that the reader does not show are
    unknown. Methods raise InputError for what cannot be done, and NotFoundError for an unknown
    picture; nothing is changed then.
    """

    def __init__(self, reader: CatalogReader, catalog: Catalog, borrow: Borrow) -> None:
        self._reader, self._catalog, self._borrow = reader, catalog, borrow
        self._albums = Albums(reader, catalog, borrow)

    def change(self, ids: Iterable[str], change: Change) -> Changed:
        """Change pictures, at most 10,000, in one transaction."""
        return self.change_all([(tuple(ids), change)])

    def change_all(self, changes: Sequence[tuple[Sequence[str], Change]]) -> Changed:
        """Make several changes in one transaction. Returns what undoes them, the last one first."""
        if sum(len(ids) for ids, _ in changes) > MOST_PICTURES:
            raise InputError(f"a change has more than {MOST_PICTURES} pictures; split it")
        rows = [(self._reader.resolve_all(ids), change) for ids, change in changes]
        for _, change in rows:
            check_change(change)
        undo = list[tuple[tuple[str, ...], Change]]()
        with self._borrow(), self._catalog.database.write() as c:
            now = self._catalog.now()
            for row_ids, change in rows:
                album, removed = change.album, change.remove_album
                album = self._albums.find_or_add(c, album) if album else None
                removed = self._albums.find_within(c, removed).id if removed else None
                by_change = dict[Change, list[str]]()
                names = list(row_ids)
                for start in range(0, len(names), PART):
                    part = {row_ids[one]: one for one in names[start : start + PART]}
                    inverse = apply_change(c, list(part), change, album, removed, now)
                    for row_id, one in inverse.items():
                        by_change.setdefault(one, []).append(part[row_id])
                undo[:0] = [(tuple(ids), one) for one, ids in by_change.items()]
        return Changed(tuple(one for row_ids, _ in rows for one in row_ids), tuple(undo))

    def add(self, ids: Iterable[str], names: Iterable[str]) -> Changed:
        """Add tags to pictures."""
        return self.change(ids, Change(add_tags=tuple(names)))

    def remove(self, ids: Iterable[str], names: Iterable[str]) -> Changed:
        """Remove tags from pictures. Those that files gave do not come back from these files."""
        return self.change(ids, Change(remove_tags=tuple(names)))

    def all(self, prefix: str = "", limit: int = 1000) -> list[TagCount]:
        """Return the tags that begin with a prefix, the most frequent first.

        Labels of the library's model that are at least as probable as not count too, with the
        origin `model`. limit: most tags, from 1.
        """
        if limit < 1:
            raise InputError(f"limit is {limit}; give 1 or more")
        start = normalize_tag(prefix) if prefix.strip() else ""
        counts = dict[str, tuple[str, dict[Origin, int]]]()
        present = pictures.c.orphaned.is_(None)
        query = select(tags.c.normalized, tags.c.origin, func.min(tags.c.tag), func.count())
        query = query.join(pictures, pictures.c.row_id == tags.c.picture).where(present)
        query = self._reader.limit(_begin_with(query, tags.c.normalized, start), tags.c.picture)
        spaces = self._reader.spaces()
        with self._reader.database.read() as c:
            for form, origin, tag, count in c.execute(
                query.group_by(tags.c.normalized, tags.c.origin)
            ):
                counts.setdefault(form, (tag, {}))[1][origin] = count
            if spaces:
                tagged = select(labels.c.label, func.count())
                tagged = tagged.join(pictures, pictures.c.row_id == labels.c.picture).where(present)
                tagged = tagged.where(labels.c.space == spaces[0].id, labels.c.score >= CERTAIN)
                tagged = _begin_with(tagged, labels.c.label, start)
                tagged = self._reader.limit(tagged, labels.c.picture)
                for label, count in c.execute(tagged.group_by(labels.c.label)):
                    counts.setdefault(normalize_tag(label), (label, {}))[1]["model"] = count
        listed = [TagCount(tag, sum(n.values()), n) for tag, n in counts.values()]
        return sorted(listed, key=lambda one: (-one.count, one.tag))[:limit]

    def rename(self, old: str, new: str) -> int:
        """Rename a tag; return how many pictures had it. A picture that has both keeps one.

        The new tag is the person's. Raises NotFoundError for a tag that no picture has.
        """
        form, name = normalize_tag(clean_name(old)), clean_name(new)
        query = select(tags.c.picture).where(tags.c.normalized == form).order_by(tags.c.picture)
        query = self._reader.limit(query, tags.c.picture)
        with self._borrow(), self._catalog.database.write() as c:
            row_ids = list(c.scalars(query))
            for start in range(0, len(row_ids), PART):
                part = row_ids[start : start + PART]
                if normalize_tag(name) == form:  # another spelling
                    where = tags.c.normalized == form, tags.c.picture.in_(part)
                    c.execute(update(tags).where(*where).values(tag=name, origin="person"))
                else:
                    remove_tags(c, part, [form])
                    add_tags(c, part, [name], "person")
        if not row_ids:
            raise NotFoundError(f"no picture has the tag {old}; `lookalike tag list` lists them")
        return len(row_ids)


class Albums:
    """Lists and changes albums. Threads may share it.

    Who sees a part of the library sees the albums that have a picture of it, and of them only
    these pictures. Methods take an id or a name, and raise NotFoundError if no album has it.
    """

    def __init__(self, reader: CatalogReader, catalog: Catalog, borrow: Borrow) -> None:
        self._reader, self._catalog, self._borrow = reader, catalog, borrow

    def all(self) -> list[Album]:
        """Return the albums, by name."""
        with self._reader.database.read() as c:
            return self._list(c)

    def find(self, name: str) -> Album:
        """Return the album with an id, or else with a name in any case of letters."""
        with self._reader.database.read() as c:
            return self.find_within(c, name)

    def find_within(self, c: Connection, name: str) -> Album:
        """As `find`, in a transaction."""
        if album := self._look_up(c, name):
            return album
        raise NotFoundError(f"there is no album {name}; `lookalike album list` lists them")

    def find_or_add(self, c: Connection, name: str) -> str:
        """Return the id of an album, which is made if there is none. c: a writing transaction."""
        if album := self._look_up(c, name):
            return album.id
        return self._add(c, clean_name(name, KIND))

    def _list(self, c: Connection) -> list[Album]:
        count = func.count(pictures.c.row_id)
        query = select(albums.c.id, albums.c.name, count.label("count")).select_from(albums)
        query = query.outerjoin(album_pictures, album_pictures.c.album == albums.c.id)
        shown = select(pictures.c.row_id).where(pictures.c.orphaned.is_(None))
        shown = self._reader.limit(shown, pictures.c.row_id)
        is_shown = pictures.c.row_id.in_(shown)
        held = (pictures.c.row_id == album_pictures.c.picture) & is_shown
        query = query.outerjoin(pictures, held).group_by(albums.c.id, albums.c.name)
        rows = [Album(*row) for row in c.execute(query.order_by(albums.c.name, albums.c.id))]
        return [one for one in rows if one.count or self._reader.is_whole]

    def _look_up(self, c: Connection, name: str) -> Album | None:
        """Return the album with an id, or else with a name; None if there is none."""
        form, listed = normalize_tag(clean_name(name, KIND)), self._list(c)
        named = (one for one in listed if normalize_tag(one.name) == form)
        return next((one for one in listed if one.id == name), None) or next(named, None)

    def _refuse_other(self, c: Connection, name: str, album: Album | None = None) -> None:
        """Raise InputError if another album has the name."""
        other = self._look_up(c, name)
        if other and (album is None or other.id != album.id):
            raise InputError(f"there is an album {other.name} already; give another name")

    def _add(self, c: Connection, name: str) -> str:
        album = secrets.token_hex(8)
        values = {"id": album, "name": name, "created": self._catalog.now()}
        c.execute(insert(albums).values(values))
        return album

    def pictures(self, album: str) -> list[str]:
        """Return the ids of the pictures of an album, in the order in which they were added."""
        held = self.find(album)
        query = select(pictures.c.id).join(
            album_pictures, album_pictures.c.picture == pictures.c.row_id
        )
        query = query.where(album_pictures.c.album == held.id, pictures.c.orphaned.is_(None))
        query = self._reader.limit(query, pictures.c.row_id)
        query = query.order_by(album_pictures.c.added, pictures.c.row_id)
        with self._reader.database.read() as c:
            return list(c.scalars(query))

    def create(self, name: str, ids: Sequence[str] = ()) -> Album:
        """Make an album. ids: of its pictures.

        Raises InputError for a name that an album has already, and for an album without pictures of
        a user who sees a part of the library.
        """
        clean = clean_name(name, KIND)
        if not ids and not self._reader.is_whole:
            raise InputError(
                "a token for some collections makes no empty album; give the ids of its pictures"
            )
        row_ids = self._reader.resolve_all(ids)
        with self._borrow(), self._catalog.database.write() as c:
            self._refuse_other(c, clean)
            album, now = self._add(c, clean), self._catalog.now()
            rows = [{"album": album, "picture": n, "added": now} for n in row_ids.values()]
            if rows:
                c.execute(insert(album_pictures), rows)
        return Album(album, clean, len(row_ids))

    def rename(self, album: str, name: str) -> Album:
        """Give an album another name; return it.

        Who sees only a part of its pictures gets an album of their own, with this part. Raises
        InputError for a name that another album has.
        """
        clean = clean_name(name, KIND)
        with self._borrow(), self._catalog.database.write() as c:
            held = self.find_within(c, album)
            self._refuse_other(c, clean, held)
            if (part := self._select_part(c, held.id)) is None:
                c.execute(update(albums).where(albums.c.id == held.id).values(name=clean))
                return Album(held.id, clean, held.count)
            own = self._add(c, clean)
            c.execute(update(album_pictures).where(part).values(album=own))
            return Album(own, clean, held.count)

    def delete(self, album: str) -> None:
        """Delete an album; its pictures stay. Who sees only a part of them takes these out."""
        with self._borrow(), self._catalog.database.write() as c:
            held = self.find_within(c, album)
            if (part := self._select_part(c, held.id)) is not None:
                c.execute(delete(album_pictures).where(part))
                return
            c.execute(delete(album_pictures).where(album_pictures.c.album == held.id))
            c.execute(delete(albums).where(albums.c.id == held.id))

    def _select_part(self, c: Connection, album: str) -> ColumnElement[bool] | None:
        """Return the condition of the pictures of an album that the user may see; None for all."""
        if self._reader.is_whole:
            return None
        column = album_pictures.c.picture
        held = select(column).where(album_pictures.c.album == album)
        part = set(c.scalars(self._reader.limit_to_part(held, column)))
        if part == set(c.scalars(held)):
            return None
        return (album_pictures.c.album == album) & column.in_(part)


def _begin_with(query: Select[Any], column: ColumnElement[str], start: str) -> Select[Any]:
    """Limit a query to rows whose text begins so."""
    return query.where(column >= start, column < start + "\U0010ffff") if start else query
