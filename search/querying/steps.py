"""The steps of a search, each an object with one method; `pipeline` runs them in this order.

TermResolver, QueryEmbedder, Retriever, Ranker, LabelRanker, ScoreFilter, CopyGrouper, Sorter,
HitDescriber. Only QueryEmbedder and Retriever run on the inference thread. The others read the
catalog, the disk or the network, which that thread never waits for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from search.catalog.listing import PictureList
from search.catalog.reads import CatalogReader, PictureSummary, rescore
from search.catalog.traits import load_traits
from search.catalog.writes import Space
from search.embedders.base import Embedder, TextEmbedder
from search.embedders.models import Models
from search.errors import EmptyError, NotFoundError, QueryError
from search.media.images import pixel_hash
from search.media.sources import PictureResolver
from search.querying.fusion import TextMatches, fuse
from search.querying.query import Term, combine
from search.querying.words import unquote
from search.records.browsing import Sort
from search.records.hits import Evidence, Hit, Kind
from search.types import Pixels, RowIds, Vectors
from search.vectors.base import StoreManager, VectorStore

if TYPE_CHECKING:
    from search.media.fetch import FetchedPicture
    from search.querying.difference import ThumbnailComparer


@dataclass(frozen=True)
class ResolvedTerm:
    """A term with all that is needed to embed it: exactly one of pixels, text and vector.

    pixels: prepared for the model. vector: (dim,) of unit length. picture_id: SHA-256 of the file
    that the pixels come from, if it is a file. fetched: where a URL led to. pixel_hash: of the
    whole picture, if it was requested. features: packed local features of the picture, if they were
    requested and the picture was decoded. fused: a picture under each of the other models that the
    query fuses.
    """

    weight: float
    pixels: Pixels | None = None
    text: str | None = None
    vector: Vectors | None = None
    picture_id: str | None = None
    fetched: FetchedPicture | None = None
    pixel_hash: str | None = None
    features: bytes | None = None
    fused: tuple[ResolvedTerm, ...] = ()


@dataclass(frozen=True)
class Candidate:
    """A picture that may become a hit. score: cosine in [-1, 1], or a probability; None where
    nothing is compared. copies: ids of the pictures that were folded into it."""

    row_id: int
    summary: PictureSummary
    score: float | None
    copies: tuple[str, ...] = ()


class TermResolver:
    """Step 1, resolve: decode pictures, and look up stored vectors."""

    def __init__(
        self,
        reader: CatalogReader,
        resolver: PictureResolver,
        models: Models,
        space: Space,
        others: Sequence[Space] = (),
    ) -> None:
        """space: whose vectors are searched. others: those that the query fuses with it."""
        self._reader, self._resolver = reader, resolver
        self._models, self._space, self._others = models, space, others

    def resolve(
        self, terms: Sequence[Term], with_hash: bool = False, with_features: bool = False
    ) -> list[ResolvedTerm]:
        """Return the terms in the same order. with_hash: set their `pixel_hash`. with_features: set
        the `features` of those to search for. Raises LookalikeError."""
        return [self._resolve(term, with_hash, with_features) for term in terms]

    def _resolve(self, term: Term, with_hash: bool, with_features: bool) -> ResolvedTerm:
        if term.vector is not None:
            return ResolvedTerm(term.weight, vector=self._scale(term.vector))
        if term.image is None:
            return ResolvedTerm(term.weight, text=term.text)
        if term.picture_id is not None and term.crop is None:
            pixels = self._reader.find_pixel_hash(term.picture_id) if with_hash else None
            vector, *others = (
                self._read_stored(term.picture_id, space) for space in (self._space, *self._others)
            )
            fused = tuple(ResolvedTerm(term.weight, vector=other) for other in others)
            return ResolvedTerm(term.weight, vector=vector, pixel_hash=pixels, fused=fused)
        spaces = (self._space, *self._others)
        preprocessings = [self._models.open_for(space).preprocessing for space in spaces]
        with_image = with_hash and term.crop is None
        resolved = self._resolver.resolve(
            term.image,
            preprocessings,
            term.crop,
            with_image,
            features="query" if with_features and term.weight > 0 else None,
        )
        return ResolvedTerm(
            term.weight,
            resolved.prepared[0],
            picture_id=resolved.id,
            fetched=resolved.fetched,
            pixel_hash=pixel_hash(resolved.image) if resolved.image else None,
            features=resolved.features,
            fused=tuple(ResolvedTerm(term.weight, one) for one in resolved.prepared[1:]),
        )

    def _read_stored(self, picture_id: str, space: Space) -> Vectors:
        """Return the stored vector (dim,) of a picture. Raises NotFoundError."""
        row_id = self._reader.resolve(picture_id)
        present, stored = self._reader.load_vectors(space, [row_id])
        if not present:
            raise NotFoundError(
                f"picture {picture_id} has no vector of {space.name} yet; index its folder again"
            )
        row: Vectors = stored[0]
        return row

    def _scale(self, values: Sequence[float]) -> Vectors:
        """Scale a vector to unit length. Raises QueryError for another length than the model's."""
        row = np.asarray(values, np.float64)
        largest = float(np.abs(row).max(initial=0.0))
        if row.shape != (self._space.dim,) or not largest:
            raise QueryError(
                f"a vector of length {len(row)} for {self._space.name}, whose vectors have length "
                f"{self._space.dim} and are not all zero"
            )
        row /= largest  # so that no square overflows
        unit: Vectors = (row / np.linalg.norm(row)).astype(np.float32)
        return unit


