"""Atomic writing of files: a file is complete, or it is not there."""

from __future__ import annotations

import errno
import json
import math
import os
import shutil
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor

from diffusion.errors import ConfigError, DiffusionError
from diffusion.reading import open_regular


def replace(path: Path, write: Callable[[Path], object]) -> None:
    """Replace a file atomically.

    write: writes the new content to the path that it is called with, a temporary file beside
    `path`. Raises DiffusionError when the file cannot be written; the old file then stays.
    """
    replace_all({path: write})


def replace_all(writes: Mapping[Path, Callable[[Path], object]]) -> None:
    """Replace files that belong together: all new files are written before any replaces an old one.

    writes: see `replace`, by path. Raises DiffusionError.
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


def require_new_folder(folder: Path) -> None:
    """Raise ConfigError for a folder that has files."""
    if folder.exists() and any(folder.iterdir()):
        raise ConfigError(f"{folder} is not empty; give a new folder")


def to_json(document: Any) -> bytes:
    """Encode a document as indented JSON."""
    text = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
    return text.encode(errors="backslashreplace")  # file names may not be valid UTF-8


def write_json(path: Path, document: Any) -> None:
    """Write a document as JSON, atomically. Raises DiffusionError."""
    replace(path, lambda partial: partial.write_bytes(to_json(document)))


def to_safetensors(tensors: dict[str, Tensor], about: dict[str, str]) -> bytes:
    """Encode tensors and metadata as the bytes of a safetensors file."""
    return save({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, about)


def write_tensors(path: Path, tensors: dict[str, Tensor], about: dict[str, str]) -> None:
    """Write tensors and metadata as a safetensors file, atomically. Raises DiffusionError."""
    replace(path, lambda partial: partial.write_bytes(to_safetensors(tensors, about)))


Mode = Literal["r", "r+"]


def map_array(path: Path, shape: tuple[int, ...], dtype: type[np.generic], mode: Mode = "r") -> Any:
    """Map the array of a .npy file into memory: for reading as a tensor, which must not be written
    to; for writing (`r+`) as a numpy array. Raises OSError or ValueError for a file that is
    missing, damaged, or of another shape or type."""
    open_regular(path).close()  # numpy would wait for a named pipe
    array = np.load(path, mmap_mode=mode)  # a writable private mapping cannot exceed the memory
    if array.shape != shape or array.dtype != dtype:
        raise ValueError(f"{path.name} holds {array.dtype} {array.shape}, not {shape}")
    if mode == "r+":
        return array
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)


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
