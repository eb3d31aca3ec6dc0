"""Commands that count: count, left-out."""

from __future__ import annotations

from typing import Annotated

import typer

from search.cli import arguments, output
from search.cli.arguments import AsJson
from search.cli.session import open_engine


def count(
    context: typer.Context,
    fields: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FIELD...", help="Such as type, year, camera or tag; without any, all of them."
        ),
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            metavar="EXPR", help="Only pictures that hold a condition, as in search. Repeatable."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Count the pictures by the values that they have: types, years, cameras, folders, colors..."""
    with open_engine(context) as engine:
        facets = engine.facets(where or (), fields or ())
    output.print_json(facets) if as_json else output.print_facets(facets)


def left_out(
    context: typer.Context,
    paths: Annotated[
        list[str],
        arguments.argument("FOLDER...", "Indexed folders.", arguments.source),
    ],
    as_json: AsJson = False,
) -> None:
    """List the files of folders that no search finds, and why."""
    with open_engine(context) as engine:
        listed = [engine.left_out(path) for path in paths]
    both = sum(listed[1:], listed[0])
    output.print_json(both) if as_json else output.print_left_out(both)
