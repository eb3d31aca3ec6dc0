"""The lesson in docs/ddpm.md: its notebook is the same, and its code runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.notebooks import DOCS, check_notebook, run_notebook
from PIL import Image


def test_the_notebook_is_that_of_the_lesson(monkeypatch: pytest.MonkeyPatch) -> None:
    check_notebook("ddpm.ipynb", monkeypatch)


def test_every_formula_is_explained_once() -> None:
    text = (DOCS / "ddpm.md").read_text("utf-8")
    numbers = [f"**({i})**" for i in range(1, 13)]
    assert [text.count(one) for one in numbers] == [1] * 12
    assert sorted(numbers, key=text.index) == numbers


@pytest.mark.slow
def test_the_code_of_the_lesson_runs(tmp_path: Path) -> None:
    run_notebook("ddpm.ipynb", tmp_path, LESSON_STEPS="3")
    with Image.open(tmp_path / "lesson.png") as picture:
        assert picture.size == (512, 384) and len(picture.getcolors(10**6) or ()) > 100
