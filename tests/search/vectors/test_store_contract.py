"""The contract of `VectorStore`, run against every implementation and tier."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.clusters import cluster
from helpers.milvus import ADDRESSES, address_of, connect
from helpers.pictures import identity, paint

from search import Engine, InputError
from search.vectors.base import Neighbours, VectorStore
from search.vectors.faiss import snapshot
from search.vectors.faiss.flat import FlatIndex
from search.vectors.faiss.ivf import IvfIndex
from search.vectors.faiss.replica import load
from search.vectors.memory import MemoryStore
from search.vectors.milvus.connection import Connection
from search.vectors.milvus.store import MilvusStore
from search.vectors.registry import STORES, open_stores

DIM = 16
ROUNDING = 0.02
"""How far a score may be from the cosine."""

Make = Callable[[Path], VectorStore]


def unit_vectors(n: int, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(n, DIM)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def make_ivf() -> IvfIndex:
    """Clusters without a vector, so that all that a test stores lies in memory."""
    index = cluster(range(400), unit_vectors(400, 9))
    index.delete(range(400))
    return index


class Saved:
    """A store that is written to a snapshot and opened again after every change."""

    def __init__(self, store: FlatIndex | IvfIndex, folder: Path) -> None:
        self.store, self.path = store, folder / "x.faiss"

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    def upsert(self, ids: Any, vectors: Any) -> None:
        self.store.upsert(ids, vectors)
        self._save()

    def delete(self, ids: Any) -> None:
        self.store.delete(ids)
        self._save()

    def _save(self) -> None:
        snapshot.write(self.path, self.store.head(), self.store.parts())
        self.store = load(self.path, DIM)


MAKERS: dict[str, Make] = {
    "memory": lambda _: MemoryStore(DIM),
    "faiss-flat": lambda _: FlatIndex.empty(DIM),
    "faiss-flat-saved": lambda folder: Saved(FlatIndex.empty(DIM), folder),
    "faiss-ivf": lambda _: make_ivf(),
    "faiss-ivf-saved": lambda folder: Saved(make_ivf(), folder),
}


@pytest.fixture(scope="module")
def connections(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Connection]]:
    """Opens the one connection of each Milvus."""
    with ExitStack() as stack:

        @cache
        def open_one(name: str) -> Connection:
            return stack.enter_context(connect(address_of(name, tmp_path_factory.mktemp(name))))

        yield open_one


@pytest.fixture(params=sorted([*MAKERS, *ADDRESSES]))
def store(
    request: pytest.FixtureRequest, connections: Callable[[str], Connection], tmp_path: Path
) -> Iterator[VectorStore]:
    """An empty store of each implementation and tier."""
    if request.param in MAKERS:
        yield MAKERS[request.param](tmp_path)
        return
    connection = connections(request.param)
    yield MilvusStore.create(connection, "contract", DIM, exact=connection.is_lite)
    connection.call("drop_collection", "contract", slow=True)


def best(answer: Neighbours, stored: dict[int, np.ndarray], query: np.ndarray, k: int) -> list[int]:
    """The ids of the k best, scored again by the stored vectors."""
    ids = answer.ids.tolist()
    return sorted(ids, key=lambda i: (-float(stored[i] @ query), i))[:k]


def exact(stored: dict[int, np.ndarray], query: np.ndarray, k: int) -> list[int]:
    return sorted(stored, key=lambda i: (-float(stored[i] @ query), i))[:k]


def fill(store: VectorStore, n: int, first: int = 100) -> dict[int, np.ndarray]:
    """Store n vectors under every second row id from `first` on, in a shuffled order."""
    ids = np.random.default_rng(1).permutation(range(first, first + 2 * n, 2)).tolist()
    rows = unit_vectors(n, 2)
    store.upsert(ids, rows)
    return dict(zip(ids, rows, strict=True))


def test_an_empty_store_answers_every_query_with_nothing(store: VectorStore) -> None:
    assert store.count == 0 and store.ids().tolist() == [] and store.dim == DIM
    for filter in (None, [], [1, 2]):
        answers = store.search(unit_vectors(3), 5, filter)
        assert [(a.ids.shape, a.scores.shape) for a in answers] == [((0,), (0,))] * 3
    assert store.search(unit_vectors(0), 5) == []
    store.delete([1, 2])
    store.upsert([], unit_vectors(0))
    assert store.count == 0


def test_ids_are_the_row_ids_that_were_stored(store: VectorStore) -> None:
    ids = [1, 7, 2**40, 2**62]
    store.upsert(ids, rows := unit_vectors(4))
    assert store.ids().tolist() == ids and store.ids().dtype == np.int64
    for row_id, row in zip(ids, rows, strict=True):
        assert store.search(row[None], 1)[0].ids[0] == row_id


def test_it_finds_the_nearest(store: VectorStore) -> None:
    stored = fill(store, 300)
    hits = 0
    for query in unit_vectors(20, 5):
        (answer,) = store.search(query[None], 10)
        assert len(answer.ids) >= 10 and len(set(answer.ids.tolist())) == len(answer.ids)
        hits += len(set(best(answer, stored, query, 10)) & set(exact(stored, query, 10)))
    assert hits >= 0.95 * 200


def test_scores_are_cosines_but_for_rounding_and_best_first(store: VectorStore) -> None:
    stored = fill(store, 300)
    for answer, query in zip(store.search(q := unit_vectors(20, 5), 10), q, strict=True):
        cosines = [float(stored[i] @ query) for i in answer.ids.tolist()]
        np.testing.assert_allclose(answer.scores, cosines, atol=ROUNDING)
        assert answer.scores.dtype == np.float32 and (np.diff(answer.scores) <= 0).all()


def test_upsert_replaces(store: VectorStore) -> None:
    stored = fill(store, 50)
    old, new = stored[100], unit_vectors(1, 77)[0]
    store.upsert([100, 999], np.stack([new, old]))
    assert store.count == 51 and store.ids().tolist() == sorted([*stored, 999])
    assert store.search(new[None], 1)[0].ids[0] == 100
    assert store.search(old[None], 1)[0].ids[0] == 999


@pytest.mark.parametrize(
    ("ids", "rows"),
    [([1, 2], unit_vectors(3)), ([1, 1], unit_vectors(2)), ([1], unit_vectors(1)[:, :-1])],
)
def test_an_upsert_that_does_not_fit_changes_nothing(
    store: VectorStore, ids: list[int], rows: np.ndarray
) -> None:
    stored = fill(store, 5)
    with pytest.raises(ValueError, match="ids|id is repeated|shape"):
        store.upsert(ids, rows)
    assert store.ids().tolist() == sorted(stored)


@pytest.mark.parametrize("queries", [unit_vectors(1)[0], unit_vectors(2)[:, :-1]])
def test_queries_of_another_shape_are_refused(store: VectorStore, queries: np.ndarray) -> None:
    fill(store, 5)
    with pytest.raises(ValueError, match="shape"):
        store.search(queries, 1)


def test_delete_ignores_unknown_ids(store: VectorStore) -> None:
    stored = fill(store, 50)
    store.delete([100, 101, 10**9])
    assert store.ids().tolist() == sorted(set(stored) - {100})
    assert 100 not in store.search(stored[100][None], 50)[0].ids
    store.delete({101})
    assert store.count == 49
    store.delete(list(stored))
    assert store.count == 0 and len(store.search(unit_vectors(1), 5)[0].ids) == 0


@pytest.mark.parametrize("share", [1, 5, 60, 300])
def test_a_filter_searches_only_its_ids(store: VectorStore, share: int) -> None:
    stored = fill(store, 300)
    chosen = dict(list(stored.items())[:share])
    for query in unit_vectors(10, 6):
        (answer,) = store.search(query[None], 3, [*chosen, 10**9])
        assert set(answer.ids.tolist()) <= set(chosen) and len(answer.ids) >= min(3, share)
        if share < 60:  # few are searched exactly by every tier
            assert best(answer, stored, query, 3) == exact(chosen, query, 3)
    assert len(store.search(unit_vectors(1), 3, set())[0].ids) == 0
    assert len(store.search(unit_vectors(1), 3, [10**9])[0].ids) == 0


def test_k_beyond_the_count_returns_everything(store: VectorStore) -> None:
    stored = fill(store, 30)
    for k in (30, 31, 10_000):
        assert sorted(store.search(unit_vectors(1), k)[0].ids.tolist()) == sorted(stored)
    assert len(store.search(unit_vectors(1), 0)[0].ids) == 0


@pytest.mark.parametrize("k", [1, 7, 250])
@pytest.mark.parametrize("filtered", [False, True])
def test_a_batch_returns_what_its_queries_return_alone(
    store: VectorStore, k: int, filtered: bool
) -> None:
    stored = fill(store, 300)
    filter = list(stored)[:200] if filtered else None
    queries = unit_vectors(40, 8)
    for query, answer in zip(queries, store.search(queries, k, filter), strict=True):
        (alone,) = store.search(query[None], k, filter)
        assert answer.ids.tolist() == alone.ids.tolist()
        np.testing.assert_allclose(answer.scores, alone.scores, atol=1e-6)


def test_the_cursor_is_what_was_set(store: VectorStore) -> None:
    assert store.cursor == 0
    fill(store, 3)
    assert store.cursor == 0  # whoever applies the log sets it
    store.cursor = 12
    assert store.cursor == 12


# the stores of a library -----------------------------------------------------------------------


ALL_STORES = sorted([*STORES, *ADDRESSES])


def open_with(library: Callable[..., Engine], name: str) -> Engine:
    """An engine whose library has another vector store."""
    engine = library()
    parts = engine.library
    store = name if name in STORES else address_of(name, parts.home)
    parts.indexes = open_stores(store, parts.reader, lambda: parts.runtime, parts.home / name)
    return engine


@pytest.mark.parametrize("name", ALL_STORES)
def test_every_store_follows_the_change_log(
    library: Callable[..., Engine], folder: Path, name: str
) -> None:
    engine, writer = open_with(library, name), library()
    for seed in range(4):
        paint(folder / f"{seed}.jpg", seed)
    writer.sync(folder)
    space = engine.library.catalog.find_own_space()
    assert space is not None
    replica = engine.library.indexes.replica(space)
    assert replica.refresh().ids().tolist() == [1, 2, 3, 4]
    assert replica.refresh().cursor == engine.library.reader.sequence(space) == 4
    (folder / "1.jpg").unlink()
    paint(folder / "4.jpg", 4)
    writer.sync(folder)
    assert replica.refresh().count == 4
    assert replica.refresh().cursor == engine.library.reader.sequence(space) > 4
    assert replica.rebuild().ids().tolist() == replica.refresh().ids().tolist()
    assert engine.library.indexes.status(space)["generation"] == replica.refresh().cursor


@pytest.mark.parametrize("name", ALL_STORES)
def test_a_library_gives_the_same_answers_with_every_store(
    library: Callable[..., Engine], folder: Path, name: str
) -> None:
    engine, reference = open_with(library, name), library()
    for seed in range(8):
        paint(folder / f"{seed}.jpg", seed)
    assert engine.sync(folder).embedded == 8
    for seed in (0, 7):
        query = f"id:{identity(seed)}"
        answer = [(hit.id, hit.score) for hit in engine.search(image=query, k=5)]
        assert answer == [(hit.id, hit.score) for hit in reference.search(image=query, k=5)]
    assert engine.check().problems == () and engine.tend() is None


@pytest.mark.parametrize("name", ALL_STORES)
def test_a_manager_keeps_the_stores_of_two_spaces_apart(
    library: Callable[..., Engine], folder: Path, name: str
) -> None:
    for seed in range(4):
        paint(folder / f"{seed}.jpg", seed)
    engine, writer = open_with(library, name), library()
    writer.sync(folder)
    library(model="mini-1").sync(folder, beside=True)
    parts = engine.library
    own, other = parts.reader.spaces()
    replicas = [parts.indexes.replica(space) for space in (own, other)]
    assert [replica.space for replica in replicas] == [own, other]
    (folder / "1.jpg").unlink()
    paint(folder / "4.jpg", 4)
    writer.sync(folder)
    for space, replica in zip((own, other), replicas, strict=True):
        assert parts.indexes.replica(space) is replica
        store = replica.refresh()
        assert store.cursor == parts.reader.sequence(space) and store.count == 4
        row_ids, vectors = parts.reader.load_vectors(space, store.ids().tolist())
        for row_id, vector in zip(row_ids, vectors, strict=True):
            assert store.search(vector[None], 1)[0].ids[0] == row_id
        parts.indexes.train(space)
        parts.indexes.save(space)
        assert parts.indexes.status(space)["generation"] == store.cursor
    stores = [replica.refresh() for replica in replicas]
    query = parts.reader.load_vectors(own, [1])[1]
    assert stores[0].search(query, 4)[0].scores[1] != stores[1].search(query, 4)[0].scores[1]
    library().forget_model("mini-1")
    library(model="mini-1").sync(folder, beside=True)
    again = parts.indexes.replica(parts.reader.spaces()[1])
    assert again is not replicas[1] and again.refresh().count == 4
    assert parts.indexes.replica(own) is replicas[0]


def test_an_unknown_store_is_refused_and_the_known_ones_are_listed(
    engine: Engine, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="no vector store is called x; give one of faiss, memory"):
        open_stores("x", engine.library.reader, lambda: engine.library.runtime, tmp_path)
