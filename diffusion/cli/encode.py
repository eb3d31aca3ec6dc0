"""`lookalike diffusion encode`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from diffusion.cli.arguments import Device
from diffusion.cli.output import make_counter, print_note, print_skipped
from diffusion.errors import ConfigError


def encode(
    data: Annotated[
        list[str], typer.Argument(metavar="DATA...", help="Folders or zips of pictures.")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="Where they go.")],
    size: Annotated[
        int, typer.Option("--image-size", "--size", metavar="PX", help="To train on later.")
    ] = 128,
    versions: Annotated[
        int, typer.Option(metavar="V", min=1, help="Random windows of each picture.")
    ] = 6,
    seed: Annotated[int, typer.Option(metavar="S", help="Of the windows.")] = 0,
    device: Device = "auto",
) -> None:
    """Encode pictures to latents, once, for `train --preset photo`. The same command resumes.

    A picture takes about 100 kB at 128 pixels and 6 versions. Its originals are only read.
    """
    from diffusion.model.autoencoder import load_autoencoder
    from diffusion.model.presets import preset
    from diffusion.training.devices import choose_device
    from diffusion.training.latents import choose_windows, encode_folder

    multiple = preset("photo").multiple
    if size < multiple or size % multiple or seed < 0:
        raise ConfigError(
            f"image size {size}, seed {seed}: give a multiple of {multiple}, and a seed from 0"
        )
    where = choose_device(device)
    out = out.expanduser()
    windows = choose_windows(size, versions)
    print_note("encoding pictures")
    latents = encode_folder(
        data, out, load_autoencoder(where), windows, seed, make_counter("encoding")
    )
    print_skipped(latents.skipped)
    print_note(f"{out}: {len(latents.names)} pictures, {len(latents.skipped)} skipped")
