"""What a search asks of the catalog: the change log, vectors, and the facts of hits."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import (
    BindParameter,
    Select,
    Text,
    and_,
    bindparam,
    cast,
    func,
    or_,
    select,
)

from search.catalog.database import Database
from search.catalog.schema import (
    changes,
    colors,
    files,
    labels,
    meta,
    pictures,
    roots,
    tags,
    vectors,
)
from search.catalog.writes import Model, chunks, select_labels, unpack
from search.errors import NotFoundError, QueryError
from search.media.images import DECODE_RULE
from search.media.open_file import FilePlace
from search.records import Facts, Label
from search.types import Vectors, file_state

METADATA = "type width height bytes taken camera latitude longitude exif".split()
"""Columns of `pictures` that are fields of `Facts`."""


@dataclass(frozen=True)
class PictureSummary:
    """A picture as a hit shows it. stats: size and mtime_ns of the files when they were read.
    decode_rule: the version of the rule by which the catalog's picture was decoded."""

    id: str
    width: int
    height: int
    paths: tuple[str, ...]
    stats: tuple[tuple[int, int], ...]
    tags: tuple[str, ...]
    low_content: bool = False
    decode_rule: int = 0

    def there(self) -> str:
        """One of its files, present and unchanged if any is."""
        return min(zip(self.paths, self.stats, strict=True), key=_doubt)[0]


