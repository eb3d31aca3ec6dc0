"""Where the hits of an answer end that are alike.

The page divides its answers by the same rule (search/web/cutoff.js).
"""

from __future__ import annotations

from collections.abc import Sequence

SAME = 0.9995
"""From this score on, a hit has the pixels of the query, saved anew at most."""
FIRST = 20  # hits among which the end is looked for
LEAST_DROP = 0.04  # relative: below it nothing tells one hit from the next
LEAST_SCORE = 0.05  # below it a relative drop has no meaning


def find_cutoff(scores: Sequence[float]) -> int | None:
    """Return how many hits are alike: those before the largest relative drop of the scores among
    the first 20. None if no drop stands out.

    scores: the best one first, without those of the query's own pictures. `scripts/bench cutoff`
    measures how often it is right.
    """
    best, count = LEAST_DROP, None
    for place in range(1, min(len(scores), FIRST + 1)):
        before = scores[place - 1]
        if before < LEAST_SCORE:
            break
        if (drop := (before - scores[place]) / before) > best:
            best, count = drop, place
    return count


def count_alike(scores: Sequence[float | None], least: float | None = None) -> int | None:
    """Return how many hits come before the first that is less alike than those before it; None if
    none is.

    scores: in the order of the answer; None for hits whose score says nothing, such as blank ones
    and those of which a comparison proves more. least: where scores are probabilities that a
    picture fits, from which on it does.
    """
    rated = [(i, score) for i, score in enumerate(scores) if score is not None]
    if least is not None:
        end = max((i + 1 for i, score in rated if score >= least), default=len(scores))
        return end if end < len(scores) else None
    others = [(i, score) for i, score in rated if score < SAME]
    cutoff = find_cutoff([score for _, score in others])
    return None if cutoff is None else others[cutoff][0]
