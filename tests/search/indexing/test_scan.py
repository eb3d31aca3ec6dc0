"""Folder -> entries -> plan: listing, exclusions and differences."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from helpers.pictures import forbid, paint
from PIL import Image

from search import InputError
from search.catalog.writes import CatalogFile
from search.indexing.diff import diff
from search.indexing.scan import FolderListing, FolderScan, excluded, scan
from search.indexing.watch import watch
from search.media import films
from search.records.indexing import Skip
from search.types import FileEntry, file_state


def test_pictures_are_told_by_name_at_any_depth(folder: Path) -> None:
    for name in ("a.jpg", "sub/b.PNG", "sub/deep/c.heic", "notes.txt", "sub/noext.py"):
        paint(folder / name, 1)
    assert set(scan(folder).entries) == {"a.jpg", "sub/b.PNG", "sub/deep/c.heic"}


def test_an_entry_has_the_files_size_time_and_inode(folder: Path) -> None:
    stat = paint(folder / "a.jpg", 1).stat()
    expected = FileEntry("a.jpg", *file_state(stat))
    assert scan(folder).entries == {"a.jpg": expected}


def test_numbers_of_file_systems_have_room_in_the_catalog() -> None:
    def of(mtime: int, inode: int) -> tuple[int, int, int, int]:
        info = os.stat_result((0, inode, 0, 0, 0, 0, 5, 0, 0, 0, 0.0, 0.0, 0.0, 0, mtime, mtime))
        return file_state(info)

    assert of(7, 8) == (5, 7, 8, 7)
    assert of(-7, 2**63 - 1) == (5, -7, 2**63 - 1, -7)
    assert of(2**63 + 5, 2**64 - 1) == (5, 5 - 2**63, -1, 5 - 2**63)


def test_watching_goes_on_after_a_name_that_is_not_utf8(folder: Path, tmp_path: Path) -> None:
    changes = watch([folder], tmp_path / "home")
    assert next(changes) == folder
    go = threading.Event()

    def fill() -> None:
        for i in range(20):
            (folder / f"caf\udce9{i}.jpg").touch()
            go.wait(0.1)

    try:
        (folder / "caf\udce9.jpg").touch()
    except OSError:
        pytest.skip("this file system takes no such names")
    assert next(changes) == folder
    filling = threading.Thread(target=fill)
    filling.start()
    assert next(changes) == folder  # once they have all come
    filling.join()
    (folder / "b.jpg").touch()
    assert next(changes) == folder


def test_a_folder_that_cannot_be_watched_is_told(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be watched"):
        next(watch([folder / "missing"], tmp_path / "home"))


def test_hidden_files_and_folders_are_left_out(folder: Path) -> None:
    for name in (".a.jpg", ".trash/b.jpg", "sub/.c.jpg", "d.jpg"):
        paint(folder / name, 1)
    assert set(scan(folder).entries) == {"d.jpg"}


def test_symbolic_links_are_not_followed(folder: Path, tmp_path: Path) -> None:
    outside = paint(tmp_path / "outside" / "x.jpg", 1)
    paint(folder / "a.jpg", 2)
    (folder / "loop").symlink_to(folder)
    (folder / "away").symlink_to(outside.parent)
    (folder / "link.jpg").symlink_to(outside)
    (folder / "dangling.jpg").symlink_to(folder / "nothing.jpg")
    listing = scan(folder)
    assert set(listing.entries) == {"a.jpg"} and not listing.unreadable


def test_only_regular_files_are_pictures(folder: Path) -> None:
    os.mkfifo(folder / "pipe.jpg")
    (folder / "folder.jpg").mkdir()
    paint(folder / "folder.jpg" / "a.jpg", 1)
    assert set(scan(folder).entries) == {"folder.jpg/a.jpg"}


def test_names_need_not_be_utf8(folder: Path) -> None:
    name = b"caf\xe9\xff.jpg"
    try:
        with open(os.path.join(os.fsencode(folder), name), "wb"):
            pass
    except OSError:
        pytest.skip("this file system takes no such names")
    assert [os.fsencode(path) for path in scan(folder).entries] == [name]


def test_a_folder_that_cannot_be_read_is_noted(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paint(folder / "a.jpg", 1)
    paint(folder / "closed" / "b.jpg", 2)
    forbid(monkeypatch, folder / "closed")
    listing = scan(folder)
    assert set(listing.entries) == {"a.jpg"}
    assert [(skip.path, skip.reason) for skip in listing.unreadable] == [
        ("closed", "Permission denied")
    ]


def test_a_start_that_cannot_be_read_raises(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forbid(monkeypatch, folder)
    with pytest.raises(PermissionError):
        scan(folder)


def test_within_lists_a_subfolder_by_paths_of_the_root(folder: Path) -> None:
    paint(folder / "a.jpg", 1)
    paint(folder / "sub" / "b.jpg", 2)
    assert set(scan(folder, "sub").entries) == {"sub/b.jpg"}


@pytest.mark.parametrize(
    ("path", "pattern", "out"),
    [
        ("a.jpg", "*.jpg", True),
        ("sub/a.jpg", "*.jpg", True),
        ("sub/a.jpg", "sub/*", True),
        ("x/raw", "raw", True),
        ("raw/a.jpg", "raw", False),  # the folder is, so nothing asks about what is in it
        ("A.jpg", "a.jpg", False),
        ("raw", "/raw", True),
        ("x/raw", "/raw", False),
    ],
)
def test_a_glob_matches_the_path_or_the_name(path: str, pattern: str, out: bool) -> None:
    assert excluded(path, [pattern]) is out


def test_excluded_folders_are_not_entered(folder: Path) -> None:
    for name in ("a.jpg", "raw/b.jpg", "sub/raw/c.jpg"):
        paint(folder / name, 1)
    assert set(scan(folder, exclude=["raw/"]).entries) == {"a.jpg"}


# diff ------------------------------------------------------------------------------------------

RULE = "limits and codecs"
SAME = CatalogFile(1, 10, 100, 7, picture=1, reason=None)


def listed(**entries: tuple[int, int, int]) -> FolderListing:
    return FolderListing({name: FileEntry(name, *stat) for name, stat in entries.items()})


def test_size_time_and_inode_as_before_is_unchanged() -> None:
    plan = diff({"a": SAME}.items(), listed(a=(10, 100, 7)), RULE)
    assert plan.unchanged == 1 and not plan.read and not plan.vanished


@pytest.mark.parametrize("stat", [(11, 100, 7), (10, 101, 7), (10, 100, 8)])
def test_any_difference_is_read(stat: tuple[int, int, int]) -> None:
    plan = diff({"a": SAME}.items(), listed(a=stat), RULE)
    assert [entry.path for entry in plan.read] == ["a"] and plan.unchanged == 0


def test_the_same_file_under_a_new_name_has_moved() -> None:
    plan = diff({"a": SAME}.items(), listed(b=(10, 100, 7)), RULE)
    assert [(key, entry.path) for key, entry in plan.moves] == [(1, "b")]
    assert not plan.read and not plan.vanished


def test_one_file_moves_to_one_name_only() -> None:
    plan = diff({"a": SAME}.items(), listed(b=(10, 100, 7), c=(10, 100, 7)), RULE)
    assert len(plan.moves) == 1 and len(plan.read) == 1


def test_a_broken_file_is_skipped_with_its_reason_until_it_changes() -> None:
    broken = CatalogFile(1, 10, 100, 7, picture=None, reason="torn", rule=RULE)
    again = diff({"a": broken}.items(), listed(a=(10, 100, 7)), RULE)
    assert [(s.path, s.reason) for s in again.skipped] == [("a", "torn")] and not again.read
    assert diff({"a": broken}.items(), listed(a=(12, 100, 7)), RULE).read
    assert diff({"a": broken}.items(), listed(a=(10, 100, 7)), "other limits").read


def test_files_below_an_unreadable_folder_are_hidden_and_no_others() -> None:
    listing = FolderListing(unreadable=[Skip("sub", "Permission denied", "folder_unreadable")])
    known = {"sub/a": SAME, "sub2/b": CatalogFile(2, 1, 1, 1, picture=2, reason=None)}
    plan = diff(known.items(), listing, RULE)
    assert plan.hidden == 1 and set(plan.vanished) == {"sub2/b"}


# What is left out


def test_files_that_are_not_read_are_counted_by_kind(folder: Path) -> None:
    paint(folder / "a.jpg", 1)
    others = {
        "raw": ["b.CR2", "sub/c.dng"],
        "psd": ["f.psd", "g.psb"],
        "jxl": ["h.jxl"],
        "svg": ["i.svg"],
        "no_suffix": ["LICENSE", "notes of 3.5.2020"],
        "other": ["k.txt", "l.jpg.json", "m.py"],
    }
    for name in (name for names in others.values() for name in names):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"no picture, but text")
    (folder / "link.jpg").symlink_to(folder / "a.jpg")
    (folder / "linked").symlink_to(folder / "sub")
    (folder / ".hidden.mp4").write_bytes(b"")
    os.mkfifo(folder / "pipe.jpg")
    listing = scan(folder, exclude=["m.py"])
    assert set(listing.entries) == {"a.jpg"}
    counts = {kind: len(names) for kind, names in others.items()}
    assert listing.left_out == {**counts, "link": 2}  # m.py is excluded, the pipe is another file


@pytest.mark.parametrize("installed", [True, False])
def test_films_are_listed_where_they_can_be_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch, installed: bool
) -> None:
    monkeypatch.setattr(films, "IS_INSTALLED", installed)
    names = {"d.mp4", "e.MOV"}
    for name in (*names, "d.srt", "d.xmp"):
        (folder / name).write_bytes(b"")
    listing = scan(folder)
    assert set(listing.sidecars) == ({"d.srt", "d.xmp"} if installed else {"d.xmp"})
    assert set(listing.entries) == (names if installed else set())
    assert listing.left_out == ({} if installed else {"film": 2, "other": 1})


ODD_NAMES = [
    "no suffix",
    "IMG_0001",
    "x.jpg?name=large",
    "x.jpg_large",
    "x.jpg ",
    "x.jpeg!d",
    "x.JPG:orig",
    "x.jpg.1",
    "x.jfif",
    "x.pjpeg",
    "picnic of 3.5.2020",
    "Mr. Smith and a dog",
]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_file_with_an_odd_name_is_listed_if_it_begins_as_a_picture(
    folder: Path, name: str
) -> None:
    paint(folder / name, 1)
    assert set(scan(folder).entries) == {name}
    (folder / name).write_bytes(b"something else")
    is_read = name.endswith((".jfif", ".pjpeg"))  # decoding says why they are no pictures
    assert set(scan(folder).entries) == ({name} if is_read else set())


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "HEIF", "AVIF"])
def test_every_format_is_told_by_its_first_bytes(folder: Path, kind: str) -> None:
    Image.new("RGB", (32, 32), "red").save(folder / "x", kind)
    assert set(scan(folder).entries) == {"x"}


def test_a_file_that_cannot_be_opened_stays_listed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be in the catalog, and be readable again later."""
    paint(folder / "x", 1)

    def refuse(path: str, *_: object) -> int:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr("search.indexing.kinds.os.open", refuse)
    assert set(scan(folder).entries) == {"x"}