class QueryEmbedder:
    """Step 2, embed: one vector for the whole query. On the inference thread."""

    def embed(self, terms: Sequence[ResolvedTerm], embedder: Embedder | None) -> Vectors:
        """Return the weighted sum of the terms, (dim,) float32 of unit length.

        embedder: None if all terms are vectors. Raises QueryError when the terms cancel out.
        """
        pixels = [term.pixels for term in terms if term.pixels is not None]
        texts = [unquote(term.text) for term in terms if term.text is not None]
        pictures = iter(embedder.embed(pixels) if embedder and pixels else ())
        words = iter(
            embedder.embed_text(texts) if isinstance(embedder, TextEmbedder) and texts else ()
        )
        rows = [
            next(pictures)
            if term.pixels is not None
            else next(words)
            if term.vector is None
            else term.vector
            for term in terms
        ]
        return combine(np.stack(rows), [term.weight for term in terms])


class Retriever:
    """Step 3, retrieve: the nearest vectors by the index."""

    def __init__(self, indexes: StoreManager, space: Space) -> None:
        """space: whose vectors are searched."""
        self._indexes, self._space = indexes, space

    def open_store(self) -> VectorStore:
        """Return the store, up to date with the catalog. Not on the inference thread: this reads
        the catalog."""
        return self._indexes.replica(self._space).refresh()

    def retrieve(
        self,
        store: VectorStore,
        vector: Vectors,
        k: int,
        among: Sequence[int] | None = None,
        visible: RowIds | None = None,
    ) -> list[int]:
        """Return row ids of at most k pictures. On the inference thread, but for a remote store.

        vector: (dim,) of unit length. among: return these instead. visible: row ids that may be
        returned; None for all. Raises EmptyError, and StoreError if a server does not answer.
        """
        row_ids = list(among or ())
        if among is None:
            row_ids = store.search(vector[None], k, visible)[0].ids.tolist()
        # not counted if something was retrieved: a server counts as slowly as it searches
        if (not row_ids or among is not None) and not store.count:
            raise EmptyError(
                f"the library holds no pictures with a vector of {self._space.name}: run "
                "`lookalike index FOLDER` first"
            )
        return row_ids


