"""Measure duplicates: which edits and which strangers count as copies, and time and memory by size.

    scripts/bench duplicates [FOLDER...] [--every 5] [--sample 100] [--seed 0]
    scripts/bench duplicates --size 100000 [--keep FOLDER] [--seed 0]

FOLDER has a folder for each class; the default are the photographs of ../shared/data, or the sample
pictures of the package. Every so many pictures of the first FOLDER are edited, and each edit is
compared with its original. Strangers are all pairs of different pictures, and pages of made text in
three layouts, which differ in their words alone. "cosine alone" is the share at a cosine at which
no more strangers pass than by the rule of `search.querying.copies`, or, if none pass, at the
highest cosine of strangers. Intervals are of 95 % (Wilson).

--size: libraries by the recipe of `scale_library`, with thumbnails that are links to those of the
sample pictures. The first listing compares all, in a process of its own; then 1,000 vectors change.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

sys.path.insert(1, str(Path(__file__).resolve().parents[1] / "train"))

from intervals import describe_share
from retrieval import HARD, PLAIN, cut, folder as open_folder, resaved
from scale_library import RECIPE, file_names, fill, make_vectors, picture_id

import search
from search import Engine
from search.catalog.writes import digest, pack
from search.embedders.mini import Mini
from search.media.colors import measure_distance, to_lab
from search.media.images import thumbnail
from search.querying.copies import likeness_of
from search.querying.difference import measure_difference, read_levels

SAMPLES = Path(search.__file__).parent / "samples"
DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
MILD: dict[str, Callable[[Image.Image, random.Random], Image.Image]] = {
    "JPEG q75": lambda p, r: resaved(p, 1, 75),
    "three quarters q60": lambda p, r: resaved(p, 0.75, 60),
    "crop 98 % centre": lambda p, r: cut(p, 0.98, 0.5, 0.5),
}
WORDS = (
    "the of and to in is you that it he was for on are as with his they at be this have from or "
    "one had by word but not what all were we when your can said there use an each which she do"
).split()
LIST = """
import json, sys, time
from search import Engine
start = time.perf_counter()
with Engine.open(home=sys.argv[1]) as engine:
    progress = list(engine.compare())
    compared, cpu = time.perf_counter(), time.process_time()
    listed = engine.duplicates()
    ended = time.perf_counter()
    engine.duplicates(page=2)
    paged = time.perf_counter()
    kinds = [one.kind for one in engine.iterate_duplicates()]
    counts = {kind: kinds.count(kind) for kind in ("exact", "copy", "similar")}
    lines = dict(line.split(":", 1) for line in open("/proc/self/status") if ":" in line)
    peak = int(lines["VmHWM"].split()[0]) * 1024
    report = progress[-1].report
    print(json.dumps([report.pictures, report.pairs, compared - start, ended - compared,
                      cpu, paged - ended, counts, peak]))
