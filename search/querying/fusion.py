"""Fusing the answers of the full text and of the vectors by reciprocal rank fusion.

G. V. Cormack, C. L. A. Clarke, S. Buettcher, "Reciprocal Rank Fusion outperforms Condorcet and
individual Rank Learning Methods", SIGIR 2009: a picture's score is the sum of 1 / (60 + rank) over
all rankings. Pictures of one ranking that are equal share the mean of their ranks. So words that
many pictures have change little, and words that few have change much.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from search.catalog.full_text import Phrase
from search.catalog.reads import CatalogReader
from search.querying.query import Query
from search.querying.words import split_phrases
from search.types import RowIds

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

DAMPING = 60
"""k of the paper: the larger, the less the first ranks count."""
DEPTH = 200
"""Nearest pictures that are ranked at least, where there is something to fuse them with."""
MOST_MATCHES = 10_000
"""Pictures that words are looked for in at most, the newest."""


@dataclass(frozen=True)
class TextMatches:
    """Pictures that have the words of a text, each tier better than the next, as (n,) row ids,
    ascending; no picture is in two. weight: of the text in the query, above 0."""

    tiers: tuple[RowIds, ...]
    weight: float = 1.0

    def rank(self, row_ids: Sequence[int]) -> dict[int, float]:
        """Return the rank of those of some pictures that match, from 1; the pictures of a tier
        share the mean of theirs."""
        import numpy as np  # slow to import, and not every query has a text

        some, ranks, before = np.asarray(row_ids, np.int64), dict[int, float](), 0
        for tier in self.tiers:
            shared = before + (len(tier) + 1) / 2
            ranks |= dict.fromkeys(some[are_in(some, tier)].tolist(), shared)
            before += len(tier)
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
                if tiers := self._find_tiers(split_phrases(term.text)):
                    matches.append(TextMatches(tiers, term.weight))
        return matches

    def _find_tiers(self, phrases: Sequence[Phrase]) -> tuple[RowIds, ...]:
        """Return what matches a text, as `TextMatches.tiers`; kept in memory until the catalog
        changes."""

        def find() -> tuple[RowIds, ...]:
            every = self.find(phrases)[::-1]
            tiers = [every]
            if len(phrases) > 1:
                some = self._find(phrases, MOST_MATCHES, "or")[::-1]
                tiers.append(some[~are_in(some, every)])
            return tuple(tier for tier in tiers if len(tier))

        reader = self._reader
        key = "tiers", tuple(phrases), reader.part
        return reader.database.answers.get(key, find, lambda tiers: sum(t.nbytes for t in tiers))

    def find(self, phrases: Sequence[Phrase], most: int = MOST_MATCHES) -> RowIds:
        """Return the pictures that have all phrases, (n,) row ids, newest first, at most `most`."""
        with_words = self._find(phrases, most)
        return with_words if len(with_words) else self._find(phrases, most, prefix=True)

    def _find(
        self,
        phrases: Sequence[Phrase],
        most: int,
        join: Literal["and", "or"] = "and",
        prefix: bool = False,
    ) -> RowIds:
        """As `CatalogReader.find_text`; kept in memory until the catalog changes."""
        import numpy as np

        reader = self._reader
        return reader.database.answers.get_row_ids(
            ("text", tuple(phrases), most, join, prefix, reader.part),
            lambda: np.array(reader.find_text(phrases, most, join, prefix), np.int64),
        )


def select_matched(matches: Sequence[TextMatches], visible: RowIds | None) -> RowIds:
    """Return the pictures that match any text, (n,) row ids. visible: of these; None for all."""
    import numpy as np  # slow to import, and not every query has a text

    matched: RowIds = np.sort(np.concatenate([tier for one in matches for tier in one.tiers]))
    if len(matches) > 1:
        matched = np.unique(matched)
    return matched if visible is None else matched[are_in(matched, visible)]


def are_in(some: RowIds, row_ids: RowIds) -> npt.NDArray[np.bool_]:
    """Return which of some row ids are among others, which are ascending. Faster than `np.isin`
    where those are many."""
    import numpy as np

    if not len(row_ids):
        return np.zeros(len(some), bool)
    places = np.searchsorted(row_ids, some).clip(max=len(row_ids) - 1)
    is_in: npt.NDArray[np.bool_] = row_ids[places] == some
    return is_in


def fuse(row_ids: Sequence[int], matches: Sequence[TextMatches]) -> list[int]:
    """Return pictures in the order of their fused ranks.

    row_ids: by vector, best first. Of equal sums the better one by vector comes first.
    """
    scores = {row_id: 1 / (DAMPING + rank) for rank, row_id in enumerate(row_ids, 1)}
    for one in matches:
        add_ranks(scores, one.rank(row_ids), one.weight)
    return sorted(row_ids, key=lambda row_id: -scores[row_id])


def add_ranks(scores: dict[int, float], ranks: Mapping[int, float], weight: float) -> None:
    """Add a ranking to fused scores. All pictures of the ranking have a score."""
    for row_id, rank in ranks.items():
        scores[row_id] += weight / (DAMPING + rank)
