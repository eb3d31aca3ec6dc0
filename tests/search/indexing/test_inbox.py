"""The inbox: a folder whose new pictures are copied into the library."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.pictures import identity, jpeg, paint
from helpers.serving import serving, until

from search import Engine, InputError
from search.errors import StorageError
from search.indexing import inbox as module, stillness
from search.types import FileEntry

OLD = (1_700_000_000, 1_700_000_000)


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    place = tmp_path / "inbox"
    place.mkdir()
    return place


def put(path: Path, seed: int) -> Path:
    """Put a picture there that was written long ago."""
    paint(path, seed)
    os.utime(path, OLD)
    return path


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take files at once: a file of a test has just been written."""
    monkeypatch.setattr(stillness, "STILL_SECONDS", 0.0)


def test_new_pictures_are_kept_and_their_files_stay(
    library: Callable[..., Engine], inbox: Path, bin_folder: Path
) -> None:
    engine = library(inbox=inbox)
    first, second = put(inbox / "a b.jpg", 1), put(inbox / "sub" / "2.JPG", 2)
    put(inbox / ".hidden.jpg", 3)
    (inbox / "notes.txt").write_text("no picture")
    (inbox / "half.jpg.part").write_bytes(jpeg(4))
    (inbox / "link.jpg").symlink_to(first)
    before = {path: path.read_bytes() for path in inbox.rglob("*") if path.is_file()}
    report = engine.take_inbox()
    assert (report.kept, report.known, report.failed) == (2, 0, ())
    assert {path: path.read_bytes() for path in before} == before
    picture = engine.picture(identity(1))
    assert picture.original_name == "a b.jpg" and picture.path.startswith(f"{engine.home}/kept/")
    assert engine.search(jpeg(2))[0].id == identity(2)
    assert engine.take_inbox().kept == 0
    second.unlink()  # the copy in the library stays
    assert engine.take_inbox().to_json() == {"kept": 0, "known": 0, "failed": []}
    assert engine.status().pictures == 2
    engine.delete(identity(1))
    assert engine.take_inbox().kept == 0 and engine.status().pictures == 1  # it does not come back
    again = library(inbox=inbox)
    assert again.take_inbox().kept == 0
    put(first, 5)
    os.utime(first)  # another picture under the same name
    assert again.take_inbox().kept == 1
    assert again.status().inbox.to_json() == {  # type: ignore[union-attr]
        "path": str(inbox),
        "state": "online",
        "done": 1,
        "failed": [],
    }


def test_what_cannot_be_kept_is_named_once(library: Callable[..., Engine], inbox: Path) -> None:
    engine = library(inbox=inbox, max_bytes=200_000)
    (inbox / "bad.jpg").write_bytes(b"no picture")
    (inbox / "large.png").write_bytes(bytes(200_001))
    put(inbox / "good.jpg", 1)
    report = engine.take_inbox()
    assert report.kept == 1
    assert {Path(one.path).name: one.code for one in report.failed} == {
        "bad.jpg": "not_a_picture",
        "large.png": "input_invalid",
    }
    assert engine.take_inbox().failed == ()
    status = engine.status().inbox
    assert status is not None and status.done == 1
    assert [Path(one.path).name for one in status.failed] == ["bad.jpg", "large.png"]
    put(inbox / "bad.jpg", 2)
    assert engine.take_inbox().kept == 1
    assert len(engine.status().inbox.failed) == 1  # type: ignore[union-attr]


def test_files_are_moved_if_the_user_wants_it(library: Callable[..., Engine], inbox: Path) -> None:
    engine = library(inbox=inbox, inbox_move=True)
    for seed in (1, 2):
        put(inbox / "sub" / "a.jpg", seed)
        assert engine.take_inbox().kept == 1
    moved = sorted(str(path.relative_to(inbox)) for path in inbox.rglob("*.jpg"))
    assert moved == ["done/sub/a (2).jpg", "done/sub/a.jpg"]
    assert (inbox / "done" / "sub" / "a (2).jpg").read_bytes() == jpeg(2)
    assert engine.take_inbox().known == 0
    put(inbox / "b.jpg", 1)  # the library has it
    report = engine.take_inbox()
    assert (report.kept, report.known) == (0, 1) and not (inbox / "b.jpg").exists()


