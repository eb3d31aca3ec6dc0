"""Measure where answers end: how often the pictures before the page's divider are of the query's
class, and how many of the class are before it.

    scripts/bench cutoff [FOLDER] [--words] [--photos DATA --classes 40 --seed 0]

FOLDER has a folder for each class; the default are the sample pictures of the package. Each picture
is a query; the picture itself is left out of its answer. The rule is that of `find_cutoff` in
search/records/likeness.py, which the page has too: the largest relative drop among the first
scores. Beside it stand rules with a fixed score. An answer in which no drop stands out has no
divider, and counts only in the first column. Errors are standard errors over the queries.

With --words, the queries are the names of the folders that are a known word of the model, and the
files have other names, so that the full text finds none of them. Their scores are probabilities
that the model sees the word. With --photos, FOLDER is made of the validation part of photos64 in
DATA: all pictures of so many classes, drawn by the seed.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import shutil
import statistics
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import search
from search import Engine
from search.records.likeness import find_cutoff

SAMPLES = Path(search.__file__).parent / "samples"
FIXED = (0.6, 0.7, 0.8)
FIXED_WORDS = (0.1, 0.2, 0.3, 0.5)

Rule = Callable[[Sequence[float]], int | None]


def main() -> None:
    """Print a table of the rules."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=SAMPLES)
    parser.add_argument("--model", default=None)
    parser.add_argument("--words", action="store_true")
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--classes", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        Engine.open(Path(folder) / "home", model=options.model) as engine,
    ):
        if options.photos:
            options.folder = Path(folder) / "photos"
            _write_photos(options.photos, options.folder, options.classes, options.seed)
        if options.words:
            answers = _collect_word_answers(engine, options.folder, Path(folder) / "pictures")
        else:
            engine.sync(options.folder)
            answers = _collect_answers(engine)
    print(f"{len(answers)} queries, model {options.model or 'mini'}\n")
    print("| rule | with an end | pictures before it | of the query's class | of the class |")
    print("| --- | ---: | ---: | ---: | ---: |")
    rules: dict[str, Rule] = {"largest relative drop": find_cutoff}
    for score in FIXED_WORDS if options.words else FIXED:
        rules[f"score at least {score:g}"] = lambda scores, least=score: sum(  # type: ignore[misc]
            one >= least for one in scores
        )
    for name, rule in rules.items():
        print(f"| {name} | {' | '.join(_measure(rule, answers))} |")


def _write_photos(data: Path, folder: Path, count: int, seed: int) -> None:
    """Write the pictures of classes, in a folder for each, which has the class's first name."""
    names = json.loads((data / "photos64-classes.json").read_text())
    with zipfile.ZipFile(data / "photos64-val.zip") as file:
        entries = sorted(one for one in file.namelist() if one.endswith(".jpg"))
        classes = sorted({one.partition("/")[0] for one in entries})
        chosen = set(random.Random(seed).sample(classes, count))
        for entry in entries:
            own, _, name = entry.partition("/")
            if own in chosen:
                path = folder / names[own].split(",")[0].casefold().replace("/", " ") / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(file.read(entry))


def _collect_answers(engine: Engine) -> list[tuple[list[float], list[bool]]]:
    """Return scores of the hits of each picture, and whether each hit is of its class."""
    pages = range(1, engine.pictures().pages + 1)
    pictures = [picture for page in pages for picture in engine.pictures(page).pictures]
    answers = []
    for picture in pictures:
        name = Path(picture.path).parent.name
        hits = engine.search(image=f"id:{picture.id}", k=min(len(pictures), 10_000))
        others = [hit for hit in hits if hit.id != picture.id]
        is_same = [Path(hit.path).parent.name == name for hit in others]
        answers.append(([hit.score for hit in others], is_same))
    return answers


def _collect_word_answers(
    engine: Engine, folder: Path, copies: Path
) -> list[tuple[list[float], list[bool]]]:
    """Return the same as `_collect_answers` of the folders' names. copies: a folder to make."""
    copies.mkdir()
    classes = {}
    for number, path in enumerate(sorted(one for one in folder.rglob("*.*") if one.is_file())):
        classes[f"IMG_{number:06d}{path.suffix}"] = path.parent.name
        shutil.copy(path, copies / f"IMG_{number:06d}{path.suffix}")
    total = engine.sync(copies).pictures
    answers = []
    for name in sorted(set(classes.values())):
        hits = engine.search(text=name, k=min(total, 10_000))
        (text,) = hits.understood
        if len(text.words) != 1 or text.names or text.labels or text.unknown:
            continue
        is_same = [classes[Path(hit.path).name] == name for hit in hits]
        answers.append(([hit.score for hit in hits], is_same))
    return answers


def _measure(rule: Rule, answers: Sequence[tuple[list[float], list[bool]]]) -> list[str]:
    """Return the share of answers with an end; and over these, with standard errors, the mean
    count, precision and recall of a rule."""
    counts, precisions, recalls = [], [], []
    for scores, is_same in answers:
        if (count := rule(scores)) is None:
            continue
        counts.append(float(count))
        if count:
            precisions.append(sum(is_same[:count]) / count)
        if any(is_same):
            recalls.append(sum(is_same[:count]) / sum(is_same))
    share = f"{len(counts) / len(answers):.0%}"
    return [share, *(_describe(values) for values in (counts, precisions, recalls))]


def _describe(values: Sequence[float]) -> str:
    if len(values) < 2:
        return "-"
    error = statistics.stdev(values) / math.sqrt(len(values))
    return f"{statistics.fmean(values):.2f} ± {error:.2f}"


if __name__ == "__main__":
    main()
