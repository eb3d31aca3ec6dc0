"""The protocols of embedders. `tests/search/embedders/test_contract.py` holds them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from search.media.preprocessing import Preprocessing
from search.media.rules import DECODE_RULE
from search.types import Pixels, Vectors


@runtime_checkable
class Embedder(Protocol):
    """A model that turns prepared pictures into unit vectors.

    One thread at a time uses it (the inference thread of `search.runtime`). Opening an embedder
    does not read its network; `load` or the first picture does.

    name: what users type after `--model`.
    fingerprint: hexadecimal; changes whenever the same picture could get another vector
        (architecture, weights, preprocessing, decode rule). Vectors of two fingerprints never mix.
    dim: length of a vector.
    terms: what its weights may be used for, in one line.
    batch: pictures for one call of `embed`, once the network is loaded.
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
        """Read the network into memory, unless this was done before. Raises ModelError."""
        ...

    def embed(self, pixels: Sequence[Pixels]) -> Vectors:
        """Return (n, dim) float32 of unit length for n pictures, also for n = 0.

        pixels: prepared pictures, each uint8 of `preprocessing.shape`. A long call pauses between
        its parts, so that a query may go first. Raises ModelError.
        """
        ...


@runtime_checkable
class TextEmbedder(Embedder, Protocol):
    """An embedder whose vectors of texts and of pictures can be compared."""

    def embed_text(self, texts: Sequence[str]) -> Vectors:
        """Return (n, dim) float32 of unit length for n texts.

        Raises ModelError without a tokenizer, and QueryError for words that the model does not
        know.
        """
        ...


@runtime_checkable
class RuleEmbedder(Embedder, Protocol):
    """An embedder that also knows its fingerprints under earlier decode rules.

    It answers for vectors of these fingerprints until all pictures have new ones: the network is
    the same, and most pictures are decoded alike under all rules.
    """

    earlier_fingerprints: frozenset[str]


def make_fingerprint(parts: str, rule: int = DECODE_RULE) -> str:
    """Return the fingerprint of a model. parts: all that its vectors depend on but the rule."""
    return hashlib.sha256(f"{parts} decode {rule}".encode()).hexdigest()[:16]


def list_earlier_fingerprints(parts: str) -> frozenset[str]:
    """Return the fingerprints of the same model under the decode rules before the present one."""
    return frozenset(make_fingerprint(parts, rule) for rule in range(1, DECODE_RULE))
