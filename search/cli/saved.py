"""Commands on saved searches."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from search.cli import output
from search.cli.arguments import AsJson
from search.cli.session import open_engine
from search.records.saved import LAST

app = typer.Typer(
    name="saved",
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Run, list, rename and remove saved searches. `lookalike search ... --save NAME` saves "
    "one.",
)
Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the search.")]


@app.command()
def run(
    context: typer.Context,
    name: Name,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="WHEN",
            help="Only pictures that came to the library since then: last (since the last run with "
            "--since last), or a period, such as 2024-05, 7d or last month.",
        ),
    ] = None,
    only_paths: Annotated[
        bool, typer.Option("--paths", help="Print paths alone, one a line.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Run a saved search. With --since last, it prints each new picture only once."""
    if as_json and only_paths:
        raise typer.BadParameter("--json and --paths: give one of them")
    with open_engine(context, one_shot=True) as engine:
        answer = engine.run_saved_search(name, since)
        if only_paths:
            output.print_paths(answer.hits, "\n")
        elif as_json:
            output.print_json(answer)
        else:
            output.print_hits(answer.hits)
        if since == LAST:  # after it was printed, so that nothing is lost
            engine.mark_saved_search(name, answer.newest)


@app.command(name="list")
def list_searches(context: typer.Context, as_json: AsJson = False) -> None:
    """List the saved searches, and when each was last run with --since last."""
    with open_engine(context) as engine:
        searches = engine.saved_searches()
    if as_json:
        output.print_json({"searches": [one.to_json() for one in searches]})
        return
    for one in searches:
        day = time.strftime("%Y-%m-%d %H:%M", time.localtime(one.seen))
        output.write(f"{output.line(one.name)}  seen {day}")
    if not searches:
        output.note("no saved searches; `lookalike search ... --save NAME` saves one")


@app.command()
def picture(
    context: typer.Context,
    name: Name,
    file: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Where to.")],
    number: Annotated[
        int, typer.Option(min=0, metavar="N", help="As image: N of the query has it.")
    ] = 0,
) -> None:
    """Write a picture of a saved search to a file."""
    with open_engine(context) as engine:
        data = engine.saved_picture(name, number)
    output.write_file(file, data)


@app.command()
def rename(
    context: typer.Context,
    name: Name,
    other: Annotated[str, typer.Argument(metavar="NEW", help="Its new name.")],
) -> None:
    """Rename a saved search."""
    with open_engine(context) as engine:
        engine.rename_saved_search(name, other)


@app.command()
def remove(context: typer.Context, name: Name) -> None:
    """Remove a saved search."""
    with open_engine(context) as engine:
        engine.delete_saved_search(name)
