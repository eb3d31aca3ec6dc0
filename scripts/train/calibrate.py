"""Fit the calibrations that ship, and draw their reliability.

    scripts/bench copies --out pairs.jsonl
    .venv/bin/python scripts/train/calibrate.py pairs.jsonl [--kind cosine|verified]

Pairs of a query and a hit as `scripts/bench copies --out` writes them: of each attacked picture its
original and the best other hit, of each stranger the best hit. A first fit leaves out every second
picture, whose pairs give the expected calibration error and the plot; the fit that ships takes all
pairs. Strangers are repeated so that they weigh as much as attacked pictures: the probability holds
where a query is as likely a copy as a stranger.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

from search.embedders.mini import Mini
from search.querying.calibration import (
    FEATURES,
    SHIPPED,
    ScoredPair,
    calibration_error,
    fit,
    read_features,
)
from search.records.hits import Evidence

matplotlib.use("Agg")
from matplotlib import pyplot

PICTURES = Path(__file__).resolve().parents[1] / "pictures"
BINS = 10


def main() -> None:
    """Fit, print errors, write calibrations.json and the plot."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("--kind", choices=[*FEATURES], help="fit this one alone")
    options = parser.parse_args()
    entries = choose([json.loads(line) for line in options.pairs.read_text().splitlines()])
    shipped = json.loads(SHIPPED.read_text())
    fitted = shipped.setdefault(Mini().fingerprint, {})
    for name in [options.kind] if options.kind else FEATURES:
        names = FEATURES[name]
        pairs = [(one, pair) for one in entries if (pair := read_pair(name, one))]
        x = read_features(names, [pair for _, pair in pairs])
        is_copy = np.array([one["is_copy"] for one, _ in pairs])
        halves = np.array([one["half"] for one, _ in pairs])
        weights = balance([one for one, _ in pairs])
        train = np.repeat(halves == 0, weights)
        rows, truth = np.repeat(x, weights, 0), np.repeat(is_copy, weights)
        predicted = fit(names, rows[train], truth[train]).predict_all(rows[~train])
        error = calibration_error(predicted, truth[~train])
        right = ((predicted > 0.5) == truth[~train]).mean()
        print(f"{name:<10} {len(pairs)} pairs; kept out: error {error:.3f}, right {right:.3f}")
        fitted[name] = fit(names, rows, truth).to_json() | {"pairs": len(pairs)}
        figure, axes = pyplot.subplots(figsize=(4, 4), layout="constrained")
        draw(axes, name, predicted, truth[~train], error)
        figure.savefig(PICTURES / f"reliability_{name}.webp", dpi=110)
    SHIPPED.write_text(json.dumps(shipped, indent=1) + "\n")


def choose(entries: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return of each query its original and its best other hit, each with the half of its picture:
    0 or 1."""
    chosen, keys = [], set[tuple[int, bool]]()
    halves: dict[str, int] = {}
    for one in entries:
        key = one["query"], one["is_copy"]
        if key in keys:
            continue
        keys.add(key)
        picture = one["original"] if one["group"] != "stranger" else one["query"]
        chosen.append(one | {"half": halves.setdefault(picture, len(halves) % 2)})
    return chosen


def read_pair(kind: str, entry: dict[str, Any]) -> ScoredPair | None:
    """Return a pair; None if the kind of calibration does not apply to it."""
    if entry["low_content"] or entry["score"] is None:
        return None
    if kind == "cosine":
        return ScoredPair(entry["score"])
    return ScoredPair(entry["score"], Evidence(**entry["evidence"])) if entry["evidence"] else None


def balance(entries: Sequence[dict[str, Any]]) -> np.ndarray:
    """Return how often each pair counts: strangers as if they were as many as attacks."""
    is_stranger = np.array([one["group"] == "stranger" for one in entries])
    queries = np.array([one["query"] for one in entries])
    counts = [len(np.unique(queries[chosen])) for chosen in (~is_stranger, is_stranger)]
    return np.where(is_stranger, max(1, round(counts[0] / max(1, counts[1]))), 1)


def draw(axes: Any, name: str, predicted: np.ndarray, truth: np.ndarray, error: float) -> None:
    """Draw the share of copies over the predicted probability."""
    place = np.minimum((predicted * BINS).astype(int), BINS - 1)
    used = [i for i in range(BINS) if (place == i).any()]
    x = [predicted[place == i].mean() for i in used]
    y = [truth[place == i].mean() for i in used]
    sizes = [20 + 200 * (place == i).mean() for i in used]
    axes.plot([0, 1], [0, 1], color="#999999", linewidth=1)
    axes.scatter(x, y, s=sizes, color="#0b7a63")
    axes.set_title(f"by {name}: error {error:.3f}")
    axes.set_xlabel("probability")
    axes.set_ylabel("share of copies")


if __name__ == "__main__":
    main()
