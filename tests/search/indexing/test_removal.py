"""Pictures that go to the bin and come back, and what stays where it is."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from helpers.pictures import identity, jpeg, paint

from search import Engine, InputError, NotFoundError
from search.catalog.removals import SECONDS
from search.indexing.system_bin import move_back, move_to_bin

ODD = os.fsdecode(b"50% caf\xe9 \n\xf0\x9f\x90\xb1.jpg")  # no UTF-8, and what is quoted


def list_files(folder: Path) -> list[str]:
    return sorted(str(one.relative_to(folder)) for one in folder.rglob("*") if one.is_file())


@pytest.mark.catalogs("sqlite", "postgresql")
def test_all_files_of_pictures_go_to_the_bin_and_come_back(
    engine: Engine, folder: Path, bin_folder: Path
) -> None:
    paint(folder / "a" / "1.jpg", 1)
    paint(folder / "b" / "1.jpg", 1)
    paint(folder / ODD, 2)
    paint(folder / "3.jpg", 3)
    engine.sync(folder)
    upload = engine.keep(jpeg(4), "4.jpg")
    engine.tags.add([identity(1)], ["beach"])
    before = list_files(folder)
    removal = engine.remove([identity(1)[:8], identity(1), identity(2), identity(4)])
    assert set(removal.ids) == {identity(1), identity(2), identity(4)}
    assert (removal.files, removal.failed) == (4, ())
    assert list_files(folder) == ["3.jpg"] and not Path(upload.path).exists()
    assert len(list_files(bin_folder)) == 4
    assert [one.id for one in engine.pictures().pictures] == [identity(3)]
    assert [hit.id for hit in engine.search(image=jpeg(1), k=9)] == [identity(3)]
    assert engine.sync(folder).removed == 0  # it is done already
    restored = engine.undo_removal(str(removal.undo))
    assert set(restored.ids) == set(removal.ids) and restored.failed == ()
    assert list_files(folder) == before and list_files(bin_folder) == []
    assert list_files(bin_folder.parent / "info") == []
    picture = engine.picture(identity(1))
    assert picture.tags == ("beach",) and len(picture.paths) == 2
    assert engine.search(image=jpeg(2))[0].id == identity(2)
    report = engine.sync(folder)
    assert (report.added, report.unchanged, report.embedded) == (0, 4, 0)
    assert engine.check(deep=True).problems == ()
    with pytest.raises(NotFoundError, match="could be undone"):
        engine.undo_removal(str(removal.undo))


def test_an_unknown_picture_lets_all_stay(engine: Engine, folder: Path, bin_folder: Path) -> None:
    paint(folder / "1.jpg", 1)
    engine.sync(folder)
    with pytest.raises(NotFoundError):
        engine.remove([identity(1), "0" * 64])
    assert list_files(folder) == ["1.jpg"] and not bin_folder.exists()


Spoil = Callable[[Path, pytest.MonkeyPatch], None]


def change(path: Path, _: pytest.MonkeyPatch) -> None:
    path.write_bytes(jpeg(9))


def delete(path: Path, _: pytest.MonkeyPatch) -> None:
    path.unlink()


def replace_by_link(path: Path, _: pytest.MonkeyPatch) -> None:
    path.rename(path.with_suffix(".old"))
    path.symlink_to(path.with_suffix(".old"))


def refuse(number: int) -> Spoil:
    """Let the system refuse to move the file, as it does in a folder that cannot be written."""

    def spoil(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        real = os.rename

        def rename(source: Any, target: Any, **more: Any) -> None:
            if os.fspath(source) == os.fsencode(path):
                raise OSError(number, os.strerror(number), source)
            real(source, target, **more)

        monkeypatch.setattr("send2trash.plat_other.os.rename", rename)

    return spoil


def without_bin(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the file on another file system, where no bin can be made."""
    trash = import_module("send2trash.plat_other")
    real = trash.get_dev
    monkeypatch.setattr(trash, "get_dev", lambda one: 7 if one == os.fsencode(path) else real(one))
    monkeypatch.setattr(trash, "find_mount_point", lambda _: os.fsencode(path))

    def find(_: bytes) -> bytes:
        raise trash.TrashPermissionError(b"/mnt/.Trash-0")

    monkeypatch.setattr(trash, "find_ext_volume_trash", find)


@pytest.mark.parametrize(
    ("spoil", "code", "reason"),
    [
        (change, "file_changed", "not as it was indexed"),
        (delete, "file_changed", "not as it was indexed"),
        (replace_by_link, "file_changed", "not as it was indexed"),
        (refuse(errno.EACCES), "storage_failed", "Permission denied"),
        (refuse(errno.EROFS), "storage_failed", "Read-only"),
        (without_bin, "storage_failed", "delete the file yourself"),
    ],
)
def test_a_file_that_cannot_be_moved_is_named_and_the_others_are_moved(
    engine: Engine,
    folder: Path,
    bin_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    spoil: Spoil,
    code: str,
    reason: str,
) -> None:
    for seed in range(1, 4):
        paint(folder / f"{seed}.jpg", seed)
    paint(folder / "copy of 2.jpg", 2)
    engine.sync(folder)
    spoil(folder / "2.jpg", monkeypatch)
    before = {one: one.read_bytes() for one in folder.iterdir()}
    removal = engine.remove([identity(seed) for seed in range(1, 4)])
    assert set(removal.ids) == {identity(1), identity(3)} and removal.files == 3
    (failed,) = removal.failed
    assert (failed.path, failed.code) == (str(folder / "2.jpg"), code) and reason in failed.reason
    assert list_files(bin_folder) == ["1.jpg", "3.jpg", "copy of 2.jpg"]
    assert len(list_files(bin_folder.parent / "info")) == 3
    left = {one: data for one, data in before.items() if one.name[0] == "2"}
    assert {one: one.read_bytes() for one in folder.iterdir()} == left
    assert engine.picture(identity(2)).paths == (str(folder / "2.jpg"),)
    assert len(engine.undo_removal(str(removal.undo)).ids) == 3


