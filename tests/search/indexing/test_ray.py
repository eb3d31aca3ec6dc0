"""Indexing on a Ray cluster of two nodes on this machine, one of which is killed."""

from __future__ import annotations

import gc
import os
import secrets
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.libraries import parts
from helpers.pictures import paint

from search import Engine, InputError
from search.errors import ClusterError
from search.indexing import ray as ray_module
from search.indexing.extract import BATCH
from search.indexing.ray import CHUNK, TRIES, DecodeTask, RayCluster, decode_pictures, read_stamp
from search.media.decoder_pool import DecodedPicture, DecodeFailure, DecodeRequest, DecoderPool
from search.media.objects import ObjectStores
from search.media.rules import Limits
from search.records.indexing import IndexReport

Open = Callable[..., Engine]
pytestmark = [
    pytest.mark.slow,
    # Ray leaves its sockets, logs and processes to the end of the process
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning:ray"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray"),
]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head and a node, with a processor each."""
    from ray.cluster_utils import Cluster

    # Ray ends workers when the machine is short of memory, be it for another program
    environment = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_memory_monitor_refresh_ms": "0"}
    os.environ |= environment
    options = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": 100 * 2**20}
    one = Cluster(initialize_head=True, head_node_args=options)
    try:
        one.add_node(num_cpus=1, object_store_memory=100 * 2**20)
        yield one
    finally:
        one.shutdown()
        for name in environment:
            del os.environ[name]


def fill(folder: Path, count: int) -> None:
    """Pictures, some of them twice, and files that are none."""
    for seed in range(count):
        paint(folder / f"{seed % 3}" / f"{seed}.jpg", seed)
    paint(folder / "copy.jpg", 1)
    paint(folder / "pixels.jpg", 2, "another file of the same pixels")
    (folder / "broken.jpg").write_bytes((folder / "0" / "0.jpg").read_bytes()[:300])
    (folder / "text.png").write_text("no picture")


def vectors(engine: Engine) -> dict[str, np.ndarray]:
    reader = engine.library.reader
    rows: dict[str, np.ndarray] = {}
    for row_ids, some in reader.iterate_vectors(reader.spaces()[0]):
        names = reader.picture_ids(row_ids)
        rows |= {names[row_id]: row for row_id, row in zip(row_ids, some, strict=True)}
    return rows


def compare(engine: Engine, report: IndexReport, reference: Engine, folder: Path) -> None:
    """A library that Ray indexed is what this machine makes of the folder."""
    expected = reference.sync(folder)
    assert report.to_json() | {"seconds": 0} == expected.to_json() | {"seconds": 0}
    ours, theirs = vectors(engine), vectors(reference)
    assert set(ours) == set(theirs)
    assert min(float(ours[one] @ theirs[one]) for one in ours) >= 0.99999
    assert engine.check().problems == reference.check().problems


# without a cluster -----------------------------------------------------------------------------


HOSTILE = """
import gc
import os
from search.media import decoder, images
real = images.identify
def identify(data, limits):
    if data == b"exit":
        os._exit(1)
    return real(data, limits)
