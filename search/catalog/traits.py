"""What is compared of many pictures at once to tell copies from others, in arrays."""

from __future__ import annotations

import json
import os
from collections.abc import Collection
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from search.catalog.schema import colors, files, films, pictures, places, vectors
from search.catalog.writes import Space, chunks
from search.records.pictures import FRAME_TYPES

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from search.catalog.reads import CatalogReader
    from search.types import RowIds

BLOCK = 65_536
FRACTIONS = ("SubsecTimeOriginal", "SubsecTimeDigitized", "SubsecTime")
"""EXIF names of the fraction of the second in which a picture was taken."""


@dataclass(frozen=True)
class Traits:
    """What pictures are like, one element of each array for each picture.

    rows: row ids, ascending. bytes: of one file. colors: (n, 3) mean sRGB, 0 to 255; NaN if it is
    not known. camera: a number for each camera, -1 if it is not known. time: seconds of local time
    with their fraction, NaN if they are not known. is_exact: whether the fraction is known. stem:
    name of a file without its ending.
    """

    rows: RowIds
    width: npt.NDArray[np.float64]
    height: npt.NDArray[np.float64]
    bytes: RowIds
    low_content: npt.NDArray[np.bool_]
    colors: npt.NDArray[np.float64]
    camera: RowIds
    time: npt.NDArray[np.float64]
    is_exact: npt.NDArray[np.bool_]
    stem: npt.NDArray[np.object_]

    def at(self, row_ids: RowIds) -> Traits:
        """Return the traits of some pictures, in their order. All must be among `rows`."""
        import numpy as np

        places = np.searchsorted(self.rows, row_ids)
        return Traits(*(getattr(self, one.name)[places] for one in fields(self)))


def list_representatives(reader: CatalogReader, space: Space) -> RowIds:
    """Return the pictures that show something and have a vector, one for each normalized image:
    (n,) row ids, ascending. Frames of films are left out: many of one film are alike."""
    import numpy as np

    query = select(pictures.c.row_id, pictures.c.pixel_hash)
    query = query.join(vectors, vectors.c.picture == pictures.c.row_id)
    query = query.where(vectors.c.space == space.id, pictures.c.orphaned.is_(None))
    query = query.where(pictures.c.type.not_in(FRAME_TYPES), pictures.c.low_content.is_(False))
    query = query.order_by(pictures.c.row_id).limit(BLOCK)
    hashes, blocks, last = set[int](), [np.empty(0, np.int64)], 0
    while True:
        with reader.database.read() as c:
            rows = c.execute(query.where(pictures.c.row_id > last)).cursor.fetchall()
        if not rows:
            return np.concatenate(blocks)
        last, first = rows[-1][0], list[int]()
        for row_id, pixels in rows:
            key = hash(pixels)  # 64 bits, since a million texts take much memory
            if key not in hashes:
                hashes.add(key)
                first.append(row_id)
        blocks.append(np.array(first, np.int64))


def list_twins(reader: CatalogReader) -> list[list[int]]:
    """Return the pictures with the same normalized image as others, in groups: row ids, ascending.

    Of the whole library, for the reader that shows it.
    """
    again = select(pictures.c.pixel_hash).group_by(pictures.c.pixel_hash)
    again = again.having(func.count() > 1)  # the index alone tells this
    query = select(pictures.c.pixel_hash, pictures.c.row_id).where(pictures.c.orphaned.is_(None))
    query = query.where(pictures.c.pixel_hash.in_(again), pictures.c.type.not_in(FRAME_TYPES))
    groups = dict[str, list[int]]()
    with reader.database.read() as c:
        for pixels, row_id in c.execute(query.order_by(pictures.c.row_id)):
            groups.setdefault(pixels, []).append(int(row_id))
    return [one for one in groups.values() if len(one) > 1]


