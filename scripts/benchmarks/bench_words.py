"""Quality of queries of words: by the full text alone, by the model alone, and fused.

scripts/bench words [--data ../shared/data] [--pictures 25] [--model mini] [--seed 0]

The library has pictures of the validation part of photos64, of 50 classes that `--seed` chooses.
The queries are the first names of these classes, and the truth is the class. The names of the
files are of the kinds that people have: half are a camera's (IMG_0412.jpg in 2019/07), a fifth has
the class in a folder, a fifth in the file's name, and a tenth the name of another class. Printed
are the precision of the first ten and of the first 20 hits, and its mean over the queries with a
bootstrap interval of 95 %.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from unittest import mock

import numpy as np

from search import Engine
from search.querying.fusion import TextMatcher
from search.querying.words import split_phrases

QUERIES = 50
DEPTHS = (10, 20)


def name_file(random: np.random.Generator, names: Sequence[str], own: int, number: int) -> str:
    """Return the path of a picture of class `own`, of a kind that is drawn. names: of classes."""
    kind = random.choice(4, p=(0.5, 0.2, 0.2, 0.1))
    date = f"{random.integers(2009, 2025)}/{random.integers(1, 13):02d}"
    if kind == 0:
        return f"{date}/IMG_{number:05d}.jpg"
    if kind == 1:
        return f"{names[own]}/DSC{number:05d}.jpg"
    if kind == 2:
        return f"{date}/{names[own].replace(' ', '_')}-{number}.jpg"
    other = names[(own + int(random.integers(1, len(names)))) % len(names)]
    return f"{date}/{other}_{number}.jpg"


def write_pictures(
    data: Path, folder: Path, count: int, random: np.random.Generator
) -> tuple[list[str], dict[str, int]]:
    """Write pictures; return the names of the classes, and the class of each path."""
    classes = json.loads((data / "photos64-classes.json").read_text())
    chosen = sorted(random.permutation(sorted(classes))[:QUERIES])
    names = [classes[one].split(",")[0].casefold() for one in chosen]
    truth: dict[str, int] = {}
    with zipfile.ZipFile(data / "photos64-val.zip") as file:
        entries = sorted(one for one in file.namelist() if one.endswith(".jpg"))
        for own, one in enumerate(chosen):
            for entry in [e for e in entries if e.startswith(f"{one}/")][:count]:
                path = folder / name_file(random, names, own, len(truth))
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(file.read(entry))
                truth[str(path)] = own
    return names, truth


def describe(values: np.ndarray, random: np.random.Generator) -> str:
    """Return the mean of values with its bootstrap interval of 95 %."""
    draws = values[random.integers(0, len(values), (2000, len(values)))].mean(1)
    low, high = np.percentile(draws, (2.5, 97.5))
    return f"{values.mean():.3f} [{low:.3f}, {high:.3f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--pictures", type=int, default=25, help="of each class")
    parser.add_argument("--model", default="mini")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    random = np.random.default_rng(args.seed)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "pictures"
        names, truth = write_pictures(args.data, folder, args.pictures, random)
        with Engine.open(home=f"{place}/home", model=args.model) as engine:
            engine.sync(folder)
            measure(engine, names, truth, random, args.seed)


def measure(
    engine: Engine,
    names: Sequence[str],
    truth: dict[str, int],
    random: np.random.Generator,
    seed: int,
) -> None:
    """Print the table of one library."""
    matcher, reader = TextMatcher(engine.library.reader), engine.library.reader

    def by_full_text(name: str) -> list[str]:
        row_ids = matcher.find(split_phrases(name), DEPTHS[-1]).tolist()
        described = reader.describe(row_ids)
        return [described[row_id].paths[0] for row_id in row_ids]

    def fused(name: str) -> list[str]:
        return [hit.path for hit in engine.search(text=name, k=DEPTHS[-1])]

    def by_model(name: str) -> list[str]:
        with (
            mock.patch.object(TextMatcher, "match", return_value=[]),
            mock.patch.object(TextMatcher, "find", return_value=np.empty(0, np.int64)),
        ):
            return fused(name)

    arms: dict[str, Callable[[str], list[str]]] = {
        "full text alone": by_full_text,
        f"{engine.status().model} alone": by_model,
        "fused": fused,
    }
    print(f"{len(truth)} pictures, {len(names)} queries, seed {seed}, 95 % intervals")
    print(f"{'':24}" + "".join(f"{f'precision@{k}':>26}" for k in DEPTHS))
    for arm, find in arms.items():
        right = [[truth[path] == own for path in find(name)] for own, name in enumerate(names)]
        cells = [describe(np.array([sum(row[:k]) / k for row in right]), random) for k in DEPTHS]
        print(f"{arm:24}" + "".join(f"{cell:>26}" for cell in cells))


if __name__ == "__main__":
    main()
