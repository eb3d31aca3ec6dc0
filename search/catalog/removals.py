"""Files that were moved to the bin: which they are, and what is needed to take them back."""

from __future__ import annotations

import os
import secrets
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import delete, insert, select, update

from search.catalog.schema import files, pictures, places, removals, roots
from search.catalog.writes import chunks
from search.errors import NotFoundError
from search.media.open_file import FilePlace

if TYPE_CHECKING:
    from search.catalog.catalog import Catalog
    from search.catalog.reads import CatalogReader

SECONDS = 30 * 86400.0
"""How long a removal can be undone, as long as the catalog keeps pictures without files."""
MOST_ID = 32


class PictureFile(NamedTuple):
    """A file of a picture. id: of the file in the catalog."""

    id: int
    row_id: int
    picture_id: str
    place: FilePlace


class Removals:
    """Lists the files of pictures, and keeps what undoes their removal. Threads may share it."""

    def __init__(self, reader: CatalogReader, catalog: Catalog) -> None:
        """reader: shows the files that may be listed."""
        self._reader, self._catalog = reader, catalog

    def list_files(self, row_ids: Collection[int]) -> list[PictureFile]:
        """Return the files of pictures, as far as the reader shows them, by path."""
        names = "size mtime_ns ctime_ns probe".split()
        query = select(files.c.id, places.c.picture, pictures.c.id.label("picture_id"))
        query = query.add_columns(roots.c.path.label("root"), files.c.path, roots.c.follow_links)
        query = query.add_columns(*(files.c[name] for name in names), places.c.time).distinct()
        query = query.join(places, places.c.file == files.c.id)
        query = query.join(pictures, pictures.c.row_id == places.c.picture)
        query = self._reader.limit_files(query.join(roots, roots.c.id == files.c.root))
        listed = []
        with self._reader.database.read() as c:
            for part in chunks(row_ids):
                for row in c.execute(query.where(places.c.picture.in_(part))):
                    paths = os.fsdecode(row.root), os.fsdecode(row.path)
                    state = row.size, row.mtime_ns, row.ctime_ns, row.probe, bool(row.follow_links)
                    place = FilePlace(*paths, *state, row.time)
                    listed.append(PictureFile(int(row.id), row.picture, row.picture_id, place))
        return sorted(listed, key=lambda one: (one.place.root, one.place.path))

    def add(
        self, entries: Sequence[Mapping[str, Any]], changes: Sequence[Mapping[str, Any]] = ()
    ) -> str:
        """Store what undoes a removal; return its id.

        entries: a JSON object for each file. changes: of what is said of other pictures, as
        `Changed.to_json` has them.
        """
        removal_id, now = secrets.token_hex(MOST_ID // 2), self._catalog.now()
        document = {"files": list(entries), "changes": list(changes)}
        row = {"id": removal_id, "created": now, "document": document}
        with self._catalog.database.write() as c:
            c.execute(delete(removals).where(removals.c.created < now - SECONDS))
            c.execute(insert(removals).values(row))
        return removal_id

    def find(self, removal_id: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Return the entries and the changes of `add`. Raises NotFoundError if they are gone."""
        query = select(removals.c.document).where(removals.c.id == removal_id)
        query = query.where(removals.c.created >= self._catalog.now() - SECONDS)
        with self._catalog.database.read() as c:
            document = c.scalar(query)
        if document is None:
            raise NotFoundError(
                f"there is no removal {removal_id[:MOST_ID]} that could be undone; take the files "
                "out of the bin yourself, then index their folder"
            )
        return document["files"], document.get("changes", [])

    def keep(self, removal_id: str, entries: Sequence[Mapping[str, Any]]) -> None:
        """Replace the entries of a removal, whose changes are undone; without entries it is
        deleted."""
        same = removals.c.id == removal_id
        with self._catalog.database.write() as c:
            if entries:
                change = update(removals).where(same)
                c.execute(change.values(document={"files": list(entries)}))
            else:
                c.execute(delete(removals).where(same))
