"""The vector index: exact, filtered, kept up by the change log, rebuilt when a snapshot is bad."""

from __future__ import annotations

import hashlib
import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers.libraries import Counted, close_library, open_library, parts
from helpers.pictures import identity, paint
from hypothesis import given, settings, strategies as st

from search import Engine, StorageError
from search.vectors.base import VectorStore
from search.vectors.faiss import snapshot
from search.vectors.faiss.flat import FlatIndex
from search.vectors.faiss.replica import IndexReplica, load
from search.vectors.faiss.snapshot import SnapshotError

Open = Callable[..., Engine]
DIM = 8


def vectors(n: int, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(n, DIM)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def filled(n: int = 5) -> FlatIndex:
    index = FlatIndex.empty(DIM)
    index.upsert(range(10, 10 + n), vectors(n))
    index.cursor, index.cursor_stamp = 7, 11
    return index


def nearest(index: VectorStore, query: np.ndarray, k: int) -> list[int]:
    return index.search(query[None], k)[0].ids.tolist()


def save(index: FlatIndex, path: Path) -> None:
    snapshot.write(path, index.head(), index.parts())


# flat tier -------------------------------------------------------------------------------------

operations = st.lists(
    st.tuples(
        st.sampled_from(["upsert", "delete"]),
        st.lists(st.integers(0, 15), max_size=6, unique=True),
        st.integers(0, 2**31),
    ),
    max_size=8,
)


@settings(derandomize=True, deadline=None, max_examples=60, database=None)
@given(operations, st.integers(1, 20), st.none() | st.lists(st.integers(0, 20), unique=True))
def test_it_answers_like_a_dictionary_and_a_matrix_product(
    steps: list[tuple[str, list[int], int]], k: int, only: list[int] | None
) -> None:
    index, model = FlatIndex.empty(DIM), dict[int, np.ndarray]()
    for operation, numbers, seed in steps:
        if operation == "delete":
            index.delete(numbers)
            model = {n: v for n, v in model.items() if n not in numbers}
        else:
            rows = vectors(len(numbers), seed)
            index.upsert(numbers, rows)
            model |= dict(zip(numbers, rows, strict=True))
    query = vectors(1, 99)[0]
    allowed = {n: float(v @ query) for n, v in model.items() if only is None or n in only}
    best = sorted(allowed, key=lambda n: -allowed[n])[:k]
    ((ids, scores),) = index.search(query[None], k, only)
    assert index.count == len(model) and index.ids().tolist() == sorted(model)
    assert [allowed[n] for n in ids.tolist()] == [allowed[n] for n in best]  # twins either way
    np.testing.assert_allclose(scores, [allowed[n] for n in best], atol=1e-6)


def test_numbers_and_vectors_must_pair() -> None:
    with pytest.raises(ValueError, match="2 ids for 3 vectors"):
        FlatIndex.empty(DIM).upsert([1, 2], vectors(3))


# snapshot --------------------------------------------------------------------------------------


def test_a_snapshot_brings_back_the_index(tmp_path: Path) -> None:
    path, index = tmp_path / "deep" / "x.faiss", filled()
    save(index, path)
    loaded = load(path, DIM)
    query = vectors(1, 3)[0]
    assert nearest(loaded, query, 9) == nearest(index, query, 9)
    assert loaded.head() == index.head() == snapshot.read_head(path)
    assert (loaded.cursor, loaded.cursor_stamp) == (7, 11)
    assert [p.name for p in path.parent.iterdir()] == ["x.faiss"]  # nothing partial is left


def test_a_snapshot_cut_anywhere_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.faiss"
    save(filled(2), path)
    data = path.read_bytes()
    for end in range(len(data)):
        path.write_bytes(data[:end])
        with pytest.raises(SnapshotError):
            load(path, DIM)
        snapshot.read_head(path)  # may be wrong, may not raise


def test_a_snapshot_with_any_bit_flipped_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.faiss"
    save(filled(2), path)
    data = path.read_bytes()
    for place in range(len(data)):
        flipped = bytearray(data)
        flipped[place] ^= 1 << place % 8
        path.write_bytes(flipped)
        with pytest.raises(SnapshotError):
            load(path, DIM)
        snapshot.read_head(path)


def test_a_snapshot_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"in the way")
    with pytest.raises(StorageError, match="exists; free some space, or move"):
        save(filled(2), tmp_path / "file" / "x.faiss")
    assert (tmp_path / "file").read_bytes() == b"in the way"


def whole(head: object) -> bytes:
    """Return a snapshot with a right checksum, any head, and no array."""
    text = json.dumps(head).encode()
    data = snapshot.MAGIC + struct.pack(">I", len(text)) + text
    return data + hashlib.sha256(data).digest()


