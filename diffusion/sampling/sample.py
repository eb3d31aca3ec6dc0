"""Pictures out of a model: start from noise, walk down."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from diffusion.data import Vectors, read_vectors
from diffusion.errors import CheckpointError, ConfigError
from diffusion.model.checkpoint import shipped
from diffusion.model.denoiser import EVERYWHERE, Denoiser
from diffusion.model.unet import Shape
from diffusion.sampling.samplers import SAMPLERS, grid, normals

BATCH = 64
MOST_SEED, MOST_GUIDANCE = 2**64, 20.0


def sample(
    model: Denoiser,
    n: int = 1,
    *,
    seed: int = 0,
    condition: Tensor | None = None,
    steps: int = 15,
    sampler: str = "dpmpp_2m",
    guidance: float = 1.0,
    interval: tuple[float, float] = EVERYWHERE,
) -> Tensor:
    """n pictures, (n, 3, S, S) float32 in -1..1, on the model's device, S its `config.size`.

    seed: the first has it, the next seed + 1, and so on; a picture is the same alone or among
    others. condition: (n,) classes or (n, D) unit vectors; None for none. guidance, interval: as
    `Denoiser.denoise`. Raises ConfigError.
    """
    parts = list(samples(model, n, seed, condition, steps, sampler, guidance, interval))
    return torch.cat(parts)


def samples(
    model: Denoiser,
    n: int,
    seed: int,
    condition: Tensor | None,
    steps: int,
    sampler: str,
    guidance: float,
    interval: tuple[float, float],
) -> Iterator[Tensor]:
    """As `sample`, batch by batch."""
    if n < 1 or not 0 <= seed <= MOST_SEED - n:
        raise ConfigError(f"n {n}, seed {seed}: give at least 1, and 64 bits")
    if sampler not in SAMPLERS:
        raise ConfigError(f"there is no sampler {sampler!r}; give one of {', '.join(SAMPLERS)}")
    if not 0 <= guidance <= MOST_GUIDANCE or not 0 <= interval[0] <= interval[1]:
        raise ConfigError(
            f"guidance {guidance} between the sigmas {interval}: give 0 to {MOST_GUIDANCE:g} (1 is "
            "none), and two from 0 that ascend"
        )
    if guidance != 1 and condition is None and model.weak is None:
        raise ConfigError("guidance is towards a condition: give one, or a guidance of 1")
    check_condition(condition, n, model.config.shape)
    device = str(next(model.parameters()).device)
    shape = model.config.sample_shape
    sigmas = grid(model.noise, steps)
    for first in range(0, n, BATCH):
        part = range(first, min(n, first + BATCH))
        under = None if condition is None else condition[part.start : part.stop].to(device)
        normal = normals([seed + i for i in part], shape, device)
        with torch.inference_mode():
            x = sigmas[0] * normal()
            for state in SAMPLERS[sampler](
                model.denoise(under, guidance, interval), x, sigmas, normal
            ):
                x = state.x
            yield model.decode(x)


def way(sampler: str, steps: int, guidance: float, interval: tuple[float, float]) -> str:
    """How samples are made, in words."""
    where = "" if guidance == 1 or interval == EVERYWHERE else " in {:g}..{:g}".format(*interval)
    return f"{sampler} {steps}, guidance {guidance:g}{where}"


def same_encoder(model: Denoiser, found: Vectors, name: str) -> None:
    """Raises CheckpointError for vectors of another encoder than the model's."""
    known = model.about.get("encoder")
    if known is None or found.encoder["fingerprint"] != known["fingerprint"]:
        raise CheckpointError(
            f"{name} holds vectors of {found.encoder}, the model was trained on those of {known}; "
            "make them with that one"
        )


def condition_on(
    model: Denoiser,
    n: int,
    vectors: str | None = None,
    name: str | None = None,
    seed: int = 0,
) -> Tensor | None:
    """The condition of n pictures: the vectors in a file, in turn, or a class by its name. Without
    either, vectors of the model's own bank, where it has one: picture `seed` gets the first.

    Raises ConfigError for what the model is not conditioned on, DataError for a file without
    vectors, and CheckpointError for vectors of another encoder.
    """
    if vectors and name:
        raise ConfigError("a model has one condition: give vectors or a class")
    kind, about = model.config.shape.condition, model.about
    if name:
        classes = about.get("classes", [])
        if kind != "class" or name not in classes:
            raise ConfigError(f"the model knows no class {name!r}; it knows {classes or 'none'}")
        return torch.full((n,), classes.index(name))
    if not vectors:
        if (bank := model.about.get("bank")) is None:
            return None
        rows = read_vectors(shipped().with_name(bank)).rows
        return rows[torch.arange(seed, seed + n).remainder(len(rows))].float()
    found = read_vectors(vectors)
    if kind != "vector":
        raise ConfigError(f"the model's condition is {kind}; leave the vectors out")
    same_encoder(model, found, vectors)
    return found.rows[torch.arange(n) % len(found.rows)].float()


def check_condition(condition: Tensor | None, n: int, shape: Shape) -> None:
    """Raises ConfigError for a condition that is not one of n for a model of that shape."""
    if condition is None:
        return
    kind, wanted = shape.condition, (n,) if shape.condition == "class" else (n, shape.width)
    if kind == "none" or tuple(condition.shape) != wanted:
        raise ConfigError(
            f"a condition of {tuple(condition.shape)} for {n} pictures of a model of condition "
            f"{kind}: give {wanted if kind != 'none' else 'none'}"
        )
    if kind == "class" and not ((condition >= -1) & (condition < shape.width)).all():
        raise ConfigError(f"classes are 0 to {shape.width - 1}, and -1 for none")
