"""Queries that are expanded by the nearest pictures of the library."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from helpers.libraries import close_library, open_library
from helpers.project import SAMPLES

from search import Engine, Query, QueryError, Term
from search.querying.expansion import expand_vector
from search.records.annotations import Change
from search.types import Vectors

HAT = str(SAMPLES / "hat" / "03.jpg")


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    engine = open_library(tmp_path_factory.mktemp("expanded"))
    engine.sync(SAMPLES)
    yield engine
    close_library(engine)


def load_vectors(engine: Engine) -> tuple[list[str], Vectors]:
    """The ids of the library's pictures, and their vectors."""
    reader = engine.library.reader
    (space,) = reader.spaces()
    row_ids, rows = reader.load_vectors(space, reader.searchable_ids(space).tolist())
    names = reader.picture_ids(row_ids)
    return [names[row_id] for row_id in row_ids], rows


def test_neighbours_count_by_a_power_of_their_score() -> None:
    query = np.array([1, 0], np.float32)
    near, away = np.array([[0.6, 0.8]], np.float32), np.array([[-0.6, 0.8]], np.float32)
    expected = np.array([1 + 0.6**4, 0.6**3 * 0.8])
    expanded = expand_vector(query, near, 3.0)
    np.testing.assert_allclose(expanded, expected / np.linalg.norm(expected), rtol=1e-6)
    np.testing.assert_array_equal(expand_vector(query, away), query)
    np.testing.assert_array_equal(expand_vector(query, near[:0]), query)


def test_zero_is_the_plain_answer(engine: Engine) -> None:
    plain, zero = engine.search(HAT, k=50), engine.search(HAT, k=50, expand=0)
    assert plain.hits == zero.hits and plain.query == zero.query


@pytest.mark.parametrize("expand", [1, 4])
def test_scores_are_cosines_with_the_query_and_its_neighbours(engine: Engine, expand: int) -> None:
    names, rows = load_vectors(engine)
    own = engine.find_id(HAT)
    vector = rows[names.index(own)]
    others = [i for i in np.argsort(-(rows @ vector)) if names[i] != own][:expand]
    expected = rows @ expand_vector(vector, rows[others])
    for query in (f"id:{own}", f"id:{own[:12]}", HAT):
        hits = engine.search(query, k=len(names), expand=expand)
        assert hits.query["expand"] == expand and len(hits) == len(names)
        scores = {hit.id: hit.score for hit in hits}
        np.testing.assert_allclose([scores[n] for n in names], expected, atol=2e-3)
        assert [hit.score for hit in hits] == sorted(scores.values(), reverse=True)
        assert {hit.probability for hit in hits} == {None}


def test_conditions_choose_among_the_answers_and_not_the_neighbours(engine: Engine) -> None:
    hits = engine.search(HAT, k=200, expand=5)
    limited = engine.search(HAT, k=200, expand=5, where="path=*skirt*")
    scores = {hit.id: hit.score for hit in hits}
    assert 0 < len(limited) < len(hits)
    assert {hit.id: hit.score for hit in limited} == {hit.id: scores[hit.id] for hit in limited}


def test_hidden_pictures_are_no_neighbours(engine: Engine) -> None:
    nearest = engine.search(HAT, k=2)[1]
    before = engine.search(HAT, expand=1)
    engine.tags.change([nearest.id], Change(hidden=True))
    try:
        after = engine.search(HAT, expand=1)
    finally:
        engine.tags.change([nearest.id], Change(hidden=False))
    assert nearest.id not in [hit.id for hit in after]
    scores = {hit.id: hit.score for hit in before}
    assert any(scores.get(hit.id, hit.score) != hit.score for hit in after)


@pytest.mark.parametrize("kind", ["text", "several", "away", "verify", "collapse"])
def test_it_goes_with_the_rest_of_a_query(engine: Engine, kind: str) -> None:
    other = str(SAMPLES / "hat" / "05.jpg")
    options = {"verify": kind == "verify", "collapse": kind == "collapse", "expand": 3, "k": 20}
    terms = {
        "text": (Term(text="hat"), Term(image=HAT)),
        "several": (Term(image=HAT), Term(image=other, weight=2)),
        "away": (Term(image=HAT), Term(image=str(SAMPLES / "skirt" / "02.jpg"), weight=-0.5)),
    }
    hits = engine.search(Query(terms.get(kind, (Term(image=HAT),)), **options))
    assert len(hits) == 20 and Path(hits[0].path).parent.name == "hat"


@pytest.mark.parametrize("value", [-1, 101])
def test_other_numbers_are_refused(value: int) -> None:
    with pytest.raises(QueryError, match="give 0 to 100"):
        Query.of("a.jpg", expand=value)


def test_conditions_alone_are_not_expanded() -> None:
    with pytest.raises(QueryError, match="expand needs a picture or a text"):
        Query.of(where="type=jpeg", expand=3)
