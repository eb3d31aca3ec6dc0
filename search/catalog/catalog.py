"""The catalog: the truth about files, pictures, vectors and tags, and the log of its changes.

A picture is its content and a file is a place: files point at pictures. A picture whose last file
went is an orphan; it leaves every index at once and the catalog after 30 days. Whatever adds a
picture to an index or removes it writes the change log in the same transaction.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote_from_bytes, unquote_to_bytes

from sqlalchemy import Select, and_, bindparam, delete, insert, select, update

from search.catalog.schema import (
    changes,
    colors,
    files,
    labels,
    meta,
    models,
    pictures,
    roots,
    tags,
    vectors,
)
from search.catalog.writes import CatalogFile, CatalogWriter, Model, Root, chunks
from search.media.images import DECODE_RULE
from search.types import FileEntry

ORPHAN_SECONDS = 30 * 86400.0
MEANWHILE = "meanwhile"  # key of a model that nobody chose, and no folder was indexed with

# asked for by every query, so it is put together once
SERVING = (
    select(models).join(meta, meta.c.value == models.c.fingerprint).where(meta.c.key == "model")
)


class Catalog(CatalogWriter):
    """All reading and writing of the tables. Threads may share it."""

    # models ------------------------------------------------------------------------------------

    def model(self, name: str, fingerprint: str, dim: int) -> Model:
        """The model with this fingerprint, entered if it is new, under this name from now on."""
        values = {"name": name, "fingerprint": fingerprint, "dim": dim}
        same = models.c.fingerprint == fingerprint
        with self.database.write() as c:
            if not c.execute(update(models).where(same).values(values)).rowcount:
                c.execute(insert(models).values(values))
            return Model(*c.execute(select(models).where(same)).one())

    def serving(self) -> Model | None:
        """The model that the library answers with."""
        with self.database.read() as c:
            row = c.execute(SERVING).first()
        return Model(*row) if row else None

    def chosen(self) -> Model | None:
        """As `serving`, but None for one that only serves for the time being."""
        with self.database.read() as c:
            if c.execute(select(meta).where(meta.c.key == MEANWHILE)).first():
                return None
        return self.serving()

    def serve(self, model: Model, meanwhile: bool = False) -> None:
        """Answer with this model from now on, and drop the vectors of all others. meanwhile: until
        a folder is indexed, which chooses anew."""
        with self.database.write() as c:
            c.execute(delete(meta).where(meta.c.key.in_(("model", MEANWHILE))))
            c.execute(insert(meta).values(key="model", value=model.fingerprint))
            if meanwhile:
                c.execute(insert(meta).values(key=MEANWHILE, value=model.fingerprint))
            c.execute(delete(vectors).where(vectors.c.model != model.id))
            c.execute(delete(changes).where(changes.c.model != model.id))
            c.execute(delete(labels).where(labels.c.model != model.id))
            c.execute(delete(models).where(models.c.id != model.id))

    # roots -------------------------------------------------------------------------------------

    def roots(self) -> list[Root]:
        """All indexed folders."""
        with self.database.read() as c:
            rows = c.execute(select(roots).order_by(roots.c.path)).all()
        return [Root(r.id, os.fsdecode(r.path), r.device, r.state, tuple(r.exclude)) for r in rows]

    def add_root(self, path: str, device: int, exclude: Sequence[str]) -> Root:
        """Enter a folder as online, or what changed of it."""
        where, name = roots.c.path == os.fsencode(path), {"path": os.fsencode(path)}
        values = {"device": device, "state": "online", "exclude": list(exclude)}
        with self.database.write() as c:
            if not c.execute(update(roots).where(where).values(values)).rowcount:
                c.execute(insert(roots).values(values | name))
            key = c.execute(select(roots.c.id).where(where)).scalar_one()
        return Root(int(key), path, device, "online", tuple(exclude))

    def adopt(self, root: Root, inner: Root, exclude: Sequence[str]) -> Root:
        """Make the files of a root that is inside another one files of that one."""
        place = os.fsencode(os.path.relpath(inner.path, root.path)) + b"/"
        with self.database.write() as c:
            held = c.execute(select(files.c.id, files.c.path).where(files.c.root == inner.id))
            rows = [{"key": row.id, "path": place + row.path, "root": root.id} for row in held]
            for part in chunks([row["path"] for row in rows]):  # what is entered under both
                both = files.c.root == root.id, files.c.path.in_(part)
                c.execute(delete(files).where(*both))
            if rows:
                c.execute(update(files).where(files.c.id == bindparam("key")), rows)
            c.execute(delete(roots).where(roots.c.id == inner.id))
            values = update(roots).where(roots.c.id == root.id).values(exclude=list(exclude))
            c.execute(values)
        return replace(root, exclude=tuple(exclude))

    def keep_in(self, folder: Path) -> None:
        """Note where the library keeps pictures: where that has moved, its root goes along."""
        place = os.fsencode(folder)
        now = quote_from_bytes(place)  # since it need not be UTF-8
        with self.database.read() as c:
            before = c.scalar(select(meta.c.value).where(meta.c.key == "kept"))
        if before == now:
            return
        with self.database.write() as c:
            c.execute(delete(meta).where(meta.c.key == "kept"))
            c.execute(insert(meta).values(key="kept", value=now))
            there = c.execute(select(roots).where(roots.c.path == place)).first()
            if before is not None and there is None:
                moved = update(roots).where(roots.c.path == unquote_to_bytes(before))
                c.execute(moved.values(path=place))

    def set_offline(self, root: Root) -> None:
        """Note that a root is away."""
        with self.database.write() as c:
            c.execute(update(roots).where(roots.c.id == root.id).values(state="offline"))

    # what a sync asks --------------------------------------------------------------------------

    def files(self, root: Root, within: str = "") -> dict[str, CatalogFile]:
        """Files of a root, or of its subfolder, by relative path."""
        prefix = os.fsencode(os.path.join(within, "")) if within else b""
        c = files.c
        columns = (c.path, c.id, c.size, c.mtime_ns, c.inode, c.picture, c.reason, c.rule)
        with self.database.read() as connection:
            rows = connection.execute(select(*columns).where(c.root == root.id)).all()
        decode = os.fsdecode
        return {decode(r[0]): CatalogFile._make(r[1:]) for r in rows if r[0].startswith(prefix)}

    def ids_by_size(self, model: Model) -> dict[int, set[str]]:
        """Map sizes of files in bytes to the ids of pictures of that size which have a vector."""
        query = select(pictures.c.bytes, pictures.c.id).join(
            vectors, and_(vectors.c.picture == pictures.c.row_id, vectors.c.model == model.id)
        )
        sizes: dict[int, set[str]] = {}
        with self.database.read() as c:
            for size, identity in c.execute(query):
                sizes.setdefault(size, set()).add(identity)
        return sizes

    def embedded(self, model: Model, renditions: Collection[str]) -> set[str]:
        """Which of these renditions have a vector already. Pictures of an earlier decode rule do
        not count: their pixels may differ now."""
        query = select(pictures.c.rendition).join(
            vectors, and_(vectors.c.picture == pictures.c.row_id, vectors.c.model == model.id)
        )
        query = query.where(pictures.c.decode_rule == DECODE_RULE)
        return {row[0] for row in self._many(query, pictures.c.rendition, renditions)}

    def numbers(self, ids: Collection[str]) -> dict[str, int]:
        """id -> number, for those that are known."""
        query = select(pictures.c.id, pictures.c.row_id)
        return {row[0]: row[1] for row in self._many(query, pictures.c.id, ids)}

    def _many(self, query: Select[Any], column: Any, values: Collection[Any]) -> list[Any]:
        with self.database.read() as c:
            return [r for part in chunks(values) for r in c.execute(query.where(column.in_(part)))]

    # what goes ------------------------------------------------------------------------------

    def move(self, moves: Sequence[tuple[int, FileEntry]]) -> None:
        """Files (by id) that are the same file under another name, which no other file has."""
        if not moves:
            return
        rows = [{"key": key, "path": os.fsencode(entry.path)} for key, entry in moves]
        with self.database.write() as c:
            c.execute(update(files).where(files.c.id == bindparam("key")), rows)

    def remove_files(self, keys: Collection[int]) -> list[int]:
        """Drop files; returns the pictures that lost their last one and became orphans."""
        gone = []
        with self.database.write() as c:
            for part in chunks(keys):
                rows = c.execute(select(files.c.picture).where(files.c.id.in_(part))).all()
                c.execute(delete(files).where(files.c.id.in_(part)))
                gone += self._orphan(c, {row[0] for row in rows if row[0] is not None})
        return gone

    def drop_root(self, root: Root) -> None:
        """Drop a root that has no files any more."""
        with self.database.write() as c:
            c.execute(delete(roots).where(roots.c.id == root.id))

    def purge(self, numbers: Collection[int] | None = None) -> list[str]:
        """Drop these orphans, or all that are older than 30 days; returns their ids."""
        limit = self._clock() - (ORPHAN_SECONDS if numbers is None else 0)
        query = select(pictures.c.row_id, pictures.c.id).where(pictures.c.orphaned <= limit)
        named = None if numbers is None else set(numbers)
        with self.database.write() as c:
            rows = [r for r in c.execute(query).all() if named is None or r.row_id in named]
            for part in chunks(row.row_id for row in rows):
                for table in (vectors, labels, tags, colors):
                    c.execute(delete(table).where(table.c.picture.in_(part)))
                c.execute(delete(pictures).where(pictures.c.row_id.in_(part)))
        return [row.id for row in rows]
