"""What every embedder promises, and how a picture is prepared for one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from search.media.preprocessing import Preprocessing
from search.types import Pixels, Vectors


@runtime_checkable
class Embedder(Protocol):
    """A model that turns prepared pictures into unit vectors.

    An embedder is used by one thread at a time (the inference thread of `search.runtime`). It is
    made without its network, which `load` or the first picture brings in.

    name: what a user types after `--model`.
    fingerprint: hexadecimal; changes whenever the same picture could get another vector
        (architecture, weights, preprocessing, decode rule). Vectors of two fingerprints never mix.
    dim: length of a vector.
    terms: what its weights may be used for, in one line.
    batch: pictures a call should get for good throughput, once it is loaded.
    preprocessing: applied to each picture before `embed`.
    """

    name: str
    fingerprint: str
    dim: int
    terms: str
    preprocessing: Preprocessing

    @property
    def batch(self) -> int: ...

    def load(self) -> object:
        """Read the network into memory, unless it is there. Raises ModelError."""
        ...

    def embed(self, pixels: Sequence[Pixels]) -> Vectors:
        """n prepared pictures, each uint8 of `preprocessing.shape` -> (n, dim) float32 of unit
        length. What is long calls back between its parts, so that a query may go first."""
        ...


@runtime_checkable
class TextEmbedder(Embedder, Protocol):
    """An embedder whose vectors of texts and of pictures can be compared."""

    def embed_text(self, texts: Sequence[str]) -> Vectors:
        """n texts -> (n, dim) float32 of unit length. Raises ModelError where the words cannot be
        split as the model wants them, and QueryError for words that it does not know."""
        ...