NUMBERS = {"dim": DIM, "sequence": 1, "made": 1, "stamp": 1, "parts": {}}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x89PNG\r\n\x1a\n" + bytes(100),
        b"LKLX1\n" + whole({"kind": "flat"} | NUMBERS)[6:],  # of an earlier version
        whole({"kind": "flat"} | NUMBERS) + b"noise",
        whole({"kind": "flat"} | NUMBERS),
        whole({"kind": "ivf"} | NUMBERS),
        whole({"kind": "flat", "dim": DIM}),
        whole({"kind": "flat"} | NUMBERS | {"parts": [1]}),
        whole({"kind": "flat"} | NUMBERS | {"parts": {"ids": {"dtype": "x", "shape": [1]}}}),
        whole([]),
    ],
)
def test_a_foreign_file_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x.faiss"
    path.write_bytes(data)
    with pytest.raises(SnapshotError):
        load(path, DIM)
    snapshot.read_head(path)


def test_a_snapshot_of_vectors_of_another_length_is_refused(tmp_path: Path) -> None:
    save(filled(), tmp_path / "x.faiss")
    with pytest.raises(SnapshotError, match="length"):
        load(tmp_path / "x.faiss", DIM + 1)


def test_a_snapshot_that_cannot_be_written_leaves_the_earlier_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.faiss"
    save(filled(2), path)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StorageError, match="No space left"):
        save(filled(5), path)
    assert load(path, DIM).count == 2
    assert [p.name for p in tmp_path.iterdir()] == ["x.faiss"]


# kept up with the catalog ----------------------------------------------------------------------


def numbers(engine: Engine) -> list[int]:
    """Return the ids in this engine's index after it read the change log."""
    space = engine.library.catalog.find_own_space()
    assert space is not None
    live = engine.library.indexes.replica(space)
    store = live.refresh()
    result: list[int] = engine.library.runtime.run(lambda: store.ids().tolist())
    return result


def fresh(engine: Engine) -> IndexReplica:
    """The index as a new process would open it."""
    space = engine.library.catalog.find_own_space()
    assert space is not None
    return IndexReplica(engine.library.reader, space, engine.home / "index")


def snapshots(home: Path) -> list[Path]:
    return sorted((home / "index").iterdir())


def ranking(engine: Engine, seed: int) -> list[tuple[str, float]]:
    return [(hit.id, hit.score) for hit in engine.search(image=f"id:{identity(seed)}", k=100)]


def fill(folder: Path, seeds: range) -> None:
    for seed in seeds:
        paint(folder / f"{seed}.jpg", seed)


@pytest.mark.catalogs("sqlite", "postgresql")
def test_a_sync_writes_the_snapshot_that_the_next_process_opens(
    engine: Engine, folder: Path
) -> None:
    fill(folder, range(4))
    engine.sync(folder)
    live = fresh(engine)
    assert not live.rebuilt and live.index.ids().tolist() == [1, 2, 3, 4]
    assert live.index.cursor == engine.library.reader.sequence(live.space)


@pytest.mark.catalogs("sqlite", "postgresql")
def test_the_tail_of_the_log_is_replayed(engine: Engine, folder: Path) -> None:
    fill(folder, range(4))
    engine.sync(folder)
    old = snapshots(engine.home)[0].read_bytes()
    (folder / "0.jpg").unlink()
    fill(folder, range(4, 6))
    engine.sync(folder)
    snapshots(engine.home)[0].write_bytes(old)
    live = fresh(engine)
    assert not live.rebuilt and live.index.ids().tolist() == [1, 2, 3, 4]
    assert live.refresh().ids().tolist() == [2, 3, 4, 5, 6]


def test_a_sync_that_changes_nothing_writes_no_snapshot(engine: Engine, folder: Path) -> None:
    fill(folder, range(2))
    engine.sync(folder)
    before = snapshots(engine.home)[0].stat()
    engine.sync(folder)
    after = snapshots(engine.home)[0].stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


