"""What a user says of a training, and what is told of it while it goes on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from diffusion.errors import ConfigError


@dataclass(frozen=True)
class Options:
    """What the user says; None leaves it to the preset, which is `tiny` or that of `start`.

    data: folders and zips. run: the run folder. minutes or steps: how long (default: 60 minutes).
    embeddings: a file of conditioning vectors. classes: condition on the folders' names. start: a
    checkpoint to start from, or `shipped`. The others as in `Recipe`, `Config` and `pick`.
    """

    data: tuple[str, ...]
    run: str
    preset: str | None = None
    minutes: float | None = None
    steps: int | None = None
    embeddings: str | None = None
    classes: bool = False
    start: str | None = None
    size: int | None = None
    batch: int | None = None
    lr: float | None = None
    drop: float | None = None
    seed: int = 0
    device: str = "auto"
    compiled: bool | None = None

    def __post_init__(self) -> None:
        if self.minutes is not None and self.steps is not None:
            raise ConfigError("give minutes or steps, not both")
        counts = (number for number in (self.steps, self.size) if number is not None)
        if not (self.minutes is None or 0 < self.minutes < math.inf) or min(counts, default=1) < 1:
            raise ConfigError("minutes is above 0, and steps and size at least 1")
        if not 0 <= self.seed < 2**64:
            raise ConfigError(f"a seed has 64 bits: give one from 0 on, not {self.seed}")
        if self.classes and self.embeddings:
            raise ConfigError("a model has one condition: give classes or embeddings")

    @property
    def budget(self) -> float | None:
        """Seconds of the whole run; None where its steps are given."""
        return None if self.steps else 60 * (self.minutes or 60.0)


@dataclass(frozen=True)
class Progress:
    """One look at a run. steps: None while the rate is being measured. loss: mean since the last
    look. rate: pictures a second. left: seconds. grid: a picture grid that was just written.
    said: a line for the user. finished: the run is over."""

    step: int
    steps: int | None
    loss: float | None = None
    rate: float | None = None
    left: float | None = None
    grid: Path | None = None
    said: str | None = None
    finished: bool = False
