"""Commands that save a library to a file, bring it back, and move its catalog."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from search.cli import arguments, output
from search.cli.arguments import AsJson
from search.cli.session import open_engine, read_settings
from search.errors import LibraryError
from search.records.indexing import Progress


def backup(
    context: typer.Context,
    file: Annotated[
        Path, arguments.argument("FILE", "A zip file; an earlier backup there is replaced.")
    ],
    as_json: AsJson = False,
) -> None:
    """Save the catalog and the kept pictures to a file, even while the library is in use."""
    with open_engine(context) as engine:
        report = engine.backup(file)
    if as_json:
        output.print_json(report)
    else:
        output.write(
            f"{output.line(report.path)}: the catalog and {report.kept} kept pictures, "
            f"{report.bytes / 1e6:.1f} MB"
        )


def restore(
    context: typer.Context,
    file: Annotated[Path, arguments.argument("FILE", "A file that `backup` wrote.")],
    replace: Annotated[
        bool, typer.Option("--replace", help="Move the library that is there aside.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Bring a library back from a backup. Index and thumbnails are made again."""
    from search.cli.running_server import is_serving
    from search.engine import Engine

    settings = read_settings(context)
    if is_serving(settings):
        raise LibraryError(f"a server uses the library in {settings.home}; stop it first")
    report = Engine.restore(file, settings.home, replace, say=output.note)
    if as_json:
        output.print_json(report)
    else:
        output.write(f"{report.kept} kept pictures and the catalog are back in {settings.home}")
        output.note("`lookalike check` makes the thumbnails again; `index` follows the folders")


def move(
    context: typer.Context,
    to: Annotated[
        str,
        typer.Option(
            metavar="URL",
            help="postgresql+psycopg://USER@HOST/DATABASE, or sqlite: for the file in the "
            "library's folder. It must be empty.",
        ),
    ],
    as_json: AsJson = False,
) -> None:
    """Copy the catalog to another database, and compare the two. The old one stays as it is."""
    from search.cli.running_server import is_serving

    settings = read_settings(context)
    if is_serving(settings):
        raise LibraryError(f"a server uses the library in {settings.home}; stop it first")
    with open_engine(context) as engine:
        steps = engine.move(to)
        last = output.show_events(steps, lambda e: Progress("copy", e.done, e.total, e.table))
    report = last.report if last else None
    if report is None:
        raise LibraryError("the move ended early; run it again")
    if as_json:
        output.print_json(report)
        return
    counts = ", ".join(f"{report.rows[name]} {name}" for name in ("pictures", "vectors", "files"))
    output.write(f"{counts} are in {output.line(report.catalog)}, compared with the old catalog")
    output.write(f"from now on: {output.line(report.setting)}")
    output.note("the old catalog stays as it was; delete it when the new one serves you")
