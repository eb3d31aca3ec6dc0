"""The README tells the truth: its commands run, its help is the real one, its layout is there."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import in_venv

import search
from search import Settings

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
SAMPLES = Path(search.__file__).parent / "samples"
COMMAND = Path(sys.executable).with_name("lookalike")


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", README, re.DOTALL)


def lookalike(*words: str, home: Path) -> str:
    environment = {**os.environ, "COLUMNS": "100", "TERM": "dumb", "LOOKALIKE_HOME": str(home)}
    done = subprocess.run(
        [COMMAND, *words], capture_output=True, text=True, env=environment, cwd=ROOT, check=True
    )
    return done.stdout


def helps(home: Path) -> str:
    commands = re.findall(r"^  (\w+) +[A-Z]", lookalike("--help", home=home), re.MULTILINE)
    texts = []
    for words in ([], *([command] for command in commands)):
        line = " ".join(["$ lookalike", *words, "--help"])
        texts.append(f"{line}\n{lookalike(*words, '--help', home=home)}")
    return "\n".join(texts)


def test_the_help_in_the_readme_is_the_real_one(tmp_path: Path) -> None:
    shown = next(block for block in blocks("text") if block.startswith("$ lookalike"))
    assert shown.split() == helps(tmp_path).split()


def test_every_setting_is_in_the_readme_with_its_meaning() -> None:
    table = README.partition("| name | default | meaning |")[2].partition("\n\n")[0]
    rows = dict(re.findall(r"^\| `(\w+)` \| .*? \| (.*?) \|$", table, re.MULTILINE))
    meanings = {name: field.description for name, field in Settings.model_fields.items()}
    assert rows == {name: " ".join((said or "").split()) for name, said in meanings.items()}


def test_the_transcript_is_what_happens(tmp_path: Path) -> None:
    """But for the seconds, where the folder is, and how far a slow machine is meanwhile."""
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
    for wanted, printed in shown.values():
        seconds = r"in \d+\.\d s"
        printed = re.sub(r"^indexing \d+ of .*\n", "", printed, flags=re.MULTILINE)
        assert re.sub(seconds, "", wanted) == re.sub(seconds, "", printed)


def test_nothing_is_left_to_fill_in() -> None:
    for path in (ROOT / "README.md", ROOT / "search" / "embedders" / "weights" / "mini.md"):
        assert not re.findall(r"^[A-Z]{4,}$", path.read_text(), re.MULTILINE), path


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
    for name in set(re.findall(r"scripts/(\w+(?:\.py)?)", README)):
        assert (ROOT / "scripts" / name).exists(), name
    for name in set(re.findall(r"scripts/bench (\w+)", README)):
        assert (ROOT / "scripts" / f"bench_{name}.py").exists(), name


def test_every_script_says_what_it_does() -> None:
    for path in (ROOT / "scripts").iterdir():
        if path.suffix == ".py":
            assert ast.get_docstring(ast.parse(path.read_text())), path
        elif path.is_file():
            assert path.read_text().splitlines()[1].startswith("# "), path
            assert os.access(path, os.X_OK), path


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)#:]+)\)", README))
def test_links_lead_somewhere(link: str) -> None:
    assert (ROOT / link).exists()
