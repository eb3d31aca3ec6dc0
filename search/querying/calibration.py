"""The probability that a hit is the query's picture, edited: what a score means under a model.

A cosine of .8 is a sure copy under one model and a stranger under another. A calibration is fitted
on pairs of pictures, edits of one another and strangers: a logistic regression of features of the
pair, then an isotonic regression of its output (Platt 1999; Zadrozny and Elkan 2002). Calibrations
of the shipped models are in calibrations.json. `lookalike calibrate` fits one for any other model,
on edits of the library's own pictures.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from search.catalog.reads import CatalogReader
from search.catalog.writes import Space
from search.records.hits import Evidence

SHIPPED = Path(__file__).with_name("calibrations.json")
RIDGE = 1e-3
"""Weight of the squared coefficients of standardized features: bounds them where the classes are
separable."""
STEPS = 50
COLOR_SCALE = 5.0
"""Distance of colors (CIEDE2000) that halves their closeness."""
OFFSET = 1e-3
"""Added to a distance before its logarithm is taken, since that of equal vectors is 0."""
Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Calibration:
    """A fitted map from features of a pair of pictures to the probability of a copy.

    features: their names, in the order of the weights. mean, scale: of each feature. weights, bias:
    of the logistic regression over standardized features. knots: its outputs (log odds), rising.
    values: the calibrated probability at each knot; linear between, constant outside. pairs: how
    many it was fitted on.
    """

    features: tuple[str, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    weights: tuple[float, ...]
    bias: float
    knots: tuple[float, ...]
    values: tuple[float, ...]
    pairs: int

    def predict(self, values: Mapping[str, float]) -> float:
        """Return the probability, 0 to 1, for the features of one pair by name."""
        x = np.array([[values[name] for name in self.features]])
        return float(self.predict_all(x)[0])

    def predict_all(self, x: Array) -> Array:
        """Return probabilities (n,) for rows of features (n, f), in the order of `features`."""
        standardized = (x - np.array(self.mean)) / np.array(self.scale)
        log_odds = standardized @ np.array(self.weights) + self.bias
        probabilities: Array = np.interp(log_odds, self.knots, self.values)
        return probabilities

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Calibration:
        """Read what `to_json` wrote."""
        values: dict[str, Any] = dict(fields)
        for name, value in fields.items():
            if isinstance(value, list):
                values[name] = tuple(value)
        return cls(**values)


def fit(features: Sequence[str], x: Array, is_copy: npt.NDArray[np.bool_]) -> Calibration:
    """Fit a calibration.

    features: names of the columns of x. x: (n, f). is_copy: (n,). Raises ValueError unless there
    are copies and others.
    """
    if not 0 < is_copy.sum() < len(is_copy):
        raise ValueError("a calibration needs pairs of both kinds: copies and others")
    mean, scale = x.mean(0), x.std(0)
    scale = np.where(scale > 0, scale, 1.0)
    z = np.column_stack([(x - mean) / scale, np.ones(len(x))])
    weights = _fit_logistic(z, is_copy.astype(np.float64))
    knots, values = fit_isotonic(z @ weights, is_copy.astype(np.float64))
    return Calibration(
        tuple(features),
        _round(mean),
        _round(scale),
        _round(weights[:-1]),
        round(float(weights[-1]), 6),
        _round(knots),
        _round(values),
        len(x),
    )


def _round(values: Array) -> tuple[float, ...]:
    return tuple(round(float(value), 6) for value in values)


def _fit_logistic(z: Array, y: Array) -> Array:
    """Return coefficients (f,) of a ridge logistic regression, by Newton's method."""
    weights = np.zeros(z.shape[1])
    penalty = RIDGE * len(y) * np.eye(z.shape[1])
    penalty[-1, -1] = 0.0  # the bias is free
    for _ in range(STEPS):
        p = 1 / (1 + np.exp(-np.clip(z @ weights, -30, 30)))
        gradient = z.T @ (p - y) + penalty @ weights
        hessian = (z * (p * (1 - p))[:, None]).T @ z + penalty + 1e-9 * np.eye(len(weights))
        step = np.linalg.solve(hessian, gradient)
        weights = weights - step
        if np.abs(step).max() < 1e-8:
            break
    return weights


