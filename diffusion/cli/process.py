"""`lookalike diffusion process`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from diffusion.cli.arguments import Checkpoint, ClassName, Device, Like, Seed
from diffusion.cli.output import print_note


def process(
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="A picture.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FILE", help="A PNG.")],
    checkpoint: Checkpoint = None,
    like: Like = None,
    name: ClassName = None,
    steps: Annotated[int, typer.Option(metavar="N", help="Steps of the reverse process.")] = 250,
    seed: Seed = 0,
    device: Device = "auto",
) -> None:
    """Draw how a picture turns into noise, how noise turns into a picture, and the schedule."""
    from PIL import Image

    from diffusion.data import read_picture
    from diffusion.model.checkpoint import load
    from diffusion.plots import refuse_overwrite
    from diffusion.sampling.process import draw_process
    from diffusion.sampling.sample import load_condition
    from diffusion.training.devices import choose_device

    refuse_overwrite(out)
    model = load(checkpoint, choose_device(device))
    picture = Image.fromarray(read_picture(image, model.config.size))
    condition = load_condition(model, 1, like, name, seed) if like or name else None
    draw_process(model, picture, out, condition, seed=seed, steps=steps)
    print_note(f"{out}: by the model {model.config.preset} at {model.config.size} px")
