"""The models that read text in pictures: those in the wheel of RapidOCR (extra `ocr`).

Nothing heavy is imported, since a status tells whether text can be read.
"""

from __future__ import annotations

import hashlib
from importlib.util import find_spec
from pathlib import Path

RULE = 1
"""Version of everything between a picture and its text, but for the models."""


def list_models() -> list[Path]:
    """Return the files of the models, none if the extra is not installed."""
    spec = find_spec("rapidocr")
    if spec is None or find_spec("onnxruntime") is None:
        return []
    folders = spec.submodule_search_locations or ()
    return sorted(file for one in folders for file in Path(one, "models").glob("*.onnx"))


def is_installed() -> bool:
    """Whether text can be read."""
    return bool(list_models())


def fingerprint() -> str:
    """Return 16 hexadecimal digits that change with the models and with `RULE`.

    The models are told by names and sizes: to hash them would delay each status.
    """
    models = [(file.name, file.stat().st_size) for file in list_models()]
    return hashlib.sha256(repr((RULE, models)).encode()).hexdigest()[:16]
