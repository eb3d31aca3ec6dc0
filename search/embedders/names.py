"""Names that an encoder without a text tower finds by: words, each with a vector among pictures.

`scripts/train_names.py` makes the table, and measures every name that is in it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import numpy as np
from safetensors import safe_open

from search.embedders.base import Vectors
from search.errors import ModelError, QueryError

RELIABLE = 0.5  # of the first ten pictures that a name finds, so many are what it says
_LEADING = re.compile(r"^(?:(?:a|an|the|some|my) |(?:photo|picture|image)s? of )+")


@dataclass(frozen=True)
class Name:
    """A thing by its words, the main one first. precision: the share of right ones among the first
    ten pictures when it was measured, 0..1; below `RELIABLE` it is not searched for. taught: by
    labelled pictures; else guessed from its place among the names that were."""

    words: tuple[str, ...]
    precision: float
    taught: bool


class Names:
    """The table of one encoder."""

    def __init__(self, path: Path, fingerprint: str) -> None:
        """fingerprint: of the encoder among whose vectors the names' have to be. Raises ModelError
        where the file is not of it, or damaged."""
        try:
            with safe_open(path, framework="numpy") as file:
                about = file.metadata()
                self.vectors: Vectors = file.get_tensor("vectors").astype(np.float32)
            self.names = [Name(tuple(w), p, t) for w, p, t in json.loads(about["names"])]
            if about["fingerprint"] != fingerprint or len(self.names) != len(self.vectors):
                raise ValueError("it is of other weights")
        except Exception as error:  # every way in which a file can be foreign
            raise ModelError(
                f"the names in {path} cannot be used ({error}); reinstall the package, or make "
                "them again with scripts/train_names.py"
            ) from error
        self._rows: dict[str, list[int]] = {}
        for row, name in enumerate(self.names):
            for word in name.words:
                self._rows.setdefault(plain(word), []).append(row)

    def embed(self, texts: Sequence[str]) -> Vectors:
        """n names -> (n, dim) of unit length. A word of two things is the middle of both. Raises
        QueryError for words that are not in the table, or not to be relied on."""
        rows = np.empty((len(texts), self.vectors.shape[1]), np.float32)
        for i, text in enumerate(texts):
            middle = self.vectors[self._reliable(text)].mean(0)
            rows[i] = middle / np.linalg.norm(middle)
        return rows

    def known(self) -> list[str]:
        """The main word of everything that can be searched for, in order."""
        return sorted(name.words[0] for name in self.names if name.precision >= RELIABLE)

    def _reliable(self, text: str) -> list[int]:
        found = next((self._rows[w] for w in _forms(plain(text)) if w in self._rows), [])
        good = [row for row in found if self.names[row].precision >= RELIABLE]
        if good:
            return good
        said = f'"{text[:60]}" is not among the things that mini knows by name'
        if found:
            best = max(self.names[row].precision for row in found)
            said = (
                f'"{text[:60]}" is a name that mini does not find reliably (of the first ten '
                f"pictures {10 * best:.0f} were right)"
            )
        words = [w for w, places in self._rows.items() if self._any_good(places)]
        known = self.known()
        near = get_close_matches(plain(text), words, 3, 0.75) or known[:: max(1, len(known) // 4)]
        raise QueryError(
            f"{said}; it knows {len(known)}, such as {', '.join(near)}; any other words "
            "need a CLIP model: run `lookalike --model ViT-B-32 index FOLDER`, or give a picture"
        )

    def _any_good(self, places: list[int]) -> bool:
        return any(self.names[row].precision >= RELIABLE for row in places)


def plain(text: str) -> str:
    """A name as it is compared: lower case, words apart by one space, no article before it."""
    bare = re.sub(r"[\W_]+", " ", re.sub(r"\(.*?\)|'s\b", "", text.casefold())).strip()
    return _LEADING.sub("", bare)


def _forms(name: str) -> Iterator[str]:
    """The name as it is, then as the singular of a plural, and the other way round."""
    yield name
    for ending, instead in (("ies", "y"), ("ves", "f"), ("es", ""), ("s", "")):
        if name.endswith(ending) and len(name) > len(ending) + 2:
            yield name.removesuffix(ending) + instead
    yield f"{name}s"
