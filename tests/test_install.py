"""What is installed: the wheel's contents, set-up by script, and no need of a network."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from urllib.parse import urljoin

import httpx
import pytest
from helpers.project import ROOT, SAMPLES, in_venv

COMMAND = Path(sys.executable).with_name("lookalike")
CUT_OFF = ("unshare", "--net", "--map-root-user")


def can_cut_off() -> bool:
    """Whether a process without a network can be made here."""
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*CUT_OFF, "true"], capture_output=True).returncode == 0


def test_the_wheel_holds_all_that_is_needed(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        names = set(wheel.namelist())
    here = {p for p in (ROOT / "search").rglob("*") if p.is_file() and "__pycache__" not in p.parts}
    assert {str(p.relative_to(ROOT)) for p in here} <= names
    metadata = {name.split("/", 1)[1] for name in names if ".dist-info/" in name}
    assert {"licenses/LICENSE", "licenses/search/embedders/weights/NOTICE"} <= metadata


@pytest.mark.skipif(not can_cut_off(), reason="no process can be cut off from the network here")
def test_everything_works_with_the_network_cut_off(tmp_path: Path) -> None:
    environment = {**os.environ, "LOOKALIKE_HOME": str(tmp_path)}

    def run(*words: str | Path) -> bytes:
        command = [*CUT_OFF, COMMAND, *words]
        return subprocess.run(command, env=environment, check=True, capture_output=True).stdout

    assert json.loads(run("index", "--json", SAMPLES))["embedded"] == 110
    hits = json.loads(run("search", "--json", SAMPLES / "hat" / "01.jpg"))["hits"]
    assert hits[0]["path"] == str(SAMPLES / "hat" / "01.jpg") and hits[0]["score"] >= 0.999


@in_venv
def test_run_takes_the_samples_into_an_empty_library_only(tmp_path: Path) -> None:
    environment = {**os.environ, "LOOKALIKE_HOME": str(tmp_path / "home")}

    def run(*words: str | Path) -> str:
        command = [ROOT / "scripts" / "run", *words]
        done = subprocess.run(
            command, env=environment, check=True, capture_output=True, text=True, cwd=tmp_path
        )
        return done.stdout

    assert "110 added" in run("--no-serve")
    assert "added" not in run("--no-serve", "--port", "9000")
    folder = tmp_path / "my photos"
    shutil.copytree(SAMPLES / "hat", folder)
    (folder / "12.jpg").write_bytes((folder / "01.jpg").read_bytes() + b"\0")  # another picture
    output = run(folder, "--no-serve")
    assert "12 added; 0 embedded" in output  # all of them look like one that is there
    command = output.strip().splitlines()[-1].strip()
    result = subprocess.run(["sh", "-c", command], env=environment, capture_output=True, text=True)
    assert "my photos/01.jpg" in result.stdout or "samples/hat/01.jpg" in result.stdout
    for words in (["--nonsense"], ["--port"], ["--port", "http"], ["--port=-1"], ["--port=65536"]):
        wrong = subprocess.run([ROOT / "scripts" / "run", *words], capture_output=True)
        assert wrong.returncode == 2 and b"FOLDER" in wrong.stderr


@in_venv
def test_run_serves_what_it_indexed(tmp_path: Path) -> None:
    environment = {**os.environ, "LOOKALIKE_HOME": str(tmp_path / "home")}
    command: list[str | Path] = [ROOT / "scripts" / "run", SAMPLES / "hat", "--port", "0"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            lines = [process.stdout.readline().strip() for _ in range(3)]
            assert lines[0].startswith("11 added") and lines[2].startswith("http://127.0.0.1:")
            with httpx.Client(trust_env=False, follow_redirects=True) as client:
                assert client.get(lines[2]).status_code == 200  # the link logs in
                status = client.get(urljoin(lines[2], "/api/v1/status"))
            assert status.json()["pictures"] == 11
        finally:
            process.terminate()
    assert process.returncode == 0
