"""The lesson in docs/ddpm.md: its notebook is the same, and its code runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from helpers.project import ROOT
from PIL import Image

DOCS = ROOT / "docs"


def read_notebook() -> dict[str, Any]:
    notebook: dict[str, Any] = json.loads((DOCS / "ddpm.ipynb").read_text("utf-8"))
    return notebook


def test_the_notebook_is_that_of_the_lesson(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    from write_lesson import make_notebook

    assert make_notebook((DOCS / "ddpm.md").read_text("utf-8")) == read_notebook()


def test_every_formula_is_explained_once() -> None:
    text = (DOCS / "ddpm.md").read_text("utf-8")
    numbers = [f"**({i})**" for i in range(1, 13)]
    assert [text.count(one) for one in numbers] == [1] * 12
    assert sorted(numbers, key=text.index) == numbers


@pytest.mark.slow
def test_the_code_of_the_lesson_runs(tmp_path: Path) -> None:
    cells = [one for one in read_notebook()["cells"] if one["cell_type"] == "code"]
    program = tmp_path / "lesson.py"
    program.write_text("\n\n".join("".join(cell["source"]) for cell in cells), "utf-8")
    environment = {**os.environ, "LESSON_STEPS": "3", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(program)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "lesson.png") as picture:
        assert picture.size == (512, 384) and len(picture.getcolors(10**6) or ()) > 100