@pytest.mark.parametrize("damage", ["missing", "cut", "flipped", "foreign"])
def test_without_a_good_snapshot_the_answers_are_the_same(
    library: Open, folder: Path, damage: str
) -> None:
    fill(folder, range(5))
    first = library()
    first.sync(folder)
    expected = ranking(first, 2)
    path = snapshots(first.home)[0]
    data = bytearray(path.read_bytes())
    if damage == "missing":
        path.unlink()
    elif damage == "foreign":
        path.write_bytes(b"something else")
    elif damage == "cut":
        path.write_bytes(data[: len(data) // 2])
    else:
        data[-100] ^= 4
        path.write_bytes(data)
    computed = parts()[2].computed
    second = library()
    assert ranking(second, 2) == expected
    report = second.check()
    assert not report.problems and len(report.repaired) == 1
    assert parts()[2].computed == computed  # nothing was embedded again
    assert not fresh(second).rebuilt
    assert not library().check().repaired


def test_a_check_after_a_first_sync_repairs_nothing(engine: Engine, folder: Path) -> None:
    fill(folder, range(3))
    engine.sync(folder)
    report = engine.check(deep=True)
    assert not report.problems and not report.repaired


def test_a_snapshot_that_disagrees_with_the_catalog_is_made_anew_and_kept(
    library: Open, folder: Path
) -> None:
    fill(folder, range(3))
    first = library()
    first.sync(folder)
    path = snapshots(first.home)[0]
    index = load(path, Counted().dim)
    index.delete([2])
    save(index, path)
    assert len(library().check().repaired) == 1
    assert fresh(first).index.ids().tolist() == [1, 2, 3]
    assert not library().check().repaired


def test_an_older_copy_of_the_catalog_does_not_believe_a_newer_snapshot(
    home: Path, folder: Path, tmp_path: Path
) -> None:
    engine = open_library(home)
    fill(folder, range(3))
    engine.sync(folder)
    close_library(engine)
    shutil.copy(home / "catalog.sqlite", tmp_path / "copy")
    engine = open_library(home)
    fill(folder, range(3, 6))
    engine.sync(folder)
    close_library(engine)
    for path in home.glob("catalog.sqlite*"):
        path.unlink()
    shutil.copy(tmp_path / "copy", home / "catalog.sqlite")
    engine = open_library(home)
    assert numbers(engine) == [1, 2, 3]
    close_library(engine)


@pytest.mark.parametrize("more", [3, 6])
def test_an_older_copy_that_went_another_way_does_not_either(
    home: Path, folder: Path, tmp_path: Path, more: int
) -> None:
    """A restore assigns row ids again: an old snapshot would hold other pictures."""
    engine = open_library(home)
    fill(folder, range(3))
    engine.sync(folder)
    close_library(engine)
    shutil.copy(home / "catalog.sqlite", tmp_path / "copy")
    engine = open_library(home)
    fill(tmp_path / "first", range(10, 13))
    engine.sync(tmp_path / "first")
    close_library(engine)
    for path in home.glob("catalog.sqlite*"):
        path.unlink()
    shutil.copy(tmp_path / "copy", home / "catalog.sqlite")
    engine = open_library(home)
    fill(tmp_path / "second", range(20, 20 + more))
    engine.sync(tmp_path / "second")
    for seed in range(20, 20 + more):
        assert engine.search(image=f"id:{identity(seed)}", k=1)[0].id == identity(seed)
    assert len(ranking(engine, 0)) == 3 + more
    close_library(engine)


def test_another_catalogs_snapshot_is_not_believed(
    library: Open, folder: Path, tmp_path: Path
) -> None:
    ours, theirs = library(tmp_path / "ours"), library(tmp_path / "theirs")
    fill(folder, range(3))
    ours.sync(folder)
    fill(tmp_path / "other", range(10, 13))
    theirs.sync(tmp_path / "other")
    shutil.copy(snapshots(theirs.home)[0], snapshots(ours.home)[0])  # under our name, even
    again = library(tmp_path / "ours")
    assert ranking(again, 1)[0] == (identity(1), pytest.approx(1, abs=1e-5))
    stored = again.library.reader.load_vectors(fresh(again).space, [1])[1][0]
    assert nearest(fresh(again).index, stored, 1) == [1]


def test_old_snapshots_and_torn_writes_are_swept(engine: Engine, folder: Path) -> None:
    fill(folder, range(2))
    engine.sync(folder)
    (remaining,) = snapshots(engine.home)
    (remaining.parent / "0123-old.faiss").write_bytes(b"x")
    (remaining.parent / ".99-1.part").write_bytes(b"x")
    fill(folder, range(2, 3))
    engine.sync(folder)
    assert snapshots(engine.home) == [remaining]


@pytest.mark.catalogs("sqlite", "postgresql")
def test_another_process_sees_what_was_added_and_removed(library: Open, folder: Path) -> None:
    writer, reader = library(), library()
    fill(folder, range(3))
    writer.sync(folder)
    assert len(ranking(reader, 0)) == 3
    fill(folder, range(3, 5))
    (folder / "1.jpg").unlink()
    writer.sync(folder)
    assert {i for i, _ in ranking(reader, 0)} == {identity(s) for s in (0, 2, 3, 4)}
    assert numbers(reader) == numbers(writer)


def test_scores_come_from_the_catalog_and_not_from_the_index(engine: Engine, folder: Path) -> None:
    fill(folder, range(4))
    engine.sync(folder)
    live = fresh(engine)
    _, stored = engine.library.reader.load_vectors(live.space, [1, 2, 3, 4])
    scores = sorted((stored @ stored[0]).tolist(), reverse=True)
    assert [hit.score for hit in engine.search(vector=stored[0].tolist(), k=4)] == pytest.approx(
        scores, abs=1e-6
    )
