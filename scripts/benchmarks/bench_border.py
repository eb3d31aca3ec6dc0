"""From how many vectors on the clustered index answers faster than the exact one.

scripts/bench border [--sizes 10000,20000,...] [--queries 200] [--rounds 5] [--seed 0]

Each size has vectors of `scale_library.make_vectors`, or of a file of vectors (--vectors FILE.npy).
Single queries for the ten nearest go to both indexes in turns, so that other work on the machine
slows both down. Printed are medians over rounds of p50 and p95, and the CPU time of a query, with
one thread of FAISS and with two. `search.vectors.faiss.tiers.IVF_MIN_COUNT` is the size from which
on the exact index needs more than 5 ms, or less where a newcomer's library would wait for clusters
longer than it gains.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from scale_peers import build_ours

from search.runtime import faiss
from search.types import Vectors
from search.vectors.faiss.flat import FlatIndex

K = 10


def time_queries(index: Any, queries: Vectors, threads: int) -> tuple[float, float, float]:
    """Return p50 and p95 of the wall time and the median CPU time of a query, in milliseconds."""
    faiss.omp_set_num_threads(threads)
    walls, cpus = [], []
    for query in queries:
        wall, cpu = time.perf_counter(), time.process_time()
        index.search(query[None], K)
        walls.append(1000 * (time.perf_counter() - wall))
        cpus.append(1000 * (time.process_time() - cpu))
    p50, p95 = np.percentile(walls, (50, 95))
    return float(p50), float(p95), float(np.median(cpus))


class Bare:
    """The exact index of FAISS itself, which takes the threads that are set."""

    def __init__(self, rows: Vectors) -> None:
        self._index: Any = faiss.IndexFlatIP(rows.shape[1])
        self._index.add(rows)

    def search(self, queries: Vectors, k: int) -> Any:
        return self._index.search(queries, k)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default="10000,20000,40000,60000,80000,120000")
    parser.add_argument("--vectors", type=Path)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    sizes = sorted(int(one) for one in args.sizes.split(","))
    if args.vectors:
        every = np.load(args.vectors, mmap_mode="r")[: sizes[-1] + args.queries]
        sizes = [n for n in sizes if n <= len(every) - args.queries]
        rows, queries = every[: -args.queries], every[-args.queries :]
    else:
        from scale_library import make_vectors

        rows = make_vectors(sizes[-1], seed=args.seed)
        queries = make_vectors(args.queries, seed=args.seed + 1)
    rows, queries = to_unit(rows), to_unit(queries)
    print(f"k = {K}, {len(queries)} queries, {args.rounds} rounds, seed {args.seed}")
    print(f"{'vectors':>8}  {'index':24}{'p50 ms':>8}{'p95 ms':>8}{'CPU ms':>8}")
    for n in sizes:
        with tempfile.TemporaryDirectory() as folder:
            part = np.ascontiguousarray(rows[:n])
            flat, bare = FlatIndex(np.arange(n), part), Bare(part)
            indexes = {
                "exact": (flat, 1),
                "exact, bare, 1 thread": (bare, 1),
                "exact, bare, 2 threads": (bare, 2),
                "clusters": (build_ours(part, Path(folder)), 1),
            }
            times: dict[str, list[tuple[float, float, float]]] = {name: [] for name in indexes}
            for _ in range(args.rounds):
                for name, (index, threads) in indexes.items():
                    times[name].append(time_queries(index, queries, threads))
            for name, some in times.items():
                p50, p95, cpu = np.median(some, 0)
                print(f"{n:>8}  {name:24}{p50:8.2f}{p95:8.2f}{cpu:8.2f}", flush=True)


def to_unit(rows: Any) -> Vectors:
    """Return rows as float32 of unit length."""
    array = np.asarray(rows, np.float32)
    result: Vectors = array / np.linalg.norm(array, axis=1, keepdims=True)
    return result


if __name__ == "__main__":
    main()
