"""Words that an encoder without a text tower can search by: each has a vector among pictures.

`scripts/train/words.py` makes the table and measures every word in it.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from safetensors import safe_open

from search.embedders.base import Embedder
from search.errors import ModelError, QueryError
from search.records.pictures import Label
from search.types import Pixels, Vectors

RELIABLE = 0.5  # a word is searched for when its measured precision@10 is at least this
MOST_LABELS = 5  # that are shown of a picture
MOST_CLASSES, LEAST = 10, 0.02  # classes that are stored of a picture, and their least probability
IGNORED = frozenset(
    "a an the some my our your his her and or with of in on at to from by for is are photo photos"
    " picture pictures image images 的 和 与 在 有 一个 一只 一张 照片 图片".split()
)
_CJK = re.compile(r"[\u3400-\u9fff]")


@dataclass(frozen=True)
class Word:
    """A thing that can be searched for.

    names: how it is called, the main name first, Chinese ones among them. precision: measured share
    of right pictures among the first ten, `RELIABLE` to 1. classes: ImageNet classes that it is the
    union of; empty for a word that was learned otherwise. everyday: whether it is used as a label
    beside the classes themselves.
    """

    names: tuple[str, ...]
    precision: float
    classes: tuple[int, ...]
    everyday: bool


@dataclass(frozen=True)
class Part:
    """A part of a text: the word that it stands for, or None for an unknown one."""

    text: str
    word: Word | None


class Vocabulary:
    """The words of one encoder.

    A name in the table without a measured precision is no word to search by. It stands for labels:
    it matches the pictures that have one of its classes as a label.
    """

    def __init__(self, path: Path, *fingerprints: str) -> None:
        """fingerprints: of the encoder whose vectors the words' are to be compared with, under the
        present decode rule and earlier ones.

        Raises ModelError when the file is damaged or belongs to another encoder.
        """
        try:
            with safe_open(path, framework="numpy") as file:
                about = file.metadata()
                vectors: Vectors = file.get_tensor("vectors").astype(np.float32)
                classes = file.get_tensor("classes")
            entries = json.loads(about["words"])
            if about["fingerprint"] not in fingerprints or len(entries) != len(vectors):
                raise ValueError("it belongs to other weights")
            self.threshold = float(about["threshold"])
            self._temperature = float(about["temperature"])
            self.class_names: list[str] = json.loads(about["classes"])
            unusable: dict[str, list[str]] = json.loads(about.get("unusable", "{}"))
        except Exception as error:  # a foreign file fails in many ways
            raise ModelError(
                f"the words in {path} cannot be used ({error}); reinstall the package, or make "
                "the table again with scripts/train/words.py"
            ) from error
        members = np.split(classes, np.cumsum([entry["count"] for entry in entries])[:-1])
        groups = [tuple(member.tolist()) for member in members]
        measured = [i for i, entry in enumerate(entries) if entry["precision"] is not None]
        self.words = [
            Word(
                tuple(entries[i]["names"]),
                float(entries[i]["precision"]),
                groups[i],
                bool(entries[i]["everyday"]),
            )
            for i in measured
        ]
        self._label_groups = {  # everyday name -> its classes
            entry["names"][0]: group
            for entry, group in zip(entries, groups, strict=True)
            if entry["everyday"] and len(group) > 1
        }
        self._label_classes = {  # name that is no word -> its classes
            normalize(name): group
            for entry, group in zip(entries, groups, strict=True)
            if entry["precision"] is None
            for name in entry["names"]
        }
        self._vectors = vectors[measured]
        self._rows: dict[str, int] = {}
        for row, word in enumerate(self.words):
            for name in word.names:
                self._rows.setdefault(normalize(name), row)
        self._unusable = {normalize(name): broader for name, broader in unusable.items()}
        self._longest = max((len(name.split()) for name in self._rows), default=1)

    def embed(self, texts: Sequence[str]) -> Vectors:
        """n texts -> (n, dim) of unit length: the mean of the words that a text is made of.

        Raises QueryError for a text without a known word.
        """
        rows = np.empty((len(texts), self._vectors.shape[1]), np.float32)
        for i, text in enumerate(texts):
            words = [part.word for part in self.split(text) if part.word]
            if not words:
                near = ", ".join(self.nearest(text))
                raise QueryError(f'"{text[:60]}" has no known word; known ones are such as {near}')
            rows[i] = self.mean(words)
        return rows

    def mean(self, words: Sequence[Word]) -> Vectors:
        """The unit mean (dim,) of the vectors of words; at least one."""
        rows = [self._rows[normalize(word.names[0])] for word in words]
        total = self._vectors[rows].sum(0)
        unit: Vectors = total / np.linalg.norm(total)
        return unit

    def split(self, text: str) -> list[Part]:
        """A text -> its words, the longest known ones first; articles and the like are left out.

        A text in Chinese, which has no spaces, is split at the known words. The name of a thing
        that cannot be searched for stays whole, unless all its words are known: a road (马路) is
        not a horse (马), but a plastic bag is a bag.
        """
        parts, unknown = list[Part](), list[str]()

        def flush() -> None:
            if unknown:
                parts.append(Part("".join(unknown), None))
                unknown.clear()

        tokens = list(_tokens(normalize(text)))
        while tokens:
            for size in range(min(len(tokens), max(self._longest, 6)), 0, -1):
                word = self._find(tokens[:size])
                if word or self._is_unusable(tokens[:size]):
                    flush()
                    parts.append(Part(_join(tokens[:size]), word))
                    del tokens[:size]
                    break
                if size == 1:
                    token = tokens.pop(0)
                    if token in IGNORED:
                        flush()
                    elif _CJK.search(token) and unknown and _CJK.search(unknown[0]):
                        unknown.append(token)
                    else:
                        flush()
                        unknown.append(token)
        flush()
        return parts

    def nearest(self, *texts: str) -> list[str]:
        """Known words that mean more than one of the texts, or are written like it; common ones
        where none is."""
        near = list[str]()
        for text in map(normalize, texts):
            broader = [name for form in word_forms(text) for name in self._broader(form)]
            near += broader or get_close_matches(text, self._known, 3, 0.7)
        mains = dict.fromkeys(self.words[self._rows[name]].names[0] for name in near)
        return list(mains) or ["dog", "car", "flower"]

    def complete(self, prefix: str, limit: int = 50) -> list[Word]:
        """Words of which a name begins with a prefix, everyday ones first, then by that name."""
        start = normalize(prefix)
        matches: dict[int, str] = {}
        for name in self._known[bisect_left(self._known, start) :]:
            if not name.startswith(start):
                break
            matches.setdefault(self._rows[name], name)
        order = sorted(matches, key=lambda row: (not self.words[row].everyday, matches[row]))
        return [self.words[row] for row in order[:limit]]

    def labels(self, logits: Vectors) -> list[tuple[Label, ...]]:
        """(n, 1000) class logits -> the likely classes of each picture, most probable first."""
        scaled = logits.astype(np.float64) / self._temperature
        shares = np.exp(scaled - scaled.max(1, keepdims=True))
        shares /= shares.sum(1, keepdims=True)
        order = np.argsort(-shares, axis=1, kind="stable")[:, :MOST_CLASSES]
        labels = []
        for row, places in zip(shares, order, strict=True):
            likely = [i for i in places if row[i] >= LEAST]
            labels.append(
                tuple(Label(self.class_names[i], round(float(row[i]), 3)) for i in likely)
            )
        return labels

    def summarize(self, labels: Sequence[Label]) -> tuple[Label, ...]:
        """Likely classes -> what is shown to people: at most five that are above the calibrated
        threshold, classes and everyday words for several of them, most probable first."""
        sums = dict[str, float]()
        for label in labels:
            for name in self._groups_of_class.get(label.name, ()):
                sums[name] = sums.get(name, 0.0) + label.score
        sums = {
            name: min(1.0, sums[name]) for name in sorted(sums, key=self._group_ranks.__getitem__)
        }
        narrow = [label for label in labels if label.score >= self.threshold]
        broad = [Label(n, round(v, 3)) for n, v in sums.items() if v >= self.threshold]
        chosen = {label.name: label for label in [*narrow, *broad]}
        return tuple(sorted(list(chosen.values())[:MOST_LABELS], key=lambda one: -one.score))

    def classes_of(self, words: Sequence[Word]) -> list[str]:
        """The names of all classes that words are unions of."""
        return sorted({self.class_names[i] for word in words for i in word.classes})

    def label_classes(self, text: str) -> list[str]:
        """The names of the classes that a name stands for which is no word to search by."""
        for form in word_forms(normalize(text)):
            if group := self._label_classes.get(form):
                return sorted(self.class_names[i] for i in group)
        return []

    @cached_property
    def _known(self) -> list[str]:
        return sorted(self._rows)

    @cached_property
    def _group_ranks(self) -> dict[str, int]:
        """Everyday names for several classes, the narrowest first: they say most."""
        names = sorted(self._label_groups, key=lambda name: len(self._label_groups[name]))
        return {name: rank for rank, name in enumerate(names)}

    @cached_property
    def _groups_of_class(self) -> dict[str, list[str]]:
        """Name of a class -> everyday names for several classes that it is one of."""
        groups: dict[str, list[str]] = {}
        for name, group in self._label_groups.items():
            for one in {self.class_names[i] for i in group}:
                groups.setdefault(one, []).append(name)
        return groups

    def _broader(self, name: str) -> Sequence[str]:
        """Words that mean more than a name that is none, at most two."""
        if group := self._label_classes.get(name):
            wide = [w for w in self.words if w.everyday and {*group} < {*w.classes}]
            return [w.names[0] for w in sorted(wide, key=lambda w: len(w.classes))[:2]]
        return self._unusable.get(name, ())

    def _find(self, tokens: Sequence[str]) -> Word | None:
        for name in word_forms(_join(tokens)):
            if name in self._rows:
                return self.words[self._rows[name]]
        return None

    def _is_unusable(self, tokens: Sequence[str]) -> bool:
        """Whether tokens name a thing that is no word to search by, and some of them are no words
        of their own."""
        if len(tokens) < 2 or not any(
            form in self._unusable or form in self._label_classes
            for form in word_forms(_join(tokens))
        ):
            return False
        return not all(self._find([token]) for token in tokens)


@runtime_checkable
class LabelEmbedder(Embedder, Protocol):
    """An embedder that also says what is in a picture, and has a list of the words it knows."""

    def embed_with_labels(
        self, pixels: Sequence[Pixels]
    ) -> tuple[Vectors, list[tuple[Label, ...]]]:
        """As `embed`, with the labels of each picture, most probable first."""
        ...

    def vocabulary(self) -> Vocabulary | None:
        """The words that it can search by; None where it has none. Raises ModelError."""
        ...


def normalize(text: str) -> str:
    """Lower case, words apart by one space, without brackets and their content."""
    return re.sub(r"[\W_]+", " ", re.sub(r"\(.*?\)|'s\b", "", text.casefold())).strip()


def split_words(text: str) -> list[Part]:
    """The words of a text, all unknown: for an encoder without a vocabulary."""
    words = normalize(text).split()
    return [Part(word, None) for word in words if word not in IGNORED]


def _tokens(text: str) -> Iterator[str]:
    """Words, and single characters of Chinese."""
    for word in text.split():
        if _CJK.search(word):
            yield from re.findall(r"[\u3400-\u9fff]|[^\u3400-\u9fff]+", word)
        else:
            yield word


def _join(tokens: Sequence[str]) -> str:
    """Tokens as they were written: no spaces around Chinese characters."""
    return re.sub(r"(?<=[\u3400-\u9fff]) | (?=[\u3400-\u9fff])", "", " ".join(tokens))


def word_forms(name: str) -> Iterator[str]:
    """The name as it is, then as the singular of a plural, and the other way round."""
    yield name
    for ending, instead in (("ies", "y"), ("ves", "f"), ("ves", "fe"), ("es", ""), ("s", "")):
        if name.endswith(ending) and len(name) > len(ending) + 2:
            yield name.removesuffix(ending) + instead
    yield f"{name}s"
