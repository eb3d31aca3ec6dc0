"""Reads of the catalog: the change log, vectors, labels, and what hits show."""

from __future__ import annotations

import json
import logging
import os
from collections import Counter
from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from urllib.parse import unquote_to_bytes

from sqlalchemy import (
    BigInteger,
    BindParameter,
    ColumnElement,
    Connection,
    Select,
    and_,
    bindparam,
    column,
    func,
    literal_column,
    or_,
    select,
    text,
)

from search.catalog import counts, full_text
from search.catalog.annotations import load_annotations
from search.catalog.prepared import Prepared
from search.catalog.schema import (
    CALIBRATIONS,
    UPLOADS,
    changes,
    colors,
    counts as kept_counts,
    files,
    labels,
    local_features,
    marks,
    mentions,
    meta,
    pictures,
    places,
    roots,
    spaces,
    tags,
    texts,
    vectors,
)
from search.catalog.texts import unpack_text
from search.catalog.writes import CHUNK, METADATA, Space, chunks, is_undamaged, unpack
from search.errors import NotFoundError, QueryError
from search.media.object_urls import is_remote, join_place
from search.media.open_file import FilePlace
from search.media.rules import DECODE_RULE, DESCRIPTION_RULE, FEATURE_RULE
from search.records.pictures import Label, Metadata
from search.records.sources import Mention
from search.types import RowIds, Vectors, file_state

if TYPE_CHECKING:
    from search.catalog.database import Database, Fetch
    from search.records.annotations import Annotations
    from search.records.texts import PictureText

LOG_BLOCK = 65536
"""Entries of the change log that are read at once."""


@dataclass(frozen=True)
class PictureSummary:
    """A picture as a hit shows it.

    id: SHA-256 of its bytes. paths: of its files. stats: size in bytes and mtime_ns of each file
    when it was indexed. decode_rule: the version of the rule that decoded it. Files that the
    library keeps come after those of the user. original_name, source_url: of an upload. pixel_hash:
    the same for pictures that look the same. page: URL of a web page that shows it. time: of a
    frame, in seconds from the start of its film.
    """

    id: str
    width: int
    height: int
    paths: tuple[str, ...]
    stats: tuple[tuple[int, int], ...]
    tags: tuple[str, ...]
    low_content: bool = False
    decode_rule: int = 0
    original_name: str | None = None
    source_url: str | None = None
    pixel_hash: str = ""
    page: str | None = None
    time: float | None = None
    favourite: bool = False

    def choose_path(self) -> str:
        """Return the path of one file, present and unchanged if any is."""
        return min(zip(self.paths, self.stats, strict=True), key=_rank_file_state)[0]


class StoredVector(NamedTuple):
    """A row of `vectors`."""

    picture: int
    data: bytes
    digest: bytes


