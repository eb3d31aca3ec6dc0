"""Files are written completely or not at all."""

from __future__ import annotations

import errno
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from search import files


def test_a_file_is_made_with_its_folder_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "x"
    files.write(path, b"first")
    files.write(path, b"second", durable=True)
    assert path.read_bytes() == b"second" and list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("durable", [False, True])
def test_a_full_disk_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durable: bool
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "x"
    files.write(path, b"first")
    monkeypatch.setattr(os, "fsync" if durable else "replace", full)
    with pytest.raises(OSError, match="No space left"):
        files.write(path, b"second", durable)
    assert path.read_bytes() == b"first" and list(tmp_path.iterdir()) == [path]


def test_threads_that_write_the_same_file_do_not_meet(tmp_path: Path) -> None:
    path, barrier = tmp_path / "x", Barrier(2, timeout=30)

    def write(data: bytes) -> bytes:
        with files.open_partial(path) as partial:
            partial.write_bytes(data)
            barrier.wait()
            return partial.read_bytes()

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(write, [b"one", b"two"])) == [b"one", b"two"]
    assert list(tmp_path.iterdir()) == []


def test_a_name_as_long_as_names_may_be_is_written(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 255)
    files.write(path, b"x")
    assert path.read_bytes() == b"x"


def test_incomplete_files_go_once_they_are_old(tmp_path: Path) -> None:
    old, new = tmp_path / "a" / ".1-2.part", tmp_path / "a" / ".3-4.part"
    plain = tmp_path / "a" / "song.part"
    old.parent.mkdir()
    for path in (old, new, plain):
        path.write_bytes(b"half")
    for path in (old, plain):
        os.utime(path, (0, 0))
    files.delete_partials(tmp_path)
    assert not old.exists() and new.exists() and plain.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="names are Unicode on this system")
def test_a_shown_path_is_read_back(tmp_path: Path) -> None:
    for name in (b"caf\xe9", "照片".encode("gbk"), b"\xff\xfe\x80", b"a\xe9b\xc3\xa9"):
        path = os.fsdecode(name)
        assert files.parse_shown(files.shown(path)) == path
    for text in ("café", r"\xc3\xa9", r"\x41", r"\xE9", "\\", "\ud800\\xe9"):
        assert files.parse_shown(text) == text  # `shown` returns none of these for other paths
    byte, text = tmp_path / os.fsdecode(b"\xe9"), tmp_path / r"\xe9"
    assert files.find_shown(str(text)) == str(byte)
    text.touch()
    assert files.find_shown(str(text)) == str(text)