def test_a_file_that_is_being_written_is_left_for_later(inbox: Path, tmp_path: Path) -> None:
    names = list[str]()

    def keep(data: bytes, name: str, source: str | None) -> bool:
        names.append(name)
        return True

    def wait(folder: str, entries: list[FileEntry]) -> list[FileEntry]:
        assert folder == str(inbox)
        return [one for one in entries if one.path != "growing.jpg"]

    put(inbox / "growing.jpg", 1), put(inbox / "whole.jpg", 2)
    state = tmp_path / "state.json"
    module.Inbox(inbox, state, 10**6, wait=wait).take(keep)  # type: ignore[arg-type]
    assert names == ["whole.jpg"]
    module.Inbox(inbox, state, 10**6).take(keep)
    assert names == ["whole.jpg", "growing.jpg"]
    state.write_text("damaged")
    module.Inbox(inbox, state, 10**6).take(keep)
    assert len(names) == 4


def test_a_failure_of_the_library_is_tried_again(inbox: Path, tmp_path: Path) -> None:
    one = module.Inbox(inbox, tmp_path / "state.json", 10**6)
    for seed in (1, 2):
        put(inbox / f"{seed}.jpg", seed)
    calls = list[str]()

    def keep(data: bytes, name: str, source: str | None) -> bool:
        calls.append(name)
        if len(calls) == 2:
            raise StorageError("the disk is full")
        return True

    with pytest.raises(StorageError):
        one.take(keep)
    assert one.take(keep).kept == 1 and calls == ["1.jpg", "2.jpg", "2.jpg"]


def test_an_inbox_that_cannot_be_is_refused(
    library: Callable[..., Engine], inbox: Path, home: Path, folder: Path
) -> None:
    with pytest.raises(InputError, match="no inbox"):
        library().take_inbox()
    paint(folder / "1.jpg", 1)
    library().sync(folder)
    (folder / "in").mkdir()
    for place in (folder, folder / "in", home, home / "in"):
        with pytest.raises(InputError, match="name another folder"):
            library(inbox=place).take_inbox()
    engine = library(inbox=inbox / "none")
    with pytest.raises(InputError, match="is not there"):
        engine.take_inbox()
    assert engine.status().inbox.state == "offline"  # type: ignore[union-attr]
    assert library().status().inbox is None


def test_the_source_of_a_download_is_kept(library: Callable[..., Engine], inbox: Path) -> None:
    path = put(inbox / "1.jpg", 1)
    try:
        os.setxattr(path, "user.xdg.origin.url", b"https://example.org/1.jpg")
        os.setxattr(path, "user.xdg.referrer.url", b"https://me:secret@example.org/birds#top")
    except (OSError, AttributeError):
        pytest.skip("this file system has no extended attributes")
    engine = library(inbox=inbox)
    engine.take_inbox()
    assert engine.picture(identity(1)).source_url == "https://example.org/birds"


def test_a_server_takes_what_is_put_there(library: Callable[..., Engine], inbox: Path) -> None:
    engine = library(inbox=inbox)
    put(inbox / "1.jpg", 1)
    with serving(engine) as client:

        def has(seed: int) -> bool:
            return client.get(f"/api/v1/images/{identity(seed)}").is_success

        until(lambda: has(1), 60)
        put(inbox / "2.jpg", 2)
        until(lambda: has(2), 60)
        until(lambda: client.get("/api/v1/status").json()["inbox"]["done"] == 2, 60)
        status = client.get("/api/v1/status").json()
        assert json.dumps(status["inbox"]) == json.dumps(engine.status().to_json()["inbox"])
