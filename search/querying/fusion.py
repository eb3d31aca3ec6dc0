"""Fusing the answers of the full text and of the vectors by reciprocal rank fusion.

G. V. Cormack, C. L. A. Clarke, S. Buettcher, "Reciprocal Rank Fusion outperforms Condorcet and
individual Rank Learning Methods", SIGIR 2009: a picture's score is the sum of 1 / (60 + rank) over
all rankings. Pictures of one ranking that are equal share the mean of their ranks. So words that
many pictures have change little, and words that few have change much.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from search.catalog.full_text import Phrase
from search.catalog.reads import CatalogReader
from search.querying.query import Query
from search.querying.steps import Candidate
from search.querying.words import split_phrases
from search.types import RowIds

DAMPING = 60
"""k of the paper: the larger, the less the first ranks count."""
DEPTH = 200
"""Nearest pictures that are ranked at least, where there is something to fuse them with."""
MOST_MATCHES = 10_000
"""Pictures that words are looked for in at most, the newest."""


@dataclass(frozen=True)
class TextMatches:
    """Pictures that have the words of a text, each tier better than the next. weight: of the text
    in the query, above 0."""

    tiers: tuple[tuple[int, ...], ...]
    weight: float = 1.0

    def ranks(self) -> dict[int, float]:
        """Return the rank of each picture, from 1; those of a tier share the mean of theirs."""
        ranks: dict[int, float] = {}
        for tier in self.tiers:
            ranks |= dict.fromkeys(tier, len(ranks) + (len(tier) + 1) / 2)
        return ranks


class TextMatcher:
    """Looks for the words of texts in the full text of pictures. Reads the catalog."""

    def __init__(self, reader: CatalogReader) -> None:
        self._reader = reader

    def match(self, query: Query) -> list[TextMatches]:
        """Return the matches of each text that is searched for, without those that match nothing.

        The first tier has all words, the second some of them. A word is also looked for in the
        singular and the plural, and as the beginning of words if no picture has it.
        """
        matches = []
        for term in query.terms:
            if term.text is not None and term.weight > 0:
                tiers = tuple(self._find_tiers(split_phrases(term.text)))
                if tiers:
                    matches.append(TextMatches(tiers, term.weight))
        return matches

    def _find_tiers(self, phrases: Sequence[Phrase]) -> Iterable[tuple[int, ...]]:
        every = self.find(phrases)
        if every:
            yield tuple(every)
        if len(phrases) > 1:
            with_all = set(every)
            some = self._reader.find_text(phrases, MOST_MATCHES, "or")
            if rest := tuple(row_id for row_id in some if row_id not in with_all):
                yield rest

    def find(self, phrases: Sequence[Phrase], most: int = MOST_MATCHES) -> list[int]:
        """Return the row ids of pictures that have all phrases, newest first, at most `most`."""
        with_words = self._reader.find_text(phrases, most)
        return with_words or self._reader.find_text(phrases, most, prefix=True)


def select_matched(matches: Sequence[TextMatches], visible: RowIds | None) -> RowIds:
    """Return the pictures that match any text, (n,) row ids. visible: of these; None for all."""
    import numpy as np  # slow to import, and not every query has a text

    row_ids = {row_id for one in matches for tier in one.tiers for row_id in tier}
    matched = np.fromiter(sorted(row_ids), np.int64, len(row_ids))
    return matched if visible is None else np.intersect1d(matched, visible)


def fuse(candidates: Sequence[Candidate], matches: Sequence[TextMatches]) -> list[Candidate]:
    """Return candidates in the order of their fused ranks.

    candidates: by vector, best first. Of equal sums the better one by vector comes first.
    """
    scores = {one.row_id: 1 / (DAMPING + rank) for rank, one in enumerate(candidates, 1)}
    for one in matches:
        add_ranks(scores, one.ranks(), one.weight)
    return sorted(candidates, key=lambda one: -scores[one.row_id])


def add_ranks(scores: dict[int, float], ranks: Mapping[int, float], weight: float) -> None:
    """Add a ranking to fused scores. Pictures that have no score yet are left out."""
    for row_id, rank in ranks.items():
        if row_id in scores:
            scores[row_id] += weight / (DAMPING + rank)
