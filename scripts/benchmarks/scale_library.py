"""Fill a library with many realistic vectors, quickly, for `scripts/bench scale`.

`fill` writes the rows of the catalog by the driver of SQLite, in the order of their keys and
without the secondary indexes, which it builds at the end. The files of the pictures are real and
empty, so a sync sees nothing changed. They have no thumbnails. What the library records for each
picture (metadata, colours, labels, some tags) is what indexing records.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from search import Engine
from search.catalog.database import CATALOG
from search.catalog.schema import metadata
from search.catalog.writes import digest
from search.embedders.mini import Mini
from search.indexing.file_system import identify_file_system
from search.media.colors import RANK_SHARES, cell_of, color_of_cell, hue_of
from search.media.rules import DECODE_RULE, DESCRIPTION_RULE
from search.types import file_state

RECIPE = """\
Vectors: one of 400 classes, whose popularity falls as rank^-0.9, and one of its 60 groups.
vector = .66 x common mean + .48 x class + .28 x group + .44 x noise, scaled to unit length.
Classes, groups and the 48 directions of each class's noise are random unit vectors; the spread of
their components falls as rank^-0.42, and that of the noise along its directions as rank^-0.5.
2 % of the pictures are near copies of another one, at a cosine of about .97. float16.
Medians of 1,500, and of 1,500 photographs under `mini` in brackets: cosine of two pictures
.48 (.46), with the nearest .81 (.79), with the 10th .65 (.71), with the 100th .57 (.58)."""
CLASSES, GROUPS, DIRECTIONS = 400, 60, 48
FALL, POPULARITY = -0.42, -0.9
WEIGHTS = {"mean": 0.66, "class": 0.48, "group": 0.28, "noise": 0.44}
COPIES, COPY_NOISE = 0.02, 0.25
PER_FOLDER = 1000
BLOCK = 20_000
MINI_LABELS = 300
WORDS = [f"class {i}" for i in range(MINI_LABELS)]


def make_vectors(n: int, dim: int = 512, seed: int = 0) -> np.ndarray:
    """Return (n, dim) float16 unit vectors by `RECIPE`.

    The first rows are the same for every n. Rows from another seed come from the same classes, so
    they can be queries that the library does not have.
    """
    out = np.empty((n, dim), np.float16)
    model = _Mixture(dim)
    for start in range(0, n, BLOCK):
        block = model.draw(np.random.default_rng((seed, start)), BLOCK)
        out[start : start + BLOCK] = block[: n - start]
    return out


class _Mixture:
    """The classes, groups and directions of `RECIPE`; always the same ones."""

    def __init__(self, dim: int) -> None:
        rng = np.random.default_rng(20)
        scale = np.arange(1, dim + 1, dtype=np.float32) ** FALL
        turn = np.linalg.qr(rng.standard_normal((dim, dim)))[0].astype(np.float32)

        def draw_units(*shape: int) -> np.ndarray:
            return _unit((rng.standard_normal((*shape, dim), np.float32) * scale) @ turn)

        self._mean = _unit(rng.standard_normal((1, dim), np.float32))
        self._classes = draw_units(CLASSES)
        self._groups = draw_units(CLASSES * GROUPS)
        spread = np.arange(1, DIRECTIONS + 1, dtype=np.float32) ** -0.5
        self._spread = spread / np.linalg.norm(spread)
        self._directions = draw_units(CLASSES, DIRECTIONS)
        share = np.arange(1, CLASSES + 1) ** POPULARITY
        self._share = share / share.sum()

    def draw(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Return (n, dim) float32 unit vectors."""
        classes = np.sort(rng.choice(CLASSES, n, p=self._share))
        groups = classes * GROUPS + rng.integers(0, GROUPS, n)
        factors = rng.standard_normal((n, DIRECTIONS), np.float32) * self._spread
        noise = np.empty((n, self._mean.shape[1]), np.float32)
        for one in np.unique(classes):
            rows = slice(*np.searchsorted(classes, (one, one + 1)))
            noise[rows] = factors[rows] @ self._directions[one]
        vectors = _unit(
            WEIGHTS["mean"] * self._mean
            + WEIGHTS["class"] * self._classes[classes]
            + WEIGHTS["group"] * self._groups[groups]
            + WEIGHTS["noise"] * noise
        )
        vectors = vectors[rng.permutation(n)]
        copies = rng.choice(n, int(n * COPIES), replace=False)
        moved = _unit(rng.standard_normal((len(copies), vectors.shape[1]), np.float32))
        vectors[copies] = _unit(vectors[rng.integers(0, n, len(copies))] + COPY_NOISE * moved)
        return vectors


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def file_names(first: int, last: int) -> list[str]:
    """Return the relative paths of pictures `first` to `last - 1`."""
    return [f"{i // PER_FOLDER:04d}/IMG_{i:07d}.jpg" for i in range(first, last)]


