"""What XMP files beside pictures say of them, and pictures whose own description was not read."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, select

from search.catalog.annotations import apply_descriptions, set_embedded
from search.catalog.schema import files, places, sidecars
from search.catalog.writes import Root, chunks
from search.records.annotations import Description

if TYPE_CHECKING:
    from search.catalog.catalog import Catalog

Read = tuple[str, Description]
"""A state of a sidecar, and what it says."""


class Sidecars:
    """Reads and writes descriptions of files. Its caller holds the write lock."""

    def __init__(self, catalog: Catalog) -> None:
        self._database = catalog.database

    def states(self, root: Root) -> dict[int, str]:
        """Return the states of the sidecars that were read, by file id."""
        query = select(sidecars.c.file, sidecars.c.state)
        query = query.join(files, files.c.id == sidecars.c.file).where(files.c.root == root.id)
        with self._database.read() as c:
            return {int(row.file): row.state for row in c.execute(query)}

    def write(self, read: Mapping[int, Read], gone: Collection[int] = ()) -> None:
        """Replace what sidecars say, by file id, in one transaction. gone: files without one."""
        with self._database.write() as c:
            for part in chunks({*read, *gone}):
                c.execute(delete(sidecars).where(sidecars.c.file.in_(part)))
                rows = [
                    {"file": one, "state": read[one][0], "document": read[one][1].to_json()}
                    for one in part
                    if one in read
                ]
                if rows:
                    c.execute(insert(sidecars), rows)
                query = select(places.c.picture).where(places.c.file.in_(part))
                apply_descriptions(c, set(c.scalars(query)))

    def set_embedded(self, descriptions: Mapping[int, Description]) -> None:
        """Replace what the bytes of pictures say, by row id, in one transaction."""
        with self._database.write() as c:
            set_embedded(c, descriptions)
