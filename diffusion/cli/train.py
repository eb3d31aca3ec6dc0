"""`lookalike diffusion train`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from diffusion.cli.arguments import Device, ImageSize
from diffusion.cli.output import make_counter, print_note, print_skipped, show_progress
from diffusion.errors import ConfigError

FEW_SEEN = 100_000  # pictures below which samples are not yet pictures


def train(
    data: Annotated[
        list[str],
        typer.Argument(
            metavar="DATA...",
            help="Folders or zips of pictures, where a folder in them is a class; or latents that "
            "`encode` wrote.",
        ),
    ],
    preset: Annotated[
        str | None,
        typer.Option(
            help="article, classic, tiny, base or photo.  [default: tiny, or that of --from]"
        ),
    ] = None,
    run: Annotated[
        str | None, typer.Option(metavar="DIR", help="Run folder.  [default: runs/PRESET]")
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(metavar="M", help="Budget of the whole run.  [default: 60]")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(metavar="N", help="Steps, instead of minutes.")
    ] = None,
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
    size: ImageSize = None,
    channels: Annotated[
        str | None,
        typer.Option(metavar="C,C,...", help="Channels of each level, the finest first."),
    ] = None,
    blocks: Annotated[
        int | None, typer.Option(metavar="N", help="Residual blocks of each level.")
    ] = None,
    batch: Annotated[int | None, typer.Option(metavar="B", help="Pictures a step.")] = None,
    accumulate: Annotated[
        int, typer.Option(metavar="K", help="Passes that share a batch, to save memory.")
    ] = 1,
    lr: Annotated[float | None, typer.Option(help="Learning rate.")] = None,
    drop: Annotated[
        float | None, typer.Option(help="Share of pictures trained without their condition.")
    ] = None,
    flip: Annotated[
        bool | None, typer.Option("--flip/--no-flip", help="Mirror half of the pictures.")
    ] = None,
    crop: Annotated[
        bool | None, typer.Option("--crop/--no-crop", help="Random crops, to 8/9 of the side.")
    ] = None,
    augment: Annotated[
        float | None,
        typer.Option(
            metavar="P",
            help="Probability of each random transformation; samples do not show them. 0.12 suits "
            "small sets.",
        ),
    ] = None,
    ema: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND",
            help="Average of the weights, such as power:0.1; the first is sampled. Repeatable.",
        ),
    ] = None,
    validation: Annotated[
        float, typer.Option(metavar="SHARE", help="Share of pictures to measure the loss on.")
    ] = 0.02,
    snapshots: Annotated[
        int, typer.Option(metavar="N", help="Snapshots of the averages during the run.")
    ] = 8,
    guidance: Annotated[
        float, typer.Option(metavar="W", help="Of the pictures in the grids; 1 is none.")
    ] = 1.0,
    precision: Annotated[
        str, typer.Option(help="auto, fp32 or bf16; auto takes the fastest.")
    ] = "auto",
    log: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Also log to tensorboard or wandb. Repeatable."),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="S", help="Of everything that is random.")] = 0,
    device: Device = "auto",
    compiled: Annotated[
        bool | None, typer.Option("--compile/--no-compile", help="By default on CUDA only.")
    ] = None,
) -> None:
    """Train on pictures. The same command resumes a run that was stopped."""
    from diffusion.training.loggers import check_names, follow, open_trackers
    from diffusion.training.options import Options
    from diffusion.training.run import Run

    check_names(log or ())  # before the pictures are read

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
        channels=_numbers(channels),
        blocks=blocks,
        batch=batch,
        lr=lr,
        drop=drop,
        flip=flip,
        crop=crop,
        augment=augment,
        ema=tuple(ema) if ema else None,
        validation=validation,
        snapshots=snapshots,
        guidance=guidance,
        precision=precision,
        accumulate=accumulate,
        seed=seed,
        device=device,
        compiled=compiled,
    )
    print_note("reading pictures")
    training = Run(options, make_counter("reading"))
    inputs = training.inputs
    print_skipped(inputs.skipped)
    held = 0 if inputs.held_out is None else len(inputs.held_out)
    other = "".join(f", {count} {kind}" for kind, count in inputs.other.items())
    speed = training.trainer.speed
    for_validation = f"{held} for validation" if held else "too few to keep any for validation"
    print_note(
        f"{inputs.count} pictures ({for_validation}), {len(inputs.skipped)} skipped"
        f"{f'; other files: {other[2:]}' if other else ''}"
    )
    threads = f", threads: {speed.threads}" if speed.threads else ""
    print_note(f"{'bf16' if speed.bf16 else 'fp32'}{threads}; the run is in {options.run}")

    names = () if training.world.rank else log or ()
    trackers = open_trackers(names, training.folder.path, training.trainer.step, asdict(options))
    with training.until_stopped():
        finished = show_progress(follow(training.go(), trackers))
    if not finished:
        print_note("stopped; the same command resumes the run")
        raise typer.Exit(1)
    print_note(f"{options.run}: checkpoint.safetensors, grids, loss.png")
    count = training.trainer.step * training.recipe.batch
    if not start and count < FEW_SEEN:
        print_note(
            f"the model has seen {count} pictures; expect noise or blobs below some {FEW_SEEN}: "
            "the same command with more --minutes continues, and --from shipped starts from a "
            "trained model"
        )


def _numbers(text: str | None) -> tuple[int, ...] | None:
    """`32,64` -> (32, 64). Raises ConfigError."""
    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(
            f"channels {text!r}: give whole numbers with commas, such as 32,64,160"
        ) from None
