"""Digests of folders that a sync found unchanged, so that the next one need not read their files.

A digest is of a root's files as its folder lists them. It is stored once a sync compared all of
them with the catalog and had nothing to do. Triggers delete it with every write of a file of the
root, of the place of its picture or of its sidecar, whoever writes. So it is never believed of
other rows than those that were compared.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from sqlalchemy import text

if TYPE_CHECKING:
    from search.catalog.database import Database
    from search.catalog.writes import Root


class Listings:
    """Keeps the digests. Its caller holds the write lock.

    mark = listings.begin(root)        # before the rows of the root are read
    ...                                # which differ from the folder in nothing
    listings.store(root, mark, digest)
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def is_stored(self, root: Root, digest: str) -> bool:
        """Return whether the catalog agrees with a listing of this digest."""
        with self._database.read() as c:
            query = text("SELECT digest FROM listings WHERE root = :root")
            return bool(c.scalar(query, {"root": root.id}) == digest)

    def begin(self, root: Root) -> str:
        """Replace the digest of a root by a mark, which the next write of its files deletes."""
        mark = f"compared by {secrets.token_hex(8)}"
        with self._database.write() as c:
            c.execute(text("DELETE FROM listings WHERE root = :root"), {"root": root.id})
            sql = text("INSERT INTO listings (root, digest) VALUES (:root, :mark)")
            c.execute(sql, {"root": root.id, "mark": mark})
        return mark

    def store(self, root: Root, mark: str, digest: str) -> None:
        """Replace the mark of `begin` by a digest, unless something was written since."""
        sql = text("UPDATE listings SET digest = :digest WHERE root = :root AND digest = :mark")
        with self._database.write() as c:
            c.execute(sql, {"root": root.id, "digest": digest, "mark": mark})
