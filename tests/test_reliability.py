"""Short forms of scripts/chaos and scripts/fuzz."""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.project import ROOT

PROGRAMS = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
pytestmark = pytest.mark.slow


def run_tries(script: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a script of scripts/reliability."""
    command = [sys.executable, str(ROOT / "scripts" / "reliability" / script), *words]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.parametrize("name", ["index", "forget", "keep", "migrate", "snapshot"])
def test_kills_and_disks_that_refuse_lose_nothing(name: str) -> None:
    faults = [f"{fault}-{name}" for fault in ("kill", "full", "readonly")]
    done = run_tries("chaos.py", *faults, "--tries", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("held      1") == 3


def test_damaged_libraries_are_repaired_or_refused() -> None:
    names = ["writers", "rows", "pages", "thumbnails", "snapshots"]
    done = run_tries("chaos.py", *names, "--tries", "3")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("held      3") == len(names)


def test_mutants_queries_and_crops_fail_with_a_reason() -> None:
    done = run_tries("fuzz.py", "mutants", "query", "crop", "--tries", "150")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("held    150") == 3


@pytest.mark.skipif(not shutil.which("schemathesis", path=PROGRAMS), reason="scripts/setup dev")
def test_no_request_is_a_server_error() -> None:
    done = run_tries("fuzz.py", "requests", "--tries", "3")
    assert done.returncode == 0, done.stdout + done.stderr
    tries, held = map(int, re.findall(r"\d+", done.stdout))
    assert tries == held > 50


def test_a_try_that_fails_is_reported_with_its_seed() -> None:
    code = """
import sys
from tries import run_tries

def attempt(rng):
    return ["it broke"] if rng.random() < 0.3 else []

sys.exit(not run_tries("class", attempt, 20, 7))
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "scripts" / "reliability")}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    seeds = [seed for seed in range(7, 27) if random.Random(seed).random() < 0.3]
    assert done.returncode == 1 and seeds
    assert done.stdout.split("failed seeds: ")[1].split() == list(map(str, seeds))
    assert f"class --seed {seeds[0]} --tries 1: it broke" in done.stderr
