"""Queries that are compared under several models of a library at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.libraries import close_library
from helpers.pictures import identity, jpeg, paint
from typer import BadParameter

from search import Engine, Query, Term
from search.cli.arguments import parse_fuse
from search.errors import FieldError, NotFoundError, QueryError
from search.querying import pipeline

OTHER = "mini-1"
Open = Callable[..., Engine]


@pytest.fixture
def both(library: Open, folder: Path) -> Engine:
    """A library of twelve pictures with vectors of `mini` and of another model."""
    for seed in range(12):
        paint(folder / f"{seed}.jpg", seed)
    library().sync(folder)
    engine = library(model=OTHER)
    engine.sync(folder, beside=True)
    close_library(engine)
    return library()


def score(engine: Engine, model: str, **query: Any) -> dict[str, float]:
    """The cosine of each picture under one model, by id."""
    return {hit.id: hit.score or 0.0 for hit in engine.search(**query, model=model, k=100)}


@pytest.mark.parametrize("weight", [0.2, 5.0])
def test_a_score_is_the_weighted_mean_of_the_cosines(both: Engine, weight: float) -> None:
    queries: list[dict[str, Any]] = [
        {"image": jpeg(3)},
        {"image": f"id:{identity(4)}"},
        {"image": [jpeg(1), f"id:{identity(2)}"]},
        {"image": jpeg(5), "crop": (0, 0, "50%", "50%")},
    ]
    for query in queries:
        own, other = (score(both, model, **query) for model in ("mini", OTHER))
        hits = both.search(**query, fuse={OTHER: weight}, k=100)
        expected = {n: (own[n] + weight * other[n]) / (1 + weight) for n in own}
        assert {hit.id: hit.score for hit in hits} == pytest.approx(expected, abs=1e-5)
        scores = [hit.score or 0.0 for hit in hits]
        assert scores == sorted(scores, reverse=True)
        assert hits.model == "mini" and hits.query["fuse"] == {OTHER: weight}
        assert all(hit.probability is None for hit in hits)  # it was fitted to the cosine


def test_a_picture_is_found_that_only_the_other_model_finds(
    both: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "DEPTH", 1)  # each model retrieves one picture
    for seed in range(100, 160):
        query = {"image": jpeg(seed)}
        own, other = (score(both, model, **query) for model in ("mini", OTHER))
        first, second = (max(some, key=some.__getitem__) for some in (own, other))
        (hit,) = both.search(**query, fuse={OTHER: 10.0}, k=1)
        fused = {n: own[n] + 10 * other[n] for n in {first, second}}
        assert hit.id == max(fused, key=fused.__getitem__)
        if first != second == hit.id:
            return
    pytest.fail("both models found the same picture each time")


def test_conditions_hold_under_all_models(both: Engine) -> None:
    for where, count in (("name=3.jpg", 1), ("name=1*.jpg", 3), ("width>0", 12)):
        hits = both.search(jpeg(3), where=where, fuse={OTHER: 1.0}, k=100)
        assert {hit.id for hit in hits} == {one.id for one in both.browse(where).pictures}
        assert len(hits) == count


def test_words_are_compared_under_the_own_model_alone(both: Engine) -> None:
    own = score(both, "mini", image=jpeg(3), text="red")
    other = score(both, OTHER, image=jpeg(3))
    hits = both.search(image=jpeg(3), text="red", fuse={OTHER: 3.0}, k=100)
    expected = {n: (own[n] + 3 * other[n]) / 4 for n in own}
    assert {hit.id: hit.score for hit in hits} == pytest.approx(expected, abs=1e-5)
    assert both.search(jpeg(3), verify=True, fuse={OTHER: 1.0})[0].kind == "identical"


def test_what_cannot_be_fused_is_refused(both: Engine) -> None:
    def refuse(match: str, **query: Any) -> None:
        with pytest.raises(QueryError, match=match):
            both.search(**query)

    refuse("has no vectors of nonsense", image=jpeg(0), fuse={"nonsense": 1.0})
    refuse("compared already", image=jpeg(0), fuse={"mini": 1.0})
    refuse("weights above 0", image=jpeg(0), fuse={OTHER: 0.0})
    refuse("weights above 0", image=jpeg(0), fuse={OTHER: float("nan")})
    refuse("give a picture", text="7", fuse={OTHER: 1.0})
    with pytest.raises(QueryError, match="give a picture"):
        Query((Term(text="red"), Term(jpeg(0), weight=-1)), fuse={OTHER: 1.0})
    refuse("at most 4", image=jpeg(0), fuse=dict.fromkeys("abcde", 1.0))
    refuse("at most 10", image=jpeg(0), fuse={OTHER: 10.1})
    refuse("give nothing beside it", query=Query.of(jpeg(0)), fuse={OTHER: 1.0})
    with pytest.raises(FieldError, match="fuse"):
        Query.from_json({"fuse": {OTHER: "much"}}, [jpeg(0)])
    assert Query.from_json({"fuse": {OTHER: 0.5}}, [jpeg(0)]).fuse == {OTHER: 0.5}


def test_a_query_without_a_vector_of_the_other_model_says_so(both: Engine, folder: Path) -> None:
    data = jpeg(40)
    both.keep(data)  # the other model gets it at the next `index`
    hit = both.search(data, fuse={OTHER: 1.0})[0]
    assert hit.score == pytest.approx(1, abs=1e-3)  # under the own model alone
    with pytest.raises(NotFoundError, match="has no vector of mini-1 yet"):
        both.search(f"id:{hit.id}", fuse={OTHER: 1.0})


def test_weights_are_given_on_the_command_line() -> None:
    assert parse_fuse(["diffusion=0.2", "ViT-B-32:/a=b/w=1"]) == {
        "diffusion": 0.2,
        "ViT-B-32:/a=b/w": 1.0,
    }
    for wrong in (["diffusion"], ["=1"], ["diffusion="], ["diffusion=x"], ["a=1", "a=2"]):
        with pytest.raises(BadParameter, match="--fuse"):
            parse_fuse(wrong)


def test_a_query_can_be_a_key() -> None:
    assert len({Query((Term(text="red"),)), Query((Term(text="red"),))}) == 1
