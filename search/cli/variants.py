"""Commands that make pictures: variants, augment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from search.cli import arguments, output
from search.cli.arguments import AsJson
from search.cli.session import open_engine
from search.errors import LibraryError
from search.files import shown
from search.records.indexing import Progress

OutputFolder = Annotated[
    Path,
    arguments.option("-o", "--out", metavar="DIR", help="Where they go.", parser=arguments.folder),
]
Count = Annotated[int, typer.Option("-n", help="How many of a picture, 1 to 64.")]
Checkpoint = Annotated[
    Path | None, arguments.option(metavar="C", help="Weights other than the shipped ones.")
]

Generator = Annotated[
    str | None,
    typer.Option(
        metavar="G",
        help="lookalike, or a diffusers pipeline: a folder or a name of the hub (default: the "
        "setting generator).",
    ),
]


def variants(
    context: typer.Context,
    image: Annotated[
        str,
        typer.Argument(metavar="IMAGE", help="A file, a URL, id:ID, or - for standard input."),
    ],
    out: OutputFolder,
    n: Count = 4,
    regime: Annotated[
        str | None, typer.Option(metavar="R", help="near, same or concept (default: same).")
    ] = None,
    sigma: Annotated[
        float | None,
        typer.Option(metavar="S", help="Noise instead of a regime: 0 to 80, pure noise."),
    ] = None,
    start: Annotated[
        str,
        typer.Option("--from", metavar="F", help="picture, or neighbours: the library's nearest."),
    ] = "picture",
    guidance: Annotated[
        float | None, typer.Option(metavar="W", help="Towards what IMAGE is of; 1 is none.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(metavar="N", help="Steps back from the noise.")
    ] = None,
    seed: Annotated[int, typer.Option(metavar="S", help="Of the first; the next has S + 1.")] = 0,
    size: Annotated[int, typer.Option(metavar="PX", help="Long side, 64 to 512.")] = 256,
    generator: Generator = None,
    checkpoint: Checkpoint = None,
    as_json: AsJson = False,
) -> None:
    """Make pictures like IMAGE: PNG files, named by seed and sigma.

    The first n that are neither copies nor strangers are taken; -n 1 makes that of the seed. With
    --from neighbours, variants of the concept start from the library's nearest other pictures.
    """
    with open_engine(context, checkpoint=checkpoint) as engine:
        events = engine.vary(
            arguments.read_image(image),
            n=n,
            regime=regime,
            sigma=sigma,
            start=start,
            guidance=guidance,
            steps=steps,
            seed=seed,
            size=size,
            generator=generator,
        )
        last = output.show_events(events, lambda e: Progress(e.phase, e.done, e.total))
    if last is None or last.result is None:
        raise LibraryError("the variants ended early; run it again")
    files = [(variant.save(out, arguments.file_stem(image)), variant) for variant in last.result]
    if n > 1:
        output.note_rejected(last.result)
    if as_json:
        listed = [{"path": shown(str(path)), **variant.to_json()} for path, variant in files]
        output.print_json({"variants": listed, "seconds": round(last.result.seconds, 3)})
    else:
        output.print_variants(files)


def augment(
    context: typer.Context,
    path: Annotated[
        Path, arguments.argument("PATH", "A folder of pictures, or of classes of them.")
    ],
    out: OutputFolder,
    n: Count = 4,
    regime: Annotated[str, typer.Option(metavar="R", help="near, same or concept.")] = "near",
    seed: Annotated[int, typer.Option(metavar="S", help="From it each picture has its own.")] = 0,
    generator: Generator = None,
    checkpoint: Checkpoint = None,
    as_json: AsJson = False,
) -> None:
    """Make a training set: n variants of each picture, in class folders, with a manifest.

    The same command goes on where it stopped.
    """
    with open_engine(context, checkpoint=checkpoint) as engine:
        events = engine.augment(
            path, output=out, n=n, regime=regime, seed=seed, generator=generator
        )
        last = output.show_events(events, lambda e: Progress("draw", e.done, e.total, e.path))
    if last is None or last.report is None:
        raise LibraryError("the augmentation ended early; run it again")
    output.print_json(last.report) if as_json else output.print_augment_report(last.report)