# Links


def test_links_are_followed_on_request_and_no_folder_is_listed_twice(
    folder: Path, tmp_path: Path
) -> None:
    paint(folder / "real" / "a.jpg", 1)
    paint(tmp_path / "away" / "b.jpg", 2)
    paint(tmp_path / "single.jpg", 3)
    (folder / "again").symlink_to(folder / "real")
    (folder / "away").symlink_to(tmp_path / "away")
    (tmp_path / "away" / "back").symlink_to(folder)
    (folder / "single.jpg").symlink_to(tmp_path / "single.jpg")
    (folder / "broken.jpg").symlink_to(tmp_path / "nothing.jpg")
    (folder / "loop").symlink_to(folder / "loop")
    (folder / "zero.jpg").symlink_to("/dev/zero")
    listing = scan(folder, follow_links=True)
    assert set(listing.entries) == {"real/a.jpg", "away/b.jpg", "single.jpg"}
    assert listing.left_out == {"link": 2, "other": 1}
    listing = scan(folder)
    assert set(listing.entries) == {"real/a.jpg"} and listing.left_out == {"link": 6}


# Default exclusions


SYSTEM = [
    "@eaDir/a.jpg/SYNOPHOTO_THUMB_XL.jpg",
    "#recycle/a.jpg",
    "sub/$RECYCLE.BIN/S-1/a.jpg",
    "@Recycle/a.jpg",
    "__MACOSX/a.jpg",
    "System Volume Information/a.jpg",
    "Previews.lrdata/0/a.jpg",
    "Photos.photoslibrary/resources/derivatives/a.jpg",
    "venv/lib/python3.12/site-packages/matplotlib/a.jpg",
]


