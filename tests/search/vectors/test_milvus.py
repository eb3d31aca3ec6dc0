"""Milvus: the same answers as FAISS, and faults of the store, which lose nothing."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from helpers.libraries import close_library, open_library, parts
from helpers.milvus import LiteProcess, connect, free_port, hanging_port
from helpers.pictures import identity, paint
from helpers.serving import problem, serving

from search import Engine, InputError, Settings
from search.catalog.reads import CatalogReader
from search.catalog.writes import Space
from search.errors import StoreError
from search.vectors.milvus import connection as milvus_connection, store as milvus_store
from search.vectors.milvus.connection import Connection
from search.vectors.milvus.manager import MilvusManager
from search.vectors.milvus.replica import collection_name
from search.vectors.milvus.store import MilvusStore
from search.vectors.registry import StoreServer, open_stores

DIM = 64


def cluster(n: int, seed: int = 0) -> np.ndarray:
    """Unit vectors around 50 centres, as pictures of a library are."""
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(50, DIM))
    rows = centres[random.integers(0, 50, n)] + 0.7 * random.normal(size=(n, DIM))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def exact(rows: np.ndarray, query: np.ndarray, k: int, among: np.ndarray | None = None) -> set[int]:
    among = np.arange(len(rows)) if among is None else among
    return set(among[np.argsort(-(rows[among] @ query), kind="stable")[:k]].tolist())


@pytest.fixture(scope="module")
def lite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    with connect(str(tmp_path_factory.mktemp("lite") / "x.db")) as connection:
        yield connection


# the store -------------------------------------------------------------------------------------


@pytest.mark.parametrize("graph", [False, True])
def test_it_recalls_the_nearest_of_several_thousand(lite: Connection, graph: bool) -> None:
    rows, queries = cluster(3000), cluster(40, 1)
    name = f"recall_{graph}"
    store = MilvusStore.create(lite, name, DIM, exact=not graph)
    store.upsert(range(len(rows)), rows)
    store.flush()  # the graph is made of files, not of the log
    lite.call("release_collection", name)
    lite.call("load_collection", name, slow=True)
    answers = store.search(queries, 10)
    hits = [
        len(set(answer.ids.tolist()) & exact(rows, query, 10))
        for answer, query in zip(answers, queries, strict=True)
    ]
    assert sum(hits) >= (0.98 if graph else 1) * 10 * len(queries)


def test_a_filter_that_no_request_can_hold_is_searched_exactly(
    lite: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = cluster(600)
    store = MilvusStore.create(lite, "filters", DIM, exact=True)
    store.upsert(range(len(rows)), rows)
    monkeypatch.setattr(milvus_store, "ID_BATCH", 50)
    (query,) = cluster(1, 2)
    order = np.argsort(-(rows @ query))
    for among in (order[::2], order[400:], order[-60:]):  # near and far, only far, a few
        for k in (5, 300):
            (answer,) = store.search(query[None], k, among.tolist())
            assert set(answer.ids.tolist()) == exact(rows, query, k, among)
            assert (np.diff(answer.scores) <= 0).all() and len(answer.ids) == min(k, len(among))


def test_more_neighbours_than_a_request_returns(
    lite: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = cluster(200)
    store = MilvusStore.create(lite, "many", DIM, exact=True)
    store.upsert(range(len(rows)), rows)
    monkeypatch.setattr(milvus_store, "ID_BATCH", 30)
    monkeypatch.setattr(milvus_store, "MAX_K", 40)
    (answer,) = store.search(rows[:1], 150)
    assert set(answer.ids.tolist()) == exact(rows, rows[0], 150) and answer.ids[0] == 0
    assert [len(one.ids) for one in store.search(rows[:9], 20)] == [20] * 9


def test_a_store_that_is_not_whole_is_not_opened(
    lite: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = MilvusStore.create(lite, "whole", DIM)
    with pytest.raises(StoreError, match="is being filled from the catalog by another process"):
        MilvusStore.open(lite, "whole", DIM)
    monkeypatch.setattr(milvus_store, "STALE_SECONDS", 0.0)  # the other process has died
    assert MilvusStore.open(lite, "whole", DIM) is None
    second = MilvusStore.create(lite, "whole", DIM)
    second.cursor = 3
    with pytest.raises(StoreError, match="was made anew by another process"):
        first.save_state(7)  # it has not died, and must not say that all is there
    second.save_state(7)
    opened = MilvusStore.open(lite, "whole", DIM)
    assert opened is not None and (opened.cursor, opened.stamp) == (3, 7)
    assert MilvusStore.open(lite, "whole", DIM + 1) is None  # of another schema
    assert MilvusStore.open(lite, "nothing", DIM) is None


# a library whose vectors are in Milvus Lite ----------------------------------------------------


def fill(folder: Path, seeds: range) -> None:
    for seed in seeds:
        paint(folder / f"{seed}.jpg", seed)


def answer(engine: Engine, seed: int = 0, k: int = 9) -> list[tuple[str, float]]:
    return [(hit.id, hit.score) for hit in engine.search(image=f"id:{identity(seed)}", k=k)]


def space_of(engine: Engine) -> Space:
    return engine.library.reader.spaces()[0]


def stored(engine: Engine) -> list[int]:
    """The row ids in Milvus. Raises StoreError while it does not answer."""
    manager = engine.library.indexes
    assert isinstance(manager, MilvusManager)
    return manager.replica(space_of(engine)).update().ids().tolist()


def catalog(engine: Engine) -> list[int]:
    """The row ids that Milvus should have."""
    blocks = engine.library.reader.iterate_vectors(space_of(engine))
    return [row_id for row_ids, _ in blocks for row_id in row_ids]


def test_a_library_lives_in_milvus_lite(
    home: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "store" / "x.db"
    monkeypatch.setenv("LOOKALIKE_STORE", str(path))
    fill(folder, range(7))
    engine = open_library(home)
    assert engine.sync(folder).embedded == 7
    assert engine.status().index == {"kind": "milvus", "generation": 7}
    before = answer(engine)
    assert not list((home / "index").glob("*")) and stored(engine) == catalog(engine)
    close_library(engine)
    computed = parts()[2].computed
    engine = open_library(home)
    assert answer(engine) == before
    (folder / "6.jpg").unlink()
    engine.sync(folder)
    engine.forget(folder / "5.jpg")
    assert stored(engine) == catalog(engine)
    after = answer(engine)
    assert len(after) == 5 and engine.check().repaired == engine.check().problems == ()
    close_library(engine)
    shutil.rmtree(path)
    engine = open_library(home)
    assert answer(engine) == after and stored(engine) == catalog(engine)
    close_library(engine)
    faiss = open_library(home, store="faiss")
    assert answer(faiss) == after and faiss.status().index["kind"] == "flat"
    close_library(faiss)
    assert parts()[2].computed == computed  # nothing was embedded again


def test_recall_and_scores_of_a_library_are_those_of_faiss(
    engine: Engine, folder: Path, tmp_path: Path
) -> None:
    fill(folder, range(60))
    engine.sync(folder)
    with milvus(engine, str(tmp_path / "x.db")) as other:
        for seed in range(0, 60, 6):
            assert answer(other, seed, 10) == answer(engine, seed, 10)


def test_two_libraries_share_a_store(home: Path, folder: Path, tmp_path: Path) -> None:
    path, other = str(tmp_path / "x.db"), tmp_path / "other"
    engines = [open_library(one, store=path) for one in (home, tmp_path / "home2")]
    fill(folder, range(4))
    fill(other, range(4, 7))
    for engine, source in zip(engines, (folder, other), strict=True):
        engine.sync(source)
    assert [len(answer(engines[0])), len(answer(engines[1], 4))] == [4, 3]
    close_library(engines[0])
    assert len(answer(engines[1], 4)) == 3  # Milvus Lite runs on
    engines[0] = open_library(home, store=path)
    assert stored(engines[0]) == catalog(engines[0]) and stored(engines[1]) == catalog(engines[1])
    for engine in engines:
        close_library(engine)
    with connect(path) as connection:
        assert len(connection.call("list_collections")) == 2


def test_an_older_copy_of_the_catalog_does_not_believe_a_newer_store(
    home: Path, folder: Path, tmp_path: Path
) -> None:
    path = str(tmp_path / "x.db")
    engine = open_library(home, store=path)
    fill(folder, range(3))
    engine.sync(folder)
    close_library(engine)
    shutil.copy(home / "catalog.sqlite", tmp_path / "copy")
    engine = open_library(home, store=path)
    fill(folder, range(3, 6))
    engine.sync(folder)
    close_library(engine)
    for file in home.glob("catalog.sqlite*"):
        file.unlink()
    shutil.copy(tmp_path / "copy", home / "catalog.sqlite")
    engine = open_library(home, store=path)
    assert stored(engine) == catalog(engine)
    close_library(engine)


# faults ----------------------------------------------------------------------------------------


@contextmanager
def milvus(
    engine: Engine,
    address: str,
    lines: list[str] | None = None,
    seconds: float = 10.0,
    **more: Any,
) -> Iterator[Engine]:
    """Another engine on the same home, with a store that is tried again at once.

    lines: gets what the user is told. more: further arguments of the replica.
    """
    other = open_library(engine.home)
    library = other.library
    library.indexes = MilvusManager(
        library.reader,
        Connection(address, None, seconds),
        lambda: open_stores("faiss", library.reader, lambda: library.runtime, library.home, "flat"),
        "auto",
        (lines if lines is not None else []).append,
        **({"retry_seconds": 0.0} | more),
    )
    try:
        yield other
    finally:
        close_library(other)


@contextmanager
def closed_port() -> Iterator[tuple[str, str]]:
    yield f"http://127.0.0.1:{free_port()}", "did not answer within|cannot be reached"


@contextmanager
def hanging_server() -> Iterator[tuple[str, str]]:
    with hanging_port() as port:
        yield f"http://127.0.0.1:{port}", "did not answer within 0.5 s"


@contextmanager
def other_server() -> Iterator[tuple[str, str]]:
    """A server of gRPC that knows no method of Milvus."""
    server = grpc.server(futures.ThreadPoolExecutor(2))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"http://127.0.0.1:{port}", "of another version, or is not Milvus"
    finally:
        server.stop(0).wait()


@pytest.mark.parametrize("fault", [closed_port, hanging_server, other_server])
def test_searches_go_on_without_the_store(
    engine: Engine, folder: Path, fault: Callable[[], Any]
) -> None:
    fill(folder, range(4))
    engine.sync(folder)
    expected, lines = answer(engine), list[str]()
    with fault() as (address, reason), milvus(engine, address, lines, 0.5) as other:
        assert answer(other) == expected
        assert len(lines) == 1 and "the catalog's vectors are searched instead" in lines[0]
        with pytest.raises(StoreError, match=reason):
            stored(other)
        fill(folder, range(4, 6))
        assert other.sync(folder).embedded == 2  # nothing is lost
        assert "is brought up to date when it answers" in lines[-1]
        assert len(answer(other)) == 6
        before = len(lines)
        problems = [line for line in other.check().problems if re.search(reason, line)]
        assert problems == [other.status().index["problem"]]  # once, and no line beside it
        assert len(lines) == before
    with fault() as (address, reason), milvus(engine, address, [], 0.5, fallback_count=5) as large:
        with pytest.raises(StoreError, match=reason) as caught:
            answer(large)
        assert caught.value.code == "store_unavailable"


def test_a_store_that_was_away_a_moment_ago_is_not_waited_for(
    engine: Engine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(folder, range(2))
    engine.sync(folder)
    with closed_port() as (address, _), milvus(engine, address, [], 0.3, retry_seconds=60) as other:
        assert len(answer(other)) == 2

        def connect_again(self: Connection) -> None:
            raise AssertionError("it was tried again")

        monkeypatch.setattr(Connection, "_connect", connect_again)
        assert len(answer(other)) == 2
        assert "problem" in other.status().index


def test_a_status_does_not_start_milvus_lite(home: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    engine = open_library(home, store=str(path))
    assert engine.status().index == {"kind": "milvus", "generation": 0} and not path.exists()
    close_library(engine)


def test_the_server_says_that_the_store_is_away(engine: Engine, folder: Path) -> None:
    fill(folder, range(2))
    engine.sync(folder)
    with closed_port() as (address, _), milvus(engine, address, [], 0.3, fallback_count=1) as other:
        terms = {"terms": [{"image": f"id:{identity(0)}"}]}
        with serving(other) as client:
            response = client.post("/api/v1/search", json=terms)
        assert problem(response, 503)["code"] == "store_unavailable"
        assert int(response.headers["Retry-After"]) > 0


def test_a_killed_server_is_brought_up_to_date_when_it_is_back(
    engine: Engine, folder: Path, tmp_path: Path
) -> None:
    server = LiteProcess(tmp_path / "x.db")
    try:
        server.start()
        fill(folder, range(4))
        with milvus(engine, server.url, seconds=1.0) as other:
            other.sync(folder)
            assert stored(other) == catalog(other)
            server.kill()
            assert len(answer(other)) == 4
            fill(folder, range(4, 6))
            (folder / "1.jpg").unlink()
            other.sync(folder)
            assert len(answer(other)) == 5
            computed = parts()[2].computed
            server.start()
            assert len(answer(other)) == 5
            rows = stored(other)
            assert len(rows) == 5 and other.check().repaired == other.check().problems == ()
            assert parts()[2].computed == computed
        with milvus(engine, server.url) as again:
            assert stored(again) == rows
    finally:
        server.kill()


def test_milvus_lite_in_use_by_another_process(
    engine: Engine, folder: Path, tmp_path: Path
) -> None:
    fill(folder, range(3))
    engine.sync(folder)
    server, lines = LiteProcess(tmp_path / "x.db"), list[str]()
    try:
        server.start()
        with milvus(engine, str(server.folder), lines) as other:
            assert len(answer(other)) == 3
            assert "x.db is in use by another process" in lines[0]
            with pytest.raises(StoreError, match="in use by another process"):
                stored(other)
            server.kill()
            assert stored(other) == catalog(other)
    finally:
        server.kill()


@pytest.fixture
def other(engine: Engine, folder: Path, tmp_path: Path) -> Iterator[Engine]:
    """An engine with four pictures and Milvus Lite."""
    fill(folder, range(4))
    engine.sync(folder)
    with milvus(engine, str(tmp_path / "x.db")) as one:
        assert stored(one) == catalog(one)
        yield one


def test_a_full_store_takes_the_changes_later(
    other: Engine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pymilvus import MilvusClient, MilvusException

    def refuse(*_: object, **__: object) -> None:
        raise MilvusException(9, "quota exceeded[reason=disk quota exceeded, please allocate more]")

    with monkeypatch.context() as patch:
        patch.setattr(MilvusClient, "upsert", refuse)
        fill(folder, range(4, 6))
        assert other.sync(folder).embedded == 2
        assert len(answer(other)) == 6
        with pytest.raises(StoreError, match="disk quota exceeded"):
            stored(other)
    assert stored(other) == catalog(other) and len(answer(other)) == 6


def test_a_lost_collection_is_built_again_by_the_search_that_misses_it(
    other: Engine, tmp_path: Path
) -> None:
    expected, computed = answer(other), parts()[2].computed
    name = collection_name(other.library.reader.library(), space_of(other).fingerprint)
    for method in ("drop_collection", "release_collection"):
        with connect(str(tmp_path / "x.db")) as another:
            assert name in another.call("list_collections")
            another.call(method, name)
        assert answer(other) == expected
        with connect(str(tmp_path / "x.db")) as another:
            assert another.call("get_collection_stats", name)["row_count"] == 5  # and the cursor
    assert parts()[2].computed == computed


def test_damaged_files_are_built_again(engine: Engine, folder: Path, tmp_path: Path) -> None:
    fill(folder, range(4))
    engine.sync(folder)
    path = tmp_path / "x.db"
    with milvus(engine, str(path)) as one:
        one.library.indexes.save(space_of(one))
        expected = answer(one)
    schemas = list(path.rglob("schema.json"))
    assert schemas
    for file in schemas:
        file.write_bytes(b"\0 not JSON")
    with milvus(engine, str(path)) as one:
        assert answer(one) == expected and stored(one) == catalog(one)


def test_a_crash_between_vectors_and_cursor_repeats_the_changes(
    other: Engine, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def crash(*_: object, **__: object) -> None:
        raise StoreError("the process was killed")

    (folder / "0.jpg").unlink()
    fill(folder, range(4, 6))
    with monkeypatch.context() as patch:
        patch.setattr(MilvusStore, "save_state", crash)
        other.sync(folder)
    name = collection_name(other.library.reader.library(), space_of(other).fingerprint)
    with connect(str(tmp_path / "x.db")) as another:
        old = MilvusStore.open(another, name, space_of(other).dim)
        assert old is not None and old.cursor == 4 and old.count == 5
    with milvus(other, str(tmp_path / "x.db")) as again:
        assert stored(again) == catalog(again) and len(answer(again, 5)) == 5


def test_a_process_that_writes_late_does_not_bring_a_deleted_picture_back(
    other: Engine, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(folder, range(4, 5))
    load_vectors, used = CatalogReader.load_vectors, list[int]()

    def load_late(self: CatalogReader, space: Space, row_ids: Any) -> Any:
        """Read, and wait until another process has deleted the picture and applied that."""
        rows = load_vectors(self, space, row_ids)
        if self is other.library.reader and 5 in rows[0] and not used:
            used.append(5)
            with milvus(other, str(tmp_path / "x.db")) as fast:
                fast.forget(folder / "4.jpg")
                assert stored(fast) == catalog(fast)
        return rows

    with milvus(other, str(tmp_path / "y.db")) as writer:
        writer.sync(folder)
    monkeypatch.setattr(CatalogReader, "load_vectors", load_late)
    assert stored(other) == catalog(other) and used


# settings --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("http://root:Hunter2@127.0.0.1:19530", "in LOOKALIKE_STORE_TOKEN"),
        ("http://Hunter2@127.0.0.1:19530", "in LOOKALIKE_STORE_TOKEN"),
        ("http://127.0.0.1", "give http://HOST:PORT"),
        ("http://:19530", "give http://HOST:PORT"),
        ("http://127.0.0.1:Hunter2", "give http://HOST:PORT"),
        ("redis://127.0.0.1:1", "or for Milvus http://HOST:PORT or a path that ends in .db"),
    ],
)
def test_a_wrong_address_is_refused_and_no_secret_is_shown(
    home: Path, address: str, reason: str
) -> None:
    with pytest.raises(InputError, match=reason) as caught:
        open_library(home, store=address)
    assert "Hunter2" not in str(caught.value)


def test_the_token_is_never_shown(engine: Engine) -> None:
    settings = Settings.load(store="http://127.0.0.1:1", store_token="root:Hunter2")
    assert "Hunter2" not in repr(settings) + str(settings.model_dump(mode="json"))
    server = StoreServer("root:Hunter2")
    assert "Hunter2" not in repr(server)


@pytest.mark.parametrize("missing", ["pymilvus", "milvus_lite"])
def test_without_the_extra_the_command_that_installs_it_is_named(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    real = milvus_connection.find_spec
    monkeypatch.setattr(
        milvus_connection, "find_spec", lambda name: None if name == missing else real(name)
    )
    with pytest.raises(InputError, match=r"needs \w+; run `.* pip install .*pymilvus"):
        open_library(home, store=str(tmp_path / "x.db"))
    close_library(open_library(home))
