"""Sync, status, check, forget and search agree with the folders after any change."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.libraries import close_library, open_library, parts
from helpers.pictures import forbid, identity, jpeg, paint
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import save_file
from sqlalchemy import delete, select, update

from search import Engine, IndexReport, InputError, LibraryError, ModelError, NotFoundError
from search.catalog import schema
from search.embedders import mini
from search.indexing.file_system import identify_file_system, is_same_file_system
from search.indexing.scan import FolderScan
from search.media.decoder_pool import DecodedPicture, DecoderPool
from search.vectors.faiss.replica import IndexReplica

Open = Callable[..., Engine]
COUNTS = ("added", "changed", "moved", "removed", "unchanged", "offline", "embedded", "pictures")
DAY = 86400.0


def counts(report: IndexReport) -> dict[str, int]:
    """The counts of a report that are not 0."""
    return {name: getattr(report, name) for name in COUNTS if getattr(report, name)}


def fill(folder: Path, seeds: range) -> None:
    for seed in seeds:
        paint(folder / f"{seed}.jpg", seed)


def held(engine: Engine) -> dict[str, str]:
    """Path -> id of every file in the library that holds a picture."""
    return {path: name for name, _, path in engine.library.reader.iterate_files()}


def content(folder: Path) -> dict[str, str]:
    """Path -> id of every picture in the folder."""
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*.jpg")
        if path.is_file() and not path.is_symlink()
    }


def find_paths(engine: Engine, seed: int, k: int = 100) -> dict[str, str]:
    """Path -> id of everything a search finds; fails when a path holds another picture."""
    hits = engine.search(image=jpeg(seed), k=k)
    pairs = {path: hit.id for hit in hits for path in hit.paths}
    for path, name in pairs.items():
        if os.path.exists(path):
            assert hashlib.sha256(Path(path).read_bytes()).hexdigest() == name
    return pairs


def at(engine: Engine, now: float) -> None:
    """Set the library's clock."""
    engine.library.catalog._clock = lambda: now


# what a sync tells apart -----------------------------------------------------------------------


@pytest.mark.catalogs("sqlite", "postgresql")
def test_added_then_unchanged(engine: Engine, folder: Path) -> None:
    fill(folder, range(3))
    paint(folder / "deep" / "er" / "3.jpg", 3)
    assert counts(engine.sync(folder)) == {"added": 4, "embedded": 4, "pictures": 4}
    assert counts(engine.sync(folder)) == {"unchanged": 4, "pictures": 4}
    assert held(engine) == content(folder) == find_paths(engine, 0)


@pytest.mark.catalogs("sqlite", "postgresql")
def test_changed(engine: Engine, folder: Path) -> None:
    fill(folder, range(3))
    engine.sync(folder)
    paint(folder / "1.jpg", 50)
    report = counts(engine.sync(folder))
    assert report == {"changed": 1, "unchanged": 2, "embedded": 1, "pictures": 3}
    assert held(engine) == content(folder) == find_paths(engine, 0)


def test_a_file_that_was_only_touched_is_unchanged(engine: Engine, folder: Path) -> None:
    fill(folder, range(2))
    engine.sync(folder)
    os.utime(folder / "0.jpg", ns=(1, 1))
    assert counts(engine.sync(folder)) == {"unchanged": 2, "pictures": 2}


def test_a_date_beyond_what_the_catalog_holds_is_no_trouble(engine: Engine, folder: Path) -> None:
    fill(folder, range(2))
    os.utime(folder / "0.jpg", ns=(0, 2**63 + 10**9))
    assert counts(engine.sync(folder)) == {"added": 2, "embedded": 2, "pictures": 2}
    assert counts(engine.sync(folder)) == {"unchanged": 2, "pictures": 2}
    with engine.original(identity(0))[1] as file:
        assert file.read() == jpeg(0)


@pytest.mark.parametrize("wrong", [errno.ENOTCONN, errno.EIO, errno.EACCES])
def test_a_disk_that_cannot_even_be_asked_is_offline(
    engine: Engine, folder: Path, monkeypatch: pytest.MonkeyPatch, wrong: int
) -> None:
    fill(folder, range(2))
    engine.sync(folder)
    real = os.stat

    def stat(path: Any, *args: Any, **options: Any) -> os.stat_result:
        if isinstance(path, (str, Path)) and Path(path) == folder:
            raise OSError(wrong, os.strerror(wrong), str(path))
        return real(path, *args, **options)

    monkeypatch.setattr(os, "stat", stat)
    forbid(monkeypatch, folder)
    assert counts(engine.sync(folder)) == {"offline": 2, "pictures": 2}
    with pytest.raises(NotFoundError):
        engine.sync(folder.parent / ("n" * 300))


@pytest.mark.catalogs("sqlite", "postgresql")
def test_a_move_embeds_nothing_by_rename_and_by_copy(engine: Engine, folder: Path) -> None:
    fill(folder, range(3))
    engine.sync(folder)
    computed = parts()[2].computed
    (folder / "0.jpg").rename(folder / "renamed.jpg")
    paint(folder / "sub" / "copied.jpg", 1)
    (folder / "1.jpg").unlink()
    report = counts(engine.sync(folder))
    assert report == {"moved": 2, "unchanged": 1, "pictures": 3}
    assert parts()[2].computed == computed
    assert held(engine) == content(folder) == find_paths(engine, 0)


def test_a_renamed_root_moved_below_another_one_embeds_nothing(
    engine: Engine, tmp_path: Path
) -> None:
    fill(tmp_path / "a", range(3))
    paint(tmp_path / "b" / "9.jpg", 9)
    engine.sync(tmp_path / "a")
    engine.sync(tmp_path / "b")
    (tmp_path / "a").rename(tmp_path / "b" / "a")
    report = counts(engine.sync(tmp_path / "b"))
    assert report == {"added": 3, "unchanged": 1, "pictures": 4}


@pytest.mark.catalogs("sqlite", "postgresql")
def test_removed(engine: Engine, folder: Path) -> None:
    fill(folder, range(3))
    engine.sync(folder)
    (folder / "1.jpg").unlink()
    assert counts(engine.sync(folder)) == {"removed": 1, "unchanged": 2, "pictures": 2}
    assert held(engine) == content(folder) == find_paths(engine, 1)
    with pytest.raises(NotFoundError):
        engine.search(image=f"id:{identity(1)}")


@pytest.mark.catalogs("sqlite", "postgresql")
def test_swapped_names_embed_nothing_and_keep_their_tags(engine: Engine, folder: Path) -> None:
    fill(folder, range(2))
    engine.sync(folder)
    for seed in range(2):
        number = engine.library.reader.resolve(identity(seed))
        engine.library.catalog.tag(number, [f"tag {seed}"])
    (folder / "0.jpg").rename(folder / "x")
    (folder / "1.jpg").rename(folder / "0.jpg")
    (folder / "x").rename(folder / "1.jpg")
    assert counts(engine.sync(folder)) == {"changed": 2, "pictures": 2}
    assert held(engine) == content(folder)
    tags = {hit.id: hit.tags for hit in engine.search(image=jpeg(0))}
    assert tags == {identity(0): ("tag 0",), identity(1): ("tag 1",)}


def test_two_identical_new_files_are_one_picture_at_two_paths(engine: Engine, folder: Path) -> None:
    paint(folder / "a.jpg", 1)
    paint(folder / "b.jpg", 1)
    assert counts(engine.sync(folder)) == {"added": 2, "embedded": 1, "pictures": 1}
    (hit,) = engine.search(image=jpeg(1))
    assert hit.paths == (str(folder / "a.jpg"), str(folder / "b.jpg")) and hit.id == identity(1)
    (folder / "a.jpg").unlink()
    assert engine.search(image=jpeg(1))[0].path == str(folder / "b.jpg")  # the one that is there
    assert counts(engine.sync(folder)) == {"removed": 1, "unchanged": 1, "pictures": 1}


