"""The kept counts agree with the rows, after any operations, kills and two writers."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import delete, func, select, update

from search.catalog import counts, schema
from search.catalog.catalog import Catalog
from search.catalog.database import Database
from search.catalog.reads import CatalogReader
from search.catalog.writes import ExtractedFile, Root, SkippedFile, Space
from search.records.pictures import Metadata
from search.types import FileEntry

DIM = 4


class Churn:
    """Random operations on a catalog, as syncs, uploads, forgetting and changes of models do."""

    def __init__(self, path: Path, seed: int) -> None:
        self.catalog = Catalog(Database(path))
        self.reader = CatalogReader(self.catalog.database)
        self.rng, self.prefix = random.Random(seed), f"{seed}"
        self.own = self.catalog.space("own", "f" * 64, DIM)
        self.roots = [self.catalog.add_root(p, 1, ()) for p in ("/r", "/r/inner", "/other")]
        if self.catalog.find_own_space() is None:
            self.catalog.serve(self.own)

    def step(self) -> None:
        self.rng.choice(
            (self.record, self.record, self.record, self.skip, self.remove, self.purge)
            + (self.lose_vectors, self.gain_vectors, self.serve_beside, self.adopt, self.forget)
        )()

    def _extract(self) -> list[ExtractedFile]:
        items = []
        for number in self.rng.sample(range(40), self.rng.randrange(1, 6)):
            picture_id = f"{self.rng.randrange(30):064x}"
            entry = FileEntry(f"{self.prefix}-{number}.jpg", 1, 2, 3)
            vector = np.eye(1, DIM, dtype=np.float32)[0] if self.rng.random() < 0.8 else None
            metadata = Metadata("jpeg", 8, 8, 1)
            items.append(ExtractedFile(entry, picture_id, picture_id, metadata, vector))
        return items

    def record(self) -> None:
        self.catalog.record(self._root(), self.own, self._extract())

    def skip(self) -> None:
        entry = FileEntry(f"{self.prefix}-{self.rng.randrange(40)}.jpg", 1, 2, 3)
        self.catalog.record(self._root(), self.own, [SkippedFile(entry, "broken", "rule")])

    def remove(self) -> None:
        ids = self.catalog.file_ids(self._root(), "", 40)
        self.catalog.remove_files(self.rng.sample(ids, min(len(ids), 4)))

    def purge(self) -> None:
        self.catalog.purge(self._row_ids())

    def lose_vectors(self) -> None:
        self.catalog.delete_vectors(self.own, self._row_ids())

    def gain_vectors(self) -> None:
        vector = np.eye(1, DIM, dtype=np.float32)[0]
        self.catalog.add_vectors(self.own, dict.fromkeys(self._row_ids(), vector))

    def serve_beside(self) -> None:
        beside = self.catalog.space("beside", "b" * 64, DIM)
        self.catalog.serve_beside(beside)
        self.catalog.record_vectors(beside, self._extract())
        if self.rng.random() < 0.5:
            self.catalog.drop_beside(beside)

    def adopt(self) -> None:
        outer, inner = self.roots[0], self.catalog.add_root("/r/inner", 1, ())
        self.catalog.adopt(outer, inner, ())
        self.roots[1] = self.catalog.add_root("/r/inner", 1, ())

    def forget(self) -> None:
        root = self.catalog.add_root("/other", 1, ())
        self.catalog.remove_files(self.catalog.file_ids(root))
        self.catalog.drop_root(root)
        self.roots[2] = self.catalog.add_root("/other", 1, ())

    def _root(self) -> Root:
        return self.rng.choice(self.roots)

    def _row_ids(self) -> list[int]:
        with self.catalog.database.read() as c:
            ids = list(c.scalars(select(schema.pictures.c.row_id)))
        return self.rng.sample(ids, min(len(ids), 5))


def count_rows(reader: CatalogReader, space: Space) -> dict[str, Any]:
    """Count by statements of this test, not by those of the package."""
    p, v = schema.pictures.c, schema.vectors.c
    embedded = select(func.count()).select_from(schema.vectors.join(schema.pictures))
    with reader.database.read() as c:
        by_root = dict[int, int]()
        for file, root in c.execute(select(schema.files.c.id, schema.files.c.root)):
            held = select(func.count()).where(schema.places.c.file == file)
            by_root[root] = by_root.get(root, 0) + (c.scalar(held) > 0)
        return {
            "pictures": c.scalar(select(func.count()).where(p.orphaned.is_(None))),
            "files": {root: n for root, n in by_root.items() if n},
            "embedded": c.scalar(embedded.where(p.orphaned.is_(None), v.space == space.id)),
        }


def read_counts(reader: CatalogReader, space: Space) -> dict[str, Any]:
    return reader.count(space) | {"files": reader.files_by_root()}


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[[int], Churn]]:
    churns = list[Churn]()

    def open_churn(seed: int) -> Churn:
        churns.append(Churn(tmp_path / "catalog.sqlite", seed))
        return churns[-1]

    yield open_churn
    for one in churns:
        one.catalog.database.close()


@pytest.mark.parametrize("seed", range(4))
def test_counts_agree_with_the_rows_after_every_operation(
    make: Callable[[int], Churn], monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(counts, "BLOCK", 8)  # many blocks of few pictures
    churn = make(seed)
    for _ in range(60):
        churn.step()
        assert read_counts(churn.reader, churn.own) == count_rows(churn.reader, churn.own)
    assert churn.reader.list_wrong_counts() == 0 and churn.reader.count(churn.own)["pictures"] > 5
    with churn.catalog.database.read() as c:
        p = schema.pictures.c
        order = select(p.row_id).where(p.orphaned.is_(None)).order_by(p.row_id.desc())
        newest = list(c.scalars(order))
    for skip in range(len(newest) + 2):
        assert churn.reader.newest(skip, 3) == newest[skip : skip + 3]


def test_two_writers_keep_the_counts_right(make: Callable[[int], Churn]) -> None:
    writers = [make(1), make(2)]
    threads = [
        threading.Thread(target=lambda one=one: [one.record() for _ in range(25)])
        for one in writers
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    reader, own = writers[0].reader, writers[0].own
    assert reader.count(own)["pictures"] > 5
    assert read_counts(reader, own) == count_rows(reader, own)


def test_a_killed_writer_leaves_the_counts_right(
    make: Callable[[int], Churn], tmp_path: Path
) -> None:
    churn = make(0)
    code = (
        "import sys; from pathlib import Path\n"
        "from test_counts import Churn\n"
        f"churn = Churn(Path({str(tmp_path / 'catalog.sqlite')!r}), 3)\n"
        "print('ready', flush=True)\n"
        "while True: churn.record(); churn.remove()\n"
    )
    paths = os.pathsep.join((str(Path(__file__).parent), *sys.path))
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": paths},
    )
    assert process.stdout and process.stdout.readline() == b"ready\n"
    while churn.reader.sequence(churn.own) < 20:  # it has written, and is in the middle of it
        pass
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert read_counts(churn.reader, churn.own) == count_rows(churn.reader, churn.own)


def test_wrong_counts_are_told_and_repaired(make: Callable[[int], Churn]) -> None:
    churn = make(0)
    for _ in range(20):
        churn.record()
    right = read_counts(churn.reader, churn.own)
    with churn.catalog.database.write() as c:
        c.execute(update(schema.counts).values(value=schema.counts.c.value + 1))
        c.execute(delete(schema.counts).where(schema.counts.c.name == counts.EMBEDDED))
    wrong = churn.reader.list_wrong_counts()
    assert wrong >= 3 and read_counts(churn.reader, churn.own) != right
    assert churn.catalog.repair_counts() == wrong and churn.catalog.repair_counts() == 0
    assert read_counts(churn.reader, churn.own) == right