class Ranker:
    """Step 4, rerank: scores from the catalog's vectors, so that every index gives the same."""

    def __init__(self, reader: CatalogReader, space: Space) -> None:
        """space: whose vectors are searched."""
        self._reader, self._space = reader, space

    def rank(
        self,
        vector: Vectors,
        row_ids: Sequence[int],
        k: int,
        query_ids: Collection[str | None],
        matches: Sequence[TextMatches] = (),
        others: Sequence[tuple[Space, Vectors, float]] = (),
    ) -> list[Candidate]:
        """Return the best k pictures by cosine with `vector`, best first.

        query_ids: ids of pictures of the query; of equal scores, they come first. matches: of texts
        of the query, which are fused with the order by vector. others: other models, each with the
        query's vector and the weight of its cosines. Pictures that were deleted meanwhile are left
        out.
        """
        scores = self._score(self._space, vector, row_ids)
        if others:
            scores = self._average(scores, others)
        own = self._find_equals(scores, query_ids)
        order = sorted(scores, key=lambda n: (-scores[n], n not in own, n))
        order = fuse(order, matches) if matches else order
        candidates = list[Candidate]()
        while order and len(candidates) < k:  # describing costs more than ranking
            missing = k - len(candidates)
            summaries = self._reader.describe(order[:missing])
            candidates += [
                Candidate(n, summaries[n], scores[n]) for n in order[:missing] if n in summaries
            ]
            order = order[missing:]
        return candidates

    def _average(
        self, scores: Mapping[int, float], others: Sequence[tuple[Space, Vectors, float]]
    ) -> dict[int, float]:
        """Return the weighted means of cosines and of those under other models, by row id."""
        totals, weights = dict(scores), dict.fromkeys(scores, 1.0)
        for space, vector, weight in others:
            for n, cosine in self._score(space, vector, list(scores)).items():
                totals[n] += weight * cosine
                weights[n] += weight
        return {n: total / weights[n] for n, total in totals.items()}

    def _score(self, space: Space, vector: Vectors, row_ids: Sequence[int]) -> dict[int, float]:
        """Return the cosine of each picture that has a vector of a space, by row id."""
        present, stored = self._reader.load_vectors(space, row_ids)
        return dict(zip(present, rescore(vector, stored).tolist(), strict=True))

    def _find_equals(
        self, scores: Mapping[int, float], query_ids: Collection[str | None]
    ) -> set[int]:
        """Return the pictures of the query that have the score of another picture."""
        count = Counter(scores.values())
        equal = [row_id for row_id, score in scores.items() if count[score] > 1]
        names = self._reader.picture_ids(equal) if equal and any(query_ids) else {}
        return {row_id for row_id, name in names.items() if name in query_ids}


class LabelRanker:
    """Step 4 for a single known word: pictures in which the model sees it come first."""

    def __init__(self, reader: CatalogReader) -> None:
        self._reader = reader

    def rank(
        self, seen: Mapping[int, float], candidates: Sequence[Candidate], k: int
    ) -> list[Candidate]:
        """Return at most k pictures: those of `seen` by probability, then other candidates with 0.

        seen: row id -> probability, most probable first. Their order is better than by any vector
        of the word (`scripts/bench models` measures it).
        """
        summaries = self._reader.describe(list(seen))
        first = [
            Candidate(n, summaries[n], min(1.0, probability))
            for n, probability in seen.items()
            if n in summaries
        ]
        ids = {one.row_id for one in first}
        others = [replace(one, score=0.0) for one in candidates if one.row_id not in ids]
        return [*first, *others][:k]


class ScoreFilter:
    """Step 5, filter: by the least score that the query accepts."""

    def filter(
        self, candidates: Sequence[Candidate], min_score: float | None
    ) -> Sequence[Candidate]:
        """Return the candidates whose score is at least `min_score`; all of them for None."""
        if min_score is None:
            return candidates
        return [one for one in candidates if one.score is not None and one.score >= min_score]


