"""The README and docs/: their commands run, their help is the real one, their links work."""

from __future__ import annotations

import ast
import inspect
import os
import re
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from helpers.project import ROOT, SAMPLES, in_venv

from search import Settings
from search.querying.fields import FIELDS, HAS, IS, TYPES
from search.records.indexing import SKIP_CODES

README = (ROOT / "README.md").read_text()
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
COMMAND = Path(sys.executable).with_name("lookalike")


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", README, re.DOTALL)


def test_the_help_in_the_docs_is_the_real_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import write_cli_docs

    shown = (ROOT / "docs" / "cli.md").read_text()
    assert shown.split() == write_cli_docs.page(tmp_path).split(), (
        "run scripts/write_cli_docs.py to write docs/cli.md anew"
    )


def test_every_code_of_a_skipped_file_is_in_the_docs() -> None:
    text = (ROOT / "docs" / "files.md").read_text()
    table = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", text.partition("## What is left")[0], re.M))
    assert {code: re.sub(r"\[(\w+)\]\(.*?\)", r"\1", text) for code, text in table.items()} == dict(
        SKIP_CODES
    )


def test_every_field_of_a_condition_is_in_the_docs() -> None:
    rows = re.findall(r"^\| (`.*?) \| (.*?) \| `", (ROOT / "docs/search.md").read_text(), re.M)
    described = {name: values for names, values in rows for name in re.findall("`(.*?)`", names)}
    assert set(FIELDS) <= set(described)
    for field, choices in ("has", HAS), ("is", IS), ("type", TYPES):
        assert set(choices) <= set(re.findall("[a-z_]+", described[field]))


def test_every_setting_is_in_the_docs_with_its_meaning() -> None:
    table = (ROOT / "docs" / "settings.md").read_text().partition("| name |")[2]
    rows = dict(re.findall(r"^\| `(\w+)` \| .*? \| (.*?) \|$", table, re.MULTILINE))
    (source,) = ast.parse(inspect.getsource(Settings)).body
    assert isinstance(source, ast.ClassDef)
    meanings = {
        field.target.id: inspect.cleandoc(text.value.value)
        for field, text in pairwise(source.body)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
        if isinstance(text.value.value, str)
    }
    names = Settings.model_fields
    assert rows == {name: " ".join(meanings.get(name, "").split()) for name in names}


def test_the_transcript_is_what_happens(tmp_path: Path) -> None:
    """Seconds, the folder's path and progress lines may differ."""
    transcript = next(b for b in blocks("console") if "lookalike index" in b)
    environment = {**os.environ, "LOOKALIKE_HOME": str(tmp_path)}
    shown = {}
    for part in transcript.strip().split("$ ")[1:]:
        command, _, answer = part.partition("\n")
        words = command.replace(".venv/bin/lookalike", str(COMMAND)).split()
        done = subprocess.run(
            words,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
            cwd=ROOT,
        )
        printed = re.sub(r"^indexing .*\n", "", done.stdout, flags=re.MULTILINE)
        shown[command] = answer.strip().replace("…/", f"{ROOT}/"), printed.strip()
    assert len(shown) == 2
    for expected, printed in shown.values():
        seconds = r"in \d+\.\d s"
        printed = re.sub(r"^indexing \d+ of .*\n", "", printed, flags=re.MULTILINE)
        assert re.sub(seconds, "", expected) == re.sub(seconds, "", printed)


def test_nothing_is_left_to_fill_in() -> None:
    for path in (*DOCUMENTS, ROOT / "search" / "embedders" / "weights" / "mini.md"):
        assert not re.findall(r"^[A-Z]{4,}$", path.read_text(), re.MULTILINE), path


def test_the_readme_is_for_a_visitor_with_a_minute() -> None:
    assert len(README.splitlines()) <= 150


@in_venv
def test_the_two_commands_work(tmp_path: Path) -> None:
    pictures = tmp_path / "Pictures"
    shutil.copytree(SAMPLES / "hat", pictures)
    shutil.copy(SAMPLES / "pants" / "01.jpg", pictures / "cat.jpg")
    environment = {**os.environ, "HOME": str(tmp_path), "LOOKALIKE_HOME": str(tmp_path / "home")}
    lines = blocks("sh")[0].strip().splitlines()
    assert len(lines) == 2
    for line in lines:
        done = subprocess.run(
            ["sh", "-c", line],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
    assert "cat.jpg" in done.stdout.splitlines()[0]


def test_the_python_snippet_runs(tmp_path: Path) -> None:
    snippet = next(b for b in blocks("python") if "Engine.open" in b)
    code = snippet.replace("~/Pictures", str(SAMPLES / "hat"))
    code = code.replace("query.jpg", str(SAMPLES / "hat" / "02.jpg"))
    environment = {**os.environ, "LOOKALIKE_HOME": str(tmp_path)}
    (tmp_path / "snippet.py").write_text(code)  # a script without a main guard, as people write
    done = subprocess.run(
        [sys.executable, "snippet.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=environment,
        check=True,
    )
    path, score = done.stdout.split()
    assert path == str(SAMPLES / "hat" / "02.jpg") and float(score) >= 0.999


def test_every_script_that_is_named_is_there() -> None:
    text = "\n".join(path.read_text() for path in DOCUMENTS)
    for name in set(re.findall(r"scripts/([\w/]+(?:\.\w+)?)", text)):
        assert (ROOT / "scripts" / name).exists(), name
    for name in set(re.findall(r"scripts/bench ([a-z][\w-]*)", text)):
        file = f"bench_{name.replace('-', '_')}.py"
        assert (ROOT / "scripts" / "benchmarks" / file).exists(), name


def test_every_script_says_what_it_does() -> None:
    for path in (ROOT / "scripts").iterdir():
        if path.suffix == ".py":
            assert ast.get_docstring(ast.parse(path.read_text())), path
        elif path.is_file() and path.suffix != ".ini":
            assert path.read_text().splitlines()[1].startswith("# "), path
            assert path.suffix == ".ps1" or os.access(path, os.X_OK), path  # Windows has no mode


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text()):
        assert (path.parent / link).exists(), link