class CatalogReader:
    """Reads the catalog and changes nothing. Threads may share it."""

    is_whole = True
    """Whether it shows the whole library."""
    shows_hidden = False
    """Whether lists and searches have hidden pictures."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._shown: tuple[tuple[int, int, tuple[int, ...]], RowIds] | None = None

    def with_hidden(self) -> CatalogReader:
        """Return this reader with hidden pictures in lists and searches."""
        reader = copy(self)
        reader.shows_hidden = True
        return reader

    @property
    def part(self) -> Hashable:
        """What tells the pictures that are shown from those of other readers."""
        return self.shows_hidden

    def sees(self, root: bytes) -> bool:
        """Return whether files of a root are shown. root: its path."""
        return True

    def limit(self, query: Select[Any], picture: ColumnElement[Any]) -> Select[Any]:
        """Limit a query to pictures that lists and searches show. picture: the column of their row
        ids."""
        if not self.shows_hidden:
            is_hidden = select(marks.c.picture).where(marks.c.picture == picture, marks.c.hidden)
            query = query.where(~is_hidden.exists())
        return self.limit_to_part(query, picture)

    def limit_to_part(self, query: Select[Any], picture: ColumnElement[Any]) -> Select[Any]:
        """As `limit`, with hidden pictures."""
        return query

    def limit_files(self, query: Select[Any]) -> Select[Any]:
        """Limit a query of files to those that are shown."""
        return query

    def list_roots(self) -> dict[int, str]:
        """Return the paths of the roots that are shown, by id."""
        with self.database.read() as c:
            rows = c.execute(select(roots.c.id, roots.c.path)).all()
        return {int(row.id): os.fsdecode(row.path) for row in rows if self.sees(row.path)}

    def list_collections(self) -> dict[str, list[int]]:
        """Return the ids of the roots that are shown of each collection, by its name, in order."""
        query = select(roots.c.id, roots.c.path, roots.c.collection).order_by(roots.c.path)
        named: dict[str, list[int]] = {}
        with self.database.read() as c:
            for row in c.execute(query.where(roots.c.collection.is_not(None))):
                if self.sees(row.path):
                    named.setdefault(row.collection, []).append(int(row.id))
        return dict(sorted(named.items()))

    def find_uploads_root(self) -> int | None:
        """Return the id of the root of uploads, if there is one that is shown."""
        with self.database.read_prepared() as fetch:
            path = os.fsdecode(_uploads_folder(fetch(UPLOADS_FOLDER)))
        return next((root for root, one in self.list_roots().items() if one == path), None)

    def visible_ids(self, space: Space) -> RowIds | None:
        """Return the row ids that searches show and that have a vector under the space, ascending,
        or None for all."""
        hidden = () if self.shows_hidden else tuple(self.hidden_ids())
        if not hidden:
            return None
        import numpy as np  # slow to import, and a command may need no vectors

        key = space.id, self.sequence(space), hidden
        if self._shown is None or self._shown[0] != key:
            shown = np.setdiff1d(self.searchable_ids(space), np.array(hidden), assume_unique=True)
            self._shown = key, shown
        return self._shown[1]

    def hidden_ids(self) -> list[int]:
        """Return the row ids of hidden pictures in the library, newest first."""
        with self.database.read_prepared() as fetch:
            return [row[0] for row in fetch(HIDDEN)]

    def annotations(self, row_ids: Collection[int]) -> dict[int, Annotations]:
        """Return what is said of pictures, by row id. Unknown row ids are left out."""
        with self.database.read() as c:
            return {
                row_id: one
                for part in chunks(row_ids)
                for row_id, one in load_annotations(c, part).items()
            }

    def resolve_all(self, picture_ids: Collection[str]) -> dict[str, int]:
        """Return row ids by whole picture ids, of ids or their beginnings, in order.

        Raises as `resolve`.
        """
        whole = [one for one in picture_ids if len(one) == 64]
        row_ids = dict[str, int]()
        query = select(pictures.c.id, pictures.c.row_id).where(pictures.c.orphaned.is_(None))
        with self.database.read() as c:
            for part in chunks(whole):
                known = self.limit_to_part(query.where(pictures.c.id.in_(part)), pictures.c.row_id)
                row_ids |= {row.id: int(row.row_id) for row in c.execute(known)}
        others = [self.resolve(one) for one in picture_ids if one not in row_ids]
        names = self.picture_ids(others)
        unordered = row_ids | {names[n]: n for n in others}
        ranks = iter(others)
        return {
            (name := one if one in row_ids else names[next(ranks)]): unordered[name]
            for one in picture_ids
        }

    def library(self) -> str:
        """Return the catalog's own id, which tells its snapshots from those of other catalogs."""
        with self.database.read_prepared() as fetch:
            return str(fetch(LIBRARY)[0][0])

    def calibration(self, space: Space) -> dict[str, Any] | None:
        """Return what was fitted on this library for the scores of a space; None if nothing was."""
        with self.database.read_prepared() as fetch:
            rows = fetch(STORED_CALIBRATIONS)
        stored: dict[str, dict[str, Any]] = json.loads(rows[0][0]) if rows else {}
        return stored.get(space.fingerprint)

    def spaces(self) -> list[Space]:
        """Return the spaces that answer queries, the space of the library's own model first."""
        with self.database.read_prepared() as fetch:
            rows = fetch(SERVING)
        return [
            Space(row_id, name, fingerprint, dim, bool(beside))
            for row_id, name, fingerprint, dim, beside in rows
        ]

    def sequence(self, space: Space) -> int:
        """Return the sequence number of the last entry of the change log, 0 for none."""
        with self.database.read_prepared() as fetch:
            return fetch(SEQUENCE, space=space.id)[0][0] or 0

    def stamp(self, space: Space, sequence: int) -> int:
        """Return the random stamp of an entry of the change log, 0 if there is no such entry.

        Entries of two copies of a catalog may share a sequence number, but never a stamp.
        """
        query = select(changes.c.stamp).where(changes.c.space == space.id)
        with self.database.read() as c:
            return c.scalar(query.where(changes.c.sequence == sequence)) or 0

    def changed_since(
        self, space: Space, sequence: int, most: int = LOG_BLOCK
    ) -> tuple[int, set[int]]:
        """Return the row ids that the first `most` entries after `sequence` name, and the sequence
        number of the last of these entries (`sequence` if there are none)."""
        with self.database.read_prepared() as fetch:
            rows = fetch(LATER, space=space.id, sequence=sequence, count=most)
        return rows[-1][0] if rows else sequence, {row[1] for row in rows}

    def load_vectors(self, space: Space, row_ids: Collection[int]) -> tuple[list[int], Vectors]:
        """Return the row ids that are searchable under the space, and their vectors.

        Pictures without files, without a vector or with a damaged one are left out. The vectors are
        (n, dim) float32 of unit length; the order is not that of the argument.
        """
        rows: list[StoredVector] = []
        with self.database.read_prepared() as fetch:
            for part in chunks(row_ids):
                rows += map(StoredVector._make, fetch(PRESENT, space=space.id, row_ids=part))
        rows = _select_undamaged(rows, space)
        return [int(r.picture) for r in rows], unpack([r.data for r in rows], space.dim)

    def iterate_vectors(
        self, space: Space, block: int = 8192, after: int = 0
    ) -> Iterator[tuple[list[int], Vectors]]:
        """Yield all searchable row ids with their (n, dim) vectors, ascending, in blocks.

        after: a row id; those up to it are left out. Damaged vectors are left out.
        Each block is a transaction of its own, so a slow caller delays no writer.
        """
        last = after
        while True:
            with self.database.read_prepared() as fetch:
                rows = [
                    StoredVector._make(row)
                    for row in fetch(ALL_PRESENT, space=space.id, last=last, count=block)
                ]
            if not rows:
                return
            last = rows[-1].picture
            rows = _select_undamaged(rows, space)
            yield [int(r.picture) for r in rows], unpack([r.data for r in rows], space.dim)

    def list_damaged_vectors(self, space: Space) -> list[int]:
        """Return the row ids whose stored vector has not its digest or not its length."""
        query = select(vectors.c.picture, vectors.c.data, vectors.c.digest)
        query = query.where(vectors.c.space == space.id, vectors.c.picture > bindparam("last"))
        query, last = query.order_by(vectors.c.picture).limit(8192), 0
        damaged = list[int]()
        while True:
            with self.database.read() as c:
                rows = c.execute(query, {"last": last}).all()
            if not rows:
                return damaged
            last = rows[-1].picture
            damaged += [int(row.picture) for row in rows if not is_undamaged(row, space)]

    def count(self, space: Space | None) -> dict[str, int]:
        """Return the counts `pictures`, `files` (with a picture) and `embedded` (vectors)."""
        with self.database.read_prepared() as fetch:
            return {
                "pictures": int(fetch(PICTURE_COUNT)[0][0] or 0),
                "files": sum(row[1] for row in fetch(FILE_COUNTS)),
                "embedded": dict(fetch(VECTOR_COUNTS)).get(space.id, 0) if space else 0,
            }

    def files_by_root(self) -> dict[int, int]:
        """Return the count of files with a picture for each root id."""
        with self.database.read_prepared() as fetch:
            return {root: count for root, count in fetch(FILE_COUNTS) if count}

    def list_wrong_counts(self) -> int:
        """Count everything again; return how many of the kept counts are wrong."""
        with self.database.read() as c:
            return len(counts.list_wrong(c))

    def list_unembedded(self, space: Space) -> list[tuple[int, tuple[str, ...]]]:
        """Return pictures that have files and no vector under the space: row ids and paths."""
        have = select(vectors.c.picture).where(vectors.c.space == space.id)
        query = _select_files().where(places.c.picture.not_in(have)).order_by(places.c.picture)
        return self._group_by_picture(query)

    def list_outdated(self) -> list[tuple[int, tuple[str, ...]]]:
        """Return pictures with files that an earlier decode rule decoded: row ids and paths."""
        old = select(pictures.c.row_id).where(pictures.c.decode_rule < DECODE_RULE)
        query = _select_files().where(places.c.picture.in_(old)).order_by(places.c.picture)
        return self._group_by_picture(query)

    def list_unfeatured(self) -> list[tuple[int, tuple[str, ...]]]:
        """Return pictures with files that have no local features of the present rule: row ids and
        paths."""
        have = select(local_features.c.picture).where(local_features.c.rule == FEATURE_RULE)
        bare = select(pictures.c.row_id).where(
            pictures.c.orphaned.is_(None), pictures.c.row_id.not_in(have)
        )
        query = _select_files().where(places.c.picture.in_(bare)).order_by(places.c.picture)
        return self._group_by_picture(query)

    def count_features(self) -> int:
        """Return how many pictures have local features of the present rule."""
        query = select(func.count()).select_from(local_features)
        with self.database.read() as c:
            return c.scalar(query.where(local_features.c.rule == FEATURE_RULE)) or 0

    def load_features(self, row_ids: Collection[int]) -> dict[int, bytes]:
        """Return the packed local features of pictures that have files, by row id. Pictures without
        features of the present rule are left out."""
        with self.database.read_prepared() as fetch:
            return {
                int(row_id): bytes(data)
                for part in chunks(row_ids)
                for row_id, data in fetch(FEATURES, row_ids=part)
            }

    def iterate_features(self, block: int = 1024) -> Iterator[list[tuple[int, bytes]]]:
        """Yield row ids with packed local features as `load_features` does, ascending, in blocks.

        Each block is a transaction of its own, so a slow caller delays no writer.
        """
        last = 0
        while True:
            with self.database.read_prepared() as fetch:
                rows = fetch(ALL_FEATURES, last=last, count=block)
            if not rows:
                return
            last = rows[-1][0]
            yield [(int(row_id), bytes(data)) for row_id, data in rows]

    def list_undescribed(self) -> list[tuple[int, tuple[str, ...]]]:
        """Return pictures with files whose description was not read: row ids and paths."""
        old = select(pictures.c.row_id).where(pictures.c.description_rule < DESCRIPTION_RULE)
        query = _select_files().where(places.c.picture.in_(old)).order_by(places.c.picture)
        return self._group_by_picture(query)

    def list_postponed(self, now: float, tries: int = 0) -> set[int]:
        """Return the row ids of pictures that are not decoded again before a later time.

        now: in seconds since 1970. tries: how often decoding them took too long at least.
        """
        query = select(places.c.picture).join(files, files.c.id == places.c.file)
        with self.database.read() as c:
            return set(c.scalars(query.where(files.c.retry_at > now, files.c.tries >= tries)))

    def _group_by_picture(self, query: Select[Any]) -> list[tuple[int, tuple[str, ...]]]:
        """Group the paths of a query like `_select_files` by picture."""
        paths: dict[int, list[str]] = {}
        with self.database.read() as c:
            for row_id, path in _paths(c.execute(query)):
                paths.setdefault(row_id, []).append(path)
        return [(row_id, tuple(files)) for row_id, files in paths.items()]

    def picture_ids(self, row_ids: Collection[int]) -> dict[int, str]:
        """Return the content hash of each row id. Unknown row ids are left out."""
        picture_ids = {}
        with self.database.read() as c:
            for part in chunks(row_ids):
                query = select(pictures.c.row_id, pictures.c.id)
                for row in c.execute(query.where(pictures.c.row_id.in_(part))):
                    picture_ids[int(row.row_id)] = str(row.id)
        return picture_ids

    def picture_ids_from(self, prefix: str) -> set[str]:
        """Return the content hashes that begin with a prefix; also of pictures without files."""
        with self.database.read() as c:
            ids = pictures.c.id
            return set(c.scalars(select(ids).where(ids >= prefix, ids < prefix + "g")))

    def searchable_ids(self, space: Space) -> RowIds:
        """Return the row ids that have files and a vector under the space, ascending."""
        import numpy as np  # slow to import, and a command may need no vectors

        blocks, last = [np.empty(0, np.int64)], 0
        while True:
            with self.database.read_prepared() as fetch:
                rows = fetch(SEARCHABLE, space=space.id, last=last, count=65536)
            if not rows:
                return np.concatenate(blocks)
            last = rows[-1][0]
            blocks.append(np.fromiter((row[0] for row in rows), np.int64, len(rows)))

    def describe(self, row_ids: Collection[int]) -> dict[int, PictureSummary]:
        """Return what hits show, by row id. Pictures without files are left out."""
        file_rows: dict[int, list[tuple[Any, ...]]] = {}
        tag_names: dict[int, list[str]] = {}
        with self.database.read_prepared() as fetch:
            uploads = _uploads_folder(fetch(UPLOADS_FOLDER))
            for part in chunks(row_ids):
                for row in fetch(SHOWN, row_ids=part):
                    if self.sees(row[-1]):
                        file_rows.setdefault(row[0], []).append(row)
                for picture, tag in fetch(TAGGED, row_ids=part):
                    tag_names.setdefault(picture, []).append(tag)
            pages = self._first_pages(fetch, file_rows)
        described = {}
        for row_id, rows in file_rows.items():
            files_of = {
                (root == uploads, _join(root, path), (size, mtime_ns))
                for *_, path, size, mtime_ns, root in rows
            }
            _, paths, stats = zip(*sorted(files_of), strict=True)
            _, picture_id, width, height, low_content, decode_rule, name, url, *more = rows[0]
            pixels, favourite, time, *_ = more
            if not self.sees(uploads):
                name = url = None  # they are of the file in that folder
            names = tuple(sorted(tag_names.get(row_id, ())))
            described[row_id] = PictureSummary(
                picture_id,
                width,
                height,
                paths,
                stats,
                names,
                bool(low_content),
                decode_rule,
                name,
                url,
                pixels,
                pages.get(row_id),
                time,
                bool(favourite),
            )
        return described

    def _first_pages(
        self,
        fetch: Fetch,
        file_rows: Mapping[int, Sequence[tuple[Any, ...]]],
    ) -> dict[int, str]:
        """Return the URL of a page that shows a picture, for those of web sites, by row id.

        file_rows: rows of SHOWN by row id.
        """
        on_sites = [
            row_id
            for row_id, rows in file_rows.items()
            if any(row[-1].startswith((b"http://", b"https://")) for row in rows)
        ]
        pages: dict[int, str] = {}
        for part in chunks(on_sites):
            for picture, page, root in fetch(FIRST_PAGES, row_ids=part):
                if self.sees(root):
                    pages[picture] = min(page, pages.get(picture, page))
        return pages

    def mentions(self, row_id: int) -> list[Mention]:
        """Return the pages of web sites that show a picture, each once, the first ones first."""
        with self.database.read_prepared() as fetch:
            rows = fetch(MENTIONS, picture=row_id)
        shown = (
            Mention(page, title, words) for root, page, title, words in rows if self.sees(root)
        )
        return list({one.page: one for one in shown}.values())

    def load_metadata(self, row_ids: Collection[int]) -> dict[int, Metadata]:
        """Return the metadata of pictures, by row id. Unknown row ids are left out."""
        metadata, palettes = {}, dict[int, list[list[Any]]]()
        with self.database.read_prepared() as fetch:
            for part in chunks(row_ids):
                for picture, *entry in fetch(PALETTES, row_ids=part):
                    palettes.setdefault(picture, []).append(entry)
                for row_id, *row in fetch(DESCRIBED, row_ids=part):
                    values = dict(zip(METADATA, row, strict=True))
                    values["truncated"] = bool(values["truncated"])
                    if isinstance(values["exif"], str):  # some drivers parse JSON themselves
                        values["exif"] = json.loads(values["exif"])
                    entries = palettes.get(row_id, ())
                    palette, shares = tuple(e[0] for e in entries), tuple(e[1] for e in entries)
                    metadata[int(row_id)] = Metadata(
                        **values, palette=palette, palette_shares=shares
                    )
        return metadata

    def labels(self, space: Space, row_ids: Collection[int]) -> dict[int, tuple[Label, ...]]:
        """Return the labels of pictures, most probable first. Pictures without are left out."""
        names: dict[int, list[Label]] = {}
        with self.database.read_prepared() as fetch:
            for part in chunks(row_ids):
                for picture, label, score in fetch(LABELLED, space=space.id, row_ids=part):
                    names.setdefault(int(picture), []).append(Label(label, score))
        return {row_id: tuple(labels) for row_id, labels in names.items()}

    def texts_of(self, row_ids: Collection[int]) -> dict[int, PictureText]:
        """Return what is written in pictures. Those that were not read yet are left out."""
        by_id = {}
        with self.database.read_prepared() as fetch:
            for part in chunks(row_ids):
                for picture, model, failed, lines in fetch(WRITTEN, row_ids=part):
                    if isinstance(lines, str):  # some drivers parse JSON themselves
                        lines = json.loads(lines)
                    by_id[int(picture)] = unpack_text(model, failed, lines)
        return by_id

    def have_text(self, row_ids: Collection[int]) -> dict[int, bool]:
        """Return whether pictures have text. Those that were not read yet are left out."""
        have = {}
        with self.database.read_prepared() as fetch:
            for part in chunks(row_ids):
                for picture, state in fetch(TEXT_STATES, row_ids=part):
                    have[int(picture)] = state == counts.WITH_TEXT
        return have

    def count_texts(self) -> dict[int, int]:
        """Return how many pictures were read for text, by what became of it (`counts.TEXTS`)."""
        with self.database.read_prepared() as fetch:
            return dict(fetch(TEXT_COUNTS))

    def count_captions(self) -> dict[str, int]:
        """Return how many pictures have a caption, by where it comes from."""
        origin = pictures.c.caption_origin
        query = select(origin, func.count()).where(pictures.c.orphaned.is_(None))
        query = query.where(pictures.c.caption != "").group_by(origin)  # nor those without any
        with self.database.read() as c:
            rows = c.execute(self.limit_to_part(query, pictures.c.row_id))
            return {str(name): int(number) for name, number in rows}

    def find_by_labels(
        self, space: Space, names: Collection[str], most: int, least: float
    ) -> dict[int, float]:
        """Return the pictures in which an embedder sees one of some classes: row id -> probability.

        The most probable come first. names: classes. most: how many pictures. least: pictures of a
        lower probability, 0 to 1, are left out.
        """
        total = func.sum(labels.c.score).label("total")
        query = (
            select(labels.c.picture, total)
            .join(pictures, pictures.c.row_id == labels.c.picture)
            .where(labels.c.space == space.id, labels.c.label.in_(names))
            .where(pictures.c.orphaned.is_(None))
            .group_by(labels.c.picture)
            .having(total >= least)
            .order_by(total.desc(), labels.c.picture)
            .limit(most)
        )
        query = self.limit(query, labels.c.picture)
        with self.database.read() as c:
            return {int(row.picture): float(row.total) for row in c.execute(query)}

    def list_identical(self, pixel_hashes: Collection[str]) -> list[int]:
        """Return the row ids of the pictures whose normalized images have these hashes."""
        query = select(pictures.c.row_id).where(pictures.c.orphaned.is_(None))
        query = query.where(pictures.c.pixel_hash.in_(pixel_hashes)).limit(CHUNK)
        with self.database.read() as c:
            return list(c.scalars(self.limit(query, pictures.c.row_id)))

    def find_pixel_hash(self, picture_id: str) -> str:
        """Return the hash of the normalized image of a picture. Raises as `resolve`."""
        query = select(pictures.c.pixel_hash)
        with self.database.read() as c:
            return str(c.scalar(query.where(pictures.c.row_id == self.resolve(picture_id))))

    def find_text(
        self,
        phrases: Sequence[full_text.Phrase],
        most: int,
        join: Literal["and", "or"] = "and",
        prefix: bool = False,
    ) -> list[int]:
        """Return the row ids of pictures whose full text has phrases, newest first, at most `most`.

        join, prefix: see `full_text.write_query`.
        """
        row_id = pictures.c.row_id
        query = select(row_id).where(self.match_text(row_id, phrases, join, prefix))
        with self.database.read() as c:
            query = self.limit(query, row_id).order_by(row_id.desc()).limit(most)
            return list(
                c.scalars(query).all()
            )  # at once: thousands, one by one, take as long as SQL

    def match_text(
        self,
        picture: ColumnElement[Any],
        phrases: Sequence[full_text.Phrase],
        join: Literal["and", "or"] = "and",
        prefix: bool = False,
    ) -> ColumnElement[bool]:
        """Return the criterion that the full text of pictures has phrases. picture: the column of
        their row ids. join, prefix: see `full_text.write_query`."""
        with self.database.read() as c:
            visible = self.visible_roots(c)
        dialect = self.database.engine.dialect.name
        written = full_text.write_query(dialect, phrases, join, prefix, visible)
        if written is None:
            return literal_column("1") == literal_column("0")
        sql, values = written
        # unique: one query may have several such criteria, and is compiled once for all values
        bound: list[BindParameter[str]] = [
            bindparam(name, value, unique=True) for name, value in values.items()
        ]
        return picture.in_(text(sql).bindparams(*bound).columns(column("picture", BigInteger)))

    def visible_roots(self, c: Connection) -> Collection[int] | None:
        """Return the ids of the roots whose files are shown, or None for all."""
        return None

    def list_wrong_texts(self) -> list[int]:
        """Read the words of all pictures again; return those whose full text is wrong."""
        with self.database.read() as c:
            return full_text.list_wrong(c)

    def places(self, row_id: int) -> list[FilePlace]:
        """Return the files of a picture; those that the library keeps come last."""
        with self.database.read_prepared() as fetch:
            rows = fetch(PLACES, picture=row_id)
            uploads = _uploads_folder(fetch(UPLOADS_FOLDER))
        rows = [row for row in rows if self.sees(row[0])]
        rows.sort(key=lambda row: bool(row[0] == uploads))
        return [
            FilePlace(
                os.fsdecode(root),
                os.fsdecode(path),
                size,
                mtime_ns,
                ctime_ns,
                probe,
                bool(follow_links),
                time,
            )
            for root, path, size, mtime_ns, ctime_ns, probe, follow_links, time in rows
        ]

    def count_listed(self) -> int:
        """Return how many pictures `newest` lists."""
        hidden = len(self.hidden_ids())
        return hidden if self.shows_hidden else self.count(None)["pictures"] - hidden

    def newest(self, skip: int, count: int) -> list[int]:
        """Return the row ids of pictures that are shown, newest first, without the first `skip`.

        The kept counts tell the block of row ids in which they begin.
        """
        if self.shows_hidden:  # these alone
            return self.hidden_ids()[skip : skip + count]
        with self.database.read_prepared() as fetch:
            hidden = Counter(counts.block_of(row[0]) for row in fetch(HIDDEN))
            for block, inside in fetch(PICTURE_BLOCKS):
                inside -= hidden[block]
                if inside > skip:
                    last = (block + 1) * counts.BLOCK
                    return [row[0] for row in fetch(NEWEST, last=last, count=count, skip=skip)]
                skip -= inside
        return []

    def resolve(self, picture_id: str) -> int:
        """Return the row id of a picture id, or of a unique prefix of at least 6 digits.

        Raises QueryError for text that is not an id and for an ambiguous prefix, NotFoundError if
        there is no such picture.
        """
        picture_id = check_id(picture_id)
        with self.database.read_prepared() as fetch:
            rows = fetch(IN_RANGE, first=picture_id, end=picture_id + "g")
        return only_one(picture_id, [row[0] for row in rows])

    def iterate_files(self) -> Iterator[tuple[str, int, str]]:
        """Yield (picture id, file id, path) of every file with a picture, by root and path."""
        for block in self.iterate_file_blocks():
            yield from block

    def iterate_file_blocks(self, block: int = 8192) -> Iterator[list[tuple[str, int, str]]]:
        """As `iterate_files`, in blocks. Each block is a transaction of its own."""
        with self.database.read() as c:
            root_paths = {row.id: row.path for row in c.execute(select(roots.c.id, roots.c.path))}
        for root, root_path in sorted(root_paths.items()):
            last = {"path": b"", "place": 0}
            while True:
                with self.database.read_prepared() as fetch:
                    rows = fetch(PLACED, root=root, count=block, **last)
                if not rows:
                    break
                *_, path, place = rows[-1]
                last = {"path": path, "place": place}
                yield [(one, file, _join(root_path, path)) for one, file, path, _ in rows]

    def count_dangling(self) -> int:
        """Return how many pictures have no file and are not orphans."""
        placed = select(places.c.picture)
        query = select(func.count()).select_from(pictures)
        query = query.where(pictures.c.orphaned.is_(None), pictures.c.row_id.not_in(placed))
        with self.database.read() as c:
            return c.scalar(query) or 0


