"""Measure how copies are found and told from look-alikes, attack by attack.

    scripts/bench copies [--data ../shared/data] [--queries 100] [--seed 0] [--add N] [--rivals]
                         [--out FILE]

The library: photos-dev and clothing (test, train), 2,406 pictures; `--add N` adds N photographs of
photos144. The queries: the first of every five of photos-dev, attacked: 22 plain edits, 4 hard ones
(scripts/train/retrieval.py), 12 that people make (copy_attacks.py). Each is searched with and
without verification.

Printed are, for each attack: recall@1, the share of queries whose original comes first; and the
share whose original is called a copy. Then, for strangers, how many answers have a hit that is
called a copy. Strangers are pictures of clothing (validation) and photos288, which the library does
not hold, half of them with one random edit. Then the expected calibration error of the probability
of the first hit, over attacked queries and strangers; and the times of a verified query.
`--rivals` adds plain cosines under MobileNetV2 and EfficientNet-Lite2, and PHash of imagededup if
it is installed (its CNN fetches weights from the network). `--out` writes one line of JSON for each
pair of a query and a hit, for scripts/train/calibrate.py.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import sys
import tempfile
import time
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TextIO

sys.path.insert(1, str(Path(__file__).resolve().parents[1] / "train"))

import numpy as np
from copy_attacks import list_attacks
from PIL import Image
from retrieval import interval

from search import Engine, Hits
from search.media.edits import edit_once
from search.querying.calibration import calibration_error

DEPTH = 10  # hits of an answer


@dataclass(frozen=True)
class Query:
    """A picture to search for.

    group: plain, hard, people or stranger. original: path of the picture in the library that it was
    made of; None for a stranger.
    """

    group: str
    attack: str
    image: Image.Image
    original: Path | None


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    root = Path(__file__).resolve().parents[2]
    parser.add_argument("--data", type=Path, default=root.parent / "shared" / "data")
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--add", type=int, default=0, metavar="N")
    parser.add_argument("--only", choices=["plain", "hard", "people", "stranger"])
    parser.add_argument("--rivals", action="store_true")
    parser.add_argument("--home", type=Path, help="keep the library here, and take it up again")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = options.home or Path(folder) / "home"
        with Engine.open(home) as engine:
            fill(engine, options.data, options.add, Path(folder))
            queries = make_queries(options.data, options.queries, options.seed)
            chosen = (one for one in queries if options.only in (None, one.group))
            measure(engine, chosen, options.seed, options.out)
    if options.rivals:
        measure_rivals(options.data, options.queries, options.seed)


def list_pictures(data: Path) -> tuple[list[Path], list[Path]]:
    """Return the pictures of photos-dev, and those of clothing (test, train)."""
    dev = sorted((data / "photos-dev").glob("*/*"))
    clothes = [
        p for part in ("test", "train") for p in sorted((data / "clothing" / part).glob("*/*"))
    ]
    return dev, clothes


def fill(engine: Engine, data: Path, count: int, folder: Path) -> None:
    """Index the pictures, and `count` more photographs."""
    sources = [data / "photos-dev", data / "clothing" / "test", data / "clothing" / "train"]
    if count:
        extra = folder / "more"
        extra.mkdir()
        for i, picture in enumerate(read_zips(data, "photos144-open-*.zip")):
            if i == count:
                break
            (extra / f"{i}.webp").write_bytes(picture)
        sources.append(extra)
    begun = time.perf_counter()
    for source in sources:
        engine.sync(source)
    seconds, status = time.perf_counter() - begun, engine.status()
    print(f"library: {status.pictures} pictures, indexed in {seconds:.0f} s")


def read_zips(data: Path, pattern: str) -> Iterator[bytes]:
    """Yield the files of archives."""
    for path in sorted(data.glob(pattern)):
        with zipfile.ZipFile(path) as file:
            for name in file.namelist():
                if name.endswith((".webp", ".jpg")):
                    yield file.read(name)


def load_strangers(data: Path, count: int, seed: int) -> list[Image.Image]:
    """Return pictures that the library does not hold: half clothes, half photographs."""
    rng = random.Random(seed)
    clothes = sorted((data / "clothing" / "validation").glob("*/*"))
    photographs = list(read_zips(data, "photos288-open-0.zip"))
    chosen: list[Path | io.BytesIO] = [*rng.sample(clothes, count // 2)]
    chosen += [io.BytesIO(one) for one in rng.sample(photographs, count - count // 2)]
    return [Image.open(one).convert("RGB") for one in chosen]


def make_queries(data: Path, count: int, seed: int) -> Iterator[Query]:
    """Yield attacked pictures of the library, attack by attack, then strangers."""
    dev, _ = list_pictures(data)
    originals = dev[::5][:: max(1, len(dev[::5]) // count)][:count]
    strangers = load_strangers(data, 4 * count, seed)
    beside = strangers[-40:]
    for group, attacks in list_attacks().items():
        for name, attack in attacks.items():
            for i, path in enumerate(originals):
                rng = random.Random(f"{seed} {name} {i}")
                image = Image.open(path).convert("RGB")
                yield Query(group, name, attack(image, rng, beside), path)
    for i, image in enumerate(strangers[::2]):
        edited = edit_once(image, random.Random(f"{seed} stranger {2 * i}"), beside[0])
        yield Query("stranger", "with one edit", edited, None)
    for image in strangers[1::2]:
        yield Query("stranger", "as they are", image, None)


@dataclass
class Results:
    """What was measured of one attack: a value for each query."""

    plain: list[float]
    verified: list[float]
    called: list[float]


def measure(engine: Engine, queries: Iterator[Query], seed: int, out: Path | None) -> None:
    """Search for each query with and without verification; print tables."""
    table: dict[tuple[str, str], Results] = defaultdict(lambda: Results([], [], []))
    probabilities, truths, seconds = list[float](), list[bool](), list[float]()
    lines = out.open("w") if out else None
    last = None
    for number, query in enumerate(queries):
        key = query.group, query.attack
        if last and key != last:
            print_row(last, table[last])
        last, results = key, table[key]
        plain = engine.search(image=query.image, k=DEPTH)
        begun = time.perf_counter()
        hits = engine.search(image=query.image, k=DEPTH, verify=True)
        seconds.append(time.perf_counter() - begun)
        results.plain.append(is_first(plain, query.original))
        results.verified.append(is_first(hits, query.original))
        called = [hit for hit in hits if hit.kind in ("copy", "identical")]
        is_right = [query.original is None or str(query.original) in hit.paths for hit in called]
        results.called.append(float(any(is_right)))
        if hits and hits[0].probability is not None:
            probabilities.append(hits[0].probability)
            truths.append(bool(is_first(hits, query.original)))
        if lines:
            write_pairs(lines, number, query, hits)
    if last:
        print_row(last, table[last])
    if lines:
        lines.close()
    print_summary(table, seed)
    quantiles = np.percentile(seconds, [50, 95])
    print(f"verified query: p50 {quantiles[0]:.2f} s, p95 {quantiles[1]:.2f} s, n {len(seconds)}")
    if probabilities:
        error = calibration_error(np.array(probabilities), np.array(truths))
        print(f"expected calibration error of the first hit: {error:.3f}, n {len(truths)}")


def is_first(hits: Hits, original: Path | None) -> float:
    """Return 1 if the first hit is the original, else 0."""
    return float(bool(hits) and original is not None and str(original) in hits[0].paths)


def write_pairs(lines: TextIO, number: int, query: Query, hits: Hits) -> None:
    """Write a line for each hit: the query, whether the hit is its original, and the evidence."""
    for hit in hits:
        entry = {
            "query": number,
            "group": query.group,
            "attack": query.attack,
            "original": str(query.original),
            "is_copy": query.original is not None and str(query.original) in hit.paths,
            "path": hit.path,
            "kind": hit.kind,
            "score": hit.score,
            "low_content": hits.low_content or hit.low_content,
            "evidence": asdict(hit.evidence) if hit.evidence else None,
        }
        lines.write(json.dumps(entry) + "\n")


def print_row(key: tuple[str, str], results: Results) -> None:
    """Print what was measured of one attack."""
    if key[0] == "stranger":
        cells = f"called a copy {np.mean(results.called):.3f}"
    else:
        plain, verified = np.mean(results.plain), np.mean(results.verified)
        cells = f"{plain:>8.2f}{verified:>10.2f}{np.mean(results.called):>10.2f}"
    print(f"{key[0]:<10}{key[1]:<28}{cells}   n {len(results.called)}", flush=True)


def print_summary(table: dict[tuple[str, str], Results], seed: int) -> None:
    """Print the means of each group with 95 % intervals over the pictures."""
    print(f"\n{'mean over the attacks':<24}{'by cosine [95 %]':<24}{'verified [95 %]':<24}least")
    for group in ("plain", "hard", "people"):
        rows = [results for (kind, _), results in table.items() if kind == group]
        if rows:
            cosine = interval(np.mean([one.plain for one in rows], 0), seed)
            verified = np.array([one.verified for one in rows])
            text = interval(verified.mean(0), seed)
            print(f"{group:<24}{cosine:<24}{text:<24}{verified.mean(1).min():.2f}")
    called = [
        value for (kind, _), one in table.items() if kind == "stranger" for value in one.called
    ]
    if called:
        print(f"strangers called copies: {interval(np.array(called), seed)}, n {len(called)}")


def measure_rivals(data: Path, count: int, seed: int) -> None:
    """Print recall@1 of plain cosines and hashes on the same pictures and attacks."""
    dev, clothes = list_pictures(data)
    paths = [*dev, *clothes]
    queries = [one for one in make_queries(data, count, seed) if one.original]
    rivals = {**open_networks(data), **open_hashes()}
    print(f"\nrivals: recall@1, library of {len(paths)}")
    print(f"{'':<38}" + "".join(f"{name:>20}" for name in rivals))
    right = {name: list[float]() for name in rivals}
    for name, rank in rivals.items():
        first = rank([Image.open(p).convert("RGB") for p in paths], [one.image for one in queries])
        right[name] = [
            float(paths[place] == one.original) for place, one in zip(first, queries, strict=True)
        ]
    keys = list(dict.fromkeys((one.group, one.attack) for one in queries))
    for key in keys:
        chosen = [i for i, one in enumerate(queries) if (one.group, one.attack) == key]
        row = "".join(f"{np.mean([right[name][i] for i in chosen]):>20.2f}" for name in rivals)
        print(f"{key[0]:<10}{key[1]:<28}{row}")
    for group in ("plain", "hard", "people"):
        chosen = [i for i, one in enumerate(queries) if one.group == group]
        row = "".join(f"{np.mean([right[name][i] for i in chosen]):>20.3f}" for name in rivals)
        print(f"{'mean of ' + group:<38}{row}")


Rank = Callable[[Sequence[Image.Image], Sequence[Image.Image]], list[int]]


def open_networks(data: Path) -> dict[str, Rank]:
    """Return rankings by plain cosine under the teachers of `mini`."""
    import bench_models
    from networks import efficientnet, mobilenet

    def rank_by(embed) -> Rank:  # type: ignore[no-untyped-def]
        def rank(library: Sequence[Image.Image], queries: Sequence[Image.Image]) -> list[int]:
            x = [
                np.concatenate([embed(part[i : i + 16]) for i in range(0, len(part), 16)])
                for part in (library, queries)
            ]
            places: list[int] = (x[1] @ x[0].T).argmax(1).tolist()
            return places

        return rank

    return {
        "MobileNetV2": rank_by(bench_models.network(mobilenet(data), 224)),
        "EfficientNet-Lite2": rank_by(bench_models.network(efficientnet(data), 260)),
    }


def open_hashes() -> dict[str, Rank]:
    """Return the ranking by PHash of imagededup, if it is installed."""
    try:
        from imagededup.methods import PHash
    except ImportError:
        print("imagededup is not installed: its PHash is left out", file=sys.stderr)
        return {}
    method = PHash()

    def hash_all(images: Sequence[Image.Image]) -> np.ndarray:
        codes = [int(method.encode_image(image_array=np.asarray(one)), 16) for one in images]
        bits = np.array([[code >> i & 1 for i in range(64)] for code in codes], np.int16)
        return bits

    def rank(library: Sequence[Image.Image], queries: Sequence[Image.Image]) -> list[int]:
        x, y = hash_all(library), hash_all(queries)
        distances = y.sum(1)[:, None] + x.sum(1)[None] - 2 * (y @ x.T)
        places: list[int] = distances.argmin(1).tolist()
        return places

    return {"imagededup PHash": rank}


if __name__ == "__main__":
    main()
