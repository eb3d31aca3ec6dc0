"""The command that fits what scores mean."""

from __future__ import annotations

from typing import Annotated

import typer

from search.cli import output
from search.cli.arguments import AsJson
from search.cli.session import open_engine
from search.records.indexing import Progress


def calibrate(
    context: typer.Context,
    n: Annotated[
        int, typer.Option("-n", min=1, max=10_000, help="Pictures to edit and search for.")
    ] = 200,
    seed: Annotated[int, typer.Option(help="Chooses the pictures and the edits.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Fit the probability that a hit is the query's picture, on edits of the library's pictures."""
    with open_engine(context) as engine:
        steps = engine.calibrate(n, seed)
        last = output.show_events(steps, lambda e: Progress("calibrate", e.done, e.total))
    report = last.report if last else None
    if report is None:
        return
    if as_json:
        output.print_json(report)
    else:
        output.write(
            f"fitted for {output.line(report.model)} on {report.pictures} edited pictures in "
            f"{report.seconds} s"
        )
        for name, pairs in report.pairs.items():
            error = f"expected calibration error {report.error[name]:.3f}"
            output.write(f"by {name}: {pairs} pairs, {error}")