def check_id(picture_id: str) -> str:
    """Return a picture id, or the beginning of one, in lower case. Raises QueryError for text that
    is not an id."""
    picture_id = picture_id.lower()
    if not 6 <= len(picture_id) <= 64 or set(picture_id) - set("0123456789abcdef"):
        raise QueryError(
            f"id:{picture_id} is no id; an id has 64 hexadecimal digits, of which the first 6 "
            "or more may do (`lookalike search --json` prints them)"
        )
    return picture_id


def only_one(picture_id: str, row_ids: Sequence[int]) -> int:
    """Return the only row id. Raises NotFoundError if there is none, QueryError for several.

    picture_id: what they were looked up by.
    """
    if not row_ids:
        raise NotFoundError(f"no picture in the library has id {picture_id}")
    if len(row_ids) > 1:
        raise QueryError(f"several pictures have ids that begin with {picture_id}; give more of it")
    return int(row_ids[0])


def _select_vectors() -> Select[Any]:
    """Select the searchable vectors under the parameter `space`."""
    return (
        select(vectors.c.picture, vectors.c.data, vectors.c.digest)
        .join(pictures, and_(pictures.c.row_id == vectors.c.picture, pictures.c.orphaned.is_(None)))
        .where(vectors.c.space == bindparam("space"))
    )


