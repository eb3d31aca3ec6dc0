"""Samples of a model: start from noise, denoise step by step."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from diffusion.data import Vectors, read_vectors
from diffusion.errors import CheckpointError, ConfigError
from diffusion.model.checkpoint import shipped_path
from diffusion.model.denoiser import FULL_INTERVAL, Denoiser
from diffusion.model.unet import Shape
from diffusion.sampling.samplers import SAMPLERS, make_sigmas, seeded_noise

BATCH = 64
SEED_LIMIT, MAX_GUIDANCE = 2**64, 20.0


def sample(
    model: Denoiser,
    n: int = 1,
    *,
    seed: int = 0,
    condition: Tensor | None = None,
    steps: int = 15,
    sampler: str = "dpmpp_2m",
    guidance: float = 1.0,
    interval: tuple[float, float] = FULL_INTERVAL,
) -> Tensor:
    """Draw n pictures from a model: `sample(load(), 16)`.

    seed: seed of the first picture; the next ones have seed + 1, seed + 2, ... (64 bits). A picture
        is the same alone or in a batch.
    condition: (n,) classes, -1 for none, or (n, D) unit vectors; None for no condition.
    steps: steps of the sampler, at least 1. A step is one network pass, or two with guidance or
        `heun`.
    sampler: `ancestral`, `ddim`, `heun` or `dpmpp_2m`.
    guidance: guidance scale, 0 to 20; 1 is no guidance.
    interval: lowest and highest sigma at which guidance acts.

    Returns (n, 3, S, S) float32 in -1..1 on the model's device, S being `model.config.size`. Raises
    ConfigError for values out of range.
    """
    parts = list(sample_batches(model, n, seed, condition, steps, sampler, guidance, interval))
    return torch.cat(parts)


def sample_batches(
    model: Denoiser,
    n: int,
    seed: int,
    condition: Tensor | None,
    steps: int,
    sampler: str,
    guidance: float,
    interval: tuple[float, float],
) -> Iterator[Tensor]:
    """Yield the pictures of `sample` batch by batch, each (B, 3, S, S)."""
    if n < 1 or not 0 <= seed <= SEED_LIMIT - n:
        raise ConfigError(
            f"n is {n} and seed is {seed}; give n of at least 1, and a seed from 0 so that all "
            "seeds fit in 64 bits"
        )
    if sampler not in SAMPLERS:
        raise ConfigError(f"there is no sampler {sampler!r}; give one of {', '.join(SAMPLERS)}")
    if not 0 <= guidance <= MAX_GUIDANCE or not 0 <= interval[0] <= interval[1]:
        raise ConfigError(
            f"guidance is {guidance} in the interval {interval}; give a guidance from 0 to "
            f"{MAX_GUIDANCE:g} (1 is none), and an interval of two ascending sigmas from 0"
        )
    if guidance != 1 and condition is None and model.weak is None:
        raise ConfigError("guidance needs a condition; give a condition, or a guidance of 1")
    check_condition(condition, n, model.config.shape)
    device = str(next(model.parameters()).device)
    shape = model.config.sample_shape
    sigmas = make_sigmas(model.schedule, steps)
    for first in range(0, n, BATCH):
        part = range(first, min(n, first + BATCH))
        conditions = None if condition is None else condition[part.start : part.stop].to(device)
        normal = seeded_noise([seed + i for i in part], shape, device)
        denoise = model.make_denoise_function(conditions, guidance, interval)
        with torch.inference_mode():
            x = sigmas[0] * normal()
            for state in SAMPLERS[sampler](denoise, x, sigmas, normal):
                x = state.x
            yield model.decode(x)


def describe_sampling(
    sampler: str, steps: int, guidance: float, interval: tuple[float, float]
) -> str:
    """Describe the settings of a sampler in one line, for reports."""
    where = "" if guidance == 1 or interval == FULL_INTERVAL else " in {:g}..{:g}".format(*interval)
    return f"{sampler} {steps}, guidance {guidance:g}{where}"


def check_encoder(model: Denoiser, vectors: Vectors, name: str) -> None:
    """Raise CheckpointError if the vectors are from another encoder than the model's.

    name: of the vectors' file, for the message.
    """
    expected = model.about.get("encoder")
    if expected is None or vectors.encoder["fingerprint"] != expected["fingerprint"]:
        raise CheckpointError(
            f"{name} holds vectors of the encoder {vectors.encoder}, but the model was trained on "
            f"vectors of {expected}; make the vectors with the encoder of the model"
        )


def load_condition(
    model: Denoiser,
    n: int,
    vectors: str | None = None,
    name: str | None = None,
    seed: int = 0,
) -> Tensor | None:
    """Load the condition of n pictures.

    vectors: a file of vectors, which are used in turn. name: name of a class. Without either, the
    vectors come from the bank of the model, if it has one; the picture with seed 0 gets the first.

    Returns (n,) classes, (n, D) vectors, or None. Raises ConfigError for a condition that the
    model does not have, DataError for a file without vectors, and CheckpointError for vectors of
    another encoder.
    """
    if vectors and name:
        raise ConfigError("a model has one condition; give either vectors or a class")
    kind, about = model.config.shape.condition, model.about
    if name:
        classes = about.get("classes", [])
        if kind != "class" or name not in classes:
            raise ConfigError(
                f"the model knows no class {name!r}; give one of its classes: {classes or 'none'}"
            )
        return torch.full((n,), classes.index(name))
    if not vectors:
        if (bank := model.about.get("bank")) is None:
            return None
        rows = read_vectors(shipped_path().with_name(bank)).rows
        return rows[torch.arange(seed, seed + n).remainder(len(rows))].float()
    loaded = read_vectors(vectors)
    if kind != "vector":
        raise ConfigError(
            f"the model is not conditioned on vectors (its condition: {kind}); leave the vectors "
            "out, or give another checkpoint"
        )
    check_encoder(model, loaded, vectors)
    return loaded.rows[torch.arange(n) % len(loaded.rows)].float()


def check_condition(condition: Tensor | None, n: int, shape: Shape) -> None:
    """Raise ConfigError if the condition does not fit n pictures and the model's shape."""
    if condition is None:
        return
    kind, expected = shape.condition, (n,) if shape.condition == "class" else (n, shape.width)
    if kind == "none":
        raise ConfigError("the model has no condition; leave the condition out")
    if tuple(condition.shape) != expected:
        raise ConfigError(
            f"the condition has the shape {tuple(condition.shape)}; give {expected} for {n} "
            f"pictures of a model with a {kind} condition"
        )
    if kind == "class" and not ((condition >= -1) & (condition < shape.width)).all():
        raise ConfigError(
            f"the condition has an unknown class; give 0 to {shape.width - 1}, or -1 for none"
        )
