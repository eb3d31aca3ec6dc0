"""Commands that ask the library: search, words."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from search.cli import arguments, output, sheets
from search.cli.arguments import AsJson
from search.cli.session import find_server, open_engine
from search.process import limit_blas
from search.records.saved import since_condition


def search(
    context: typer.Context,
    images: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="IMAGE...",
            help="A file, a URL, id:ID, or - for standard input; several add up.",
        ),
    ] = None,
    k: Annotated[int, typer.Option("-k", help="How many pictures, 1 to 10000.")] = 10,
    text: Annotated[
        list[str] | None,
        typer.Option(metavar="T", help="What is to be seen; see `lookalike words`. Repeatable."),
    ] = None,
    away: Annotated[
        list[str] | None,
        typer.Option("--not", metavar="IMAGE", help="Search away from a picture. Repeatable."),
    ] = None,
    away_text: Annotated[
        list[str] | None,
        typer.Option("--not-text", metavar="T", help="Search away from a text. Repeatable."),
    ] = None,
    weight: Annotated[
        list[str] | None,
        typer.Option(
            metavar="W", help="Of the first IMAGE or --text; again for the second, and so on."
        ),
    ] = None,
    line: Annotated[
        str | None,
        typer.Option(
            "--query",
            metavar="LINE",
            help="All on one line: '2:beach + ./pool.jpg - people date:2024 -tag:draft'.",
        ),
    ] = None,
    crop: Annotated[
        list[str] | None,
        typer.Option(
            metavar="X,Y,W,H", help="Part of the IMAGE before it: pixels, or shares like 25%."
        ),
    ] = None,
    min_score: Annotated[
        float | None, typer.Option(metavar="S", help="Only pictures with at least this score.")
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            metavar="EXPR",
            help="Only pictures that hold a condition, such as 'type=jpeg and width>=1000'. "
            "Repeatable; alone, it lists them.",
        ),
    ] = None,
    sort: Annotated[
        str | None,
        typer.Option(
            metavar="KEY",
            help="score, date, name, size, folder, color or added; -KEY reverses: --sort=-date.",
        ),
    ] = None,
    collapse: Annotated[
        bool, typer.Option("--collapse", help="Fold copies of a hit into it, and name them.")
    ] = False,
    kind: Annotated[
        str | None,
        typer.Option(
            metavar="KIND",
            help="identical: the same pixels as IMAGE; copy: edited ones too; similar: all, with "
            "their kind.",
        ),
    ] = None,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify", help="Compare hits point by point, and tell copies from what is alike."
        ),
    ] = False,
    expand: Annotated[
        int,
        typer.Option(
            metavar="N", help="Add the N nearest pictures of the library to the query, 0 to 100."
        ),
    ] = 0,
    fuse: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODEL=WEIGHT",
            help="Compare pictures under another model too, by its name in `status`; WEIGHT is "
            "above 0, at most 10: diffusion=0.2. Repeatable.",
        ),
    ] = None,
    restore: Annotated[
        bool,
        typer.Option(
            "--restore", help="Brighten IMAGE if it is dark, and remove its noise if it is noisy."
        ),
    ] = False,
    mask: Annotated[
        Path | None,
        arguments.option(
            "--mask",
            metavar="FILE",
            help="With --restore: paint over IMAGE where FILE, of the same size, is white.",
        ),
    ] = None,
    offset: Annotated[int, typer.Option(metavar="N", help="Leave out the first N.")] = 0,
    find_hidden: Annotated[
        bool, typer.Option("--hidden", help="Find hidden pictures too.")
    ] = False,
    only_paths: Annotated[
        bool, typer.Option("--paths", help="Print paths alone, one a line.")
    ] = False,
    print0: Annotated[
        bool,
        typer.Option("--print0", help="Print paths alone, a NUL behind each, for xargs -0."),
    ] = False,
    html_file: Annotated[
        Path | None,
        arguments.option(
            "--html", metavar="FILE", help="Write a contact sheet: one HTML file with thumbnails."
        ),
    ] = None,
    csv_file: Annotated[
        Path | None, arguments.option("--csv", metavar="FILE", help="Write the answer as a table.")
    ] = None,
    zip_file: Annotated[
        Path | None,
        arguments.option("--zip", metavar="FILE", help="Write the original files as an archive."),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="WHEN",
            help="Only pictures that came to the library since then: 2024-05, 7d, last month.",
        ),
    ] = None,
    save: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Also save the search, with copies of its pictures; see `lookalike saved`.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Find the pictures that look like IMAGE, best first, or those that hold a condition."""
    if as_json + only_paths + print0 > 1:
        raise typer.BadParameter("--json, --paths and --print0: give one of them")
    limit_blas()
    if since is not None:
        where = [*(where or ()), since_condition(since)]
    query = arguments.parse_query(
        images or [],
        k,
        min_score,
        line,
        where or (),
        sort=sort,
        collapse=collapse,
        kind=kind,
        offset=offset,
        expand=expand,
        restore=restore,
        mask=None if mask is None else str(mask),
        fuse=arguments.parse_fuse(fuse or ()),
    )
    query = replace(query, hidden=find_hidden, verify=verify)
    # it sends neither thumbnails nor files, and what is saved there is saved here
    needs_engine = html_file is not None or zip_file is not None or save is not None
    server = None if needs_engine else find_server(context)
    hits = server.search(query) if server else None
    if hits is None:
        with open_engine(context, one_shot=True) as engine:
            hits = engine.search(query)
            if save is not None:
                engine.save_search(save, query)
            if html_file is not None:
                sheets.write_contact_sheet(html_file, hits, engine)
            if zip_file is not None:
                output.write_file(zip_file, engine.archive(engine.select([one.id for one in hits])))
    if csv_file is not None:
        sheets.write_csv(csv_file, hits)
    if only_paths or print0:
        output.print_paths(hits, "\0" if print0 else "\n")
    elif as_json:
        output.print_json(hits)
    else:
        output.print_hits(hits)


def words(
    context: typer.Context,
    prefix: Annotated[
        str, typer.Argument(metavar="PREFIX", help="What they begin with, such as ca or 汽.")
    ] = "",
    limit: Annotated[int, typer.Option("-n", help="How many at most.")] = 10_000,
    as_json: AsJson = False,
) -> None:
    """List the words that `search --text` knows under the library's model."""
    with open_engine(context) as engine:
        known = engine.words(prefix, limit)
    output.print_json(known) if as_json else output.print_words(known, prefix)
