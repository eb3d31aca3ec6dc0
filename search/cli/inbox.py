"""The command that takes new pictures of the inbox into the library."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from search.cli import arguments, output
from search.cli.arguments import AsJson
from search.cli.session import open_engine


def inbox(
    context: typer.Context,
    folder: Annotated[
        Path | None,
        arguments.argument("[DIR]", "A folder (default: LOOKALIKE_INBOX)."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Copy the new pictures of the inbox into the library, once; its files stay. `lookalike serve
    --inbox DIR` does it whenever the folder changes."""
    with open_engine(context, **({} if folder is None else {"inbox": folder})) as engine:
        report = engine.take_inbox()
    if as_json:
        output.print_json(report)
        return
    for one in report.failed:
        output.note(f"not kept: {output.line(one.path)}: {output.line(one.reason)}")
    output.write(f"{report.kept} pictures kept, {report.known} known already")
