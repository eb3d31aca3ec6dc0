"""Time of a query without its embedding, and recall of the clustered index.

scripts/bench query [--data ../shared/data] [--cache FILE.npy] [--queries 500] [--seed 0]

The library has the vectors of all photos64 pictures under `mini`, in a real catalog, with empty
files. The queries are pictures of its validation part, which the library does not have. The exact
and the clustered index answer the same queries through `Engine.search`, without and with a filter
that leaves 1 % of the pictures. recall@10 is against the matrix product. The exact index is also
timed by the number of vectors: the setting `auto` changes to clusters from there on.

The last table is of a library that `scale_library` fills, with dates, sizes, places, colors, tags
and labels: queries with conditions that hold for about 10, 1 and .1 % of the pictures, and some
that people give. `--only-filtered` prints that one alone; `--pictures` is the library's size.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import os
import tempfile
import time
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from search import Engine, Query, Term
from search.catalog.listing import PictureList
from search.catalog.reads import rescore
from search.catalog.writes import ExtractedFile, pack, unpack
from search.embedders.mini import Mini
from search.media.images import identify, render
from search.media.rules import Limits
from search.records.pictures import Metadata
from search.runtime import Runtime
from search.settings import Settings
from search.types import FileEntry
from search.vectors.faiss.flat import FlatIndex

K = 10


def embed_pictures(data: Path, cache: Path) -> np.ndarray:
    """(n, 512) fp16 vectors of the pictures of all zips, in their order; kept in a file."""
    if not cache.exists():
        mini, rows = Mini(), []
        zips = [*sorted(data.glob("photos64-train-*.zip")), data / "photos64-val.zip"]
        for path in zips:  # the validation part last: queries are taken from the end
            print(f"embedding {path.name}", flush=True)
            with zipfile.ZipFile(path) as file:
                entries = [e for e in file.namelist() if e.endswith(".jpg")]
                for i in range(0, len(entries), mini.batch):
                    pictures = [file.read(e) for e in entries[i : i + mini.batch]]
                    opened = [render(identify(p, Limits())) for p in pictures]
                    rows.append(mini.embed([mini.preprocessing(p) for p in opened]))
        out = io.BytesIO()
        np.save(out, np.concatenate(rows).astype("<f2"))
        cache.write_bytes(out.getvalue())
    vectors: np.ndarray = np.load(cache)
    return vectors


def fill(engine: Engine, folder: Path, rows: np.ndarray) -> None:
    """Fill a library with these vectors. Its picture files are empty."""
    catalog, mini = engine.library.catalog, Mini()
    space = catalog.space(mini.name, mini.fingerprint, mini.dim)
    root = catalog.add_root(str(folder), os.stat(folder).st_dev, ())
    metadata = Metadata("jpeg", 64, 64, 0)
    files: list[ExtractedFile] = []
    for i, row in enumerate(rows):
        name = f"{i // 1000:03d}/{i:06d}.jpg"
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
        stat, identity = path.stat(), hashlib.sha256(name.encode()).hexdigest()
        entry = FileEntry(name, 0, stat.st_mtime_ns, stat.st_ino)
        files.append(ExtractedFile(entry, identity, identity, metadata, row.astype(np.float32)))
        if len(files) == 1000 or i == len(rows) - 1:
            catalog.record(root, space, files)
            files.clear()
    catalog.serve(space)


def timed(call: Callable[[np.ndarray], Sequence[int]], queries: np.ndarray) -> tuple[list, str]:
    """Return the answers to queries, and a text of their p50 and p95 in milliseconds."""
    answers, times = [], []
    for query in queries[:20]:  # warms up
        call(query)
    for query in queries:
        start = time.perf_counter()
        answers.append(call(query))
        times.append(1000 * (time.perf_counter() - start))
    return answers, f"{np.percentile(times, 50):8.2f} {np.percentile(times, 95):8.2f}"


def recall(answers: Sequence[Sequence[int]], truth: np.ndarray) -> str:
    """Return the share of the exact ten nearest pictures among the answers."""
    shares = [np.isin(t, a).mean() for a, t in zip(answers, truth, strict=True)]
    return f"{np.mean(shares):8.4f}"


def sizes(rows: np.ndarray, queries: np.ndarray, runtime: Runtime) -> None:
    """Print the time of exact search by the number of vectors."""
    print(f"\n{'exact search alone':34}{'':8} {'p50 ms':>8} {'p95 ms':>8}")
    for n in (n for n in (5000, 10_000, 20_000, 30_000, 40_000) if n <= len(rows)):
        index = FlatIndex.empty(rows.shape[1])
        index.upsert(range(n), rows[:n])
        _, times = runtime.run(
            lambda index=index: timed(lambda q: index.search(q[None], K)[0].ids, queries)
        )
        print(f"{n:>34}{'':8} {times}")


CONDITIONS = (
    "size<8MB",
    "size<1.25MB",
    "size<575KB",
    "size<507.5KB",
    "date=2008-02",
    "camera='camera 7' and shape=landscape",
    "color=red",
    "color=grey or color=blue",
    "near=48.85,2.35,1000km",
    "tag='album 3'",
    "folder=0007",
    "name=IMG_00001*",
    "not (has=tags or shape=landscape)",
)
TEXTS = ("album 3", "0007", "IMG", "dog", "zebra album", "nothing at all", "img_00001")
MEASURED = 100  # queries for each condition


def measure_conditions(n: int, seed: int) -> None:
    """Print time and recall of queries with conditions, and of lists and counts."""
    from scale_library import fill as fill_quickly, make_vectors

    with tempfile.TemporaryDirectory() as place:
        home = Path(place) / "home"
        home.mkdir()
        fill_quickly(home, n, seed)
        queries = unpack([pack(row) for row in make_vectors(MEASURED + 20, seed=seed + 1)], 512)
        with Engine.open(home=home, index="auto") as engine:
            engine.tend()
            kind = engine.status().index["kind"]
            head = f"{n} pictures, {kind}, k = {K}, {MEASURED} queries each, seed {seed}"
            print(f"\n{head}, without embedding, in ms")
            heads = "share recall first p50 p95".split()  # milliseconds
            print(f"{'condition':38} " + " ".join(f"{head:>8}" for head in heads))
            space = engine.library.catalog.find_own_space()
            _, times = timed(lambda q: engine.search(vector=q.tolist(), k=K), queries[:MEASURED])
            print(f"{'without a condition':38} {1:8.4f} {'':8} {'':8} {times}")
            for where in CONDITIONS:
                start = time.perf_counter()
                engine.search(vector=queries[-1].tolist(), k=K, where=where)
                first = f"{1000 * (time.perf_counter() - start):8.2f}"
                criterion = engine.library.browser.select([where]).criterion
                selected = PictureList(engine.library.reader).row_ids(criterion)  # not kept
                present, stored = engine.library.reader.load_vectors(space, selected.tolist())
                ids = engine.library.reader.picture_ids(present)
                names = np.array([ids[one] for one in present])

                def within(query: np.ndarray, where: str = where) -> list[str]:
                    hits = engine.search(vector=query.tolist(), k=K, where=where)
                    return [hit.id for hit in hits]

                answers, times = timed(within, queries[:MEASURED])
                best = np.argsort(-(queries[:MEASURED] @ stored.T), 1)[:, :K]
                share = f"{len(present) / n:8.4f}"
                print(f"{where:38} {share} {recall(answers, names[best])} {first} {times}")
            engine.library.catalog.repair_texts()  # the rows were written past the program
            for words in TEXTS:

                def fused(query: np.ndarray, words: str = words) -> list[str]:
                    terms = Term(vector=tuple(query.tolist())), Term(text=words)
                    return [hit.id for hit in engine.search(Query(terms, K))]

                start = time.perf_counter()
                fused(queries[-1])
                first = f"{1000 * (time.perf_counter() - start):8.2f}"
                times = timed(fused, queries)[1]
                print(f"{'a vector and ' + repr(words):38} {'':8} {'':8} {first} {times}")
            calls = {
                "suggest: al": lambda _: engine.suggest("al"),
                "suggest: 20": lambda _: engine.suggest("20"),
                "suggest: 0": lambda _: engine.suggest("0"),
                "browse, newest": lambda _: engine.browse(),
                "browse -date": lambda _: engine.browse(sort="-date"),
                "browse name": lambda _: engine.browse(sort="name"),
                "browse color, type=jpeg": lambda _: engine.browse("type=jpeg", "color"),
                "facets": lambda _: engine.facets(),
                "facets, size<575KB": lambda _: engine.facets("size<575KB"),
                "months": lambda _: engine.months(),
                "folders": lambda _: engine.folders(),
                "folders in a folder": lambda _: engine.folders(engine.folders()[0].path),
            }
            for name, call in calls.items():
                start = time.perf_counter()
                call(queries[0])
                first = f"{1000 * (time.perf_counter() - start):8.2f}"
                print(f"{name:38} {'':8} {'':8} {first} {timed(call, queries[:25])[1]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    cache = Path(tempfile.gettempdir()) / "photos64-mini.npy"
    parser.add_argument("--cache", type=Path, default=cache)
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pictures", type=int, default=67_300)
    parser.add_argument("--only-filtered", action="store_true")
    args = parser.parse_args()
    if args.only_filtered:
        measure_conditions(args.pictures, args.seed)
        return
    random = np.random.default_rng(args.seed)
    rows = embed_pictures(args.data, args.cache)
    chosen = len(rows) - 5000 + random.permutation(5000)[: args.queries]
    rows = unpack([pack(row) for row in rows], rows.shape[1])  # as the catalog gives them back
    queries, rows = rows[chosen], np.delete(rows, chosen, 0)
    exact = np.argsort(-(queries @ rows.T), 1)[:, :K] + 1  # pictures are numbered from 1
    few = np.sort(random.permutation(len(rows))[: len(rows) // 100])
    filtered = few[np.argsort(-(queries @ rows[few].T), 1)[:, :K]] + 1
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "pictures"
        folder.mkdir()
        print(f"{len(rows)} pictures, {len(queries)} queries, k = {K}, seed {args.seed}")
        with Engine.open(home=f"{place}/home") as engine:
            fill(engine, folder, rows)
        print(f"{'':34}{'recall':>8} {'p50 ms':>8} {'p95 ms':>8}")
        for tier in ("flat", "auto"):
            with Engine.open(home=f"{place}/home", index=tier) as engine:
                start = time.perf_counter()
                engine.tend()
                seconds = time.perf_counter() - start
                kind = engine.status().index["kind"]
                measure(engine, f"{tier}: {kind}", queries, exact, few + 1, filtered)
                print(f"{'':4}made ready in {seconds:.1f} s")
    runtime = Runtime(Settings.load().threads)
    sizes(rows, queries, runtime)
    runtime.close()
    measure_conditions(args.pictures, args.seed)


def measure(
    engine: Engine,
    name: str,
    queries: np.ndarray,
    exact: np.ndarray,
    few: np.ndarray,
    filtered: np.ndarray,
) -> None:
    """Print the rows of one index."""
    space = engine.library.catalog.find_own_space()
    numbers = {
        identity: n
        for n, identity in engine.library.reader.picture_ids(exact.ravel().tolist()).items()
    }

    def search_whole(query: np.ndarray) -> list[int]:
        hits = engine.search(vector=query.tolist(), k=K)
        return [numbers.get(hit.id, 0) for hit in hits]

    answers, times = timed(search_whole, queries)
    print(f"{name + ', whole query':34}{recall(answers, exact)} {times}")
    runtime, replica = engine.library.runtime, engine.library.indexes.replica(space)
    answers, times = runtime.run(
        lambda: timed(lambda q: replica.refresh().search(q[None], K)[0].ids, queries)
    )
    print(f"{name + ', index alone':34}{recall(answers, exact)} {times}")

    def search_index(query: np.ndarray) -> list[int]:
        nearest = replica.refresh().search(query[None], K, few)[0].ids
        present, stored = engine.library.reader.load_vectors(space, nearest.tolist())
        best = np.argsort(-rescore(query, stored))[:K]
        return [present[i] for i in best]

    answers, times = runtime.run(lambda: timed(search_index, queries))
    print(f"{name + ', of 1 %':34}{recall(answers, filtered)} {times}")


if __name__ == "__main__":
    main()
