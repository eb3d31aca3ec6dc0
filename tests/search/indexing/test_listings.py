"""A sync of nothing changed reads no files' rows, and every change is noticed nevertheless."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.pictures import identity, paint
from sqlalchemy import delete, insert, select, text, update

from search import Engine, IndexReport
from search.catalog import schema
from search.catalog.catalog import Catalog
from search.catalog.listings import Listings
from search.media.decoder_pool import DecoderPool

BOTH = pytest.mark.catalogs("sqlite", "postgresql")
XMP = """<x:xmpmeta xmlns:x="adobe:ns:meta/"><r:RDF xmlns:r="{rdf}"><r:Description
xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:subject><r:Bag><r:li>{tag}</r:li></r:Bag>
</dc:subject></r:Description></r:RDF></x:xmpmeta>"""


def write_sidecar(path: Path, tag: str) -> None:
    path.write_text(XMP.format(tag=tag, rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"))


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Paths of the roots whose rows of files are read from now on."""
    paths = list[str]()
    real = Catalog.iterate_files_of

    def iterate_files_of(catalog: Catalog, root: Any, within: str = "") -> Any:
        paths.append(root.path)
        return real(catalog, root, within)

    monkeypatch.setattr(Catalog, "iterate_files_of", iterate_files_of)
    return paths


@pytest.fixture
def settled(engine: Engine, folder: Path, reads: list[str]) -> Path:
    """A folder that two syncs found unchanged; the second of them read no rows."""
    for seed in range(4):
        paint(folder / f"{seed}.jpg", seed)
    paint(folder / "deep" / "4.jpg", 4)
    (folder / "broken.jpg").write_bytes(b"no picture")
    (folder / "film.svg").write_bytes(b"drawing")
    write_sidecar(folder / "0.xmp", "beach")
    engine.sync(folder)
    first = settle(engine, folder, reads)
    assert (first.unchanged, first.left_out) == (5, {"svg": 1})
    assert [skip.path for skip in first.skipped] == [str(folder / "broken.jpg")]
    return folder


def settle(engine: Engine, folder: Path, reads: list[str]) -> IndexReport:
    """Sync twice; the second reads no rows, and reports the same."""
    first = engine.sync(folder)
    reads.clear()
    second = engine.sync(folder)
    assert reads == []
    assert second.to_json() | {"seconds": 0} == first.to_json() | {"seconds": 0}
    return second


def numbers(report: IndexReport) -> dict[str, int]:
    names = ("added", "changed", "moved", "removed", "unchanged")
    return {name: getattr(report, name) for name in names if getattr(report, name)}


def add(folder: Path) -> None:
    paint(folder / "new.jpg", 9)


def change(folder: Path) -> None:
    paint(folder / "1.jpg", 9)


def edit_and_keep_date(folder: Path) -> None:
    path = folder / "1.jpg"
    before, data = path.stat(), path.read_bytes()
    with path.open("r+b") as file:
        file.write(data[:-20] + bytes(20))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def move(folder: Path) -> None:
    (folder / "1.jpg").rename(folder / "deep" / "moved.jpg")


def rename_folder(folder: Path) -> None:
    (folder / "deep").rename(folder / "deeper")


def remove(folder: Path) -> None:
    (folder / "1.jpg").unlink()


def mend(folder: Path) -> None:
    paint(folder / "broken.jpg", 9)


def exclude(folder: Path) -> None:
    (folder / ".lookalikeignore").write_text("deep\n")


@BOTH
@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (add, {"added": 1, "unchanged": 5}),
        (change, {"changed": 1, "unchanged": 4}),
        (edit_and_keep_date, {"changed": 1, "unchanged": 4}),
        (move, {"moved": 1, "unchanged": 4}),
        (rename_folder, {"moved": 1, "unchanged": 4}),
        (remove, {"removed": 1, "unchanged": 4}),
        (mend, {"added": 1, "unchanged": 5}),
        (exclude, {"removed": 1, "unchanged": 4}),
    ],
)
def test_each_change_is_noticed(
    engine: Engine,
    settled: Path,
    reads: list[str],
    edit: Callable[[Path], None],
    expected: dict[str, int],
) -> None:
    edit(settled)
    assert numbers(engine.sync(settled)) == expected
    settle(engine, settled, reads)


def test_a_file_that_is_left_out_is_counted(engine: Engine, settled: Path) -> None:
    (settled / "second.svg").write_bytes(b"drawing")
    (settled / "film.psd").write_bytes(b"drawing")
    assert engine.sync(settled).left_out == {"svg": 2, "psd": 1}
    assert engine.library.catalog.roots()[0].left_out == {"svg": 2, "psd": 1}


def test_globs_that_change_are_noticed(engine: Engine, settled: Path, reads: list[str]) -> None:
    assert numbers(engine.sync(settled, exclude=["deep"])) == {"removed": 1, "unchanged": 4}
    settle(engine, settled, reads)
    assert numbers(engine.sync(settled, exclude=[])) == {"added": 1, "unchanged": 4}