def list_repeated(reader: CatalogReader) -> list[int]:
    """Return the pictures that several files hold: row ids, ascending. Of a film that there is
    several times, it is one frame."""
    query = select(places.c.picture).where(places.c.time.is_(None))
    query = query.group_by(places.c.picture).having(func.count() > 1)
    twice = select(films.c.content).group_by(films.c.content).having(func.count() > 1)
    of_films = select(func.min(places.c.picture)).join(films, films.c.file == places.c.file)
    of_films = of_films.where(places.c.time.is_not(None), films.c.content.in_(twice))
    with reader.database.read() as c:
        rows = [*c.scalars(query), *c.scalars(of_films.group_by(films.c.content))]
    return sorted({int(one) for one in rows})


def load_traits(reader: CatalogReader, row_ids: Collection[int]) -> Traits:
    """Return the traits of pictures. Unknown row ids are left out."""
    import numpy as np

    names = "row_id width height bytes low_content camera taken".split()
    query = select(*(pictures.c[name] for name in names))
    exif = select(pictures.c.row_id, pictures.c.exif).where(pictures.c.camera.is_not(None))
    palette = select(colors.c.picture, colors.c.color, colors.c.share)
    path = select(places.c.picture, files.c.path).join(files)
    rows, means = list[Any](), dict[int, list[float]]()
    fractions, stems = dict[int, str](), dict[int, str]()
    with reader.database.read() as c:
        for part in chunks(row_ids):
            rows += c.execute(query.where(pictures.c.row_id.in_(part))).all()
            for row_id, color, share in c.execute(palette.where(colors.c.picture.in_(part))):
                value, sums = int(color[1:], 16), means.setdefault(row_id, [0.0] * 4)
                for i, shift in enumerate((16, 8, 0)):
                    sums[i] += share * (value >> shift & 255)
                sums[3] += share
            for row_id, tags in c.execute(exif.where(pictures.c.row_id.in_(part))):
                values = json.loads(tags) if isinstance(tags, str) else tags
                fraction = next((values[one] for one in FRACTIONS if one in values), None)
                if fraction is not None and str(fraction).strip().isdecimal():
                    fractions[row_id] = str(fraction).strip()
            for row_id, name in c.execute(path.where(places.c.picture.in_(part))):
                stem = os.fsdecode(name).rpartition("/")[2].rpartition(".")[0]
                stems[row_id] = min(stem, stems.get(row_id, stem))
    rows.sort(key=lambda row: row.row_id)
    cameras: dict[str, int] = {}
    none = [np.nan] * 3
    return Traits(
        rows=np.array([row.row_id for row in rows], np.int64),
        width=np.array([row.width for row in rows], np.float64),
        height=np.array([row.height for row in rows], np.float64),
        bytes=np.array([row.bytes for row in rows], np.int64),
        low_content=np.array([bool(row.low_content) for row in rows], np.bool_),
        colors=np.array(
            [
                [one / sums[3] for one in sums[:3]] if sums and sums[3] else none
                for sums in (means.get(row.row_id) for row in rows)
            ],
            np.float64,
        ).reshape(-1, 3),
        camera=np.array(
            [cameras.setdefault(row.camera, len(cameras)) if row.camera else -1 for row in rows],
            np.int64,
        ),
        time=np.array(
            [read_seconds(row.taken, fractions.get(row.row_id)) for row in rows], np.float64
        ),
        is_exact=np.array([row.row_id in fractions for row in rows], np.bool_),
        stem=np.array([stems.get(row.row_id, "") for row in rows], np.object_),
    )


def read_seconds(date: str | None, fraction: str | None = None) -> float:
    """Return a time of the catalog, with the digits of its fraction, in seconds; NaN for none."""
    from datetime import datetime

    if date is None:
        return float("nan")
    try:
        whole = (datetime.fromisoformat(date) - datetime(1970, 1, 1)).total_seconds()
    except (ValueError, TypeError):  # a text of another version
        return float("nan")
    return whole + float(f"0.{fraction or 0}")
