"""What every vector index promises."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from search.embedders.base import Vectors

Numbers = npt.NDArray[np.int64]


class VectorIndex(Protocol):
    """Nearest pictures by inner product of unit vectors, which is their cosine.

    A cache over the catalog: it holds a picture number for each vector, knows the last entry of
    the change log that it has seen, and can be rebuilt at any time. Not safe for use by several
    threads at once.

    kind: the tier, as `status` shows it. dim: length of a vector. sequence: the last entry of the
    change log that is in it; stamp: of that entry, when it was saved. generation: counts the
    entries applied since it was made.
    """

    kind: str
    dim: int
    sequence: int
    stamp: int
    generation: int

    def __len__(self) -> int: ...

    def numbers(self) -> Numbers:
        """All picture numbers in it, ascending."""
        ...

    def replace(self, numbers: Collection[int], vectors: Vectors) -> None:
        """Add (n, dim) float32 vectors, in place of those of the same numbers."""
        ...

    def remove(self, numbers: Collection[int]) -> None:
        """Drop pictures; unknown numbers are ignored."""
        ...

    def search(
        self, query: Vectors, k: int, only: Collection[int] | None = None
    ) -> tuple[Vectors, Numbers]:
        """(dim,) float32 -> cosines and picture numbers of the min(k, n) nearest, best first.

        only: where given, no other pictures are looked at.
        """
        ...

    def save(self, path: Path) -> None:
        """Write a snapshot with its sequence and checksum; either all of it is there or none."""
        ...
