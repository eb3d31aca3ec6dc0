"""The configuration of a model as plain data, and the presets."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from diffusion.errors import ConfigError
from diffusion.model.autoencoder import CHANNELS, DOWNSAMPLING
from diffusion.model.unet import Shape

TARGETS = ("eps", "x0", "v")
WEIGHTINGS = ("uniform", "min-snr-5")
MAX_SIZE = 4096  # pixels a side: of a picture in single precision, 200 MB


@dataclass(frozen=True)
class LatentSpace:
    """The latents that a model denoises instead of pixels.

    autoencoder: fingerprint of the autoencoder. mean, std: mean and standard deviation of each
    channel over the training pictures; the model gets (z - mean) / std. Raises ConfigError.
    """

    autoencoder: str
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        finite = all(math.isfinite(value) for value in (*self.mean, *self.std))
        sizes = len(self.mean), len(self.std)
        if sizes != (CHANNELS, CHANNELS) or not finite or min(self.std) <= 0:
            raise ConfigError(
                f"a latent space has {CHANNELS} channels; give {CHANNELS} means and {CHANNELS} "
                "standard deviations above 0"
            )


@dataclass(frozen=True)
class Config:
    """Everything that defines a model except its weights. Raises ConfigError for invalid values.

    preset: name of the preset that it comes from.
    shape: hyperparameters of the network.
    size: side of the square training pictures in pixels, a multiple of `multiple`.
    noise: noise schedule: `linear`, `cosine`, `edm` or `latent` (`make_schedule`).
    steps: steps T of a linear or cosine schedule.
    target: what the network predicts: `eps`, `x0` or `v` (`diffusion.model.denoiser`).
    sigma_data: standard deviation of the data that the input is scaled for. 1 makes the input the
        x_t of Ho et al.
    weighting: loss weighting over noise levels: `uniform` or `min-snr-5`.
    latents: the latent space of a model on latents; None for a model on pixels.
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
        whole = type(self.size) is int and type(self.steps) is int
        if not whole or not 1 <= self.size <= MAX_SIZE or self.size % self.multiple:
            raise ConfigError(
                f"size {self.size}, steps {self.steps}: the {self.preset} network takes multiples "
                f"of {self.multiple} pixels up to {MAX_SIZE}, and a whole number of steps"
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
        """Height and width of a picture in pixels are multiples of this number."""
        return self.shape.multiple * (DOWNSAMPLING if self.space == "latent" else 1)

    @property
    def sample_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of what the network denoises for a square of side `size`."""
        side = self.size // DOWNSAMPLING if self.space == "latent" else self.size
        return self.shape.inputs, side, side

    def can_guide(self, other: Config) -> bool:
        """Whether a weak model of this configuration can guide one of the other: it takes the same
        states, sizes and conditions."""
        ours, theirs = (
            (c.shape.inputs, c.shape.condition, c.shape.width, c.latents and c.latents.autoencoder)
            for c in (self, other)
        )
        return ours == theirs and other.multiple % self.multiple == 0

    def with_condition(self, kind: str, width: int) -> Config:
        """Copy the configuration with another condition.

        kind: `none`, `class` or `vector`. width: number of classes or length of the vector.
        """
        return replace(self, shape=replace(self.shape, condition=kind, width=width))

    def to_json(self) -> dict[str, Any]:
        """Convert to a JSON object that `from_json` reads."""
        return {"space": self.space, **asdict(self)}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Config:
        """Read what `to_json` wrote. Raises ConfigError for any other document."""
        try:
            values = {"latents": None, **document}
            space = values.pop("space", "pixels")
            shape = dict(values["shape"])
            lists = {name: tuple(shape[name]) for name in ("channels", "attention")}
            if set(values) != {f.name for f in fields(cls)}:
                raise ValueError(f"it has the fields {sorted(document)}")
            values["shape"] = Shape(**{**shape, **lists})
            if latents := values["latents"]:
                values["latents"] = LatentSpace(
                    str(latents["autoencoder"]), tuple(latents["mean"]), tuple(latents["std"])
                )
            config = cls(**values)
            if config.space != space:
                raise ValueError(f"its space is {space}, but its network is for {config.space}")
            return config
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(
                f"the configuration of the model cannot be read: {error}; give one that this "
                "version of lookalike wrote"
            ) from error


ARTICLE = Config(
    "article",
    Shape((64, 128, 256, 256), 2, (False, True, True, True), head=64, scale_shift=False),
    noise="linear",
    target="eps",
    sigma_data=1.0,
)
CLASSIC = replace(ARTICLE, preset="classic", shape=replace(ARTICLE.shape, groups=32))
"""As `article`, on a network that `UNet2DModel` of diffusers builds too."""
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
"""A model on latents: trained on 16 x 16 x 32, for pictures of 128 px. It samples larger ones."""

PHOTO_WEAK = replace(
    PHOTO, preset="photo-weak", shape=replace(PHOTO.shape, channels=(64, 128, 128), dropout=0.0)
)
"""The weak model that guides `photo`: smaller, and trained for a shorter time."""

PRESETS = {config.preset: config for config in (ARTICLE, CLASSIC, TINY, BASE, PHOTO, PHOTO_WEAK)}


def preset(name: str) -> Config:
    """Return a preset by its name. Raises ConfigError, which lists the names, for any other."""
    try:
        return PRESETS[name]
    except KeyError:
        raise ConfigError(
            f"there is no preset {name!r}; give one of {', '.join(PRESETS)}"
        ) from None
