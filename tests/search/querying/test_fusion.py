"""Answers of the full text and of the vectors, fused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from helpers.libraries import close_library, open_library
from helpers.pictures import identity, paint

from search import Engine, Query, Term
from search.querying.fusion import (
    DAMPING,
    TextMatcher,
    TextMatches,
    add_ranks,
    select_matched,
)
from search.querying.words import split_phrases, unquote

Open = Callable[..., Engine]


@pytest.fixture(scope="module")
def engine(clip: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A library of twelve pictures under a CLIP model, of which some have telling names."""
    place = tmp_path_factory.mktemp("fusion")
    names = {3: "Zanzibar 2019/dhow.jpg", 7: "zanzibar.jpg", 9: "dhows/x.jpg", 11: "海滩.jpg"}
    for seed in range(12):
        paint(place / "photos" / names.get(seed, f"{seed}.jpg"), seed)
    engine = open_library(place / "home", model=clip)
    engine.sync(place / "photos")
    yield engine
    close_library(engine)


def test_equal_pictures_share_the_mean_of_their_ranks() -> None:
    matches = TextMatches((np.array([5, 6, 7]), np.array([8, 9])))
    assert matches.rank([9, 1, 5, 8]) == {5: 2, 8: 4.5, 9: 4.5}
    scores = {5: 0.5, 8: 0.25, 1: 0.1}
    add_ranks(scores, matches.rank(list(scores)), 2)
    assert scores == {5: 0.5 + 2 / (DAMPING + 2), 8: 0.25 + 2 / (DAMPING + 4.5), 1: 0.1}


def test_words_are_looked_for_in_both_numbers_and_without_articles() -> None:
    (phrase,) = split_phrases("the dogs")
    assert ("dogs",) in phrase.alternatives and ("dog",) in phrase.alternatives
    assert [one.alternatives[0] for one in split_phrases("the")] == [("the",)]
    assert split_phrases("!? :-)") == []
    (phrase,) = split_phrases('the "two dogs"')
    assert phrase.alternatives == (("two", "dogs"),)  # a phrase has no other forms
    assert unquote('red "a \\" b" car') == 'red a " b car'


def test_only_visible_pictures_are_matched() -> None:
    matches = [TextMatches((np.array([5, 3]),)), TextMatches((np.array([9]),))]
    assert select_matched(matches, None).tolist() == [3, 5, 9]
    assert select_matched(matches, np.array([1, 9])).tolist() == [9]


def test_pictures_with_the_word_come_before_others(engine: Engine) -> None:
    hits = engine.search(text="zanzibar", k=12)
    assert {hit.id for hit in hits[:2]} == {identity(3), identity(7)} and len(hits) == 12
    alone = engine.search(text="a thing that no name has", k=12)
    scores = [hit.score for hit in alone]
    assert scores == sorted(scores, reverse=True)
    rest = [hit.score for hit in hits[2:]]
    assert rest == sorted(rest, reverse=True)  # by the vector, and scores are still cosines
    by_vector = {hit.id: hit.score for hit in engine.search(Query((Term(text="zanzibar"),), 12))}
    assert {hit.id: hit.score for hit in hits} == by_vector


def test_all_words_are_better_than_some(engine: Engine) -> None:
    matches = TextMatcher(engine.library.reader).match(Query.of(text="dhow in zanzibar"))
    ids = engine.library.reader.picture_ids(range(1, 13))
    tiers = [{ids[row_id] for row_id in tier.tolist()} for tier in matches[0].tiers]
    assert tiers == [{identity(3)}, {identity(7), identity(9)}]
    hits = engine.search(text="dhow in zanzibar", k=3)
    assert {hit.id for hit in hits} == {identity(3), identity(7), identity(9)}
    assert engine.search(text="海滩", k=1)[0].id == identity(11)
    assert engine.search(text="zanzi", k=2)[0].id in (identity(3), identity(7))  # a beginning


def test_words_beside_a_picture_are_looked_for_too(engine: Engine) -> None:
    query = Query((Term(image=f"id:{identity(0)}"), Term(text="dhow")), 12)
    first = [hit.id for hit in engine.search(query)[:3]]
    assert identity(3) in first and identity(9) in first
    away = Query((Term(image=f"id:{identity(0)}"), Term(text="dhow", weight=-0.01)), 12)
    assert engine.search(away)[0].id == identity(0)


def test_a_word_finds_tags_and_captions_under_any_model(library: Open, folder: Path) -> None:
    engine = library()
    for seed in range(4):
        paint(folder / f"{seed}.jpg", seed)
    engine.sync(folder)
    catalog, reader = engine.library.catalog, engine.library.reader
    catalog.tag(reader.resolve(identity(2)), ["Großmutter"])
    hits = engine.search(text="grossmutter", k=4)
    assert [hit.id for hit in hits] == [identity(2)]
    assert hits.understood[0].names == ("grossmutter",) and not hits.understood[0].unknown
    assert len(engine.search(text="qwertyuiop", k=4)) == 0  # no error
    catalog.tag(reader.resolve(identity(3)), ["dog"])
    assert engine.search(text="dog", k=4)[0].id == identity(3)
    view = engine.within([str(folder.parent / "elsewhere")])
    assert not any(hit.id == identity(2) for hit in view.search(text="grossmutter", k=4))
