"""A change costs as much as it changes: snapshots that fall behind, and what a base is left as."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.clusters import DIM, VectorCatalog, cluster, train_to_end, vectors
from helpers.pictures import paint
from sqlalchemy import delete, func, select

from search import Engine
from search.catalog.schema import changes
from search.runtime import Runtime, faiss
from search.vectors.faiss import snapshot
from search.vectors.faiss.index import threads_for
from search.vectors.faiss.manager import IndexManager
from search.vectors.faiss.replica import IndexReplica, load
from search.vectors.faiss.snapshot import Part, SnapshotError
from search.vectors.faiss.tiers import needs_saving

Open = Callable[..., Engine]
MANY = 400
"""Vectors of which one in a hundred is more than one."""
TIERS = ["flat", "ivf"]


@pytest.fixture
def fixture(tmp_path: Path) -> Any:
    opened = VectorCatalog(tmp_path)
    yield opened
    opened.database.close()


def saved(fixture: VectorCatalog, tier: str) -> IndexReplica:
    """Return the index of a library of `MANY` vectors, with a snapshot."""
    fixture.add(MANY)
    replica = fixture.open(tier)
    train_to_end(replica)
    assert replica.save() and replica.index.tier == tier
    return replica


def state(path: Path) -> tuple[int, int]:
    return path.stat().st_ino, path.stat().st_mtime_ns


@pytest.mark.parametrize("tier", TIERS)
def test_a_small_change_writes_nothing_and_is_replayed(fixture: VectorCatalog, tier: str) -> None:
    replica = saved(fixture, tier)
    before = state(replica.path)
    fixture.add(3)
    fixture.remove([5])
    assert not replica.save() and state(replica.path) == before  # 4 of 402
    again = fixture.open(tier)
    assert not again.rebuilt and again.index.count == MANY and fixture.right(again)
    fixture.remove([6])
    assert replica.save() and state(replica.path) != before
    assert fixture.open(tier).index.count == MANY + 1 and fixture.right(fixture.open(tier))


def test_a_snapshot_is_written_after_a_share_of_changes() -> None:
    assert [needs_saving(100_000, n) for n in (0, 1000, 1001)] == [False, False, True]
    assert needs_saving(0, 1) and needs_saving(99, 1) and not needs_saving(100, 1)


def test_a_manager_does_not_open_an_index_for_a_small_change(fixture: VectorCatalog) -> None:
    before = state(saved(fixture, "ivf").path)
    fixture.add(2)

    def none() -> Runtime:
        raise AssertionError("nothing is to be done")

    manager = IndexManager(fixture.reader, none, fixture.folder, "ivf")
    assert not manager.train(fixture.space)
    manager.save(fixture.space)
    assert state(next(fixture.folder.iterdir())) == before
    assert manager.status(fixture.space) == {"kind": "ivf", "generation": MANY + 2}


@pytest.mark.parametrize("tier", TIERS)
def test_changes_leave_the_base_as_it_is(fixture: VectorCatalog, tier: str) -> None:
    replica = saved(fixture, tier)
    index, data = replica.index, replica.path.read_bytes()
    assert index.changes == 0
    index.delete([3, 4, 10**6])
    index.upsert([5, 10**6], vectors(2, 3))
    index.delete([10**6])
    assert index.changes == 4  # 3, 4 and 5 of the base are left out, and 5 is new
    assert index.count == MANY - 2 and replica.path.read_bytes() == data


@pytest.mark.parametrize("tier", TIERS)
def test_a_save_folds_the_changes_into_a_new_base(fixture: VectorCatalog, tier: str) -> None:
    replica = saved(fixture, tier)
    fixture.add(20)
    fixture.remove([1, 2, MANY + 3])
    assert replica.refresh().changes == 21  # 19 were added, and 2 of the base deleted
    old = replica.index
    assert replica.save() and replica.index is not old and replica.index.changes == 0
    assert fixture.right(replica) and replica.index.head() == load(replica.path, DIM).head()


@pytest.mark.parametrize("tier", TIERS)
def test_the_arrays_of_an_index_are_mapped_and_read_only(fixture: VectorCatalog, tier: str) -> None:
    parts = snapshot.read(saved(fixture, tier).path).parts
    assert parts and all(isinstance(part, np.memmap) for part in parts.values())
    assert not any(part.flags.writeable for part in parts.values())
    assert sum(part.nbytes for part in parts.values() if part.ndim == 1) >= MANY * 8


def test_opening_reads_no_large_array(
    fixture: VectorCatalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(fixture, "ivf").path
    monkeypatch.setattr(snapshot, "SMALL", 4096)
    opened = snapshot.read(path)
    data = bytearray(path.read_bytes())
    data[opened.offsets["lists"] + 40] ^= 1
    path.write_bytes(data)
    assert load(path, DIM).count == MANY  # it was not read
    with pytest.raises(SnapshotError, match="checksum of lists"):
        snapshot.verify(path)
    data[opened.offsets["bounds"]] ^= 1  # it is small
    path.write_bytes(data)
    with pytest.raises(SnapshotError, match="checksum of bounds"):
        load(path, DIM)
    data[opened.offsets["bounds"]] ^= 1
    path.write_bytes(data[:-1])
    with pytest.raises(SnapshotError):
        snapshot.read(path)


@pytest.mark.parametrize("tier", TIERS)
def test_check_reads_what_opening_does_not(
    library: Open, folder: Path, monkeypatch: pytest.MonkeyPatch, tier: str
) -> None:
    for seed in range(20):
        paint(folder / f"{seed}.jpg", seed)
    library(index=tier).sync(folder)
    (path,) = (library().home / "index").iterdir()
    monkeypatch.setattr(snapshot, "SMALL", 0)
    opened = snapshot.read(path)
    data = bytearray(path.read_bytes())
    data[opened.offsets["lists" if tier == "ivf" else "vectors"] + 100] ^= 4
    path.write_bytes(data)
    engine = library(index=tier)
    assert any("damaged" in line for line in engine.check().repaired)
    snapshot.verify(path)
    assert not library(index=tier).check().repaired


@pytest.mark.parametrize("tier", TIERS)
def test_a_kill_between_log_and_snapshot_loses_nothing(fixture: VectorCatalog, tier: str) -> None:
    path = saved(fixture, tier).path
    fixture.add(100)
    fixture.remove(list(range(1, 51)))  # the log has them; no snapshot was written
    (path.parent / ".1-1.part").write_bytes(b"half of a snapshot")
    again = fixture.open(tier)
    assert not again.rebuilt and again.refresh().changes == 150 and fixture.right(again)
    assert again.save() and fixture.right(fixture.open(tier))


@pytest.mark.parametrize("tier", TIERS)
def test_a_replaced_picture_of_the_base_is_not_found_by_its_old_vector(
    fixture: VectorCatalog, tier: str
) -> None:
    index = saved(fixture, tier).index
    old, new = fixture.rows[7], -fixture.rows[7]
    index.upsert([7], new[None])
    for opened in (index, reopened(index, fixture.folder / "y.faiss")):
        assert opened.search(new[None], 1)[0].ids[0] == 7
        assert 7 not in opened.search(old[None], 10)[0].ids
        assert opened.search(new[None], 1, [7])[0].scores[0] == pytest.approx(1, abs=0.02)
        assert opened.ids().tolist() == list(range(1, MANY + 1))


def reopened(index: Any, path: Path) -> Any:
    """Write an index to a snapshot, and open that."""
    snapshot.write(path, index.head(), index.parts())
    return load(path, DIM)


def test_parts_stay_as_they_are_while_the_index_changes(fixture: VectorCatalog) -> None:
    for tier in TIERS:
        fixture.add(MANY)
        index = fixture.open(tier).refresh()
        index.upsert([10**6], vectors(1, 3))
        head, parts, before = index.head(), index.parts(), index.ids().tolist()
        index.delete([2, 10**6])
        index.upsert([10**7], vectors(1, 4))
        snapshot.write(fixture.folder / "x.faiss", head, parts)
        assert load(fixture.folder / "x.faiss", DIM).ids().tolist() == before


# the log ---------------------------------------------------------------------------------------


def test_the_log_is_kept_from_the_snapshot_on(library: Open, folder: Path) -> None:
    for seed in range(30):
        paint(folder / f"{seed}.jpg", seed)
    engine = library(index="flat")
    engine.sync(folder)
    (path,) = (engine.home / "index").iterdir()
    head = snapshot.read_head(path)
    engine.forget(str(folder / "1.jpg"))
    engine.check()
    reader, space = engine.library.reader, engine.library.catalog.find_own_space()
    assert space is not None and reader.stamp(space, head["sequence"]) == head["stamp"]
    with reader.database.read() as c:
        last = reader.sequence(space)  # that of local features may be later
        later = changes.c.sequence.between(head["sequence"] + 1, last)
        entries = c.scalar(select(func.count()).select_from(changes).where(later))
    assert entries == last - head["sequence"] > 0


def test_an_index_whose_log_is_gone_is_built_again(fixture: VectorCatalog) -> None:
    path = saved(fixture, "flat").path
    fixture.add(3)
    cursor = snapshot.read_head(path)["sequence"]
    with fixture.database.write() as c:
        c.execute(delete(changes).where(changes.c.sequence <= cursor))
    again = fixture.open("flat")
    assert again.rebuilt and fixture.right(again)


# files of an index that is built ----------------------------------------------------------------


def test_building_leaves_no_file(fixture: VectorCatalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "SMALL", 100)  # everything is collected in files
    fixture.add(MANY)
    replica = fixture.open("ivf")
    assert train_to_end(replica) == "ivf" and fixture.right(replica)
    assert list(fixture.folder.iterdir()) == []


def test_files_of_a_build_that_was_killed_are_deleted_when_they_are_old(tmp_path: Path) -> None:
    old, new = tmp_path / f".a{snapshot.BUILD}", tmp_path / f".b{snapshot.BUILD}"
    for path in (old, new):
        path.write_bytes(b"x")
    os.utime(old, (0, 0))
    snapshot.delete_others(tmp_path, ())
    assert list(tmp_path.iterdir()) == [new]


def test_a_snapshot_of_pieces_is_that_of_the_whole(tmp_path: Path) -> None:
    rows = vectors(10)
    written = []
    for i, pieces in enumerate([[rows], [rows[:3], rows[3:3], rows[3:]]]):
        snapshot.write(tmp_path / str(i), {"x": 1}, {"a": Part("<f4", rows.shape, pieces)})
        written.append((tmp_path / str(i)).read_bytes())
    assert written[0] == written[1]
    np.testing.assert_array_equal(snapshot.read(tmp_path / "0").parts["a"], rows)


# threads ---------------------------------------------------------------------------------------


def test_a_single_query_uses_one_thread_and_a_batch_all() -> None:
    before = faiss.omp_get_max_threads()
    try:
        faiss.omp_set_num_threads(2)
        for count, threads in ((1, 1), (2, 2)):
            with threads_for(vectors(count)):
                assert faiss.omp_get_max_threads() == threads
            assert faiss.omp_get_max_threads() == 2
    finally:
        faiss.omp_set_num_threads(before)


# outside queries -------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [10, 100])
def test_outside_queries_are_answered_as_well_as_was_calibrated(k: int) -> None:
    random = np.random.default_rng(5)
    centres = random.normal(size=(300, 32))
    rows = centres[random.integers(0, 300, 9000)] + 0.9 * random.normal(size=(9000, 32))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    queries, rows = rows[:200], rows[200:]
    index = cluster(range(len(rows)), rows)
    assert index.probes < index.clusters / 2
    right = 0
    for query in queries:
        scores = rows @ query
        ids = index.search(query[None], k)[0].ids
        best = set(ids[np.argsort(-scores[ids])[:k]].tolist())
        right += len(best & set(np.argsort(-scores)[:k].tolist()))
    assert right / (k * len(queries)) >= 0.98
