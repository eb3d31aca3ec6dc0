"""Where the hits end that are alike."""

from __future__ import annotations

from dataclasses import replace

import pytest

from search.records.hits import Evidence, Hit, Hits
from search.records.likeness import count_alike, find_cutoff
from search.records.words import Understood


@pytest.mark.parametrize(
    ("scores", "count"),
    [
        ([0.9, 0.88, 0.6, 0.58, 0.57], 2),
        ([0.9, 0.5, 0.2], 2),  # from .5 to .2 more is lost than from .9 to .5
        ([0.8, 0.79, 0.785, 0.78], None),
        ([], None),
        ([0.9], None),
        ([*(0.9 - i * 0.001 for i in range(30)), 0.1], None),
        ([0.04, 0.01, -0.5], None),
    ],
)
def test_alike_hits_end_at_the_largest_relative_drop(
    scores: list[float], count: int | None
) -> None:
    assert find_cutoff(scores) == count


def test_copies_and_hits_whose_score_says_nothing_do_not_count() -> None:
    assert count_alike([1.0, 1.0, 0.8, None, 0.5, 0.48]) == 4
    assert count_alike([1.0, None, 1.0]) is None
    assert count_alike([None] * 3) is None


def test_probabilities_have_a_fixed_end() -> None:
    assert count_alike([0.9, 0.3, 0.25, 0.1], 0.2) == 3
    assert count_alike([0.0, 0.9, 0.2, 0.1], 0.2) == 3  # the first has the name
    assert count_alike([0.15, 0.01], 0.2) is None
    assert count_alike([0.9, 0.8], 0.2) is None
    assert count_alike([*[0.9] * 40, 0.1], 0.2) == 40


def test_an_answer_tells_its_end() -> None:
    hit = Hit("a", "/a.jpg", ("/a.jpg",), 0.9, None, None, 8, 8)
    scores = (0.9, 0.88, 0.5, 0.48)
    hits = Hits(tuple(replace(hit, score=one) for one in scores), "mini", {"sort": None}, {})
    assert hits.alike == 2 and hits.to_json()["alike"] == 2
    assert replace(hits, query={"sort": "-date"}).alike is None
    assert replace(hits, query={"sort": None, "offset": 3}).alike is None
    known = Understood("cat", ("cat",), least_probability=0.6)
    assert replace(hits, understood=(known,)).alike == 2
    edited = replace(hit, score=0.2, evidence=Evidence("edited"))
    assert replace(hits, hits=(edited, *hits.hits)).alike == 3  # its score is not compared
    assert replace(hits, hits=(replace(hit, score=None),) * 2).alike is None
