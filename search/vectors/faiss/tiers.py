"""Which tier a library's index has, and when it is trained and saved again."""

from __future__ import annotations

from typing import Literal

Tier = Literal["flat", "ivf"]

IVF_MIN_COUNT = 30_000
"""Vectors from which on the clustered tier is trained; `scripts/bench border` measures it."""
SAVE_SHARE = 0.01
"""Share of the vectors that may change before a snapshot is written again. Opening replays them."""


def choose_tier(setting: str, tier: Tier, count: int, ivf_min_count: int = IVF_MIN_COUNT) -> Tier:
    """Return the tier for a library of `count` vectors whose index has `tier` now.

    setting: `auto`, `flat` or `ivf`. `auto` chooses IVF from `ivf_min_count` vectors on, and the
    exact tier below half of that, so that a library near the limit does not change back and forth.
    """
    if setting == "flat" or not count:
        return "flat"
    if setting == "ivf" or count >= ivf_min_count:
        return "ivf"
    return tier if 2 * count >= ivf_min_count else "flat"


def needs_retraining(tier: Tier, count: int, trained_count: int) -> bool:
    """Return whether an index has at least twice the vectors that its clusters were trained for."""
    return tier == "ivf" and count >= 2 * trained_count


def needs_saving(count: int, changes: int) -> bool:
    """Return whether a snapshot of `count` vectors is written again after so many `changes`."""
    return changes > SAVE_SHARE * count