@pytest.mark.parametrize("path", SYSTEM)
def test_system_folders_are_left_out_by_default(folder: Path, path: str) -> None:
    paint(folder / "a.jpg", 1)
    paint(folder / path, 2)
    listing = scan(folder)
    assert set(listing.entries) == {"a.jpg"} and listing.left_out == {"system_folder": 1}
    assert set(scan(folder, default_excludes=False).entries) == {"a.jpg", path}


def test_the_originals_of_a_photo_library_are_listed(folder: Path) -> None:
    library = folder / "Photos.photoslibrary"
    for path in ("originals/0/a.jpg", "Masters/2019/b.jpg", "database/c.jpg"):
        paint(library / path, 1)
    names = {"originals/0/a.jpg", "Masters/2019/b.jpg"}
    assert set(scan(folder).entries) == {f"Photos.photoslibrary/{name}" for name in names}
    assert set(scan(library).entries) == names


def test_folders_without_media_and_other_libraries_are_left_out(folder: Path) -> None:
    for path in ("a.jpg", "cache/b.jpg", "cache/deep/c.jpg", "old library/thumbnails/d.webp"):
        paint(folder / path, 1)
    (folder / "cache" / ".nomedia").touch()
    (folder / "old library" / "catalog.sqlite").touch()
    assert set(scan(folder).entries) == {"a.jpg"}
    assert scan(folder).left_out == {"system_folder": 2}
    assert set(scan(folder / "cache").entries) == {"b.jpg", "deep/c.jpg"}  # it was named itself
    assert len(scan(folder, default_excludes=False).entries) == 4


def test_an_ignore_file_leaves_out_what_it_names(folder: Path) -> None:
    names = ["a.jpg", "raw/b.jpg", "sub/raw/c.jpg", "sub/d.jpg", "sub/deep/d.jpg", "sub/e_tmp.jpg"]
    for name in names:
        paint(folder / name, 1)
    (folder / "sub" / ".lookalikeignore").write_text("# drafts\n\n/raw/\r\n*_tmp.jpg\n/d.jpg\n")
    listed = {"a.jpg", "raw/b.jpg", "sub/deep/d.jpg"}
    assert set(scan(folder).entries) == listed
    assert set(scan(folder, within="sub/deep").entries) == {"sub/deep/d.jpg"}
    (folder / ".lookalikeignore").write_text("raw\ndeep/d.jpg\n*/deep")
    assert set(scan(folder).entries) == {"a.jpg"}


def test_pictures_are_counted_while_a_folder_is_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that progress has a number long before a large folder is listed."""
    monkeypatch.setattr("search.indexing.scan.STEP_SECONDS", 0.0)
    for number in range(3):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "a.jpg").touch()
    run = FolderScan(tmp_path, (), False, True)
    assert list(run.steps("")) == [1, 2, 3] and len(run.listing.entries) == 3
