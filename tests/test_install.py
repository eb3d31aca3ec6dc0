"""What is installed: the wheel's contents, set-up by script, and no need of a network."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any
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


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built by pip without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = (sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index")
    command = [*pip, "--quiet", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (path,) = folder.glob("lookalike-*.whl")
    return path


def test_the_wheel_holds_all_that_is_needed(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as file:
        names = set(file.namelist())
    for package in ("search", "diffusion"):
        here = {p for p in (ROOT / package).rglob("*") if p.is_file()}
        files = {str(p.relative_to(ROOT)) for p in here if "__pycache__" not in p.parts}
        assert any(name.endswith(".safetensors") for name in files) and files <= names
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {
        *("search", "diffusion")
    }
    metadata = {name.split("/", 1)[1] for name in names if ".dist-info/" in name}
    notices = {f"licenses/{one}/weights/NOTICE" for one in ("search/embedders", "diffusion")}
    assert {"licenses/LICENSE", *notices} <= metadata


@pytest.mark.slow
def test_the_wheel_searches_serves_and_makes_variants_by_itself(
    wheel: Path, tmp_path: Path
) -> None:
    """From the wheel alone, in a folder without the checkout."""
    packages = tmp_path / "packages"
    with zipfile.ZipFile(wheel) as file:
        file.extractall(packages)
    home, samples = tmp_path / "home", packages / "search" / "samples"
    environment = {
        **os.environ,
        "LOOKALIKE_HOME": str(home),
        "LOOKALIKE_OCR": "false",
        "PYTHONPATH": str(packages),
    }

    def run(*words: str | Path) -> dict[str, Any]:
        command = [sys.executable, "-m", "search", *map(str, words)]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout))

    assert run("index", "--json", samples)["embedded"] == 110
    query = samples / "hat" / "01.jpg"
    assert run("search", "--json", query)["hits"][0]["path"] == str(query)
    assert run("search", "--json", "--text", "shoe")["understood"][0]["words"] == ["shoe"]
    variants = run("variants", query, "-n", "1", "--steps", "2", "-o", tmp_path / "made", "--json")
    assert len(variants["variants"]) == 1
    serve = [sys.executable, "-m", "search", "serve", "--port", "0", "--no-browser"]
    with subprocess.Popen(
        serve, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stdout
            address = server.stdout.readline().strip()
            with httpx.Client(trust_env=False, timeout=60, follow_redirects=True) as client:
                page = client.get(address)
                assert page.status_code == 200
                for name in re.findall(r'(?:src|href)="(/web/[^"]+)"', page.text):
                    assert client.get(urljoin(address, name)).status_code == 200, name
                assert client.get(urljoin(address, "/docs")).status_code == 200
        finally:
            server.terminate()


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


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="there are no links here")
def test_set_up_leaves_the_environment_of_another_clone_alone(tmp_path: Path) -> None:
    clone, other = tmp_path / "clone", tmp_path / "other"
    (clone / "scripts").mkdir(parents=True)
    for name in ("scripts/setup", "pyproject.toml"):
        shutil.copy(ROOT / name, clone / name)
    (other / "bin").mkdir(parents=True)
    (other / "bin" / "python").write_text('#!/bin/sh\necho "$@" >> called\n')
    (other / "bin" / "python").chmod(0o755)
    (clone / ".venv").symlink_to(other)
    done = subprocess.run(
        [clone / "scripts" / "setup"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 1 and "remove the link" in done.stderr
    assert "install" not in (tmp_path / "called").read_text()
    assert not list(other.glob(".installed*"))
