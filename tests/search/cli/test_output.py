"""Progress of a run without a terminal."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from search.cli import output
from search.records.indexing import IndexReport, Progress


def test_a_first_batch_that_takes_long_has_a_rate_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter([0.0, 1.0, 9.0, 17.0])  # the start, and when each event comes
    monkeypatch.setattr(output.time, "monotonic", lambda: next(clock))
    events = [Progress("scan", 0, 0), Progress("index", 64, 256), Progress("index", 128, 256)]
    assert list(output._write_lines(events)) == events
    assert capsys.readouterr().err.splitlines() == [
        "indexing 64 of 256, 8/s, 24 s left",
        "indexing 128 of 256, 8/s, 16 s left",
    ]


def test_a_name_is_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_embed_report(IndexReport(embedded=3), Path("[red]a[/y].safetensors"))
    assert "[red]a[/y].safetensors" in capsys.readouterr().out


@pytest.mark.parametrize("options", [[], ["--verbose"]])
def test_what_is_logged_moves_no_cursor(tmp_path: Path, options: list[str]) -> None:
    code = (
        "import logging, sys; from search.cli.app import app; "
        "app(sys.argv[1:], standalone_mode=False); "
        "logging.getLogger('search.x').warning('%s was not kept', 'a\\udce9\\x1b[31m\\n.jpg')"
    )
    command = [sys.executable, "-c", code, *options, "--home", str(tmp_path), "status"]
    done = subprocess.run(command, capture_output=True, timeout=120, check=True)
    assert done.stderr.splitlines()[-1].endswith(rb"a\xe9\x1b[31m\n.jpg was not kept")
