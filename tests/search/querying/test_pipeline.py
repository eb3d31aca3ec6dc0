"""The steps of a search, one by one, and what runs on the inference thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from helpers.pictures import identity, jpeg, paint
from sqlalchemy import event

from search import Crop, Engine, NotFoundError, Query, QueryError, Term
from search.querying.steps import (
    Candidate,
    HitDescriber,
    LabelRanker,
    QueryEmbedder,
    Ranker,
    ResolvedTerm,
    Retriever,
    ScoreFilter,
    TermResolver,
)

Open = Callable[..., Engine]


@pytest.fixture
def engine(library: Open, folder: Path) -> Iterator[Engine]:
    """A library of four pictures."""
    for seed in range(4):
        paint(folder / f"{seed}.jpg", seed)
    engine = library()
    engine.sync(folder)
    yield engine


def steps(engine: Engine) -> SimpleNamespace:
    library = engine.library
    space = library.catalog.find_own_space()
    assert space is not None
    return SimpleNamespace(
        resolver=TermResolver(library.reader, library.resolver, library.models, space),
        retriever=Retriever(library.indexes, space),
        ranker=Ranker(library.reader, space),
        embedder=library.models.open_for(space),
        model=space,
    )


def candidates(engine: Engine, *scores: float) -> list[Candidate]:
    reader = engine.library.reader
    row_ids = [reader.resolve(identity(seed)) for seed in range(len(scores))]
    summaries = reader.describe(row_ids)
    return [Candidate(n, summaries[n], score) for n, score in zip(row_ids, scores, strict=True)]


def test_terms_are_resolved_to_pixels_texts_or_vectors(engine: Engine) -> None:
    ours = steps(engine)
    crop = Crop(0, 0, 20, 20)
    terms = [
        Term(jpeg(1), weight=2),
        Term(f"id:{identity(1)}"),
        Term(f"id:{identity(1)}", crop=crop),
        Term(vector=tuple([2.0] + [0.0] * 511)),
        Term(text="a hat", weight=-1),
    ]
    picture, stored, cropped, vector, text = ours.resolver.resolve(terms)
    assert picture.weight == 2 and picture.picture_id == identity(1)
    assert picture.pixels is not None and picture.pixels.shape == ours.embedder.preprocessing.shape
    assert stored.pixels is None and np.linalg.norm(stored.vector) == pytest.approx(1, abs=1e-3)
    assert cropped.pixels is not None and cropped.picture_id == identity(1)
    assert vector.vector.tolist() == [1.0] + [0.0] * 511
    assert (text.text, text.weight, text.pixels, text.vector) == ("a hat", -1, None, None)


def test_terms_that_cannot_be_resolved_say_why(engine: Engine) -> None:
    ours = steps(engine)
    with pytest.raises(QueryError, match="a vector of length 2 for mini"):
        ours.resolver.resolve([Term(vector=(1.0, 0.0))])
    with pytest.raises(NotFoundError):
        ours.resolver.resolve([Term("id:" + "0" * 64)])


def test_terms_are_embedded_in_their_order() -> None:
    class Model:
        """Pictures point along x, texts along y."""

        name = fingerprint = terms = ""
        dim, batch, preprocessing = 3, 1, None

        def load(self) -> object:
            return self

        def embed(self, pixels: Any) -> Any:
            return np.array([[1, 0, 0]] * len(pixels), np.float32)

        def embed_text(self, texts: Any) -> Any:
            return np.array([[0, 1, 0]] * len(texts), np.float32)

    z = np.array([0, 0, 1], np.float32)
    blank = np.zeros((4, 4, 3), np.uint8)
    terms = [
        ResolvedTerm(1, vector=z),
        ResolvedTerm(2, pixels=blank),
        ResolvedTerm(-2, text="sea"),
    ]
    vector = QueryEmbedder().embed(terms, Model())  # type: ignore[arg-type]
    assert vector == pytest.approx(np.array([2, -2, 1]) / 3, abs=1e-6)
    assert np.array_equal(QueryEmbedder().embed([terms[0]], None), z)
    with pytest.raises(QueryError, match="cancel"):
        QueryEmbedder().embed([ResolvedTerm(1, vector=z), ResolvedTerm(-1, vector=z)], None)


@pytest.mark.catalogs("sqlite", "postgresql")
def test_the_nearest_are_retrieved_and_ranked_by_stored_vectors(engine: Engine) -> None:
    ours = steps(engine)
    vector = engine.library.runtime.run(
        lambda: ours.embedder.embed([ours.resolver.resolve([Term(jpeg(2))])[0].pixels])
    )[0]
    retrieve, store = ours.retriever.retrieve, ours.retriever.open_store()
    row_ids = engine.library.runtime.run(lambda: retrieve(store, vector, 3))
    assert len(row_ids) == 3
    assert engine.library.runtime.run(lambda: retrieve(store, vector, 1, [7, 8])) == [7, 8]
    ranked = ours.ranker.rank(vector, row_ids, 2, set())
    assert [one.summary.id for one in ranked][0] == identity(2) and len(ranked) == 2
    assert ranked[0].score == pytest.approx(1, abs=1e-2) and ranked[0].score >= ranked[1].score
    assert ours.ranker.rank(vector, [*row_ids, 10**6], 9, set())[0] == ranked[0]


def test_of_equals_the_picture_of_the_query_comes_first(engine: Engine, folder: Path) -> None:
    paint(folder / "copy.jpg", 2, "another comment")
    engine.sync(folder)
    ours = steps(engine)
    reader = engine.library.reader
    ids = [identity(2), identity(2, "another comment")]
    row_ids = [reader.resolve(one) for one in ids]
    _, stored = reader.load_vectors(ours.model, row_ids[:1])
    for one in ids:
        ranked = ours.ranker.rank(stored[0], row_ids, 2, {one, None})
        assert [candidate.summary.id for candidate in ranked][0] == one


def test_pictures_in_which_a_word_is_seen_come_first(engine: Engine) -> None:
    reader = engine.library.reader
    some = candidates(engine, 0.9, 0.8, 0.7)
    word_scores = {reader.resolve(identity(2)): 1.2, reader.resolve(identity(3)): 0.4, 10**6: 0.3}
    ranked = LabelRanker(reader).rank(word_scores, some, 3)
    assert [(one.summary.id, one.score) for one in ranked] == [
        (identity(2), 1.0),
        (identity(3), 0.4),
        (identity(0), 0.0),
    ]


def test_the_least_score_is_a_bound_that_counts(engine: Engine) -> None:
    some = candidates(engine, 0.9, 0.5, 0.4)
    assert list(ScoreFilter().filter(some, None)) == some
    assert list(ScoreFilter().filter(some, 0.5)) == some[:2]


@pytest.mark.catalogs("sqlite", "postgresql")
def test_hits_are_described_in_their_order(engine: Engine, folder: Path) -> None:
    hits = HitDescriber().describe(candidates(engine, 0.9, 0.5), [None, None], {}, {})
    assert [(hit.id, hit.path, hit.score) for hit in hits] == [
        (identity(0), str(folder / "0.jpg"), 0.9),
        (identity(1), str(folder / "1.jpg"), 0.5),
    ]
    assert (hits[0].width, hits[0].height, hits[0].kind) == (48, 40, None)


@pytest.mark.parametrize("index", ["flat", "ivf"])
def test_the_inference_thread_never_waits_for_the_catalog(
    library: Open, folder: Path, index: str
) -> None:
    """Not in a search, nor while a store is opened, follows the change log, is trained, saved and
    checked."""
    engine, writer = library(index=index), library(index=index)
    threads = set[str]()

    def note(*_: Any) -> None:
        threads.add(threading.current_thread().name)

    event.listen(engine.library.database.engine, "before_cursor_execute", note)
    for seed in range(4):
        paint(folder / f"{seed}.jpg", seed)
    engine.sync(folder)
    engine.search(image=jpeg(1))
    (folder / "0.jpg").unlink()
    paint(folder / "4.jpg", 4)
    writer.sync(folder)
    assert identity(4) in {hit.id for hit in engine.search(image=jpeg(4))}
    engine.search(Query((Term(jpeg(1)), Term(f"id:{identity(2)}"), Term(text="dog or 1"))))
    engine.tend()
    assert not engine.check(deep=True).problems
    assert threads and "inference" not in threads
