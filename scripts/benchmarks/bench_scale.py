"""Times, memory and bytes of large libraries, by the number of pictures.

scripts/bench scale [--n 10000,100000,1000000] [--keep FOLDER] [--queries 200] [--seed 0] [--peers]

`scale_library` fills each library; its recipe is printed. The picture files are real and empty.
`check` runs while their folder is away, since empty files cannot be decoded: it reads the whole
catalog and the index, but no picture and no thumbnail. Forgetting works on a copy of the library.
Rows marked "process" include the start of a new process. --keep: where filled libraries stay, to be
used again. --peers: other indexes at equal recall, by `scale_peers.compare`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import httpx
import numpy as np
from bench_server import serving
from bench_sync import walk
from scale_library import PER_FOLDER, RECIPE, file_names, fill, make_vectors, picture_id

from search import Engine
from search.catalog.writes import ExtractedFile
from search.records.pictures import Metadata
from search.types import FileEntry

BATCH, CHANGED, PAGES, LIST = 256, 1000, 1000, 100
T = TypeVar("T")
COLD_SEARCH = """
import json, resource, sys, time
import numpy as np
from search import Engine
start = time.perf_counter()
with Engine.open(home=sys.argv[1]) as engine:
    opened = time.perf_counter()
    hits = engine.search(vector=json.loads(sys.stdin.read()), k=10)
    ended = time.perf_counter()
    lines = dict(line.split(":", 1) for line in open("/proc/self/status") if ":" in line)
    memory = [int(lines[name].split()[0]) / 1024 for name in ("VmHWM", "VmRSS")]
    print(json.dumps([opened - start, ended - start, len(hits), *memory]))
