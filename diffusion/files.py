"""Files that are there whole or not at all."""

from __future__ import annotations

import errno
import json
import math
import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import save
from torch import Tensor

from diffusion.errors import DiffusionError


def replace(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` make a file beside `path`, then put it in its place.

    Raises DiffusionError when the disk does not take it; what was there then stays.
    """
    replace_all({path: write})


def replace_all(writes: Mapping[Path, Callable[[Path], object]]) -> None:
    """As `replace`, for files that belong together: none is put in its place before all are made.

    Raises DiffusionError.
    """
    partials = {path: path.with_name(f".{path.name}.{os.getpid()}.part") for path in writes}
    try:
        for path, write in writes.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            write(partials[path])
        for path, partial in partials.items():
            os.replace(partial, path)
    except OSError as error:
        why = error.strerror or error
        raise DiffusionError(
            f"cannot write {path}: {why}; free some space or give another folder"
        ) from error
    finally:
        for partial in partials.values():
            with suppress(OSError):
                partial.unlink(missing_ok=True)


def to_json(document: Any) -> bytes:
    """As people can read it."""
    text = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
    return text.encode(errors="backslashreplace")  # of a name that is no UTF-8


def write_json(path: Path, document: Any) -> None:
    """Raises DiffusionError."""
    replace(path, lambda partial: partial.write_bytes(to_json(document)))


def to_safetensors(tensors: dict[str, Tensor], about: dict[str, str]) -> bytes:
    """A safetensors file with its metadata."""
    return save({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, about)


def write_tensors(path: Path, tensors: dict[str, Tensor], about: dict[str, str]) -> None:
    """A safetensors file with its metadata. Raises DiffusionError."""
    replace(path, lambda partial: partial.write_bytes(to_safetensors(tensors, about)))


def create_array(path: Path, shape: tuple[int, ...], dtype: type[np.generic]) -> np.ndarray:
    """A .npy file of zeros, mapped into memory for writing. Raises DiffusionError when the disk
    has no room for all of it."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(path.parent).free < size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        array: np.ndarray = np.lib.format.open_memmap(path, "w+", dtype, shape)
    except OSError as error:
        raise DiffusionError(
            f"cannot write {size / 1e9:.1f} GB to {path}: {error.strerror or error}; free some "
            "space or give another folder"
        ) from error
    return array
