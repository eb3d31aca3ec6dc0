"""Checkpoints: weights in safetensors and, beside them, JSON that tells what they are."""

from __future__ import annotations

import hashlib
import json
from importlib.resources import files as packaged
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as read_tensors
from torch import Tensor

from diffusion import files
from diffusion.errors import CheckpointError
from diffusion.model.autoencoder import load_autoencoder
from diffusion.model.denoiser import Denoiser
from diffusion.model.presets import Config

FORMAT, VERSION = "lookalike diffusion", 2
"""Version 1 differs from version 2 only in the names of some modules (`RENAMED`)."""

RENAMED = {
    "clock": "time_embedding",
    "told": "condition_projection",
    "condition": "condition_embedding",
    "size": "size_embedding",
}
"""Modules of the network: name in version 1 -> name in version 2."""

SHIPPED = ("ddpm", "photo", "photo-weak")
"""Names of the models in the package: on pixels, on latents, and a weaker one that guides it."""


def save(
    path: Path,
    config: Config,
    weights: dict[str, Tensor],
    about: dict[str, Any],
    half: bool = False,
) -> None:
    """Write `path` (.safetensors) and the .json beside it, none before both are made.

    weights: of the network, by name. about: what else is to be known: data, step, metrics,
    `encoder` (name and fingerprint) of a model under vectors, `classes` of one under classes,
    `weak` (a file beside it) of a model that guides it. half: store float16. Raises
    DiffusionError when the disk does not take them.
    """
    kind = torch.float16 if half else torch.float32
    data = files.to_safetensors({n: w.to(kind) for n, w in weights.items()}, {"format": FORMAT})
    digest = hashlib.sha256(data).hexdigest()
    head = {"format": FORMAT, "version": VERSION, "config": config.to_json(), "sha256": digest}
    text = files.to_json({**head, **about})
    files.replace_all(
        {
            path: lambda partial: partial.write_bytes(data),
            path.with_suffix(".json"): lambda partial: partial.write_bytes(text),
        }
    )


def load(
    path: str | Path | None = None, device: str = "cpu", encoder: str | None = None
) -> Denoiser:
    """The model of a checkpoint, ready to sample from. path: a file, or the name of a model in the
    package: `ddpm` (the default), `photo` or `photo-weak`.

    `about` of what comes back is the JSON beside the weights. encoder: the fingerprint of the
    encoder whose vectors will condition it, where that is known. Raises CheckpointError for a file
    that is missing, damaged, foreign, newer, or of another encoder.
    """
    place = shipped(path) if path is None or str(path) in SHIPPED else Path(path)
    about = describe(place)
    named = about["encoder"]["fingerprint"] if "encoder" in about else None
    if encoder is not None and named != encoder:
        raise CheckpointError(
            f"{place} was trained on vectors of the encoder {named}, not {encoder}; give a "
            "checkpoint of that one"
        )
    try:
        data = place.read_bytes()
        if hashlib.sha256(data).hexdigest() != about["sha256"]:
            raise CheckpointError(
                f"{place} is damaged, or not what its JSON tells of; get it again"
            )
        model = Denoiser(Config.of(about["config"]))
        weights = upgrade_keys(read_tensors(data))
        model.net.load_state_dict({name: weight.float() for name, weight in weights.items()})
        model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        if model.config.space == "latent":
            model.use_autoencoder(load_autoencoder(device))
        if "weak" in about:
            model.guide_by(load(place.with_name(about["weak"]), device))
    except CheckpointError:
        raise
    except Exception as error:  # every way in which a file can be foreign, or a device not there
        raise CheckpointError(f"{place} cannot be used on {device}: {error}") from error
    model.about = about
    return model.eval().requires_grad_(False)


def upgrade_keys(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename the keys of version 1, such as `clock.0.weight`, to those of version 2.

    The keys may have a prefix, as in the state of a training run. Keys of version 2 stay as they
    are: none of them contains a name of version 1.
    """
    return {
        ".".join(RENAMED.get(part, part) for part in key.split(".")): tensor
        for key, tensor in tensors.items()
    }


def shipped(name: str | Path | None = None) -> Path:
    """Where the weights of a model in the package are; `ddpm` by default."""
    return Path(str(packaged("diffusion") / "weights" / f"{name or SHIPPED[0]}.safetensors"))


def describe(path: Path) -> dict[str, Any]:
    """The JSON beside the weights. Raises CheckpointError."""
    beside = path.with_suffix(".json")
    missing = next((file for file in (path, beside) if not file.is_file()), None)
    if missing:
        raise CheckpointError(
            f"{missing} is not there; a checkpoint is a .safetensors file with its .json beside it"
        )
    try:
        about = json.loads(beside.read_text(encoding="utf-8"))
        if not isinstance(about, dict) or about.get("format") != FORMAT:
            raise ValueError("it is of another format")
        version = int(about["version"])
        if version <= VERSION:
            Config.of(about["config"])
            if "encoder" in about:
                about["encoder"]["fingerprint"]
    except Exception as error:  # every way in which it can be foreign
        raise CheckpointError(f"{beside} tells of no checkpoint of lookalike: {error}") from error
    if version > VERSION:
        raise CheckpointError(
            f"{path} was written by a newer lookalike (format {version}, here {VERSION}); update"
        )
    return about
