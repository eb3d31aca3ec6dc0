"""Commands that count: count, places, left-out."""

from __future__ import annotations

from typing import Annotated

import typer

from search.cli import arguments, output
from search.cli.arguments import AsJson
from search.cli.session import open_engine
from search.records.browsing import MOST_CELLS, WORLD, Bounds

Where = Annotated[
    list[str] | None,
    typer.Option(
        metavar="EXPR", help="Only pictures that hold a condition, as in search. Repeatable."
    ),
]


def count(
    context: typer.Context,
    fields: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FIELD...", help="Such as type, year, camera or tag; without any, all of them."
        ),
    ] = None,
    where: Where = None,
    as_json: AsJson = False,
) -> None:
    """Count the pictures by the values that they have: types, years, cameras, folders, colors..."""
    with open_engine(context) as engine:
        facets = engine.facets(where or (), fields or ())
    output.print_json(facets) if as_json else output.print_facets(facets)


def places(
    context: typer.Context,
    where: Where = None,
    bounds: Annotated[
        str | None,
        typer.Option(metavar="WEST,SOUTH,EAST,NORTH", help="Only there; in degrees."),
    ] = None,
    cells: Annotated[
        int, typer.Option(metavar="N", help=f"Cells from west to east, 1 to {MOST_CELLS}.")
    ] = 16,
    as_json: AsJson = False,
) -> None:
    """Count the pictures by the place where they were taken, in groups by the cells of a grid."""
    part = WORLD if bounds is None else Bounds.parse(bounds)
    with open_engine(context) as engine:
        groups = engine.places(part, cells, where or ())
    if as_json:
        output.print_json({"groups": [vars(one) for one in groups]})
    else:
        output.print_places(groups)


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
