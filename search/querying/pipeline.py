"""A query -> hits: resolve, embed, retrieve, rerank, filter, describe (see `steps`)."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from search.catalog.catalog import Catalog
from search.catalog.listing import PictureList
from search.catalog.reads import CatalogReader, rescore
from search.catalog.writes import Space
from search.embedders.models import Models, describe_missing, find_space
from search.errors import EmptyError, LookalikeError, QueryError, StoreError
from search.media.content import is_low_content
from search.media.decoder_pool import DecoderPool
from search.media.sources import PictureResolver
from search.querying.browse import NEWEST_FIRST
from search.querying.calibration import (
    ScoredPair,
    estimate_probabilities,
    load_calibrations,
)
from search.querying.expansion import expand_vector
from search.querying.fusion import DEPTH, TextMatcher, fuse, select_matched
from search.querying.query import MAX_K, Query
from search.querying.selection import Selection, read_where
from search.querying.steps import (
    Candidate,
    CopyGrouper,
    HitDescriber,
    LabelRanker,
    QueryEmbedder,
    Ranker,
    ResolvedTerm,
    Retriever,
    ScoreFilter,
    Sorter,
    TermResolver,
)
from search.querying.texts import ParsedText, TextReader
from search.records.browsing import Sort
from search.records.hits import KINDS, Evidence, Hits, Kind, PagePicture
from search.records.words import UNLIKELY, Understood
from search.types import RowIds, Vectors
from search.vectors.base import StoreManager, VectorStore

if TYPE_CHECKING:
    from typing import BinaryIO

    from search.embedders.base import Embedder
    from search.media.open_file import FilePlace
    from search.media.thumbnails import Thumbnails
    from search.querying.difference import ThumbnailComparer
    from search.querying.verification import QueryFeatures, Verifier
    from search.runtime import Runtime
    from search.settings import Settings
    from search.vectors.features.replica import FeatureReplica

log = logging.getLogger(__name__)
NEAREST = 200
"""Nearest pictures that are looked at before all pictures that hold a condition are."""
FEW = 4
"""A condition that is known to hold for at most one picture of so many is not tried on the nearest
pictures first."""
VERIFIED = 30
"""Nearest pictures that are ranked at least, where hits are verified."""
FOLDED = 20
"""Copies that an answer is expected to have at least, where they are folded."""


class SearchParts(Protocol):
    """The parts of a library that answer queries; the heavy ones are opened when first used.

    home: the library's folder. resolver: decodes pictures. indexes: the vector stores. features:
    the index of local features.
    """

    @property
    def home(self) -> Path: ...
    @property
    def catalog(self) -> Catalog: ...
    @property
    def reader(self) -> CatalogReader: ...
    @property
    def models(self) -> Models: ...
    @property
    def decoders(self) -> DecoderPool: ...
    @property
    def resolver(self) -> PictureResolver: ...
    @property
    def runtime(self) -> Runtime: ...
    @property
    def indexes(self) -> StoreManager: ...
    @property
    def features(self) -> FeatureReplica: ...
    @property
    def thumbnails(self) -> Thumbnails: ...
    @property
    def settings(self) -> Settings: ...
    @property
    def comparer(self) -> ThumbnailComparer: ...
    def open_file(self, place: FilePlace) -> BinaryIO | None: ...


class LibrarySearch:
    """Answers queries of a library, also while its model changes. Threads may share it."""

    def __init__(self, parts: SearchParts, verify_seconds: float | None = None) -> None:
        """verify_seconds: for which hits are compared at most; None for what the settings say."""
        self._parts, self._verify_seconds = parts, verify_seconds

    def search(self, query: Query) -> Hits:
        """Return hits, best first. Raises LookalikeError for what cannot be answered.

        A query during which its model stopped to serve is answered again.
        """
        resolver, terms = self._parts.resolver, list(query.terms)
        for i, term in enumerate(terms):  # an open file can be read only once
            if term.image is not None:
                terms[i] = replace(term, image=resolver.read_file(term.image))
        query = replace(query, terms=tuple(terms))
        read_where(query.where)  # a wrong condition is told first, also if the library is empty
        while True:
            searcher = self.open(query.model, query.hidden)
            try:
                hits = searcher.search(query)
            except LookalikeError:
                if searcher.space in self._parts.reader.spaces():
                    raise
            else:
                if hits or searcher.space in self._parts.reader.spaces():
                    return hits

    def open(self, model: str | None = None, hidden: bool = False) -> Searcher:
        """Return a searcher for a model that the library answers with now.

        model: its name or fingerprint. Without it, the model that the library was opened with,
        else its own. hidden: find hidden pictures too. Raises EmptyError, QueryError for a model
        that does not serve, and ModelError when the library was opened with such a one.
        """
        serving = self._parts.reader.spaces()
        if not serving:
            raise EmptyError(
                f"the library in {self._parts.home} is empty: run `lookalike index FOLDER` first"
            )
        if model is None:
            space = self._parts.models.choose_space(serving)
        elif (named := find_space(serving, model)) is not None:
            space = named  # a name is never opened here: it may come from the network
        else:
            raise QueryError(describe_missing(model, serving))
        self._parts.decoders.warm()
        return Searcher(self._parts, space, hidden, self._verify_seconds)


@dataclass(frozen=True)
class Ranking:
    """Ranked candidates, whether a picture of the query is blank, the web pages whose main picture
    was taken, how the texts were read; and of candidates that were verified, by row id, their kinds
    and the evidence."""

    candidates: Sequence[Candidate]
    low_content: bool = False
    pages: tuple[PagePicture, ...] = ()
    understood: tuple[Understood, ...] = ()
    kinds: Mapping[int, Kind] = field(default_factory=dict)
    evidence: Mapping[int, Evidence] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelQuery:
    """A query under one model.

    space: of the model. terms: of the query, resolved. embedder: None if all terms are vectors.
    vector: (dim,) that stands for the terms, if it is known. weight: of its cosines.
    """

    space: Space
    retriever: Retriever
    store: VectorStore
    terms: Sequence[ResolvedTerm]
    embedder: Embedder | None
    vector: Vectors | None = None
    weight: float = 1.0


@dataclass(frozen=True)
class Scope:
    """Which pictures are retrieved.

    first: how many are looked at first. ranked: how many must hold the conditions. among: these row
    ids instead. selection: the conditions; None if all retrieved pictures hold them.
    """

    first: int
    ranked: int
    among: Sequence[int] | None
    selection: Selection | None


class Searcher:
    """Answers queries under one model, and with `Query.fuse` under others as well. Threads may
    share it."""

    def __init__(
        self,
        parts: SearchParts,
        space: Space,
        hidden: bool = False,
        verify_seconds: float | None = None,
    ) -> None:
        """space: whose vectors are searched. hidden: find hidden pictures too. verify_seconds: see
        `LibrarySearch`."""
        self._verify_seconds = verify_seconds
        self.space, self._parts = space, parts
        self._runtime, self._models = parts.runtime, parts.models
        self._reader = parts.reader.with_hidden() if hidden else parts.reader
        self._texts = TextReader(self._reader, parts.models, space)
        self._matcher = TextMatcher(self._reader)
        self._embedder = QueryEmbedder()
        self._ranker, self._label_ranker = Ranker(parts.reader, space), LabelRanker(parts.reader)
        self._filter, self._describer = ScoreFilter(), HitDescriber()
        self._grouper = CopyGrouper(parts.reader, space, lambda: parts.comparer)
        self._sorter, self._list = Sorter(parts.reader), PictureList(parts.reader)

    def search(self, query: Query) -> Hits:
        """Return hits, best first. Raises LookalikeError for what cannot be answered."""
        if not query.is_stored:
            return self._search(query)
        with self._reader.database.share_reads():  # nothing is waited for
            return self._search(query)

    def _search(self, query: Query) -> Hits:
        clock = Stopwatch()
        selection = Selection(self._reader, self._models, query.where, self.space)
        end, sort = query.offset + query.k, query.sort and Sort.parse(query.sort)
        # folding leaves fewer
        count = min(2 * end + FOLDED, MAX_K) if query.collapse else end
        while True:
            ranking = self._rank(query, selection, count, clock)
            candidates = self._filter.filter(ranking.candidates, query.min_score)
            if query.collapse:
                candidates = self._grouper.group(candidates)
            if len(candidates) >= end or len(ranking.candidates) < count or count == MAX_K:
                break
            count = min(4 * count, MAX_K)
        chosen = list(candidates[query.offset : end])
        if sort and query.terms:
            chosen = self._sorter.sort(chosen, sort)
        probabilities = self._estimate(query, chosen, ranking)
        hits = self._describer.describe(chosen, probabilities, ranking.kinds, ranking.evidence)
        clock.end()
        took_ms = clock.took_ms()
        log.info("%d hits under %s in %s ms", len(hits), self.space.name, took_ms["total"])
        more = (ranking.understood, ranking.low_content, ranking.pages)
        return Hits(hits, self.space.name, query.to_json(), took_ms, *more)

    def _estimate(
        self, query: Query, candidates: Sequence[Candidate], ranking: Ranking
    ) -> list[float | None]:
        """Return the probability that each candidate is the query's picture, edited.

        None for all unless the query is one picture with content: a sum of terms is no picture.
        """
        if query.expand or query.fuse:  # the score is not that of the pair
            return [None] * len(candidates)
        term = query.terms[0] if len(query.terms) == 1 else None
        if term is None or term.image is None or term.weight <= 0 or ranking.low_content:
            return [None] * len(candidates)
        pairs = [
            None
            if one.score is None or one.summary.low_content
            else ScoredPair(one.score, ranking.evidence.get(one.row_id))
            for one in candidates
        ]
        return estimate_probabilities(load_calibrations(self._reader, self.space), pairs)

    def _rank(self, query: Query, selection: Selection, count: int, clock: Stopwatch) -> Ranking:
        """Return the best `count` candidates. clock: is told when a stage begins."""
        if not query.terms:
            clock.begin("search")
            sort = Sort.parse(query.sort or NEWEST_FIRST)
            row_ids = [one.row_id for one in self._list.page(selection.criterion, sort, count)]
            summaries = self._reader.describe(row_ids)
            listed = [Candidate(n, summaries[n], None) for n in row_ids if n in summaries]
            return Ranking(listed)
        with self._runtime.expect_urgent():
            parsed = self._texts.read(query)
            clock.begin("decode")
            ranking = self._compare(query, parsed, selection, count, clock)
        understood = tuple(one.understood for one in parsed.values())
        if _find_seen(query, parsed) is not None:
            understood = (replace(understood[0], least_probability=UNLIKELY),)
        return replace(ranking, understood=understood)

    def _compare(
        self,
        query: Query,
        parsed: dict[int, ParsedText],
        selection: Selection,
        count: int,
        clock: Stopwatch,
    ) -> Ranking:
        """Return the best `count` candidates by the terms of a query.

        parsed: texts by the index of their term. clock: is told when a stage begins.
        """
        terms = {
            i: replace(term, text=None, vector=parsed[i].vector) if i in parsed else term
            for i, term in enumerate(query.terms)
            if i not in parsed or parsed[i].vector is not None
        }
        if not terms:  # no word is known
            return Ranking([])
        is_compared = query.kind is not None or query.verify
        other_spaces, parts = self._choose_others(query), self._parts
        resolver = TermResolver(
            parts.reader, parts.resolver, parts.models, self.space, other_spaces
        )
        resolved = resolver.resolve(list(terms.values()), is_compared, query.verifies)
        pages = tuple(
            PagePicture(i, fetched.page, fetched.url)
            for i, term in zip(terms, resolved, strict=True)
            if (fetched := term.fetched) and fetched.page
        )
        own = self._open_model_query(self.space, resolved)
        pictured = [term.fused for term in resolved if term.fused]
        others = [
            self._open_model_query(space, [fused[i] for fused in pictured], query.fuse[name])
            for i, (space, name) in enumerate(zip(other_spaces, query.fuse, strict=True))
        ]
        only_names = len(parsed) == len(query.terms) and not any(
            one.understood.words for one in parsed.values()
        )
        among = [n for one in parsed.values() for n in one.named] if only_names else None
        identical = set[int]()
        if is_compared:
            hashes = {term.pixel_hash for term in resolved if term.weight > 0 and term.pixel_hash}
            identical = set(self._reader.list_identical(hashes))
        if query.kind == "identical":
            among = list(identical)
        if among is not None:
            chosen = selection.choose(among)
            among = [row_id for row_id in among if row_id in chosen]
        matches = self._matcher.match(query)
        ranked = max(count, DEPTH) if matches or others else count
        verifier: Verifier | None = None
        pictures: list[QueryFeatures] = []
        shared: list[int] = []
        by_points: list[int] = []
        if query.verifies:
            verifier = self._open_verifier()
            clock.begin("verify")
            pictures = verifier.collect(terms, resolved)
            by_points = verifier.find(pictures)
            shared = [*identical, *by_points]
            chosen = selection.choose(shared)
            shared = [row_id for row_id in dict.fromkeys(shared) if row_id in chosen]
            ranked = max(ranked, VERIFIED)
        # most conditions hold for enough of the nearest pictures
        first = ranked if selection.criterion is None else min(max(4 * ranked, NEAREST), MAX_K)
        store, visible = own.store, self._reader.visible_ids(self.space)
        is_limited = selection.criterion is not None and among is None
        known = selection.find_row_ids() if is_limited else None
        # a server counts as slowly as it searches
        if known is not None and not store.remote and FEW * len(known) <= store.count:
            first, visible, is_limited = ranked, known, False
        clock.begin("embed")
        if query.expand and among is None:
            own = replace(own, vector=self._expand(query, own))
        scope = Scope(first, ranked, among, selection if is_limited else None)
        vector, row_ids = self._find(own, scope, visible, clock)
        other_vectors = list[tuple[Space, Vectors, float]]()
        for other in others:
            is_known = known is not None and visible is known
            allowed = known if is_known else self._reader.visible_ids(other.space)
            other_vector, other_ids = self._find(other, scope, allowed, clock)
            other_vectors.append((other.space, other_vector, other.weight))
            row_ids += other_ids
        if matches and among is None:
            matched = select_matched(matches, visible)
            if is_limited:  # else `visible` has the selected ones alone
                chosen = selection.choose(matched.tolist())
                matched = matched[[row_id in chosen for row_id in matched.tolist()]]
            row_ids += self._retrieve(own, vector, count, matched)
        row_ids = list(dict.fromkeys([*row_ids, *self._select_visible(shared)]))
        query_ids = {term.picture_id for term in resolved}
        ranked = max(ranked, len(row_ids))
        if (seen := _find_seen(query, parsed)) is None:
            needed = count if verifier is None else ranked
            candidates = self._ranker.rank(
                vector, row_ids, needed, query_ids, matches, other_vectors
            )
        else:
            chosen = selection.choose(seen)
            seen = {row_id: probability for row_id, probability in seen.items() if row_id in chosen}
            candidates = self._ranker.rank(vector, row_ids, ranked, query_ids)
            candidates = self._label_ranker.rank(seen, candidates, ranked)
            by_id = {one.row_id: one for one in candidates}
            candidates = [by_id[row_id] for row_id in fuse(list(by_id), matches)]
        kinds: dict[int, Kind] = dict.fromkeys(identical, "identical")
        evidence: dict[int, Evidence] = {}
        if verifier is not None:
            clock.begin("verify")
            evidence = verifier.check(pictures, candidates, by_points)
            candidates = verifier.rank(candidates, evidence, identical)
            kinds = verifier.classify(candidates, evidence, identical)
            if query.kind is not None:
                close = KINDS[: KINDS.index(query.kind) + 1]
                candidates = [one for one in candidates if kinds.get(one.row_id) in close]
        candidates = candidates[:count]
        blank = any(is_low_content(term.pixels) for term in resolved if term.pixels is not None)
        return Ranking(candidates, blank, pages, kinds=kinds, evidence=evidence)

    def _choose_others(self, query: Query) -> list[Space]:
        """Return the spaces of the models that a query fuses. Raises QueryError for a model that
        does not serve."""
        spaces = self._reader.spaces() if query.fuse else []
        others = list[Space]()
        for name in query.fuse:
            space = find_space(spaces, name)
            if space is None:
                raise QueryError(describe_missing(name, spaces))
            if space in (self.space, *others):
                raise QueryError(f"fuse names {name}, whose vectors are compared already")
            others.append(space)
        return others

    def _open_model_query(
        self, space: Space, terms: Sequence[ResolvedTerm], weight: float = 1.0
    ) -> ModelQuery:
        """Open what answers terms under a model."""
        retriever = Retriever(self._parts.indexes, space)
        needs_model = any(term.vector is None for term in terms)
        embedder = self._models.open_for(space) if needs_model else None
        return ModelQuery(space, retriever, retriever.open_store(), terms, embedder, None, weight)

    def _find(
        self, query: ModelQuery, scope: Scope, visible: RowIds | None, clock: Stopwatch
    ) -> tuple[Vectors, list[int]]:
        """Return the vector of a query, (dim,), and row ids of the nearest pictures.

        visible: row ids that may be returned; None for all. clock: is told when a stage begins.
        """
        store, retriever, first, among = query.store, query.retriever, scope.first, scope.among

        def embed() -> Vectors:
            if query.vector is not None:
                return query.vector
            return self._embedder.embed(query.terms, query.embedder)

        def embed_and_retrieve() -> tuple[Vectors, list[int]]:
            vector = embed()
            clock.begin("search")
            return vector, retriever.retrieve(store, vector, first, among, visible)

        clock.begin("embed")
        if store.remote:
            vector = self._runtime.run(embed, urgent=True)
            clock.begin("search")
            row_ids = self._retrieve_remotely(query, vector, first, among, visible)
        else:  # one task, since two might each wait for a task of somebody else
            vector, row_ids = self._runtime.run(embed_and_retrieve, urgent=True)
        if scope.selection is not None:
            chosen, ranked = scope.selection.choose(row_ids), scope.ranked
            if len(chosen) >= ranked or len(row_ids) < first:
                row_ids = [row_id for row_id in row_ids if row_id in chosen][: 2 * ranked + 10]
            else:  # the condition holds for few pictures, or for others than the nearest
                row_ids = self._retrieve(query, vector, ranked, scope.selection.row_ids())
        return vector, row_ids

    def _expand(self, query: Query, own: ModelQuery) -> Vectors:
        """Return the vector of a query, (dim,), expanded by the nearest pictures that searches
        show, whether they hold the conditions or not. Pictures of the query itself do not count."""
        vector = self._runtime.run(
            lambda: self._embedder.embed(own.terms, own.embedder), urgent=True
        )
        named = (*(term.picture_id for term in query.terms), *(one.picture_id for one in own.terms))
        ids = tuple({one for one in named if one})
        count = query.expand + len(ids)
        row_ids = self._retrieve(own, vector, count, self._reader.visible_ids(self.space))
        names = self._reader.picture_ids(row_ids)
        others = [row_id for row_id, name in names.items() if not name.startswith(ids)]
        _, stored = self._reader.load_vectors(self.space, sorted(others))
        best = np.argsort(-rescore(vector, stored), kind="stable")[: query.expand]
        return expand_vector(vector, stored[best])

    def _open_verifier(self) -> Verifier:
        from search.querying.verification import Verifier  # OpenCV is slow to import

        seconds = self._verify_seconds
        return Verifier(
            self._parts, self._parts.settings.verify_seconds if seconds is None else seconds
        )

    def _select_visible(self, row_ids: Sequence[int]) -> list[int]:
        """Return those of some pictures that searches show."""
        visible = self._reader.visible_ids(self.space)
        if visible is None:
            return list(row_ids)
        some = np.array(row_ids, np.int64)
        return [int(row_id) for row_id in some[np.isin(some, visible)]]

    def _retrieve(
        self, query: ModelQuery, vector: Vectors, k: int, selected: RowIds | None
    ) -> list[int]:
        """Retrieve from selected pictures; None for all. Raises StoreError."""
        if query.store.remote:
            return self._retrieve_remotely(query, vector, k, None, selected)
        work = partial(query.retriever.retrieve, query.store, vector, k, None, selected)
        return self._runtime.run(work, urgent=True)

    def _retrieve_remotely(
        self,
        query: ModelQuery,
        vector: Vectors,
        k: int,
        among: Sequence[int] | None,
        visible: RowIds | None,
    ) -> list[int]:
        """Retrieve in this thread, from a store on a server or what replaces it when it fails.

        Raises StoreError.
        """
        retrieve = query.retriever.retrieve
        try:
            return retrieve(query.store, vector, k, among, visible)
        except StoreError:
            other = query.retriever.open_store()
        if other.remote:
            return retrieve(other, vector, k, among, visible)
        work = partial(retrieve, other, vector, k, among, visible)
        return self._runtime.run(work, urgent=True)


class Stopwatch:
    """Measures the stages of a search, in the order in which they begin."""

    def __init__(self) -> None:
        self._seconds = dict.fromkeys(("decode", "embed", "search", "verify"), 0.0)
        self._stage, self._since = "", 0.0

    def begin(self, stage: str) -> None:
        """End the stage before, and begin this one."""
        self.end()
        self._stage, self._since = stage, time.perf_counter()

    def end(self) -> None:
        """End the stage that runs, if one does."""
        if self._stage:
            self._seconds[self._stage] += time.perf_counter() - self._since
            self._stage = ""

    def took_ms(self) -> dict[str, float]:
        """Return milliseconds by stage, and their total."""
        total = sum(self._seconds.values())
        seconds = {**self._seconds, "total": total}
        return {stage: round(1000 * value, 3) for stage, value in seconds.items()}


def _find_seen(query: Query, parsed: Mapping[int, ParsedText]) -> Mapping[int, float] | None:
    """Return the pictures in which the model sees the only term of a query, as `ParsedText.seen`;
    None for another query."""
    alone = len(query.terms) == 1 and query.terms[0].weight >= 0
    return parsed[0].seen if alone and parsed else None
