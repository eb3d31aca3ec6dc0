"""The catalog of a library: spaces, roots and files; what is added, moved and deleted.

A picture is content. Its places say which files hold it. A picture without a place is an orphan.
It leaves every vector store at once, and the catalog after 30 days.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote_from_bytes, unquote_to_bytes

from sqlalchemy import Connection, Select, and_, bindparam, delete, insert, select, update

from search.catalog.schema import (
    UPLOADS,
    changes,
    colors,
    files,
    labels,
    meta,
    pictures,
    places,
    roots,
    spaces,
    tags,
    vectors,
)
from search.catalog.writes import CatalogFile, CatalogWriter, Root, Space, chunks
from search.media.rules import DECODE_RULE
from search.types import FileEntry

ORPHAN_SECONDS = 30 * 86400.0
PROVISIONAL = "meanwhile"
"""Key in `meta` of a space that serves until a folder is indexed, which chooses one."""

OWN = select(spaces).join(meta, meta.c.value == spaces.c.fingerprint).where(meta.c.key == "model")


class Catalog(CatalogWriter):
    """Changes and reads the catalog. Threads may share it; writers hold the write lock."""

    # spaces ------------------------------------------------------------------------------------

    def space(self, name: str, fingerprint: str, dim: int) -> Space:
        """Return the space of a fingerprint, and add or rename it. dim: length of its vectors."""
        values = {"name": name, "fingerprint": fingerprint, "dim": dim}
        same = spaces.c.fingerprint == fingerprint
        with self.database.write() as c:
            if not c.execute(update(spaces).where(same).values(values)).rowcount:
                c.execute(insert(spaces).values(values))
            return Space(*c.execute(select(spaces).where(same)).one())

    def serving(self) -> Space | None:
        """Return the space of the library's own model, or None for a new library."""
        with self.database.read() as c:
            row = c.execute(OWN).first()
        return Space(*row) if row else None

    def chosen(self) -> Space | None:
        """As `serving`, but None for a provisional space."""
        with self.database.read() as c:
            if c.execute(select(meta).where(meta.c.key == PROVISIONAL)).first():
                return None
        return self.serving()

    def serve(self, space: Space, meanwhile: bool = False) -> None:
        """Make a space that of the library's own model.

        Spaces are deleted with their vectors, unless they serve beside it. meanwhile: the space is
        provisional, until a folder is indexed.
        """
        with self.database.write() as c:
            c.execute(delete(meta).where(meta.c.key.in_(("model", PROVISIONAL))))
            c.execute(insert(meta).values(key="model", value=space.fingerprint))
            if meanwhile:
                c.execute(insert(meta).values(key=PROVISIONAL, value=space.fingerprint))
            others = select(spaces.c.id).where(spaces.c.id != space.id, ~spaces.c.beside)
            self._delete_spaces(c, c.scalars(others).all())

    def serve_beside(self, space: Space) -> None:
        """Let a space serve beside the library's own, until `drop_beside`."""
        with self.database.write() as c:
            c.execute(update(spaces).where(spaces.c.id == space.id).values(beside=True))

    def drop_beside(self, space: Space) -> int:
        """End what `serve_beside` began; return the count of vectors that were deleted.

        The vectors of the library's own space stay until its model changes.
        """
        with self.database.write() as c:
            c.execute(update(spaces).where(spaces.c.id == space.id).values(beside=False))
            own = c.execute(OWN).first()
            return 0 if own and own.id == space.id else self._delete_spaces(c, [space.id])

    @staticmethod
    def _delete_spaces(c: Connection, ids: Sequence[int]) -> int:
        """Delete spaces; return the count of their vectors."""
        count = c.execute(delete(vectors).where(vectors.c.space.in_(ids))).rowcount
        for table in (changes, labels):
            c.execute(delete(table).where(table.c.space.in_(ids)))
        c.execute(delete(spaces).where(spaces.c.id.in_(ids)))
        return count

    # roots -------------------------------------------------------------------------------------

    def roots(self) -> list[Root]:
        """Return all indexed folders, sorted by path."""
        with self.database.read() as c:
            rows = c.execute(select(roots).order_by(roots.c.path)).all()
        return [_root(row) for row in rows]

    def add_root(
        self,
        path: str,
        device: int,
        exclude: Sequence[str],
        follow_links: bool = False,
        left_out: Mapping[str, int] | None = None,
        file_system: str | None = None,
    ) -> Root:
        """Add a folder, or update it, as online.

        device, file_system: where it is. exclude: globs. follow_links: whether links in it are
        followed. left_out: how many files of each kind are left out.
        """
        where, name = roots.c.path == os.fsencode(path), {"path": os.fsencode(path)}
        values: dict[str, Any] = {
            "device": device,
            "state": "online",
            "exclude": list(exclude),
            "follow_links": follow_links,
            "left_out": dict(left_out or {}),
            "file_system": file_system,
        }
        with self.database.write() as c:
            if not c.execute(update(roots).where(where).values(values)).rowcount:
                c.execute(insert(roots).values(values | name))
            return _root(c.execute(select(roots).where(where)).one())

    def adopt(self, root: Root, inner: Root, exclude: Sequence[str]) -> Root:
        """Move the files of `inner`, a root inside `root`, to `root`; return it with `exclude`."""
        prefix = os.fsencode(os.path.relpath(inner.path, root.path)) + b"/"
        with self.database.write() as c:
            query = select(files.c.id, files.c.path).where(files.c.root == inner.id)
            rows = [
                {"key": row.id, "path": prefix + row.path, "root": root.id}
                for row in c.execute(query)
            ]
            for part in chunks([row["path"] for row in rows]):  # files that both roots have
                both = files.c.root == root.id, files.c.path.in_(part)
                c.execute(delete(files).where(*both))
            if rows:
                c.execute(update(files).where(files.c.id == bindparam("key")), rows)
            c.execute(delete(roots).where(roots.c.id == inner.id))
            values = update(roots).where(roots.c.id == root.id).values(exclude=list(exclude))
            c.execute(values)
        return replace(root, exclude=tuple(exclude))

    def set_uploads_folder(self, folder: Path) -> None:
        """Record the folder of uploads. If the library was moved, update the path of its root."""
        path = os.fsencode(folder)
        value = quote_from_bytes(path)  # a path need not be UTF-8, and `meta` holds text
        with self.database.read() as c:
            before = c.scalar(select(meta.c.value).where(meta.c.key == UPLOADS))
        if before == value or self.database.read_only:
            return
        with self.database.write() as c:
            c.execute(delete(meta).where(meta.c.key == UPLOADS))
            c.execute(insert(meta).values(key=UPLOADS, value=value))
            root = c.execute(select(roots).where(roots.c.path == path)).first()
            if before is not None and root is None:
                old_root = update(roots).where(roots.c.path == unquote_to_bytes(before))
                c.execute(old_root.values(path=path))

    def set_keeps_lost(self, root: Root, keeps_lost: bool) -> None:
        """Set whether a root keeps files that vanished."""
        with self.database.write() as c:
            c.execute(update(roots).where(roots.c.id == root.id).values(keeps_lost=keeps_lost))

    def set_offline(self, root: Root) -> None:
        """Mark a root as offline."""
        with self.database.write() as c:
            c.execute(update(roots).where(roots.c.id == root.id).values(state="offline"))

    # reads of a sync ----------------------------------------------------------------------------

    def files(self, root: Root, within: str = "") -> dict[str, CatalogFile]:
        """Return the files of a root, or of its subfolder `within`, by relative path."""
        prefix = os.fsencode(os.path.join(within, "")) if within else b""
        c = files.c
        columns = (c.path, c.id, c.size, c.mtime_ns, c.inode, places.c.picture, c.reason, c.rule)
        query = (
            select(*columns, c.ctime_ns, c.probe, c.retry_at, c.skip_code)
            .outerjoin(places, places.c.file == c.id)
            .where(c.root == root.id)
        )
        with self.database.read() as connection:
            rows = connection.execute(query).all()
        decode = os.fsdecode
        return {decode(r[0]): CatalogFile._make(r[1:]) for r in rows if r[0].startswith(prefix)}

    def files_of(self, root: Root, row_id: int) -> dict[int, str]:
        """Return the files of a root that hold a picture: relative path by file id."""
        query = select(files.c.id, files.c.path).join(places, places.c.file == files.c.id)
        query = query.where(files.c.root == root.id, places.c.picture == row_id)
        with self.database.read() as c:
            return {int(row.id): os.fsdecode(row.path) for row in c.execute(query)}

    def ids_by_size(self, space: Space) -> dict[int, set[str]]:
        """Return the ids of pictures with a vector under the space, by their size in bytes."""
        query = select(pictures.c.bytes, pictures.c.id).join(
            vectors, and_(vectors.c.picture == pictures.c.row_id, vectors.c.space == space.id)
        )
        sizes: dict[int, set[str]] = {}
        with self.database.read() as c:
            for size, picture_id in c.execute(query):
                sizes.setdefault(size, set()).add(picture_id)
        return sizes

    def embedded_pixel_hashes(self, space: Space, pixel_hashes: Collection[str]) -> set[str]:
        """Return those hashes of normalized images that have a vector under the space.

        Pictures of an earlier decode rule do not count, since their pixels may differ now.
        """
        query = select(pictures.c.pixel_hash).join(
            vectors, and_(vectors.c.picture == pictures.c.row_id, vectors.c.space == space.id)
        )
        query = query.where(pictures.c.decode_rule == DECODE_RULE)
        return {row[0] for row in self._select_many(query, pictures.c.pixel_hash, pixel_hashes)}

    def row_ids(self, ids: Collection[str]) -> dict[str, int]:
        """Return the row ids of picture ids. Unknown ids are left out."""
        query = select(pictures.c.id, pictures.c.row_id)
        return {row[0]: row[1] for row in self._select_many(query, pictures.c.id, ids)}

    def _select_many(self, query: Select[Any], column: Any, values: Collection[Any]) -> list[Any]:
        with self.database.read() as c:
            return [r for part in chunks(values) for r in c.execute(query.where(column.in_(part)))]

    # moves and removals ------------------------------------------------------------------------

    def move(self, moves: Sequence[tuple[int, FileEntry]]) -> None:
        """Change the paths of files, by file id. The new paths must be free."""
        if not moves:
            return
        rows = [
            {"key": key, "path": os.fsencode(entry.path), "ctime_ns": entry.ctime_ns}
            for key, entry in moves
        ]
        with self.database.write() as c:
            c.execute(update(files).where(files.c.id == bindparam("key")), rows)

    def refresh(self, entries: Sequence[tuple[int, FileEntry]]) -> None:
        """Update what the system keeps of files whose content is as before, by file id."""
        if not entries:
            return
        rows = [
            {"key": key, "inode": entry.inode, "ctime_ns": entry.ctime_ns} for key, entry in entries
        ]
        with self.database.write() as c:
            c.execute(update(files).where(files.c.id == bindparam("key")), rows)

    def mark_changed(self, file_ids: Collection[int]) -> None:
        """Let the next sync read files again, whatever their size and times are."""
        with self.database.write() as c:
            for part in chunks(file_ids):
                c.execute(update(files).where(files.c.id.in_(part)).values(size=-1))

    def remove_files(self, keys: Collection[int]) -> list[int]:
        """Delete files; return the row ids of pictures that lost their last file."""
        orphans = []
        with self.database.write() as c:
            for part in chunks(keys):
                held = set(c.scalars(select(places.c.picture).where(places.c.file.in_(part))))
                c.execute(delete(files).where(files.c.id.in_(part)))
                orphans += self._orphan(c, held)
        return orphans

    def orphan_dangling(self) -> int:
        """Make orphans of pictures that have no file; return their number."""
        query = select(pictures.c.row_id).where(pictures.c.orphaned.is_(None))
        query = query.where(pictures.c.row_id.not_in(select(places.c.picture)))
        with self.database.write() as c:
            row_ids = list(c.scalars(query))
            return sum(len(self._orphan(c, part)) for part in chunks(row_ids))

    def drop_root(self, root: Root) -> None:
        """Delete a root that has no files."""
        with self.database.write() as c:
            c.execute(delete(roots).where(roots.c.id == root.id))

    def purge(self, row_ids: Collection[int] | None = None) -> list[str]:
        """Delete these orphans, or all that are older than 30 days; return their picture ids."""
        limit = self._clock() - (ORPHAN_SECONDS if row_ids is None else 0)
        query = select(pictures.c.row_id, pictures.c.id).where(pictures.c.orphaned <= limit)
        chosen = None if row_ids is None else set(row_ids)
        with self.database.write() as c:
            rows = [r for r in c.execute(query).all() if chosen is None or r.row_id in chosen]
            for part in chunks(row.row_id for row in rows):
                for table in (vectors, labels, tags, colors):
                    c.execute(delete(table).where(table.c.picture.in_(part)))
                c.execute(delete(pictures).where(pictures.c.row_id.in_(part)))
        return [row.id for row in rows]


def _root(row: Any) -> Root:
    path, exclude = os.fsdecode(row.path), tuple(row.exclude)
    listing = bool(row.follow_links), dict(row.left_out)
    state = row.file_system, bool(row.keeps_lost)
    return Root(int(row.id), path, row.device, row.state, exclude, *listing, *state)
