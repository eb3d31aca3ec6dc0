"""What a model is, as plain data; and three that are known to be good."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from diffusion.errors import ConfigError
from diffusion.model.unet import Shape

TARGETS = ("eps", "x0", "v")
WEIGHTINGS = ("uniform", "min-snr-5")


@dataclass(frozen=True)
class Config:
    """A model without its weights.

    size: side of its square pictures in pixels. noise: `linear`, `cosine` (over `steps`) or `edm`.
    target: what the network predicts (`diffusion.model.denoiser`). sigma_data: standard deviation
    of the data that its input is scaled for; 1 keeps x_t as Ho et al. have it. weighting: of the
    loss over noise levels.
    """

    preset: str
    shape: Shape
    size: int = 64
    noise: str = "edm"
    steps: int = 1000
    target: str = "v"
    sigma_data: float = 0.5
    weighting: str = "uniform"

    def __post_init__(self) -> None:
        if self.size < 1 or self.size % self.shape.multiple:
            raise ConfigError(
                f"size {self.size}: the {self.preset} network takes multiples of "
                f"{self.shape.multiple} pixels"
            )
        known = self.target in TARGETS and self.weighting in WEIGHTINGS
        if not known or not 0 < self.sigma_data < math.inf:
            raise ConfigError(
                f"target {self.target!r}, weighting {self.weighting!r}, sigma_data "
                f"{self.sigma_data}: give one of {TARGETS}, one of {WEIGHTINGS}, and above 0"
            )

    def conditioned(self, kind: str, width: int) -> Config:
        """The same model under another condition: `none`, `class` or `vector`."""
        return replace(self, shape=replace(self.shape, condition=kind, width=width))

    def to_json(self) -> dict[str, Any]:
        """As `of` reads it."""
        return asdict(self)

    @classmethod
    def of(cls, said: dict[str, Any]) -> Config:
        """Raises ConfigError for anything but what `to_json` gives."""
        try:
            shape = dict(said["shape"])
            lists = {name: tuple(shape[name]) for name in ("channels", "attention")}
            if set(said) != {f.name for f in fields(cls)}:
                raise ValueError(f"its fields are {sorted(said)}")
            return cls(**{**said, "shape": Shape(**{**shape, **lists})})
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(f"the configuration of the model is not readable: {error}") from error


ARTICLE = Config(
    "article",
    Shape((64, 128, 256, 256), 2, (False, True, True, True), head=64, scale_shift=False),
    noise="linear",
    target="eps",
    sigma_data=1.0,
)
TINY = Config("tiny", Shape((32, 64, 160), 1, (False, True, True), patch=2))
BASE = Config("base", Shape((96, 160, 256), 2, (False, True, True), patch=2))

PRESETS = {config.preset: config for config in (ARTICLE, TINY, BASE)}


def preset(name: str) -> Config:
    """A preset by its name. Raises ConfigError that lists them."""
    try:
        return PRESETS[name]
    except KeyError:
        raise ConfigError(
            f"there is no preset {name!r}; give one of {', '.join(PRESETS)}"
        ) from None
