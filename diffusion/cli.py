"""`lookalike diffusion`: train, sample, and look at what a model does."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from diffusion.errors import ConfigError, DataError, DiffusionError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from diffusion.evaluation.report import Encode
    from diffusion.training.options import Progress

EVERY = 10.0  # seconds between plain lines
SHOWN = 100  # pictures of a grid at most
BITS = 50, 20  # pictures and steps of each that bits per dimension are counted over

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # waiting threads leave the cores to others

app = typer.Typer(
    name="diffusion",
    help="Train a diffusion model on your own pictures, and sample from it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Checkpoint = Annotated[
    Path | None,
    typer.Option(metavar="C", help="A checkpoint (.safetensors); without one, the shipped model."),
]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Seed = Annotated[int, typer.Option(metavar="S", help="Of the first picture; 64 bits.")]
Interval = Annotated[
    tuple[float, float] | None,
    typer.Option(
        metavar="LOW HIGH", help="Sigmas between which guidance acts.", show_default="everywhere"
    ),
]


@app.command()
def train(
    data: Annotated[
        list[str],
        typer.Argument(
            metavar="DATA...", help="Folders of pictures, or zips; a folder in them is a class."
        ),
    ],
    preset: Annotated[
        str | None, typer.Option(help="article, tiny or base.  [default: tiny, or that of --from]")
    ] = None,
    run: Annotated[
        str | None, typer.Option(metavar="DIR", help="Run folder.  [default: runs/PRESET]")
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(metavar="M", help="Budget of the whole run.  [default: 60]")
    ] = None,
    steps: Annotated[int | None, typer.Option(metavar="N", help="Steps, in place of it.")] = None,
    embeddings: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Condition on vectors that `lookalike embed` wrote."),
    ] = None,
    classes: Annotated[
        bool, typer.Option("--classes", help="Condition on the folders' names.")
    ] = False,
    start: Annotated[
        str | None,
        typer.Option("--from", metavar="C", help="Start from a checkpoint, or from `shipped`."),
    ] = None,
    size: Annotated[
        int | None, typer.Option(metavar="PX", help="Side of the pictures.  [default: 64]")
    ] = None,
    batch: Annotated[int | None, typer.Option(metavar="B", help="Pictures a step.")] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate.")] = None,
    drop: Annotated[
        float | None, typer.Option(help="Share of pictures trained without condition.")
    ] = None,
    seed: Annotated[int, typer.Option(metavar="S", help="Of everything that is random.")] = 0,
    device: Device = "auto",
    compiled: Annotated[
        bool | None, typer.Option("--compile/--no-compile", help="By default on a GPU only.")
    ] = None,
) -> None:
    """Train on pictures. The same command goes on with a run that was stopped."""
    from diffusion.training.options import Options
    from diffusion.training.run import Run

    options = Options(
        tuple(data),
        run or f"runs/{preset or 'tiny'}",
        preset=preset,
        minutes=minutes,
        steps=steps,
        embeddings=embeddings,
        classes=classes,
        start=start,
        size=size,
        batch=batch,
        lr=lr,
        drop=drop,
        seed=seed,
        device=device,
        compiled=compiled,
    )
    _note("reading pictures")
    training = Run(options)
    pictures = training.pictures
    for name, reason in pictures.skipped[:10]:
        _note(f"skipped {name}: {reason}")
    _note(f"{len(pictures)} pictures, {len(pictures.skipped)} skipped; the run is in {options.run}")

    with training.until_stopped():
        finished = _follow(training.go())
    if not finished:
        _note("stopped; the same command goes on from here")
        raise typer.Exit(1)
    _note(f"{options.run}: checkpoint.safetensors, grids, loss.png")


@app.command()
def sample(
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="Where they go.")],
    n: Annotated[int, typer.Option("-n", min=1, max=100_000, help="How many.")] = 16,
    checkpoint: Checkpoint = None,
    like: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Condition on the vectors in a file, in turn."),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--class", metavar="NAME", help="Condition on a class.")
    ] = None,
    steps: Annotated[int, typer.Option(metavar="N", help="Steps of the sampler.")] = 15,
    sampler: Annotated[str, typer.Option(help="ancestral, ddim, heun or dpmpp_2m.")] = "dpmpp_2m",
    guidance: Annotated[float, typer.Option(metavar="W", help="1 is none.")] = 1.0,
    interval: Interval = None,
    seed: Seed = 0,
    device: Device = "auto",
) -> None:
    """Make pictures: a PNG each, named by its seed, and all of them in grid.png."""
    import torch
    from PIL import Image

    from diffusion.data import to_bytes
    from diffusion.model.checkpoint import load
    from diffusion.model.denoiser import EVERYWHERE
    from diffusion.plots import save_png, spare, tiled
    from diffusion.sampling.sample import condition_on, samples
    from diffusion.training.trainer import pick

    model = load(checkpoint, pick(device))
    under = condition_on(model, n, like, name, seed)
    for file in (*(f"{seed + i:05d}.png" for i in range(n)), "grid.png"):
        spare(out / file)
    made, shown = 0, list[torch.Tensor]()
    interval = interval or EVERYWHERE
    for part in samples(model, n, seed, under, steps, sampler, guidance, interval):
        for picture in to_bytes(part).permute(0, 2, 3, 1).cpu().numpy():
            save_png(out / f"{seed + made:05d}.png", Image.fromarray(picture))
            made += 1
        if made - len(part) < SHOWN:  # a copy, for a part would hold the whole
            shown.append(part[: SHOWN - made + len(part)].clone())
        _note(f"{made} of {n}")
    save_png(out / "grid.png", tiled(torch.cat(shown)))


@app.command()
def process(
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="A picture.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FILE", help="A PNG.")],
    checkpoint: Checkpoint = None,
    steps: Annotated[int, typer.Option(metavar="N", help="Steps of the way back.")] = 250,
    seed: Seed = 0,
    device: Device = "auto",
) -> None:
    """Draw how a picture turns into noise, how noise turns into a picture, and the schedule."""
    from PIL import Image

    from diffusion.model.checkpoint import load
    from diffusion.plots import spare
    from diffusion.sampling.process import draw_process
    from diffusion.training.trainer import pick

    spare(out)
    try:
        picture = Image.open(image)
        picture.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        why = getattr(error, "strerror", None) or error
        raise DataError(f"{image} is no picture that can be read: {why}") from error
    draw_process(load(checkpoint, pick(device)), picture, out, seed=seed, steps=steps)


@app.command()
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
    steps: Annotated[int, typer.Option(metavar="N", help="Steps of the sampler.")] = 15,
    sampler: Annotated[str, typer.Option(help="ancestral, ddim, heun or dpmpp_2m.")] = "dpmpp_2m",
    guidance: Annotated[float, typer.Option(metavar="W", help="1 is none.")] = 1.0,
    interval: Interval = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="DIR", help="For sheets of samples.")
    ] = None,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Measure samples against pictures that are held out of DIR, and against the rest of it.

    Frechet distance, KID, precision and recall, beside the held-out pictures themselves and those
    after a known harm. Samples are conditioned on the held-out pictures' vectors, where they are
    given, and on their classes, where the model has the same: so give pictures of which it was
    trained on none, or a copy of a picture passes for a good sample.
    """
    from diffusion.data import match, read, read_vectors, to_bytes
    from diffusion.evaluation.likelihood import bits
    from diffusion.evaluation.report import Measure, Report, held_out, load_features, sheet
    from diffusion.model.checkpoint import load
    from diffusion.model.denoiser import EVERYWHERE
    from diffusion.model.schedule import Steps
    from diffusion.plots import save_png, spare
    from diffusion.sampling.sample import same_encoder, sample as draw, way
    from diffusion.training.trainer import pick

    if out:
        spare(out / "nearest.png")
    where = pick(device)
    model = load(checkpoint, where)
    if features is None and not (context.obj or {}).get("encode"):
        raise ConfigError("give --features, an encoder to measure with")
    encode = load_features(features, where) if features else _product(context.obj["encode"])
    name = str(features or context.obj["encode"])  # opens the library: before the work
    pictures, under = read(data, model.config.size), None
    if embeddings:
        vectors = read_vectors(embeddings)
        same_encoder(model, vectors, embeddings)
        pictures, matched = match(pictures, vectors)
        under = matched.float()
    elif pictures.classes and list(pictures.classes) == model.about.get("classes"):
        under = pictures.labels
    interval = interval or EVERYWHERE
    rest, held = held_out(len(pictures), n, seed)
    drawn = draw(
        model,
        n,
        seed=seed,
        condition=None if under is None else under[held],
        steps=steps,
        sampler=sampler,
        guidance=guidance,
        interval=interval,
    )
    made = to_bytes(drawn).cpu()
    measure = Measure(encode, name, pictures.images[rest], seed)
    row = measure.row(way(sampler, steps, guidance, interval), made)
    about = {
        "weights": model.about["sha256"][:16],
        "step": model.about.get("step"),
        "condition": "none" if under is None else model.config.shape.condition,
    }
    rows = [row, *measure.yardsticks(pictures.images[held])]
    report, bound = Report.of(measure, rows, about), None
    if not as_json:
        typer.echo(report.table())
    if isinstance(model.noise, Steps):  # the article's kind, which has a likelihood
        some = held[: BITS[0]]
        given = None if under is None else under[some]
        bound = bits(model, pictures.images[some], given, steps=BITS[1], seed=seed)
    if as_json:
        document = {**report.to_json(), "bits": bound and asdict(bound)}
        typer.echo(json.dumps(document, ensure_ascii=False, indent=2))
    elif bound:
        typer.echo(f"{bound.bits:.3f} ± {bound.error:.3f} bits per dimension, n {bound.n}")
    if out:
        save_png(out / "nearest.png", sheet(made, pictures.images[rest], row))


