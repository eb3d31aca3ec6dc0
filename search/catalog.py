"""The catalog: the truth about files, pictures, vectors and tags, and the log of its changes.

A picture is its content and a file is a place: files point at pictures. A picture whose last file
went is an orphan; it leaves every index at once and the catalog after 30 days. Whatever adds a
picture to an index or removes it writes the change log in the same transaction.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from sqlalchemy import Connection, Select, and_, bindparam, delete, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert_postgres
from sqlalchemy.dialects.sqlite import insert as upsert_sqlite

from search.database import Database
from search.embedders.base import Vectors
from search.errors import NotFoundError
from search.records import Facts
from search.scan import Entry
from search.schema import changes, files, meta, models, pictures, roots, tags, vectors

ORPHAN_SECONDS = 30 * 86400.0
CHUNK = 5000  # values in one IN (...)


@dataclass(frozen=True)
class Model:
    """A model as the catalog knows it."""

    id: int
    name: str
    fingerprint: str
    dim: int


@dataclass(frozen=True)
class Root:
    """An indexed folder. device: of its file system, as `stat` tells it."""

    id: int
    path: str
    device: int
    state: str
    exclude: tuple[str, ...]


class File(NamedTuple):
    """A file as it was when last read; `picture` is None for a skipped one, with its reason and
    the rule under which it was skipped."""

    id: int
    size: int
    mtime_ns: int
    inode: int
    picture: int | None
    reason: str | None = None
    rule: str | None = None


@dataclass(frozen=True)
class Found:
    """A file that was read. facts and rendition: None for a picture the catalog has. vector:
    (dim,) float32 where it was computed, None where the catalog has it or its rendition's."""

    entry: Entry
    id: str
    rendition: str | None = None
    facts: Facts | None = None
    vector: Vectors | None = None


@dataclass(frozen=True)
class Broken:
    """A file that holds no usable picture under a rule (`Loader.rule`)."""

    entry: Entry
    reason: str
    rule: str


def chunks(values: Iterable[Any]) -> Iterator[list[Any]]:
    """Lists short enough for one statement."""
    values = list(values)
    return (values[i : i + CHUNK] for i in range(0, len(values), CHUNK))


def pack(vector: Vectors) -> bytes:
    """float32 -> little-endian fp16 bytes."""
    return vector.astype("<f2").tobytes()


def unpack(rows: Sequence[bytes], dim: int) -> Vectors:
    """n x fp16 bytes -> (n, dim) float32 of unit length."""
    array = np.frombuffer(b"".join(rows), "<f2").reshape(len(rows), dim).astype(np.float32)
    norms = np.linalg.norm(array, axis=1, keepdims=True)
    result: Vectors = (array / np.maximum(norms, 1e-12)).astype(np.float32)
    return result


