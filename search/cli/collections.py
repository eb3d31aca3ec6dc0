"""Commands on collections, which are indexed folders under a name."""

from __future__ import annotations

from typing import Annotated

import typer

from search.cli import arguments, output
from search.cli.arguments import AsJson
from search.cli.session import open_engine
from search.records.collections import NamedCollection

app = typer.Typer(
    name="collection",
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Name indexed folders, so that --where collection=NAME finds pictures in them alone.",
)
Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the collection.")]


@app.command()
def add(
    context: typer.Context,
    name: Name,
    folders: Annotated[
        list[str],
        arguments.argument("FOLDER...", "Indexed folders, buckets or sites.", arguments.source),
    ],
    as_json: AsJson = False,
) -> None:
    """Put indexed folders into a collection; it is made if there is none of this name. A folder is
    in one collection at most."""
    with open_engine(context) as engine:
        collection = engine.collections.add(name, folders)
    _print(collection, as_json)


@app.command(name="list")
def list_collections(context: typer.Context, as_json: AsJson = False) -> None:
    """List the collections: their pictures and folders."""
    with open_engine(context) as engine:
        collections = engine.collections.all()
    if as_json:
        output.print_json({"collections": [one.to_json() for one in collections]})
        return
    for one in collections:
        _print(one, as_json)
    if not collections:
        output.note("no collections; `lookalike collection add NAME FOLDER` makes one")


@app.command()
def rename(
    context: typer.Context,
    name: Name,
    new: Annotated[str, typer.Argument(metavar="NEW", help="Its new name.")],
    as_json: AsJson = False,
) -> None:
    """Give a collection another name."""
    with open_engine(context) as engine:
        collection = engine.collections.rename(name, new)
    _print(collection, as_json)


@app.command()
def remove(
    context: typer.Context,
    name: Name,
    folders: Annotated[
        list[str] | None,
        arguments.argument(
            "[FOLDER]...", "Folders to take out; without one, all of them.", arguments.source
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Take folders out of a collection. A collection without folders is gone; the pictures stay in
    the library."""
    with open_engine(context) as engine:
        engine.collections.remove(name, folders or ())
        left = [one.to_json() for one in engine.collections.all()]
    if as_json:
        output.print_json({"collections": left})
    elif folders:
        output.write(f"{output.line(name)} is without {', '.join(map(output.line, folders))} now")
    else:
        output.write(f"{output.line(name)} is no collection any more; its pictures stay")


def _print(collection: NamedCollection, as_json: bool) -> None:
    if as_json:
        output.print_json(collection)
        return
    where = ", ".join(output.line(path) for path in collection.folders)
    output.write(f"{collection.pictures:>7}  {output.line(collection.name)}  {where}")
