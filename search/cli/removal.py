"""`lookalike remove`: pictures to the system's bin, and back."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from search.cli import output
from search.cli.arguments import AsJson
from search.cli.session import open_engine
from search.cli.tags import resolve_images
from search.records.indexing import Skip
from search.records.removals import Removal


def remove(
    context: typer.Context,
    images: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="IMAGE...",
            help="A file, id:ID, an ID, or - for ids from standard input, one a line.",
            show_default=False,
        ),
    ] = None,
    undo: Annotated[
        str | None,
        typer.Option(metavar="UNDO", help="Take the files of a removal back from the bin."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Move all files of pictures to the system's bin, and take them out of the library."""
    if bool(images) == (undo is not None):
        raise typer.BadParameter("give IMAGE..., or --undo UNDO")
    if undo is not None:
        with open_engine(context) as engine:
            restored = engine.undo_removal(undo)
        if as_json:
            output.print_json(restored)
        else:
            output.write(f"{len(restored.ids)} pictures are back")
        _report(restored.failed)
        return
    with open_engine(context) as engine:
        ids = resolve_images(engine, images or [])
        paths = [path for one in dict.fromkeys(ids) for path in engine.picture(one).paths]
        if not yes:
            if not sys.stdin.isatty():
                raise typer.BadParameter("without a terminal to ask on, give --yes")
            for path in paths:
                output.note(path)
            if not typer.confirm(f"Move {len(paths)} files to the bin?", err=True):
                raise typer.Exit(1)
        removal = engine.remove(ids)
    report_removal(removal, as_json)


def report_removal(removal: Removal, as_json: bool) -> None:
    """Print what was removed and how it is undone. Raises Exit if files stay."""
    if as_json:
        output.print_json(removal)
    else:
        output.write(f"{removal.files} files are in the bin")
        if removal.undo:
            output.write(f"to take them back: lookalike remove --undo {removal.undo}")
    _report(removal.failed)


def _report(failed: Sequence[Skip]) -> None:
    """Name the files that stay as they are. Raises Exit if there are any."""
    for one in failed:
        output.note(f"lookalike: {output.line(one.path)}: {output.line(one.reason)}")
    if failed:
        raise typer.Exit(1)
