"""Checkpoints: a .safetensors file with the weights and a .json file that describes them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib.resources import files as packaged
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from diffusion import files
from diffusion.errors import CheckpointError
from diffusion.model.autoencoder import load_autoencoder
from diffusion.model.denoiser import Denoiser
from diffusion.model.presets import Config
from diffusion.model.unet import UNet
from diffusion.reading import open_regular, read_json
from diffusion.tensors import check_shapes, list_shapes, read_header, read_tensors

T = TypeVar("T")

FORMAT, VERSION = "lookalike diffusion", 2
"""Version 1 differs from version 2 only in the names of some modules (`RENAMED`)."""

RENAMED_MODULES = {
    "clock": "time_embedding",
    "told": "condition_projection",
    "condition": "condition_embedding",
    "size": "size_embedding",
}
"""Modules of the network: name in version 1 -> name in version 2."""

SHIPPED = ("ddpm", "ddpm-weak", "photo", "photo-weak")
"""Names of the models in the package: on pixels, on latents, and a weaker one that guides each."""


def save(
    path: Path,
    config: Config,
    weights: dict[str, Tensor],
    about: dict[str, Any],
    half: bool = False,
) -> None:
    """Write a checkpoint: both files are replaced, or neither is.

    path: the .safetensors file; the .json file is beside it.
    weights: the network's `state_dict`.
    about: more fields for the JSON: data, step, metrics; `encoder` (name and fingerprint) of a
        model conditioned on vectors; `classes` of a model conditioned on classes; `weak`, the file
        name of the weak model that guides this one, in the same folder.
    half: store float16 instead of float32.

    Raises DiffusionError when the files cannot be written.
    """
    dtype = torch.float16 if half else torch.float32
    data = files.to_safetensors({n: w.to(dtype) for n, w in weights.items()}, {"format": FORMAT})
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
    """Load a model, ready to sample from: `model = load("photo")`.

    path: a .safetensors file, or the name of a model in the package: `ddpm` (the default), `photo`
        or `photo-weak`.
    device: a torch device.
    encoder: fingerprint of the encoder whose vectors will condition the model; None skips the
        check.

    Returns the model in evaluation mode; its `about` is the JSON of the checkpoint. Raises
    CheckpointError if the file is missing, damaged, not a checkpoint, newer, or made for another
    encoder, and if the device is not available.
    """
    place = shipped_path(path) if path is None or str(path) in SHIPPED else Path(path)
    about = read_description(place)
    trained_on = about["encoder"]["fingerprint"] if "encoder" in about else None
    if encoder is not None and trained_on != encoder:
        raise CheckpointError(
            f"{place} was trained on vectors of the encoder {trained_on}, not {encoder}; give a "
            "checkpoint that was trained on vectors of this encoder"
        )
    model = _load_network(place, about, device)
    if "weak" in about:
        beside = place.with_name(about["weak"])
        weak = _load_network(beside, read_description(beside), device)
        if not weak.config.can_guide(model.config):
            raise CheckpointError(
                f"{beside} cannot guide {place}: it has another space, size or condition; give the "
                "weak model that the checkpoint was published with"
            )
        model.set_weak_model(weak)
    return model


def _load_network(place: Path, about: dict[str, Any], device: str) -> Denoiser:
    """The model of a checkpoint, without the weak model that guides it. about: its JSON."""
    try:
        with open_regular(place) as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != about["sha256"]:
            raise CheckpointError(
                f"{place} is damaged: its hash differs from the one in its JSON; copy or download "
                "both files again"
            )
        config = Config.from_json(about["config"])
        check_shapes(upgrade_keys(read_header(place).shapes), list_network_shapes(config))
        weights = upgrade_keys(read_tensors(place))
        model = Denoiser(config)
        model.net.load_state_dict({name: weight.float() for name, weight in weights.items()})
        model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        if model.config.space == "latent":
            model.use_autoencoder(load_autoencoder(device))
    except CheckpointError:
        raise
    except Exception as error:  # torch and safetensors raise many types for bad files and devices
        raise CheckpointError(f"{place} cannot be used on {device}: {error}") from error
    model.about = about
    return model.eval().requires_grad_(False)


def list_network_shapes(config: Config) -> dict[str, tuple[int, ...]]:
    """Shapes of the weights of a model, by name. Nothing is allocated for them."""
    with torch.device("meta"):
        return list_shapes(UNet(config.shape).state_dict())


def strip_header(about: dict[str, Any]) -> dict[str, Any]:
    """The description of a checkpoint without the fields that `save` computes: what to pass on as
    `about` when its weights are changed and saved again."""
    return {k: v for k, v in about.items() if k not in ("format", "version", "config", "sha256")}


def upgrade_keys(tensors: Mapping[str, T]) -> dict[str, T]:
    """Rename the keys of version 1, such as `clock.0.weight`, to those of version 2.

    The keys may have a prefix, as in the state of a training run. Keys of version 2 stay as they
    are: none of them contains a name of version 1.
    """
    return {
        ".".join(RENAMED_MODULES.get(part, part) for part in key.split(".")): tensor
        for key, tensor in tensors.items()
    }


def shipped_path(name: str | Path | None = None) -> Path:
    """Path of the weights of a model in the package, `ddpm` by default."""
    return Path(str(packaged("diffusion") / "weights" / f"{name or SHIPPED[0]}.safetensors"))


def read_description(path: Path) -> dict[str, Any]:
    """Read and check the JSON of a checkpoint.

    path: the .safetensors file. Raises CheckpointError if a file is missing, the JSON does not
    describe a checkpoint, or its version is newer than this package.
    """
    description = path.with_suffix(".json")
    missing = next((file for file in (path, description) if not file.is_file()), None)
    if missing:
        raise CheckpointError(
            f"{missing} is not there; a checkpoint is a .safetensors file with its .json beside it"
        )
    try:
        about = read_json(description)
        if not isinstance(about, dict) or about.get("format") != FORMAT:
            raise ValueError(f"its format is not {FORMAT!r}")
        version = int(about["version"])
        if version <= VERSION:
            Config.from_json(about["config"])
            _check_fields(about)
    except Exception as error:  # any JSON value may be in any field
        raise CheckpointError(
            f"{description} is not the description of a lookalike checkpoint: {error}; give a "
            "file that `lookalike diffusion train` wrote"
        ) from error
    if version > VERSION:
        raise CheckpointError(
            f"{path} was written by a newer lookalike (format {version}, here {VERSION}); update "
            "lookalike"
        )
    return about


def _check_fields(about: dict[str, Any]) -> None:
    """Raise ValueError or KeyError when a field that is read later has a value of another type."""
    if "encoder" in about:
        about["encoder"]["fingerprint"]
    for name in ("weak", "bank"):  # files in the folder of the checkpoint, or of the package
        if name in about and not _is_file_name(about[name]):
            raise ValueError(f"{name} is {about[name]!r}, and not the name of a file")
    classes = about.get("classes", [])
    if not isinstance(classes, list) or not all(isinstance(one, str) for one in classes):
        raise ValueError("classes is not a list of names")
    for name in ("step", "seen", "side"):
        if not isinstance(about.get(name, 0), int):
            raise ValueError(f"{name} is {about[name]!r}, and not a whole number")


def _is_file_name(value: object) -> bool:
    return isinstance(value, str) and value not in ("", ".", "..") and Path(value).name == value
