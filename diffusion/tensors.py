"""Safetensors files that may be hostile: their header is checked before a tensor is allocated."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from diffusion.reading import open_regular

MAX_HEADER = 4 * 2**20
"""Bytes of the header of weights. That of the largest preset has some 20,000."""

MAX_BYTES = 16 * 2**30
"""Bytes of a file of tensors: four billion weights in single precision."""

FLOATS = ("F16", "BF16", "F32", "F64")

Shapes: TypeAlias = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class TensorHeader:
    """Shapes and types of the tensors of a file, by name, and its metadata."""

    shapes: dict[str, tuple[int, ...]]
    types: dict[str, str]
    metadata: dict[str, str]


def read_header(path: str | Path, limit: int = MAX_HEADER) -> TensorHeader:
    """Read the header of a safetensors file. limit: most bytes of it.

    The sizes in it are claims: `read_tensors` compares them with the file. Raises OSError, and
    ValueError when the header is too long, damaged, or has tensors that are not floating.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        length = int.from_bytes(file.read(8), "little")
        if size < 8 + length:
            raise ValueError("its header is longer than the file")
        if size > MAX_BYTES:
            raise ValueError(f"it has more than {MAX_BYTES} bytes")
        if length > limit:
            raise ValueError(f"its header has more than {limit} bytes")
        text = file.read(length)
    try:
        header = dict(json.loads(text))
        metadata = dict(header.pop("__metadata__", {}))
        shapes = {name: tuple(about["shape"]) for name, about in header.items()}
        types = {name: about["dtype"] for name, about in header.items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(f"its header cannot be read: {error}") from error
    if not all(type(n) is int and n >= 0 for shape in shapes.values() for n in shape):
        raise ValueError("its header has sizes that are not whole")
    if not all(isinstance(text, str) for text in metadata.values()):
        raise ValueError("its header has metadata that are not texts")
    if wrong := next((name for name, kind in types.items() if kind not in FLOATS), None):
        raise ValueError(f"its tensor {wrong} is of the type {types[wrong]}, not floating")
    return TensorHeader(shapes, types, metadata)


def check_shapes(shapes: Shapes, expected: Shapes) -> None:
    """Raise ValueError when the tensors are not exactly those that are expected."""
    for name in (*expected, *shapes):
        if name not in shapes:
            raise ValueError(f"it lacks the tensor {name}")
        if name not in expected:
            raise ValueError(f"it has a tensor {name[:100]} that the network has not")
        if shapes[name] != expected[name]:
            raise ValueError(f"its tensor {name} is {shapes[name]}, not {expected[name]}")


def read_tensors(path: str | Path, names: Collection[str] | None = None) -> dict[str, Tensor]:
    """Read tensors of a file whose header was checked. names: of the tensors; None for all.

    Raises OSError, and ValueError when the file is cut, or holds values that are not finite.
    """
    open_regular(path).close()
    try:
        with safe_open(path, framework="pt") as file:
            chosen = file.keys() if names is None else names
            tensors = {name: file.get_tensor(name) for name in chosen}
    except SafetensorError as error:
        raise ValueError(str(error)) from error
    check_finite(tensors)
    return tensors


def check_finite(tensors: Mapping[str, Tensor]) -> None:
    """Raise ValueError when a value is NaN or infinite, also as float32."""
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor.float()).all():
            raise ValueError(f"its tensor {name} has values that are not finite")


def list_shapes(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Shapes of tensors by name."""
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}
