"""The options of a training, and the progress that it reports."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from diffusion.errors import ConfigError

PRECISIONS = ("auto", "fp32", "bf16")


@dataclass(frozen=True)
class Options:
    """What the user asks for. None leaves it to the preset, which is `tiny` or that of `start`.

    data: folders and zips of pictures; for models on latents also one folder that `lookalike
    diffusion encode` wrote. run: the run folder. minutes or steps: how long (default: 60 minutes).
    embeddings: a file of conditioning vectors. classes: condition on the folders' names. start: a
    checkpoint to start from, or `shipped`. size: side of the pictures in pixels. channels, blocks:
    of the network, as `Shape` has them. batch, lr, drop, flip, crop, augment: as `Recipe` has them.
    ema: averages of the weights, as `Recipe.averages`. validation: share of the pictures that are
    kept from training to measure the loss on. snapshots: how many are saved in the course of the
    run. guidance: of the pictures in the grids. precision: `auto`, `fp32` or `bf16`. accumulate:
    passes that share a batch. seed: of everything random. device: as `pick` has it. compiled: by
    torch.compile.
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
    channels: tuple[int, ...] | None = None
    blocks: int | None = None
    batch: int | None = None
    lr: float | None = None
    drop: float | None = None
    flip: bool | None = None
    crop: bool | None = None
    augment: float | None = None
    ema: tuple[str, ...] | None = None
    validation: float = 0.02
    snapshots: int = 8
    guidance: float = 1.0
    precision: str = "auto"
    accumulate: int = 1
    seed: int = 0
    device: str = "auto"
    compiled: bool | None = None

    def __post_init__(self) -> None:
        if self.minutes is not None and self.steps is not None:
            raise ConfigError("give minutes or steps, not both")
        counts = (number for number in (self.steps, self.size, self.blocks) if number is not None)
        if not (self.minutes is None or 0 < self.minutes < math.inf) or min(counts, default=1) < 1:
            raise ConfigError("give minutes above 0, and steps, size and blocks of at least 1")
        if not 0 <= self.seed < 2**64:
            raise ConfigError(f"seed {self.seed}: give a whole number of 64 bits, from 0")
        if self.classes and self.embeddings:
            raise ConfigError("a model has one condition: give classes or embeddings")
        if self.precision not in PRECISIONS or self.accumulate < 1:
            raise ConfigError(
                f"precision {self.precision!r}, accumulate {self.accumulate}: give one of "
                f"{', '.join(PRECISIONS)}, and at least 1"
            )
        if not 0 <= self.validation <= 0.5 or self.snapshots < 0:
            raise ConfigError(
                f"validation {self.validation}, snapshots {self.snapshots}: give a share from 0 to "
                "0.5, and a number from 0"
            )

    @property
    def budget(self) -> float | None:
        """Seconds of the whole run; None where its steps are given."""
        return None if self.steps else 60 * (self.minutes or 60.0)


@dataclass(frozen=True)
class Progress:
    """One report of a run. steps: None while the rate is being measured. loss: mean since the last
    report. validation: loss on pictures that are kept from training, when it was measured. rate:
    pictures a second. left: seconds. grid: a picture grid that was just written. message: a line
    for the user. finished: the run is over."""

    step: int
    steps: int | None
    loss: float | None = None
    validation: float | None = None
    rate: float | None = None
    left: float | None = None
    grid: Path | None = None
    message: str | None = None
    finished: bool = False
