"""The command that lists the frames of a film."""

from __future__ import annotations

from typing import Annotated

import typer

from search.cli import output
from search.cli.arguments import AsJson
from search.cli.session import open_engine


def frames(
    context: typer.Context,
    identity: Annotated[str, typer.Argument(metavar="ID", help="Id of a frame, from a search.")],
    as_json: AsJson = False,
) -> None:
    """List the frames of the film that a picture is of, with their times."""
    from search.records.hits import format_time  # other commands do not need it

    with open_engine(context) as engine:
        listed = engine.frames(identity.removeprefix("id:"))
    if as_json:
        output.print_json(listed)
        return
    if not listed.frames:
        output.note(f"{output.line(listed.path)} has no frames; give the id of a frame of a film")
    for one in listed.frames:
        output.write(f"{format_time(one.time)}  {one.id[:12]}")
