"""Measure whether turned and mirrored queries pay in the vector index.

    scripts/bench turns [--data ../shared/data] [--queries 100] [--seed 0]
                        [--only attacks|strangers]

The library and the attacks are those of `scripts/bench copies`: photos-dev and clothing (test,
train), 2,406 pictures, compared by cosines under `mini` alone, without verification. A query has 1
vector; 2, with its mirror image; 4, with its quarter turns; or 8, with both. A picture of the
library counts by its best cosine.

Printed are, for each attack and number of vectors, with 95 % intervals (Wilson): recall@1; how many
queries the further vectors gain and lose at rank 1; recall at 20, the candidates by vector that a
verified search checks; and how often another picture has a cosine that the calibration takes for a
copy. Of strangers (see bench_copies.py; 4 for each query), only the last. Then the time of a query,
decoded.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from bench_copies import embed_in_batches, list_pictures, load_strangers
from copy_attacks import list_attacks
from intervals import describe_share
from PIL import Image, ImageOps

from search.embedders.mini import Mini
from search.querying.calibration import find_least_cosine, load_shipped

ATTACKS = ("flip sideways", "flip upside down", "rotate 90", "crop 10 %", "three plain in a row")
CANDIDATES = 20
LIKELY = 0.5
"""Probability from which a hit counts as taken for a copy."""
VIEWS = {1: (0,), 2: (0, 4), 4: (0, 1, 2, 3), 8: tuple(range(8))}
"""Numbers of vectors -> the views of `list_views` that they are of."""


def list_views(picture: Image.Image) -> list[Image.Image]:
    """Return the four quarter turns of a picture, then those of its mirror image."""
    turns = (Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_180, Image.Transpose.ROTATE_270)
    return [
        view
        for one in (picture, ImageOps.mirror(picture))
        for view in (one, *(one.transpose(turn) for turn in turns))
    ]


def embed(mini: Mini, pictures: Sequence[Image.Image]) -> np.ndarray:
    """Return unit vectors, (n, dim)."""
    return embed_in_batches(
        lambda some: mini.embed([mini.preprocessing(p) for p in some]), pictures
    )


def compare(mini: Mini, pictures: Sequence[Image.Image], library: np.ndarray) -> np.ndarray:
    """Return the cosines of each view of each picture with the library, (n, 8, m)."""
    rows = [embed(mini, list_views(one)) @ library.T for one in pictures]
    return np.stack(rows)


def take_best(cosines: np.ndarray, count: int) -> np.ndarray:
    """Return the best cosine of `count` views with each picture of the library, (n, m)."""
    best: np.ndarray = cosines[:, VIEWS[count]].max(1)
    return best


def report(name: str, cosines: np.ndarray, places: np.ndarray, least: float) -> None:
    """Print the rows of one attack. places: (n,) of the originals. least: cosine of a copy."""
    n = len(places)
    single = take_best(cosines, 1).argmax(1) == places
    for count in VIEWS:
        best = take_best(cosines, count)
        own = best[np.arange(n), places]
        rank = (best > own[:, None]).sum(1)
        others = best.copy()
        others[np.arange(n), places] = -1
        wrong = int((others.max(1) >= least).sum())
        first = rank == 0
        gained, lost = int((first & ~single).sum()), int((single & ~first).sum())
        print(
            f"| {name} | {count} | {describe_share(int(first.sum()), n)} | +{gained} -{lost} | "
            f"{describe_share(int((rank < CANDIDATES).sum()), n)} | {describe_share(wrong, n)} |",
            flush=True,
        )


def report_strangers(cosines: np.ndarray, least: float) -> None:
    """Print the rows of pictures that the library does not hold."""
    for count in VIEWS:
        best = take_best(cosines, count).max(1)
        wrong = describe_share(int((best >= least).sum()), len(best))
        print(
            f"| strangers, median of the best {np.median(best):.3f} | {count} | | | | {wrong} |",
            flush=True,
        )


def time_query(mini: Mini, picture: Image.Image, library: np.ndarray, count: int) -> float:
    """Return the median seconds of a query of `count` vectors, of 20."""
    seconds = []
    for _ in range(20):
        begun = time.perf_counter()
        views = list_views(picture) if count > 1 else [picture]
        (embed(mini, [views[i] for i in VIEWS[count]]) @ library.T).max(0).argmax()
        seconds.append(time.perf_counter() - begun)
    return float(np.median(seconds))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    root = Path(__file__).resolve().parents[2]
    parser.add_argument("--data", type=Path, default=root.parent / "shared" / "data")
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=["attacks", "strangers"])
    options = parser.parse_args()
    mini = Mini()
    least = find_least_cosine(load_shipped()[mini.fingerprint]["cosine"], LIKELY)
    dev, clothes = list_pictures(options.data)
    paths = [*dev, *clothes]
    library = embed(mini, [Image.open(path).convert("RGB") for path in paths])
    originals = dev[::5][:: max(1, len(dev[::5]) // options.queries)][: options.queries]
    places = np.array([paths.index(path) for path in originals])
    print(f"{len(paths)} pictures, {len(originals)} queries an attack, seed {options.seed}")
    print(f"a cosine of a copy: {least:.3f} or more, where the probability is {LIKELY}\n")
    print("| query | vectors | R@1 | gained, lost | R@20 | another as near as a copy |")
    print("| --- | --- | --- | --- | --- | --- |")
    attacks = {name: one for some in list_attacks().values() for name, one in some.items()}
    for name in ATTACKS if options.only != "strangers" else ():
        edited = [
            attacks[name](
                Image.open(p).convert("RGB"), random.Random(f"{options.seed} {name} {i}"), ()
            )
            for i, p in enumerate(originals)
        ]
        report(name, compare(mini, edited, library), places, least)
    if options.only == "attacks":
        return
    strangers = load_strangers(options.data, 4 * options.queries, options.seed)
    report_strangers(compare(mini, strangers, library), least)
    for count in VIEWS:
        seconds = time_query(mini, strangers[0], library, count)
        print(f"a query of {count} vectors: {1000 * seconds:.0f} ms")


if __name__ == "__main__":
    main()