def touch_files(folder: Path, names: Iterable[str]) -> list[tuple[int, int, int, int]]:
    """Make empty files; return size, mtime_ns, inode and ctime_ns of each."""
    states = []
    for name in names:
        path = os.path.join(folder, name)
        try:
            handle = os.open(path, os.O_CREAT | os.O_WRONLY, 0o644)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(path))
            handle = os.open(path, os.O_CREAT | os.O_WRONLY, 0o644)
        states.append(file_state(os.fstat(handle)))
        os.close(handle)
    return states


def picture_id(name: str) -> str:
    """Return the id that `fill` gives to the picture of a file."""
    return hashlib.sha256(name.encode()).hexdigest()


def fill(home: Path, n: int, seed: int = 0, pictures: Path | None = None) -> np.ndarray:
    """Fill a new library with n pictures; return their vectors, (n, dim) float16.

    home: of the library. pictures: folder of the empty files; `home.parent / "pictures"` if None.
    Row ids are 1 to n, in the order of the vectors.
    """
    folder = pictures or home.parent / "pictures"
    folder.mkdir(parents=True, exist_ok=True)
    mini = Mini()
    vectors = make_vectors(n, mini.dim, seed)
    with Engine.open(home=home) as engine:
        catalog = engine.library.catalog
        space = catalog.space(mini.name, mini.fingerprint, mini.dim)
        place = os.path.realpath(folder)
        root = catalog.add_root(
            place, os.stat(place).st_dev, (), file_system=identify_file_system(place)
        )
        catalog.serve(space)
    with closing(sqlite3.connect(home / CATALOG, isolation_level=None)) as connection:
        _write(connection, folder, root.id, space.id, vectors, random.Random(seed))
    with Engine.open(home=home) as engine:
        recount = getattr(engine.library.catalog, "repair_counts", None)
        if recount is not None:  # the counts that the catalog keeps
            recount()
    return vectors