def test_a_folder_that_is_not_allowed_keeps_its_files(
    engine: Engine, folder: Path, tmp_path: Path, bin_folder: Path
) -> None:
    paint(folder / "1.jpg", 1)
    paint(tmp_path / "other" / "1.jpg", 1)
    engine.sync(folder)
    engine.sync(tmp_path / "other")
    removal = engine.remove([identity(1)], lambda root: root == str(folder))
    assert (removal.ids, removal.files) == ((), 1)
    assert [(one.path, one.code) for one in removal.failed] == [
        (str(tmp_path / "other" / "1.jpg"), "folder_not_allowed")
    ]
    refused = engine.undo_removal(str(removal.undo), lambda root: False)
    assert [one.code for one in refused.failed] == ["folder_not_allowed"]
    assert engine.undo_removal(str(removal.undo)).ids == (identity(1),)


def test_what_cannot_be_taken_back_is_named_and_tried_again(
    engine: Engine, folder: Path, bin_folder: Path
) -> None:
    for seed in range(1, 5):
        paint(folder / "in" / f"{seed}.jpg", seed)
    engine.sync(folder)
    removal = engine.remove([identity(seed) for seed in range(1, 5)])
    (folder / "in").rmdir()
    blocking = paint(folder / "in" / "1.jpg", 8)
    (bin_folder / "2.jpg").unlink()
    paint(bin_folder / "3.jpg", 9, "another file of that name")
    restored = engine.undo_removal(str(removal.undo))
    assert restored.ids == (identity(4),)
    reasons = [one.reason for one in restored.failed]
    for reason, part in zip(
        reasons, ("another file is at", "No such file", "in the bin at"), strict=True
    ):
        assert part in reason
    assert blocking.read_bytes() == jpeg(8) and (bin_folder / "1.jpg").read_bytes() == jpeg(1)
    blocking.unlink()
    assert engine.undo_removal(str(removal.undo)).ids == (identity(1),)
    assert blocking.read_bytes() == jpeg(1)
    shutil.rmtree(folder)
    assert "is not there" in engine.undo_removal(str(removal.undo)).failed[0].reason
    assert not folder.exists()


def test_a_removal_is_forgotten_in_time(
    engine: Engine, folder: Path, bin_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(1, 3):
        paint(folder / f"{seed}.jpg", seed)
    engine.sync(folder)
    first = engine.remove([identity(1)])
    later = engine.library.catalog.now() + SECONDS + 1
    monkeypatch.setattr(engine.library.catalog, "_clock", lambda: later)
    second = engine.remove([identity(2)])
    with pytest.raises(NotFoundError):
        engine.undo_removal(str(first.undo))
    assert engine.undo_removal(str(second.undo)).ids == (identity(2),)


def test_a_picture_that_the_catalog_lost_is_back_after_a_sync(
    engine: Engine, folder: Path, bin_folder: Path
) -> None:
    paint(folder / "1.jpg", 1)
    engine.sync(folder)
    removal = engine.remove([identity(1)])
    catalog = engine.library.catalog
    catalog.purge(list(catalog.row_ids([identity(1)]).values()))
    assert engine.undo_removal(str(removal.undo)).ids == (identity(1),)
    assert engine.status().pictures == 0
    assert engine.sync(folder).added == 1


def test_a_bin_that_does_not_tell_has_no_undo(
    engine: Engine, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bin_folder: Path
) -> None:
    paint(folder / "1.jpg", 1)
    engine.sync(folder)
    away = tmp_path / "away.jpg"
    monkeypatch.setattr("send2trash.send2trash", lambda path: os.rename(path, away))
    removal = engine.remove([identity(1)])
    assert (removal.ids, removal.undo) == ((identity(1),), None) and away.exists()


def test_many_pictures_are_refused_at_once(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("search.indexing.removal.MOST_PICTURES", 0)
    engine.keep(jpeg(1))
    with pytest.raises(InputError, match="split it"):
        engine.remove([identity(1)])


def test_a_file_comes_back_over_file_systems(
    tmp_path: Path, bin_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = paint(tmp_path / "1.jpg", 1)
    os.utime(path, ns=(10**18, 10**18))
    (left,) = move_to_bin([str(path)]).bin_paths.values()

    def refuse(*_: Any) -> None:
        raise OSError(errno.EXDEV, "another file system")

    with monkeypatch.context() as patched:
        patched.setattr("search.indexing.system_bin.os.replace", refuse)
        with monkeypatch.context() as full:
            full.setattr("shutil.copy2", refuse)
            with pytest.raises(OSError, match="another"):
                move_back(str(left), str(path))
        assert not path.exists() and Path(str(left)).exists()
        move_back(str(left), str(path))
    assert path.read_bytes() == jpeg(1) and path.stat().st_mtime_ns == 10**18
    assert list_files(bin_folder.parent) == []
