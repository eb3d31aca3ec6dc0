"""What a picture of a query suffers from, and what was done about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from PIL.Image import Image

Action = Literal["brighten", "denoise", "paint"]
"""What a restoration can do, in this order."""


@dataclass(frozen=True)
class Degradation:
    """A blind estimate of what a picture suffers from.

    noise: standard deviation of white noise, 0 to 255. blur: from 0 (sharp) to 1, as Crete-Roffet
    et al. 2007 measure it. light: 99th percentile of the brightness, 0 (black) to 255. short:
    pixels of the short side. jpeg: how much stronger the steps at the borders of 8 x 8 blocks are
    than those beside them, from 1 (none).
    """

    noise: float
    blur: float
    light: float
    short: int
    jpeg: float

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON, rounded."""
        return {
            "noise": round(self.noise, 2),
            "blur": round(self.blur, 3),
            "light": round(self.light, 1),
            "short": self.short,
            "jpeg": round(self.jpeg, 3),
        }


@dataclass(frozen=True)
class Restoration:
    """What was estimated of a picture of a query, and what was done.

    term: place of the picture among the terms of the query, from 0. degradation: the estimate.
    applied: what was done, in order; empty if the picture was left as it is. gain: factor of the
    brightness, 1 without `brighten`.
    """

    term: int
    degradation: Degradation
    applied: tuple[Action, ...] = ()
    gain: float = 1.0

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON, as a part of the query of an answer."""
        return {
            "term": self.term,
            **self.degradation.to_json(),
            "gain": round(self.gain, 3),
            "applied": list(self.applied),
        }


@dataclass(frozen=True)
class RestoredPicture:
    """A restored picture, or the one that was given if nothing was applied.

    size: width and height of the upright picture that it was made of, in pixels, before a crop and
    scaling: those of a mask. can_paint: whether masked parts can be painted, as the weights of the
    model that paints can be read.
    """

    picture: Image
    restoration: Restoration
    size: tuple[int, int]
    can_paint: bool
