"""The probability that a hit is the query's picture, edited."""

from __future__ import annotations

import json

import numpy as np
import pytest

from search.querying.calibration import (
    FEATURES,
    Calibration,
    ScoredPair,
    calibration_error,
    estimate_probabilities,
    fit,
    fit_isotonic,
    read_features,
    to_distance,
)
from search.records.hits import Evidence


def draw_pairs(n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return features (n, 2), whether each pair is a copy, and the true probabilities."""
    generator = np.random.default_rng(seed)
    x = generator.normal(0, 1, (n, 2)) * [2.0, 30.0] + [5.0, -10.0]
    truth = 1 / (1 + np.exp(-(1.5 * (x[:, 0] - 5) - 0.05 * (x[:, 1] + 10) - 0.5)))
    return x, generator.random(n) < truth, truth


def test_probabilities_are_right_on_other_pairs() -> None:
    x, is_copy, _ = draw_pairs(4000, 0)
    calibration = fit(["a", "b"], x, is_copy)
    others, are_copies, truth = draw_pairs(4000, 1)
    predicted = calibration.predict_all(others)
    assert calibration_error(predicted, are_copies) < 0.03
    assert np.abs(predicted - truth).mean() < 0.05
    assert 0 < predicted.min() and predicted.max() < 1
    assert calibration.pairs == 4000


def test_a_calibration_is_stored_as_json() -> None:
    x, is_copy, _ = draw_pairs(500, 2)
    calibration = fit(["a", "b"], x, is_copy)
    again = Calibration.from_json(calibration.to_json())
    assert again == calibration
    one = calibration.predict({"b": x[0, 1], "a": x[0, 0]})
    assert one == pytest.approx(float(calibration.predict_all(x[:1])[0]))


@pytest.mark.parametrize("value", [True, False])
def test_one_kind_of_pairs_is_not_enough(value: bool) -> None:
    with pytest.raises(ValueError, match="both kinds"):
        fit(["a"], np.zeros((10, 1)), np.full(10, value))


def test_a_calibration_reads_the_features_that_it_was_fitted_to() -> None:
    """Libraries have stored ones of fewer features."""
    rng = np.random.default_rng(0)
    pairs, is_copy = list[ScoredPair](), rng.random(400) < 0.5
    for copy in is_copy.tolist():
        shown = Evidence(
            "edited" if copy else "alike", int(40 * copy), agreement=0.9 * copy, query_overlap=copy
        )
        pairs.append(ScoredPair(float(rng.normal(0.6 + 0.2 * copy, 0.1)), shown))
    for names in (("distance", "inliers", "agreement", "edited"), FEATURES["verified"]):
        fitted = fit(names, read_features(names, pairs), is_copy)
        stored = Calibration.from_json(json.loads(json.dumps(fitted.to_json())))
        estimated = np.array(estimate_probabilities({"verified": stored}, pairs), float)
        assert stored.features == names and ((estimated > 0.5) == is_copy).all()


def test_separable_pairs_and_constant_features_have_bounded_weights() -> None:
    x = np.column_stack([np.r_[np.zeros(50), np.ones(50)], np.full(100, 7.0)])
    calibration = fit(["a", "constant"], x, np.r_[np.zeros(50), np.ones(50)] > 0)
    assert all(abs(weight) < 100 for weight in calibration.weights)
    low, high = calibration.predict_all(np.array([[0.0, 7.0], [1.0, 7.0]]))
    assert low < 0.05 and high > 0.95


def test_isotonic_values_rise() -> None:
    generator = np.random.default_rng(3)
    x = generator.random(1000)
    knots, values = fit_isotonic(x, (generator.random(1000) < x).astype(float))
    assert (np.diff(knots) > 0).all() and (np.diff(values) >= 0).all()
    assert np.abs(np.interp(0.5, knots, values) - 0.5) < 0.1


def test_calibration_error_in_closed_form() -> None:
    right = np.array([True, False, True, True])
    assert calibration_error(np.array([0.95, 0.05, 0.95, 0.95]), right) == pytest.approx(0.05)
    assert calibration_error(np.full(4, 0.25), right) == pytest.approx(0.5)


def test_the_distance_falls_with_the_cosine() -> None:
    values = [to_distance(cosine) for cosine in (-1.0, 0.0, 0.5, 0.99, 1.0, 1.0000001)]
    assert values == sorted(values, reverse=True) and np.isfinite(values).all()