def _select_undamaged(rows: Sequence[Any], space: Space) -> list[Any]:
    """Return the rows whose vector is as it was stored."""
    undamaged = [row for row in rows if is_undamaged(row, space)]
    if len(undamaged) < len(rows):
        count = len(rows) - len(undamaged)
        log.warning("%d stored vectors are damaged; run `lookalike check`", count)
    return undamaged


def _select_files() -> Select[Any]:
    """Select the files of all places: `picture`, `path` and `root_path`."""
    columns = (places.c.picture, files.c.path, roots.c.path.label("root_path"))
    query = select(*columns).select_from(places).join(files, files.c.id == places.c.file)
    return query.join(roots, roots.c.id == files.c.root)


log = logging.getLogger(__name__)
_IS_OWN = and_(meta.c.key == "model", meta.c.value == spaces.c.fingerprint)
_ROW_IDS: BindParameter[Any] = bindparam("row_ids", expanding=True)
STORED_CALIBRATIONS = Prepared(select(meta.c.value).where(meta.c.key == CALIBRATIONS))
LIBRARY = Prepared(select(meta.c.value).where(meta.c.key == "library"))
UPLOADS_FOLDER = Prepared(select(meta.c.value).where(meta.c.key == UPLOADS))
SERVING = Prepared(
    select(*(spaces.c[name] for name in ("id", "name", "fingerprint", "dim", "beside")))
    .outerjoin(meta, _IS_OWN)
    .where(or_(meta.c.key.is_not(None), spaces.c.beside))
    .order_by(meta.c.key.is_(None), spaces.c.name, spaces.c.fingerprint)
)
SEQUENCE = Prepared(
    select(func.max(changes.c.sequence)).where(changes.c.space == bindparam("space"))
)
LATER = Prepared(
    select(changes.c.sequence, changes.c.picture)
    .where(changes.c.space == bindparam("space"), changes.c.sequence > bindparam("sequence"))
    .order_by(changes.c.sequence)
    .limit(bindparam("count"))
)
PRESENT = Prepared(_select_vectors().where(vectors.c.picture.in_(_ROW_IDS)))
ALL_PRESENT = Prepared(
    _select_vectors()
    .where(vectors.c.picture > bindparam("last"))
    .order_by(vectors.c.picture)
    .limit(bindparam("count"))
)
_FEATURES = (
    select(local_features.c.picture, local_features.c.data)
    .join(
        pictures,
        and_(pictures.c.row_id == local_features.c.picture, pictures.c.orphaned.is_(None)),
    )
    .where(local_features.c.rule == FEATURE_RULE)
)
FEATURES = Prepared(_FEATURES.where(local_features.c.picture.in_(_ROW_IDS)))
ALL_FEATURES = Prepared(
    _FEATURES.where(local_features.c.picture > bindparam("last"))
    .order_by(local_features.c.picture)
    .limit(bindparam("count"))
)
SEARCHABLE = Prepared(
    select(vectors.c.picture)
    .join(pictures, and_(pictures.c.row_id == vectors.c.picture, pictures.c.orphaned.is_(None)))
    .where(vectors.c.space == bindparam("space"), vectors.c.picture > bindparam("last"))
    .order_by(vectors.c.picture)
    .limit(bindparam("count"))
)
PLACED = Prepared(
    select(pictures.c.id, files.c.id.label("file"), files.c.path, places.c.id.label("place"))
    .join(places, places.c.picture == pictures.c.row_id)
    .join(files, files.c.id == places.c.file)
    .where(files.c.root == bindparam("root"), files.c.path >= bindparam("path"))
    .where(or_(files.c.path > bindparam("path"), places.c.id > bindparam("place")))
    .order_by(files.c.path, places.c.id)
    .limit(bindparam("count"))
)
SHOWN = Prepared(  # the columns after `favourite` are those of a file
    select(pictures.c.row_id, pictures.c.id, pictures.c.width, pictures.c.height)
    .add_columns(pictures.c.low_content, pictures.c.decode_rule)
    .add_columns(pictures.c.original_name, pictures.c.source_url, pictures.c.pixel_hash)
    .add_columns(marks.c.favourite, places.c.time)
    .add_columns(files.c.path, files.c.size, files.c.mtime_ns, roots.c.path.label("root_path"))
    .join(places, places.c.picture == pictures.c.row_id)
    .join(files, files.c.id == places.c.file)
    .join(roots, roots.c.id == files.c.root)
    .outerjoin(marks, marks.c.picture == pictures.c.row_id)
    .where(pictures.c.row_id.in_(_ROW_IDS))
)
TAGGED = Prepared(select(tags.c.picture, tags.c.tag).where(tags.c.picture.in_(_ROW_IDS)))
DESCRIBED = Prepared(
    select(pictures.c.row_id, *(pictures.c[name] for name in METADATA)).where(
        pictures.c.row_id.in_(_ROW_IDS)
    )
)
PALETTES = Prepared(
    select(colors.c.picture, colors.c.color, colors.c.share)
    .where(colors.c.picture.in_(_ROW_IDS))
    .order_by(colors.c.picture, colors.c.rank)
)
LABELLED = Prepared(
    select(labels.c.picture, labels.c.label, labels.c.score)
    .where(labels.c.space == bindparam("space"), labels.c.picture.in_(_ROW_IDS))
    .order_by(labels.c.score.desc())
)
WRITTEN = Prepared(
    select(texts.c.picture, texts.c.model, texts.c.failed, texts.c.lines).where(
        texts.c.picture.in_(_ROW_IDS)
    )
)
TEXT_STATES = Prepared(
    select(texts.c.picture, counts.TEXT_STATE).where(texts.c.picture.in_(_ROW_IDS))
)
FIRST_PAGES = Prepared(
    select(places.c.picture, mentions.c.page, roots.c.path.label("root_path"))
    .join(mentions, mentions.c.file == places.c.file)
    .join(files, files.c.id == places.c.file)
    .join(roots, roots.c.id == files.c.root)
    .where(places.c.picture.in_(_ROW_IDS), mentions.c.rank == 0)
)
MENTIONS = Prepared(
    select(roots.c.path.label("root_path"), mentions.c.page, mentions.c.title, mentions.c.text)
    .join(files, files.c.root == roots.c.id)
    .join(places, places.c.file == files.c.id)
    .join(mentions, mentions.c.file == files.c.id)
    .where(places.c.picture == bindparam("picture"))
    .order_by(mentions.c.rank, mentions.c.page)
)
PLACES = Prepared(
    select(roots.c.path.label("root_path"), files.c.path, files.c.size, files.c.mtime_ns)
    .add_columns(files.c.ctime_ns, files.c.probe, roots.c.follow_links, places.c.time)
    .join(roots, roots.c.id == files.c.root)
    .join(places, places.c.file == files.c.id)
    .where(places.c.picture == bindparam("picture"))
)
IN_RANGE = Prepared(
    select(pictures.c.row_id)
    .where(pictures.c.orphaned.is_(None))
    .where(pictures.c.id >= bindparam("first"), pictures.c.id < bindparam("end"))
    .limit(2)
)
_IS_HIDDEN = select(marks.c.picture).where(marks.c.picture == pictures.c.row_id, marks.c.hidden)
HIDDEN = Prepared(
    select(marks.c.picture)
    .join(pictures, pictures.c.row_id == marks.c.picture)
    .where(marks.c.hidden, pictures.c.orphaned.is_(None))
    .order_by(marks.c.picture.desc())
)
NEWEST = Prepared(
    select(pictures.c.row_id)
    .where(pictures.c.orphaned.is_(None), pictures.c.row_id < bindparam("last"))
    .where(~_IS_HIDDEN.exists())
    .order_by(pictures.c.row_id.desc())
    .limit(bindparam("count"))
    .offset(bindparam("skip"))
)
_COUNTED = select(kept_counts.c.key, kept_counts.c.value)
_NAME = kept_counts.c.name
PICTURE_BLOCKS = Prepared(
    _COUNTED.where(_NAME == counts.PICTURES).order_by(kept_counts.c.key.desc())
)
PICTURE_COUNT = Prepared(select(func.sum(kept_counts.c.value)).where(_NAME == counts.PICTURES))
FILE_COUNTS = Prepared(_COUNTED.where(_NAME == counts.FILES))
VECTOR_COUNTS = Prepared(_COUNTED.where(_NAME == counts.EMBEDDED))
TEXT_COUNTS = Prepared(_COUNTED.where(_NAME == counts.TEXTS))