"""


class Likened:
    """Pictures as the rule compares them."""

    def __init__(self, mini: Mini, pictures: Iterable[Callable[[], Image.Image]]) -> None:
        vectors, grids, colors, ratios = [], [], [], []
        block: list[Image.Image] = []
        pictures = list(pictures)
        for place, load in enumerate(pictures):
            picture = load()
            grids.append(_draw_grid(picture))
            colors.append(np.asarray(picture.resize((48, 48))).reshape(-1, 3).mean(0))
            ratios.append(math.log(picture.width / picture.height))
            block.append(picture)
            if len(block) == 32 or place == len(pictures) - 1:
                vectors.append(mini.embed([mini.preprocessing(one) for one in block]))
                block = []
        self.vectors, self.grids = np.concatenate(vectors), np.stack(grids)
        self.labs, self.ratios = to_lab(np.stack(colors)), np.array(ratios)


def _draw_grid(picture: Image.Image) -> np.ndarray:
    """Return the grey levels of a picture, by way of a thumbnail as the library stores it."""
    return read_levels(thumbnail(picture))


def _draw_page(rng: random.Random, layout: str) -> Image.Image:
    """Draw a page of made text, dark or light, or of a chat."""
    back, ink = ("#111111", "white") if layout == "dark" else ("white", "black")
    page = Image.new("RGB", (540, 960), back)
    draw = ImageDraw.Draw(page)
    draw.rectangle((0, 0, 540, 70), fill="#075e54")
    for i in range(14 if layout == "chat" else 44):
        text = " ".join(rng.choices(WORDS, k=8 if layout == "chat" else 14))
        if layout == "chat":
            x, y = (20, 200)[i % 2], 90 + 62 * i
            draw.rounded_rectangle((x, y, x + 320, y + 50), 8, fill="#dcf8c6")
            draw.text((x + 8, y + 15), text, fill=ink)
        else:
            draw.text((30, 90 + 19 * i), text, fill=ink)
    return page


def _compare(one: Likened, i: np.ndarray, other: Likened, j: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return the cosines of pairs, and which of them are copies by the rule."""
    likeness = likeness_of("mini")
    scores = (one.vectors[i] * other.vectors[j]).sum(1)
    near = np.flatnonzero(scores >= likeness.copy)
    yes = np.zeros(len(scores), bool)
    for part in np.array_split(near, max(1, len(near) // 2000)):
        a, b = i[part], j[part]
        difference = measure_difference(one.grids[a], other.grids[b])
        far = measure_distance(one.labs[a], other.labs[b]) > likeness.color
        wide = np.abs(one.ratios[a] - other.ratios[b]) > math.log(likeness.ratio)
        yes[part] = (difference <= likeness.difference) & ~far & ~wide
    return scores, yes


def measure_rule(folders: Sequence[Path], every: int, most: int, seed: int) -> None:
    """Print which edits and which strangers count as copies."""
    mini = Mini()
    loads = [load for one in folders for load in open_folder(one)[0]]
    first = len(open_folder(folders[0])[0])
    base = Likened(mini, loads)
    i, j = np.triu_indices(len(loads), 1)
    scores, copies = [], 0
    for part in np.array_split(np.arange(len(i)), max(1, len(i) // 200_000)):
        some, yes = _compare(base, i[part], base, j[part])
        scores.append(some)
        copies += int(yes.sum())
    strangers = np.sort(np.concatenate(scores))[::-1]
    limit = float(strangers[copies])
    print(f"{len(loads)} pictures of {', '.join(one.name for one in folders)}; seed {seed}\n")
    print("| strangers | pairs | copies by the rule | cosine of .85 | .95 | .98 |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    _print_strangers("different pictures", strangers, copies)
    rng = random.Random(seed)
    for layout in ("light", "dark", "chat"):
        pages = Likened(mini, [lambda one=layout: _draw_page(rng, one)] * 60)
        i, j = np.triu_indices(60, 1)
        some, yes = _compare(pages, i, pages, j)
        _print_strangers(f"pages of text, {layout}", some, int(yes.sum()))
    queries = np.arange(0, first, every)[:most]
    print(f"\nn = {len(queries)} edits each; cosine alone: at least {limit:.3f}\n")
    print("| edit | copies by the rule | cosine alone | median cosine |")
    print("| --- | ---: | ---: | ---: |")
    for name, edit in {**MILD, **PLAIN, **HARD}.items():
        edits = [
            lambda q=q, edit=edit: edit(loads[q](), random.Random(seed + q))
            for q in queries.tolist()
        ]
        some, yes = _compare(Likened(mini, edits), np.arange(len(queries)), base, queries)
        counts = int(yes.sum()), int((some > limit).sum())
        shares = tuple(describe_share(count, len(yes)) for count in counts)
        print(f"| {name} | {shares[0]} | {shares[1]} | {np.median(some):.3f} |", flush=True)


def _print_strangers(name: str, scores: np.ndarray, copies: int) -> None:
    counts = " | ".join(str(int((scores >= least).sum())) for least in (0.85, 0.95, 0.98))
    print(f"| {name} | {len(scores)} | {copies} | {counts} |", flush=True)


def measure_size(size: int, place: Path, seed: int) -> None:
    """Print time and memory of a library of `size` pictures."""
    home = place / str(size) / "home"
    if not home.exists():
        start = time.perf_counter()
        fill(home, size, seed)
        _link_thumbnails(home, size)
        print(f"{size} pictures in {time.perf_counter() - start:.0f} s\n{RECIPE}\n")
    for file in (home / "index").glob("*.pairs"):
        file.unlink()
    print(
        "| run | pictures compared | pairs | comparing | CPU | list | next page | groups | peak |"
    )
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- | ---: |", flush=True)
    _print_run("first", home)
    _print_run("again", home)
    changed = make_vectors(1000, seed=seed + 1).astype(np.float32)
    with Engine.open(home=home) as engine:
        catalog = engine.library.catalog
        space = catalog.find_own_space()
        with catalog.database.write() as c:
            for row, vector in enumerate(changed, 1):
                data = pack(vector)
                values = (data, digest(data), space.id, row)
                c.exec_driver_sql(
                    "UPDATE vectors SET data = ?, digest = ? WHERE space = ? AND picture = ?",
                    values,
                )
            rows = [(space.id, row, "add", random.getrandbits(62)) for row in range(1, 1001)]
            c.exec_driver_sql(
                "INSERT INTO changes (space, picture, operation, stamp) VALUES (?, ?, ?, ?)", rows
            )
    _print_run("1,000 changed", home)


def _link_thumbnails(home: Path, size: int) -> None:
    """Give each picture a thumbnail: a link to that of one of the sample pictures."""
    with tempfile.TemporaryDirectory(dir=home.parent) as other:
        with Engine.open(home=other, ocr=False) as samples:
            samples.sync(SAMPLES)
            pages = samples.pictures(size=1000).pictures
            data = [samples.thumbnail(one.id) for one in pages]
    sources = home / "thumbnails" / "sources"
    sources.mkdir(parents=True, exist_ok=True)
    for number, one in enumerate(data):
        (sources / str(number)).write_bytes(one)
    with Engine.open(home=home) as engine:
        for number, name in enumerate(file_names(0, size)):
            path = Path(engine.library.thumbnails.place(picture_id(name)))
            path.parent.mkdir(parents=True, exist_ok=True)
            os.link(sources / str(number % len(data)), path)


def _print_run(name: str, home: Path) -> None:
    command = [sys.executable, "-c", LIST, str(home)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    pictures, pairs, compare, listing, cpu, page, counts, peak = json.loads(done.stdout)
    groups = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    figures = f"{compare:.1f} s | {cpu:.1f} s | {listing:.1f} s | {1000 * page:.0f} ms"
    print(
        f"| {name} | {pictures} | {pairs} | {figures} | {groups} | {peak / 1e6:.0f} MB |",
        flush=True,
    )


def main() -> None:
    """Print tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--every", type=int, default=5)
    parser.add_argument("--sample", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", type=int)
    parser.add_argument("--keep", type=Path)
    options = parser.parse_args()
    if options.size is None:
        names = ("photos-dev", "clothing/test", "clothing/train")
        usual = [DATA / name for name in names] if DATA.is_dir() else [SAMPLES]
        measure_rule(options.folders or usual, options.every, options.sample, options.seed)
        return
    place = options.keep or Path(tempfile.mkdtemp())
    try:
        measure_size(options.size, place, options.seed)
    finally:
        if options.keep is None:
            shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    main()
