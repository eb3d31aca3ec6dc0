"""How texts of a query are read where a model knows single words, or no words at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from search.catalog.reads import CatalogReader
from search.catalog.writes import Space
from search.embedders.base import TextEmbedder
from search.embedders.models import Models
from search.embedders.vocabulary import LabelEmbedder, Vocabulary, Word, split_words
from search.querying.fusion import TextMatcher
from search.querying.query import Query
from search.querying.words import split_phrases
from search.records.words import UNLIKELY, Understood
from search.types import Vectors

MOST_SEEN = 20  # pictures in which a word is seen
MOST_NAMED = 500  # pictures that an unknown word finds by their full text


@dataclass(frozen=True)
class ParsedText:
    """How a text is searched for.

    vector: (dim,), None where no part of the text is known. named: pictures that match by their
    full text, or by their labels. seen: for a text that is one word or label with
    classes, the pictures in which the model sees these, most probable first, with the probability;
    else None.
    """

    understood: Understood
    vector: tuple[float, ...] | None
    named: tuple[int, ...]
    seen: Mapping[int, float] | None = None


@dataclass(frozen=True)
class Examples:
    """Pictures that a word which is not known finds by their full text or their labels.

    has_name: whether some have it in their full text. by_label: probability of those that have a
    label for it. direction: unit mean of their vectors, (dim,), read only; None without pictures.
    """

    row_ids: tuple[int, ...] = ()
    has_name: bool = False
    by_label: Mapping[int, float] = field(default_factory=dict)
    direction: Vectors | None = None

    @property
    def size(self) -> int:
        """Bytes in memory, about."""
        vector = 0 if self.direction is None else self.direction.nbytes
        return 64 * (len(self.row_ids) + 2 * len(self.by_label)) + vector


class TextReader:
    """Turns texts into known words, names of files, and vectors. Reads the catalog."""

    def __init__(self, reader: CatalogReader, models: Models, space: Space) -> None:
        """space: whose vectors are searched."""
        self._reader, self._models, self._space = reader, models, space
        self._matcher = TextMatcher(reader)

    def read(self, query: Query) -> dict[int, ParsedText]:
        """Return how each text is read, by the index of its term.

        A model with a text tower reads texts itself: the answer is empty then. Raises ModelError.
        """
        texts = {i: term.text for i, term in enumerate(query.terms) if term.text is not None}
        if not texts:
            return {}
        embedder = self._models.open_for(self._space)
        if isinstance(embedder, TextEmbedder) and not isinstance(embedder, LabelEmbedder):
            return {}
        vocabulary = embedder.vocabulary() if isinstance(embedder, LabelEmbedder) else None
        return {i: self._parse(text, vocabulary, query.k) for i, text in texts.items()}

    def _parse(self, text: str, vocabulary: Vocabulary | None, k: int) -> ParsedText:
        """Parse one text. k: number of hits that the query is for."""
        parts = vocabulary.split(text) if vocabulary else split_words(text)
        words = [part.word for part in parts if part.word]
        others = list(dict.fromkeys(part.text for part in parts if not part.word))
        single = len(words) == 1 and not others
        most = max(k, MOST_SEEN) if single else MOST_SEEN
        seen = {word: self._find_seen(word, vocabulary, most) for word in words if vocabulary}
        rows: list[Vectors] = [
            self._embed_word(word, vocabulary, seen[word]) for word in words if vocabulary
        ]
        named: dict[int, None] = {}
        names, labelled = list[str](), dict[str, Mapping[int, float]]()
        for other in others:
            examples = self._find_examples(other, vocabulary)
            if examples.direction is not None:
                if examples.has_name:
                    names.append(other)
                if examples.by_label:
                    labelled[other] = examples.by_label
                named |= dict.fromkeys(examples.row_ids)
                rows.append(examples.direction)
        unknown = tuple(other for other in others if other not in {*names, *labelled})
        near = vocabulary.nearest(*unknown) if vocabulary and unknown else []
        understood = Understood(
            text=text,
            words=tuple(word.names[0] for word in words),
            names=tuple(names),
            labels=tuple(labelled),
            unknown=unknown,
            suggestions=tuple(near),
            advice_code=_advice_code(words, seen, bool(others)),
        )
        total = np.sum(rows, axis=0) if rows else None
        vector = None if total is None else tuple(float(value) for value in total)
        ranked = seen[words[0]] if single else None
        if not words and len(others) == 1:
            ranked = labelled.get(others[0])
        return ParsedText(understood, vector, tuple(named), ranked)

    def _find_examples(self, text: str, vocabulary: Vocabulary | None) -> Examples:
        """Return the pictures that an unknown word finds; kept in memory until the catalog
        changes."""

        def find() -> Examples:
            by_name = self._matcher.find(split_phrases(text), MOST_NAMED).tolist()
            by_label = self._find_labelled(text, vocabulary) if vocabulary else {}
            row_ids, stored = self._reader.load_vectors(self._space, {*by_name, *by_label})
            if not row_ids:
                return Examples()
            mean = stored.mean(0)
            direction = mean / max(float(np.linalg.norm(mean)), 1e-6)
            return Examples(tuple(row_ids), bool(by_name), by_label, direction)

        key = "examples", text, self._space.id, self._reader.part
        return self._reader.database.answers.get(key, find, lambda one: one.size)

    def _find_labelled(self, name: str, vocabulary: Vocabulary) -> Mapping[int, float]:
        """Return the pictures that have a label for a name that is no word: row id -> probability,
        most probable first."""
        classes = vocabulary.label_classes(name)
        if not classes:
            return {}
        return self._reader.find_by_labels(self._space, classes, MOST_NAMED, vocabulary.threshold)

    def _find_seen(
        self, word: Word, vocabulary: Vocabulary, most: int
    ) -> Mapping[int, float] | None:
        """Return the pictures in which the model sees a class of a word, as `ParsedText.seen`;
        None for a word without classes."""
        classes = vocabulary.classes_of([word])
        return self._reader.find_by_labels(self._space, classes, most, 0.0) if classes else None

    def _embed_word(
        self, word: Word, vocabulary: Vocabulary, seen: Mapping[int, float] | None
    ) -> Vectors:
        """Return the unit mean (dim,) of the pictures in which the model is sure to see a word,
        weighted by probability; without such pictures, the word's own vector.

        seen: as `_find_seen` returns it.
        """
        best = list((seen or {}).items())[:MOST_SEEN]
        numbers, stored = self._reader.load_vectors(
            self._space, [number for number, share in best if share >= UNLIKELY]
        )
        if not numbers or seen is None:
            return vocabulary.mean([word])
        total = np.array([seen[n] for n in numbers], np.float32) @ stored
        unit: Vectors = total / max(float(np.linalg.norm(total)), 1e-6)
        return unit


def _advice_code(
    words: Sequence[Word], seen: Mapping[Word, Mapping[int, float] | None], unknown: bool
) -> str | None:
    """Return the code of the advice for a text. unknown: whether some of its words are unknown."""
    if unknown:
        return "unknown_words"
    if len(words) != 1:
        return None
    shares = seen.get(words[0])
    if shares is not None and max(shares.values(), default=0.0) < UNLIKELY:
        return "word_in_no_picture"
    return None
