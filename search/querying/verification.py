"""Verification: find pictures that share points with a query, and check hits by geometry.

Candidates come from the vectors and from the index of local features. Their stored, compact
features say which of them are worth a look. Those are decoded again, and compared closely; frames
of films first by what the library has of them.
"""

from __future__ import annotations

import io
import logging
import math
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from typing import BinaryIO, Protocol

import numpy as np
from PIL import Image

from search.catalog.reads import CatalogReader
from search.media.decoder_pool import (
    DecodedPicture,
    DecodeFailure,
    DecodeRequest,
    DecoderPool,
    Features,
)
from search.media.frames import request_frame
from search.media.local_features import (
    COMPACT_COUNT,
    LocalFeatures,
    unpack,
    unpack_dense,
)
from search.media.open_file import FilePlace, read_first
from search.media.thumbnails import Thumbnails
from search.querying.calibration import measure_closeness
from search.querying.geometry import (
    Alignment,
    Matrix,
    align,
    align_whole,
    count_distinct,
    find_consensus,
    invert,
    match_codes,
    measure_overlap,
    outline,
)
from search.querying.query import Term
from search.querying.steps import Candidate, ResolvedTerm
from search.records.hits import Evidence, Kind, Outline, Verdict
from search.types import Pixels
from search.vectors.features.replica import FeatureReplica

log = logging.getLogger(__name__)
MOST_PICTURES = 4
"""Pictures of a query that hits are compared with."""
QUERY_POINTS = 500
"""Points of a query that are looked up in the index, and compared with compact features."""
NEAREST, SHARED = 20, 30
"""Candidates by vector, and by shared points, that are checked by their compact features."""
CLOSE = 8
"""Candidates that are compared closely."""
LEAST_POINTS = 4
"""Points that a candidate must share with a query before it is compared closely, unless it is among
the first by vector:"""
FIRST = 3
MORE_POINTS = 6
"""The same once a candidate is proven to be a copy."""
LOOSE_PIXELS = 10.0
"""Pixels that a point of compact features may be off."""
SURE_INLIERS, FEW_INLIERS = 15, 5
"""Distinct points that prove a common object, and those that do together with equal pixels."""
SURE_AGREEMENT, LEAST_AGREEMENT, WHOLE_AGREEMENT = 0.8, 0.7, 0.8
"""Agreement that proves the same picture with few points, with many, and without any."""
LEAST_CONTAINED = 0.8
"""Share of one picture that must be in the other one, unless they are equal where they overlap:"""
LEAST_SHOWN = 0.4
"""The same for a frame of a film, whose camera may have moved on, if the pixels agree."""
EQUAL_AGREEMENT, EQUAL_COLORS = 0.95, 1.5
"""Least agreement, and greatest distance of colors (CIEDE2000), of equal pixels."""
LEAST_BLOCKS, WHOLE_BLOCKS = 4, 16
"""Blocks with content that must be compared, with points and without."""


Shares = tuple[int, int]
"""Points that a picture shares with a query, and with the mirrored query."""


class VerifierParts(Protocol):
    """The parts of a library that verify."""

    @property
    def reader(self) -> CatalogReader: ...
    @property
    def decoders(self) -> DecoderPool: ...
    @property
    def thumbnails(self) -> Thumbnails: ...
    @property
    def features(self) -> FeatureReplica: ...
    def open_file(self, place: FilePlace) -> BinaryIO | None: ...


@dataclass(frozen=True)
class QueryFeatures:
    """Dense features of a picture of a query, as it is and mirrored. term: its place in the terms
    of the query."""

    term: int
    plain: LocalFeatures
    mirrored: LocalFeatures

    @classmethod
    def of(cls, term: int, plain: LocalFeatures) -> QueryFeatures:
        """Return the features of a picture, and those of its mirror image."""
        return cls(term, plain, plain.mirror())

    def list_both(self) -> tuple[tuple[LocalFeatures, bool], ...]:
        """Return both, each with whether it is the mirrored one."""
        return (self.plain, False), (self.mirrored, True)


