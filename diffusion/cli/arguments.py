"""Arguments that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Checkpoint = Annotated[
    Path | None,
    typer.Option(
        metavar="C",
        help="A checkpoint (.safetensors), or a model in the package: ddpm or photo.  [default: "
        "ddpm]",
    ),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, xpu or mps.")]
Seed = Annotated[int, typer.Option(metavar="S", help="Of the first picture; 64 bits.")]
Steps = Annotated[int, typer.Option(metavar="N", help="Steps of the sampler.")]
Sampler = Annotated[str, typer.Option(help="ancestral, ddim, heun or dpmpp_2m.")]
Guidance = Annotated[float, typer.Option(metavar="W", help="1 is none.")]
Interval = Annotated[
    tuple[float, float] | None,
    typer.Option(
        metavar="LOW HIGH", help="Sigmas between which guidance acts.", show_default="everywhere"
    ),
]
Like = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="Condition on the vectors that `lookalike embed` wrote."),
]
ClassName = Annotated[
    str | None, typer.Option("--class", metavar="NAME", help="Condition on a class.")
]
ImageSize = Annotated[
    int | None,
    typer.Option(
        "--image-size",
        "--size",
        metavar="PX",
        help="Side of the pictures.  [default: that of the preset]",
    ),
]