def test_a_sidecar_that_changes_is_noticed(engine: Engine, settled: Path, reads: list[str]) -> None:
    assert engine.picture(identity(0)).tags == ("beach",)
    write_sidecar(settled / "0.xmp", "mountains")
    engine.sync(settled)
    assert engine.picture(identity(0)).tags == ("mountains",)
    settle(engine, settled, reads)
    (settled / "0.xmp").unlink()
    engine.sync(settled)
    assert engine.picture(identity(0)).tags == ()


def test_skipped_files_are_tried_under_another_rule(
    engine: Engine, settled: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = list[str]()
    real = DecoderPool.submit

    def submit(pool: DecoderPool, source: Any, *args: Any, **more: Any) -> Any:
        tried.append(os.path.basename(source.path or ""))
        return real(pool, source, *args, **more)

    monkeypatch.setattr(DecoderPool, "submit", submit)
    monkeypatch.setattr(engine.library.decoders, "rule", "another")
    reads.clear()
    engine.sync(settled)
    assert (tried, reads) == (["broken.jpg"], [])
    engine.sync(settled)
    engine.sync(settled)
    assert tried == ["broken.jpg"]


def test_slow_files_are_tried_again_when_it_is_time(engine: Engine, settled: Path) -> None:
    catalog = engine.library.catalog
    with catalog.database.write() as c:
        skipped = schema.files.c.reason.is_not(None)
        c.execute(update(schema.files).where(skipped).values(retry_at=catalog.now() + 1000))
    engine.sync(settled)
    skips = engine.sync(settled).skipped
    assert len(skips) == 1 and "tried again after" in skips[0].reason
    paint(settled / "later.jpg", 9)
    real = catalog.now()
    catalog._clock = lambda: real + 2000
    assert "tried again after" not in engine.sync(settled).skipped[0].reason


@BOTH
@pytest.mark.parametrize("how", ["file", "place", "new", "mark", "root"])
def test_any_write_of_a_file_ends_the_digest(
    engine: Engine, settled: Path, reads: list[str], how: str
) -> None:
    catalog = engine.library.catalog
    (root,) = catalog.roots()
    with catalog.database.write() as c:
        row = c.execute(select(schema.files).where(schema.files.c.path == b"1.jpg")).one()
        if how == "file":
            c.execute(delete(schema.files).where(schema.files.c.id == row.id))
        elif how == "place":
            c.execute(delete(schema.places).where(schema.places.c.file == row.id))
        elif how == "new":
            values = {"root": root.id, "path": b"x.jpg", "size": 1, "mtime_ns": 1, "inode": 1}
            c.execute(insert(schema.files).values(values))
        elif how == "root":
            c.execute(update(schema.roots).values(path=schema.roots.c.path))
    if how == "mark":
        catalog.mark_changed([row.id])
    with catalog.database.read() as c:
        assert c.execute(text("SELECT root FROM listings")).all() == []
    assert engine.sync(settled).unchanged >= 4 and reads


@BOTH
def test_a_write_between_comparing_and_storing_is_noticed(engine: Engine, settled: Path) -> None:
    catalog = engine.library.catalog
    (root,), listings = catalog.roots(), Listings(catalog.database)
    mark = listings.begin(root)
    listings.store(root, mark, "first")
    assert listings.is_stored(root, "first") and not listings.is_stored(root, "second")
    mark = listings.begin(root)
    catalog.mark_changed(catalog.file_ids(root))
    listings.store(root, mark, "second")
    assert not listings.is_stored(root, "second")


def test_an_interrupted_sync_goes_on(engine: Engine, settled: Path, reads: list[str]) -> None:
    paint(settled / "new.jpg", 9)
    steps = engine.index(settled)
    while next(steps).phase != "index":
        pass
    steps.close()
    (settled / "new.jpg").unlink()  # the folder is as it was when the digest was stored
    assert numbers(engine.sync(settled)) == {"removed": 1, "unchanged": 5}
    settle(engine, settled, reads)


def test_a_folder_that_cannot_be_read_is_reported_each_time(
    engine: Engine, settled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.scandir

    def scandir(path: Any) -> Any:
        if str(path).endswith("deep"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    for _ in range(3):
        report = engine.sync(settled)
        assert {os.path.basename(skip.path) for skip in report.skipped} == {"deep", "broken.jpg"}
        assert report.removed == 0
    monkeypatch.undo()
    assert engine.sync(settled).unchanged == 5


@BOTH
def test_a_root_inside_another(engine: Engine, settled: Path, reads: list[str]) -> None:
    outer = settled.parent / "outer"
    outer.mkdir()
    shutil.copytree(settled, outer / "inner")
    paint(outer / "own.jpg", 8)
    engine.sync(outer / "inner")
    settle(engine, outer / "inner", reads)
    assert numbers(engine.sync(outer)) == {"added": 1, "unchanged": 5}  # the inner one is adopted
    settle(engine, outer, reads)
    paint(outer / "inner" / "1.jpg", 9)
    assert numbers(engine.sync(outer / "inner")) == {"changed": 1, "unchanged": 4}  # a part of it
    assert numbers(engine.sync(outer)) == {"unchanged": 6}
    settle(engine, outer, reads)