"""


class Table:
    """Rows of figures with one column for each size, printed as they come."""

    def __init__(self, n: int) -> None:
        self._n = n

    def add(self, name: str, figure: float | str, unit: str = "") -> None:
        text = figure if isinstance(figure, str) else f"{figure:,.4g}"
        print(f"{self._n:>9,}  {name:38} {text:>12} {unit}", flush=True)

    def time(self, name: str, call: Callable[[], T], rounds: int = 3) -> T:
        """Add the best time of some rounds, at least one; return the last result."""
        times = []
        for _ in range(rounds):
            start = time.perf_counter()
            result = call()
            times.append(time.perf_counter() - start)
        self.add(name, 1000 * min(times), "ms")
        return result


def find_nearest(queries: np.ndarray, vectors: np.ndarray, k: int) -> np.ndarray:
    """Return the (q, k) places of the nearest vectors, by the matrix product in blocks."""
    best = np.full((len(queries), 0), 0.0, np.float32)
    places = np.full((len(queries), 0), 0)
    for start in range(0, len(vectors), 50_000):
        block = vectors[start : start + 50_000].astype(np.float32)
        block /= np.linalg.norm(block, axis=1, keepdims=True)
        best = np.concatenate([best, queries @ block.T], 1)
        numbers = np.broadcast_to(np.arange(start, start + len(block)), (len(queries), len(block)))
        places = np.concatenate([places, numbers], 1)
        order = np.argpartition(-best, min(k, best.shape[1] - 1), 1)[:, :k]
        best, places = np.take_along_axis(best, order, 1), np.take_along_axis(places, order, 1)
    return np.take_along_axis(places, np.argsort(-best, 1), 1)


def measure_queries(
    table: Table, engine: Engine, queries: np.ndarray, truth: np.ndarray, count: int
) -> None:
    """Whole queries by vector, for k = 10 and 100, and batches of the index alone."""
    ids = {picture_id(name): i for i, name in enumerate(file_names(0, count))}
    for k in (10, 100):
        times, shares, all_shares = [], [], []
        for i, query in enumerate(queries):
            start = time.perf_counter()
            hits = engine.search(vector=query.tolist(), k=k)
            times.append(1000 * (time.perf_counter() - start))
            answered = [ids.get(hit.id) for hit in hits]
            shares.append(len({*answered[:10]} & {*truth[i, :10].tolist()}) / 10)
            all_shares.append(len({*answered} & {*truth[i, :k].tolist()}) / k)
        p50, p95 = np.percentile(times, (50, 95))
        table.add(f"query, k = {k}: p50", p50, "ms")
        table.add(f"query, k = {k}: p95", p95, "ms")
        table.add(f"query, k = {k}: recall@10", float(np.mean(shares)))
        if k > 10:
            table.add(f"query, k = {k}: recall@{k}", float(np.mean(all_shares)))
    space = engine.library.catalog.find_own_space()
    store = engine.library.indexes.replica(space).refresh()
    batch = np.resize(queries, (BATCH, queries.shape[1])).astype(np.float32)

    def search_batch() -> float:
        start = time.perf_counter()
        store.search(batch, 10)
        return time.perf_counter() - start

    best = min(engine.library.runtime.run(search_batch) for _ in range(3))
    table.add(f"index alone, batches of {BATCH}", BATCH / best, "queries/s")


def measure_changes(table: Table, engine: Engine, vectors: np.ndarray) -> None:
    """Add and delete pictures: catalog, index and snapshot, without decoding and embedding."""
    catalog = engine.library.catalog
    space, root = catalog.find_own_space(), catalog.roots()[0]
    items = []
    for i, vector in enumerate(vectors.astype(np.float32)):
        name, number = f"new/{i:06d}.jpg", picture_id(f"new {i}")
        entry, metadata = FileEntry(name, 1, 2, -i - 1, 3), Metadata("jpeg", 8, 8, 1)
        items.append(ExtractedFile(entry, number, number, metadata, vector))

    def follow() -> None:
        engine.library.indexes.replica(space).refresh()
        engine.library.indexes.save(space)

    follow()
    table.time("upsert of 1,000: catalog", lambda: catalog.record(root, space, items), 1)
    table.time("upsert of 1,000: index and snapshot", follow, 1)
    files = catalog.file_ids(root, "new")
    table.time("delete of 1,000: catalog", lambda: catalog.purge(catalog.remove_files(files)), 1)
    table.time("delete of 1,000: index and snapshot", follow, 1)


def measure_server(table: Table, home: Path, folder: Path) -> None:
    """The status and pages over HTTP, and the memory of the server."""
    with serving(home, folder) as address:
        with httpx.Client(base_url=f"{address}/api/v1", timeout=600, trust_env=False) as client:
            table.time("status, HTTP", lambda: client.get("/status").raise_for_status())
            for page in (1, PAGES):
                name = f"page {page:,}, HTTP"
                table.time(name, lambda page=page: client.get(f"/images?page={page}"))


def run_command(home: Path, *words: str) -> str:
    """Run `lookalike` in a process of its own; return its output."""
    command = [sys.executable, "-m", "search", "--home", str(home), *words]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ)
    return done.stdout


def measure(n: int, place: Path, args: argparse.Namespace) -> None:
    """Print all rows of one size."""
    table, home, folder = Table(n), place / "home", place / "pictures"
    vectors_file = place / "vectors.npy"
    if not vectors_file.exists():
        place.mkdir(parents=True, exist_ok=True)
        start = time.perf_counter()
        np.save(vectors_file, fill(home, n, args.seed, folder))
        table.add("filled in", time.perf_counter() - start, "s")
    vectors = np.load(vectors_file, mmap_mode="r")
    queries = make_vectors(args.queries, vectors.shape[1], args.seed + 1).astype(np.float32)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    truth = find_nearest(queries, vectors, LIST)
    with Engine.open(home=home) as engine:
        table.time("index built", lambda: (engine.tend(), _save(engine)), 1)
    cold = subprocess.run(
        [sys.executable, "-c", COLD_SEARCH, str(home)],
        input=json.dumps(queries[0].tolist()),
        capture_output=True,
        text=True,
        check=True,
    )
    opened, searched, _, peak, resident = json.loads(cold.stdout)
    table.add("open", 1000 * opened, "ms")
    table.add("open and first search, cold", 1000 * searched, "ms")
    table.add("memory of that process, peak", peak, "MiB")
    table.add("memory of that process, then", resident, "MiB")
    with Engine.open(home=home) as engine:
        engine.search(vector=queries[0].tolist())
        measure_queries(table, engine, queries, truth, n)
        measure_changes(table, engine, make_vectors(CHANGED, vectors.shape[1], args.seed + 2))
        table.time("status, in process", engine.status)
        for page in (1, PAGES):
            table.time(f"page {page:,}, in process", lambda page=page: engine.pictures(page))
        table.time("walk with stat", lambda: walk(folder), 2)
        report = table.time("sync of nothing changed", lambda: engine.sync(folder), 2)
        if report.unchanged != n:
            raise SystemExit(f"not an unchanged folder: {report}")
        table.time("sync of one subfolder", lambda: engine.sync(folder / "0000"))
    table.time("status, process", lambda: run_command(home, "status"))
    measure_server(table, home, folder)
    away = folder.with_name("away")
    folder.rename(away)
    try:
        table.time("check, process", lambda: run_command(home, "check"), 1)
    finally:
        away.rename(folder)
    sizes = {
        name: sum(path.stat().st_size for path in home.glob(pattern)) / 2**20
        for name, pattern in (("catalog", "catalog.sqlite*"), ("index", "index/*"))
    }
    for name, size in sizes.items():
        table.add(f"bytes on disk, {name}", size, "MiB")
    with tempfile.TemporaryDirectory(dir=place) as copy:
        shutil.copytree(home, Path(copy) / "home")
        parts = [folder / f"{i:04d}" for i in range(-(-n // (10 * PER_FOLDER)))]
        with Engine.open(home=Path(copy) / "home") as engine:
            table.time("forget of 10 %", lambda: [engine.forget(one) for one in parts], 1)
    if args.peers:
        from scale_peers import compare

        for k in (10, 100):
            print(f"\npeers at {n:,}, k = {k}")
            for row in compare(vectors, queries, truth, k):
                print(row)


def _save(engine: Engine) -> None:
    for space in engine.library.reader.spaces():
        engine.library.indexes.save(space)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", default="10000,100000,1000000")
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--peers", action="store_true")
    args = parser.parse_args(arguments)
    print(f"{RECIPE}\nseed {args.seed}, {args.queries} queries of seed {args.seed + 1}\n")
    load = os.getloadavg()[0]
    print(f"{os.cpu_count()} cores, load {load:.1f} at the start\n")
    with tempfile.TemporaryDirectory() as temporary:
        for n in (int(part) for part in args.n.split(",")):
            measure(n, (args.keep or Path(temporary)) / str(n), args)


if __name__ == "__main__":
    main()
