"""The clustered tier, and how a library changes to it and back."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.clusters import (
    DIM,
    LARGE,
    VectorCatalog,
    cluster,
    open_manager,
    train_to_end,
    vectors,
)
from helpers.pictures import identity, paint
from helpers.serving import serving, until
from hypothesis import given, settings, strategies as st

from search import Engine
from search.catalog.reads import rescore
from search.errors import InputError, LibraryError, StorageError
from search.runtime import Runtime
from search.settings import Settings
from search.vectors.faiss import snapshot
from search.vectors.faiss.clusters import kmeans
from search.vectors.faiss.flat import FlatIndex
from search.vectors.faiss.ivf import IvfIndex
from search.vectors.faiss.manager import IndexManager
from search.vectors.faiss.replica import load
from search.vectors.faiss.snapshot import SnapshotError
from search.vectors.faiss.tiers import choose_tier, needs_retraining
from search.vectors.replay import Tasks, as_tasks, run_all

Open = Callable[..., Engine]


def trained(rows: np.ndarray, first: int = 1) -> IvfIndex:
    """All rows in clusters, numbered from `first`."""
    return cluster(range(first, first + len(rows)), rows)


def nearest(index: Any, rows: dict[int, np.ndarray], query: np.ndarray, k: int, only: Any) -> list:
    """Return the exact scores of the k best ids of an index."""
    ids = index.search(query[None], k, only)[0].ids.tolist()
    assert len(set(ids)) == len(ids) and set(ids) <= set(rows)
    scores = rescore(query, np.array([rows[n] for n in ids]).reshape(-1, len(query)))
    return sorted(scores.tolist(), reverse=True)[:k]


# the tier --------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 3, 17])
def test_clusters_are_unit_vectors_that_hold_what_is_near(count: int) -> None:
    rows = vectors(200)
    pieces = kmeans(rows, count)
    centres = run_all(as_tasks(pieces))
    assert centres.shape == (count, DIM)
    np.testing.assert_allclose(np.linalg.norm(centres, axis=1), 1, atol=1e-5)
    nearest = (rows @ centres.T).argmax(1)
    for i in set(nearest.tolist()):  # the last centres are nearly the middles of what they hold
        middle = rows[nearest == i].sum(0)
        assert centres[i] @ middle / np.linalg.norm(middle) > 0.95


def test_clusters_of_equal_vectors() -> None:
    rows = np.repeat(vectors(2), 20, axis=0)
    assert np.isfinite(run_all(as_tasks(kmeans(rows, 6)))).all()


operations = st.lists(
    st.tuples(
        st.sampled_from(["upsert", "delete"]),
        st.lists(st.integers(0, 60), max_size=20, unique=True),
        st.integers(0, 2**31),
    ),
    max_size=8,
)


@settings(derandomize=True, deadline=None, max_examples=60, database=None)
@given(operations, st.integers(1, 20), st.none() | st.lists(st.integers(0, 70), unique=True))
@pytest.mark.parametrize("kind", ["flat", "ivf"])
def test_any_changes_against_a_dictionary(
    kind: str, steps: list[tuple[str, list[int], int]], k: int, only: list[int] | None
) -> None:
    rows = vectors(30)
    index = trained(rows, 20) if kind == "ivf" else FlatIndex.empty(DIM)
    model = dict(zip(range(20, 50), rows, strict=True))
    index.upsert(list(model), rows)
    for operation, numbers, seed in steps:
        if operation == "delete":
            index.delete(numbers)
            model = {n: v for n, v in model.items() if n not in numbers}
        else:
            fresh = vectors(len(numbers), seed)
            index.upsert(numbers, fresh)
            model |= dict(zip(numbers, fresh, strict=True))
    assert index.count == len(model) and index.ids().tolist() == sorted(model)
    query = vectors(1, 99)[0]
    allowed = [float(query @ v) for n, v in model.items() if only is None or n in only]
    ids = nearest(index, model, query, k, only)
    assert len(ids) == min(k, len(allowed))
    if k == 20 or only is not None:  # nearly all, or few: no cluster is left out
        np.testing.assert_allclose(ids, sorted(allowed, reverse=True)[:k], atol=1e-5)


@pytest.fixture(scope="module")
def many() -> tuple[IvfIndex, dict[int, np.ndarray]]:
    rows = vectors(3000)
    return trained(rows), dict(enumerate(rows, 1))


Many = tuple[IvfIndex, dict[int, np.ndarray]]


def test_it_finds_what_exact_search_finds(many: Many) -> None:
    index, rows = many
    assert index.probes < index.clusters  # it leaves clusters out, or nothing is shown
    right = 0
    for query in vectors(100, 5):
        best = sorted((rescore(query, np.array(list(rows.values())))).tolist())[:-11:-1]
        right += len(set(best) & set(nearest(index, rows, query, 10, None)))
    assert right / 1000 >= 0.98


@pytest.mark.parametrize("share", [0.001, 0.01, 0.3])
def test_a_filter_loses_nothing(many: Many, share: float) -> None:
    index, rows = many
    chosen = np.random.default_rng(3).permutation(list(rows))[: int(share * len(rows))].tolist()
    right = total = 0
    for query in vectors(50, 6):
        best = sorted(rescore(query, np.array([rows[n] for n in chosen])).tolist())[:-11:-1]
        right += len(set(best) & set(nearest(index, rows, query, 10, [*chosen, 10**6])))
        total += len(best)
    assert right == total if share < 0.1 else right / total >= 0.98


def test_a_batch_searches_further_only_for_queries_that_need_it(
    many: Many, monkeypatch: pytest.MonkeyPatch
) -> None:
    index, rows = many
    monkeypatch.setattr(index, "probes", 1)
    queries = vectors(6, 13)
    far = sorted(rows, key=lambda row_id: float(rows[row_id] @ queries[2]))[:300]
    answers = index.search(queries, 20, far)  # far from one query, and not from the others
    assert all(len(answer.ids) >= 20 for answer in answers)
    for query, answer in zip(queries, answers, strict=True):
        assert index.search(query[None], 20, far)[0].ids.tolist() == answer.ids.tolist()


@pytest.mark.parametrize("k", [1, 10, 500, 2999, 3000, 10_000])
def test_there_are_as_many_as_were_asked_for(many: Many, k: int) -> None:
    index, rows = many
    index_probes, index.probes = index.probes, 1
    for query in (vectors(1, 8)[0], -vectors(1, 8)[0]):
        assert len(index.search(query[None], k)[0].ids) >= min(k, len(rows))
        assert len(index.search(query[None], k, list(rows)[:700])[0].ids) >= min(k, 700)
    index.probes = index_probes
    whole = nearest(index, rows, query, k, None)
    if k >= len(rows):
        assert len(whole) == len(rows)


def test_nothing_is_asked_or_left(many: Many) -> None:
    index, _ = many
    assert index.search(vectors(1), 5, [])[0].ids.tolist() == []
    assert index.search(vectors(1), 5, [10**6])[0].ids.tolist() == []
    gone = trained(vectors(5))
    gone.delete(range(10))
    assert gone.count == 0 and gone.search(vectors(1), 5)[0].ids.tolist() == []
    assert gone.ids().tolist() == []


def test_a_snapshot_brings_it_back(tmp_path: Path, many: Many) -> None:
    index, rows = many
    index.cursor, index.cursor_stamp = 7, 11
    snapshot.write(tmp_path / "x.faiss", index.head(), index.parts())
    loaded = load(tmp_path / "x.faiss", DIM)
    assert loaded.head() == index.head() and loaded.head()["kind"] == "ivf"
    query = vectors(1, 3)
    before, after = index.search(query, 10)[0], loaded.search(query, 10)[0]
    assert after.ids.tolist() == before.ids.tolist()
    loaded.upsert([1, 10**6], vectors(2, 12))
    loaded.delete([2])
    assert set(loaded.ids().tolist()) == (set(rows) | {10**6}) - {2}


@pytest.mark.parametrize("lack", ["probes", "probes_100", "made", "sequence"])
def test_a_snapshot_that_lacks_something_is_refused(tmp_path: Path, many: Many, lack: str) -> None:
    head = {name: value for name, value in many[0].head().items() if name != lack}
    snapshot.write(tmp_path / "x.faiss", head, many[0].parts())
    with pytest.raises(SnapshotError):
        load(tmp_path / "x.faiss", DIM)


@pytest.mark.parametrize(("kind", "other"), [("flat", "ivf"), ("ivf", "flat")])
def test_a_snapshot_that_is_not_what_its_head_says_is_refused(
    tmp_path: Path, kind: str, other: str
) -> None:
    flat = FlatIndex.empty(DIM)
    flat.upsert(range(9), vectors(9))
    indexes = {"flat": flat, "ivf": trained(vectors(9))}
    snapshot.write(
        tmp_path / "x.faiss",
        indexes[kind].head() | {"probes": 1, "probes_100": 1},
        indexes[other].parts(),
    )
    with pytest.raises(SnapshotError):
        load(tmp_path / "x.faiss", DIM)


# which one -------------------------------------------------------------------------------------


def test_the_tier_goes_by_size_and_does_not_go_to_and_fro() -> None:
    kind, kinds = "flat", []
    for count in (0, 1, 39, 40, 39, 20, 40, 21, 19, 20, 39):
        kind = choose_tier("auto", kind, count, LARGE)
        kinds.append(kind)
    assert kinds == ["flat"] * 3 + ["ivf"] * 5 + ["flat"] * 3
    assert choose_tier("flat", "ivf", 10**6, LARGE) == "flat"
    assert choose_tier("ivf", "flat", 1, LARGE) == "ivf"
    assert choose_tier("ivf", "flat", 0, LARGE) == "flat"  # there is nothing to make clusters of
    assert (
        needs_retraining("ivf", 80, 40)
        and not needs_retraining("ivf", 79, 40)
        and not needs_retraining("flat", 80, 4)
    )


def test_the_setting_takes_only_what_there_is() -> None:
    assert Settings.load(index="ivf").index == "ivf"
    with pytest.raises(InputError, match="index"):
        Settings.load(index="hnsw")


# kept up with the catalog ----------------------------------------------------------------------


@pytest.fixture
def fixture(tmp_path: Path) -> Any:
    opened = VectorCatalog(tmp_path)
    yield opened
    opened.database.close()


def run_some(tasks: Tasks[None], most: int) -> int:
    """Run at most some tasks; return how many there were."""
    chosen = list[object]()
    for task in islice(tasks, most):
        chosen.append(task())
    return len(chosen)


def test_a_library_that_grows_and_shrinks_changes_its_tier(fixture: VectorCatalog) -> None:
    fixture.add(LARGE - 1)
    replica = fixture.open()
    assert train_to_end(replica) == "flat" and fixture.right(replica)
    fixture.add(1)
    assert train_to_end(replica) == "ivf" and fixture.right(replica)
    fixture.remove(list(fixture.rows)[: LARGE // 2])
    assert train_to_end(replica) == "ivf" and fixture.right(replica)
    fixture.remove([max(fixture.rows)])
    assert train_to_end(replica) == "flat" and fixture.right(replica)
    fixture.remove(list(fixture.rows))
    assert train_to_end(replica) == "flat" and replica.refresh().count == 0


def test_clusters_are_made_again_when_they_are_needs_retraining(fixture: VectorCatalog) -> None:
    fixture.add(LARGE)
    replica = fixture.open()
    run_all(replica.train())
    first = replica.index
    fixture.add(LARGE - 1)
    run_all(replica.train())
    assert replica.index is first and first.trained_count == LARGE and fixture.right(replica)
    fixture.add(1)
    run_all(replica.train())
    assert (
        replica.index is not first
        and replica.index.trained_count == 2 * LARGE
        and fixture.right(replica)
    )


def test_it_answers_rightly_while_clusters_are_made(fixture: VectorCatalog) -> None:
    fixture.add(3 * LARGE)
    replica = fixture.open()
    before, pieces = replica.index, 0
    for pieces, task in enumerate(replica.train(), 1):
        task()
        assert replica.index is before
        if pieces % 3 == 0:  # others write meanwhile
            fixture.remove([min(fixture.rows)])
            fixture.add(1)
        assert fixture.right(replica)
    assert pieces > 5 and replica.index.tier == "ivf" and fixture.right(replica)


def test_given_up_at_any_piece_nothing_is_lost(fixture: VectorCatalog) -> None:
    fixture.add(LARGE)
    total = run_some(fixture.open().train(), 10**6)
    for last in range(0, total, max(1, total // 10)):
        replica = fixture.open()
        run_some(replica.train(), last)
        assert replica.index.tier == "flat" and fixture.right(replica)
        again = fixture.open()
        assert fixture.right(again)
    assert train_to_end(again) == "ivf" and fixture.right(again)


@pytest.mark.parametrize("had", ["flat", "ivf"])
def test_a_snapshot_of_another_tier_serves_until_the_right_one_is_there(
    fixture: VectorCatalog, had: str
) -> None:
    fixture.add(LARGE // 2)
    replica = fixture.open(had)
    assert train_to_end(replica) == had
    assert replica.save()
    fixture.add(3)
    other = "ivf" if had == "flat" else "flat"
    replica = fixture.open(other)
    assert replica.index.tier == had and not replica.rebuilt and fixture.right(replica)
    assert train_to_end(replica) == other and fixture.right(replica)


@pytest.fixture
def runtime() -> Any:
    created = Runtime(1)
    yield created
    created.close()


def test_another_process_that_was_quicker_is_believed(
    fixture: VectorCatalog, runtime: Runtime
) -> None:
    fixture.add(LARGE - 1)
    ours, theirs = open_manager(fixture, runtime), open_manager(fixture, runtime)
    ours.replica(fixture.space)
    fixture.add(1)
    assert theirs.train(fixture.space)
    theirs.save(fixture.space)
    held = snapshot.read_head(next(fixture.folder.iterdir()))
    assert run_some(ours.replica(fixture.space).train(), 10**6) <= 2  # nothing is trained again
    assert ours.replica(fixture.space).index.head() == held and fixture.right(
        ours.replica(fixture.space)
    )


def test_a_manager_trains_and_saves_once(fixture: VectorCatalog, runtime: Runtime) -> None:
    fixture.add(LARGE)
    first = open_manager(fixture, runtime)
    assert first.status(fixture.space)["kind"] == "flat"
    assert first.train(fixture.space) and not first.train(fixture.space)
    first.save(fixture.space)
    assert first.status(fixture.space)["kind"] == "ivf"

    def none() -> Runtime:
        raise AssertionError("nothing is to be done")

    resting = IndexManager(fixture.reader, none, fixture.folder, "auto", LARGE)
    assert not resting.train(fixture.space)
    resting.save(fixture.space)
    assert resting.status(fixture.space) == {"kind": "ivf", "generation": LARGE}
    replica = open_manager(fixture, runtime).replica(fixture.space)
    assert replica.index.tier == "ivf" and not replica.rebuilt and fixture.right(replica)


@pytest.mark.parametrize("damage", ["missing", "cut", "flipped"])
def test_a_damaged_one_is_made_anew(fixture: VectorCatalog, runtime: Runtime, damage: str) -> None:
    fixture.add(LARGE)
    first = open_manager(fixture, runtime)
    first.train(fixture.space)
    first.save(fixture.space)
    (path,) = fixture.folder.iterdir()
    data = bytearray(path.read_bytes())
    data[-100] ^= 4
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(data[: len(data) // 2] if damage == "cut" else data)
    again = open_manager(fixture, runtime)
    replica = again.replica(fixture.space)
    assert replica.rebuilt and replica.index.tier == "flat" and fixture.right(replica)
    assert again.train(fixture.space)
    again.save(fixture.space)
    assert load(path, DIM).tier == "ivf" and fixture.right(replica)


def test_a_library_that_is_closed_gives_up_training(fixture: VectorCatalog) -> None:
    fixture.add(LARGE)
    runtime = Runtime(1)
    manager = open_manager(fixture, runtime)
    manager.replica(fixture.space)
    runtime.close()
    with pytest.raises(LibraryError, match="closed"):
        manager.train(fixture.space)


# through the facade ----------------------------------------------------------------------------


def fill(folder: Path, seeds: range) -> None:
    for seed in seeds:
        paint(folder / f"{seed}.jpg", seed)


def answers(engine: Engine, k: int) -> list[list[tuple[str, float]]]:
    ids = []
    for seed in range(0, 30, 7):
        hits = engine.search(image=f"id:{identity(seed)}", k=k)
        ids.append([(hit.id, hit.score) for hit in hits])
    return ids


@pytest.mark.parametrize("k", [3, 30, 50])
def test_every_tier_gives_the_same_hits_and_scores(library: Open, folder: Path, k: int) -> None:
    fill(folder, range(30))
    flat = library(index="flat")
    flat.sync(folder)
    exact = answers(flat, k)
    assert flat.status().index["kind"] == "flat"
    clustered = library(index="ivf")
    assert answers(clustered, k) == exact  # from the other tier's snapshot
    clustered.tend()
    assert clustered.status().index["kind"] == "ivf"
    assert answers(clustered, k) == exact and len(exact[0]) == min(k, 30)
    assert library().status().index["kind"] == "ivf"  # read off the snapshot
    assert not clustered.check().problems and not clustered.check().repaired


def test_check_mends_a_clustered_index(library: Open, folder: Path) -> None:
    fill(folder, range(20))
    engine = library(index="ivf")
    engine.sync(folder)
    (path,) = (engine.home / "index").iterdir()
    index = load(path, 512)
    assert index.tier == "ivf"
    index.delete([2])
    snapshot.write(path, index.head(), index.parts())
    again = library(index="ivf")
    assert len(again.check().repaired) == 1
    assert load(path, 512).tier == "ivf" and load(path, 512).count == 20
    assert not library(index="ivf").check().repaired


def test_a_sync_trains_and_a_search_does_not(library: Open, folder: Path) -> None:
    fill(folder, range(20))
    library(index="flat").sync(folder)
    reader = library(index="ivf")
    reader.search(image=f"id:{identity(3)}", k=5)
    assert reader.status().index["kind"] == "flat"
    report = library(index="ivf").sync(folder)  # it reads nothing new
    assert report.unchanged == 20 and library().status().index["kind"] == "ivf"


def test_a_server_brings_the_index_up_to_size_by_itself(
    library: Open, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(folder, range(20))
    library(index="flat").sync(folder)
    monkeypatch.setattr("search.api.app.TEND_SECONDS", 0.05)
    with serving(library(index="ivf")) as client:
        until(lambda: client.get("/api/v1/status").json()["index"]["kind"] == "ivf", 60)
        answer = client.post("/api/v1/search", json={"terms": [{"image": f"id:{identity(3)}"}]})
        assert answer.json()["hits"][0]["id"] == identity(3)
    assert library().status().index["kind"] == "ivf"


def test_a_server_outlives_a_disk_that_is_full(
    library: Open, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fill(folder, range(20))
    library(index="flat").sync(folder)

    def full(*_: object) -> None:
        raise StorageError("no space left")

    monkeypatch.setattr("search.api.app.TEND_SECONDS", 0.05)
    monkeypatch.setattr(snapshot, "write", full)
    with serving(library(index="ivf")) as client:
        until(lambda: "no space left" in caplog.text, 60)
        assert client.get("/api/v1/status").json()["index"]["kind"] == "ivf"  # it answers anyway
