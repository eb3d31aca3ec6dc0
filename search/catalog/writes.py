"""What a sync writes into the catalog, and the log of its changes.

A picture is its content and a file is a place: files point at pictures. A picture whose last file
went is an orphan; it leaves every index at once and the catalog after 30 days. Whatever adds a
picture to an index or removes it writes the change log in the same transaction.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from sqlalchemy import Connection, bindparam, delete, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert_postgres
from sqlalchemy.dialects.sqlite import insert as upsert_sqlite

from search.catalog.database import Database
from search.catalog.schema import changes, colors, files, labels, pictures, tags, vectors
from search.errors import NotFoundError
from search.media.images import DECODE_RULE
from search.records import Facts, Label
from search.types import FileEntry, Vectors

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


class CatalogFile(NamedTuple):
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
class SeenContent:
    """What a model sees in a picture, most probable first, and whether the picture is blank."""

    labels: tuple[Label, ...] = ()
    low_content: bool = False


@dataclass(frozen=True)
class ExtractedFile:
    """A file that was read. facts and rendition: None for a picture the catalog has. vector:
    (dim,) float32 where it was computed, None where the catalog has it or its rendition's; content
    comes with it."""

    entry: FileEntry
    id: str
    rendition: str | None = None
    facts: Facts | None = None
    vector: Vectors | None = None
    content: SeenContent = SeenContent()


@dataclass(frozen=True)
class DecodedContent:
    """What is computed from the pixels of a picture, under the present decode rule."""

    rendition: str
    facts: Facts
    low_content: bool


@dataclass(frozen=True)
class SkippedFile:
    """A file that holds no usable picture under a rule (`DecoderPool.rule`)."""

    entry: FileEntry
    reason: str
    rule: str


def chunks(values: Iterable[Any], size: int = CHUNK) -> Iterator[list[Any]]:
    """Lists short enough for one statement."""
    values = list(values)
    return (values[i : i + size] for i in range(0, len(values), size))


def pack(vector: Vectors) -> bytes:
    """float32 -> little-endian fp16 bytes."""
    return vector.astype("<f2").tobytes()


def unpack(rows: Sequence[bytes], dim: int) -> Vectors:
    """n x fp16 bytes -> (n, dim) float32 of unit length."""
    array = np.frombuffer(b"".join(rows), "<f2").reshape(len(rows), dim).astype(np.float32)
    norms = np.linalg.norm(array, axis=1, keepdims=True)
    result: Vectors = (array / np.maximum(norms, 1e-12)).astype(np.float32)
    return result


def select_labels(
    c: Connection, model: Model, numbers: Iterable[int]
) -> dict[int, tuple[Label, ...]]:
    """The stored labels of these pictures under a model, most probable first, by number. A picture
    without labels is left out."""
    names: dict[int, list[Label]] = {}
    query = select(labels).where(labels.c.model == model.id).order_by(labels.c.score.desc())
    for part in chunks(numbers):
        for row in c.execute(query.where(labels.c.picture.in_(part))):
            names.setdefault(int(row.picture), []).append(Label(row.label, row.score))
    return {number: tuple(rows) for number, rows in names.items()}


def _columns(rendition: str, facts: Facts) -> dict[str, Any]:
    """What a row of `pictures` holds of a picture that was decoded under the present rule."""
    names = ("type", "width", "height", "bytes", "taken", "camera", "latitude", "longitude", "exif")
    row: dict[str, Any] = {name: getattr(facts, name) for name in names}
    lens = facts.exif.get("LensModel")
    row["lens"] = None if lens is None else str(lens)
    return row | {"rendition": rendition, "decode_rule": DECODE_RULE}


class CatalogWriter:
    """What a sync writes: pictures, vectors, files, tags, and the log of changes, in transactions
    of a batch each."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        """clock: seconds since 1970, for orphans."""
        self.database, self._clock = database, clock

    def record(
        self, root: Root, model: Model, batch: Sequence[ExtractedFile | SkippedFile]
    ) -> None:
        """Enter what was read, in one transaction."""
        found = [item for item in batch if isinstance(item, ExtractedFile)]
        with self.database.write() as c:
            numbers, fresh = self._pictures(c, found)
            self._vectors(c, model, found, numbers)
            paths = [os.fsencode(item.entry.path) for item in batch]
            held = select(files.c.path, files.c.id, files.c.picture, files.c.was)
            held = held.where(files.c.root == root.id, files.c.path.in_(paths))
            before = {row.path: row for row in c.execute(held)}
            new, old, left = [], [], set()
            for item, path in zip(batch, paths, strict=True):
                picture = numbers[item.id] if isinstance(item, ExtractedFile) else None
                values = {
                    "size": item.entry.size,
                    "mtime_ns": item.entry.mtime_ns,
                    "inode": item.entry.inode,
                    "picture": picture,
                    "reason": item.reason if isinstance(item, SkippedFile) else None,
                    "rule": item.rule if isinstance(item, SkippedFile) else None,
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

    def add_vectors(
        self,
        model: Model,
        embedded: dict[int, Vectors],
        contents: dict[int, SeenContent] | None = None,
        decoded: dict[int, DecodedContent] | None = None,
    ) -> None:
        """Add vectors of pictures that are in the catalog, by number, in one transaction.

        contents: what is seen in them. decoded: what else to replace; it may hold pictures that
        have a vector already.
        """
        with self.database.write() as c:
            self._insert_vectors(c, model, {n: pack(v) for n, v in embedded.items()})
            self._set_contents(c, model, contents or {})
            items = (decoded or {}).items()
            self._set_decoded(c, {n: (one.rendition, one.facts) for n, one in items})
            self._set_flags(c, {n: one.low_content for n, one in items})

    def _pictures(
        self, c: Connection, found: Sequence[ExtractedFile]
    ) -> tuple[dict[str, int], set[int]]:
        """Enter new pictures, take orphans back; id -> number, and the numbers of these two."""
        by_id = {item.id: item for item in found}
        query = select(pictures.c.id, pictures.c.row_id, pictures.c.orphaned)
        query = query.add_columns(pictures.c.decode_rule)
        query = query.where(pictures.c.id.in_(by_id))
        known = {row.id: row for row in c.execute(query)}
        back = [row.row_id for row in known.values() if row.orphaned is not None]
        if back:
            c.execute(update(pictures).where(pictures.c.row_id.in_(back)).values(orphaned=None))
            self._log(c, back, "add")
        outdated = [picture for picture in known.values() if picture.decode_rule < DECODE_RULE]
        pairs = [(picture.row_id, by_id[picture.id]) for picture in outdated]
        self._set_decoded(  # bytes that were decoded again for another model
            c,
            {n: (item.rendition, item.facts) for n, item in pairs if item.rendition and item.facts},
        )
        new = [item for item in by_id.values() if item.id not in known]
        rows = [self._row(item) for item in new]
        if not rows:
            return {identity: row.row_id for identity, row in known.items()}, set(back)
        renditions = {row["rendition"] for row in rows}
        twins = select(pictures.c.rendition, pictures.c.row_id)
        twins = twins.where(pictures.c.rendition.in_(renditions))
        before = [tuple(row) for row in c.execute(twins)]
        c.execute(insert(pictures), rows)
        numbers = {row.id: int(row.row_id) for row in c.execute(query)}
        self._set_colors(c, {numbers[one.id]: one.facts.palette for one in new if one.facts})
        for rendition, number in before:  # only metadata changed: the tags stay with it
            for row in rows:
                if row["rendition"] == rendition:
                    self._copy_tags(c, [number], numbers[row["id"]])
        return numbers, {*back, *(numbers[row["id"]] for row in rows)}

    @staticmethod
    def _row(found: ExtractedFile) -> dict[str, Any]:
        if found.facts is None or found.rendition is None:
            raise NotFoundError(f"picture {found.id} went while it was indexed; index again")
        return _columns(found.rendition, found.facts) | {"id": found.id}

    @staticmethod
    def _set_decoded(c: Connection, decoded: dict[int, tuple[str, Facts]]) -> None:
        """Replace the rendition hash and the metadata of pictures, by row id."""
        if not decoded:
            return
        change = update(pictures).where(pictures.c.row_id == bindparam("key"))
        c.execute(change, [_columns(*one) | {"key": row_id} for row_id, one in decoded.items()])
        CatalogWriter._set_colors(c, {n: facts.palette for n, (_, facts) in decoded.items()})

    @staticmethod
    def _set_colors(c: Connection, palettes: dict[int, tuple[str, ...]]) -> None:
        """Replace the dominant colours of pictures, by row id."""
        for part in chunks(palettes):
            c.execute(delete(colors).where(colors.c.picture.in_(part)))
        rows = [
            {"picture": row_id, "rank": rank, "color": color}
            for row_id, palette in palettes.items()
            for rank, color in enumerate(palette)
        ]
        if rows:
            c.execute(insert(colors), rows)

    def _vectors(
        self, c: Connection, model: Model, found: Sequence[ExtractedFile], numbers: dict[str, int]
    ) -> None:
        """Enter the vectors that were computed, and copy those of the same rendition."""
        rows = {numbers[f.id]: pack(f.vector) for f in found if f.vector is not None}
        contents = {numbers[f.id]: f.content for f in found if f.vector is not None}
        lacking = {f.rendition: f.id for f in found if f.vector is None and f.rendition}
        if lacking:
            same = (
                select(pictures.c.rendition, pictures.c.row_id, vectors.c.data)
                .join(vectors, vectors.c.picture == pictures.c.row_id)
                .where(pictures.c.rendition.in_(lacking), vectors.c.model == model.id)
                .where(pictures.c.decode_rule == DECODE_RULE)
            )
            held = {row.rendition: row for row in c.execute(same)}
            seen = self._contents(c, model, [row.row_id for row in held.values()])
            known = {key: (row.data, seen[row.row_id]) for key, row in held.items()}
            computed = {
                f.rendition: (pack(f.vector), f.content) for f in found if f.vector is not None
            }
            for f in found:
                copied = (computed | known).get(f.rendition) if f.vector is None else None
                if copied and f.rendition:
                    rows.setdefault(numbers[f.id], copied[0])
                    contents.setdefault(numbers[f.id], copied[1])
        self._insert_vectors(c, model, rows)
        self._set_contents(c, model, contents)

    @staticmethod
    def _contents(c: Connection, model: Model, numbers: Sequence[int]) -> dict[int, SeenContent]:
        """What the catalog holds of these pictures under a model."""
        names = select_labels(c, model, numbers)
        flags = select(pictures.c.row_id, pictures.c.low_content)
        return {
            row.row_id: SeenContent(names.get(row.row_id, ()), row.low_content)
            for row in c.execute(flags.where(pictures.c.row_id.in_(numbers)))
        }

    @staticmethod
    def _set_contents(c: Connection, model: Model, contents: dict[int, SeenContent]) -> None:
        """Replace labels and flags of pictures, by number."""
        if not contents:
            return
        old = delete(labels).where(labels.c.model == model.id, labels.c.picture.in_(contents))
        c.execute(old)
        rows = [
            {"picture": number, "model": model.id, "label": label.name, "score": label.score}
            for number, content in contents.items()
            for label in content.labels
        ]
        if rows:
            c.execute(insert(labels), rows)
        CatalogWriter._set_flags(c, {n: content.low_content for n, content in contents.items()})

    @staticmethod
    def _set_flags(c: Connection, flags: dict[int, bool]) -> None:
        """Replace `low_content` of pictures, by number."""
        for flag in (False, True):
            numbers = [n for n, low_content in flags.items() if low_content == flag]
            change = update(pictures).where(pictures.c.row_id.in_(numbers))
            c.execute(change.where(pictures.c.low_content != flag).values(low_content=flag))

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
        left = select(files.c.id).where(files.c.picture == pictures.c.row_id).exists()
        alone = select(pictures.c.row_id).where(pictures.c.row_id.in_(numbers), ~left)
        gone = [row[0] for row in c.execute(alone.where(pictures.c.orphaned.is_(None)))]
        if gone:
            now = update(pictures).where(pictures.c.row_id.in_(gone))
            c.execute(now.values(orphaned=self._clock()))
            self._log(c, gone, "remove")
        return gone

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
