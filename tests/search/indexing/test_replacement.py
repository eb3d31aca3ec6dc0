"""Removal of duplicates: what goes to the bin, what stays, and what comes back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.duplicates import Album, turn

from search import Engine, InputError, NotFoundError
from search.records.annotations import Change
from search.records.duplicates import DuplicateGroup, FileOfPicture, Replacement

BOTH = pytest.mark.catalogs("sqlite", "postgresql")


@pytest.fixture
def album(engine: Engine, folder: Path, tmp_path: Path) -> Album:
    return Album(engine, folder, tmp_path / "other")


def list_files(folder: Path) -> list[str]:
    return sorted(str(one.relative_to(folder)) for one in folder.rglob("*") if one.is_file())


@BOTH
def test_all_files_but_one_of_a_picture_go_and_come_back(
    album: Album, folder: Path, bin_folder: Path
) -> None:
    engine = album.engine
    for name in ("a.jpg", "b/a.jpg", "b/c/a.jpg"):
        identity = album.add(folder / name, turn(1), "a")
    before = list_files(folder)
    removal = engine.remove_duplicates(engine.duplicates("exact"))
    assert (removal.ids, removal.files, removal.failed) == ((), 2, ())
    assert list_files(folder) == ["a.jpg"] and len(list_files(bin_folder)) == 2
    assert engine.picture(identity).paths == (str(folder / "a.jpg"),)
    assert engine.duplicates("exact").groups == ()
    restored = engine.undo_removal(str(removal.undo))
    assert restored.ids == (identity,) and list_files(folder) == before
    assert len(engine.duplicates("exact").groups[0].pictures) == 3


@BOTH
def test_what_is_said_of_the_removed_goes_to_the_kept(
    album: Album, folder: Path, bin_folder: Path
) -> None:
    engine = album.engine
    keeper = album.add(folder / "large.jpg", turn(1), size=(800, 600))
    one = album.add(folder / "small.jpg", turn(0.99))
    two = album.add(folder / "smaller.jpg", turn(0.98), size=(200, 150))
    engine.tags.change([keeper], Change(add_tags=("sea",), rating=3, album="2023"))
    change = Change(add_tags=("sea", "beach"), rating=5, favourite=True, caption="us", album="2024")
    engine.tags.change([one], change)
    engine.tags.change([two], Change(add_tags=("sun",), rating=1, caption="late", album="2025"))
    before = engine.picture(keeper).annotations
    removal = engine.remove_duplicates(engine.duplicates("copy"))
    assert set(removal.ids) == {one, two}
    now = engine.picture(keeper).annotations
    assert set(now.tags) == {"sea", "beach", "sun"} and now.rating == 5 and now.favourite
    assert now.caption == "us" and {a.name for a in now.albums} == {"2023", "2024", "2025"}
    engine.undo_removal(str(removal.undo))
    assert engine.picture(keeper).annotations == before
    again = engine.picture(one).annotations
    assert set(again.tags) == {"sea", "beach"} and again.rating == 5 and again.caption == "us"
    assert len(engine.duplicates("copy").groups[0].pictures) == 3


def test_a_picture_that_keeps_a_file_keeps_what_is_said_of_it(
    album: Album, folder: Path, bin_folder: Path
) -> None:
    """Its files in one folder go; the other one stays, with the tags."""
    engine = album.engine
    keeper = album.add(folder / "large.jpg", turn(1), size=(800, 600))
    one = album.add(folder / "small.jpg", turn(0.99), "s")
    album.add(folder.parent / "other" / "small.jpg", turn(0.99), "s")
    engine.tags.add([one], ["beach"])
    removal = engine.remove_duplicates(engine.duplicates("copy", folder=folder))
    assert (removal.ids, removal.files) == ((), 1)
    assert engine.picture(one).tags == ("beach",) and engine.picture(keeper).tags == ()


@pytest.mark.parametrize("is_gone", [False, True])
def test_nothing_goes_if_the_kept_file_is_not_as_it_was(
    album: Album, folder: Path, bin_folder: Path, is_gone: bool
) -> None:
    engine = album.engine
    for name in ("a.jpg", "bb.jpg"):
        album.add(folder / name, turn(1), "a")
    listed = engine.duplicates("exact")
    keeper = Path(listed.groups[0].pictures[0].path)
    if is_gone:
        keeper.unlink()
    else:  # the same size and time, but for its content
        stat = keeper.stat()
        keeper.write_bytes(b"b")
        import os

        os.utime(keeper, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    removal = engine.remove_duplicates(listed)
    assert (removal.files, removal.undo) == (0, None)
    assert [(one.path, one.code) for one in removal.failed] == [
        (str(folder / "bb.jpg"), "file_changed")
    ]
    assert "a.jpg is to be kept" in removal.failed[0].reason
    assert (folder / "bb.jpg").exists()


def test_a_changed_file_stays_and_the_others_go(
    album: Album, folder: Path, bin_folder: Path
) -> None:
    engine = album.engine
    for name in ("a.jpg", "bb.jpg", "ccc.jpg"):
        album.add(folder / name, turn(1), "a")
    listed = engine.duplicates("exact")
    (folder / "bb.jpg").write_bytes(b"edited since")
    removal = engine.remove_duplicates(listed)
    assert removal.files == 1 and [one.code for one in removal.failed] == ["file_changed"]
    assert list_files(folder) == ["a.jpg", "bb.jpg"]


def test_nothing_is_removed_twice(album: Album, folder: Path, bin_folder: Path) -> None:
    engine = album.engine
    for name in ("a.jpg", "bb.jpg"):
        album.add(folder / name, turn(1), "a")
    listed = engine.duplicates("exact")
    assert engine.remove_duplicates([*listed.groups, *listed.groups]).files == 1
    again = engine.remove_duplicates(listed)
    assert again.files == 0 and [one.code for one in again.failed] == ["not_found"]
    assert list_files(folder) == ["a.jpg"]


def test_wrong_replacements_are_refused(album: Album, folder: Path, bin_folder: Path) -> None:
    engine = album.engine
    one = FileOfPicture(album.add(folder / "a.jpg", turn(1), "a"), str(folder / "a.jpg"))
    two = FileOfPicture(album.add(folder / "b.jpg", turn(1), "a"), str(folder / "b.jpg"))
    for wrong in ([Replacement(one, (one,))], [Replacement(one, (two,)), Replacement(two, (one,))]):
        with pytest.raises(InputError, match="kept and removed"):
            engine.remove_duplicates(wrong)
    with pytest.raises(NotFoundError):
        engine.remove_duplicates([Replacement(one, (FileOfPicture("0" * 64, two.path),))])
    assert list_files(folder) == ["a.jpg", "b.jpg"]


def test_a_folder_that_is_not_allowed_keeps_its_files(
    album: Album, folder: Path, tmp_path: Path, bin_folder: Path
) -> None:
    engine, other = album.engine, tmp_path / "other"
    album.add(folder / "a.jpg", turn(1), "a")
    album.add(other / "aa.jpg", turn(1), "a")
    removal = engine.remove_duplicates(
        engine.duplicates("exact", keep=f"folder:{folder}"), lambda root: root == str(folder)
    )
    assert [one.code for one in removal.failed] == ["folder_not_allowed"] and removal.files == 0


def test_groups_without_an_offer_change_nothing(album: Album, folder: Path) -> None:
    album.add(folder / "a.jpg", turn(1))
    album.add(folder / "b.jpg", turn(0.99), look=1)
    groups: tuple[DuplicateGroup, ...] = album.engine.duplicates().groups
    assert [one.replacement for one in groups] == [None]
    assert album.engine.remove_duplicates(groups).files == 0


def test_who_sees_a_part_removes_files_of_it(
    album: Album, folder: Path, tmp_path: Path, bin_folder: Path, library: Callable[..., Engine]
) -> None:
    other = tmp_path / "other"
    identity = album.add(other / "a.jpg", turn(1), "a")
    keeper = FileOfPicture(identity, str(folder / "a.jpg"))
    album.add(folder / "a.jpg", turn(1), "a")
    view = album.engine.within([str(folder)])
    gone = FileOfPicture(identity, str(other / "a.jpg"))
    removal = view.remove_duplicates([Replacement(keeper, (gone,))])
    assert [one.code for one in removal.failed] == ["not_found"] and (other / "a.jpg").exists()
