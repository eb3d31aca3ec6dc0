"""The `lookalike` command: its options, its commands, and its exit status.

Exit status: 0 done, 1 failed, 2 wrong usage.
"""

from __future__ import annotations

import logging
import signal
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from diffusion import cli as diffusion
from diffusion.errors import ConfigError, DiffusionError
from search.cli import arguments, backup, library, output, search, serve, tokens, variants
from search.cli.session import Encoder, Interrupted, raise_interrupted
from search.errors import LookalikeError, QueryError


class Commands(TyperGroup):
    """The commands. Those of the contract that this version lacks have a message of their own."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find a command by its name. Raises BadParameter for one that this version lacks."""
        arguments.reject_unsupported(args[0])
        return super().resolve_command(ctx, args)


app = typer.Typer(
    name="lookalike",
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command()(library.index)
app.command(cls=arguments.OrderedCommand)(search.search)
app.command()(search.words)
app.command()(variants.variants)
app.command()(variants.augment)
app.command()(library.status)
app.command()(library.check)
app.command()(library.forget)
app.command()(backup.backup)
app.command()(backup.restore)
app.command()(backup.move)
app.command()(library.embed)
app.command()(serve.serve)
app.command()(serve.link)
app.add_typer(tokens.app, name="token")
app.add_typer(diffusion.app, name="diffusion")


def _print_version(requested: bool) -> None:
    if requested:
        from importlib.metadata import version

        typer.echo(f"lookalike {version('lookalike')}")
        raise typer.Exit


@app.callback()
def set_options(
    context: typer.Context,
    home: Annotated[
        Path | None,
        arguments.option(
            metavar="DIR",
            help="Folder of the library (default: LOOKALIKE_HOME, or the user's data).",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="auto, mini, an open_clip ARCH, ARCH:TAG or ARCH:/path/to/weights, or a timm "
            "timm:NAME or timm:NAME:/path/to/weights."
        ),
    ] = None,
    device: Annotated[str | None, typer.Option(help="Device the models run on: cpu, cuda.")] = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Log what the library does to standard error.")
    ] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Find the pictures that look like this one, in your own folders."""
    if verbose:
        logging.basicConfig(format="%(asctime)s %(name)s: %(message)s", datefmt="%H:%M:%S")
        logging.getLogger("search").setLevel(logging.INFO)
    context.obj = {"home": home, "model": model, "device": device, "encode": Encoder(context)}
    if device:  # for the commands of diffusion too, unless they have one of their own
        names = ("train", "sample", "process", "evaluate")
        context.default_map = {"diffusion": dict.fromkeys(names, {"device": device})}


def main() -> None:
    """Run the command, and turn an error into one line and an exit status."""
    signal.signal(signal.SIGINT, raise_interrupted)
    try:
        app()
    except LookalikeError as error:
        output.note(f"lookalike: {error}")
        sys.exit(2 if isinstance(error, QueryError) else 1)
    except DiffusionError as error:
        output.note(f"lookalike: {error}")
        sys.exit(2 if isinstance(error, ConfigError) else 1)
    except Interrupted:
        output.note("lookalike: stopped; the same command goes on from here")
        sys.exit(1)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
