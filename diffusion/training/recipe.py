"""How a model is trained, as plain data: the preset's ways, and what the user says."""

from __future__ import annotations

import math
from dataclasses import dataclass

from diffusion.errors import ConfigError

TAIL = 0.25  # of the steps, the last, over which the learning rate falls


@dataclass(frozen=True)
class Recipe:
    """batch: pictures a step, over all GPUs. lr: learning rate of AdamW. warmup: steps over which
    it rises. decay: weight decay. average: spelled as `diffusion.training.ema.decay` reads it.
    drop: share of pictures trained without their condition, each drawn on its own. flip: mirror
    half of them. clip: largest norm of the gradient."""

    batch: int
    lr: float
    average: str
    warmup: int = 100
    decay: float = 0.01
    drop: float = 0.1
    flip: bool = True
    clip: float = 1.0

    def __post_init__(self) -> None:
        if self.batch < 1 or not 0 < self.lr < 1 or not 0 <= self.drop <= 1:
            raise ConfigError(
                f"batch {self.batch}, lr {self.lr}, drop {self.drop}: give at least 1, between 0 "
                "and 1, and from 0 to 1"
            )

    def rate(self, step: int, steps: int) -> float:
        """Learning rate of a step, from 0: it rises, stays, and falls to 0 over the tail, so that a
        longer run only lengthens what stays."""
        rising = min(1.0, (step + 1) / self.warmup) if self.warmup else 1.0
        left = (steps - step) / max(1, steps - plateau(steps))
        return self.lr * rising * min(1.0, left)


def plateau(steps: int) -> int:
    """The step at which the tail begins."""
    return steps - math.ceil(TAIL * steps)


RECIPES = {
    "article": Recipe(batch=16, lr=3e-4, average="constant:0.995", warmup=0, flip=False),
    "tiny": Recipe(batch=32, lr=1e-3, average="power:0.1"),
    "base": Recipe(batch=512, lr=1e-3, average="power:0.1", warmup=500),
}
