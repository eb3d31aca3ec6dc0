"""How a model is trained, as plain data: the recipe of each preset."""

from __future__ import annotations

import math
from dataclasses import dataclass

from diffusion.errors import ConfigError
from diffusion.training.ema import parse_decay

TAIL = 0.25  # of the steps, the last, over which the learning rate falls
WARMUP = 0.1  # of the steps, the most over which it rises


@dataclass(frozen=True)
class Recipe:
    """How a model is trained.

    batch: pictures a step, over all GPUs. lr: learning rate of AdamW. averages: moving averages of
    the weights, as `diffusion.training.ema.parse_decay` reads them; samples are drawn from the
    first. warmup: steps over which the learning rate rises, at most a tenth of the run. decay:
    weight decay. drop: share of pictures trained without their condition, drawn for each picture.
    flip: mirror half of the pictures. crop: train on random crops of pictures that are an eighth
    larger. augment: probability of each of the transformations of `diffusion.training.augment`.
    jitter: length of the noise that is added to a conditioning vector of unit length. clip: largest
    norm of the gradient.
    """

    batch: int
    lr: float
    averages: tuple[str, ...] = ("power:0.1", "power:0.05")
    warmup: int = 100
    decay: float = 0.01
    drop: float = 0.1
    flip: bool = True
    crop: bool = False
    augment: float = 0.0
    jitter: float = 0.0
    clip: float = 1.0

    def __post_init__(self) -> None:
        if self.batch < 1 or not 0 < self.lr < 1 or not 0 <= self.drop <= 1:
            raise ConfigError(
                f"batch {self.batch}, lr {self.lr}, drop {self.drop}: give at least 1, between 0 "
                "and 1, and from 0 to 1"
            )
        if not 0 <= self.augment <= 1:
            raise ConfigError(f"augment {self.augment}: give a probability from 0 to 1")
        if not self.averages:
            raise ConfigError("give at least one average, such as power:0.1")
        for kind in self.averages:
            parse_decay(kind)

    def rate(self, step: int, steps: int) -> float:
        """Learning rate of a step, from 0: it rises, stays, and falls to 0 over the tail. A longer
        run lengthens the part where it stays."""
        warmup = min(self.warmup, math.ceil(WARMUP * steps))
        rising = min(1.0, (step + 1) / warmup) if warmup else 1.0
        left = (steps - step) / max(1, steps - plateau(steps))
        return self.lr * rising * min(1.0, left)


def plateau(steps: int) -> int:
    """The step at which the tail begins."""
    return steps - math.ceil(TAIL * steps)


RECIPES = {
    "article": Recipe(batch=16, lr=3e-4, averages=("constant:0.995",), warmup=0, flip=False),
    "classic": Recipe(batch=16, lr=3e-4, averages=("constant:0.995",), warmup=0, flip=False),
    "tiny": Recipe(batch=32, lr=1e-3),
    "base": Recipe(batch=512, lr=1e-3, warmup=500),
    "photo": Recipe(batch=256, lr=1e-3, warmup=200, jitter=0.3),
    "photo-weak": Recipe(batch=256, lr=1e-3, warmup=200, jitter=0.3),
}
"""By preset. Models on latents get their flips and crops when the pictures are encoded."""
