"""Denoising diffusion models (DDPM) in torch: training, sampling, variants and evaluation.

    from diffusion import load, sample, variants
    model = load()                               # the shipped model
    pictures = sample(model, 16)                 # (16, 3, 64, 64) in -1..1
    more = variants(model, pictures[0], 4)       # like the first; `regime` or `sigma`: how much

Names are imported when they are first used, so that `import diffusion` stays fast.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diffusion.errors import (
        CheckpointError as CheckpointError,
        ConfigError as ConfigError,
        DataError as DataError,
        DiffusionError as DiffusionError,
        TrainingError as TrainingError,
    )
    from diffusion.model.checkpoint import load as load
    from diffusion.model.denoiser import Denoiser as Denoiser
    from diffusion.model.presets import Config as Config, preset as preset
    from diffusion.model.unet import Shape as Shape, UNet as UNet
    from diffusion.sampling.sample import sample as sample
    from diffusion.sampling.variants import variants as variants
    from diffusion.training.options import Options as Options, Progress as Progress
    from diffusion.training.run import Run as Run, train as train

_HOMES = {
    "model.checkpoint": ("load",),
    "model.denoiser": ("Denoiser",),
    "errors": ("CheckpointError", "ConfigError", "DataError", "DiffusionError", "TrainingError"),
    "training.options": ("Options", "Progress"),
    "model.presets": ("Config", "preset"),
    "training.run": ("Run", "train"),
    "sampling.sample": ("sample",),
    "model.unet": ("Shape", "UNet"),
    "sampling.variants": ("variants",),
}
_MODULES = {name: module for module, names in _HOMES.items() for name in names}

__all__ = sorted(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'diffusion' has no attribute {name!r}")
    return getattr(import_module(f"diffusion.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
