"""`lookalike diffusion evaluate`."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from diffusion.cli.arguments import Checkpoint, Device, Guidance, Interval, Sampler, Seed, Steps
from diffusion.cli.output import print_skipped
from diffusion.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from diffusion.evaluation.report import Encode

BITS = 50, 20  # pictures and steps of each that bits per dimension are counted over


def evaluate(
    context: typer.Context,
    data: Annotated[
        list[str], typer.Option(metavar="DIR", help="The reference: a folder or zip. Repeatable.")
    ],
    n: Annotated[int, typer.Option("-n", min=20, help="How many samples.")] = 1000,
    checkpoint: Checkpoint = None,
    embeddings: Annotated[
        str | None, typer.Option(metavar="FILE", help="Condition on these vectors of DIR.")
    ] = None,
    features: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A TorchScript encoder, such as Inception's."),
    ] = None,
    steps: Steps = 15,
    sampler: Sampler = "dpmpp_2m",
    guidance: Guidance = 1.0,
    interval: Interval = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="DIR", help="For sheets of samples.")
    ] = None,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Measure samples against pictures that are held out of DIR, and against the rest of it.

    Frechet distance, KID, precision and recall, beside those of the held-out pictures as they are
    and after a known loss of quality. Samples are conditioned on the held-out pictures' vectors, if
    given, or on their classes, if the model has the same. Give pictures that the model was not
    trained on: else a copy of a training picture counts as a good sample.
    """
    from diffusion.data import match_vectors, read_pictures, read_vectors, to_bytes
    from diffusion.evaluation.likelihood import estimate_bits
    from diffusion.evaluation.report import (
        Evaluator,
        Report,
        draw_nearest_pairs,
        load_feature_encoder,
        split_held_out,
    )
    from diffusion.model.checkpoint import load
    from diffusion.model.denoiser import FULL_INTERVAL
    from diffusion.model.schedule import DiscreteSchedule
    from diffusion.plots import refuse_overwrite, save_png
    from diffusion.sampling.sample import check_encoder, describe_sampling, sample as draw
    from diffusion.training.devices import choose_device

    if out:
        refuse_overwrite(out / "nearest.png")
    where = choose_device(device)
    model = load(checkpoint, where)
    if features is None and not (context.obj or {}).get("encode"):
        raise ConfigError("give --features FILE, an encoder to measure with")
    encode = (
        load_feature_encoder(features, where) if features else _as_encoder(context.obj["encode"])
    )
    name = str(features or context.obj["encode"])  # opens the library, before the work begins
    pictures, condition = read_pictures(data, model.config.size), None
    print_skipped(pictures.skipped)
    if embeddings:
        vectors = read_vectors(embeddings)
        check_encoder(model, vectors, embeddings)
        pictures, matched = match_vectors(pictures, vectors)
        condition = matched.float()
    elif pictures.classes and list(pictures.classes) == model.about.get("classes"):
        condition = pictures.labels
    interval = interval or FULL_INTERVAL
    rest, held = split_held_out(len(pictures), n, seed)
    tensors = draw(
        model,
        n,
        seed=seed,
        condition=None if condition is None else condition[held],
        steps=steps,
        sampler=sampler,
        guidance=guidance,
        interval=interval,
    )
    samples = to_bytes(tensors).cpu()
    evaluator = Evaluator(encode, name, pictures.images[rest], seed)
    row = evaluator.evaluate(describe_sampling(sampler, steps, guidance, interval), samples)
    about = {
        "weights": model.about["sha256"][:16],
        "step": model.about.get("step"),
        "condition": "none" if condition is None else model.config.shape.condition,
    }
    rows = [row, *evaluator.evaluate_baselines(pictures.images[held])]
    report, bound = Report.from_rows(evaluator, rows, about), None
    if not as_json:
        typer.echo(report.table())
    if isinstance(model.schedule, DiscreteSchedule):  # a model over steps has a likelihood
        some = held[: BITS[0]]
        shown = None if condition is None else condition[some]
        bound = estimate_bits(model, pictures.images[some], shown, steps=BITS[1], seed=seed)
    if as_json:
        document = {**report.to_json(), "bits": bound and asdict(bound)}
        typer.echo(json.dumps(document, ensure_ascii=False, indent=2))
    elif bound:
        typer.echo(f"{bound.bits:.3f} ± {bound.error:.3f} bits per dimension, n {bound.n}")
    if out:
        save_png(out / "nearest.png", draw_nearest_pairs(samples, pictures.images[rest], row))


def _as_encoder(encode: Callable[[NDArray[np.uint8]], NDArray[np.float32]]) -> Encode:
    """The library's embedder as an encoder of tensors."""
    import torch

    def encode_tensors(images: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(encode(images.permute(0, 2, 3, 1).numpy()))

    return encode_tensors