def _rank_file_state(place: tuple[str, tuple[int, int]]) -> int:
    """Return 0 if a file looks as it was indexed, 1 if it cannot be read or is in object storage or
    on a site, 2 if it changed."""
    path, indexed = place
    if is_remote(path):
        return 1  # no answer waits for a network
    try:
        stat = os.stat(path)
    except OSError:
        return 1
    return 0 if file_state(stat)[:2] == indexed else 2


def _uploads_folder(rows: Sequence[tuple[Any, ...]]) -> bytes:
    """Return the path of the folder of uploads, empty if there is none. rows: UPLOADS_FOLDER."""
    return unquote_to_bytes(rows[0][0]) if rows else b""


def _join(root: bytes, path: bytes) -> str:
    return join_place(os.fsdecode(root), os.fsdecode(path))


def _path(row: Any) -> str:
    return _join(row.root_path, row.path)


def _paths(rows: Any) -> Iterator[tuple[int, str]]:
    for row in rows:
        yield int(row.picture), _path(row)


def rescore(query: Vectors, stored: Vectors) -> Vectors:
    """Return the (n,) cosines of a (dim,) query and (n, dim) vectors, clipped to [-1, 1].

    All are of unit length.
    """
    import numpy as np  # slow to import, and a command may need no vectors

    # a sum for each row, so that a score does not depend on the other rows
    scores: Vectors = np.clip((stored * query).sum(axis=1), -1.0, 1.0)
    return scores