def fit_isotonic(x: Array, y: Array) -> tuple[Array, Array]:
    """Return knots and values of a rising step-free function: pool adjacent violators.

    Each pooled block gives one knot, at its mean x, with the value (copies + 1) / (n + 2), so that
    no probability is 0 or 1 (rule of succession). Blocks have at least 1 % of the pairs.
    """
    order = np.argsort(x, kind="stable")
    least = max(1, len(x) // 100)
    blocks = list[list[float]]()  # sum of x, sum of y, count
    for begin in range(0, len(x), least):
        part = order[begin : begin + least]
        blocks.append([float(x[part].sum()), float(y[part].sum()), float(len(part))])
        while len(blocks) > 1 and _rate(blocks[-2]) >= _rate(blocks[-1]):
            last = blocks.pop()
            blocks[-1] = [a + b for a, b in zip(blocks[-1], last, strict=True)]
    knots = np.array([total / count for total, _, count in blocks])
    values = np.array([(hits + 1) / (count + 2) for _, hits, count in blocks])
    return knots, np.maximum.accumulate(values)


def _rate(block: Sequence[float]) -> float:
    return block[1] / block[2]


def calibration_error(probability: Array, is_copy: npt.NDArray[np.bool_], bins: int = 10) -> float:
    """Return the expected calibration error, 0 to 1, over bins of equal width (Naeini et al. 2015).

    probability, is_copy: (n,).
    """
    place = np.minimum((probability * bins).astype(int), bins - 1)
    error = 0.0
    for i in range(bins):
        inside = place == i
        if inside.any():
            error += abs(probability[inside].mean() - is_copy[inside].mean()) * inside.mean()
    return float(error)


def to_distance(cosine: float) -> float:
    """Return the logarithm of the distance 1 - cosine, which separates copies better than it."""
    return math.log(max(1.0 - cosine, 0.0) + OFFSET)


def find_least_cosine(calibration: Calibration, probability: float) -> float:
    """Return the least cosine that has at least a probability, by a calibration of cosines.

    probability: 0 to 1. Returns -1 where every cosine has it, and infinity where none has, as where
    cosines say nothing of copies: their probability does not rise with them.
    """
    values, knots = calibration.values, calibration.knots
    place = next((i for i, value in enumerate(values) if value >= probability), None)
    if place is None:
        return math.inf
    if place == 0:
        return -1.0
    (weight,), (scale,), (mean,) = calibration.weights, calibration.scale, calibration.mean
    if weight >= 0:  # of the distance
        return math.inf
    low, high = values[place - 1], values[place]
    share = (probability - low) / (high - low)
    log_odds = knots[place - 1] + share * (knots[place] - knots[place - 1])
    distance = mean + scale * (log_odds - calibration.bias) / weight
    return max(-1.0, 1.0 - (math.exp(distance) - OFFSET))


@dataclass(frozen=True)
class ScoredPair:
    """What a calibration reads of a hit. score: the cosine. evidence: None if the hit was not
    compared."""

    score: float
    evidence: Evidence | None = None


def _count_inliers(pair: ScoredPair) -> float:
    return math.log1p(pair.evidence.inliers) if pair.evidence else 0.0


def _read_agreement(pair: ScoredPair) -> float:
    return pair.evidence.agreement if pair.evidence else 0.0


def _read_overlap(pair: ScoredPair) -> float:
    return pair.evidence.overlap if pair.evidence else 0.0


def measure_closeness(distance: float) -> float:
    """Return how near colors are, 1 for equal ones down to 0. distance: CIEDE2000."""
    return 1 / (1 + distance / COLOR_SCALE)


def _read_closeness(pair: ScoredPair) -> float:
    distance = pair.evidence.color_distance if pair.evidence else None
    return 0.0 if distance is None else measure_closeness(distance)  # nothing overlaps


def _is_edited(pair: ScoredPair) -> float:
    return float(pair.evidence is not None and pair.evidence.verdict == "edited")


READERS: dict[str, Callable[[ScoredPair], float]] = {
    "distance": lambda one: to_distance(one.score),
    "inliers": _count_inliers,
    "agreement": _read_agreement,
    "overlap": _read_overlap,
    "color": _read_closeness,
    "edited": _is_edited,
}
"""Features of a pair by name."""
FEATURES: dict[str, tuple[str, ...]] = {"cosine": ("distance",), "verified": tuple(READERS)}
"""Calibrations by the evidence they need -> names of the features that a new one is fitted to."""


def read_features(names: Sequence[str], pairs: Sequence[ScoredPair]) -> Array:
    """Return features (n, f) of pairs, by names of `READERS`."""
    return np.array([[READERS[name](one) for name in names] for one in pairs], np.float64)


def estimate_probabilities(
    calibrations: Mapping[str, Calibration], pairs: Sequence[ScoredPair | None]
) -> list[float | None]:
    """Return the probability of a copy for each hit; None without a score or a calibration.

    Hits that were compared use the calibration `verified`, others `cosine`.
    """
    probabilities: list[float | None] = [None] * len(pairs)
    for kind, calibration in calibrations.items():
        chosen = [
            (i, one)
            for i, one in enumerate(pairs)
            if one is not None and (one.evidence is not None) == (kind == "verified")
        ]
        if chosen:
            x = read_features(calibration.features, [one for _, one in chosen])
            values = calibration.predict_all(x).tolist()
            for (i, _), value in zip(chosen, values, strict=True):
                probabilities[i] = round(value, 4)
    return probabilities


def load_calibrations(reader: CatalogReader, space: Space) -> dict[str, Calibration]:
    """Return the calibrations of a space, by the evidence they use: those fitted on this library,
    else those that ship; none for a model without."""
    stored = reader.calibration(space)
    if stored is None:
        return load_shipped().get(space.fingerprint, {})
    fitted = {name: Calibration.from_json(fields) for name, fields in stored.items()}
    # a newer version may have fitted one to features that are not known here
    return {name: one for name, one in fitted.items() if READERS.keys() >= set(one.features)}


@cache
def load_shipped() -> dict[str, dict[str, Calibration]]:
    """Return the shipped calibrations: by a model's fingerprint, then by the evidence they use."""
    stored = json.loads(SHIPPED.read_text())
    return {
        fingerprint: {name: Calibration.from_json(fields) for name, fields in one.items()}
        for fingerprint, one in stored.items()
    }
