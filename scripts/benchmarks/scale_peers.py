"""Our index beside those of other libraries, at equal recall, for `scripts/bench scale --peers`.

Every index gets the same vectors, is built with the settings of `PEERS`, and answers the same
single queries. Its own search parameter is raised until recall@k is at least `RECALL`. Libraries
that are not installed are left out by name.
"""

from __future__ import annotations

import argparse
import gc
import mmap
import multiprocessing
import os
import resource
import tempfile
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from search.catalog.reads import rescore
from search.catalog.writes import Space
from search.runtime import faiss
from search.vectors.faiss.build import build_ivf
from search.vectors.faiss.ivf import IvfIndex
from search.vectors.replay import run_all

RECALL = 0.98
HEADING = "index             recall  value  p50 ms  p95 ms  build s  memory MiB  disk MiB"
"""Of the rows that `compare` yields, as text."""
Answer = Callable[[np.ndarray, int, int], np.ndarray]
"""Takes a (dim,) query, k and a value of the search parameter; returns the ids of k vectors."""


@dataclass(frozen=True)
class Peer:
    """An index to compare. build: takes float16 rows and an empty folder. values: of its search
    parameter, from fast to exact; None stands for the index's own choice."""

    build: Callable[[np.ndarray, Path], Answer]
    values: tuple[int, ...]


@dataclass(frozen=True)
class Row:
    """What was measured of an index. value: of its search parameter. p50, p95: milliseconds of a
    single query. memory: bytes that the process has more than before. disk: bytes in files."""

    name: str
    recall: float
    value: int
    p50: float
    p95: float
    build_seconds: float
    memory: int
    disk: int

    def __str__(self) -> str:
        times = f"{self.p50:8.2f}{self.p95:8.2f}{self.build_seconds:9.1f}"
        sizes = f"{self.memory / 2**20:12.0f}{self.disk / 2**20:10.0f}"
        return f"{self.name:16}{self.recall:8.4f}{self.value:7}{times}{sizes}"


class Source:
    """Vectors as the catalog gives them: row i has the id i. Nothing is copied."""

    def __init__(self, rows: np.ndarray) -> None:
        self._rows = rows

    def sequence(self, space: Space) -> int:
        return 0

    def load_vectors(self, space: Space, row_ids: Collection[int]) -> tuple[list[int], np.ndarray]:
        ids = list(row_ids)
        return ids, to_unit(self._rows[np.array(ids, np.int64)])

    def iterate_vectors(
        self, space: Space, block: int = 8192
    ) -> Iterator[tuple[list[int], np.ndarray]]:
        for start in range(0, len(self._rows), block):
            rows = self._rows[start : start + block]
            yield list(range(start, start + len(rows))), to_unit(rows)


def to_unit(rows: np.ndarray) -> np.ndarray:
    """Return rows as float32 of unit length."""
    array = np.asarray(rows, np.float32)
    return array / np.linalg.norm(array, axis=1, keepdims=True)


def build_ours(rows: np.ndarray, folder: Path) -> IvfIndex:
    """Build the clustered index of a library. rows: (n, dim). folder: may be written."""
    space = Space(1, "peers", "0" * 16, rows.shape[1])
    return run_all(build_ivf(Source(rows), space, folder, np.arange(len(rows))))


def _ours(rows: np.ndarray, folder: Path) -> Answer:
    index = build_ours(rows, folder)

    def answer(query: np.ndarray, k: int, value: int) -> np.ndarray:
        ids = index.search(query[None], k)[0].ids  # then scores, as the catalog gives them
        scores = rescore(query, to_unit(rows[ids]))
        return ids[np.argsort(-scores)[:k]]

    return answer


