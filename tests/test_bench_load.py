"""The short form of scripts/bench load."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from helpers.project import ROOT


@pytest.mark.slow
def test_many_clients_are_answered_while_a_folder_is_indexed() -> None:
    script = ROOT / "scripts" / "benchmarks" / "bench_load.py"
    words = ["--queries", "40", "--clients", "4", "--photos", "40"]
    command = [sys.executable, str(script), *words]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    row = re.search(r"while it indexes +40 .* 200: 40$", done.stdout, re.MULTILINE)
    burst = re.search(
        r"burst of 64 +256 .* 200: (\d+)(?:, 503: (\d+))?$", done.stdout, re.MULTILINE
    )
    assert row and burst, done.stdout
    assert int(burst[1]) + int(burst[2] or 0) == 256
    assert "503 without Retry-After: 0" in done.stdout
    before, after = map(int, re.findall(r"(\d+) MiB", done.stdout))
    assert 100 < before and after < before + 1000
