"""Files that are there whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import Tensor

from diffusion.errors import DiffusionError


def replace(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` make a file beside `path`, then put it in its place.

    Raises DiffusionError when the disk does not take it; what was there then stays.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(partial)
        os.replace(partial, path)
    except OSError as error:
        with suppress(OSError):
            partial.unlink()
        why = error.strerror or error
        raise DiffusionError(
            f"cannot write {path}: {why}; free some space or give another folder"
        ) from error


def write_json(path: Path, document: Any) -> None:
    """Raises DiffusionError."""
    text = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
    replace(path, lambda partial: partial.write_text(text, encoding="utf-8"))


def write_tensors(path: Path, tensors: dict[str, Tensor], about: dict[str, str]) -> None:
    """A safetensors file with its metadata. Raises DiffusionError."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    replace(path, lambda partial: partial.write_bytes(save(plain, about)))
