"""The tutorial in docs/tutorial.md: its notebook is the same, and its code runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers.notebooks import check_notebook, run_notebook
from PIL import Image

LAST = """
import json
print(json.dumps({
    "first": hits[0].path, "scores": [hit.score for hit in hits], "part": len(part),
    "shoes": [hit.path.split("/")[-2] for hit in sure[:8]], "dresses": len(dresses),
    "red": [hit.path.split("/")[-2] for hit in red], "mixed": len(mixed),
    "sheet": hits._repr_html_().count("<img"), "hat": str(hat),
}))
"""


def test_the_notebook_is_that_of_the_tutorial(monkeypatch: pytest.MonkeyPatch) -> None:
    check_notebook("search.ipynb", monkeypatch)


@pytest.mark.slow
def test_the_code_of_the_tutorial_runs(tmp_path: Path) -> None:
    output = run_notebook("search.ipynb", tmp_path, LAST, LOOKALIKE_OCR="false").splitlines()
    shown = json.loads(output[-1])
    assert output[0] == "110 pictures, 110 embedded"
    assert shown["first"] == shown["hat"] and shown["scores"][0] >= 0.999
    assert len(shown["scores"]) == shown["part"] == shown["sheet"] == shown["mixed"] == 8
    assert set(shown["shoes"]) == {"shoes"} and shown["dresses"] == 11 and shown["red"]
    assert "True" in output  # the line asks for the same
    groups = [line for line in output if line.startswith(("exact", "copy"))]
    assert [line.split()[0] for line in groups] == ["exact", "copy"]
    assert all("'keep'" in line and "'remove'" in line for line in groups)
    for seed in (7, 8):
        with Image.open(tmp_path / f"variant-{seed}.png") as picture:
            assert len(picture.getcolors(10**6) or ()) > 100
