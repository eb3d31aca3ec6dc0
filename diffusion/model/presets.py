"""What a model is, as plain data; and the presets."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from diffusion.errors import ConfigError
from diffusion.model.autoencoder import CHANNELS, DOWN
from diffusion.model.unet import Shape

TARGETS = ("eps", "x0", "v")
WEIGHTINGS = ("uniform", "min-snr-5")


@dataclass(frozen=True)
class LatentSpace:
    """The latents that a model denoises instead of pixels.

    autoencoder: its fingerprint. mean, std: of the latents of the training pictures, per channel;
    the model sees (z - mean) / std.
    """

    autoencoder: str
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.mean) != CHANNELS or len(self.std) != CHANNELS or min(self.std) <= 0:
            raise ConfigError(f"a latent space has {CHANNELS} means and deviations above 0")


@dataclass(frozen=True)
class Config:
    """A model without its weights.

    size: side of its square pictures in pixels. noise: `linear`, `cosine` (over `steps`) or `edm`.
    target: what the network predicts (`diffusion.model.denoiser`). sigma_data: standard deviation
    of the data that its input is scaled for; 1 keeps x_t as Ho et al. have it. weighting: of the
    loss over noise levels. latents: the space of a model on latents; None for one on pixels.
    """

    preset: str
    shape: Shape
    size: int = 64
    noise: str = "edm"
    steps: int = 1000
    target: str = "v"
    sigma_data: float = 0.5
    weighting: str = "uniform"
    latents: LatentSpace | None = None

    def __post_init__(self) -> None:
        if self.size < 1 or self.size % self.multiple:
            raise ConfigError(
                f"size {self.size}: the {self.preset} network takes multiples of "
                f"{self.multiple} pixels"
            )
        known = self.target in TARGETS and self.weighting in WEIGHTINGS
        if not known or not 0 < self.sigma_data < math.inf:
            raise ConfigError(
                f"target {self.target!r}, weighting {self.weighting!r}, sigma_data "
                f"{self.sigma_data}: give one of {TARGETS}, one of {WEIGHTINGS}, and above 0"
            )

    @property
    def space(self) -> str:
        """`pixels` or `latent`."""
        return "latent" if self.shape.inputs == CHANNELS else "pixels"

    @property
    def multiple(self) -> int:
        """Height and width of a picture are multiples of so many pixels."""
        return self.shape.multiple * (DOWN if self.space == "latent" else 1)

    @property
    def sample_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of what the network denoises for a picture of `size`."""
        side = self.size // DOWN if self.space == "latent" else self.size
        return self.shape.inputs, side, side

    def conditioned(self, kind: str, width: int) -> Config:
        """The same model under another condition: `none`, `class` or `vector`."""
        return replace(self, shape=replace(self.shape, condition=kind, width=width))

    def to_json(self) -> dict[str, Any]:
        """As `of` reads it."""
        return {"space": self.space, **asdict(self)}

    @classmethod
    def of(cls, document: dict[str, Any]) -> Config:
        """Raises ConfigError for anything but what `to_json` gives."""
        try:
            values = {"latents": None, **document}
            space = values.pop("space", "pixels")
            shape = dict(values["shape"])
            lists = {name: tuple(shape[name]) for name in ("channels", "attention")}
            if set(values) != {f.name for f in fields(cls)}:
                raise ValueError(f"its fields are {sorted(document)}")
            values["shape"] = Shape(**{**shape, **lists})
            if latents := values["latents"]:
                values["latents"] = LatentSpace(
                    str(latents["autoencoder"]), tuple(latents["mean"]), tuple(latents["std"])
                )
            config = cls(**values)
            if config.space != space:
                raise ValueError(f"its space is {space}, and its network that of {config.space}")
            return config
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

PHOTO = Config(
    "photo",
    Shape(
        (128, 256, 288),
        1,
        (False, True, True),
        dropout=0.1,
        inputs=CHANNELS,
        size_condition=True,
    ),
    size=128,
    noise="latent",
    sigma_data=1.0,
)
"""On latents: 16 x 16 x 32 for a picture of 128 px, any larger shape when it samples."""

PHOTO_WEAK = replace(
    PHOTO, preset="photo-weak", shape=replace(PHOTO.shape, channels=(64, 128, 128), dropout=0.0)
)
"""A smaller one that is trained for a shorter time, to guide `photo` (`Denoiser.denoise`)."""

PRESETS = {config.preset: config for config in (ARTICLE, TINY, BASE, PHOTO, PHOTO_WEAK)}


def preset(name: str) -> Config:
    """A preset by its name. Raises ConfigError that lists them."""
    try:
        return PRESETS[name]
    except KeyError:
        raise ConfigError(
            f"there is no preset {name!r}; give one of {', '.join(PRESETS)}"
        ) from None
