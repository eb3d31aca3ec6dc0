"""Reading needs no writing: a library that is write-protected, or on a full disk, answers."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.libraries import close_library
from helpers.old_catalogs import write_old_catalog
from helpers.pictures import identity, jpeg, paint
from helpers.project import ROOT

from search import Engine, StorageError
from search.catalog.database import Database

Open = Callable[..., Engine]

CHILD = """
import json, os, resource, sys
from starlette.testclient import TestClient
from typer.testing import CliRunner

home, picture, how, name = sys.argv[1:]
if how == "full":
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))  # every write fails, as on a full disk

from search import Engine, StorageError
from search.api.app import create_app
from search.cli.app import app

answers, run = {}, CliRunner().invoke
for command in (["status"], ["search", picture], ["check"], ["check", "--deep"]):
    result = run(app, ["--home", home, *command, "--json"])
    name_of_command = " ".join(word for word in command if word != picture)
    answers[name_of_command] = [result.exit_code, result.stdout]
with Engine.open(home) as engine:
    with TestClient(create_app(engine), base_url="http://127.0.0.1") as client:
        with open(picture, "rb") as file:
            hits = client.post("/api/v1/search", files={"image": file.read()})
        paths = ("/", "/api/v1/status", "/api/v1/images", f"/api/v1/images/{name}/thumbnail")
        answers["page"] = [hits.status_code, *(client.get(p).status_code for p in paths)]
        refused = client.post("/api/v1/images", files={"image": b"x"})
        answers["upload"] = [refused.status_code, refused.json()["code"]]
    try:
        engine.sync(os.path.dirname(picture))
    except StorageError as error:
        answers["sync"] = str(error)
print(json.dumps(answers))
"""


def run_child(home: Path, picture: Path, how: str) -> dict[str, Any]:
    """Use a library in a process that cannot write to it, and return what it answers."""

    def protect() -> None:  # root ignores the modes of files while it has these capabilities
        if how == "protected" and os.geteuid() == 0:
            import ctypes

            libc = ctypes.CDLL(None)
            for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
                libc.prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP

    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(home), str(picture), how, identity(1)],
        capture_output=True,
        preexec_fn=protect,
        env=environment,
    )
    assert done.returncode == 0, done.stderr.decode()
    answers: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answers


def set_modes(home: Path, writable: bool) -> None:
    for path in (home, *home.rglob("*")):
        path.chmod(
            (0o755 if path.is_dir() else 0o644) if writable else path.stat().st_mode & ~0o222
        )


@pytest.mark.skipif(os.name != "posix", reason="limits and modes of POSIX")
@pytest.mark.parametrize("how", ["protected", "full"])
@pytest.mark.parametrize("state", ["closed", "log"])
def test_a_library_that_cannot_be_written_answers(
    library: Open, home: Path, folder: Path, tmp_path: Path, how: str, state: str
) -> None:
    engine = library()
    for seed in range(3):
        paint(folder / f"{seed}.jpg", seed)
    engine.sync(folder)
    engine.library.thumbnails.delete(identity(1))
    if state == "log":  # another process has it open, and its last entries are in the log alone
        engine.keep(jpeg(9))
    else:
        close_library(engine)
    # reading a file of an open database would release the locks of this process
    files = [path for path in home.rglob("*") if path.is_file()]
    files = [path for path in files if state == "closed" or "catalog.sqlite" not in path.name]
    before = {path: path.read_bytes() for path in files}
    if how == "protected":
        set_modes(home, writable=False)
    try:
        answers = run_child(home, folder / "1.jpg", how)
    finally:
        set_modes(home, writable=True)
    pictures = 4 if state == "log" else 3
    code, text = answers["status"]
    assert code == 0 and json.loads(text)["pictures"] == pictures
    code, text = answers["search"]
    hits = json.loads(text)["hits"]
    assert code == 0 and len(hits) == pictures and hits[0]["id"] == identity(1)
    for command in ("check", "check --deep"):
        code, text = answers[command]
        (problem,) = json.loads(text)["problems"]
        assert code == 1 and problem.startswith("1 thumbnails are missing or damaged")
    assert answers["page"] == [200] * 5
    assert answers["upload"][0] in (415, 503)
    assert "cannot write" in answers["sync"] or "can only be read" in answers["sync"]
    log = ("-wal", "-shm", ".lock")  # which SQLite and the locks may touch
    after = {path: path.read_bytes() for path in before if not path.name.endswith(log)}
    assert after == {path: data for path, data in before.items() if path in after}


def test_a_protected_catalog_of_an_earlier_version_says_what_to_do(
    library: Open, home: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paint(folder / "a.jpg", 1)
    engine = library()
    engine.sync(folder)
    close_library(engine)
    old = tmp_path / "old" / "catalog.sqlite"
    old.parent.mkdir()
    write_old_catalog(home / "catalog.sqlite", old, 9)
    before = old.read_bytes()
    monkeypatch.setattr("search.catalog.database._is_writable", lambda _: False)
    with pytest.raises(StorageError, match="of an earlier version"):
        Database(old)
    assert old.read_bytes() == before


def test_a_protected_copy_at_another_place_is_read_as_it_is(
    library: Open, home: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paint(folder / "a.jpg", 1)
    engine = library()
    engine.sync(folder)
    close_library(engine)
    shutil.copytree(home, tmp_path / "a copy #1?")
    monkeypatch.setattr("search.catalog.database._is_writable", lambda _: False)
    copy = library(tmp_path / "a copy #1?")
    assert copy.search(image=jpeg(1))[0].id == identity(1)
    with pytest.raises(StorageError, match="can only be read"):
        copy.keep(jpeg(2))
    assert not list((tmp_path / "a copy #1?").glob("*-wal"))
    with sqlite3.connect(home / "catalog.sqlite") as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()
