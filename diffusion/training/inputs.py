"""What a run trains on: the set of pictures, those kept for validation, and their conditions."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from diffusion.data import Pictures, match_names, read_pictures, read_vectors
from diffusion.errors import ConfigError, DataError
from diffusion.model.autoencoder import DOWNSAMPLING, load_autoencoder
from diffusion.model.presets import Config, LatentSpace
from diffusion.training.latents import (
    Latents,
    choose_windows,
    encode_folder,
    is_latents,
    read_latents,
)
from diffusion.training.options import Options
from diffusion.training.recipe import Recipe
from diffusion.training.sets import LatentSet, PixelSet, TrainingSet

FEWEST, MOST = 8, 1000  # pictures kept for validation; with fewer than that, none are
MARGIN = 8  # a random crop leaves out an eighth of the side at most

OnProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class Inputs:
    """training: the set to train on. held_out: pictures that are kept from it, or None. count: of
    all of both. condition: `none`, `class` or `vector`; width: number of classes, or length of the
    vectors; encoder: of the vectors, its name and fingerprint; classes: names of the folders. side:
    median short side of the pictures. skipped, other: files that were not read, as `Pictures` has
    them. latents: the space of a set of latents. digest: of all that is trained on."""

    training: TrainingSet
    held_out: TrainingSet | None
    count: int
    condition: str
    width: int
    encoder: dict[str, str] | None
    classes: list[str]
    side: int
    skipped: list[tuple[str, str]]
    other: dict[str, int]
    latents: LatentSpace | None
    digest: str


@dataclass(frozen=True)
class _Conditions:
    """places: of the pictures that are used. rows: (N,) classes, (N, D) vectors, or None."""

    places: list[int]
    rows: Tensor | None
    kind: str
    width: int
    encoder: dict[str, str] | None


def read_inputs(
    options: Options,
    config: Config,
    recipe: Recipe,
    device: str,
    on_progress: OnProgress | None = None,
) -> Inputs:
    """Read or encode the pictures of `options.data` for a model. Raises DiffusionError."""
    read = _read_latents if config.space == "latent" else _read_pixels
    return read(options, config, recipe, device, on_progress)


def _read_pixels(
    options: Options,
    config: Config,
    recipe: Recipe,
    device: str,
    on_progress: OnProgress | None,
) -> Inputs:
    if any(map(is_latents, options.data)):
        raise ConfigError(
            f"the data are latents, which the preset {config.preset} does not train on; add "
            "--preset photo"
        )
    size = config.size + config.size // MARGIN if recipe.crop else config.size
    pictures = read_pictures(options.data, size, _run(options) / "cache", on_progress)
    images = on_device = pictures.images
    if device.startswith("cuda") and images.numel() < torch.cuda.mem_get_info(device)[0] // 2:
        on_device = images.to(device)

    def make_set(rows: Tensor, conditions: Tensor | None) -> PixelSet:
        return PixelSet(on_device, conditions, recipe.flip, config.size, recipe.augment, rows)

    return _assemble(options, pictures, make_set, images)


def _read_latents(
    options: Options,
    config: Config,
    recipe: Recipe,
    device: str,
    on_progress: OnProgress | None,
) -> Inputs:
    if recipe.augment or recipe.crop or options.flip is not None:
        raise ConfigError(
            f"the preset {config.preset} works on latents: their crops and mirror images are made "
            "when the pictures are encoded; leave --augment, --crop and --flip out"
        )
    if len(options.data) == 1 and is_latents(options.data[0]):
        latents = read_latents(Path(options.data[0]).expanduser())
        side = latents.windows.crop * DOWNSAMPLING
        if side < config.size:
            raise DataError(
                f"{options.data[0]} holds latents for pictures of {side} pixels, not "
                f"{config.size}; encode them with --image-size {config.size}"
            )
    else:
        latents = encode_folder(
            options.data,
            _run(options) / "latents",
            load_autoencoder(device),
            choose_windows(config.size),
            options.seed,
            on_progress,
        )
    space = config.latents or latents.space()
    if space.autoencoder != latents.autoencoder:
        raise DataError(
            f"the latents are of the autoencoder {latents.autoencoder}, the model of "
            f"{space.autoencoder}; encode the pictures again"
        )
    mean, std = torch.tensor(space.mean), torch.tensor(space.std)
    crop = config.size // DOWNSAMPLING

    def make_set(rows: Tensor, conditions: Tensor | None) -> LatentSet:
        codes, sizes = latents.codes, latents.sizes
        return LatentSet(codes, sizes, conditions, crop, recipe.jitter, mean, std, rows)

    return _assemble(options, latents, make_set, latents.key, space)


def _run(options: Options) -> Path:
    return Path(options.run).expanduser()


def _assemble(
    options: Options,
    source: Pictures | Latents,
    make_set: Callable[[Tensor, Tensor | None], TrainingSet],
    content: Tensor | str,
    latents: LatentSpace | None = None,
) -> Inputs:
    """Split what was read, with its conditions. make_set: the set of some rows of the source, with
    their conditions. content: the pixels, or what stands for them in the digest."""
    chosen = _condition(options, source.names, source.classes, source.labels)

    def part(places: list[int]) -> TrainingSet:
        at = torch.tensor(places, dtype=torch.int64)
        rows = torch.tensor(chosen.places, dtype=torch.int64)[at]
        return make_set(rows, None if chosen.rows is None else chosen.rows[at])

    held, trained = split_names([source.names[i] for i in chosen.places], options.validation)
    return Inputs(
        part(trained),
        part(held) if held else None,
        len(chosen.places),
        chosen.kind,
        chosen.width,
        chosen.encoder,
        list(source.classes),
        source.side,
        source.skipped,
        source.other,
        latents,
        _digest(source.names, content, chosen.rows),
    )


def _condition(
    options: Options, names: Sequence[str], classes: Sequence[str], labels: Tensor
) -> _Conditions:
    """Which pictures are used, under which conditions. Raises DiffusionError."""
    if options.embeddings:
        vectors = read_vectors(options.embeddings)
        places, rows = match_names(names, vectors)
        return _Conditions(places, rows, "vector", int(rows.shape[1]), vectors.encoder)
    every = list(range(len(names)))
    if not options.classes:
        return _Conditions(every, None, "none", 0, None)
    if not classes:
        raise ConfigError("classes need pictures in folders, one folder for each class")
    return _Conditions(every, labels, "class", len(classes), None)


def split_names(names: Sequence[str], share: float) -> tuple[list[int], list[int]]:
    """Places of the pictures to keep for validation, and of the others. The choice follows from
    the names, so that it is the same in every run over the same pictures. share: of the pictures,
    at most MOST; none are kept when that is fewer than FEWEST."""
    count = min(round(share * len(names)), MOST)
    if count < FEWEST:
        return [], list(range(len(names)))

    def key(place: int) -> bytes:
        return hashlib.sha256(os.fsencode(f"held out {names[place]}")).digest()

    order = sorted(range(len(names)), key=key)
    return sorted(order[:count]), sorted(order[count:])


def _digest(names: Sequence[str], content: Tensor | str, conditions: Tensor | None) -> str:
    digest = hashlib.sha256(os.fsencode("\n".join(names)))
    for part in (content, conditions):
        if isinstance(part, Tensor):
            digest.update(part.reshape(-1).numpy().data)
        elif part is not None:
            digest.update(part.encode())
    return digest.hexdigest()[:16]