class Catalog:
    """All reading and writing of the tables. Threads may share it."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        """clock: seconds since 1970, for orphans."""
        self.database, self._clock = database, clock

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
        query = select(models).join(meta, meta.c.value == models.c.fingerprint)
        with self.database.read() as c:
            row = c.execute(query.where(meta.c.key == "model")).first()
        return Model(*row) if row else None

    def serve(self, model: Model) -> None:
        """Answer with this model from now on, and drop the vectors of all others."""
        with self.database.write() as c:
            c.execute(delete(meta).where(meta.c.key == "model"))
            c.execute(insert(meta).values(key="model", value=model.fingerprint))
            c.execute(delete(vectors).where(vectors.c.model != model.id))
            c.execute(delete(changes).where(changes.c.model != model.id))
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
            if rows:
                c.execute(update(files).where(files.c.id == bindparam("key")), rows)
            c.execute(delete(roots).where(roots.c.id == inner.id))
            values = update(roots).where(roots.c.id == root.id).values(exclude=list(exclude))
            c.execute(values)
        return replace(root, exclude=tuple(exclude))

    def set_offline(self, root: Root) -> None:
        """Note that a root is away."""
        with self.database.write() as c:
            c.execute(update(roots).where(roots.c.id == root.id).values(state="offline"))

    # what a sync asks --------------------------------------------------------------------------

    def files(self, root: Root, within: str = "") -> dict[str, File]:
        """Files of a root, or of its subfolder, by relative path."""
        prefix = os.fsencode(os.path.join(within, "")) if within else b""
        c = files.c
        columns = (c.path, c.id, c.size, c.mtime_ns, c.inode, c.picture, c.reason, c.rule)
        with self.database.read() as connection:
            rows = connection.execute(select(*columns).where(c.root == root.id)).all()
        decode = os.fsdecode
        return {decode(path): File(*row) for path, *row in rows if path.startswith(prefix)}

    def ids_by_size(self, model: Model) -> dict[int, set[str]]:
        """File size -> ids of pictures of that size which have a vector: hashing tells the rest."""
        query = select(pictures.c.bytes, pictures.c.id).join(
            vectors, and_(vectors.c.picture == pictures.c.number, vectors.c.model == model.id)
        )
        sizes: dict[int, set[str]] = {}
        with self.database.read() as c:
            for size, identity in c.execute(query):
                sizes.setdefault(size, set()).add(identity)
        return sizes

    def embedded(self, model: Model, renditions: Collection[str]) -> set[str]:
        """Which of these renditions have a vector already."""
        query = select(pictures.c.rendition).join(
            vectors, and_(vectors.c.picture == pictures.c.number, vectors.c.model == model.id)
        )
        return {row[0] for row in self._many(query, pictures.c.rendition, renditions)}

    def numbers(self, ids: Collection[str]) -> dict[str, int]:
        """id -> number, for those that are known."""
        query = select(pictures.c.id, pictures.c.number)
        return {row[0]: row[1] for row in self._many(query, pictures.c.id, ids)}

    def _many(self, query: Select[Any], column: Any, values: Collection[Any]) -> list[Any]:
        with self.database.read() as c:
            return [r for part in chunks(values) for r in c.execute(query.where(column.in_(part)))]

    # what a sync writes ------------------------------------------------------------------------

    def record(self, root: Root, model: Model, batch: Sequence[Found | Broken]) -> None:
        """Enter what was read, in one transaction."""
        found = [item for item in batch if isinstance(item, Found)]
        with self.database.write() as c:
            numbers, fresh = self._pictures(c, found)
            self._vectors(c, model, found, numbers)
            paths = [os.fsencode(item.entry.path) for item in batch]
            held = select(files.c.path, files.c.id, files.c.picture, files.c.was)
            held = held.where(files.c.root == root.id, files.c.path.in_(paths))
            before = {row.path: row for row in c.execute(held)}
            new, old, left = [], [], set()
            for item, path in zip(batch, paths, strict=True):
                picture = numbers[item.id] if isinstance(item, Found) else None
                values = {
                    "size": item.entry.size,
                    "mtime_ns": item.entry.mtime_ns,
                    "inode": item.entry.inode,
                    "picture": picture,
                    "reason": item.reason if isinstance(item, Broken) else None,
                    "rule": item.rule if isinstance(item, Broken) else None,
                    "was": picture,
                }
                if path not in before:
                    new.append(values | {"root": root.id, "path": path})
                    continue
                was = before[path].was
                old.append(values | {"key": before[path].id, "was": picture or was})
                if was is not None and was != picture:
                    left.add(was)
                    if picture is not None and picture in fresh:  # not another one that was there
                        self._copy_tags(c, [was], picture)
            if new:
                c.execute(insert(files), new)
            if old:
                c.execute(update(files).where(files.c.id == bindparam("key")), old)
            self._orphan(c, left)

    def move(self, moves: Sequence[tuple[int, Entry]]) -> None:
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

    def add_vectors(self, model: Model, found: dict[int, Vectors]) -> None:
        """Vectors of pictures that are in the catalog, by number, in one transaction."""
        with self.database.write() as c:
            self._insert_vectors(c, model, {n: pack(v) for n, v in found.items()})

    def _pictures(self, c: Connection, found: Sequence[Found]) -> tuple[dict[str, int], set[int]]:
        """Enter new pictures, take orphans back; id -> number, and the numbers of these two."""
        by_id = {item.id: item for item in found}
        query = select(pictures.c.id, pictures.c.number, pictures.c.orphaned)
        query = query.where(pictures.c.id.in_(by_id))
        known = {row.id: row for row in c.execute(query)}
        back = [row.number for row in known.values() if row.orphaned is not None]
        if back:
            c.execute(update(pictures).where(pictures.c.number.in_(back)).values(orphaned=None))
            self._log(c, back, "add")
        rows = [self._row(item) for item in by_id.values() if item.id not in known]
        if not rows:
            return {identity: row.number for identity, row in known.items()}, set(back)
        renditions = {row["rendition"] for row in rows}
        twins = select(pictures.c.rendition, pictures.c.number)
        twins = twins.where(pictures.c.rendition.in_(renditions))
        before = [tuple(row) for row in c.execute(twins)]
        c.execute(insert(pictures), rows)
        numbers = {row.id: int(row.number) for row in c.execute(query)}
        for rendition, number in before:  # only metadata changed: the tags stay with it
            for row in rows:
                if row["rendition"] == rendition:
                    self._copy_tags(c, [number], numbers[row["id"]])
        return numbers, {*back, *(numbers[row["id"]] for row in rows)}

    @staticmethod
    def _row(found: Found) -> dict[str, Any]:
        if found.facts is None or found.rendition is None:
            raise NotFoundError(f"picture {found.id} went while it was indexed; index again")
        details = asdict(found.facts)
        row = {key: details.pop(key) for key in ("type", "width", "height", "bytes", "taken")}
        return row | {"id": found.id, "rendition": found.rendition, "facts": details}

    def _vectors(
        self, c: Connection, model: Model, found: Sequence[Found], numbers: dict[str, int]
    ) -> None:
        """Enter the vectors that were computed, and copy those of the same rendition."""
        rows = {numbers[f.id]: pack(f.vector) for f in found if f.vector is not None}
        lacking = {f.rendition: f.id for f in found if f.vector is None and f.rendition}
        if lacking:
            same = (
                select(pictures.c.rendition, vectors.c.data)
                .join(vectors, vectors.c.picture == pictures.c.number)
                .where(pictures.c.rendition.in_(lacking), vectors.c.model == model.id)
            )
            data = {row.rendition: row.data for row in c.execute(same)}
            computed = {f.rendition: pack(f.vector) for f in found if f.vector is not None}
            for f in found:
                if f.vector is None and f.rendition:
                    copied = data.get(f.rendition) or computed.get(f.rendition)
                    if copied:
                        rows.setdefault(numbers[f.id], copied)
        self._insert_vectors(c, model, rows)

    def _insert_vectors(self, c: Connection, model: Model, rows: dict[int, bytes]) -> None:
        if not rows:
            return
        have = select(vectors.c.picture).where(vectors.c.model == model.id)
        held = {row[0] for row in c.execute(have.where(vectors.c.picture.in_(rows)))}
        new = [{"model": model.id, "picture": n, "data": d} for n, d in rows.items()]
        new = [row for row in new if row["picture"] not in held]
        if new:
            c.execute(insert(vectors), new)
            logged = [{k: row[k] for k in ("model", "picture")} for row in new]
            c.execute(insert(changes), [row | {"operation": "add"} for row in logged])

    def _upsert(self, table: Any) -> Any:
        postgres = self.database.engine.dialect.name == "postgresql"
        return upsert_postgres(table) if postgres else upsert_sqlite(table)

    def _log(self, c: Connection, numbers: Collection[int], operation: str) -> None:
        """Log for every model that holds the pictures."""
        held = select(vectors.c.model, vectors.c.picture).where(vectors.c.picture.in_(numbers))
        rows = [
            {"model": row.model, "picture": row.picture, "operation": operation}
            for row in c.execute(held)
        ]
        if rows:
            c.execute(insert(changes), rows)

    def _orphan(self, c: Connection, numbers: Collection[int]) -> list[int]:
        """Mark those of the pictures that have no file left."""
        if not numbers:
            return []
        left = select(files.c.id).where(files.c.picture == pictures.c.number).exists()
        alone = select(pictures.c.number).where(pictures.c.number.in_(numbers), ~left)
        gone = [row[0] for row in c.execute(alone.where(pictures.c.orphaned.is_(None)))]
        if gone:
            now = update(pictures).where(pictures.c.number.in_(gone))
            c.execute(now.values(orphaned=self._clock()))
            self._log(c, gone, "remove")
        return gone

    def purge(self, numbers: Collection[int] | None = None) -> list[str]:
        """Drop these orphans, or all that are older than 30 days; returns their ids."""
        limit = self._clock() - (ORPHAN_SECONDS if numbers is None else 0)
        query = select(pictures.c.number, pictures.c.id).where(pictures.c.orphaned <= limit)
        named = None if numbers is None else set(numbers)
        with self.database.write() as c:
            rows = [r for r in c.execute(query).all() if named is None or r.number in named]
            for part in chunks(row.number for row in rows):
                for column in (vectors.c.picture, tags.c.picture, pictures.c.number):
                    c.execute(delete(column.table).where(column.in_(part)))
        return [row.id for row in rows]

    # tags --------------------------------------------------------------------------------------

    def tag(self, number: int, names: Iterable[str]) -> None:
        """Give a picture tags; those it has already stay."""
        with self.database.write() as c:
            for name in names:
                values = {"picture": number, "tag": name}
                c.execute(self._upsert(tags).values(values).on_conflict_do_nothing())

    def _copy_tags(self, c: Connection, sources: Collection[int], target: int) -> None:
        names = c.execute(select(tags.c.tag).where(tags.c.picture.in_(sources))).all()
        for (name,) in names:
            values = {"picture": target, "tag": name}
            c.execute(self._upsert(tags).values(values).on_conflict_do_nothing())
