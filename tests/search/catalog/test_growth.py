"""What a user waits for takes as many steps of SQLite in a large library as in a small one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import event

from search.catalog import counts
from search.catalog.catalog import Catalog
from search.catalog.database import Database
from search.catalog.reads import CatalogReader
from search.catalog.writes import ExtractedFile, SeenContent
from search.records.pictures import Label, Metadata
from search.types import FileEntry

DIM, FOLDER = 4, 50
SIZES = 500, 4000
VECTOR = np.eye(1, DIM, dtype=np.float32)[0]


@dataclass
class Library:
    """A catalog of some pictures, 50 in a folder, and the steps that SQLite takes in it."""

    catalog: Catalog
    reader: CatalogReader
    count: int
    steps: int = 0

    def __post_init__(self) -> None:
        self.space = self.catalog.space("mini", "f" * 64, DIM)
        self.catalog.serve(self.space)
        self.root = self.catalog.add_root("/pictures", 1, ())
        for start in range(0, self.count, 500):
            self.record(*range(start, start + 500))
        self.catalog.tag(1, ["beach"])

    def record(self, *numbers: int) -> None:
        items = []
        for n in numbers:
            entry = FileEntry(f"{n // FOLDER:04d}/{n:06d}.jpg", n, n, n, n)
            palette, content = ("#ffffff",), SeenContent((Label(f"class {n % 9}", 0.9),))
            metadata = Metadata("jpeg", 8, 8, n, palette=palette, exif={"Software": "camera"})
            items.append(ExtractedFile(entry, f"{n:064x}", f"{n:064x}", metadata, VECTOR, content))
        self.catalog.record(self.root, self.space, items)

    def copy(self, number: int) -> None:
        """Record a picture without a vector whose pixels are those of another."""
        entry = FileEntry(f"copy-{self.steps}.jpg", 1, 2, 3)
        pixel_hash, metadata = f"{number:064x}", Metadata("jpeg", 8, 8, number)
        item = ExtractedFile(entry, f"{self.count + self.steps:x}".zfill(64), pixel_hash, metadata)
        self.catalog.record(self.root, self.space, [item])

    def measure(self, task: Callable[[Library], Any]) -> int:
        """Run a task twice, the first time to compile it; return the steps of the second."""
        engine = self.catalog.database.engine
        task(self)

        def listen(connection: Any, *_: Any) -> None:
            connection.set_progress_handler(self._count, 1)

        def stop(connection: Any, *_: Any) -> None:
            connection.set_progress_handler(None, 1)

        self.steps = 0
        event.listen(engine, "checkout", listen)
        event.listen(engine, "checkin", stop)
        try:
            task(self)
        finally:
            event.remove(engine, "checkout", listen)
            event.remove(engine, "checkin", stop)
        return self.steps

    def _count(self) -> int:
        self.steps += 1
        return 0


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Library]]:
    opened = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(counts, "BLOCK", 500)
        for size in SIZES:
            path = tmp_path_factory.mktemp(f"{size}") / "catalog.sqlite"
            opened.append(Library(*_open(path), size))
        yield opened
    for one in opened:
        one.catalog.database.close()


SOME = [3, 30, 300]
TASKS: dict[str, Callable[[Library], Any]] = {
    "status": lambda one: (one.reader.count(one.space), one.reader.files_by_root()),
    "first page": lambda one: one.reader.newest(0, 20),
    "last page": lambda one: one.reader.newest(one.count - 20, 20),
    "describe": lambda one: one.reader.describe(SOME),
    "metadata": lambda one: one.reader.load_metadata(SOME),
    "labels": lambda one: one.reader.labels(one.space, SOME),
    "texts": lambda one: (
        one.reader.texts_of(SOME),
        one.reader.have_text(SOME),
        one.reader.count_texts(),
    ),
    "vectors": lambda one: one.reader.load_vectors(one.space, SOME),
    "places": lambda one: one.reader.places(3),
    "id": lambda one: one.reader.resolve(f"{one.count - 1:064x}"),
    "log": lambda one: one.reader.changed_since(one.space, one.reader.sequence(one.space)),
    "subfolder": lambda one: one.catalog.files(one.root, "0003"),
    "files to forget": lambda one: one.catalog.file_ids(one.root, "0003"),
    "pictures of some sizes": lambda one: one.catalog.ids_by_size(one.space, {7, 77}),
    "pictures of some pixels": lambda one: one.catalog.embedded_pixel_hashes(
        one.space, {f"{n:064x}" for n in (7, 77)}
    ),
    "pictures to decode again": lambda one: (
        one.reader.list_outdated(),
        one.reader.list_postponed(0.0),
    ),
    "purge": lambda one: one.catalog.purge(),
    "add": lambda one: one.record(*range(one.count + one.steps, one.count + one.steps + 3)),
    "add files of known pictures": lambda one: one.record(*SOME),
    "add a picture with known pixels": lambda one: one.copy(3),
    "lose and gain vectors": lambda one: (
        one.catalog.delete_vectors(one.space, SOME),
        one.catalog.add_vectors(one.space, dict.fromkeys(SOME, VECTOR)),
    ),
    "forget": lambda one: one.catalog.purge(
        one.catalog.remove_files(one.catalog.file_ids(one.root, "0005", 3))
    ),
}


@pytest.mark.parametrize("task", TASKS)
def test_a_large_library_takes_no_more_steps(libraries: list[Library], task: str) -> None:
    few, many = (one.measure(TASKS[task]) for one in libraries)
    assert few and many < 1.5 * few + 50, (few, many)


def test_a_library_read_whole_takes_more_steps(libraries: list[Library]) -> None:
    """The measure of the other tests sees a scan."""
    few, many = (one.measure(lambda one: one.reader.list_wrong_counts()) for one in libraries)
    assert many > 4 * few


def test_blocks_of_files_are_whole_and_in_order(
    libraries: list[Library], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("search.catalog.catalog.FILES_BLOCK", 7)
    library = Library(*_open(tmp_path / "catalog.sqlite"), 100)
    blocks = list(library.catalog.iterate_files_of(library.root))
    paths = [path for block in blocks for path, _ in block]
    assert paths == sorted(paths) and len(paths) == 500 and len(blocks) == 72
    blocks_of_places = list(library.reader.iterate_file_blocks(7))
    places = [one for block in blocks_of_places for one in block]
    assert [path for *_, path in places] == [f"/pictures/{path}" for path in paths]
    assert library.catalog.files(library.root, "000").keys() == set()
    library.catalog.database.close()


def _open(path: Path) -> tuple[Catalog, CatalogReader]:
    database = Database(path)
    return Catalog(database), CatalogReader(database)