class Verifier:
    """Finds and checks candidates. Threads may share it."""

    def __init__(
        self,
        parts: VerifierParts,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """seconds: after which no further candidate is compared; the first one always is."""
        self._parts, self._seconds, self._clock = parts, seconds, clock

    def collect(
        self, terms: Mapping[int, Term], resolved: Sequence[ResolvedTerm]
    ) -> list[QueryFeatures]:
        """Return the features of the pictures that are searched for, at most `MOST_PICTURES`.

        terms: by place in the query. resolved: the terms, in the same order.
        """
        queries = list[QueryFeatures]()
        for (place, term), one in zip(terms.items(), resolved, strict=True):
            if term.image is None or term.weight <= 0 or len(queries) == MOST_PICTURES:
                continue
            if one.features is not None:
                queries.append(QueryFeatures.of(place, unpack_dense(one.features)))
            elif term.picture_id is not None and (features := self._describe(term.picture_id)):
                queries.append(QueryFeatures.of(place, features))
        return queries

    def _describe(self, picture_id: str) -> LocalFeatures | None:
        """Return the features of a picture of the library; None if it cannot be read."""
        row_id = self._parts.reader.resolve(picture_id)
        name = self._parts.reader.picture_ids([row_id])[row_id]
        return self._take(self._begin(row_id, name, is_query=True), self._clock() + 10)

    def find(self, queries: Sequence[QueryFeatures]) -> list[int]:
        """Return row ids of pictures that share points with a picture of a query, the most likely
        ones first."""
        votes: dict[int, float] = {}
        for query in queries:
            for features, _ in query.list_both():
                matches = self._parts.features.search(features.codes[:QUERY_POINTS])
                if not len(matches.row_ids):
                    continue
                # each point of the query votes once for a picture, by its nearest point
                order = np.lexsort((matches.bits, matches.row_ids, matches.queries))
                pairs = np.stack([matches.queries, matches.row_ids], axis=1)[order]
                first = np.flatnonzero(np.any(np.diff(pairs, axis=0, prepend=-1), axis=1))
                weights = np.exp(-((matches.bits[order][first] / 16.0) ** 2))
                row_ids, places = np.unique(pairs[first, 1], return_inverse=True)
                # a code that many pictures have says little
                crowd = np.bincount(pairs[first, 0])[pairs[first, 0]]
                sums = np.bincount(places, weights / np.sqrt(crowd))
                for row_id, total in zip(row_ids.tolist(), sums.tolist(), strict=True):
                    votes[row_id] = max(votes.get(row_id, 0.0), total)
        return sorted(votes, key=lambda row_id: (-votes[row_id], row_id))[:SHARED]

    def check(
        self,
        queries: Sequence[QueryFeatures],
        candidates: Sequence[Candidate],
        shared: Collection[int],
    ) -> dict[int, Evidence]:
        """Return the evidence for the candidates that were checked, by row id.

        candidates: best first by vector. shared: row ids that `find` returned.
        """
        end = self._clock() + self._seconds
        chosen = [
            *candidates[:NEAREST],
            *(one for one in candidates[NEAREST:] if one.row_id in shared),
        ]
        stored = self._load_compact([one.row_id for one in chosen])
        shares = {
            row_id: _count_shared(queries, hit.cut(COMPACT_COUNT)) for row_id, hit in stored.items()
        }
        first = {one.row_id for one in candidates[:FIRST]}
        close = _choose_close(chosen, shares, first)
        evidence = {one.row_id: _no_evidence(one) for one in chosen}
        proven = self._check_frames(queries, close, stored, shares, first, end)
        evidence |= proven
        if proven:  # the film is found, and need not be decoded
            close = [one for one in close if one.summary.time is None]
        is_proven = False
        for place, (one, begun) in enumerate(self._begin_all(close)):
            late = (place > 0 or bool(proven)) and self._clock() > end
            needless = is_proven and _is_doubtful(one, shares, first)
            features = None if late or needless else self._take(begun, end if place else end + 10)
            if features is None:
                if begun is not None:
                    begun.cancel()
                if not needless:
                    del evidence[one.row_id]
                continue
            compared = _compare_with(queries, one, features, shares, first)
            if compared is not None:
                evidence[one.row_id] = compared
                is_proven |= compared.verdict == "edited"
        return evidence

    def _check_frames(
        self,
        queries: Sequence[QueryFeatures],
        close: Sequence[Candidate],
        stored: Mapping[int, LocalFeatures],
        shares: Mapping[int, Shares],
        first: Collection[int],
        end: float,
    ) -> dict[int, Evidence]:
        """Return the evidence for the frames of films that are proven by what the library has of
        them: compact features and a thumbnail. Nothing of a film is decoded.

        close: candidates, the likeliest first. end: when the last one may be compared, by the
        clock; the first one always is.
        """
        proven = dict[int, Evidence]()
        frames = [one for one in close if one.summary.time is not None]
        for place, one in enumerate(frames):
            if place > 0 and self._clock() > end:
                break
            if proven and _is_doubtful(one, shares, first):
                continue
            pixels = self._read_pixels(one.summary.id)
            if pixels is None or one.row_id not in stored:
                continue
            features = replace(stored[one.row_id], pixels=pixels)
            compared = _compare_with(queries, one, features, shares, first)
            if compared is not None and compared.verdict == "edited":
                proven[one.row_id] = compared
        return proven

    def _read_pixels(self, picture_id: str) -> Pixels | None:
        """Return the pixels of a thumbnail, (h, w, 3); None if there is none."""
        data = self._parts.thumbnails.read(picture_id)
        if data is None:
            return None
        try:
            with Image.open(io.BytesIO(data), formats=("WEBP",)) as thumbnail:
                return np.asarray(thumbnail.convert("RGB"))
        except (OSError, ValueError):  # a damaged one, which `lookalike check` makes again
            return None

    @staticmethod
    def rank(
        candidates: Sequence[Candidate],
        evidence: Mapping[int, Evidence],
        identical: Collection[int],
    ) -> list[Candidate]:
        """See `rank_by_evidence`."""
        return rank_by_evidence(candidates, evidence, identical)

    @staticmethod
    def classify(
        candidates: Sequence[Candidate],
        evidence: Mapping[int, Evidence],
        identical: Collection[int],
    ) -> dict[int, Kind]:
        """Return the kind of each candidate that was compared, by row id."""
        kinds = dict[int, Kind]()
        for row_id in (one.row_id for one in candidates):
            if row_id in identical:
                kinds[row_id] = "identical"
            elif row_id in evidence:
                is_copy = evidence[row_id].verdict == "edited"
                kinds[row_id] = "copy" if is_copy else "similar"
        return kinds

    def _load_compact(self, row_ids: Sequence[int]) -> dict[int, LocalFeatures]:
        """Return the compact features of pictures that have any, by row id."""
        features = dict[int, LocalFeatures]()
        for row_id, data in self._parts.reader.load_features(row_ids).items():
            with suppress(ValueError):  # damaged
                features[row_id] = unpack(data)
        return features

    def _begin_all(
        self, candidates: Sequence[Candidate]
    ) -> Iterator[tuple[Candidate, Future[DecodedPicture | DecodeFailure] | None]]:
        """Begin to decode candidates, a few ahead of those that are taken."""
        waiting = deque[tuple[Candidate, Future[DecodedPicture | DecodeFailure] | None]]()
        rest = iter(candidates)
        while True:
            for one in islice(rest, max(0, self._parts.decoders.workers + 1 - len(waiting))):
                waiting.append((one, self._begin(one.row_id, one.summary.id)))
            if not waiting:
                return
            yield waiting.popleft()

    def _begin(
        self, row_id: int, picture_id: str, is_query: bool = False
    ) -> Future[DecodedPicture | DecodeFailure] | None:
        """Begin to decode a picture of the library; its thumbnail if its file is away."""
        request = self._request(row_id)
        if request is None:
            data = self._parts.thumbnails.read(picture_id)
            if data is None:
                return None
            request = DecodeRequest(data=data)
        kind: Features = "query" if is_query else "dense"
        request = replace(request, metadata=False, features=kind)
        return self._parts.decoders.submit(request, urgent=True)

    def _request(self, row_id: int) -> DecodeRequest | None:
        """Return a request for the file or frame of a picture that is as it was indexed."""
        parts, places = self._parts, self._parts.reader.places(row_id)
        for place in places:
            if place.time is not None and (request := request_frame(place, parts.open_file)):
                return request
        files = [place for place in places if place.time is None]
        first = read_first(files, parts.open_file, parts.decoders.limits.bytes)
        return None if first is None else DecodeRequest(data=first[1])

    def _take(
        self, future: Future[DecodedPicture | DecodeFailure] | None, end: float
    ) -> LocalFeatures | None:
        """Return the features of a decoded picture; None if it cannot be decoded, or is late."""
        if future is None:
            return None
        try:
            result = future.result(max(0.0, end - self._clock()))
        except TimeoutError:
            return None
        if isinstance(result, DecodeFailure) or result.features is None:
            return None
        return unpack_dense(result.features)


def _choose_close(
    chosen: Sequence[Candidate], shares: Mapping[int, Shares], first: Collection[int]
) -> list[Candidate]:
    """Return the candidates that are compared closely, the likeliest first, at most `CLOSE` and
    those of `first`. shares: see `_count_shared`. first: row ids of the first by vector."""
    by_points = sorted(chosen, key=lambda one: -_count_points(one, shares))
    close = [
        one
        for one in by_points
        if _count_points(one, shares) >= LEAST_POINTS or one.row_id in first
    ][:CLOSE]
    return close + [one for one in chosen if one.row_id in first and one not in close]


def _count_points(one: Candidate, shares: Mapping[int, Shares]) -> int:
    return max(shares.get(one.row_id, (0, 0)))


def _is_doubtful(one: Candidate, shares: Mapping[int, Shares], first: Collection[int]) -> bool:
    """Return whether a candidate is not worth a comparison once another one is proven."""
    return one.row_id not in first and _count_points(one, shares) < MORE_POINTS


def _compare_with(
    queries: Sequence[QueryFeatures],
    one: Candidate,
    features: LocalFeatures,
    shares: Mapping[int, Shares],
    first: Collection[int],
) -> Evidence | None:
    """Return the evidence for a candidate of these features; None if nothing tells."""
    plain, mirrored = shares.get(one.row_id, (0, 0))
    compared = _compare(queries, features, mirrored > plain, one.row_id in first)
    return None if compared is None else judge(one, *compared, features)


def _count_shared(queries: Sequence[QueryFeatures], hit: LocalFeatures) -> Shares:
    """Return how many points of a picture lie as those of a query do, and as those of the mirrored
    query, by compact features: the most of any query."""
    both = [[_count_pairs(one, hit) for one, _ in query.list_both()] for query in queries]
    return max((one[0] for one in both), default=0), max((one[1] for one in both), default=0)


def _count_pairs(query: LocalFeatures, hit: LocalFeatures) -> int:
    """Return how many points of a hit lie as those of a query do, by compact features."""
    points, codes = query.points[:QUERY_POINTS], query.codes[:QUERY_POINTS]
    pairs = match_codes(codes, hit.codes)
    if len(pairs) < LEAST_POINTS:
        return 0
    own, other = points[pairs[:, 0]], hit.points[pairs[:, 1]]
    agrees = find_consensus(own, other, LOOSE_PIXELS)
    return count_distinct(own[agrees], other[agrees])


def _compare(
    queries: Sequence[QueryFeatures], hit: LocalFeatures, mirrored_first: bool, is_near: bool
) -> tuple[Alignment, QueryFeatures] | None:
    """Return how a picture of the query lies best on a hit, and that picture.

    mirrored_first: the mirrored query shares more points. is_near: the vectors are near, so the
    pictures may be the same without points.
    """
    alignments = []
    for query in queries:
        usable = list[Alignment]()
        for features, mirrored in sorted(
            query.list_both(), key=lambda one: one[1] != mirrored_first
        ):
            one = align(features, hit, mirrored)
            if one is not None:
                usable.append(one)
                if _proves(one) == "edited":
                    break
        if is_near and not any(map(_proves, usable)):
            usable.append(align_whole(query.plain, hit))
        alignments += [(one, query) for one in usable]
    if not alignments:
        return None
    order = (None, "photographed_again", "edited")
    return max(
        alignments,
        key=lambda one: (order.index(_proves(one[0])), one[0].inliers * one[0].agreement),
    )


def _proves(one: Alignment) -> Verdict | None:
    """Return what an alignment proves."""
    if one.inliers == 0:
        is_same = one.agreement >= WHOLE_AGREEMENT and one.blocks >= WHOLE_BLOCKS
        return "edited" if is_same else None
    least = LEAST_AGREEMENT if one.inliers >= SURE_INLIERS else SURE_AGREEMENT
    if one.inliers >= FEW_INLIERS and one.blocks >= LEAST_BLOCKS and one.agreement >= least:
        return "edited"
    return "photographed_again" if one.inliers >= SURE_INLIERS else None


def judge(
    candidate: Candidate, alignment: Alignment, query: QueryFeatures, hit: LocalFeatures
) -> Evidence:
    """Return the evidence of an alignment."""
    verdict = _proves(alignment)
    alike = replace(_no_evidence(candidate), inliers=alignment.inliers)
    if verdict is None:
        return alike
    in_hit = outline(alignment.matrix, query.plain, hit)
    in_query = outline(invert(alignment.matrix), hit, query.plain)
    query_overlap, hit_overlap = measure_overlap(in_query), measure_overlap(in_hit)
    contained = max(query_overlap, hit_overlap)
    is_frame = candidate.summary.time is not None
    if is_frame and contained >= (LEAST_SHOWN if verdict == "edited" else LEAST_CONTAINED):
        verdict = "edited"  # what moved since is no other picture: it is the film
    elif verdict == "edited" and not _is_edit(alignment, contained):
        if alignment.inliers < SURE_INLIERS:
            return alike
        verdict = "photographed_again"
    return Evidence(
        verdict=verdict,
        inliers=alignment.inliers,
        matches=alignment.matches,
        agreement=alignment.agreement,
        query_overlap=query_overlap,
        hit_overlap=hit_overlap,
        query_outline=_to_outline(in_query),
        hit_outline=_to_outline(in_hit),
        mirrored=alignment.mirrored,
        color_distance=alignment.color_distance,
        cosine=candidate.score,
        term=query.term,
    )


def _is_edit(alignment: Alignment, contained: float) -> bool:
    """Return whether one picture can be an edit of the other.

    contained: share of one that is in the other. Crops, collages and screenshots have most of one
    picture in the other. Two photographs of a distant view share a part of each, and agree there as
    well as an edit does.
    """
    is_equal = alignment.agreement >= EQUAL_AGREEMENT and alignment.color_distance <= EQUAL_COLORS
    return contained >= LEAST_CONTAINED or is_equal


def _no_evidence(candidate: Candidate) -> Evidence:
    return Evidence("alike", cosine=candidate.score)


def _to_outline(corners: Matrix) -> Outline:
    return tuple((float(x), float(y)) for x, y in corners)


def rank_by_evidence(
    candidates: Sequence[Candidate], evidence: Mapping[int, Evidence], same: Collection[int]
) -> list[Candidate]:
    """Return candidates in the order of their evidence: the same pixels, copies, other photographs
    of the same object, and then the others as they were.

    same: row ids of pictures with the pixels of the query.
    """
    ranks: dict[str | None, int] = {"edited": 1, "photographed_again": 2}

    def key(one: Candidate) -> tuple[int, float]:
        if one.row_id in same:
            return 0, 0.0
        own = evidence.get(one.row_id)
        rank = ranks.get(own.verdict if own else None, 3)
        is_frame = one.summary.time is not None
        strength = 0.0 if own is None or rank == 3 else measure_strength(own, is_frame)
        return rank, -strength

    return sorted(candidates, key=key)


def measure_strength(evidence: Evidence, is_frame: bool = False) -> float:
    """Return how strong evidence is: the more points agree, the more of the pixels, the more of one
    picture is in the other, and the nearer the colors are.

    is_frame: of a film. Of the frames that show one scene, the nearest in time should come first.
    Points of what moved tell it, since they are not far; colors do not, since what moves covers
    other parts (`scripts/bench films`).
    """
    contained = evidence.overlap
    if is_frame:
        return math.sqrt((evidence.matches + 10) * evidence.agreement) * contained
    closeness = measure_closeness(evidence.color_distance or 0.0)
    return math.sqrt(evidence.inliers + 10) * evidence.agreement * contained**2 * closeness