images.identify = identify
decoder.main()
"""


def test_a_picture_that_kills_its_decoder_costs_itself_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [str(paint(folder / f"{seed}.jpg", seed)) for seed in range(3)]
    Path(paths[1]).write_bytes(b"exit")
    tasks = [DecodeTask(DecodeRequest(path), read_stamp(path)) for path in paths]
    tasks.append(DecodeTask(DecodeRequest("/nowhere/0.jpg"), (1, 1)))
    tasks.append(DecodeTask(DecodeRequest("/nowhere/0.jpg"), (1, 1), Path(paths[0]).read_bytes()))
    with DecoderPool(1, command=(sys.executable, "-P", "-c", HOSTILE)) as pool:
        monkeypatch.setattr(ray_module, "open_pool", lambda limits: pool)
        rule, (first, killer, third, missing, sent) = decode_pictures(Limits(), (), tasks)
    assert rule == pool.rule and missing is None
    assert killer == DecodeFailure("the decoder died on it", again=False)
    assert isinstance(killer, DecodeFailure) and killer.code == "decode_failed"
    assert isinstance(first, DecodedPicture) and isinstance(third, DecodedPicture)
    assert sent == first


def test_a_node_reads_objects_itself(folder: Path) -> None:
    url = f"memory://{secrets.token_hex(4)}/a.jpg"
    ObjectStores().write(url, paint(folder / "0.jpg", 0).read_bytes())
    pool = ray_module.open_pool(Limits())
    try:
        _, (picture,) = decode_pictures(Limits(), (), [DecodeTask(DecodeRequest(url), None)])
    finally:
        pool.close()
        ray_module.open_pool.cache_clear()
    assert isinstance(picture, DecodedPicture)


@pytest.mark.parametrize(
    ("address", "error", "reason"),
    [
        ("nowhere", InputError, "give auto, local or HOST:PORT"),
        ("127.0.0.1:1", ClusterError, "no Ray cluster answers at 127.0.0.1:1"),
        ("auto", ClusterError, "no Ray cluster runs on this machine; start one with"),
    ],
)
def test_a_cluster_that_is_not_there_is_named(
    engine: Engine,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    address: str,
    error: type[Exception],
    reason: str,
) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))  # where `auto` looks
    paint(folder / "0.jpg", 0)
    with pytest.raises(error, match=reason):
        engine.sync(folder, ray=address)
    assert engine.sync(folder).added == 1  # the lock is free, and nothing was lost


def test_without_the_extra_the_command_that_installs_it_is_named(
    engine: Engine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_module, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="pip install .*ray>="):
        engine.sync(folder, ray="local")


# on a cluster ------------------------------------------------------------------------------------


def test_a_node_that_does_not_have_the_files_gets_them(
    library: Open, cluster: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(folder, CHUNK + 3)
    engine = library()
    with monkeypatch.context() as patch:  # the nodes see other files at these paths
        patch.setattr(ray_module, "read_stamp", lambda path: (1, 1))
        report = engine.sync(folder, ray=cluster.address)
    compare(engine, report, library(tmp_path / "other"), folder)


def test_a_node_that_dies_loses_nothing(
    library: Open, cluster: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(folder, 240)  # more than can be under way at once, so that the node has something to do
    lines, repeated = list[str](), list[int]()
    engine = library(say=lines.append)
    close = RayCluster.close

    def note(self: RayCluster) -> None:
        repeated.append(self.repeated)
        close(self)

    monkeypatch.setattr(RayCluster, "close", note)
    report = None
    for progress in engine.index(folder, ray=cluster.address):
        if progress.phase == "index" and progress.done == 32:
            cluster.remove_node(cluster.list_all_nodes()[-1], allow_graceful=False)
        report = progress.report or report
    assert report is not None
    assert "Ray: 2 nodes, 2 processors, 0 graphics processors" in lines
    compare(engine, report, library(tmp_path / "other"), folder)
    # no more is done again than was under way: four chunks that were decoded, five that were
    # embedded, and the batch that was committed
    assert 0 < repeated[0] <= (4 + 5) * CHUNK + BATCH
    computed = parts()[2].computed
    assert engine.sync(folder).embedded == 0 and parts()[2].computed == computed


def test_a_worker_that_cannot_be_reached_for_a_moment_goes_on(
    library: Open, cluster: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    fill(folder, 40)
    get, failures = ray.get, list[object]()

    def get_unreliably(ref: Any, **options: Any) -> Any:
        value = get(ref, **options)
        is_embedded = isinstance(value, list)
        if is_embedded and len(failures) < 3:  # more often than there are workers
            failures.append(ref)
            raise ray.exceptions.ActorUnavailableError("no answer", None)
        return value

    monkeypatch.setattr(ray, "get", get_unreliably)
    monkeypatch.setattr(ray_module, "PAUSE_SECONDS", 0.0)
    engine = library()
    report = None
    for progress in engine.index(folder, ray=cluster.address):
        report = progress.report or report
    assert report is not None and len(failures) == 3
    compare(engine, report, library(tmp_path / "other"), folder)


@pytest.mark.parametrize("deaths", [1, TRIES])
def test_new_workers_are_started_when_all_have_died(
    library: Open,
    cluster: Any,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    deaths: int,
) -> None:
    import ray

    fill(folder, 40)
    get, left = ray.get, deaths * len(cluster.list_all_nodes())

    def get_or_fail(ref: Any, **options: Any) -> Any:
        nonlocal left
        value = get(ref, **options)
        if left and isinstance(value, list):  # it is of an embedding worker
            left -= 1
            raise ray.exceptions.ActorDiedError
        return value

    monkeypatch.setattr(ray, "get", get_or_fail)
    engine = library()
    if deaths == TRIES:
        with pytest.raises(ClusterError, match="run the same command again"):
            engine.sync(folder, ray=cluster.address)
        monkeypatch.setattr(ray, "get", get)
    report = engine.sync(folder, ray=cluster.address)
    assert left == 0
    reference = library(tmp_path / "other")
    if deaths < TRIES:
        compare(engine, report, reference, folder)
    else:
        reference.sync(folder)
        assert set(vectors(engine)) == set(vectors(reference))


def test_an_index_that_is_stopped_leaves_ray(library: Open, cluster: Any, folder: Path) -> None:
    import ray

    fill(folder, 40)
    engine = library()
    run = engine.index(folder, ray=cluster.address)
    assert any(progress.phase == "index" for progress in run) and ray.is_initialized()
    run.close()  # type: ignore[attr-defined]
    gc.collect()  # a generator that ends late must not start Ray again
    assert not ray.is_initialized()
    assert 0 < engine.status().pictures < 40
    assert engine.sync(folder).skipped  # the lock is free
