"""Measure how copies are found and told from look-alikes, attack by attack.

    scripts/bench copies [--data ../shared/data] [--queries 100] [--seed 0] [--add N] [--rivals]
                         [--out FILE]

The library: photos-dev and clothing (test, train), 2,406 pictures; `--add N` adds N photographs of
photos144. The queries: the first of every five of photos-dev, attacked: 22 plain edits, 4 hard ones
(scripts/train/retrieval.py), 12 that people make (copy_attacks.py). Each is searched with and
without verification.

Printed are, for each attack: recall@1, the share of queries whose original comes first, without and
with verification; the share whose original is called a copy; and the share in which another picture
is called one. Then the means of each group, and for strangers, how many answers have a hit that is
called a copy. Strangers are pictures of clothing (validation) and photos288, half of them with one
random edit. The library does not hold them: photos288 has the photographs of photos144 under the
same names in another size, so those that `--add` takes are left out. (With 7,600 added, 1,078 of
2,844 remain. Of these, one correlates by more than .98 with an added one, by 24 x 24 grey levels:
the same trousers in another colour.) Intervals of recall are bootstrapped over the pictures; those
of counts are Wilson's over the queries. They are somewhat too narrow, since the queries that are
made of one picture depend on each other.

Then the expected calibration error of the probability of the first hit, over attacked queries and
strangers; the times of a verified query; and the stored bytes of a picture. `--rivals` adds plain
cosines under MobileNetV2 and EfficientNet-Lite2, and PHash of imagededup if it is installed (its
CNN fetches weights from the network), with the time of a query and the bytes of a picture of each.
`--out` writes one line of JSON for each pair of a query and a hit, for scripts/train/calibrate.py.
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
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TextIO

sys.path.insert(1, str(Path(__file__).resolve().parents[1] / "train"))

import numpy as np
from copy_attacks import list_attacks
from intervals import describe_share
from PIL import Image
from retrieval import interval

from search import Engine, Hits
from search.media.edits import edit_once
from search.querying.calibration import calibration_error

DEPTH = 10  # hits of an answer
BATCH = 16
HALF = 2  # bytes of a half-precision number, as vectors are stored


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
            names = fill(engine, options.data, options.add, Path(folder))
            queries = make_queries(options.data, options.queries, options.seed, names)
            chosen = (one for one in queries if options.only in (None, one.group))
            measure(engine, chosen, options.seed, options.out)
            print_sizes(engine)
    if options.rivals:
        measure_rivals(options.data, options.queries, options.seed)


def list_pictures(data: Path) -> tuple[list[Path], list[Path]]:
    """Return the pictures of photos-dev, and those of clothing (test, train)."""
    dev = sorted((data / "photos-dev").glob("*/*"))
    clothes = [
        p for part in ("test", "train") for p in sorted((data / "clothing" / part).glob("*/*"))
    ]
    return dev, clothes


def fill(engine: Engine, data: Path, count: int, folder: Path) -> set[str]:
    """Index the pictures, and `count` more photographs; return the names of these."""
    names = set[str]()
    sources = [data / "photos-dev", data / "clothing" / "test", data / "clothing" / "train"]
    if count:
        extra = folder / "more"
        extra.mkdir()
        for i, (name, picture) in enumerate(read_zips(data, "photos144-open-*.zip")):
            if i == count:
                break
            (extra / f"{i}.webp").write_bytes(picture)
            names.add(name)
        sources.append(extra)
    begun = time.perf_counter()
    for source in sources:
        engine.sync(source)
    seconds, status = time.perf_counter() - begun, engine.status()
    print(f"library: {status.pictures} pictures, indexed in {seconds:.0f} s")
    return names


def read_zips(data: Path, pattern: str) -> Iterator[tuple[str, bytes]]:
    """Yield the names and contents of the pictures of archives."""
    for path in sorted(data.glob(pattern)):
        with zipfile.ZipFile(path) as file:
            for name in file.namelist():
                if name.endswith((".webp", ".jpg")):
                    yield name, file.read(name)


def load_strangers(
    data: Path, count: int, seed: int, names: Collection[str] = ()
) -> list[Image.Image]:
    """Return pictures that the library does not hold: half clothes, half photographs.

    names: of photographs that the library holds. There are fewer strangers where the rest does not
    suffice.
    """
    rng = random.Random(seed)
    clothes = sorted((data / "clothing" / "validation").glob("*/*"))
    files = read_zips(data, "photos288-open-0.zip")
    photographs = [picture for name, picture in files if name not in names]
    chosen: list[Path | io.BytesIO] = [*rng.sample(clothes, count // 2)]
    most = min(count - count // 2, len(photographs))
    chosen += [io.BytesIO(one) for one in rng.sample(photographs, most)]
    return [Image.open(one).convert("RGB") for one in chosen]


def make_queries(data: Path, count: int, seed: int, names: Collection[str] = ()) -> Iterator[Query]:
    """Yield attacked pictures of the library, attack by attack, then strangers. names: see
    `load_strangers`."""
    dev, _ = list_pictures(data)
    originals = dev[::5][:: max(1, len(dev[::5]) // count)][:count]
    strangers = load_strangers(data, 4 * count, seed, names)
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
    """What was measured of one attack: a value for each query.

    plain, verified: whether the original comes first. called: whether it is called a copy; for a
    stranger, whether any picture is. others: whether another picture is.
    """

    plain: list[float] = field(default_factory=list)
    verified: list[float] = field(default_factory=list)
    called: list[float] = field(default_factory=list)
    others: list[float] = field(default_factory=list)


def measure(engine: Engine, queries: Iterator[Query], seed: int, out: Path | None) -> None:
    """Search for each query with and without verification; print tables."""
    table: dict[tuple[str, str], Results] = defaultdict(Results)
    probabilities, truths, seconds = list[float](), list[bool](), list[float]()
    lines = out.open("w") if out else None
    last = None
    print(f"{'':<38}{'cosine':>8}{'verified':>10}{'called':>10}{'another':>10}")
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
        results.others.append(float(not all(is_right)))
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
        cells += f"{np.mean(results.others):>10.2f}"
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
    attacked = [one for (kind, _), one in table.items() if kind != "stranger"]
    others = [value for one in attacked for value in one.others]
    if others:
        share = describe_share(int(sum(others)), len(others))
        print(f"another picture called a copy: {share}, n {len(others)}")
    strangers = [one for (kind, _), one in table.items() if kind == "stranger"]
    called = [value for one in strangers for value in one.called]
    if called:
        share = describe_share(int(sum(called)), len(called))
        print(f"strangers called copies: {share}, n {len(called)}")


def print_sizes(engine: Engine) -> None:
    """Print the stored bytes of a picture."""
    reader = engine.library.reader
    features = [len(data) for block in reader.iterate_features() for _, data in block]
    count, (space, *_) = engine.status().pictures, reader.spaces()
    index = sum(one.stat().st_size for one in (engine.home / "features").iterdir())
    print(
        f"bytes a picture: local features {np.mean(features):.0f} (of {len(features)}), their "
        f"index on disk {index / count:.0f}, the vector {HALF * space.dim}"
    )


@dataclass(frozen=True)
class Rival:
    """Another way to find pictures.

    encode: returns the codes of pictures. rank: returns the place of the nearest code of a library
    for each query, given codes of both. bytes: of one stored code.
    """

    encode: Callable[[Sequence[Image.Image]], np.ndarray]
    rank: Callable[[np.ndarray, np.ndarray], np.ndarray]
    bytes: int


def measure_rivals(data: Path, count: int, seed: int) -> None:
    """Print recall@1 of plain cosines and hashes on the same pictures and attacks."""
    dev, clothes = list_pictures(data)
    paths = [*dev, *clothes]
    queries = [one for one in make_queries(data, count, seed) if one.original]
    rivals = {**open_networks(data), **open_hashes()}
    print(f"\nrivals: recall@1, library of {len(paths)}")
    print(f"{'':<38}" + "".join(f"{name:>20}" for name in rivals))
    right, seconds = {name: list[float]() for name in rivals}, dict[str, float]()
    for name, rival in rivals.items():
        library = rival.encode([Image.open(p).convert("RGB") for p in paths])
        begun = time.perf_counter()
        first = rival.rank(library, rival.encode([one.image for one in queries]))
        seconds[name] = (time.perf_counter() - begun) / len(queries)
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
    row = "".join(f"{seconds[name]:>20.4f}" for name in rivals)
    print(f"{'s a query, in batches':<38}{row}")
    print(f"{'bytes a picture':<38}" + "".join(f"{one.bytes:>20}" for one in rivals.values()))


Embed = Callable[[Sequence[Image.Image]], np.ndarray]


def embed_in_batches(embed: Embed, images: Sequence[Image.Image]) -> np.ndarray:
    """Return the rows of all pictures, (n, dim)."""
    parts = [embed(images[i : i + BATCH]) for i in range(0, len(images), BATCH)]
    return np.concatenate(parts)


def open_networks(data: Path) -> dict[str, Rival]:
    """Return plain cosines under the teachers of `mini`."""
    import bench_models
    from networks import efficientnet, mobilenet

    def make_rival(embed: Embed, dim: int) -> Rival:
        return Rival(
            lambda images: embed_in_batches(embed, images),
            lambda library, queries: (queries @ library.T).argmax(1),
            HALF * dim,
        )

    return {
        "MobileNetV2": make_rival(bench_models.network(mobilenet(data), 224), 1280),
        "EfficientNet-Lite2": make_rival(bench_models.network(efficientnet(data), 260), 1280),
    }


def open_hashes() -> dict[str, Rival]:
    """Return PHash of imagededup, if it is installed."""
    try:
        from imagededup.methods import PHash
    except ImportError:
        print("imagededup is not installed: its PHash is left out", file=sys.stderr)
        return {}
    method = PHash()

    def encode(images: Sequence[Image.Image]) -> np.ndarray:
        codes = [int(method.encode_image(image_array=np.asarray(one)), 16) for one in images]
        return np.array([[code >> i & 1 for i in range(64)] for code in codes], np.int16)

    def rank(library: np.ndarray, queries: np.ndarray) -> np.ndarray:
        distances = queries.sum(1)[:, None] + library.sum(1)[None] - 2 * (queries @ library.T)
        return distances.argmin(1)

    return {"imagededup PHash": Rival(encode, rank, 8)}


if __name__ == "__main__":
    main()
