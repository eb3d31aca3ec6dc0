"""Watching folders: what the system cannot watch is looked at, and files being written wait."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx
import pytest
from helpers.pictures import jpeg, paint
from helpers.project import ROOT
from helpers.serving import serving, until

from search import Engine, InputError
from search.api.jobs import Jobs
from search.api.watcher import watch_folders
from search.indexing.stillness import STILL_SECONDS, wait_until_still
from search.indexing.watch import watch
from search.records.indexing import Progress
from search.types import FileEntry, file_state

Open = Callable[..., Engine]

CHILD = """
import sys
from pathlib import Path
from search.indexing.watch import watch

folder, lines = Path(sys.argv[1]), []
changes = watch([folder], folder / "home", lines.append, poll_seconds=0.1)
print([next(changes) == folder for _ in range(3)], len(lines))
print(lines[0])
"""


@pytest.mark.parametrize("setting", ["max_user_watches", "max_user_instances"])
def test_folders_that_the_system_cannot_watch_are_looked_at(folder: Path, setting: str) -> None:
    for name in "abcd":
        (folder / name / "deep").mkdir(parents=True)
    limit = "max_inotify_watches" if "watches" in setting else "max_inotify_instances"
    number = "2" if "watches" in setting else "0"
    start = f'echo {number} > /proc/sys/user/{limit} && exec "$@"'
    command = ["unshare", "--user", "--map-root-user", "sh", "-c", start, "sh"]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"}
    can_limit = shutil.which("unshare") and not subprocess.run([*command, "true"]).returncode
    if not can_limit:
        pytest.skip("this system does not let a process limit its watches")
    done = subprocess.run(
        [*command, sys.executable, "-c", CHILD, str(folder)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=120,
    )
    first, line = done.stdout.splitlines()
    assert first == "[True, True, True] 1", done.stderr
    assert f"fs.inotify.{setting}" in line and "looked at every 0.1 s" in line


def test_another_error_is_an_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> Iterator[set[Any]]:
        raise OSError("the disk is on fire")

    monkeypatch.setattr("watchfiles.watch", fail)
    with pytest.raises(InputError, match="on fire"):
        next(watch([folder], folder / "home"))


def test_a_folder_that_may_not_be_read_does_not_keep_others_from_being_watched(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = import_module("watchfiles").watch

    def deny(*paths: Any, **options: Any) -> Iterator[set[Any]]:
        if not options["ignore_permission_denied"]:
            raise PermissionError("Permission denied")
        yield from real(*paths, **options)

    monkeypatch.setattr("watchfiles.watch", deny)
    changes = watch([folder], folder / "home")
    assert next(changes) == folder
    (folder / "a.jpg").touch()
    assert next(changes) == folder


def test_folders_that_come_later_are_watched_too(tmp_path: Path) -> None:
    stop, folders = threading.Event(), [tmp_path / "a"]
    for name in "ab":
        (tmp_path / name).mkdir()
    changes = watch(lambda: list(folders), tmp_path / "home", stop=stop)
    assert next(changes) == tmp_path / "a"
    folders.append(tmp_path / "b")
    assert [next(changes), next(changes)] == [tmp_path / "a", tmp_path / "b"]
    (tmp_path / "b" / "x.jpg").touch()
    assert next(changes) == tmp_path / "b"
    stop.set()
    assert list(changes) == []


# files that are being written ------------------------------------------------------------------


def entry_of(path: Path) -> FileEntry:
    return FileEntry(path.name, *file_state(path.stat()))


def test_a_file_that_is_being_written_waits(folder: Path) -> None:
    entries = [entry_of(paint(folder / f"{n}.jpg", n)) for n in range(4)]
    sleeps = list[float]()

    def sleep(seconds: float) -> None:
        sleeps.append(seconds)
        with (folder / "1.jpg").open("ab") as file:  # its writer goes on
            file.write(b"more")
        (folder / "2.jpg").unlink()

    now = time.time()
    still = wait_until_still(str(folder), entries, lambda: now, sleep)
    assert [entry.path for entry in still] == ["0.jpg", "3.jpg"] and sleeps == [STILL_SECONDS]


@pytest.mark.parametrize("age", [STILL_SECONDS + 1, -3600])
def test_nothing_is_waited_for_that_is_old_or_dated_in_the_future(folder: Path, age: float) -> None:
    entries = [entry_of(paint(folder / "a.jpg", 1))]
    now = entries[0].ctime_ns / 1e9 + age

    def sleep(_: float) -> None:
        raise AssertionError("it waited")

    assert wait_until_still(str(folder), entries, lambda: now, sleep) == entries


def test_a_half_written_picture_is_not_read(
    engine: Engine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = jpeg(1)
    (folder / "a.jpg").write_bytes(data[:400])

    def go_on(_: str, entries: list[FileEntry]) -> list[FileEntry]:
        def sleep(_: float) -> None:
            (folder / "a.jpg").write_bytes(data)

        return wait_until_still(str(folder), entries, sleep=sleep)

    monkeypatch.setattr("search.indexing.sync.wait_until_still", go_on)
    *_, last = engine.index(folder, still=True)
    assert last.report is not None and last.report.skipped == () and last.report.added == 0
    assert engine.sync(folder).added == 1


# the server ------------------------------------------------------------------------------------


def count_pictures(client: httpx.Client) -> int:
    count: int = client.get("/api/v1/status").json()["pictures"]
    return count


def is_watched(client: httpx.Client) -> bool:
    (root,) = client.get("/api/v1/status").json()["roots"]
    watched: bool = root["watched"]
    return watched


def test_a_server_follows_its_folders(engine: Engine, folder: Path) -> None:
    paint(folder / "a.jpg", 1)
    engine.sync(folder)
    paint(folder / "b.jpg", 2)  # while no server ran
    with serving(engine, watch=True) as client:
        until(lambda: count_pictures(client) == 2, 60)
        assert is_watched(client)
        client.patch("/api/v1/folders", json={"path": str(folder), "sync_hours": 0})
        assert not is_watched(client)
        client.patch("/api/v1/folders", json={"path": str(folder), "sync_hours": None})
        paint(folder / "c.jpg", 3)
        until(lambda: count_pictures(client) == 3, 60)
        (folder / "a.jpg").unlink()
        until(lambda: count_pictures(client) == 2, 60)
    with serving(engine) as client:
        jobs = client.get("/api/v1/jobs").json()  # of the server before
        paint(folder / "d.jpg", 4)
        assert not is_watched(client)
        assert client.get("/api/v1/jobs").json() == jobs


def test_a_folder_whose_job_was_cancelled_waits_for_the_user(
    engine: Engine, tmp_path: Path
) -> None:
    folders = [str(tmp_path / name) for name in ("a", "b", "c")]
    for place in folders:
        os.mkdir(place)
        paint(Path(place, "a.jpg"), 1)
        engine.sync(place)
    jobs = Jobs()
    begun = threading.Event()

    def list_forever() -> Iterator[Progress]:
        while True:
            begun.set()
            yield Progress("scan", 0, 0)

    job = jobs.start("index", folders[1], folders[1], list_forever)
    begun.wait(60)
    assert not jobs.is_cancelled("index", folders[1])
    watcher = watch_folders(engine, jobs)
    jobs.cancel(job.id)
    until(lambda: jobs.get(job.id).over, 60)
    watcher.start()  # which looks at every folder once, in their order
    try:
        until(lambda: {one.path for one in jobs.all()} == set(folders), 60)
        assert len(jobs.all()) == 3
        again = jobs.start("index", folders[1], folders[1], lambda: engine.index(folders[1]))
        until(lambda: jobs.get(again.id).over, 60)
        assert not jobs.is_cancelled("index", folders[1])
    finally:
        watcher.stop()
        jobs.close()


@pytest.mark.skipif(sys.platform != "linux", reason="names are Unicode on this system")
@pytest.mark.parametrize("where", ["", "in"])
def test_folders_that_are_not_utf_8_are_looked_at_again_and_again(
    tmp_path: Path, where: str
) -> None:
    root, odd = tmp_path / "root", os.fsdecode(b"caf\xe9")
    root = root if where else tmp_path / odd
    (root / where / odd).mkdir(parents=True)
    lines, stop = list[str](), threading.Event()
    changes = watch([root], tmp_path / "home", lines.append, stop, poll_seconds=3600)
    assert next(changes) == root  # at once, for changes before
    stop.set()
    assert list(changes) == []
    again = watch([root], tmp_path / "home", lambda _: None, poll_seconds=0.01)
    assert [next(again) for _ in range(3)] == [root] * 3
    assert len(lines) == 1 and "not UTF-8" in lines[0]
