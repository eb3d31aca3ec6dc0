"""What a search understands of words, and suggestions."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

UNLIKELY = 0.2  # probability below which a picture is taken not to show a word
ADVICE = {
    "unknown_words": "to search by any words, change to a CLIP model: run `lookalike --model "
    "ViT-B-32 index FOLDER`",
    "word_in_no_picture": "no picture is seen to show {words}; these are the least unlikely ones. "
    f"Give --min-score {UNLIKELY:g} to leave them out",
}
"""Advice on a text, by code."""


@dataclass(frozen=True)
class Understood:
    """How a text of a query was understood.

    words: the known words in it. names: its other words that are in the full text of a picture:
    names of files and folders, tags, captions and text in it.
    labels: its other words that are labels of pictures. unknown: the rest. suggestions: known words
    that are written alike or mean more. advice_code: a key of `ADVICE`, or None. least_probability:
    from which on a picture is taken to show the word, where the scores of the answer are
    probabilities of that; None where they are cosines.
    """

    text: str
    words: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    suggestions: tuple[str, ...] = ()
    advice_code: str | None = None
    least_probability: float | None = None

    @property
    def advice(self) -> str | None:
        """What to do if words are unknown, or no picture shows the word."""
        if self.advice_code is None:
            return None
        return ADVICE[self.advice_code].format(words=", ".join(self.words))

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON, as `search --json` prints it."""
        return {**asdict(self), "advice": self.advice}


@dataclass(frozen=True)
class KnownWord:
    """A word to search by. also: its other names. precision: share of right pictures among the
    first ten, 0 to 1, as measured on labelled pictures."""

    word: str
    also: tuple[str, ...]
    precision: float


@dataclass(frozen=True)
class Words:
    """Words that a model can search by. any_words: it takes any words, so that none are listed.
    total: how many it knows in all."""

    model: str
    words: tuple[KnownWord, ...] = ()
    total: int = 0
    any_words: bool = False

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON, as `words --json` prints it."""
        return asdict(self)


SuggestionKind = Literal[
    "collection",
    "tag",
    "album",
    "folder",
    "word",
    "label",
    "date",
    "camera",
    "lens",
    "field",
    "value",
]


@dataclass(frozen=True)
class Suggestion:
    """What a query may go on with. text: as it is shown. insert: what takes the place of what was
    typed. count: of pictures; None where they are not counted."""

    kind: SuggestionKind
    text: str
    insert: str
    count: int | None = None


@dataclass(frozen=True)
class Suggestions:
    """Suggestions, by kind and in each kind the most frequent first."""

    suggestions: tuple[Suggestion, ...]

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON, as `GET /suggest` answers."""
        return asdict(self)