def _faiss_hnsw(rows: np.ndarray, folder: Path) -> Answer:
    index: Any = faiss.IndexHNSWFlat(rows.shape[1], 32, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = 100
    _add(index, rows)

    def answer(query: np.ndarray, k: int, value: int) -> np.ndarray:
        index.hnsw.efSearch = max(value, k)
        return index.search(query[None], k)[1][0]

    return answer


def _faiss_ivf(rows: np.ndarray, folder: Path) -> Answer:
    clusters = int(4 * len(rows) ** 0.5)
    index: Any = faiss.index_factory(
        rows.shape[1], f"IVF{clusters},SQ8", faiss.METRIC_INNER_PRODUCT
    )
    chosen = np.random.default_rng(0).permutation(len(rows))[: 40 * clusters]
    index.train(to_unit(rows[np.sort(chosen)]))
    _add(index, rows)

    def answer(query: np.ndarray, k: int, value: int) -> np.ndarray:
        index.nprobe = min(value, clusters)
        return index.search(query[None], k)[1][0]

    return answer


def _usearch(rows: np.ndarray, folder: Path) -> Answer:
    from usearch.index import Index

    index = Index(ndim=rows.shape[1], metric="ip", dtype="f16", expansion_add=100)
    for start in range(0, len(rows), 8192):
        part = np.ascontiguousarray(rows[start : start + 8192])
        index.add(np.arange(start, start + len(part)), part)

    def answer(query: np.ndarray, k: int, value: int) -> np.ndarray:
        index.expansion_search = max(value, k)
        return np.asarray(index.search(query.astype(np.float16), k).keys, np.int64)

    return answer


def _hnswlib(rows: np.ndarray, folder: Path) -> Answer:
    import hnswlib

    index = hnswlib.Index(space="ip", dim=rows.shape[1])
    index.init_index(max_elements=len(rows), M=32, ef_construction=100, random_seed=0)
    for start in range(0, len(rows), 8192):
        part = to_unit(rows[start : start + 8192])
        index.add_items(part, np.arange(start, start + len(part)))
    index.set_num_threads(1)

    def answer(query: np.ndarray, k: int, value: int) -> np.ndarray:
        index.set_ef(max(value, k))
        return index.knn_query(query[None], k)[0][0].astype(np.int64)

    return answer


def _lancedb(rows: np.ndarray, folder: Path) -> Answer:
    os.environ.setdefault("LANCE_LOG", "error")
    import lancedb
    import pyarrow as pa
    from lancedb.index import IvfPq

    dim = rows.shape[1]
    schema = pa.schema([("id", pa.int64()), ("vector", pa.list_(pa.float32(), dim))])

    def batches() -> Iterator[Any]:
        for start in range(0, len(rows), 8192):
            part = to_unit(rows[start : start + 8192])
            vectors = pa.FixedSizeListArray.from_arrays(pa.array(part.ravel()), dim)
            ids = pa.array(np.arange(start, start + len(part)))
            yield pa.RecordBatch.from_arrays([ids, vectors], schema=schema)

    table = lancedb.connect(str(folder)).create_table("vectors", batches(), schema=schema)
    clusters = max(1, int(len(rows) ** 0.5))
    config = IvfPq(distance_type="dot", num_partitions=clusters, num_sub_vectors=dim // 8)
    table.create_index("vector", config=config)

    def answer(query: np.ndarray, k: int, value: int) -> np.ndarray:
        search = table.search(query, vector_column_name="vector").distance_type("dot")
        search = (
            search.nprobes(min(value, clusters))
            .refine_factor(10)
            .select(["id", "_distance"])
            .limit(k)
        )
        return search.to_arrow()["id"].to_numpy()

    return answer


def _add(index: Any, rows: np.ndarray) -> None:
    for start in range(0, len(rows), 8192):
        index.add(to_unit(rows[start : start + 8192]))


VALUES = (10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
PEERS: dict[str, tuple[str | None, Peer]] = {
    "lookalike": (None, Peer(_ours, (0,))),
    "faiss HNSW32": (None, Peer(_faiss_hnsw, VALUES)),
    "faiss IVF-SQ8": (None, Peer(_faiss_ivf, (4, *VALUES))),
    "usearch f16": ("usearch", Peer(_usearch, VALUES)),
    "hnswlib M32": ("hnswlib", Peer(_hnswlib, VALUES)),
    "lancedb IVF-PQ": ("lancedb", Peer(_lancedb, (4, *VALUES))),
}
"""Name -> the package that it needs beyond ours, and the index."""


def compare(
    vectors: np.ndarray, queries: np.ndarray, truth: np.ndarray, k: int, names: Collection[str] = ()
) -> Iterator[Row | str]:
    """Build and measure every index, each in a process of its own; yield its row, or why it is
    left out.

    vectors: (n, dim) float16, may be mapped from a file. queries: (q, dim). truth: (q, at least k),
    the positions of the exact nearest vectors. names: of `PEERS`; all if empty.
    """
    with tempfile.TemporaryDirectory() as folder:
        for name, array in {"vectors": vectors, "queries": queries, "truth": truth}.items():
            np.save(Path(folder) / f"{name}.npy", array)
        for name in names or PEERS:
            # memory that another index freed would be used again, and not be counted
            spawn = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(1, mp_context=spawn) as pool:
                yield pool.submit(measure_peer, name, Path(folder), k).result()


def measure_peer(name: str, folder: Path, k: int) -> Row | str:
    """Return the row of an index. folder: has the arrays of `compare` as files."""
    package, peer = PEERS[name]
    vectors = np.load(folder / "vectors.npy", mmap_mode="r")
    queries, truth = to_unit(np.load(folder / "queries.npy")), np.load(folder / "truth.npy")
    with tempfile.TemporaryDirectory() as own:
        before, start = resident(), time.perf_counter()
        try:
            answer = peer.build(vectors, Path(own))
        except ImportError:
            return f"{name}: left out, {package} is not installed"
        seconds = time.perf_counter() - start
        for value in peer.values:
            recall, times = measure(answer, queries, truth, k, value)
            if recall >= RECALL:
                break
        gc.collect()
        # the pages of the vectors themselves are not the index's
        vectors._mmap.madvise(mmap.MADV_DONTNEED)  # type: ignore[attr-defined]
        p50, p95 = np.percentile(times, (50, 95))
        memory, disk = max(0, resident() - before), count_bytes(Path(own))
    return Row(name, recall, value, float(p50), float(p95), seconds, memory, disk)


def measure(
    answer: Answer, queries: np.ndarray, truth: np.ndarray, k: int, value: int
) -> tuple[float, list[float]]:
    """Return recall@k, and the milliseconds of each query, one after another."""
    for query in queries[:20]:  # warms up
        answer(query, k, value)
    right, times = 0, []
    for query, best in zip(queries, truth, strict=True):
        start = time.perf_counter()
        ids = answer(query, k, value)
        times.append(1000 * (time.perf_counter() - start))
        right += len(set(ids.tolist()) & set(best[:k].tolist()))
    return right / (k * len(queries)), times


def resident() -> int:
    """Return the bytes of the process in memory, those of mapped files too."""
    with suppress(OSError):
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # the most so far, elsewhere


def count_bytes(folder: Path) -> int:
    """Return the bytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def find_nearest(vectors: np.ndarray, queries: np.ndarray, k: int) -> np.ndarray:
    """Return the positions of the k exact nearest vectors of each query, (q, k)."""
    queries = to_unit(queries)
    scores, places = np.empty((len(queries), 0), np.float32), np.empty((len(queries), 0), np.int64)
    for start in range(0, len(vectors), 16_384):
        some = queries @ to_unit(vectors[start : start + 16_384]).T
        best = np.argpartition(-some, min(k, some.shape[1] - 1), axis=1)[:, :k]
        scores = np.concatenate([scores, np.take_along_axis(some, best, 1)], 1)
        places = np.concatenate([places, best + start], 1)
        order = np.argsort(-scores, axis=1)[:, :k]
        scores = np.take_along_axis(scores, order, 1)
        places = np.take_along_axis(places, order, 1)
    return places


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("vectors", type=Path, help="a file of (n, dim) float16")
    parser.add_argument("outside", type=Path, help="a file of other vectors")
    parser.add_argument("-n", type=int, help="only the first n vectors")
    parser.add_argument("-k", type=int, default=10)
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--peers", default="", help="names, with commas; all without it")
    args = parser.parse_args()
    vectors = np.load(args.vectors, mmap_mode="r")[: args.n]
    queries = np.load(args.outside)[: args.queries]
    truth = find_nearest(vectors, queries, args.k)
    print(f"{len(vectors)} vectors, {len(queries)} queries, k = {args.k}")
    names = [name for name in args.peers.split(",") if name]
    print(HEADING)
    for row in compare(vectors, queries, truth, args.k, names):
        print(row, flush=True)


if __name__ == "__main__":
    main()
