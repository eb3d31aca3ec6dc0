"""The catalog: one truth, small transactions, a log of its changes, one writer, clear refusals."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.libraries import close_library, open_library
from helpers.old_catalogs import write_old_catalog
from helpers.pictures import identity, paint
from helpers.project import ROOT
from sqlalchemy import Connection, event, insert, select, update

from search import (
    Engine,
    InputError,
    LibraryError,
    LockedError,
    NotFoundError,
    QueryError,
    StorageError,
)
from search.catalog import schema
from search.catalog.catalog import Catalog
from search.catalog.database import Database, open_database, refuse_network
from search.catalog.migrations import NEWEST
from search.catalog.reads import CatalogReader
from search.catalog.writes import (
    CatalogFile,
    ExtractedFile,
    Root,
    SeenContent,
    SkippedFile,
    Space,
    chunks,
    pack,
    unpack,
)
from search.lock import hold_lock
from search.records.annotations import Description
from search.records.pictures import Label, Metadata
from search.types import FileEntry

Open = Callable[..., Engine]
FindCatalog = Callable[[Path], str | None]
DAY = 86400.0
pytestmark = pytest.mark.catalogs("sqlite", "postgresql")
FACTS = Metadata(
    type="jpeg",
    width=4,
    height=3,
    bytes=10,
    palette=("#000000",),
    palette_shares=(0.42,),
    exif={"Make": "x"},
)


@pytest.mark.parametrize("name", ["a?b", "c%41d", "e#f", "g:h@i"])
def test_a_home_may_be_called_anything(tmp_path: Path, name: str) -> None:
    home = tmp_path / name
    close_library(open_library(home))
    assert (home / "catalog.sqlite").is_file() and list(tmp_path.iterdir()) == [home]


class CatalogFixture:
    """A catalog with one root, one space and a clock that stands still."""

    def __init__(self, folder: Path, address: str | None = None) -> None:
        folder.mkdir(exist_ok=True)
        self.now, self.address, self.place = 1000 * DAY, address, folder / "catalog.sqlite"
        self.database = open_database(address, self.place)
        self.catalog = Catalog(self.database, lambda: self.now)
        self.reader = CatalogReader(self.database)
        self.space = self.catalog.space("mini", "f0", 4)
        self.root = self.catalog.add_root("/pictures", 1, ())

    def put(self, *items: ExtractedFile | SkippedFile) -> None:
        self.catalog.record(self.root, self.space, items)

    def file(self, path: str) -> CatalogFile:
        return self.catalog.files(self.root)[path]

    def row_id(self, name: str) -> int:
        return self.catalog.row_ids([name])[name]

    def tags(self, name: str) -> tuple[str, ...]:
        return self.reader.describe([self.row_id(name)])[self.row_id(name)].tags

    def log(self) -> list[tuple[int, str]]:
        query = select(schema.changes.c.picture, schema.changes.c.operation)
        with self.database.read() as c:
            return [(r.picture, r.operation) for r in c.execute(query.order_by("sequence"))]

    def rows(self, table: str) -> int:
        with self.database.read() as c:
            return len(c.execute(select(schema.metadata.tables[table])).all())


@pytest.fixture
def fixture(tmp_path: Path, find_catalog: FindCatalog) -> Iterator[CatalogFixture]:
    opened = CatalogFixture(tmp_path / "home", find_catalog(tmp_path / "home"))
    yield opened
    opened.database.close()


def entry(path: str, size: int = 10) -> FileEntry:
    return FileEntry(path, size, 1, 1)


def make_new_file(
    path: str, name: str, pixel_hash: str | None = None, at: int = 0
) -> ExtractedFile:
    """A new picture with a vector along axis `at`."""
    vector = np.eye(4, dtype=np.float32)[at]
    return ExtractedFile(entry(path), name, pixel_hash or f"r-{name}", FACTS, vector)


def copied(path: str, name: str, pixel_hash: str) -> ExtractedFile:
    """A new picture with a known pixel hash."""
    return ExtractedFile(entry(path), name, pixel_hash, FACTS)


def known(path: str, name: str) -> ExtractedFile:
    """Return a picture that was recognized by its hash."""
    return ExtractedFile(entry(path), name)


# vectors ---------------------------------------------------------------------------------------


def test_vectors_come_back_at_unit_length_within_half_precision() -> None:
    rows = np.random.default_rng(0).normal(size=(9, 16)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    back = unpack([pack(row) for row in rows], 16)
    np.testing.assert_allclose(back, rows, atol=1e-3)
    np.testing.assert_allclose(np.linalg.norm(back, axis=1), 1, atol=1e-6)
    assert unpack([], 16).shape == (0, 16)


def test_chunks_lose_nothing() -> None:
    assert [v for part in chunks(range(12_001)) for v in part] == list(range(12_001))


def test_a_copied_image_has_the_same_vector(fixture: CatalogFixture) -> None:
    fixture.put(make_new_file("a", "A", "r", at=2))
    fixture.put(copied("b", "B", "r"))
    present, rows = fixture.reader.load_vectors(
        fixture.space, [fixture.row_id("A"), fixture.row_id("B")]
    )
    assert len(present) == 2 and np.array_equal(rows[0], rows[1])
    assert fixture.catalog.embedded_pixel_hashes(fixture.space, ["r", "other"]) == {"r"}


def test_vectors_of_two_models_never_mix(fixture: CatalogFixture) -> None:
    fixture.put(make_new_file("a", "A"))
    other = fixture.catalog.space("other", "f1", 4)
    assert fixture.reader.load_vectors(other, [1])[0] == []
    assert fixture.reader.changed_since(other, 0) == (0, set())
    assert [number for number, _ in fixture.reader.list_unembedded(other)] == [1]
    fixture.catalog.add_vectors(other, {1: np.eye(4, dtype=np.float32)[3]})
    assert fixture.reader.load_vectors(other, [1])[1].tolist() == [[0, 0, 0, 1]]
    assert fixture.reader.load_vectors(fixture.space, [1])[1].tolist() == [[1, 0, 0, 0]]
    fixture.catalog.serve(other)
    assert (
        fixture.reader.load_vectors(fixture.space, [1])[0] == []
        and fixture.catalog.find_own_space() == other
    )


def test_a_model_is_entered_once_and_goes_by_its_last_name(fixture: CatalogFixture) -> None:
    again = fixture.catalog.space("mini:/elsewhere", "f0", 4)
    assert again == replace(fixture.space, name="mini:/elsewhere")
    fixture.catalog.serve(again)
    assert fixture.catalog.find_own_space() == again


# pictures, files, the log ----------------------------------------------------------------------


def test_facts_are_kept(fixture: CatalogFixture) -> None:
    fixture.put(make_new_file("a", "A"))
    with fixture.database.read() as c:
        row = c.execute(select(schema.pictures)).one()
    assert (row.type, row.width, row.height, row.bytes) == ("jpeg", 4, 3, 10)
    assert row.exif == {"Make": "x"} and fixture.reader.load_metadata([1]) == {1: FACTS}
    with fixture.database.read() as c:
        assert c.execute(select(*list(schema.colors.c)[:3])).all() == [(1, 0, "#000000")]


def test_the_log_names_what_comes_goes_and_comes_back(fixture: CatalogFixture) -> None:
    fixture.put(make_new_file("a", "A"), make_new_file("b", "B"))
    fixture.catalog.remove_files([fixture.file("a").id])
    fixture.put(known("c", "A"))
    assert fixture.log() == [(1, "add"), (2, "add"), (1, "remove"), (1, "add")]
    assert fixture.reader.changed_since(fixture.space, 2) == (4, {1})
    assert fixture.reader.changed_since(fixture.space, 2, 1)[0] == 3


def test_entries_of_the_log_have_stamps_of_their_own(fixture: CatalogFixture) -> None:
    fixture.put(make_new_file("a", "A"), make_new_file("b", "B"))
    stamps = {fixture.reader.stamp(fixture.space, sequence) for sequence in (1, 2)}
    assert len(stamps) == 2 and 0 not in stamps
    assert fixture.reader.stamp(fixture.space, 3) == 0


def test_a_copy_is_one_picture_at_two_places(fixture: CatalogFixture) -> None:
    fixture.put(make_new_file("a", "A"), make_new_file("b", "A"))
    assert fixture.reader.describe([1])[1].paths == ("/pictures/a", "/pictures/b")
    fixture.catalog.remove_files([fixture.file("a").id])
    assert fixture.reader.describe([1])[1].paths == ("/pictures/b",)
    assert fixture.log() == [(1, "add")]


def test_a_picture_without_files_is_found_no_more_and_kept_for_30_days(
    fixture: CatalogFixture,
) -> None:
    fixture.put(make_new_file("a", "A"))
    assert fixture.catalog.remove_files([fixture.file("a").id]) == [1]
    assert fixture.reader.load_vectors(fixture.space, [1])[0] == [] and not fixture.reader.describe(
        [1]
    )
    assert list(fixture.reader.iterate_vectors(fixture.space)) == []
    fixture.now += 30 * DAY - 1
    assert fixture.catalog.purge() == [] and fixture.rows("vectors") == 1
    fixture.now += 1
    assert fixture.catalog.purge() == ["A"]
    assert [fixture.rows(t) for t in ("pictures", "vectors", "files")] == [0, 0, 0]


def test_a_number_is_never_given_twice(fixture: CatalogFixture) -> None:
    fixture.put(make_new_file("a", "A"))
    fixture.catalog.purge(fixture.catalog.remove_files([fixture.file("a").id]))
    fixture.put(make_new_file("a", "B"))
    assert fixture.row_id("B") == 2


def test_purging_named_orphans_leaves_the_others(fixture: CatalogFixture) -> None:
    fixture.put(make_new_file("a", "A"), make_new_file("b", "B"))
    fixture.catalog.remove_files([fixture.file("a").id])
    gone = fixture.catalog.remove_files([fixture.file("b").id])
    assert fixture.catalog.purge(gone) == ["B"] and fixture.catalog.purge([]) == []
    assert fixture.rows("pictures") == 1


def test_a_batch_is_entered_whole_or_not_at_all(fixture: CatalogFixture) -> None:
    lost = ExtractedFile(
        entry("b"), "unknown"
    )  # a picture the catalog does not have, without its metadata
    with pytest.raises(NotFoundError):
        fixture.put(make_new_file("a", "A"), lost)
    assert [fixture.rows(t) for t in ("pictures", "vectors", "files", "changes")] == [0, 0, 0, 0]


# places ----------------------------------------------------------------------------------------


def test_a_file_may_hold_several_pictures_at_times_or_on_pages(fixture: CatalogFixture) -> None:
    fixture.put(make_new_file("film.mkv", "A"), make_new_file("paper.pdf", "B"))
    film, paper = fixture.file("film.mkv").id, fixture.file("paper.pdf").id
    more: list[dict[str, Any]] = [
        {"file": film, "picture": fixture.row_id("A"), "time": 61.5, "page": None},
        {"file": film, "picture": fixture.row_id("B"), "time": 90.0, "page": None},
        {"file": paper, "picture": fixture.row_id("A"), "time": None, "page": 3},
    ]
    with fixture.database.write() as c:
        c.execute(insert(schema.places), more)
    films, papers = (os.path.join("/pictures", name) for name in ("film.mkv", "paper.pdf"))
    shown = fixture.reader.describe([1, 2])
    assert [shown[n].paths for n in (1, 2)] == [(films, papers)] * 2  # each file once
    assert fixture.reader.count(fixture.space) == {"pictures": 2, "files": 2, "embedded": 2}
    assert fixture.reader.files_by_root() == {fixture.root.id: 2}
    assert fixture.catalog.remove_files([film]) == []  # both are on pages of the other file
    assert fixture.reader.describe([1])[1].paths == (papers,) and fixture.rows("places") == 2
    assert sorted(fixture.catalog.remove_files([paper])) == [1, 2] and fixture.rows("places") == 0


def test_a_description_in_the_file_is_the_caption(fixture: CatalogFixture) -> None:
    described = replace(make_new_file("a", "A"), description=Description(caption="Two boats"))
    fixture.put(described, make_new_file("b", "B"))
    with fixture.database.read() as c:
        query = select(schema.pictures.c.caption).order_by(schema.pictures.c.row_id)
        assert list(c.scalars(query)) == ["Two boats", None]


# tags ------------------------------------------------------------------------------------------


def test_a_file_edited_in_place_takes_its_tags_along(fixture: CatalogFixture) -> None:
    fixture.put(make_new_file("a", "A"))
    fixture.catalog.tag(1, ["beach", "beach", "sun"])
    fixture.put(make_new_file("a", "A2"))
    assert fixture.tags("A2") == ("beach", "sun")
    fixture.catalog.tag(2, ["late"])
    fixture.put(known("a", "A"))  # undone
    assert fixture.tags("A") == ("beach", "late", "sun")


def test_tags_stay_when_only_metadata_changed_even_under_another_name(
    fixture: CatalogFixture,
) -> None:
    fixture.put(make_new_file("a", "A", "r"))
    fixture.catalog.tag(1, ["beach"])
    fixture.put(copied("b", "B", "r"))
    assert fixture.tags("B") == ("beach",)


def test_pictures_that_trade_places_keep_their_own_tags(fixture: CatalogFixture) -> None:
    fixture.put(make_new_file("a", "A"), make_new_file("b", "B"))
    fixture.catalog.tag(1, ["of A"])
    fixture.catalog.tag(2, ["of B"])
    fixture.put(known("a", "B"), known("b", "A"))
    assert (fixture.tags("A"), fixture.tags("B")) == (("of A",), ("of B",))


def test_a_tag_is_the_same_in_any_spelling(fixture: CatalogFixture) -> None:
    fixture.put(make_new_file("a", "A"))
    fixture.catalog.tag(1, ["Strand", "STRAND ", "strand", "Straße", "STRASSE", "ｓｕｎ"])
    fixture.catalog.tag(1, ["sun", "a  b", "A B"], origin="model")
    assert fixture.tags("A") == ("Strand", "Straße", "a b", "ｓｕｎ")
    with fixture.database.read() as c:
        rows = c.execute(select(schema.tags).order_by("normalized")).all()
    assert [(row.normalized, row.origin) for row in rows] == [
        ("a b", "model"),
        ("strand", "person"),
        ("strasse", "person"),
        ("sun", "person"),
    ]
    with pytest.raises(InputError, match="tag is empty"):
        fixture.catalog.tag(1, ["new", " "])
    assert "new" not in fixture.tags("A")


def test_tags_keep_their_origin_when_a_file_is_edited(fixture: CatalogFixture) -> None:
    fixture.put(make_new_file("a", "A"))
    fixture.catalog.tag(1, ["beach"], origin="file")
    fixture.put(make_new_file("a", "A2"))
    with fixture.database.read() as c:
        assert set(c.scalars(select(schema.tags.c.origin))) == {"file"}


# roots -----------------------------------------------------------------------------------------


def test_a_root_takes_over_the_files_of_a_root_inside_it(fixture: CatalogFixture) -> None:
    inner = fixture.catalog.add_root("/all/trips", 1, ())
    beside = fixture.catalog.add_root("/all-not", 1, ())
    fixture.catalog.record(inner, fixture.space, [make_new_file("x/a", "A")])
    fixture.catalog.record(beside, fixture.space, [make_new_file("b", "B")])
    outer = fixture.catalog.add_root("/all", 1, ("a",))
    outer = fixture.catalog.adopt(outer, inner, ("a", "b"))
    assert outer.exclude == ("a", "b") and outer in fixture.catalog.roots()
    assert [root.path for root in fixture.catalog.roots()] == ["/all", "/all-not", "/pictures"]
    assert list(fixture.catalog.files(outer)) == ["trips/x/a"]
    assert fixture.reader.describe([1])[1].paths == ("/all/trips/x/a",)


def test_files_of_a_subfolder_are_those_below_it(fixture: CatalogFixture) -> None:
    fixture.put(
        make_new_file("sub/a", "A"), make_new_file("sub2/b", "B"), make_new_file("sub", "C")
    )
    assert set(fixture.catalog.files(fixture.root, "sub")) == {"sub/a"}


def test_paths_and_excludes_need_not_be_utf8(fixture: CatalogFixture) -> None:
    name = os.fsdecode(b"caf\xe9")
    root = fixture.catalog.add_root(f"/{name}", 1, [name])
    fixture.catalog.record(root, fixture.space, [make_new_file(f"{name}.jpg", "A")])
    (back,) = [r for r in fixture.catalog.roots() if r.id == root.id]
    assert back == Root(root.id, f"/{name}", 1, "online", (name,))
    assert fixture.reader.describe([1])[1].paths == (f"/{name}/{name}.jpg",)


# ids -------------------------------------------------------------------------------------------


def test_an_id_may_be_shortened_while_it_is_unmistakable(fixture: CatalogFixture) -> None:
    one, two = "abcdef0" + "0" * 57, "abcdef1" + "0" * 57
    fixture.put(make_new_file("a", one), make_new_file("b", two))
    assert fixture.reader.resolve("ABCDEF0") == 1 and fixture.reader.resolve(two) == 2
    with pytest.raises(QueryError, match="several pictures"):
        fixture.reader.resolve("abcdef")
    with pytest.raises(NotFoundError, match="no picture"):
        fixture.reader.resolve("123456")
    for wrong in ("abcde", "", "x" * 64, "a" * 65, "abcdef%"):
        with pytest.raises(QueryError, match="no id"):
            fixture.reader.resolve(wrong)
    fixture.catalog.remove_files([fixture.file("a").id])
    with pytest.raises(NotFoundError):
        fixture.reader.resolve(one)


# the database ----------------------------------------------------------------------------------


def test_a_transaction_that_fails_leaves_nothing(fixture: CatalogFixture) -> None:
    with pytest.raises(RuntimeError), fixture.database.write() as c:
        c.execute(insert(schema.meta).values(key="x", value="y"))
        raise RuntimeError
    assert fixture.rows("meta") == 1


def test_a_writing_transaction_is_alone_from_its_first_look(fixture: CatalogFixture) -> None:
    other = open_database(fixture.address, fixture.place)

    def add(c: Connection, key: str) -> None:
        c.execute(insert(schema.meta).values(key=key, value=""))

    def write() -> None:
        with other.write() as c:
            add(c, "other")

    thread = threading.Thread(target=write)
    with fixture.database.write() as c:
        c.execute(select(schema.meta)).all()
        thread.start()
        thread.join(0.3)  # a write in between would make this read outdated
        add(c, "mine")
    thread.join()
    other.close()
    assert fixture.rows("meta") == 3


def test_a_migration_runs_once(tmp_path: Path) -> None:
    for _ in range(2):
        database = Database(tmp_path / "c.sqlite")
        name = CatalogReader(database).library()
        with database.read() as c:
            assert len(c.execute(select(schema.migrations)).all()) == 1
            assert c.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
            assert c.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        database.close()
    database = Database(tmp_path / "d.sqlite")
    assert CatalogReader(database).library() != name
    database.close()


def old_database(folder: Path, version: int) -> Database:
    """A catalog of one picture and an older version, opened and so migrated."""
    fixture = CatalogFixture(folder / "new")
    fixture.put(make_new_file("a", "A"))
    fixture.database.close()
    write_old_catalog(folder / "new" / "catalog.sqlite", folder / "old.sqlite", version)
    return Database(folder / "old.sqlite")


def test_a_catalog_of_version_1_gets_the_index_by_picture(tmp_path: Path) -> None:
    database = old_database(tmp_path, 1)
    with database.read() as c:
        plan = c.exec_driver_sql("EXPLAIN QUERY PLAN DELETE FROM vectors WHERE picture = 1").all()
        versions = c.scalars(select(schema.migrations.c.version)).all()
    database.close()
    assert "vectors_picture" in str(plan)
    assert min(versions) == 1 and len(versions) == NEWEST


def test_a_catalog_of_version_2_gets_labels(tmp_path: Path) -> None:
    old_database(tmp_path, 2).close()
    for _ in range(2):
        database = Database(tmp_path / "old.sqlite")
        with database.read() as c:
            assert c.execute(select(schema.labels)).all() == []
            assert c.scalars(select(schema.pictures.c.low_content)).all() == [False]
        database.close()


def test_pictures_of_a_catalog_of_version_3_count_as_decoded_by_the_first_rule(
    tmp_path: Path,
) -> None:
    old_database(tmp_path, 3).close()
    for _ in range(2):
        database = Database(tmp_path / "old.sqlite")
        assert CatalogReader(database).list_outdated() == [(1, ("/pictures/a",))]
        database.close()


def test_an_older_catalog_has_no_truncated_picture_and_follows_no_links(tmp_path: Path) -> None:
    database = old_database(tmp_path, 6)
    assert not CatalogReader(database).load_metadata([1])[1].truncated
    (root,) = Catalog(database).roots()
    assert (root.follow_links, root.left_out) == (False, {})
    database.close()


def test_a_root_keeps_what_is_left_out_and_whether_links_are_followed(
    fixture: CatalogFixture,
) -> None:
    kinds = {"raw": 3, "link": 1}
    for links, counts in ((True, kinds), (False, {})):
        root = fixture.catalog.add_root("/pictures", 1, (), links, counts)
        assert fixture.catalog.roots() == [root]
        assert (root.follow_links, root.left_out) == (links, counts)


def test_metadata_say_whether_a_picture_is_truncated(fixture: CatalogFixture) -> None:
    fixture.put(replace(make_new_file("a", "A"), metadata=replace(FACTS, truncated=True)))
    assert fixture.reader.load_metadata([1])[1].truncated


def test_a_vector_is_not_copied_from_a_picture_of_an_earlier_decode_rule(
    fixture: CatalogFixture,
) -> None:
    fixture.put(make_new_file("a", "A", "same"))
    assert fixture.catalog.embedded_pixel_hashes(fixture.space, {"same"}) == {"same"}
    with fixture.database.write() as c:
        c.execute(update(schema.pictures).values(decode_rule=1))
    assert fixture.catalog.embedded_pixel_hashes(fixture.space, {"same"}) == set()
    fixture.put(copied("b", "B", "same"))
    assert fixture.reader.load_vectors(fixture.space, [1, 2])[0] == [1]


def test_a_picture_that_is_decoded_anew_replaces_what_was_stored_of_it(
    fixture: CatalogFixture,
) -> None:
    fixture.put(make_new_file("a", "A", "old"))
    with fixture.database.write() as c:
        c.execute(update(schema.pictures).values(decode_rule=1))
    newer = replace(FACTS, palette=("#ffffff",))
    fixture.put(
        replace(make_new_file("b", "A", "new"), metadata=newer)
    )  # another file of the same bytes
    assert fixture.reader.load_metadata([1]) == {1: newer} and fixture.reader.list_outdated() == []
    assert fixture.catalog.embedded_pixel_hashes(fixture.space, {"old", "new"}) == {"new"}


def test_labels_and_flags_follow_the_vector_to_pictures_of_the_same_pixels(
    fixture: CatalogFixture,
) -> None:
    content = SeenContent((Label("dog", 0.9), Label("cat", 0.05)), low_content=True)
    vector = np.eye(4, dtype=np.float32)[0]
    first = ExtractedFile(entry("a"), "a" * 8, "same", FACTS, vector, content)
    fixture.catalog.record(fixture.root, fixture.space, [first])
    fixture.catalog.record(
        fixture.root, fixture.space, [ExtractedFile(entry("b"), "b" * 8, "same", FACTS)]
    )
    labels = fixture.reader.labels(fixture.space, [1, 2])
    assert labels[1] == labels[2] == content.labels
    assert all(one.low_content for one in fixture.reader.describe([1, 2]).values())
    rows = fixture.reader.find_by_labels(fixture.space, ["dog", "cat"], 10, 0.5)
    assert rows == pytest.approx({1: 0.95, 2: 0.95})
    assert fixture.reader.find_by_labels(fixture.space, ["cat"], 10, 0.5) == {}
    other = fixture.catalog.space("other", "f2", 4)
    fixture.catalog.add_vectors(other, {1: vector}, {1: SeenContent()})
    assert fixture.reader.labels(other, [1]) == {} and fixture.reader.labels(fixture.space, [1])
    assert not fixture.reader.describe([1])[1].low_content
    fixture.catalog.serve(other)
    assert fixture.reader.labels(fixture.space, [1, 2]) == {}


def test_a_newer_schema_is_refused(library: Open, home: Path, find_catalog: FindCatalog) -> None:
    engine = library()
    with engine.library.database.write() as c:
        c.execute(insert(schema.migrations).values(version=99, at=0.0))
    close_library(engine)
    with pytest.raises(LibraryError, match="newer lookalike .schema 99"):
        Engine.open(home, catalog=find_catalog(home))


@pytest.mark.parametrize("damage", [b"this is not a database, is it?" * 200, b"SQLite format 3\0"])
def test_a_file_that_is_no_database_is_refused(home: Path, damage: bytes) -> None:
    home.mkdir()
    (home / "catalog.sqlite").write_bytes(damage)
    with pytest.raises(LibraryError, match="damaged"):
        Engine.open(home)


def test_a_damaged_catalog_is_told_and_never_a_traceback(home: Path, folder: Path) -> None:
    engine = open_library(home)
    for seed in range(8):
        paint(folder / f"{seed}.jpg", seed)
    engine.sync(folder)
    close_library(engine)
    data = bytearray((home / "catalog.sqlite").read_bytes())
    for page in range(2, len(data) // 4096):
        data[page * 4096 : page * 4096 + 200] = b"\x5a" * 200
    (home / "catalog.sqlite").write_bytes(data)
    with pytest.raises(LibraryError, match="damaged"):
        engine = open_library(home)
        close_library(engine)
        engine.sync(folder)


@pytest.mark.catalogs("sqlite")  # PostgreSQL takes no such row
def test_loose_ends_are_found(fixture: CatalogFixture) -> None:
    fixture.put(make_new_file("a", "A"))
    assert fixture.database.integrity() == [] and fixture.reader.count_dangling() == 0
    with fixture.database.engine.connect() as c:
        c.exec_driver_sql("COMMIT")
        c.exec_driver_sql("PRAGMA foreign_keys=OFF")
        c.exec_driver_sql("BEGIN")
        c.exec_driver_sql("UPDATE places SET picture = 99")
        c.commit()
    assert fixture.reader.count_dangling() == 1
    assert fixture.database.integrity() == ["catalog: places row 1 refers to nothing"]


def test_a_home_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for home in (tmp_path / "file", tmp_path / "file" / "sub"):
        with pytest.raises(LibraryError, match="give another --home"):
            Engine.open(home)


@pytest.mark.parametrize(
    ("kind", "refused"), [("nfs4", True), ("cifs", True), ("ext4", False), ("tmpfs", False)]
)
def test_a_network_home_is_refused(tmp_path: Path, kind: str, refused: bool) -> None:
    home = tmp_path / "my library"
    home.mkdir()
    point = str(home).replace(" ", "\\040")
    mounts = tmp_path / "mounts"
    mounts.write_bytes(
        f"/dev/vda / ext4 rw 0 0\nserver:/x {point} {kind} rw 0 0\n".encode()
        + f"server:/y {tmp_path}/my nfs rw 0 0\nz /caf".encode()
        + b"\xe9 ext4 rw 0 0\n"
    )
    if refused:
        with pytest.raises(LibraryError, match=f"network file system .{kind}"):
            refuse_network(home, mounts)
    else:
        refuse_network(home, mounts)
    refuse_network(home, tmp_path / "no such file")


# a full disk -----------------------------------------------------------------------------------


def test_a_full_catalog_says_so_and_goes_on_where_it_stopped(home: Path, folder: Path) -> None:
    for seed in range(80):
        paint(folder / f"{seed}.jpg", seed)
    engine = open_library(home)
    sqlite = engine.library.database.engine
    with engine.library.database.read() as c:
        pages = int(c.exec_driver_sql("PRAGMA page_count").scalar_one())

    def narrow(connection: object, _: object) -> None:
        connection.execute(f"PRAGMA max_page_count={pages + 40}")  # type: ignore[attr-defined]

    sqlite.dispose()
    event.listen(sqlite, "connect", narrow)
    with pytest.raises(StorageError, match="free some space.*goes on where it stopped"):
        engine.sync(folder)
    held = engine.status().pictures
    assert 0 < held < 80
    event.remove(sqlite, "connect", narrow)
    sqlite.dispose()
    report = engine.sync(folder)
    assert (report.embedded, report.pictures, report.unchanged) == (80 - held, 80, held)
    assert not engine.check().problems
    close_library(engine)


@pytest.fixture
def narrow_home(tmp_path: Path) -> Iterator[Path]:
    """A home on a disk of 1 MB."""
    home = tmp_path / "narrow"
    home.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(home)]
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("only root on Linux can mount a small disk")
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    yield home
    subprocess.run(["umount", "-l", str(home)], check=True)


def test_a_full_disk_says_so_and_goes_on_where_it_stopped(narrow_home: Path, folder: Path) -> None:
    for seed in range(160):
        paint(folder / f"{seed}.jpg", seed)
    engine = open_library(narrow_home)
    for _ in range(3):  # the same again, with no byte left from the start
        with pytest.raises(StorageError, match="free some space"):
            engine.sync(folder)
    subprocess.run(["mount", "-o", "remount,size=16m", str(narrow_home)], check=True)
    held = engine.status().pictures
    report = engine.sync(folder)
    assert (report.embedded, report.pictures) == (160 - held, 160)
    assert not engine.check().problems
    close_library(engine)


# one writer ------------------------------------------------------------------------------------

HOLD = """
import sys
from pathlib import Path
from search.catalog.database import open_database
with open_database(sys.argv[2] or None, Path(sys.argv[1]) / "catalog.sqlite").hold_lock(0, print):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_process_is_told_who_writes_and_gets_the_lock_when_that_one_dies(
    library: Open, home: Path, folder: Path, find_catalog: FindCatalog
) -> None:
    paint(folder / "a.jpg", 1)
    engine = library(lock_seconds=0)
    command = [sys.executable, "-c", HOLD, str(home), find_catalog(home) or ""]
    root = str(ROOT)
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": root},
    ) as other:
        assert other.stdout is not None and other.stdout.readline() == b"held\n"
        for write in (lambda: engine.sync(folder), lambda: engine.forget(folder), engine.check):
            with pytest.raises(LockedError, match=f"process {other.pid} .*nothing will be lost"):
                write()
        assert engine.status().pictures == 0  # reading needs no lock
        other.kill()
    assert engine.sync(folder).added == 1