def _write(
    connection: sqlite3.Connection,
    folder: Path,
    root: int,
    space: int,
    vectors: np.ndarray,
    rng: random.Random,
) -> None:
    for pragma in ("synchronous=OFF", "cache_size=-400000", "foreign_keys=OFF"):
        connection.execute(f"PRAGMA {pragma}")
    query = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
    indexes = connection.execute(query).fetchall()
    for name, _ in indexes:
        connection.execute(f"DROP INDEX {name}")
    for start in range(0, len(vectors), BLOCK):
        block = vectors[start : start + BLOCK]
        names = file_names(start, start + len(block))
        states = touch_files(folder, names)
        rows = list(range(start + 1, start + 1 + len(block)))
        connection.execute("BEGIN IMMEDIATE")
        _insert(connection, "pictures", _pictures(rows, names, rng))
        _insert(
            connection,
            "files",
            (
                {
                    "id": row,
                    "root": root,
                    "path": os.fsencode(name),
                    "size": size,
                    "mtime_ns": mtime,
                    "inode": inode,
                    "ctime_ns": ctime,
                    "probe": row.to_bytes(8, "big"),
                    "last_picture": row,
                    "tries": 0,
                }
                for row, name, (size, mtime, inode, ctime) in zip(rows, names, states, strict=True)
            ),
        )
        _insert(connection, "places", ({"id": n, "file": n, "picture": n} for n in rows))
        packed = [row.astype("<f2").tobytes() for row in block]
        _insert(
            connection,
            "vectors",
            (
                {"space": space, "picture": n, "data": data, "digest": digest(data)}
                for n, data in zip(rows, packed, strict=True)
            ),
        )
        _insert(
            connection,
            "changes",
            (
                {"space": space, "picture": n, "operation": "add", "stamp": rng.getrandbits(62)}
                for n in rows
            ),
        )
        _insert(connection, "colors", _colors(rows, rng))
        _insert(connection, "labels", _labels(rows, space, rng))
        _insert(connection, "tags", _tags(rows))
        connection.execute("COMMIT")
    for _, sql in indexes:
        connection.execute(sql)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _pictures(rows: list[int], names: list[str], rng: random.Random) -> Iterator[dict[str, Any]]:
    for row, name in zip(rows, names, strict=True):
        wide = rng.random() < 0.7
        seconds = 1.2e9 + row * 300 + rng.randrange(300)
        exif = {
            "LensModel": f"lens {row % 40}",
            "ISOSpeedRatings": rng.choice((100, 200, 400, 800)),
            "ExposureTime": f"1/{rng.randrange(20, 2000)}",
            "FNumber": round(rng.uniform(1.4, 16), 1),
            "Software": "camera firmware 1.0",
        }
        yield {
            "row_id": row,
            "id": picture_id(name),
            "pixel_hash": hashlib.blake2b(name.encode(), digest_size=32).hexdigest(),
            "type": "jpeg",
            "width": 4000 if wide else 3000,
            "height": 3000 if wide else 4000,
            "bytes": rng.randrange(500_000, 8_000_000),
            "taken": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)),
            "camera": f"camera {row % 25}",
            "lens": exif["LensModel"],
            "latitude": rng.uniform(-60, 60),
            "longitude": rng.uniform(-180, 180),
            "exif": json.dumps(exif),
            "low_content": 0,
            "truncated": 0,
            "decode_rule": DECODE_RULE,
            "description_rule": DESCRIPTION_RULE,
        }


def _colors(rows: list[int], rng: random.Random) -> Iterator[dict[str, Any]]:
    for row in rows:
        for rank, share in enumerate(RANK_SHARES[:4]):
            color = f"#{rng.getrandbits(24):06x}"
            cell = cell_of(color)
            stored = {"share": share, "cell": cell, "hue": hue_of(color_of_cell(cell))}
            yield {"picture": row, "rank": rank, "color": color, **stored}


def _labels(rows: list[int], space: int, rng: random.Random) -> Iterator[dict[str, Any]]:
    for row in rows:
        for label in rng.sample(WORDS, 3):
            yield {"picture": row, "space": space, "label": label, "score": rng.random()}


def _tags(rows: list[int]) -> Iterator[dict[str, Any]]:
    for row in rows:
        if row % 20 == 0:
            tag = f"album {row // 2000}"
            yield {"picture": row, "tag": tag, "normalized": tag, "origin": "person"}


def _insert(connection: sqlite3.Connection, table: str, rows: Iterable[dict[str, Any]]) -> None:
    """Insert rows that all have the same keys."""
    rows = iter(rows)
    first = next(rows, None)
    if first is None:
        return
    unknown = set(first) - set(metadata.tables[table].columns.keys())
    if unknown:
        raise SystemExit(f"the table {table} has no {', '.join(sorted(unknown))}; mend the filler")
    names, marks = ", ".join(first), ", ".join("?" * len(first))
    sql = f"INSERT INTO {table} ({names}) VALUES ({marks})"
    connection.execute(sql, tuple(first.values()))
    connection.executemany(sql, (tuple(row.values()) for row in rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("home", type=Path)
    parser.add_argument("-n", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    start = time.perf_counter()
    fill(args.home, args.n, args.seed)
    print(f"{args.n} pictures in {time.perf_counter() - start:.1f} s\n{RECIPE}")


if __name__ == "__main__":
    main()
