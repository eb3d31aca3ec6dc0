"""The command that says what works and what is missing."""

from __future__ import annotations

import typer

from search.cli import output
from search.cli.arguments import AsJson
from search.cli.session import read_options


def doctor(context: typer.Context, as_json: AsJson = False) -> None:
    """Check the installation and the library, and say what is missing and what to do.

    Exit status 1 if something must be mended. Optional parts may be missing.
    """
    from search.diagnosis import diagnose

    diagnosis = diagnose(**read_options(context))
    if as_json:
        output.print_json(diagnosis)
    else:
        for one in diagnosis.findings:
            output.write(f"{one.condition:8} {one.part:15} {output.line(one.message)}")
            if one.remedy:
                output.write(f"{'':25}{output.line(one.remedy)}")
    if not diagnosis.is_healthy:
        raise typer.Exit(1)
