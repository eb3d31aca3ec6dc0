"""A query -> hits: decode its pictures, embed them, search, score again from the catalog."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from search.catalog.reads import CatalogReader, PictureSummary, rescore
from search.catalog.writes import Model
from search.embedders.base import Embedder, TextEmbedder
from search.embedders.vocabulary import LabelEmbedder, Vocabulary, Word, split_words
from search.errors import EmptyError, NotFoundError, QueryError
from search.media.content import is_low_content
from search.media.sources import PictureResolver
from search.querying.query import Query, Term, combine
from search.records import UNLIKELY, Hit, Hits, Understood
from search.runtime import Runtime
from search.types import Pixels, Vectors
from search.vectors.base import StoreReplica

STAGES = ("decode", "embed", "search")
MOST_SEEN = 20  # pictures in which a word is seen
MOST_NAMED = 500  # pictures that a word finds by the names of files and folders


def _advice_code(
    words: Sequence[Word], seen: Mapping[Word, Mapping[int, float] | None], unknown: bool
) -> str | None:
    """The code of the advice for a text. unknown: whether some of its words are unknown."""
    if unknown:
        return "unknown_words"
    if len(words) != 1:
        return None
    shares = seen.get(words[0])
    if shares is not None and max(shares.values(), default=0.0) < UNLIKELY:
        return "word_in_no_picture"
    return "word_not_measured" if words[0].precision is None else None


@dataclass(frozen=True)
class ParsedText:
    """How a text is searched for.

    vector: None where no part of it is known. named: pictures that were found by the names of files
    and folders. seen: for a text that is one word with classes, the pictures in which the model
    sees these, most probable first, with the probability; else None.
    """

    understood: Understood
    vector: tuple[float, ...] | None
    named: tuple[int, ...]
    seen: Mapping[int, float] | None = None


class Searcher:
    """Answers queries under one model. Threads may share it."""

    def __init__(
        self,
        reader: CatalogReader,
        resolver: PictureResolver,
        runtime: Runtime,
        embedder: Callable[[], Embedder],
        model: Model,
        replica: Callable[[], StoreReplica],
    ) -> None:
        """embedder: loads the model; not called for queries that need none. replica: opens the
        vector store; on the inference thread alone."""
        self._reader, self._resolver, self._runtime = reader, resolver, runtime
        self._embedder, self.model, self._replica = embedder, model, replica

    def answer(self, query: Query) -> Hits:
        """Best first. Raises LookalikeError for what cannot be answered."""
        with self._runtime.ahead():
            readings = self._read_texts(query)
            found, took, blank = self._found(query, readings)
        begun = time.perf_counter()
        hits = [
            self._hit(described, score)
            for described, score in found
            if query.min_score is None or score >= query.min_score
        ]
        took["search"] += time.perf_counter() - begun
        took |= {"verify": 0.0, "total": sum(took.values())}
        rounded = {name: round(1000 * seconds, 3) for name, seconds in took.items()}
        understood = tuple(reading.understood for reading in readings.values())
        return Hits(
            tuple(hits), self.model.name, query.to_json(), rounded, understood, low_content=blank
        )

    def _found(
        self, query: Query, readings: dict[int, ParsedText]
    ) -> tuple[list[tuple[PictureSummary, float]], dict[str, float], bool]:
        """Pictures with scores, best first, the seconds that each stage took, and whether a
        picture of the query is blank. readings: of the texts, by the place of their term."""
        clock = [time.perf_counter()]
        terms = [
            replace(term, text=None, vector=readings[i].vector) if i in readings else term
            for i, term in enumerate(query.terms)
            if i not in readings or readings[i].vector is not None
        ]
        if not terms:  # no word is known
            return [], dict.fromkeys(STAGES, 0.0), False
        decoded = [self._decoded(term) for term in terms]
        pixels = [prepared for prepared, _ in decoded]
        texts = any(term.text is not None for term in terms)
        embedder = self._embedder() if texts or any(p is not None for p in pixels) else None
        own = {identity for _, identity in decoded}
        only_names = len(readings) == len(query.terms) and not any(
            reading.understood.words for reading in readings.values()
        )
        among = [n for reading in readings.values() for n in reading.named] if only_names else None
        alone = len(query.terms) == 1 and query.terms[0].weight >= 0
        seen = readings[0].seen if alone and readings else None
        clock.append(time.perf_counter())

        def find() -> list[tuple[PictureSummary, float]]:
            vectors = self._vectors(terms, pixels, embedder)
            vector = combine(vectors, [t.weight for t in terms])
            clock.append(time.perf_counter())
            nearest = self._nearest(vector, query.k, own, among)
            return nearest if seen is None else self._seen_first(seen, nearest, query.k)

        # one piece of work, since each may have to wait for one of somebody else's
        found = self._runtime.run(find, urgent=True)
        clock.append(time.perf_counter())
        stages = zip(STAGES, clock, clock[1:], strict=False)
        blank = any(is_low_content(one) for one in pixels if one is not None)
        return found, {name: end - begin for name, begin, end in stages}, blank

    def _read_texts(self, query: Query) -> dict[int, ParsedText]:
        """How each text is read, by the place of its term, where the model knows single words or
        none. A model with a text tower reads every text itself."""
        texts = {i: term.text for i, term in enumerate(query.terms) if term.text is not None}
        if not texts:
            return {}
        embedder = self._embedder()
        if isinstance(embedder, TextEmbedder) and not isinstance(embedder, LabelEmbedder):
            return {}
        vocabulary = embedder.vocabulary() if isinstance(embedder, LabelEmbedder) else None
        return {i: self._read(text, vocabulary, query.k) for i, text in texts.items()}

    def _read(self, text: str, vocabulary: Vocabulary | None, k: int) -> ParsedText:
        """A text -> the vector of its known words, and of the pictures that are named by others.
        k: how many hits the query is for."""
        parts = vocabulary.split(text) if vocabulary else split_words(text)
        words = [part.word for part in parts if part.word]
        others = list(dict.fromkeys(part.text for part in parts if not part.word))
        single = len(words) == 1 and not others
        most = max(k, MOST_SEEN) if single else MOST_SEEN
        seen = {word: self._seen(word, vocabulary, most) for word in words if vocabulary}
        rows: list[Vectors] = [
            self._vector_of(word, vocabulary, seen[word]) for word in words if vocabulary
        ]
        named: dict[int, None] = {}
        names = []
        for other in others:
            numbers, stored = self._reader.present(
                self.model, self._reader.by_name(other, MOST_NAMED)
            )
            if numbers:
                names.append(other)
                named |= dict.fromkeys(numbers)
                mean = stored.mean(0)
                rows.append(mean / max(float(np.linalg.norm(mean)), 1e-6))
        unknown = tuple(other for other in others if other not in names)
        near = vocabulary.nearest(*unknown) if vocabulary and unknown else []
        understood = Understood(
            text=text,
            words=tuple(word.names[0] for word in words),
            names=tuple(names),
            unknown=unknown,
            suggestions=tuple(near),
            advice_code=_advice_code(words, seen, bool(others)),
        )
        total = np.sum(rows, axis=0) if rows else None
        vector = None if total is None else tuple(float(value) for value in total)
        return ParsedText(understood, vector, tuple(named), seen[words[0]] if single else None)

    def _seen_first(
        self, seen: Mapping[int, float], nearest: list[tuple[PictureSummary, float]], k: int
    ) -> list[tuple[PictureSummary, float]]:
        """The pictures in which the model sees a word, by the probability of that, and then the
        nearest others, with 0. Their order by the probability is better than by any vector of the
        word (`scripts/bench models` measures it)."""
        described = self._reader.describe(list(seen))
        first = [(described[n], min(1.0, score)) for n, score in seen.items() if n in described]
        ids = {one.id for one, _ in first}
        rest = [(one, 0.0) for one, _ in nearest if one.id not in ids]
        return [*first, *rest][:k]

    def _seen(self, word: Word, vocabulary: Vocabulary, most: int) -> Mapping[int, float] | None:
        """The pictures in which the model sees a class of a word, as `ParsedText.seen`; None for a
        word without classes."""
        classes = vocabulary.classes_of([word])
        return self._reader.by_labels(self.model, classes, most, 0.0) if classes else None

    def _vector_of(
        self, word: Word, vocabulary: Vocabulary, seen: Mapping[int, float] | None
    ) -> Vectors:
        """The mean of the pictures in which the model is sure to see a word, by their probability;
        where there are none, the word's own vector. seen: as `_seen` returns it."""
        best = list((seen or {}).items())[:MOST_SEEN]
        numbers, stored = self._reader.present(
            self.model, [number for number, share in best if share >= UNLIKELY]
        )
        if not numbers or seen is None:
            return vocabulary.mean([word])
        total = np.array([seen[n] for n in numbers], np.float32) @ stored
        unit: Vectors = total / max(float(np.linalg.norm(total)), 1e-6)
        return unit

    def _nearest(
        self,
        vector: Vectors,
        k: int,
        own: Collection[str | None],
        among: Sequence[int] | None = None,
    ) -> list[tuple[PictureSummary, float]]:
        """Pictures with scores from the catalog's vectors, best first; of equals, those whose ids
        are in `own` come first. among: look at these pictures alone. On the inference thread."""
        store = self._replica().refresh()
        if not store.count:
            raise EmptyError("the library holds no pictures: run `lookalike index FOLDER` first")
        numbers = among
        if numbers is None:
            numbers = store.search(vector[None], k)[0].ids.tolist()
        present, stored = self._reader.present(self.model, numbers)
        scores = dict(zip(present, rescore(vector, stored).tolist(), strict=True))
        best = sorted(present, key=lambda n: (-scores[n], n))[:k]
        described = self._reader.describe(best)
        ranked = sorted(described, key=lambda n: (-scores[n], described[n].id not in own, n))
        return [(described[n], scores[n]) for n in ranked]

    @staticmethod
    def _hit(described: PictureSummary, score: float) -> Hit:
        return Hit(
            id=described.id,
            path=described.there(),
            paths=described.paths,
            score=score,
            kind=None,
            probability=None,
            width=described.width,
            height=described.height,
            tags=described.tags,
            low_content=described.low_content,
        )

    def _vectors(
        self, terms: Sequence[Term], pixels: Sequence[Pixels | None], embedder: Embedder | None
    ) -> Vectors:
        """(n, dim) unit vectors of the terms; `pixels` of those that are to be embedded. On the
        inference thread."""
        rows = np.empty((len(terms), self.model.dim), np.float32)
        fresh = [p for p in pixels if p is not None]
        embedded = iter(embedder.embed(fresh)) if embedder and fresh else iter(())
        texts = [term.text for term in terms if term.text is not None]
        spoken = (
            iter(embedder.embed_text(texts))
            if isinstance(embedder, TextEmbedder) and texts
            else iter(())
        )
        for i, (term, prepared) in enumerate(zip(terms, pixels, strict=True)):
            if prepared is not None:
                rows[i] = next(embedded)
            elif term.text is not None:
                rows[i] = next(spoken)
            elif term.picture_id is not None:
                rows[i] = self._stored(term.picture_id)
            else:
                rows[i] = self._given(term.vector or ())
        return rows

    def _stored(self, identity: str) -> Vectors:
        present, stored = self._reader.present(self.model, [self._reader.resolve(identity)])
        if not present:
            raise NotFoundError(f"picture {identity} has no vector yet; index its folder again")
        row: Vectors = stored[0]
        return row

    def _given(self, values: Sequence[float]) -> Vectors:
        row = np.asarray(values, np.float64)
        largest = float(np.abs(row).max(initial=0.0))
        if row.shape != (self.model.dim,) or not largest:
            raise QueryError(
                f"a vector of length {len(row)} for {self.model.name}, whose vectors have length "
                f"{self.model.dim} and are not all zero"
            )
        row /= largest  # so that no square is beyond what a number holds
        unit: Vectors = (row / np.linalg.norm(row)).astype(np.float32)
        return unit

    def _decoded(self, term: Term) -> tuple[Pixels | None, str | None]:
        """The prepared picture of a term that is to be embedded, and its id where it has one."""
        if term.image is None or (term.picture_id is not None and term.crop is None):
            return None, None
        preprocessing = self._embedder().preprocessing
        resolved = self._resolver.resolve(term.image, [preprocessing], term.crop)
        return resolved.prepared[0], resolved.id
