"""`lookalike duplicates`: groups of duplicates, and what of them goes to the bin."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer

from search.cli import arguments, output, sheets
from search.cli.arguments import AsJson
from search.cli.removal import report_removal
from search.cli.session import open_engine
from search.records.duplicates import CompareProgress, Duplicates
from search.records.indexing import Progress


def duplicates(
    context: typer.Context,
    kind: Annotated[
        str | None,
        typer.Option(
            metavar="KIND",
            help="exact (same bytes or pixels), copy (the same picture, edited) or similar; "
            "without it all, one after the other.",
        ),
    ] = None,
    min_score: Annotated[
        float | None,
        typer.Option(metavar="S", help="Least cosine of any two of a group, 0.85 to 1."),
    ] = None,
    min_probability: Annotated[
        float | None,
        typer.Option(
            metavar="P",
            help="Least probability, 0 to 1, that one of a group is a copy of another; needs a "
            "calibration of the model.",
        ),
    ] = None,
    folder: Annotated[
        str | None,
        arguments.option(
            "--in", metavar="FOLDER", help="Only files in FOLDER.", parser=arguments.source
        ),
    ] = None,
    between: Annotated[
        tuple[str, str] | None,
        typer.Option(
            "--between",
            metavar="A B",
            help="Only groups with files of both folders; those of A are kept, without --keep.",
            show_default=False,
        ),
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            metavar="EXPR", help="Only pictures that hold a condition, as for search. Repeatable."
        ),
    ] = None,
    keep: Annotated[
        str | None,
        typer.Option(
            metavar="RULES",
            help="What is kept: of largest, oldest, sharpest, metadata and folder:PATH, in their "
            "order, with commas; largest,metadata,oldest without it.",
        ),
    ] = None,
    sort: Annotated[
        str, typer.Option(metavar="KEY", help="bytes that removing frees, or score.")
    ] = "bytes",
    limit: Annotated[
        int | None, typer.Option("-n", help="How many groups at most.", show_default=False)
    ] = None,
    remove: Annotated[
        bool,
        typer.Option(
            "--remove", help="Move the others of each group to the bin; needs --kind. Asks twice."
        ),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="With --remove: do not ask.")] = False,
    only_paths: Annotated[
        bool,
        typer.Option("--paths", help="Print the files that would be removed alone, one a line."),
    ] = False,
    print0: Annotated[
        bool, typer.Option("--print0", help="As --paths, with a NUL behind each, for xargs -0.")
    ] = False,
    html_file: Annotated[
        Path | None,
        arguments.option("--html", metavar="FILE", help="Write a contact sheet of the groups."),
    ] = None,
    csv_file: Annotated[
        Path | None, arguments.option("--csv", metavar="FILE", help="Write the groups as a table.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List duplicates in groups, and what would be kept and removed. Nothing is changed without
    --remove."""
    if as_json + only_paths + print0 > 1:
        raise typer.BadParameter("--json, --paths and --print0: give one of them")
    if limit is not None and limit < 1:
        raise typer.BadParameter(f"-n {limit}: give 1 or more")
    if remove and kind is None:
        raise typer.BadParameter("--remove needs --kind: exact, copy or similar")
    if yes and not remove:
        raise typer.BadParameter("--yes goes with --remove")
    if remove and not yes and not is_terminal():
        raise typer.BadParameter("without a terminal to ask on, give --yes")
    with open_engine(context) as engine:
        options: dict[str, Any] = {"min_score": min_score, "folder": folder, "between": between}
        options |= {
            "min_probability": min_probability,
            "where": where or (),
            "keep": keep,
            "sort": sort,
        }
        listed = engine.duplicates(kind, **options, size=1, follow=_follow)
        groups = islice(engine.iterate_duplicates(kind, **options), limit)
        listed = replace(listed, groups=tuple(groups), pages=1)
        if html_file is not None:
            sheets.write_duplicates_sheet(html_file, listed, engine)
        if csv_file is not None:
            sheets.write_duplicates_csv(csv_file, listed)
        if remove:
            offered = [one for group in listed.groups if (one := group.replacement)]
            if not yes:
                _ask_twice(listed)
            report_removal(engine.remove_duplicates(offered), as_json)
            return
    if as_json:
        output.print_json(listed)
    elif only_paths or print0:
        output.print_removed_paths(listed, "\0" if print0 else "\n")
    else:
        for text in output.describe_duplicates(listed):
            output.write(text)
        if kind is None and listed.groups:
            output.note("to remove those of one kind: lookalike duplicates --kind KIND --remove")


def is_terminal() -> bool:
    """Return whether there is somebody to ask."""
    return sys.stdin.isatty()


def _follow(run: Iterable[CompareProgress]) -> None:
    """Show the progress of comparing on standard error."""
    output.show_events(run, lambda one: Progress("compare", one.done, one.total))


def _ask_twice(listed: Duplicates) -> None:
    """Show what would be done and ask for it. Raises Exit unless both answers are yes."""
    for text in output.describe_duplicates(listed):
        output.note(text)
    groups = [one for one in listed.groups if one.replacement]
    files = sum(len(one.replacement.remove) for one in groups if one.replacement)
    if not files:
        output.note("nothing is offered for removal")
        raise typer.Exit(0)
    question = f"Move {files} files of {len(groups)} groups to the bin?"
    again = f"{files} files go to the bin, and one picture of each group stays. Go on?"
    for text in (question, again):
        if not typer.confirm(text, err=True):
            raise typer.Exit(1)