def test_a_second_writer_waits_for_the_first_and_says_so(library: Open, folder: Path) -> None:
    paint(folder / "a.jpg", 1)
    messages: list[str] = []
    waiting = threading.Event()

    def say(line: str) -> None:
        messages.append(line)
        waiting.set()

    first, second = library(), library(lock_seconds=60, say=say)
    run = first.index(folder)
    next(run)

    def end() -> None:
        waiting.wait(60)
        list(run)  # from another thread than the one that took the lock

    thread = threading.Thread(target=end)
    thread.start()
    assert second.sync(folder).unchanged == 1
    thread.join()
    assert messages[0].startswith(f"waiting for process {os.getpid()} (")


def test_an_abandoned_run_gives_the_lock_back(library: Open, folder: Path) -> None:
    paint(folder / "a.jpg", 1)
    run = library().index(folder)
    next(run)
    run.close()
    assert library(lock_seconds=0).sync(folder).added == 1


def test_the_note_of_who_writes_is_gone_afterwards(tmp_path: Path) -> None:
    with hold_lock(tmp_path, 0, print):
        assert json.loads((tmp_path / "writer.json").read_text())["pid"] == os.getpid()
    assert not (tmp_path / "writer.json").exists()


def test_a_home_that_takes_no_lock_is_told(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("")
    with pytest.raises(StorageError, match="cannot write"), hold_lock(tmp_path / "f", 0, print):
        pass


def test_ids_in_the_catalog_are_the_hashes_of_files(engine: Engine, folder: Path) -> None:
    paint(folder / "a.jpg", 1)
    engine.sync(folder)
    assert engine.library.reader.picture_ids([1]) == {1: identity(1)}
    assert isinstance(engine.library.catalog.find_own_space(), Space)


def test_check_finds_a_damaged_vector_and_embeds_it_again(engine: Engine, folder: Path) -> None:
    for seed in range(3):
        paint(folder / f"{seed}.jpg", seed)
    engine.sync(folder)
    with engine.library.database.write() as c:
        where = schema.vectors.c.picture == 2
        data = bytearray(c.execute(select(schema.vectors.c.data).where(where)).scalar_one())
        data[7] ^= 4
        c.execute(update(schema.vectors).where(where).values(data=bytes(data)))
    report = engine.check()
    assert report.problems == ()
    assert report.repaired == (
        "1 damaged vectors of mini were deleted",
        "1 pictures were embedded again",
    )
    assert engine.search(image=f"id:{identity(1)}", k=1)[0].id == identity(1)
    assert engine.check().problems == () and engine.check().repaired == ()


# spaces ----------------------------------------------------------------------------------------


def test_spaces_beside_the_librarys_own_stay_when_it_changes(fixture: CatalogFixture) -> None:
    catalog, reader = fixture.catalog, fixture.reader
    catalog.serve(fixture.space)
    other, pending = catalog.space("b", "f1", 4), catalog.space("c", "f2", 4)
    assert reader.spaces() == [fixture.space]  # the others do not serve
    catalog.serve_beside(other)
    fixture.put(make_new_file("a.jpg", "p0"))
    catalog.record_vectors(other, [make_new_file("a.jpg", "p0", at=2)])
    assert reader.spaces() == [fixture.space, other]
    assert [one.beside for one in reader.spaces()] == [False, True]
    for space, at in ((fixture.space, 0), (other, 2)):
        assert reader.load_vectors(space, [1])[1].tolist() == np.eye(4)[[at]].tolist()
    catalog.serve(pending)
    assert reader.spaces() == [pending, other]
    assert reader.count(other)["embedded"] == 1 and fixture.rows("vectors") == 1
    catalog.serve(other)
    assert reader.spaces() == [other] and fixture.rows("spaces") == 1
    assert catalog.drop_beside(other) == 0 and reader.spaces() == [other]
    assert reader.count(other)["embedded"] == 1


def test_a_dropped_space_leaves_nothing_and_its_id_is_not_used_again(
    fixture: CatalogFixture,
) -> None:
    catalog, reader = fixture.catalog, fixture.reader
    catalog.serve(fixture.space)
    fixture.put(make_new_file("a.jpg", "p0"), make_new_file("b.jpg", "p1"))
    ids = set()
    for _ in range(3):
        other = catalog.space("b", "f1", 4)
        catalog.serve_beside(other)
        batch = [make_new_file("a.jpg", "p0"), make_new_file("b.jpg", "p1")]
        catalog.record_vectors(other, batch)
        assert reader.count(other)["embedded"] == 2
        ids.add(other.id)
        assert catalog.drop_beside(other) == 2
        assert fixture.rows("vectors") == fixture.rows("changes") == 2
    assert len(ids) == 3


def test_removal_and_return_are_logged_for_every_space(fixture: CatalogFixture) -> None:
    catalog, reader = fixture.catalog, fixture.reader
    catalog.serve(fixture.space)
    other = catalog.space("b", "f1", 4)
    catalog.serve_beside(other)
    fixture.put(make_new_file("a.jpg", "p0"))
    catalog.record_vectors(other, [make_new_file("a.jpg", "p0"), make_new_file("b.jpg", "gone")])
    cursors = {space.id: reader.sequence(space) for space in (fixture.space, other)}
    catalog.remove_files([fixture.file("a.jpg").id])
    for space in (fixture.space, other):
        assert reader.changed_since(space, cursors[space.id])[1] == {1}
        assert reader.load_vectors(space, [1])[0] == []
    fixture.put(make_new_file("a.jpg", "p0"))
    assert reader.load_vectors(other, [1])[0] == [1]


def test_a_second_space_copies_the_vector_of_the_same_image_and_leaves_flags(
    fixture: CatalogFixture,
) -> None:
    other = fixture.catalog.space("b", "f1", 4)
    fixture.put(make_new_file("a.jpg", "p0", "r"), copied("b.jpg", "p1", "r"))
    blank = SeenContent((Label("x", 0.5),), None)
    batch = [replace(make_new_file("a.jpg", "p0", "r"), content=blank), copied("b.jpg", "p1", "r")]
    with fixture.database.write() as c:
        c.execute(update(schema.pictures).values(low_content=True))
    fixture.catalog.record_vectors(other, batch)
    assert fixture.reader.load_vectors(other, [1, 2])[0] == [1, 2]
    assert fixture.reader.labels(other, [1, 2]) == {n: (Label("x", 0.5),) for n in (1, 2)}
    assert fixture.reader.labels(fixture.space, [1, 2]) == {}
    assert all(one.low_content for one in fixture.reader.describe([1, 2]).values())
