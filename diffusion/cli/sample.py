"""`lookalike diffusion sample`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from diffusion.cli.arguments import (
    Checkpoint,
    ClassName,
    Device,
    Guidance,
    Interval,
    Like,
    Sampler,
    Seed,
    Steps,
)
from diffusion.cli.output import print_note

SHOWN = 100  # pictures of a grid at most


def sample(
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="Where they go.")],
    n: Annotated[int, typer.Option("-n", min=1, max=100_000, help="How many.")] = 16,
    checkpoint: Checkpoint = None,
    like: Like = None,
    name: ClassName = None,
    steps: Steps = 15,
    sampler: Sampler = "dpmpp_2m",
    guidance: Guidance = 1.0,
    interval: Interval = None,
    seed: Seed = 0,
    device: Device = "auto",
) -> None:
    """Make pictures: a PNG each, named by its seed, and all of them in grid.png."""
    import torch
    from PIL import Image

    from diffusion.data import to_bytes
    from diffusion.model.checkpoint import load
    from diffusion.model.denoiser import FULL_INTERVAL
    from diffusion.plots import refuse_overwrite, save_png, tile_pictures
    from diffusion.sampling.sample import load_condition, sample_batches
    from diffusion.training.devices import choose_device

    model = load(checkpoint, choose_device(device))
    condition = load_condition(model, n, like, name, seed)
    for file in (*(f"{seed + i:05d}.png" for i in range(n)), "grid.png"):
        refuse_overwrite(out / file)
    count, shown = 0, list[torch.Tensor]()
    interval = interval or FULL_INTERVAL
    for part in sample_batches(model, n, seed, condition, steps, sampler, guidance, interval):
        for picture in to_bytes(part).permute(0, 2, 3, 1).cpu().numpy():
            save_png(out / f"{seed + count:05d}.png", Image.fromarray(picture))
            count += 1
        if count - len(part) < SHOWN:  # a copy: a slice would keep the whole batch in memory
            shown.append(part[: SHOWN - count + len(part)].clone())
        print_note(f"{count} of {n}")
    save_png(out / "grid.png", tile_pictures(torch.cat(shown)))
    print_note(f"{out}: the pictures, and grid.png with all of them")