def _product(encode: Callable[[NDArray[np.uint8]], NDArray[np.float32]]) -> Encode:
    """The encoder of the product that this command is a part of, over tensors."""
    import torch

    def encoded(images: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(encode(images.permute(0, 2, 3, 1).numpy()))

    return encoded


def _follow(events: Iterable[Progress]) -> bool:
    """Show progress on standard error; whether the run came to its end."""
    finished = False
    show = _bar if sys.stderr.isatty() else _lines
    for event in show(events):
        finished = event.finished
    return finished


def _lines(events: Iterable[Progress]) -> Iterable[Progress]:
    last = -EVERY
    for event in events:
        now = time.monotonic()
        if event.said:
            _note(event.said)
        if event.loss is not None and (now - last >= EVERY or event.step == event.steps):
            _note(_told(event))
            last = now
        yield event


def _told(event: Progress) -> str:
    left = f", {event.left:.0f} s left" if event.left is not None else ", measuring"
    return (
        f"step {event.step} of {event.steps or '?'}, loss {event.loss:.4f}, "
        f"{event.rate:.0f} pictures/s{left}"
    )


def _bar(events: Iterable[Progress]) -> Iterable[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress as Bar, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Bar(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("measuring", total=None)
        for event in events:
            if event.said:
                bar.console.print(event.said, highlight=False, markup=False)
            if event.loss is not None:
                said = _told(event).partition(", measuring")[0].rpartition(",")[0]
                bar.update(task, description=said, completed=event.step, total=event.steps)
            yield event


def _note(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def main() -> None:
    """Run the command by itself (`python -m diffusion`): exit status 0, 1 failed, 2 wrong usage."""
    try:
        app()
    except DiffusionError as error:
        _note(f"lookalike: {error}")
        sys.exit(2 if isinstance(error, ConfigError) else 1)
