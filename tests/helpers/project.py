"""Where the project and the pictures to measure with are."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import search

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = Path(search.__file__).parent / "samples"
DATA = (ROOT.parent / "shared" / "data").resolve()
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data is not there")
in_venv = pytest.mark.skipif(
    Path(sys.prefix).resolve() != ROOT / ".venv",
    reason="scripts/setup would make a virtual environment of its own",
)
