"""What every vector index promises, and which tier a library is to have."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from search.types import Vectors

RowIds = npt.NDArray[np.int64]
Kind = Literal["flat", "ivf"]

LARGE = 10_000
"""Pictures from which on an exact query, answered whole, takes more than 5 ms on two cores."""


class VectorIndex(Protocol):
    """Nearest pictures by inner product of unit vectors, which is their cosine.

    A cache over the catalog: it holds a picture number for each vector, knows the last entry of
    the change log that it has seen, and can be rebuilt at any time. Not safe for use by several
    threads at once.

    kind: the tier. dim: length of a vector. sequence: the last entry of the change log that is in
    it; stamp: of that entry, when it was saved. made: how many vectors it was made for.
    """

    kind: Kind
    dim: int
    sequence: int
    stamp: int
    made: int

    def __len__(self) -> int: ...

    def numbers(self) -> RowIds:
        """All picture numbers in it, ascending."""
        ...

    def replace(self, numbers: Collection[int], vectors: Vectors) -> None:
        """Add (n, dim) float32 vectors, in place of those of the same numbers."""
        ...

    def remove(self, numbers: Collection[int]) -> None:
        """Drop pictures; unknown numbers are ignored."""
        ...

    def search(self, query: Vectors, k: int, only: Collection[int] | None = None) -> RowIds:
        """(dim,) float32 -> picture numbers of at least the min(k, n) nearest, best first.

        A tier that keeps vectors roughly gives more than k, for the caller to score again with the
        stored vectors and cut. only: where given, no other pictures are looked at; a few of them
        are searched exactly by every tier.
        """
        ...

    def head(self) -> dict[str, Any]:
        """The head of a snapshot: what it is, `count` and all that is counted."""
        ...

    def body(self) -> bytes:
        """The body of a snapshot."""
        ...


def wanted(setting: str, kind: Kind, count: int, large: int = LARGE) -> Kind:
    """The tier for a library of `count` vectors that has `kind` now.

    setting: auto, flat or ivf. Under auto it is IVF from `large` vectors on, and flat again below
    half of that, so that a library near the border does not go to and fro.
    """
    if setting == "flat" or not count:
        return "flat"
    if setting == "ivf" or count >= large:
        return "ivf"
    return kind if 2 * count >= large else "flat"


def outgrown(kind: Kind, count: int, made: int) -> bool:
    """Whether an index has twice the vectors that its clusters were made for."""
    return kind == "ivf" and count >= 2 * made
