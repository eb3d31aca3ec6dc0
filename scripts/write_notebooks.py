"""Write the notebooks of docs/: of the lesson in docs/ddpm.md, and of the tutorial of the search.

.venv/bin/python scripts/write_notebooks.py
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parents[1] / "docs"
NOTEBOOKS = {"ddpm.md": "ddpm.ipynb", "tutorial.md": "search.ipynb"}
"""Text in docs/ -> notebook beside it."""
CODE = re.compile(r"```python\n(.*?)```\n", re.DOTALL)


def make_notebook(document: str) -> dict[str, Any]:
    """Return a notebook (nbformat 4.5) with the text and the Python blocks of a Markdown text."""
    cells = list[dict[str, Any]]()
    for i, part in enumerate(CODE.split(document)):
        if not part.strip():
            continue
        cell: dict[str, Any] = {
            "cell_type": "code" if i % 2 else "markdown",
            "id": f"cell-{i}",
            "metadata": {},
            "source": part.strip().splitlines(keepends=True),
        }
        cells.append(cell | ({"execution_count": None, "outputs": []} if i % 2 else {}))
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    head = {"metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    return {"cells": cells, **head}


if __name__ == "__main__":
    for source, name in NOTEBOOKS.items():
        notebook = make_notebook((DOCS / source).read_text("utf-8"))
        text = json.dumps(notebook, ensure_ascii=False, indent=1)
        (DOCS / name).write_text(f"{text}\n", "utf-8")
