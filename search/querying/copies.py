"""Whether two pictures are copies: the same picture, edited. Decided by what is stored of them.

`are_copies` is the only place that decides it, for groups of duplicates and for folded hits.
`scripts/bench duplicates` measures its thresholds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from search.catalog.traits import Traits
from search.media.colors import measure_distance, to_lab
from search.types import Vectors
from search.vectors.pairs import FLOOR

Mask = npt.NDArray[np.bool_]
BURST_SECONDS = 3.0
"""Time between two photographs of a burst at most."""


@dataclass(frozen=True)
class Likeness:
    """What counts as alike under a model.

    copy, similar: least cosines of copies and of pictures that are much alike. difference: how far
    copies differ at most (`difference.ThumbnailComparer`). ratio: how many times their aspect
    ratios differ at most. color: how far apart their mean colors are at most (CIEDE2000).
    """

    copy: float
    similar: float
    difference: float = 0.42
    ratio: float = 1.25
    color: float = 20.0


MEASURED: Mapping[str, Likeness] = MappingProxyType({"mini": Likeness(FLOOR, 0.93)})
"""Name of a model -> thresholds, as measured."""
OTHERS = Likeness(FLOOR, 0.95)
"""Of other models. It was not measured."""


def likeness_of(model: str) -> Likeness:
    """Return the thresholds of a model, by its name."""
    return MEASURED.get(model, OTHERS)


def are_copies(
    scores: Vectors, differences: Vectors, left: Traits, right: Traits, likeness: Likeness
) -> Mask:
    """Return which pairs are copies, (n,).

    scores: (n,) cosines. differences: (n,) of their thumbnails; NaN if they are not known, so that
    nothing shows that they are copies. left, right: the pictures of each pair. Blank pictures never
    are: all of them have much the same vector. Two photographs of a burst are not, however alike.
    """
    ratio = np.abs(
        np.log(np.maximum(left.width, 1) / np.maximum(left.height, 1))
        - np.log(np.maximum(right.width, 1) / np.maximum(right.height, 1))
    )
    far = measure_distance(to_lab(left.colors), to_lab(right.colors)) > likeness.color
    blank = left.low_content | right.low_content
    near = (scores >= likeness.copy) & (differences <= likeness.difference)
    near &= (ratio <= np.log(likeness.ratio)) & ~far & ~blank
    copies: Mask = near & ~were_taken_apart(left, right)
    return copies


def were_taken_apart(left: Traits, right: Traits) -> Mask:
    """Return which pairs are two photographs of one camera, by the time at which they were taken,
    or by numbered names of files of the same second and size."""
    known = (left.camera >= 0) & (left.camera == right.camera)
    known &= ~np.isnan(left.time) & ~np.isnan(right.time)
    whole = np.floor(left.time) != np.floor(right.time)
    both_exact = left.is_exact & right.is_exact
    apart: Mask = known & (whole | (both_exact & (left.time != right.time)))
    open_ = np.flatnonzero(known & ~apart & ~both_exact)
    same_size = (left.width == right.width) & (left.height == right.height)
    for i in open_[same_size[open_]].tolist():
        apart[i] = _are_numbered(left.stem[i], right.stem[i])
    return apart


def are_bursts(left: Traits, right: Traits) -> Mask:
    """Return which pairs are photographs that one camera took within `BURST_SECONDS`."""
    near: Mask = np.abs(left.time - right.time) <= BURST_SECONDS
    return near & were_taken_apart(left, right)


def _are_numbered(one: str, other: str) -> bool:
    """Whether two names differ in a number at their end alone, as a camera counts on."""
    starts, numbers = zip(*(_split_number(name) for name in (one, other)), strict=True)
    return bool(starts[0] == starts[1] and all(numbers) and numbers[0] != numbers[1])


def _split_number(name: str) -> tuple[str, str]:
    start = name.rstrip("0123456789")
    return start, name[len(start) :]