def test_a_copy_is_told_by_its_hash_and_not_decoded(
    engine: Engine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paint(folder / "a.jpg", 1)
    engine.sync(folder)
    results: list[Any] = []

    def load(*args: Any, **more: Any) -> Any:
        for entry, result in DecoderPool.load(engine.library.decoders, *args, **more):
            results.append(result)
            yield entry, result

    monkeypatch.setattr(engine.library.decoders, "load", load)
    paint(folder / "b.jpg", 1)
    engine.sync(folder)
    assert results == [DecodedPicture(identity(1))]


def test_other_metadata_takes_over_vector_and_tags(engine: Engine, folder: Path) -> None:
    paint(folder / "a.jpg", 1)
    paint(folder / "b.jpg", 1, "in the same batch")
    assert counts(engine.sync(folder)) == {"added": 2, "embedded": 1, "pictures": 2}
    engine.library.catalog.tag(engine.library.reader.resolve(identity(1)), ["beach"])
    paint(folder / "c.jpg", 1, "later")
    assert counts(engine.sync(folder))["added"] == 1
    paint(folder / "a.jpg", 1, "in place")
    report = counts(engine.sync(folder))
    assert report == {"changed": 1, "unchanged": 2, "pictures": 3}
    hits = engine.search(image=jpeg(1))
    assert len({hit.score for hit in hits}) == 1
    tags = {os.path.basename(hit.path): hit.tags for hit in hits}
    assert tags == {"a.jpg": ("beach",), "b.jpg": (), "c.jpg": ("beach",)}


def test_a_file_caught_while_it_is_saved_keeps_its_tags(engine: Engine, folder: Path) -> None:
    path = paint(folder / "a.jpg", 0)
    engine.sync(folder)
    engine.library.catalog.tag(engine.library.reader.resolve(identity(0)), ["beach"])
    path.write_bytes(jpeg(1)[:300])
    assert len(engine.sync(folder).skipped) == 1
    path.write_bytes(jpeg(1))
    engine.sync(folder)
    assert engine.search(image=f"id:{identity(1)}")[0].tags == ("beach",)


def test_a_skipped_file_is_tried_again_under_other_limits(
    library: Open, folder: Path, home: Path
) -> None:
    paint(folder / "a.jpg", 0)
    with Engine.open(home, max_pixels=100) as engine:
        assert "pixels" in engine.sync(folder).skipped[0].reason
    report = library().sync(folder)
    assert (report.added, report.skipped) == (1, ())


def test_a_hit_names_a_file_that_still_is_the_picture(engine: Engine, folder: Path) -> None:
    for name in ("a.jpg", "b.jpg"):
        paint(folder / name, 0)
    engine.sync(folder)
    paint(folder / "a.jpg", 1, "another picture now")
    assert engine.search(image=f"id:{identity(0)}")[0].path == str(folder / "b.jpg")
    (folder / "b.jpg").unlink()
    hit = engine.search(image=f"id:{identity(0)}")[0]
    assert hit.path == str(folder / "b.jpg") and len(hit.paths) == 2  # away, not another picture


def test_of_twins_the_one_that_was_asked_for_comes_first(engine: Engine, folder: Path) -> None:
    for i in range(3):
        paint(folder / f"{i}.jpg", 0, f"comment {i}")
    engine.sync(folder)
    for i in range(3):
        hits = engine.search(image=folder / f"{i}.jpg")
        assert hits[0].path == str(folder / f"{i}.jpg") and hits[2].score == hits[0].score


def test_a_file_edited_in_place_takes_its_tags_along(engine: Engine, folder: Path) -> None:
    paint(folder / "a.jpg", 1)
    engine.sync(folder)
    engine.library.catalog.tag(engine.library.reader.resolve(identity(1)), ["beach"])
    paint(folder / "a.jpg", 2)
    engine.sync(folder)
    assert engine.search(image=jpeg(2))[0].tags == ("beach",)


# broken files ----------------------------------------------------------------------------------


def test_a_broken_file_is_skipped_with_its_reason_again_and_again(
    engine: Engine, folder: Path
) -> None:
    fill(folder, range(1))
    (folder / "torn.jpg").write_bytes(jpeg(1)[:400])
    (folder / "empty.jpg").write_bytes(b"")
    for expected in ({"added": 1, "embedded": 1}, {"unchanged": 1}):
        report = engine.sync(folder)
        assert counts(report) == {**expected, "pictures": 1}
        reasons = {os.path.basename(skip.path): skip.reason for skip in report.skipped}
        assert set(reasons) == {"torn.jpg", "empty.jpg"} and reasons["empty.jpg"].endswith("empty")


def test_a_broken_file_that_becomes_good_is_added(engine: Engine, folder: Path) -> None:
    (folder / "a.jpg").write_bytes(b"nothing")
    engine.sync(folder)
    paint(folder / "a.jpg", 1)
    report = engine.sync(folder)
    assert counts(report) == {"added": 1, "embedded": 1, "pictures": 1} and not report.skipped


def test_a_good_file_that_breaks_is_skipped_and_found_no_more(engine: Engine, folder: Path) -> None:
    fill(folder, range(2))
    engine.sync(folder)
    (folder / "1.jpg").write_bytes(b"nothing")
    report = engine.sync(folder)
    assert counts(report) == {"unchanged": 1, "pictures": 1} and len(report.skipped) == 1
    assert set(find_paths(engine, 1)) == {str(folder / "0.jpg")}
    paint(folder / "1.jpg", 1)
    assert counts(engine.sync(folder)) == {"added": 1, "unchanged": 1, "pictures": 2}


def after_scan(monkeypatch: pytest.MonkeyPatch, change: Callable[[], None]) -> None:
    """Let something change once a folder is listed."""
    real = FolderScan.steps

    def steps(run: FolderScan, within: str) -> Iterator[int]:
        yield from real(run, within)
        change()

    monkeypatch.setattr(FolderScan, "steps", steps)


def test_a_file_that_cannot_be_opened_keeps_its_picture(
    engine: Engine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(folder, range(2))
    engine.sync(folder)

    def change() -> None:
        (folder / "1.jpg").unlink()
        (folder / "1.jpg").symlink_to(folder / "nothing")  # there, and cannot be opened

    os.utime(folder / "1.jpg", ns=(1, 1))
    after_scan(monkeypatch, change)
    report = engine.sync(folder)
    assert counts(report) == {"unchanged": 1, "pictures": 2}
    assert [skip.path for skip in report.skipped] == [str(folder / "1.jpg")]
    assert set(held(engine)) == {str(folder / "0.jpg"), str(folder / "1.jpg")}


def test_a_file_that_vanishes_after_the_scan_is_no_news(
    engine: Engine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(folder, range(3))
    engine.sync(folder)
    paint(folder / "new.jpg", 4)
    paint(folder / "0.jpg", 5)

    def change() -> None:
        for name in ("new.jpg", "0.jpg"):
            (folder / name).unlink()

    after_scan(monkeypatch, change)
    report = engine.sync(folder)
    assert counts(report) == {"unchanged": 2, "pictures": 3} and not report.skipped
    monkeypatch.undo()
    assert counts(engine.sync(folder)) == {"removed": 1, "unchanged": 2, "pictures": 2}


# folders that are away, closed or left out -----------------------------------------------------


def test_a_root_that_is_gone_or_empty_is_offline_until_it_is_back(
    engine: Engine, folder: Path, tmp_path: Path
) -> None:
    fill(folder, range(3))
    engine.sync(folder)
    away = folder.rename(tmp_path / "away")
    assert counts(engine.sync(folder)) == {"offline": 3, "pictures": 3}
    folder.mkdir()  # a mount point
    assert counts(engine.sync(folder)) == {"offline": 3, "pictures": 3}
    assert engine.status().roots[0].state == "offline"
    assert len(find_paths(engine, 0)) == 3
    folder.rmdir()
    away.rename(folder)
    assert counts(engine.sync(folder)) == {"unchanged": 3, "pictures": 3}
    assert engine.status().roots[0].state == "online"


def test_a_root_is_offline_under_whatever_name_it_was_given(
    engine: Engine, folder: Path, tmp_path: Path
) -> None:
    fill(folder, range(2))
    link = tmp_path / "link"
    link.symlink_to(folder)
    engine.sync(link)
    folder.rename(tmp_path / "away")
    assert counts(engine.sync(link)) == {"offline": 2, "pictures": 2}
    assert engine.forget(link) == 2


def test_allow_empty_believes_it(engine: Engine, folder: Path) -> None:
    fill(folder, range(2))
    engine.sync(folder)
    for path in folder.iterdir():
        path.unlink()
    assert counts(engine.sync(folder)) == {"offline": 2, "pictures": 2}
    assert counts(engine.sync(folder, allow_empty=True)) == {"removed": 2}
    with pytest.raises(LibraryError, match="no pictures"):
        engine.search(image=jpeg(0))


def test_another_disk_in_its_place_is_offline_and_the_same_pictures_are_not(
    engine: Engine, folder: Path
) -> None:
    fill(folder, range(4))
    engine.sync(folder)
    (root,) = engine.library.catalog.roots()
    engine.library.catalog.add_root(root.path, root.device + 1, root.exclude)
    assert counts(engine.sync(folder)) == {"unchanged": 4, "pictures": 4}  # a new device number
    assert engine.library.catalog.roots()[0].device == root.device
    for seed in range(4):
        (folder / f"{seed}.jpg").unlink()
    paint(folder / "foreign.jpg", 9)
    engine.library.catalog.add_root(root.path, root.device + 1, root.exclude)
    assert counts(engine.sync(folder)) == {"offline": 4, "pictures": 4}
    report = counts(engine.sync(folder, allow_empty=True))
    assert report == {"added": 1, "removed": 4, "embedded": 1, "pictures": 1}


def test_most_files_that_vanish_at_once_are_kept_until_it_is_confirmed(
    engine: Engine, folder: Path
) -> None:
    fill(folder, range(12))
    engine.sync(folder)
    for seed in range(6):
        (folder / f"{seed}.jpg").unlink()
    assert counts(engine.sync(folder)) == {"removed": 6, "unchanged": 6, "pictures": 6}  # a half
    for seed in range(6, 10):
        (folder / f"{seed}.jpg").unlink()
    paint(folder / "new.jpg", 99)
    report = counts(engine.sync(folder))
    assert report == {"added": 1, "unchanged": 2, "offline": 4, "embedded": 1, "pictures": 7}
    assert engine.sync(folder).offline == 4 and engine.status().roots[0].state == "online"
    fill(folder, range(20, 30))
    assert engine.sync(folder).offline == 4  # also when they are no longer the most
    fill(folder, range(6, 10))
    assert counts(engine.sync(folder)) == {"unchanged": 17, "pictures": 17}
    (folder / "6.jpg").unlink()
    assert counts(engine.sync(folder)) == {"removed": 1, "unchanged": 16, "pictures": 16}
    for path in list(folder.iterdir())[:10]:
        path.unlink()
    assert engine.sync(folder).offline == 10
    report = counts(engine.sync(folder, allow_empty=True))
    assert report == {"removed": 10, "unchanged": 6, "pictures": 6}


def test_files_that_move_or_are_left_out_are_not_taken_for_lost(
    engine: Engine, folder: Path
) -> None:
    fill(folder / "old", range(4))
    engine.sync(folder)
    for seed in range(4):  # copied and deleted, so that the inodes differ
        paint(folder / "new" / f"{seed}.jpg", seed)
    shutil.rmtree(folder / "old")
    assert counts(engine.sync(folder)) == {"moved": 4, "pictures": 4}
    assert counts(engine.sync(folder, exclude=["new"])) == {"offline": 4, "pictures": 4}
    paint(folder / "rest.jpg", 9)
    report = counts(engine.sync(folder, exclude=["new"]))
    assert report == {"added": 1, "removed": 4, "embedded": 1, "pictures": 1}


def test_most_of_a_part_of_a_root_may_vanish(engine: Engine, folder: Path) -> None:
    fill(folder, range(5))
    fill(folder / "part", range(5, 10))
    engine.sync(folder)
    for seed in range(5, 9):
        (folder / "part" / f"{seed}.jpg").unlink()
    assert counts(engine.sync(folder / "part")) == {"removed": 4, "unchanged": 1, "pictures": 6}


@pytest.mark.parametrize("another", ["uuid", "number", "inode"])
def test_another_disk_with_the_same_device_number_and_names_is_offline(
    engine: Engine, folder: Path, monkeypatch: pytest.MonkeyPatch, another: str
) -> None:
    fill(folder, range(4))
    disk = {"uuid": "1234-ABCD", "number": "77", "inode": "2"}

    def identify(_: object) -> str:
        return ":".join(disk.values())

    monkeypatch.setattr("search.indexing.folders.identify_file_system", identify)
    engine.sync(folder)
    disk[another] = "9"
    if another == "number":
        disk["uuid"] = ""  # where no UUID is known, the number counts
    assert counts(engine.sync(folder)) == {"unchanged": 4, "pictures": 4}  # a copy of the disk
    disk[another] = "10"
    fill(folder, range(10, 14))  # another camera card has files of the same names
    for seed in range(4):
        (folder / f"{seed + 10}.jpg").replace(folder / f"{seed}.jpg")
    assert counts(engine.sync(folder)) == {"offline": 4, "pictures": 4}
    assert engine.library.reader.resolve(identity(0))
    disk[another] = "9"
    report = counts(engine.sync(folder))
    assert report == {"changed": 4, "embedded": 4, "pictures": 4}  # edits on the same disk


def test_a_disk_is_known_by_its_uuid_or_else_by_its_number(tmp_path: Path) -> None:
    uuids = tmp_path / "by-uuid"
    here = identify_file_system(tmp_path, uuids)
    assert here == identify_file_system(tmp_path) or identify_file_system(tmp_path)[0] != ":"
    assert here.endswith(f":{tmp_path.stat().st_ino}") and here.startswith(":")
    assert identify_file_system(folder := tmp_path / "..", uuids) != here and folder.exists()
    assert is_same_file_system("a:1:2", "a:5:2") and not is_same_file_system("a:1:2", "b:1:2")
    assert not is_same_file_system("a:1:2", "a:1:3")
    assert is_same_file_system(":1:2", "a:1:2") and not is_same_file_system(":1:2", "a:5:2")


def test_an_unreadable_folder_keeps_its_files(
    engine: Engine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(folder, range(2))
    fill(folder / "closed", range(2, 5))
    engine.sync(folder)
    (folder / "0.jpg").unlink()
    with monkeypatch.context() as patch:
        forbid(patch, folder / "closed")
        report = engine.sync(folder)
    assert counts(report) == {"removed": 1, "unchanged": 1, "offline": 3, "pictures": 4}
    assert [(s.path, s.reason) for s in report.skipped] == [
        (str(folder / "closed"), "Permission denied")
    ]
    assert counts(engine.sync(folder)) == {"unchanged": 4, "pictures": 4}


def test_a_root_that_cannot_be_read_is_offline_and_a_new_one_an_error(
    engine: Engine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(folder, range(2))
    with monkeypatch.context() as patch:
        forbid(patch, folder)
        with pytest.raises(InputError, match="Permission denied"):
            engine.sync(folder)
    engine.sync(folder)
    forbid(monkeypatch, folder)
    assert counts(engine.sync(folder)) == {"offline": 2, "pictures": 2}


def test_excludes_are_remembered_until_others_are_given(engine: Engine, folder: Path) -> None:
    fill(folder, range(2))
    fill(folder / "raw", range(2, 4))
    assert counts(engine.sync(folder, exclude=["raw"]))["added"] == 2
    assert counts(engine.sync(folder)) == {"unchanged": 2, "pictures": 2}
    assert counts(engine.sync(folder, exclude=[]))["added"] == 2
    assert counts(engine.sync(folder, exclude=["./*/2.jpg/"]))["removed"] == 1


@pytest.mark.catalogs("sqlite", "postgresql")
def test_names_that_are_not_utf8_go_all_the_way(engine: Engine, folder: Path) -> None:
    sub = os.path.join(os.fsencode(folder), b"caf\xe9")
    try:
        os.mkdir(sub)
    except OSError:
        pytest.skip("this file system takes no such names")
    with open(os.path.join(sub, b"\xff.jpg"), "wb") as file:
        file.write(jpeg(1))
    with open(os.path.join(sub, b"\xfe.jpg"), "wb") as file:
        file.write(b"broken")
    report = engine.sync(os.fsdecode(sub))
    assert counts(report) == {"added": 1, "embedded": 1, "pictures": 1}
    assert report.to_json()["skipped"][0]["path"].endswith("caf\\xe9/\\xfe.jpg")
    assert os.fsencode(engine.search(image=jpeg(1))[0].path) == os.path.join(sub, b"\xff.jpg")
    assert not engine.check(deep=True).problems
    assert engine.status().to_json()["roots"][0]["path"].endswith("caf\\xe9")
    assert engine.forget(os.fsdecode(sub)) == 2


def test_symlink_loops_end(engine: Engine, folder: Path) -> None:
    fill(folder, range(1))
    (folder / "loop").symlink_to(folder)
    assert counts(engine.sync(folder)) == {"added": 1, "embedded": 1, "pictures": 1}


# roots within roots, and the home --------------------------------------------------------------


def test_a_root_takes_over_a_root_inside_it(engine: Engine, folder: Path) -> None:
    fill(folder / "sub", range(2))
    paint(folder / "2.jpg", 2)
    engine.sync(folder / "sub")
    report = counts(engine.sync(folder))
    assert report == {"added": 1, "unchanged": 2, "embedded": 1, "pictures": 3}
    assert [(root.path, root.files) for root in engine.status().roots] == [(str(folder), 3)]
    assert held(engine) == content(folder)


def test_a_root_that_is_away_is_taken_over_when_it_is_back(engine: Engine, folder: Path) -> None:
    fill(folder / "sub", range(2))
    paint(folder / "2.jpg", 2)
    engine.sync(folder / "sub")
    (folder / "sub").rename(folder.parent / "unplugged")
    (folder / "sub").mkdir()
    report = counts(engine.sync(folder))
    assert report == {"added": 1, "offline": 2, "embedded": 1, "pictures": 3}
    assert len(engine.status().roots) == 2
    (folder / "sub").rmdir()
    (folder.parent / "unplugged").rename(folder / "sub")
    assert counts(engine.sync(folder)) == {"unchanged": 3, "pictures": 3}
    assert [(root.path, root.files) for root in engine.status().roots] == [(str(folder), 3)]


def test_a_root_on_a_disk_of_its_own_stays_one(engine: Engine, folder: Path) -> None:
    fill(folder / "usb", range(2))
    paint(folder / "2.jpg", 2)
    engine.sync(folder / "usb")
    [root] = engine.library.catalog.roots()
    engine.library.catalog.add_root(root.path, root.device + 1, ())
    report = counts(engine.sync(folder))
    assert report == {"added": 1, "unchanged": 2, "embedded": 1, "pictures": 3}
    assert len(engine.status().roots) == 2
    engine.library.catalog.add_root(root.path, root.device + 1, ())
    shutil.rmtree(folder / "usb")
    (folder / "usb").mkdir()
    paint(folder / "usb" / "stray.jpg", 7)  # in the empty place where the disk was
    assert counts(engine.sync(folder))["offline"] == 2
    assert engine.status().pictures == 3


def test_excludes_survive_one_root_in_another_in_another(engine: Engine, folder: Path) -> None:
    for name in ("a/b/0.jpg", "a/b/raw/1.jpg", "a/b/top/2.jpg", "a/b/x/top/3.jpg"):
        paint(folder / name, int(name[-5]))
    engine.sync(folder / "a" / "b", exclude=["raw/", "/top", ""])
    for outer in (folder / "a", folder):
        for _ in range(2):
            engine.sync(outer)
            names = {Path(path).relative_to(folder).as_posix() for path in held(engine)}
            assert names == {"a/b/0.jpg", "a/b/x/top/3.jpg"}


def test_a_part_of_a_root_keeps_its_excludes(engine: Engine, folder: Path) -> None:
    fill(folder / "sub", range(2))
    paint(folder / "sub" / "raw" / "2.jpg", 2)
    engine.sync(folder, exclude=["raw"])
    assert counts(engine.sync(folder / "sub")) == {"unchanged": 2, "pictures": 2}
    with pytest.raises(InputError, match="part of"):
        engine.sync(folder / "sub", exclude=["1.jpg"])


def test_what_an_inner_root_excludes_stays_excluded(engine: Engine, folder: Path) -> None:
    fill(folder / "sub", range(2))
    for name in ("sub/raw/3.jpg", "sub/deep/raw/4.jpg", "raw/5.jpg"):
        paint(folder / name, 3)
    engine.sync(folder / "sub", exclude=["raw"])
    for _ in range(2):
        engine.sync(folder)
        assert {Path(p).relative_to(folder).as_posix() for p, *_ in content(folder).items()} > {
            "sub/raw/3.jpg"
        }
        assert engine.status().files == 3


def test_a_folder_inside_a_root_is_synced_as_part_of_it(engine: Engine, folder: Path) -> None:
    fill(folder / "sub", range(2))
    paint(folder / "2.jpg", 2)
    engine.sync(folder)
    paint(folder / "sub" / "3.jpg", 3)
    paint(folder / "4.jpg", 4)
    report = counts(engine.sync(folder / "sub"))
    assert report == {"added": 1, "unchanged": 2, "embedded": 1, "pictures": 4}
    assert len(engine.status().roots) == 1
    shutil.rmtree(folder / "sub")
    with pytest.raises(NotFoundError, match=f"index {folder}"):
        engine.sync(folder / "sub")
    report = counts(engine.sync(folder))
    assert report == {"added": 1, "removed": 3, "unchanged": 1, "embedded": 1, "pictures": 2}


@pytest.mark.parametrize("heal", [False, True])
def test_a_root_inside_a_part_of_a_root_is_entered_once(
    engine: Engine, folder: Path, monkeypatch: pytest.MonkeyPatch, heal: bool
) -> None:
    (folder / "mid" / "usb").mkdir(parents=True)
    engine.sync(folder / "mid" / "usb")
    paint(folder / "0.jpg", 0)
    engine.sync(folder)
    fill(folder / "mid" / "usb", range(1, 3))
    if heal:  # a library in which they are entered under both
        monkeypatch.setattr("search.indexing.sync._paths_inside", lambda *_: [])
    engine.sync(folder / "mid")
    monkeypatch.undo()
    assert engine.status().files == (5 if heal else 3)
    for _ in range(2):
        assert engine.sync(folder).pictures == 3 and engine.status().files == 3
    assert held(engine) == content(folder) == find_paths(engine, 0)
    assert not engine.check(deep=True).problems


def test_a_home_inside_a_folder_is_not_indexed_and_its_namesake_is(
    library: Open, folder: Path
) -> None:
    engine = library(folder / "lib[1]")
    fill(folder, range(2))
    fill(folder / "trip" / "lib[1]", range(2, 4))
    for _ in range(2):
        engine.sync(folder)
        assert held(engine) == content(folder)


def test_the_librarys_own_folder_is_no_folder_of_pictures(engine: Engine, folder: Path) -> None:
    fill(folder, range(1))
    engine.sync(folder)
    for place in (engine.home, engine.home / "thumbnails"):
        with pytest.raises(InputError, match="library's own"):
            engine.sync(place)


# wrong input -----------------------------------------------------------------------------------


def test_what_is_no_folder_is_refused_and_not_remembered(engine: Engine, folder: Path) -> None:
    paint(folder / "a.jpg", 1)
    with pytest.raises(NotFoundError, match="is not there"):
        engine.sync(folder / "nothing")
    with pytest.raises(InputError, match="is a file"):
        engine.sync(folder / "a.jpg")
    assert engine.status().roots == ()


def test_an_empty_library_says_what_to_do(engine: Engine, folder: Path) -> None:
    with pytest.raises(LibraryError, match="lookalike index"):
        engine.search(image=jpeg(1))
    assert counts(engine.sync(folder)) == {}
    with pytest.raises(LibraryError, match="lookalike index"):
        engine.search(image=jpeg(1))
    assert not engine.check().problems
    status = engine.status()
    assert (status.pictures, status.files, status.model) == (0, 0, None)


# orphans ---------------------------------------------------------------------------------------


def test_a_move_across_two_syncs_embeds_nothing_for_30_days(
    engine: Engine, folder: Path, tmp_path: Path
) -> None:
    fill(folder, range(3))
    at(engine, 0.0)
    engine.sync(folder)
    engine.library.catalog.tag(engine.library.reader.resolve(identity(1)), ["beach"])
    (folder / "1.jpg").rename(tmp_path / "1.jpg")
    engine.sync(folder)
    assert len(engine.search(image=jpeg(1))) == 2
    at(engine, 30 * DAY - 1)
    (tmp_path / "1.jpg").rename(folder / "back.jpg")
    assert counts(engine.sync(folder)) == {"added": 1, "unchanged": 2, "pictures": 3}
    assert engine.search(image=jpeg(1))[0].tags == ("beach",)
    (folder / "back.jpg").unlink()
    engine.sync(folder)
    thumbnail = engine.library.thumbnails.path(identity(1))
    assert thumbnail.exists()
    at(engine, 60 * DAY)
    engine.sync(folder)
    assert not thumbnail.exists()
    paint(folder / "back.jpg", 1)
    assert counts(engine.sync(folder))["embedded"] == 1


# interrupted -----------------------------------------------------------------------------------


def test_an_interrupted_run_goes_on_where_it_stopped(engine: Engine, folder: Path) -> None:
    fill(folder, range(70))
    run = engine.index(folder)
    while next(run).phase != "index":
        pass
    run.close()
    assert engine.status().pictures == engine.status().embedded == 32
    report = counts(engine.sync(folder))
    assert report == {"added": 38, "unchanged": 32, "embedded": 38, "pictures": 70}


def test_an_interrupted_run_removes_nothing_that_may_have_moved(
    engine: Engine, folder: Path
) -> None:
    fill(folder / "old", range(40))
    engine.sync(folder)
    shutil.copytree(folder / "old", folder / "new")
    shutil.rmtree(folder / "old")
    run = engine.index(folder)
    while next(run).phase != "index":
        pass
    run.close()
    assert engine.status().pictures == 40
    report = counts(engine.sync(folder))
    assert report["pictures"] == 40 and "embedded" not in report
    assert held(engine) == content(folder)


# models ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of another model: `mini` with its weights disturbed."""
    path = tmp_path_factory.mktemp("weights") / "other.safetensors"
    with safe_open(str(mini.Mini().path), "numpy") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}
        noise = np.random.default_rng(0).normal(size=tensors[mini.HEAD].shape)
        head = tensors[mini.HEAD] + noise.astype(tensors[mini.HEAD].dtype)
        save_file(tensors | {mini.HEAD: head}, path, file.metadata())
    return f"mini:{path}"


def test_a_library_of_another_model_names_the_command(
    library: Open, folder: Path, tmp_path: Path, other: str
) -> None:
    fill(folder, range(2))
    library().sync(folder)
    lines: list[str] = []
    list(library(model=other, say=lines.append).embed([folder], tmp_path / "out.safetensors"))
    assert lines == []  # the library stays as it is
    with pytest.raises(ModelError, match=f"lookalike --model {other} index"):
        library(model=other).search(image=jpeg(0))
    with pytest.raises(ModelError, match="one of"):
        library(model="nonsense")


def test_changing_the_model_reembeds_resumably_while_the_old_vectors_serve(
    library: Open, folder: Path, other: str
) -> None:
    fill(folder, range(40))
    old = library()
    old.sync(folder)
    before = old.status().fingerprint
    expected = [(hit.id, hit.score) for hit in old.search(image=jpeg(3), k=40)]
    new = library(model=other)
    run = new.index(folder)
    while next(run).phase != "embed":
        pass
    run.close()
    assert old.status().fingerprint == before and old.status().embedded == 40
    assert [(hit.id, hit.score) for hit in old.search(image=jpeg(3), k=40)] == expected
    with pytest.raises(ModelError):
        new.search(image=jpeg(3))
    assert counts(new.sync(folder)) == {"unchanged": 40, "embedded": 8, "pictures": 40}
    assert new.status().model == other != before and new.status().embedded == 40
    after = [(hit.id, hit.score) for hit in new.search(image=jpeg(3), k=40)]
    assert after[0][0] == identity(3) and after != expected
    assert not new.check().problems
    remembering = library()
    assert counts(remembering.sync(folder)) == {"unchanged": 40, "pictures": 40}
    assert remembering.status().model == other
    with pytest.raises(ModelError):
        library(model="mini").search(image=jpeg(3))


def test_a_model_change_waits_for_a_folder_that_is_away(
    library: Open, folder: Path, tmp_path: Path, other: str
) -> None:
    fill(folder, range(2))
    fill(tmp_path / "usb", range(2, 4))
    old = library()
    old.sync(folder)
    old.sync(tmp_path / "usb")
    (tmp_path / "usb").rename(tmp_path / "away")
    new = library(model=other)
    report = new.sync(folder)
    assert report.embedded == 2 and len(report.skipped) == 2
    assert old.status().model == "mini" and len(find_paths(old, 0)) == 4
    (tmp_path / "away").rename(tmp_path / "usb")
    assert new.sync(folder).embedded == 2
    assert new.status().model == other and len(find_paths(new, 0)) == 4


def test_new_weights_of_the_librarys_model_wait_for_no_folder_that_is_away(
    library: Open, folder: Path, tmp_path: Path, other: str
) -> None:
    """The earlier weights are missing, so their vectors are not searched."""
    fill(folder, range(2))
    fill(tmp_path / "usb", range(2, 4))
    for place in (folder, tmp_path / "usb"):
        library().sync(place)
    (tmp_path / "usb").rename(tmp_path / "away")
    lines: list[str] = []
    engine, newer = library(say=lines.append), mini.Mini(weights=Path(other[5:]))
    engine.library.models.opened["mini"] = newer
    with pytest.raises(ModelError, match="other weights"):
        engine.search(image=jpeg(0))
    assert engine.sync(folder).embedded == 2
    assert lines == [
        "model: mini has new weights: all pictures get new vectors, and can be found again then"
    ]
    assert len(find_paths(engine, 0)) == 2 and engine.status().fingerprint == newer.fingerprint
    (tmp_path / "away").rename(tmp_path / "usb")
    assert engine.sync(folder).embedded == 2
    assert len(find_paths(engine, 0)) == 4


def test_a_library_of_the_earlier_weights_answers_until_all_have_new_vectors(
    library: Open, folder: Path, tmp_path: Path
) -> None:
    fill(folder, range(40))
    fill(tmp_path / "usb", range(40, 42))
    old = library(model="mini-1")
    old.sync(folder)
    old.sync(tmp_path / "usb")
    with old.library.database.write() as c:  # as the version before called it
        c.execute(update(schema.spaces).values(name="mini"))
    close_library(old)
    (tmp_path / "usb").rename(tmp_path / "away")
    lines: list[str] = []
    engine = library(say=lines.append)
    assert len(find_paths(engine, 3)) == 42 and engine.search(image=jpeg(3))[0].score > 0.999
    run = engine.index(folder)
    while next(run).phase != "embed":
        pass
    run.close()
    assert engine.sync(folder).embedded == 8
    assert "the old ones answer meanwhile" in lines[0]
    assert engine.status().embedded == 42 and len(find_paths(engine, 3)) == 42
    (tmp_path / "away").rename(tmp_path / "usb")
    assert engine.sync(folder).embedded == 2
    assert engine.status().fingerprint == mini.Mini().fingerprint
    assert len(find_paths(engine, 3)) == 42 and engine.search(image=jpeg(3))[0].score > 0.999
    assert library().search(text="qwertz").understood[0].unknown


def store_old_colours(engine: Engine) -> None:
    """Store what the decode rule that ignored colour profiles computed."""
    with engine.library.database.write() as c:
        for row_id in c.scalars(select(schema.pictures.c.row_id)).all():
            change = update(schema.pictures).where(schema.pictures.c.row_id == row_id)
            c.execute(change.values(decode_rule=1, low_content=True, pixel_hash=f"{row_id}"))
        c.execute(delete(schema.colors).where(schema.colors.c.rank > 0))
        c.execute(update(schema.colors).values(color="#123456"))
    for path in engine.library.thumbnails.path("").parents[2].rglob("*.webp"):
        path.write_bytes(b"old")


def stored(engine: Engine) -> list[Any]:
    """The rows of all pictures, their colours, which have vectors, and their thumbnails."""
    order = schema.pictures.c.row_id
    with engine.library.database.read() as c:
        rows = [tuple(row) for row in c.execute(select(schema.pictures).order_by(order))]
        colors = sorted(tuple(row) for row in c.execute(select(schema.colors)))
        vectors = sorted(c.scalars(select(schema.vectors.c.picture)))
    return [rows, colors, vectors, [engine.thumbnail(row[1]) for row in rows]]


@pytest.mark.parametrize("lacking", [False, True])
def test_pictures_of_an_earlier_decode_rule_are_decoded_again_once(
    engine: Engine, folder: Path, monkeypatch: pytest.MonkeyPatch, lacking: bool
) -> None:
    """lacking: their vectors are of the earlier rule as well, as a change of the rule leaves it."""
    monkeypatch.setattr("search.indexing.sync.BATCH", 2)
    fill(folder, range(3))
    engine.sync(folder)
    before = stored(engine)
    store_old_colours(engine)
    assert engine.picture(identity(2)).metadata.palette == ("#123456",)
    if lacking:
        with engine.library.database.write() as c:
            c.execute(delete(schema.vectors))
        engine.library.catalog.repair_counts()
    run = engine.index(folder)
    while next(run).phase != "embed":
        pass
    run.close()
    assert len(engine.library.reader.list_outdated()) == 1
    assert counts(engine.sync(folder)).get("embedded", 0) == (1 if lacking else 0)
    assert stored(engine) == before

    def refuse(*_: object, **__: object) -> Any:
        raise AssertionError("a picture was decoded")

    monkeypatch.setattr(DecoderPool, "submit", refuse)
    assert counts(engine.sync(folder)) == {"unchanged": 3, "pictures": 3}


def test_the_colours_of_a_picture_that_is_away_are_computed_when_it_is_back(
    library: Open, folder: Path, tmp_path: Path
) -> None:
    fill(folder, range(2))
    fill(tmp_path / "usb", range(2, 4))
    for place in (folder, tmp_path / "usb"):
        library().sync(place)
    engine = library()
    before = stored(engine)
    store_old_colours(engine)
    (tmp_path / "usb").rename(tmp_path / "away")
    skipped = engine.sync(folder).skipped
    assert len(skipped) == 2 and "colours are those of an earlier version" in skipped[0].reason
    assert len(find_paths(engine, 0)) == 4
    (tmp_path / "away").rename(tmp_path / "usb")
    assert engine.sync(folder).skipped == () and stored(engine) == before


def test_what_is_left_out_is_in_the_report_and_in_the_status(library: Open, folder: Path) -> None:
    fill(folder, range(2))
    for name in ("a.cr2", "b.psd", "sub/c.nef"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"")
    engine = library()
    report = engine.sync(folder)
    assert report.left_out == {"raw": 2, "psd": 1} == report.to_json()["left_out"]
    assert engine.status().left_out == engine.status().roots[0].left_out == report.left_out
    assert engine.sync(folder / "sub").left_out == {"raw": 1}
    assert engine.status().left_out == report.left_out  # that was a part of the folder
    (folder / "b.psd").unlink()
    engine.sync(folder)
    assert engine.status().to_json()["left_out"] == {"raw": 2}
    assert (report + report).left_out == {"raw": 4, "psd": 2}


def test_a_folder_remembers_that_its_links_are_followed(
    library: Open, folder: Path, tmp_path: Path
) -> None:
    fill(folder, range(2))
    fill(tmp_path / "away", range(2, 4))
    (folder / "away").symlink_to(tmp_path / "away")
    engine = library()
    assert engine.sync(folder).left_out == {"link": 1}
    assert engine.sync(folder, follow_links=True).added == 2
    report = engine.sync(folder)
    assert (report.unchanged, report.left_out) == (4, {})
    picture, file = engine.original(identity(3))
    with file:
        assert file.read() == jpeg(3) and Path(picture.path).parent == folder / "away"
    (folder / "sub").mkdir()
    with pytest.raises(InputError, match="--follow-links"):
        engine.sync(folder / "sub", follow_links=False)
    assert engine.sync(folder, follow_links=False).removed == 2


def test_system_folders_are_indexed_on_request(library: Open, folder: Path) -> None:
    fill(folder, range(2))
    fill(folder / "@eaDir", range(2, 4))
    assert library().sync(folder).pictures == 2
    assert library(default_excludes=False).sync(folder).pictures == 4


def test_blank_pictures_are_flagged(library: Open, folder: Path) -> None:
    fill(folder, range(2))
    for name in ("black", "white"):
        Image.new("RGB", (80, 60), name).save(folder / f"{name}.png")
    engine = library()
    engine.sync(folder)
    hits = engine.search(image=folder / "black.png", k=4)
    assert hits.low_content
    flagged = {Path(hit.path).name for hit in hits if hit.low_content}
    assert flagged == {"black.png", "white.png"}
    assert all(engine.picture(hit.id).low_content == hit.low_content for hit in hits)
    uploaded = engine.keep((folder / "white.png").read_bytes())
    assert uploaded.low_content and uploaded.labels == ()
    assert not engine.search(image=folder / "0.jpg").low_content


def test_an_open_library_follows_a_change_of_model_there_and_back(
    library: Open, folder: Path, other: str
) -> None:
    fill(folder, range(3))
    reader = library()
    library(model="mini").sync(folder)
    assert len(find_paths(reader, 0)) == 3
    library(model=other).sync(folder)
    library(model="mini").sync(folder)
    fill(folder, range(3, 6))
    (folder / "0.jpg").unlink()
    library().sync(folder)
    assert find_paths(reader, 0) == content(folder)


@pytest.mark.parametrize("opened", [False, True])
def test_a_search_that_overlaps_a_change_of_model_is_done_again(
    library: Open, folder: Path, other: str, monkeypatch: pytest.MonkeyPatch, opened: bool
) -> None:
    fill(folder, range(3))
    engine = library()
    library(model="mini").sync(folder)
    if opened:
        assert len(engine.search(image=jpeg(0))) == 3
    searchers = [engine.library.searches.open()]  # before the model changed
    library(model=other).sync(folder)
    fresh = engine.library.searches.open
    searches = engine.library.searches
    monkeypatch.setattr(
        searches, "open", lambda *args: searchers.pop() if searchers else fresh(*args)
    )
    assert len(engine.search(image=jpeg(0))) == 3 and not searchers


# forget, check, status -------------------------------------------------------------------------


def test_forget_takes_out_a_root_a_subfolder_a_file_or_several_roots(
    engine: Engine, tmp_path: Path
) -> None:
    for name in ("a", "a/sub", "b", "c"):
        fill(tmp_path / "all" / name, range(2))
    for name in ("a", "b", "c"):
        engine.sync(tmp_path / "all" / name)
    assert engine.forget(tmp_path / "all" / "a" / "sub") == 2
    assert engine.forget(tmp_path / "all" / "a" / "0.jpg") == 1
    assert [(os.path.basename(r.path), r.files) for r in engine.status().roots] == [
        ("a", 1),
        ("b", 2),
        ("c", 2),
    ]
    assert engine.forget(tmp_path / "all" / "b") == 2
    assert set(held(engine)) == {
        str(tmp_path / "all" / name) for name in ("a/1.jpg", "c/0.jpg", "c/1.jpg")
    }
    assert find_paths(engine, 0) == held(engine)
    assert engine.forget(tmp_path) == 3
    assert engine.status().roots == () and engine.status().pictures == 0
    assert not [p for p in (engine.home / "thumbnails").rglob("*") if p.is_file()]
    with pytest.raises(NotFoundError, match="none yet"):
        engine.forget(tmp_path)


def test_forget_of_what_is_not_there_names_what_is(engine: Engine, folder: Path) -> None:
    fill(folder, range(1))
    engine.sync(folder)
    for path in (folder / "sub", folder.parent / "pict", folder / "0"):
        with pytest.raises(NotFoundError, match=str(folder)):
            engine.forget(path)
    assert len(held(engine)) == 1


def test_a_forgotten_folder_that_is_away_is_forgotten(engine: Engine, folder: Path) -> None:
    fill(folder, range(2))
    engine.sync(folder)
    shutil.rmtree(folder)
    assert engine.forget(folder) == 2 and engine.status().pictures == 0


def test_forget_takes_a_path_as_it_was_entered_before_what_it_links_to(
    engine: Engine, folder: Path, tmp_path: Path
) -> None:
    fill(folder, range(2))
    engine.sync(folder)
    away = folder.rename(tmp_path / "away")
    folder.symlink_to(away)
    assert counts(engine.sync(folder)) == {"added": 2, "pictures": 2}  # at its new place
    assert engine.forget(folder) == 2
    assert held(engine) == content(away)
    assert engine.forget(folder) == 2 and not held(engine)


def test_status_counts(engine: Engine, folder: Path) -> None:
    fill(folder, range(2))
    paint(folder / "copy.jpg", 0)
    (folder / "broken.jpg").write_bytes(b"x")
    engine.sync(folder)
    status = engine.status()
    assert (status.pictures, status.embedded, status.files) == (2, 2, 3)
    assert [(r.path, r.state, r.files) for r in status.roots] == [(str(folder), "online", 3)]
    assert status.model == "mini" and status.index["kind"] == "flat"
    assert status.fingerprint == parts()[2].fingerprint


def test_check_tells_what_is_gone_and_deep_what_changed(engine: Engine, folder: Path) -> None:
    fill(folder, range(3))
    engine.sync(folder)
    assert engine.check(deep=True).problems == ()
    (folder / "0.jpg").unlink()
    paint(folder / "1.jpg", 9)
    assert [p.split(":")[0] for p in engine.check().problems] == [str(folder / "0.jpg")]
    deep = engine.check(deep=True)
    assert sorted(p.split(";")[0] for p in deep.problems) == [
        f"{folder / '0.jpg'}: gone since it was indexed",
        f"{folder / '1.jpg'}: changed since it was indexed",
    ]
    assert (deep.pictures, deep.files) == (3, 3)


def test_check_makes_missing_thumbnails_again(engine: Engine, folder: Path) -> None:
    fill(folder, range(2))
    engine.sync(folder)
    thumbnail = engine.library.thumbnails.path(identity(1))
    before = thumbnail.read_bytes()
    thumbnail.unlink()
    report = engine.check()
    assert not report.problems and report.repaired == (
        "1 missing or damaged thumbnails were made again",
    )
    assert thumbnail.read_bytes() == before
    thumbnail.write_bytes(b"")  # as a power cut leaves it
    assert engine.check().repaired and thumbnail.read_bytes() == before
    thumbnail.write_bytes(b"")
    assert engine.thumbnail(identity(1)) == before == thumbnail.read_bytes()


def test_check_says_which_root_is_offline(engine: Engine, folder: Path, tmp_path: Path) -> None:
    fill(folder, range(2))
    engine.sync(folder)
    folder.rename(tmp_path / "away")
    assert engine.check(deep=True).problems == (f"{folder}: offline",)


# originals -------------------------------------------------------------------------------------


def test_originals_are_never_written(library: Open, folder: Path, other: str) -> None:
    fill(folder / "sub", range(3))
    paint(folder / "a.jpg", 1)
    (folder / "broken.jpg").write_bytes(b"x")
    (folder / "link.jpg").symlink_to("a.jpg")
    every = [folder, *folder.rglob("*")]
    before = {}
    for path in every:
        path.is_symlink() or path.chmod(0o555 if path.is_dir() else 0o444)
        data = path.read_bytes() if path.is_file() else b""
        before[path] = (data, path.lstat().st_mtime_ns, path.lstat().st_mode, path.lstat().st_ino)
    engine = library()
    engine.sync(folder)
    engine.search(image=[str(folder / "a.jpg"), jpeg(2)])
    engine.status()
    engine.check(deep=True)
    library(model=other).sync(folder, exclude=["sub"])
    engine.sync(folder, exclude=[], allow_empty=True)
    engine.forget(folder / "sub")
    engine.forget(folder)
    assert [folder, *folder.rglob("*")] == every
    for path in every:
        data = path.read_bytes() if path.is_file() else b""
        now = (data, path.lstat().st_mtime_ns, path.lstat().st_mode, path.lstat().st_ino)
        assert now == before[path], path


# any sequence of events, against a model -------------------------------------------------------

NAMES = ("a.jpg", "b.jpg", "c.jpg", "sub/a.jpg", "sub/d.jpg", "sub/deep/e.jpg")


class Folders:
    """Two folders, a library of them, and the state that the library should have.

    `disk` and `library`: root -> relative path -> (seed, comment) of the picture, None for a
    broken file; `library` as of each root's last sync. `orphans`: picture -> since when it has no
    file. Pictures of one seed share their pixel_hash.
    """

    def __init__(self, base: Path, seed: int) -> None:
        self.base, self.random = base, random.Random(seed)
        self.engine = open_library(base / "home")
        self.now, self.ticks = 0.0, 0
        at(self.engine, self.now)
        self.disk: dict[str, dict[str, Any]] = {"one": {}, "two": {}}
        self.library: dict[str, dict[str, Any]] = {"one": {}, "two": {}}
        self.known: set[str] = set()
        self.away: set[str] = set()
        self.orphans: dict[Any, float] = {}
        self.rows: dict[int, np.ndarray] = {}
        for root in self.disk:
            (base / root).mkdir()

    def step(self) -> None:
        """Do one random change or command."""
        often = (self.sync, self.sync, self.write, self.rename, self.rename)
        seldom = (self.spoil, self.touch, self.swap, self.remove, self.unplug, self.wait)
        event = self.random.choice((*often, *often, *often, *seldom, self.forget))
        event()
        if event in (self.sync, self.forget):
            self.check()

    # the folders

    def path(self, root: str, name: str = "") -> Path:
        return self.base / (f"{root} away" if root in self.away else root) / name

    def tick(self, path: Path) -> None:
        """A time that no file had before: a file system's clock may be too coarse for that."""
        self.ticks += 1
        os.utime(path, ns=(self.ticks, self.ticks))

    def place(self) -> tuple[str, str]:
        """Any root and name."""
        return self.random.choice(sorted(self.disk)), self.random.choice(NAMES)

    def pick(self, n: int) -> tuple[str, list[str]]:
        """A root and n of its files, or none where it has fewer."""
        root = self.place()[0]
        files = sorted(self.disk[root])
        return root, self.random.sample(files, n) if len(files) >= n else []

    def write(self) -> None:
        root, name = self.place()
        picture = self.random.randrange(6), self.random.choice(["", "", "x"])
        paint(self.path(root, name), *picture)
        self.tick(self.path(root, name))
        self.disk[root][name] = picture

    def spoil(self) -> None:
        root, name = self.place()
        self.path(root, name).parent.mkdir(parents=True, exist_ok=True)
        self.path(root, name).write_bytes(b"spoiled")
        self.tick(self.path(root, name))
        self.disk[root][name] = None

    def touch(self) -> None:
        root, names = self.pick(1)
        for name in names:
            self.tick(self.path(root, name))

    def rename(self) -> None:
        root, names = self.pick(1)
        to, new = self.place()
        for name in names:
            self.path(to, new).parent.mkdir(parents=True, exist_ok=True)
            self.path(root, name).rename(self.path(to, new))
            self.disk[to][new] = self.disk[root].pop(name)

    def swap(self) -> None:
        root, names = self.pick(2)
        for a, b in zip(names[:1], names[1:], strict=True):
            self.path(root, a).rename(self.path(root, "aside"))
            self.path(root, b).rename(self.path(root, a))
            self.path(root, "aside").rename(self.path(root, b))
            files = self.disk[root]
            files[a], files[b] = files[b], files[a]

    def remove(self) -> None:
        root, names = self.pick(1)
        for name in names:
            self.path(root, name).unlink()
            del self.disk[root][name]

    def unplug(self) -> None:
        """A disk is taken away, or comes back; at times a mount point stays."""
        root = self.random.choice(sorted(self.away or self.disk))
        before = self.path(root)
        self.away ^= {root}
        if self.path(root).exists():
            self.path(root).rmdir()
        before.rename(self.path(root))
        if root in self.away and self.random.random() < 0.5:
            before.mkdir()

    def wait(self) -> None:
        self.now += self.random.choice([10, 40]) * DAY
        at(self.engine, self.now)

    # the library

    def sync(self) -> None:
        root, within = self.place()[0], self.random.choice(["", "", "sub"])
        allow_empty = self.random.random() < 0.3
        place = self.base / root / within
        if within and not (place.is_dir() and root in self.known):
            return  # has its own tests
        if root not in self.known and root in self.away:
            return
        before = {k: v for k, v in self.library[root].items() if k.startswith(within)}
        listed = {} if root in self.away else self.disk[root]
        after = {k: v for k, v in listed.items() if k.startswith(within)}
        changes = self.count_changes(before, after)
        total = sum(picture is not None for picture in self.library[root].values())
        if after and changes["removed"] >= 4 and 2 * changes["removed"] > total:
            allow_empty = True  # what happens otherwise has its own tests
        gone = root in self.away and not place.exists()
        computed = parts()[2].computed
        report = self.engine.sync(place, allow_empty=allow_empty)
        assert report.embedded == parts()[2].computed - computed
        if root in self.known and (gone or (before and not after and not allow_empty)):
            offline = sum(picture is not None for picture in before.values())
            assert counts(report) == self.expect(offline=offline)
            return
        self.known.add(root)
        present_seeds = {seed for seed, _ in self.all_pictures() | set(self.orphans)}
        for name in before:
            del self.library[root][name]
        self.library[root].update(after)
        assert counts(report) == self.expect(
            **changes,
            embedded=len({picture[0] for picture in after.values() if picture} - present_seeds),
        )
        assert {os.path.relpath(skip.path, self.base / root) for skip in report.skipped} == {
            name for name, picture in after.items() if picture is None
        }
        left = {picture for picture in before.values() if picture} - self.all_pictures()
        self.orphans = {p: t for p, t in self.orphans.items() if p not in self.all_pictures()}
        self.orphans |= {p: self.now for p in left if p not in self.orphans}
        self.orphans = {p: t for p, t in self.orphans.items() if t > self.now - 30 * DAY}

    @staticmethod
    def count_changes(before: dict[str, Any], after: dict[str, Any]) -> dict[str, int]:
        """How a sync counts the files of one folder."""
        same = [n for n in after if after[n] and before.get(n) == after[n]]
        changed = [n for n in after if after[n] and before.get(n) not in (None, after[n])]
        new = Counter(p for n, p in after.items() if p and before.get(n) is None)
        gone = Counter(p for n, p in before.items() if p and n not in after)
        moved = (new & gone).total()
        return {
            "unchanged": len(same),
            "changed": len(changed),
            "moved": moved,
            "added": new.total() - moved,
            "removed": gone.total() - moved,
        }

    def all_pictures(self) -> set[Any]:
        """Pictures that a file in the library holds."""
        return {p for files in self.library.values() for p in files.values() if p}

    def expect(self, **values: int) -> dict[str, int]:
        """Counts as a report has them; call when `library` is up to date."""
        total = values | {"pictures": len(self.all_pictures())}
        return {name: value for name, value in total.items() if value}

    def forget(self) -> None:
        root = self.place()[0]
        if root in self.known and self.random.random() < 0.3:
            assert self.engine.forget(self.base / root) == len(self.library[root])
            self.library[root] = {}
            self.known.remove(root)

    def check(self) -> None:
        expected = {
            str(self.base / root / name): identity(*picture)
            for root, files in self.library.items()
            for name, picture in files.items()
            if picture
        }
        assert held(self.engine) == expected
        with self.engine.library.database.read() as c:
            rows = c.execute(select(schema.pictures)).all()
        present = {identity(*picture) for picture in self.all_pictures()}
        orphaned = {identity(*picture) for picture in self.orphans}
        assert {row.id for row in rows if row.orphaned is None} == present
        assert {row.id for row in rows if row.orphaned is not None} == orphaned
        self.check_index({row.row_id: row.id for row in rows})
        if present:
            seed = min(self.all_pictures())[0]
            hits = self.engine.search(image=jpeg(seed), k=100)
            assert {path: hit.id for hit in hits for path in hit.paths} == expected
            assert hits[0].score == pytest.approx(1, abs=1e-3)

    def check_index(self, by_number: dict[int, str]) -> None:
        space = self.engine.library.catalog.find_own_space()
        if space is None:
            return
        lookup, runtime = self.engine.library.reader, self.engine.library.runtime
        seeds = {identity(*picture): picture[0] for picture in self.all_pictures()}
        row_ids = sorted(number for number, name in by_number.items() if name in seeds)
        for live in (
            self.engine.library.indexes.replica(space),
            IndexReplica(lookup, space, self.base / "home/index"),
        ):
            store = live.refresh()
            assert runtime.run(lambda store=store: store.ids().tolist()) == row_ids
        present, vectors = lookup.load_vectors(space, row_ids)
        for number, vector in zip(present, vectors, strict=True):
            first = self.rows.setdefault(seeds[by_number[number]], vector)
            assert float(first @ vector) > 0.999  # computed in another batch, perhaps
        known = list(self.rows.values())
        assert all(float(a @ b) < 0.99 for i, a in enumerate(known) for b in known[:i])


@pytest.mark.parametrize("seed", range(8))
def test_any_sequence_of_events(tmp_path: Path, seed: int) -> None:
    folders = Folders(tmp_path, seed)
    for _ in range(200):
        folders.step()
    close_library(folders.engine)
