"""Records extracted pictures: their vectors, labels, files and tags, and the change log.

Each transaction that adds a picture to a vector store, or removes one, also writes the change log.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from search.catalog import counts
from search.catalog.annotations import (
    apply_descriptions,
    copy_annotations,
    recall,
    select_annotated,
    set_embedded,
)
from search.catalog.schema import (
    changes,
    colors,
    files,
    films,
    labels,
    local_features,
    pictures,
    places,
    sidecars,
    vectors,
)
from search.catalog.tags import add_tags
from search.errors import NotFoundError
from search.media.colors import RANK_SHARES, cell_of, color_of_cell, hue_of
from search.media.rules import DECODE_RULE, DESCRIPTION_RULE, FEATURE_RULE
from search.records.pictures import Label, Metadata

if TYPE_CHECKING:
    from search.catalog.database import Database
    from search.records.annotations import Description, Origin
    from search.types import FileEntry, Vectors

METADATA = "type width height bytes taken camera latitude longitude exif truncated".split()
"""Columns of `pictures` that are fields of `Metadata`."""
RETRY_SECONDS, MAX_RETRY_SECONDS = 600.0, 30 * 86400.0
"""Until a file that was slow to fail is tried again: at first, and at most. Each failure makes it
four times as long."""
# nearly all pictures have the present rule, so its index must not be used: hence the sum
IS_PRESENT_RULE = pictures.c.decode_rule + 0 == DECODE_RULE
UNFINISHED = -1
"""Size in the catalog of the file of a film some of whose frames are recorded."""
CHUNK = 5000
"""Values in one `IN (...)`."""


@dataclass(frozen=True)
class Space:
    """A space of vectors: an embedder with its weights, preprocessing and decode rule.

    Vectors of two spaces are never compared. name: of the embedder, as users give it. fingerprint:
    of all the above. dim: length of a vector. beside: it also serves while it is not the space of
    the library's own model.
    """

    id: int
    name: str
    fingerprint: str
    dim: int
    beside: bool = field(default=False, compare=False)


FEATURE_SPACE = Space(-1, "local features", f"local-features-{FEATURE_RULE}", 0)
"""What the change log names the local features by; it is no space of vectors, and in no table."""


@dataclass(frozen=True)
class Root:
    """An indexed folder.

    path: absolute. device: number of its file system (`st_dev`), which may change. state: `online`
    or `offline`. exclude: globs of files that are left out. follow_links: links in it are followed.
    left_out: how many files of each kind were left out when it was last listed. file_system: see
    `search.indexing.file_system`; None for a root of an earlier version. keeps_lost: most files
    vanished at once, and those that did stay until a person confirms it. collection: the name of
    the one that it is in.
    """

    id: int
    path: str
    device: int
    state: str
    exclude: tuple[str, ...]
    follow_links: bool = False
    left_out: Mapping[str, int] = field(default_factory=dict)
    file_system: str | None = None
    keeps_lost: bool = False
    collection: str | None = None


class CatalogFile(NamedTuple):
    """A file as it was when it was read.

    size: in bytes. picture: row id of its picture, or None for a skipped file. reason: why it was
    skipped, skip_code: the same as a code. rule: the limits and codecs at that time
    (`DecoderPool.rule`). ctime_ns, probe: None for a file that an earlier version read. retry_at:
    when to try a slow file again, in seconds since 1970.
    """

    id: int
    size: int
    mtime_ns: int
    inode: int
    picture: int | None
    reason: str | None = None
    rule: str | None = None
    ctime_ns: int | None = None
    probe: bytes | None = None
    retry_at: float | None = None
    skip_code: str | None = None


@dataclass(frozen=True)
class SeenContent:
    """Labels of a picture, most probable first.

    low_content: whether it is blank; None leaves what the catalog has.
    """

    labels: tuple[Label, ...] = ()
    low_content: bool | None = False


@dataclass(frozen=True)
class Origins:
    """Where an upload comes from: the name of its file, and the URL that it was fetched from."""

    original_name: str | None = None
    source_url: str | None = None


@dataclass(frozen=True)
class ExtractedFile:
    """A file with a picture.

    id: SHA-256 of the bytes. pixel_hash: hash of the normalized image; it and metadata are None if
    the catalog has the picture. vector: (dim,) float32 of unit length; None if the catalog has the
    vector of this picture or of its normalized image. content: computed with the vector. probe: a
    digest of samples of the bytes. origins: of an upload. description: what the bytes say of the
    picture; None if they were not decoded. features: packed local features, if they were computed.
    time: of a frame of a film, seconds from the start.
    """

    entry: FileEntry
    id: str
    pixel_hash: str | None = None
    metadata: Metadata | None = None
    vector: Vectors | None = None
    content: SeenContent = SeenContent()
    probe: bytes | None = None
    origins: Origins = Origins()
    description: Description | None = None
    features: bytes | None = None
    time: float | None = None


@dataclass(frozen=True)
class FilmFile:
    """The file of a film. content: SHA-256 of its bytes. probe: a digest of samples of them.
    duration: in seconds, if it is known."""

    content: str
    probe: bytes | None
    duration: float | None = None


@dataclass(frozen=True)
class DecodedContent:
    """What the present decode rule computes. pixel_hash: hash of the normalized image.
    description: what the bytes say of the picture."""

    pixel_hash: str
    metadata: Metadata
    low_content: bool
    description: Description | None = None


@dataclass(frozen=True)
class SkippedFile:
    """A file without a usable picture. rule: the limits and codecs (`DecoderPool.rule`). slow: a
    try costs much time, and may succeed another time. code: of `records.SKIP_CODES`."""

    entry: FileEntry
    reason: str
    rule: str
    slow: bool = False
    code: str = "not_a_picture"


def chunks(values: Iterable[Any], size: int = CHUNK) -> Iterator[list[Any]]:
    """Split values into lists that one statement can take."""
    values = list(values)
    return (values[i : i + size] for i in range(0, len(values), size))


def pack(vector: Vectors) -> bytes:
    """Return a (dim,) vector as little-endian float16 bytes."""
    return vector.astype("<f2").tobytes()


def digest(data: bytes) -> bytes:
    """Return the 8 bytes by which `check` tells whether a packed vector is damaged."""
    return hashlib.blake2b(data, digest_size=8).digest()


def is_undamaged(row: Any, space: Space) -> bool:
    """Return whether a row of `vectors` (`data`, `digest`) has a vector as it was stored."""
    return len(row.data) == 2 * space.dim and digest(row.data) == row.digest


def unpack(rows: Sequence[bytes], dim: int) -> Vectors:
    """Return packed vectors as (n, dim) float32 of unit length."""
    import numpy as np  # slow to import, and a command may need no vectors

    array = np.frombuffer(b"".join(rows), "<f2").reshape(len(rows), dim).astype(np.float32)
    norms = np.linalg.norm(array, axis=1, keepdims=True)
    result: Vectors = (array / np.maximum(norms, 1e-12)).astype(np.float32)
    return result


def select_labels(
    c: Connection, space: Space, row_ids: Iterable[int]
) -> dict[int, tuple[Label, ...]]:
    """Return the labels of pictures under a space, most probable first, by row id.

    Pictures without labels are left out.
    """
    names: dict[int, list[Label]] = {}
    query = select(labels).where(labels.c.space == space.id).order_by(labels.c.score.desc())
    for part in chunks(row_ids):
        for row in c.execute(query.where(labels.c.picture.in_(part))):
            names.setdefault(int(row.picture), []).append(Label(row.label, row.score))
    return {row_id: tuple(rows) for row_id, rows in names.items()}


def count_placed(c: Connection, file_ids: Iterable[int]) -> Counter[int]:
    """Return how many of some files have a picture, by the id of their root."""
    query = select(files.c.root, func.count()).where(files.c.id.in_(select(places.c.file)))
    placed = Counter[int]()
    for part in chunks(file_ids):
        for root, number in c.execute(query.where(files.c.id.in_(part)).group_by(files.c.root)):
            placed[root] += number
    return placed


def _select_present(c: Connection, row_ids: Collection[int]) -> list[int]:
    """Return those pictures that are no orphans."""
    query = select(pictures.c.row_id).where(pictures.c.orphaned.is_(None))
    return list(c.scalars(query.where(pictures.c.row_id.in_(row_ids))))


def _retry_seconds(tries: int) -> float:
    """Return for how long a file is left alone after some slow failures."""
    return min(RETRY_SECONDS * 4.0 ** min(tries - 1, 20), MAX_RETRY_SECONDS)


def _columns(pixel_hash: str, metadata: Metadata) -> dict[str, Any]:
    """Return the columns of `pictures` that decoding fills."""
    row: dict[str, Any] = {name: getattr(metadata, name) for name in METADATA}
    lens = metadata.exif.get("LensModel")
    row["lens"] = None if lens is None else str(lens)
    return row | {"pixel_hash": pixel_hash, "decode_rule": DECODE_RULE}


class CatalogWriter:
    """Writes pictures, vectors, files and tags. Its caller holds the write lock."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        """clock: returns seconds since 1970; it dates orphans and tries."""
        self.database, self._clock = database, clock

    def now(self) -> float:
        """Return the time of the catalog's clock, in seconds since 1970."""
        return self._clock()

    def record(
        self, root: Root, space: Space, batch: Sequence[ExtractedFile | SkippedFile]
    ) -> None:
        """Write a batch of files in one transaction.

        Raises NotFoundError for a picture that the catalog lost since it was extracted; nothing is
        written then.
        """
        extracted = [item for item in batch if isinstance(item, ExtractedFile)]
        with self.database.write() as c:
            row_ids, arrived = self._write_pictures(c, extracted)
            self._write_vectors(c, space, extracted, row_ids)
            self._set_features(
                c, {row_ids[one.id]: one.features for one in extracted if one.features is not None}
            )
            for file in extracted:
                self._set_origins(c, row_ids[file.id], file.origins)
            paths = [os.fsencode(item.entry.path) for item in batch]
            query = select(files.c.path, files.c.id, files.c.last_picture, files.c.tries)
            query = query.where(files.c.root == root.id, files.c.path.in_(paths))
            before = {row.path: row for row in c.execute(query)}
            new, changed, abandoned = [], [], set()
            picture_of: dict[bytes, int] = {}
            for item, path in zip(batch, paths, strict=True):
                picture = row_ids[item.id] if isinstance(item, ExtractedFile) else None
                if picture is not None:
                    picture_of[path] = picture
                values = {
                    "size": item.entry.size,
                    "mtime_ns": item.entry.mtime_ns,
                    "inode": item.entry.inode,
                    "ctime_ns": item.entry.ctime_ns,
                    "probe": item.probe if isinstance(item, ExtractedFile) else None,
                    "reason": item.reason if isinstance(item, SkippedFile) else None,
                    "skip_code": item.code if isinstance(item, SkippedFile) else None,
                    "rule": item.rule if isinstance(item, SkippedFile) else None,
                    "last_picture": picture,
                    **self._next_try(item, before.get(path)),
                }
                if path not in before:
                    new.append(values | {"root": root.id, "path": path})
                    continue
                last = before[path].last_picture
                changed.append(values | {"key": before[path].id, "last_picture": picture or last})
                if last is not None and last != picture:
                    abandoned.add(last)
                    # an edited file keeps what people said; one that two pictures swapped does not
                    if picture is not None and picture in arrived:
                        copy_annotations(c, [last], picture)
            if new:
                c.execute(insert(files), new)
            if changed:
                c.execute(update(files).where(files.c.id == bindparam("key")), changed)
            file_ids = {row.path: row.id for row in c.execute(query)}
            gained = len(picture_of) - sum(count_placed(c, file_ids.values()).values())
            counts.change(c, counts.FILES, [root.id], gained)
            c.execute(delete(places).where(places.c.file.in_(file_ids.values())))
            # a file that was a film may be a picture now
            c.execute(delete(films).where(films.c.file.in_(file_ids.values())))
            rows = [{"file": file_ids[path], "picture": n} for path, n in picture_of.items()]
            if rows:
                c.execute(insert(places), rows)
            self._apply_sidecars(c, file_ids.values(), {*row_ids.values(), *abandoned})
            self._orphan(c, abandoned)

    def record_frames(
        self, root: Root, space: Space, entry: FileEntry, frames: Sequence[ExtractedFile]
    ) -> None:
        """Write some frames of a film in one transaction.

        Frames that the catalog has of the file stay until `complete_film`. Until then the file
        counts as changed, so that a sync that was interrupted reads it again. Raises NotFoundError.
        """
        with self.database.write() as c:
            row_ids, _ = self._write_pictures(c, frames)
            self._write_vectors(c, space, frames, row_ids)
            self._set_features(
                c, {row_ids[one.id]: one.features for one in frames if one.features is not None}
            )
            file_id = self._begin_film(c, root, entry)
            query = select(places.c.picture, places.c.time).where(places.c.file == file_id)
            held = {(int(row.picture), row.time) for row in c.execute(query)}
            if not held and frames:
                counts.change(c, counts.FILES, [root.id])
            new = {(row_ids[one.id], one.time) for one in frames} - held
            if new:
                rows = [{"file": file_id, "picture": n, "time": time} for n, time in sorted(new)]
                c.execute(insert(places), rows)

    @staticmethod
    def _begin_film(c: Connection, root: Root, entry: FileEntry) -> int:
        """Mark the file of a film as changed; return its id."""
        key = (files.c.root == root.id) & (files.c.path == os.fsencode(entry.path))
        state: dict[str, Any] = {"size": UNFINISHED, "mtime_ns": entry.mtime_ns}
        state |= {"inode": entry.inode, "reason": None, "skip_code": None, "rule": None}
        if not c.execute(update(files).where(key).values(state)).rowcount:
            state |= {"root": root.id, "path": os.fsencode(entry.path)}
            c.execute(insert(files).values(state))
        file_id = int(c.scalars(select(files.c.id).where(key)).one())
        c.execute(delete(films).where(films.c.file == file_id))
        return file_id

    def complete_film(
        self,
        root: Root,
        entry: FileEntry,
        film: FilmFile,
        frames: Mapping[float, str] | Mapping[float | None, str],
        words: Mapping[float, str],
    ) -> tuple[str, int]:
        """Write that all frames of a film are recorded; return id and row id of the one with the
        least row id.

        frames: picture ids by time; None for the picture that stands for an animation. words: by
        time of a frame. Other frames of the file leave it.
        """
        with self.database.write() as c:
            file_id = self._begin_film(c, root, entry)
            row_ids = {
                row.id: int(row.row_id)
                for part in chunks(set(frames.values()))
                for row in c.execute(
                    select(pictures.c.id, pictures.c.row_id).where(pictures.c.id.in_(part))
                )
            }
            complete = {(row_ids[one], time) for time, one in frames.items()}
            query = select(places.c.id, places.c.picture, places.c.time)
            stored = c.execute(query.where(places.c.file == file_id)).all()
            old = [row for row in stored if (int(row.picture), row.time) not in complete]
            for part in chunks(row.id for row in old):
                c.execute(delete(places).where(places.c.id.in_(part)))
            for row in stored:
                if (text := words.get(row.time)) is not None:
                    c.execute(update(places).where(places.c.id == row.id).values(words=text))
            self._end_film(c, file_id, entry, film, min(row_ids.values()))
            self._orphan(c, {int(row.picture) for row in old})
            picture_id = min(row_ids, key=row_ids.__getitem__)
            return picture_id, row_ids[picture_id]

    @staticmethod
    def _end_film(
        c: Connection, file_id: int, entry: FileEntry, film: FilmFile, row_id: int
    ) -> None:
        """Write the state of the file of a film, which is complete."""
        state = {
            "size": entry.size,
            "mtime_ns": entry.mtime_ns,
            "inode": entry.inode,
            "ctime_ns": entry.ctime_ns,
            "probe": film.probe,
            "last_picture": row_id,
            "tries": 0,
            "retry_at": None,
        }
        c.execute(update(files).where(files.c.id == file_id).values(state))
        row = {"file": file_id, "content": film.content, "duration": film.duration}
        c.execute(insert(films).values(row))

    def copy_film(self, root: Root, entry: FileEntry, film: FilmFile) -> tuple[str, int] | None:
        """Give a file the frames of another one with the same content, which is complete; return as
        `complete_film` does, or None if there is none.

        Nothing is decoded for a film that was moved or copied.
        """
        with self.database.write() as c:
            has_frames = select(places.c.file).where(places.c.time.is_not(None))
            query = select(films.c.file).where(films.c.content == film.content)
            query = query.where(films.c.file.in_(has_frames))
            other = c.scalar(query.order_by(films.c.file).limit(1))
            if other is None:
                return None
            held = select(places.c.picture, places.c.time, places.c.page, places.c.words)
            rows = [row._asdict() for row in c.execute(held.where(places.c.file == other))]
            if not rows:
                return None
            duration = c.scalar(select(films.c.duration).where(films.c.file == other))
            file_id = self._begin_film(c, root, entry)
            before = set(c.scalars(select(places.c.picture).where(places.c.file == file_id)))
            if not before:
                counts.change(c, counts.FILES, [root.id])
            if file_id != other:
                c.execute(delete(places).where(places.c.file == file_id))
                c.execute(insert(places), [row | {"file": file_id} for row in rows])
            first = min(int(row["picture"]) for row in rows)
            self._end_film(c, file_id, entry, replace(film, duration=duration), first)
            self._orphan(c, before - {int(row["picture"]) for row in rows})
            return str(c.scalar(select(pictures.c.id).where(pictures.c.row_id == first))), first

    @staticmethod
    def _apply_sidecars(c: Connection, file_ids: Collection[int], row_ids: Collection[int]) -> None:
        """Set what files say of pictures, if any of some files has a sidecar."""
        query = select(sidecars.c.file).where(sidecars.c.file.in_(file_ids)).limit(1)
        if row_ids and c.scalar(query) is not None:
            apply_descriptions(c, row_ids)

    def record_vectors(self, space: Space, batch: Sequence[ExtractedFile]) -> None:
        """Write vectors and labels under a second space, after `record` wrote the files."""
        with self.database.write() as c:
            query = select(pictures.c.id, pictures.c.row_id)
            query = query.where(pictures.c.id.in_({item.id for item in batch}))
            row_ids = {row.id: int(row.row_id) for row in c.execute(query)}
            present = [item for item in batch if item.id in row_ids]
            self._write_vectors(c, space, present, row_ids)

    def _next_try(self, item: ExtractedFile | SkippedFile, before: Any) -> dict[str, Any]:
        """Return the columns `tries` and `retry_at`. before: the row of the file, if any."""
        if not (isinstance(item, SkippedFile) and item.slow):
            return {"tries": 0, "retry_at": None}
        tries = (before.tries if before else 0) + 1
        return {"tries": tries, "retry_at": self._clock() + _retry_seconds(tries)}

    def postpone(self, row_id: int) -> None:
        """Count a slow failure to read a picture of the catalog again; it is tried again later."""
        where = files.c.id.in_(select(places.c.file).where(places.c.picture == row_id))
        with self.database.write() as c:
            for row in c.execute(select(files.c.id, files.c.tries).where(where)).all():
                values = {"tries": row.tries + 1}
                values["retry_at"] = self._clock() + _retry_seconds(row.tries + 1)
                c.execute(update(files).where(files.c.id == row.id).values(values))

    def add_vectors(
        self,
        space: Space,
        embedded: dict[int, Vectors],
        contents: dict[int, SeenContent] | None = None,
        decoded: dict[int, DecodedContent] | None = None,
        features: dict[int, bytes] | None = None,
    ) -> None:
        """Add vectors to pictures of the catalog in one transaction; all arguments are by row id.

        embedded: (dim,) vectors. contents: labels, which are replaced. decoded: metadata, which are
        replaced; also of pictures that have a vector. features: packed local features.
        """
        with self.database.write() as c:
            self._insert_vectors(c, space, {n: pack(v) for n, v in embedded.items()})
            self._set_contents(c, space, contents or {})
            items = (decoded or {}).items()
            self._set_decoded(c, {n: (one.pixel_hash, one.metadata) for n, one in items})
            self._set_flags(c, {n: one.low_content for n, one in items})
            described = {n: one.description for n, one in items if one.description is not None}
            set_embedded(c, described)
            self._set_features(c, features or {})

    def set_origins(self, row_id: int, origins: Origins) -> None:
        """Store where a picture comes from, unless the catalog knows it."""
        with self.database.write() as c:
            self._set_origins(c, row_id, origins)

    @staticmethod
    def _set_origins(c: Connection, row_id: int, origins: Origins) -> None:
        for column, value in (
            (pictures.c.original_name, origins.original_name),
            (pictures.c.source_url, origins.source_url),
        ):
            if value is not None:
                change = update(pictures).where(pictures.c.row_id == row_id, column.is_(None))
                c.execute(change.values({column: value}))

    def _write_pictures(
        self, c: Connection, extracted: Sequence[ExtractedFile]
    ) -> tuple[dict[str, int], set[int]]:
        """Add new pictures, and take back orphans.

        Returns the row id of each picture id, and the row ids of new pictures and former orphans.
        """
        by_id = {item.id: item for item in extracted}
        query = select(pictures.c.id, pictures.c.row_id, pictures.c.orphaned)
        query = query.where(pictures.c.id.in_(by_id))
        known = {row.id: row for row in c.execute(query)}
        orphans = [row.row_id for row in known.values() if row.orphaned is not None]
        if orphans:
            c.execute(update(pictures).where(pictures.c.row_id.in_(orphans)).values(orphaned=None))
            counts.change_pictures(c, orphans)
            counts.change_texts(c, orphans)
            self._log(c, orphans, "add")
        pairs = [(picture.row_id, by_id[picture.id]) for picture in known.values()]
        self._set_decoded(  # bytes that were decoded again for another space, or on request
            c,
            {
                n: (item.pixel_hash, item.metadata)
                for n, item in pairs
                if item.pixel_hash and item.metadata
            },
        )
        again = {n: one.description for n, one in pairs if one.description is not None}
        set_embedded(c, again)
        new = [item for item in by_id.values() if item.id not in known]
        now = self._clock()
        rows = [self._row(item) | {"added": now} for item in new]
        if not rows:
            return {picture_id: row.row_id for picture_id, row in known.items()}, set(orphans)
        pixel_hashes = {row["pixel_hash"] for row in rows}
        same_image = select_annotated().where(pictures.c.pixel_hash.in_(pixel_hashes))
        sources = defaultdict[str, list[int]](list)
        for row in c.execute(same_image):
            sources[row.pixel_hash].append(int(row.row_id))
        c.execute(insert(pictures), rows)
        row_ids = {row.id: int(row.row_id) for row in c.execute(query)}
        counts.change_pictures(c, (row_ids[row["id"]] for row in rows))
        self._set_colors(c, {row_ids[one.id]: one.metadata for one in new if one.metadata})
        described = {row_ids[one.id]: one.description for one in new if one.description}
        set_embedded(c, described)
        recall(c, {row["id"]: row_ids[row["id"]] for row in rows}, self._clock())
        for new_row in rows:  # only the metadata of the file changed, so the tags stay
            for part in chunks(sources[new_row["pixel_hash"]]):
                copy_annotations(c, part, row_ids[new_row["id"]])
        return row_ids, {*orphans, *(row_ids[row["id"]] for row in rows)}

    @staticmethod
    def _row(item: ExtractedFile) -> dict[str, Any]:
        """Return the row of a new picture."""
        if item.metadata is None or item.pixel_hash is None:
            raise NotFoundError(
                f"picture {item.id} left the library while it was indexed; index again"
            )
        rule = 0 if item.description is None else DESCRIPTION_RULE
        return _columns(item.pixel_hash, item.metadata) | {"id": item.id, "description_rule": rule}

    @staticmethod
    def _set_decoded(c: Connection, decoded: dict[int, tuple[str, Metadata]]) -> None:
        """Replace the pixel hash and the metadata of pictures, by row id."""
        if not decoded:
            return
        change = update(pictures).where(pictures.c.row_id == bindparam("key"))
        c.execute(change, [_columns(*one) | {"key": row_id} for row_id, one in decoded.items()])
        CatalogWriter._set_colors(c, {n: metadata for n, (_, metadata) in decoded.items()})

    @staticmethod
    def _set_colors(c: Connection, decoded: dict[int, Metadata]) -> None:
        """Replace the dominant colours of pictures, by row id."""
        for part in chunks(decoded):
            c.execute(delete(colors).where(colors.c.picture.in_(part)))
        rows = [
            {
                "picture": row_id,
                "rank": rank,
                "color": color,
                "share": share,
                "cell": cell_of(color),
                "hue": hue_of(color_of_cell(cell_of(color))),
            }
            for row_id, metadata in decoded.items()
            for rank, (color, share) in enumerate(
                zip(metadata.palette, metadata.palette_shares or RANK_SHARES, strict=False)
            )
        ]
        if rows:
            c.execute(insert(colors), rows)

    def _write_vectors(
        self,
        c: Connection,
        space: Space,
        extracted: Sequence[ExtractedFile],
        row_ids: dict[str, int],
    ) -> None:
        """Add computed vectors, and copy those of pictures with the same normalized image."""
        rows = {row_ids[f.id]: pack(f.vector) for f in extracted if f.vector is not None}
        contents = {row_ids[f.id]: f.content for f in extracted if f.vector is not None}
        missing = {f.pixel_hash: f.id for f in extracted if f.vector is None and f.pixel_hash}
        if missing:
            alike = select(pictures.c.row_id)  # read first: a join may begin with all vectors
            alike = alike.where(pictures.c.pixel_hash.in_(missing), IS_PRESENT_RULE)
            same = (
                select(pictures.c.pixel_hash, pictures.c.row_id, vectors.c.data, vectors.c.digest)
                .join(vectors, vectors.c.picture == pictures.c.row_id)
                .where(vectors.c.space == space.id, vectors.c.picture.in_(alike))
            )
            rows_of_copies = [row for row in c.execute(same) if is_undamaged(row, space)]
            stored = {row.pixel_hash: row for row in rows_of_copies}
            contents_of = self._contents(c, space, [row.row_id for row in stored.values()])
            known = {key: (row.data, contents_of[row.row_id]) for key, row in stored.items()}
            computed = {
                f.pixel_hash: (pack(f.vector), f.content) for f in extracted if f.vector is not None
            }
            for f in extracted:
                copied = (computed | known).get(f.pixel_hash) if f.vector is None else None
                if copied and f.pixel_hash:
                    rows.setdefault(row_ids[f.id], copied[0])
                    contents.setdefault(row_ids[f.id], copied[1])
        self._insert_vectors(c, space, rows)
        self._set_contents(c, space, contents)

    @staticmethod
    def _contents(c: Connection, space: Space, row_ids: Sequence[int]) -> dict[int, SeenContent]:
        """Return the labels and flags of pictures under a space, by row id."""
        names = select_labels(c, space, row_ids)
        flags = select(pictures.c.row_id, pictures.c.low_content)
        return {
            row.row_id: SeenContent(names.get(row.row_id, ()), row.low_content)
            for row in c.execute(flags.where(pictures.c.row_id.in_(row_ids)))
        }

    @staticmethod
    def _set_contents(c: Connection, space: Space, contents: dict[int, SeenContent]) -> None:
        """Replace labels and flags of pictures, by row id."""
        if not contents:
            return
        old = delete(labels).where(labels.c.space == space.id, labels.c.picture.in_(contents))
        c.execute(old)
        rows = [
            {"picture": row_id, "space": space.id, "label": label.name, "score": label.score}
            for row_id, content in contents.items()
            for label in content.labels
        ]
        if rows:
            c.execute(insert(labels), rows)
        CatalogWriter._set_flags(c, {n: content.low_content for n, content in contents.items()})

    @staticmethod
    def _set_flags(c: Connection, flags: Mapping[int, bool | None]) -> None:
        """Replace `low_content` of pictures, by row id; None leaves it as it is."""
        for flag in (False, True):
            row_ids = [n for n, low_content in flags.items() if low_content == flag]
            change = update(pictures).where(pictures.c.row_id.in_(row_ids))
            c.execute(change.where(pictures.c.low_content != flag).values(low_content=flag))

    def _insert_vectors(self, c: Connection, space: Space, rows: dict[int, bytes]) -> None:
        """Add packed vectors of pictures without one, by row id, and log them."""
        if not rows:
            return
        query = select(vectors.c.picture).where(vectors.c.space == space.id)
        stored = set(c.scalars(query.where(vectors.c.picture.in_(rows))))
        new = [
            {"space": space.id, "picture": row_id, "data": data, "digest": digest(data)}
            for row_id, data in rows.items()
            if row_id not in stored
        ]
        if new:
            c.execute(insert(vectors), new)
            entries = [{"space": space.id, "picture": row["picture"]} for row in new]
            c.execute(insert(changes), [entry | {"operation": "add"} for entry in entries])
            present = _select_present(c, [n for n in rows if n not in stored])
            counts.change(c, counts.EMBEDDED, [space.id] * len(present))

    @staticmethod
    def _set_features(c: Connection, features: Mapping[int, bytes]) -> None:
        """Replace the packed local features of pictures, by row id, and log them."""
        if not features:
            return
        c.execute(delete(local_features).where(local_features.c.picture.in_(features)))
        rows = [
            {"picture": row_id, "rule": FEATURE_RULE, "data": data}
            for row_id, data in features.items()
        ]
        c.execute(insert(local_features), rows)
        entries = [{"space": FEATURE_SPACE.id, "picture": one} for one in features]
        c.execute(insert(changes), [entry | {"operation": "add"} for entry in entries])

    def delete_features(self, row_ids: Iterable[int]) -> None:
        """Delete the local features of pictures; the next sync computes them again."""
        with self.database.write() as c:
            for part in chunks(row_ids):
                c.execute(delete(local_features).where(local_features.c.picture.in_(part)))
                entries = [{"space": FEATURE_SPACE.id, "picture": n} for n in part]
                c.execute(insert(changes), [one | {"operation": "remove"} for one in entries])

    def delete_vectors(self, space: Space, row_ids: Collection[int]) -> None:
        """Delete the vectors of pictures under a space; the next sync embeds them again."""
        with self.database.write() as c:
            for part in chunks(row_ids):
                where = vectors.c.space == space.id, vectors.c.picture.in_(part)
                stored = c.scalars(select(vectors.c.picture).where(*where)).all()
                present = _select_present(c, stored)
                counts.change(c, counts.EMBEDDED, [space.id] * len(present), -1)
                c.execute(delete(vectors).where(*where))
                entries = [
                    {"space": space.id, "picture": one, "operation": "remove"} for one in part
                ]
                c.execute(insert(changes), entries)

    def _log(self, c: Connection, row_ids: Collection[int], operation: str) -> None:
        """Log an operation, `add` or `remove`, for every space with vectors of the pictures and for
        their local features, and count these vectors."""
        query = select(vectors.c.space, vectors.c.picture).where(vectors.c.picture.in_(row_ids))
        rows = [
            {"space": row.space, "picture": row.picture, "operation": operation}
            for row in c.execute(query)
        ]
        if rows:
            c.execute(insert(changes), rows)
            by = 1 if operation == "add" else -1
            counts.change(c, counts.EMBEDDED, [row["space"] for row in rows], by)
        described = select(local_features.c.picture).where(local_features.c.picture.in_(row_ids))
        entries = [
            {"space": FEATURE_SPACE.id, "picture": one, "operation": operation}
            for one in c.scalars(described).all()
        ]
        if entries:
            c.execute(insert(changes), entries)

    def _orphan(self, c: Connection, row_ids: Collection[int]) -> list[int]:
        """Mark the pictures without files as orphans; return their row ids."""
        if not row_ids:
            return []
        has_place = select(places.c.id).where(places.c.picture == pictures.c.row_id).exists()
        query = select(pictures.c.row_id).where(pictures.c.row_id.in_(row_ids), ~has_place)
        orphans = [row[0] for row in c.execute(query.where(pictures.c.orphaned.is_(None)))]
        if orphans:
            change = update(pictures).where(pictures.c.row_id.in_(orphans))
            c.execute(change.values(orphaned=self._clock()))
            counts.change_pictures(c, orphans, -1)
            counts.change_texts(c, orphans, -1)
            self._log(c, orphans, "remove")
        return orphans

    def tag(self, row_id: int, names: Iterable[str], origin: Origin = "person") -> None:
        """Add tags to a picture. A tag that it has in any spelling stays as it is.

        Raises InputError for a tag without characters; no tag is added then.
        """
        with self.database.write() as c:
            add_tags(c, [row_id], names, origin)
