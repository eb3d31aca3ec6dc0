"""Small pictures with known ids, and folders that cannot be read."""

from __future__ import annotations

import hashlib
import io
import os
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@cache
def jpeg(seed: int, comment: str = "") -> bytes:
    """The bytes of a small picture; `comment` changes them and not the pixels."""
    blocks = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(blocks).resize((48, 40), Image.Resampling.NEAREST).save(out, "JPEG")
    data, note = out.getvalue(), comment.encode()
    segment = b"\xff\xfe" + (len(note) + 2).to_bytes(2, "big") + note if note else b""
    return data[:2] + segment + data[2:]


def identity(seed: int, comment: str = "") -> str:
    """The id of that picture."""
    return hashlib.sha256(jpeg(seed, comment)).hexdigest()


def paint(path: Path, seed: int, comment: str = "") -> Path:
    """Write that picture, and its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(jpeg(seed, comment))
    return path


def forbid(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Make a folder unreadable, for root as well."""
    real = os.scandir

    def scandir(path: str) -> os.ScandirIterator[str]:
        if Path(path) == folder:
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
