"""Files that are no weights."""

from __future__ import annotations

from pathlib import Path

import torch

DAMAGED = ("empty", "text", "cut", "pickle", "dict")


class Hostile:
    """What a pickle would run: it creates the file `hostile` in the current folder."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (Path("hostile"),)


def write_damaged(kind: str, source: Path, path: Path) -> None:
    """Write a file of a kind of `DAMAGED`. source: whole weights, for `cut`."""
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_bytes(b"not weights at all " * 9)
    elif kind == "cut":
        path.write_bytes(source.read_bytes()[:-1000])
    else:
        torch.save(Hostile() if kind == "pickle" else {"a": [1, 2]}, path)
