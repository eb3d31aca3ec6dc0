"""The notebooks of docs/: they are those of their texts, and their code runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from helpers.project import ROOT

DOCS = ROOT / "docs"


def check_notebook(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Check that a notebook has the text and code of the document that it is made of."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    from write_notebooks import NOTEBOOKS, make_notebook

    (source,) = (text for text, other in NOTEBOOKS.items() if other == name)
    notebook = make_notebook((DOCS / source).read_text("utf-8"))
    assert notebook == read_notebook(name), "run scripts/write_notebooks.py to write it anew"


def read_notebook(name: str) -> dict[str, Any]:
    notebook: dict[str, Any] = json.loads((DOCS / name).read_text("utf-8"))
    return notebook


def run_notebook(name: str, folder: Path, last: str = "", **environment: str) -> str:
    """Run the code of a notebook from top to bottom in a folder, and return what it prints. last:
    code that runs after it."""
    cells = [one for one in read_notebook(name)["cells"] if one["cell_type"] == "code"]
    program = folder / "notebook.py"
    program.write_text("\n\n".join(["".join(cell["source"]) for cell in cells] + [last]), "utf-8")
    done = subprocess.run(
        [sys.executable, str(program)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
