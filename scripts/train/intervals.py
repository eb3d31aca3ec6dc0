"""Confidence intervals of shares, for trainings and benchmarks."""

from __future__ import annotations

import math

Z = 1.96
"""Quantile of the normal distribution for an interval of 95 %."""


def compute_interval(count: int, n: int) -> tuple[float, float]:
    """Return the 95 % interval of a share, `count` of `n` (Wilson, 1927)."""
    share = count / n
    middle = (share + Z * Z / (2 * n)) / (1 + Z * Z / n)
    half = Z * math.sqrt(share * (1 - share) / n + (Z / (2 * n)) ** 2) / (1 + Z * Z / n)
    return max(0.0, middle - half), min(1.0, middle + half)


def describe_share(count: int, n: int) -> str:
    """Return a share with its interval, such as `0.950 [0.888, 0.978]`."""
    low, high = compute_interval(count, n)
    return f"{count / n:.3f} [{low:.3f}, {high:.3f}]"
