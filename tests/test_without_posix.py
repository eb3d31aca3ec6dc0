"""The command where the system lacks what only POSIX has, as on Windows.

A faked platform: modules of POSIX cannot be imported, and `os` lacks their functions, in the
command and in the processes that it starts.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from helpers.project import ROOT, SAMPLES

FAKE = """
import asyncio, os, shutil, sys, tempfile  # these choose by the real platform

class Blocked:
    NAMES = {"fcntl", "grp", "pwd", "resource", "termios", "uvloop"}

    def find_spec(self, name, path=None, target=None):
        if name in self.NAMES:
            raise ImportError(f"{name} is not on this platform")

for name in Blocked.NAMES:
    sys.modules.pop(name, None)
sys.meta_path.insert(0, Blocked())
for name in ("getxattr", "listxattr", "nice", "sched_getaffinity", "statvfs",
             "O_DIRECTORY", "O_NOFOLLOW", "O_NONBLOCK"):
    delattr(os, name)
os.supports_dir_fd.clear()
shutil.disk_usage = lambda path: shutil._ntuple_diskusage(2**40, 0, 2**40)  # other systems have it
"""


def test_a_folder_is_indexed_and_searched(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(FAKE)
    folder = tmp_path / "pictures"
    shutil.copytree(SAMPLES / "hat", folder)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)]),
        "LOOKALIKE_HOME": str(tmp_path / "home"),
    }

    def run(*words: str | Path) -> Any:
        command = [sys.executable, "-m", "search", *words, "--json"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    check = "import importlib.util as u, os; print(hasattr(os, 'nice'), u.find_spec('fcntl'))"
    faked = subprocess.run(
        [sys.executable, "-c", check], env=environment, capture_output=True, text=True
    )
    assert faked.returncode == 1 and "not on this platform" in faked.stderr
    assert run("index", folder)["embedded"] == 11
    assert run("index", folder)["unchanged"] == 11
    hits = run("search", folder / "01.jpg", "--verify")["hits"]
    assert hits[0]["path"] == str(folder / "01.jpg") and hits[0]["kind"] == "identical"
    assert run("status")["pictures"] == 11 and run("check")["problems"] == []
    assert run("doctor")["healthy"]
    (folder / "01.jpg").unlink()
    assert run("index", folder)["removed"] == 1
