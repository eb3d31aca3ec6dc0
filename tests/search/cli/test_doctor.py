"""`lookalike doctor`: what works, what is missing, and what to do."""

from __future__ import annotations

import json
import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from helpers.pictures import jpeg
from helpers.project import ROOT
from typer.testing import CliRunner

from search import Engine, diagnosis
from search.cli.app import app
from search.diagnosis import PURPOSES, diagnose
from search.records.diagnosis import Diagnosis, Finding

Patch = pytest.MonkeyPatch


def pick(report: Diagnosis, part: str) -> Finding:
    (finding,) = (one for one in report.findings if one.part == part)
    return finding


def test_a_library_that_works_has_nothing_wrong(engine: Engine, folder: Path) -> None:
    (folder / "a.jpg").write_bytes(jpeg(1))
    engine.sync(folder)
    report = diagnose(home=engine.home)
    assert report.is_healthy and pick(report, "library").message.startswith("1 pictures")
    assert pick(report, "formats").condition == pick(report, "model").condition == "ok"
    shutil.rmtree(folder)
    offline = pick(diagnose(home=engine.home), "folder")
    assert offline.condition == "missing" and str(folder) in offline.message and offline.remedy


def test_no_library_is_made(tmp_path: Path) -> None:
    report = diagnose(home=tmp_path / "none")
    assert report.is_healthy and not (tmp_path / "none").exists()
    assert "index FOLDER" in str(pick(report, "library").remedy)


def test_each_extra_is_known() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {*project["optional-dependencies"]} - {"dev"} == {*PURPOSES}


def test_a_missing_package_is_told(monkeypatch: Patch, tmp_path: Path) -> None:
    lines = ["no-such-package>=1", 'other-package>=2; extra == "raw"', "pillow>=1"]
    monkeypatch.setattr(diagnosis, "requires", lambda _: lines)
    report = diagnose(home=tmp_path)
    assert not report.is_healthy and "no-such-package" in pick(report, "packages").message
    raw = pick(report, "extra raw")
    assert raw.condition == "missing" and "pip install" in str(raw.remedy)


def break_setting(home: Path, monkeypatch: Patch) -> None:
    monkeypatch.setenv("LOOKALIKE_WORKERS", "none")


def break_disk(home: Path, monkeypatch: Patch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))


def break_catalog(home: Path, monkeypatch: Patch) -> None:
    home.mkdir()
    (home / diagnosis.CATALOG).write_bytes(b"no database" * 1000)


def break_model(home: Path, monkeypatch: Patch) -> None:
    monkeypatch.setenv("LOOKALIKE_MODEL", "ViT-B-32:/no/such/weights")


@pytest.mark.parametrize(
    ("break_part", "part"),
    [
        (break_setting, "settings"),
        (break_disk, "home"),
        (break_catalog, "library"),
        (break_model, "model"),
    ],
)
def test_what_is_broken_is_told(
    tmp_path: Path, monkeypatch: Patch, break_part: Callable[..., None], part: str
) -> None:
    home = tmp_path / "home"
    break_part(home, monkeypatch)
    report = diagnose(home=home)
    assert not report.is_healthy and pick(report, part).condition == "wrong"
    result = CliRunner().invoke(app, ["--home", str(home), "doctor"])
    assert result.exit_code == 1 and f"wrong    {part}" in result.stdout


def test_json_holds_all_findings(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["--home", str(tmp_path), "doctor", "--json"])
    document: dict[str, Any] = json.loads(result.stdout)
    assert result.exit_code == 0 and document["healthy"]
    assert {"part", "condition", "message", "remedy"} == {*document["findings"][0]}
