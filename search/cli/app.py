"""The `lookalike` command: its options, its commands, and its exit status.

Exit status: 0 done, 1 failed, 2 wrong usage.
"""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from diffusion.errors import ConfigError, DiffusionError
from search.cli import arguments, output
from search.cli.session import Encoder, Interrupted, raise_interrupted
from search.errors import LookalikeError, QueryError

COMMANDS = {
    "index": "search.cli.library",
    "search": "search.cli.search",
    "saved": "search.cli.saved",
    "duplicates": "search.cli.duplicates",
    "count": "search.cli.counts",
    "places": "search.cli.counts",
    "words": "search.cli.search",
    "text": "search.cli.library",
    "sources": "search.cli.sources",
    "frames": "search.cli.films",
    "caption": "search.cli.caption",
    "tag": "search.cli.tags",
    "favourite": "search.cli.tags",
    "rating": "search.cli.tags",
    "album": "search.cli.tags",
    "collection": "search.cli.collections",
    "inbox": "search.cli.inbox",
    "hidden": "search.cli.tags",
    "remove": "search.cli.removal",
    "variants": "search.cli.variants",
    "augment": "search.cli.variants",
    "status": "search.cli.library",
    "left-out": "search.cli.counts",
    "doctor": "search.cli.doctor",
    "check": "search.cli.library",
    "calibrate": "search.cli.calibrate",
    "forget": "search.cli.library",
    "backup": "search.cli.backup",
    "restore": "search.cli.backup",
    "move": "search.cli.backup",
    "embed": "search.cli.library",
    "export": "search.cli.library",
    "serve": "search.cli.serve",
    "link": "search.cli.serve",
    "mcp": "search.cli.mcp",
    "token": "search.cli.tokens",
    "diffusion": "diffusion.cli.app",
}
"""Commands in the order of the help -> the module with the function of that name, with `_` for `-`,
or with a Typer `app` of subcommands. A module is imported when its command runs: all take as long
as `status`."""

CLASSES = {"search": arguments.OrderedCommand}
"""Commands that parse their arguments in another way."""


class CommandModules(Mapping[str, Any]):
    """The commands by name, each built when it is looked up."""

    def __init__(self) -> None:
        self._built: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._built:
            module = import_module(COMMANDS[name])
            self._built[name] = build_command(module, name)
        return self._built[name]

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


def build_command(module: ModuleType, name: str) -> Any:
    """Build the command of a module by its name."""
    group: typer.Typer | None = getattr(module, "app", None)
    if group is None:
        group = typer.Typer(
            add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None
        )
        group.command(cls=CLASSES.get(name))(getattr(module, name.replace("-", "_")))
    command = get_command(group)
    command.name = name
    return command


class Commands(TyperGroup):
    """The commands, which are read when one is used."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options | {"commands": {}})
        self.commands = CommandModules()  # type: ignore[assignment]


app = typer.Typer(
    name="lookalike",
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


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
    if logging.lastResort is not None:  # it writes warnings, unless a log is set up
        logging.lastResort.setFormatter(output.LineFormatter())
    if verbose:
        handler = logging.StreamHandler()
        form = "%(asctime)s %(name)s: %(message)s"
        handler.setFormatter(output.LineFormatter(form, datefmt="%H:%M:%S"))
        logging.basicConfig(handlers=[handler])
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