class CatalogReader:
    """Read-only questions. Threads may share it."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def library(self) -> str:
        """A name that no other catalog has: a snapshot of another one is never taken for ours."""
        with self.database.read() as c:
            return str(c.scalar(select(meta.c.value).where(meta.c.key == "library")))

    def sequence(self, model: Model) -> int:
        """The last entry of the change log."""
        query = select(func.max(changes.c.sequence)).where(changes.c.model == model.id)
        with self.database.read() as c:
            return c.scalar(query) or 0

    def stamp(self, model: Model, sequence: int) -> int:
        """What an entry of the change log shares with no other, in any copy of the catalog; 0
        where there is no such entry."""
        query = select(changes.c.stamp).where(changes.c.model == model.id)
        with self.database.read() as c:
            return c.scalar(query.where(changes.c.sequence == sequence)) or 0

    def changed_since(self, model: Model, sequence: int) -> tuple[int, set[int]]:
        """The last sequence, and the pictures that any entry after `sequence` names."""
        with self.database.read() as c:
            rows = c.execute(LATER, {"model": model.id, "sequence": sequence}).all()
        return max([sequence, *(r.sequence for r in rows)]), {r.picture for r in rows}

    def present(self, model: Model, numbers: Collection[int]) -> tuple[list[int], Vectors]:
        """Which of these pictures are searchable under the model, and their (n, dim) vectors."""
        rows: list[Any] = []
        with self.database.read() as c:
            for part in chunks(numbers):
                rows += c.execute(PRESENT, {"model": model.id, "numbers": part}).all()
        return [int(r.picture) for r in rows], unpack([r.data for r in rows], model.dim)

    def everything(self, model: Model, block: int = 8192) -> Iterator[tuple[list[int], Vectors]]:
        """All searchable pictures with their vectors, by number, in blocks. Each is read by itself,
        so that a reader may take its time."""
        query = _vectors().where(vectors.c.picture > bindparam("last"))
        query, last = query.order_by(vectors.c.picture).limit(block), 0
        while True:
            with self.database.read() as c:
                rows = c.execute(query, {"model": model.id, "last": last}).all()
            if not rows:
                return
            last = rows[-1].picture
            yield [int(r.picture) for r in rows], unpack([r.data for r in rows], model.dim)

    def count(self, model: Model | None) -> dict[str, int]:
        """How many pictures and files there are, and vectors under the model."""
        held = select(func.count()).select_from(pictures).where(pictures.c.orphaned.is_(None))
        with self.database.read() as c:
            result = {
                "pictures": c.scalar(held) or 0,
                "files": c.scalar(select(func.count()).where(files.c.picture.is_not(None))) or 0,
                "embedded": 0,
            }
            if model:
                counted = select(func.count()).select_from(_vectors().subquery())
                result["embedded"] = c.scalar(counted, {"model": model.id}) or 0
        return result

    def files_by_root(self) -> dict[int, int]:
        """Root id -> files that hold a picture."""
        query = select(files.c.root, func.count()).where(files.c.picture.is_not(None))
        with self.database.read() as c:
            return {row[0]: row[1] for row in c.execute(query.group_by(files.c.root))}

    def lacking(self, model: Model) -> list[tuple[int, tuple[str, ...]]]:
        """Pictures with files and no vector under the model, with their paths."""
        have = select(vectors.c.picture).where(vectors.c.model == model.id)
        query = _places().where(files.c.picture.not_in(have)).order_by(files.c.picture)
        return self._by_picture(query)

    def outdated(self) -> list[tuple[int, tuple[str, ...]]]:
        """Pictures with files that were decoded under an earlier rule, with their paths."""
        old = select(pictures.c.row_id).where(pictures.c.decode_rule < DECODE_RULE)
        query = _places().where(files.c.picture.in_(old)).order_by(files.c.picture)
        return self._by_picture(query)

    def _by_picture(self, query: Select[Any]) -> list[tuple[int, tuple[str, ...]]]:
        """Rows of `_places`, in order -> pictures with their paths."""
        paths: dict[int, list[str]] = {}
        with self.database.read() as c:
            for number, path in _paths(c.execute(query)):
                paths.setdefault(number, []).append(path)
        return [(number, tuple(places)) for number, places in paths.items()]

    def identities(self, numbers: Collection[int]) -> dict[int, str]:
        """number -> id."""
        found = {}
        with self.database.read() as c:
            for part in chunks(numbers):
                query = select(pictures.c.row_id, pictures.c.id)
                for row in c.execute(query.where(pictures.c.row_id.in_(part))):
                    found[int(row.row_id)] = str(row.id)
        return found

    def describe(self, numbers: Collection[int]) -> dict[int, PictureSummary]:
        """What hits show, by number; pictures without files are left out."""
        found: dict[int, list[Any]] = {}
        named: dict[int, list[str]] = {}
        with self.database.read() as c:
            for part in chunks(numbers):
                for row in c.execute(SHOWN, {"numbers": part}):
                    found.setdefault(row.row_id, []).append(row)
                for row in c.execute(TAGGED, {"numbers": part}):
                    named.setdefault(row.picture, []).append(row.tag)
        described = {}
        for number, rows in found.items():
            places = sorted((_path(r), (r.size, r.mtime_ns)) for r in rows)
            paths, stats = zip(*places, strict=True)
            first, names = rows[0], tuple(sorted(named.get(number, ())))
            described[number] = PictureSummary(
                first.id,
                first.width,
                first.height,
                paths,
                stats,
                names,
                bool(first.low_content),
                first.decode_rule,
            )
        return described

    def facts(self, numbers: Collection[int]) -> dict[int, Facts]:
        """Return the metadata of pictures, by row id. Unknown row ids are left out."""
        metadata, palettes = {}, dict[int, list[str]]()
        columns = [pictures.c[name] for name in METADATA]
        query = select(pictures.c.row_id, *columns).where(pictures.c.row_id.in_(_NUMBERS))
        palette = select(colors).where(colors.c.picture.in_(_NUMBERS)).order_by(colors.c.rank)
        with self.database.read() as c:
            for part in chunks(numbers):
                for row in c.execute(palette, {"numbers": part}):
                    palettes.setdefault(row.picture, []).append(row.color)
                for row in c.execute(query, {"numbers": part}):
                    values = {name: getattr(row, name) for name in METADATA}
                    row_id = int(row.row_id)
                    metadata[row_id] = Facts(**values, palette=tuple(palettes.get(row_id, ())))
        return metadata

    def labels(self, model: Model, numbers: Collection[int]) -> dict[int, tuple[Label, ...]]:
        """What a model sees in these pictures, most probable first; none for most."""
        with self.database.read() as c:
            return select_labels(c, model, numbers)

    def by_labels(
        self, model: Model, names: Collection[str], most: int, least: float
    ) -> dict[int, float]:
        """Pictures in which a model sees one of these classes, the most probable first, with the
        probability. least: below which a picture is left out, 0 to 1."""
        total = func.sum(labels.c.score).label("total")
        query = (
            select(labels.c.picture, total)
            .join(pictures, pictures.c.row_id == labels.c.picture)
            .where(labels.c.model == model.id, labels.c.label.in_(names))
            .where(pictures.c.orphaned.is_(None))
            .group_by(labels.c.picture)
            .having(total >= least)
            .order_by(total.desc(), labels.c.picture)
            .limit(most)
        )
        with self.database.read() as c:
            return {int(row.picture): float(row.total) for row in c.execute(query)}

    def by_name(self, word: str, most: int) -> list[int]:
        """Pictures, the last that came first, that have a word in the name of a file (without its
        suffix) or folder below their root, or in the root's own. A word is matched from its
        beginning on, but for Chinese, Japanese and Korean ones, which have no spaces around them.

        word: in lower case; it may be several words, which any signs may divide in a name.
        """
        tokens = word.split()
        start = r"(?<![^\W\d_])" if word[:1] < "\u3000" else ""
        begins = re.compile(start + r"[\W_]+".join(map(re.escape, tokens)), re.IGNORECASE)
        query = select(roots.c.id, roots.c.path)
        with self.database.read() as c:
            whole = [
                row.id
                for row in c.execute(query)
                if begins.search(os.path.basename(os.fsdecode(row.path)))
            ]
            path = func.lower(cast(files.c.path, Text))
            within = and_(*(func.instr(path, token) > 0 for token in tokens))
            named = select(files.c.picture, files.c.path, files.c.root)
            named = named.where(files.c.picture.is_not(None), or_(within, files.c.root.in_(whole)))
            found: dict[int, None] = {}
            for row in c.execute(named.order_by(files.c.picture.desc())):
                if row.root in whole or begins.search(os.path.splitext(os.fsdecode(row.path))[0]):
                    found.setdefault(int(row.picture))
                if len(found) == most:
                    break
        return list(found)

    def places(self, number: int) -> list[FilePlace]:
        """The files of a picture."""
        columns = (files.c.path, files.c.size, files.c.mtime_ns, roots.c.path.label("root_path"))
        query = select(*columns).join(roots, roots.c.id == files.c.root)
        with self.database.read() as c:
            rows = c.execute(query.where(files.c.picture == number)).all()
        return [
            FilePlace(os.fsdecode(r.root_path), os.fsdecode(r.path), r.size, r.mtime_ns)
            for r in rows
        ]

    def newest(self, skip: int, count: int) -> list[int]:
        """Pictures by when they came, the last one first."""
        query = select(pictures.c.row_id).where(pictures.c.orphaned.is_(None))
        query = query.order_by(pictures.c.row_id.desc()).offset(skip).limit(count)
        with self.database.read() as c:
            return [int(row.row_id) for row in c.execute(query)]

    def resolve(self, identity: str) -> int:
        """A whole id, or an unmistakable beginning of at least 6 digits -> number.

        Raises QueryError for what is no id, NotFoundError where there is no such picture.
        """
        identity = identity.lower()
        if not 6 <= len(identity) <= 64 or set(identity) - set("0123456789abcdef"):
            raise QueryError(
                f"id:{identity} is no id; an id has 64 hexadecimal digits, of which the first 6 or "
                "more may do (`lookalike search --json` prints them)"
            )
        query = select(pictures.c.row_id).where(pictures.c.orphaned.is_(None))
        with self.database.read() as c:
            begins = and_(pictures.c.id >= identity, pictures.c.id < identity + "g")  # by the index
            rows = c.execute(query.where(begins).limit(2)).all()
        if not rows:
            raise NotFoundError(f"no picture in the library has id {identity}")
        if len(rows) > 1:
            raise QueryError(
                f"several pictures have ids that begin with {identity}; give more of it"
            )
        return int(rows[0].row_id)

    def every_place(self) -> Iterator[tuple[str, int, str]]:
        """(id, number, path) of every file that holds a picture; copies share an id."""
        query = (
            _places()
            .add_columns(pictures.c.id)
            .join(pictures, pictures.c.row_id == files.c.picture)
        )
        with self.database.read() as c:
            for row in c.execute(query.order_by(files.c.root, files.c.path)):
                yield row.id, row.picture, _path(row)

    def dangling(self) -> int:
        """How many pictures are neither orphans nor at any file."""
        left = select(files.c.picture).where(files.c.picture.is_not(None))
        query = select(func.count()).select_from(pictures)
        query = query.where(pictures.c.orphaned.is_(None), pictures.c.row_id.not_in(left))
        with self.database.read() as c:
            return c.scalar(query) or 0


def _vectors() -> Select[Any]:
    """Searchable ones, of the `model` that is given when it is asked."""
    return (
        select(vectors.c.picture, vectors.c.data)
        .join(pictures, and_(pictures.c.row_id == vectors.c.picture, pictures.c.orphaned.is_(None)))
        .where(vectors.c.model == bindparam("model"))
    )


def _places() -> Select[Any]:
    columns = (files.c.picture, files.c.path, roots.c.path.label("root_path"))
    return select(*columns).join(roots, roots.c.id == files.c.root)


# What every query asks: made once, so that SQLAlchemy need not put them together each time.
_NUMBERS: BindParameter[Any] = bindparam("numbers", expanding=True)
PRESENT = _vectors().where(vectors.c.picture.in_(_NUMBERS))
SHOWN = (
    select(pictures.c.row_id, pictures.c.id, pictures.c.width, pictures.c.height)
    .add_columns(pictures.c.low_content, pictures.c.decode_rule)
    .add_columns(files.c.path, files.c.size, files.c.mtime_ns, roots.c.path.label("root_path"))
    .join(files, files.c.picture == pictures.c.row_id)
    .join(roots, roots.c.id == files.c.root)
    .where(pictures.c.row_id.in_(_NUMBERS))
)
TAGGED = select(tags).where(tags.c.picture.in_(_NUMBERS))
LATER = select(changes.c.sequence, changes.c.picture).where(
    changes.c.model == bindparam("model"), changes.c.sequence > bindparam("sequence")
)


def _doubt(place: tuple[str, tuple[int, int]]) -> int:
    """Whether a file still is what was indexed: 0 as far as can be told, 1 away, 2 changed."""
    path, known = place
    try:
        stat = os.stat(path)
    except OSError:
        return 1
    return 0 if file_state(stat)[:2] == known else 2


def _path(row: Any) -> str:
    return os.fsdecode(os.path.join(row.root_path, row.path))


def _paths(rows: Any) -> Iterator[tuple[int, str]]:
    for row in rows:
        if row.picture is not None:
            yield int(row.picture), _path(row)


def rescore(query: Vectors, stored: Vectors) -> Vectors:
    """(dim,) and (n, dim), both of unit length -> n cosines, clipped to [-1, 1]."""
    # row by row, so that a score does not depend on which others are computed with it
    scores: Vectors = np.clip((stored * query).sum(axis=1), -1.0, 1.0)
    return scores