class CopyGrouper:
    """Step 6, group: one picture of those that are copies of each other."""

    NEAREST, ROWS = 8, 1024

    def __init__(
        self, reader: CatalogReader, space: Space, comparer: Callable[[], ThumbnailComparer]
    ) -> None:
        """space: whose vectors are compared. comparer: measures how far pictures differ."""
        self._reader, self._space, self._comparer = reader, space, comparer

    def group(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Return the candidates without copies of earlier ones, each with the ids of its own.

        A copy has the same pixels as the earlier picture, or is it by `copies.are_copies`; the
        `NEAREST` earlier ones are looked at.
        Frames of one film count as copies of the first. A copy of a copy alone is not folded.
        """
        groups = dict[str | tuple[str, ...], list[Candidate]]()
        for one in candidates:
            is_frame = one.summary.time is not None
            key = one.summary.paths if is_frame else one.summary.pixel_hash
            groups.setdefault(key, []).append(one)
        firsts = [several[0] for several in groups.values()]
        heads = list(range(len(firsts)))
        for copy, original in self._list_copies(firsts):
            if heads[copy] == copy and heads[original] == original:
                heads[copy] = original
        folded: list[list[str]] = [[] for _ in firsts]
        for head, several in zip(heads, groups.values(), strict=True):
            folded[head] += [one.summary.id for one in several]
        return [
            replace(first, copies=tuple(folded[i][1:]))
            for i, first in enumerate(firsts)
            if heads[i] == i
        ]

    def _list_copies(self, candidates: Sequence[Candidate]) -> list[tuple[int, int]]:
        """Return which candidates are copies of which earlier ones, by their places, ascending."""
        from search.querying.copies import are_copies, likeness_of

        rows = [one.row_id for one in candidates]
        present, loaded = self._reader.load_vectors(self._space, rows)
        places = {row_id: i for i, row_id in enumerate(present)}
        held = np.array([i for i, row_id in enumerate(rows) if row_id in places], np.int64)
        vectors = loaded[[places[rows[i]] for i in held.tolist()]]
        likeness = likeness_of(self._space.name)
        pairs = list(self._list_near(vectors, likeness.copy))
        if not pairs:
            return []
        later, earlier, scores = (np.concatenate(part) for part in zip(*pairs, strict=True))
        later, earlier = held[later], held[earlier]
        traits = load_traits(self._reader, rows)
        numbers = np.array(rows, np.int64)
        left, right = (traits.at(numbers[side]) for side in (earlier, later))
        may_be = are_copies(scores, np.zeros_like(scores), left, right, likeness)
        several = np.flatnonzero(may_be)
        ids = [one.summary.id for one in candidates]
        names = ([ids[i] for i in side[several].tolist()] for side in (earlier, later))
        is_copy = self._comparer().measure(*names) <= likeness.difference
        copies = zip(later[several].tolist(), earlier[several].tolist(), strict=True)
        return sorted(pair for pair, yes in zip(copies, is_copy.tolist(), strict=True) if yes)

    def _list_near(
        self, vectors: Vectors, least: float
    ) -> Iterator[tuple[RowIds, RowIds, Vectors]]:
        """Yield pairs of rows of vectors, (n, dim), whose cosine is at least `least`: the later
        row, one of the nearest earlier rows, and the cosine."""
        for start in range(0, len(vectors), self.ROWS):
            block = vectors[start : start + self.ROWS]
            scores = block @ vectors[: start + len(block)].T
            scores[np.arange(start, start + len(block))[:, None] <= np.arange(scores.shape[1])] = -2
            nearest = np.argsort(-scores, axis=1, kind="stable")[:, : self.NEAREST]
            chosen = np.take_along_axis(scores, nearest, 1)
            i, j = np.nonzero(chosen >= least)
            yield i + start, nearest[i, j], chosen[i, j]


class Sorter:
    """Step 7, sort: the best candidates in another order."""

    def __init__(self, reader: CatalogReader) -> None:
        self._list = PictureList(reader)

    def sort(self, candidates: Sequence[Candidate], sort: Sort) -> list[Candidate]:
        """Return the same candidates in an order."""
        if sort.key == "score":
            return list(reversed(candidates)) if sort.reverse else list(candidates)
        by_id = {one.row_id: one for one in candidates}
        ordered = self._list.order(list(by_id), sort)
        return [by_id[row_id] for row_id in ordered]


class HitDescriber:
    """Step 8, describe: candidates as users see them. Looks at the files on disk."""

    def describe(
        self,
        candidates: Sequence[Candidate],
        probabilities: Sequence[float | None],
        kinds: Mapping[int, Kind],
        evidence: Mapping[int, Evidence],
    ) -> tuple[Hit, ...]:
        """Return hits in the same order. probabilities: of each one. kinds, evidence: by row id,
        where they are known."""
        return tuple(
            Hit(
                id=one.summary.id,
                path=one.summary.choose_path(),
                paths=one.summary.paths,
                score=one.score,
                kind=kinds.get(one.row_id),
                probability=probability,
                width=one.summary.width,
                height=one.summary.height,
                tags=one.summary.tags,
                source=one.summary.page,
                time=one.summary.time,
                low_content=one.summary.low_content,
                favourite=one.summary.favourite,
                copies=one.copies,
                evidence=evidence.get(one.row_id),
            )
            for one, probability in zip(candidates, probabilities, strict=True)
        )
