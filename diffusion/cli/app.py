"""`lookalike diffusion`: the commands together."""

from __future__ import annotations

import os
import sys

import typer

from diffusion.cli.average import average
from diffusion.cli.encode import encode
from diffusion.cli.evaluate import evaluate
from diffusion.cli.export import export, import_folder
from diffusion.cli.output import print_note
from diffusion.cli.process import process
from diffusion.cli.sample import sample
from diffusion.cli.train import train
from diffusion.errors import ConfigError, DiffusionError

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # waiting threads leave the cores to others

app = typer.Typer(
    name="diffusion",
    help="Train a diffusion model on your own pictures, and sample from it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for command in (train, encode, average, sample, process, evaluate, export):
    app.command()(command)
app.command("import")(import_folder)


def main() -> None:
    """Run the command by itself (`python -m diffusion`): exit status 0, 1 failed, 2 wrong usage."""
    try:
        app()
    except DiffusionError as error:
        print_note(f"lookalike: {error}")
        sys.exit(2 if isinstance(error, ConfigError) else 1)
