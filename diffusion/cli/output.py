"""What the commands write to standard error: lines, and the progress of long work."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from diffusion.training.options import Progress

LINE_SECONDS = 10.0
"""Seconds between two lines where there is no progress bar."""

SHOWN = 10  # files that are listed with their reasons


def print_note(text: str) -> None:
    """Write a line."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def print_skipped(skipped: Sequence[tuple[str, str]]) -> None:
    """Write the names of the first files that were skipped, with the reasons. Names come out of
    zips of others, so control characters, which a terminal would obey, are escaped."""
    for name, reason in skipped[:SHOWN]:
        text = f"skipped {name}: {reason}"
        print_note("".join(c if c.isprintable() else ascii(c)[1:-1] for c in text))
    if len(skipped) > SHOWN:
        print_note(f"skipped {len(skipped) - SHOWN} more")


def make_counter(verb: str) -> Callable[[int, int], None]:
    """A function of how many files of how many are done. It writes a line now and then."""
    last = time.monotonic()

    def count(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last >= LINE_SECONDS:
            last = time.monotonic()
            print_note(f"{verb} pictures: {done} of {total}")

    return count


def show_progress(events: Iterable[Progress]) -> bool:
    """Show the progress of a training. Returns whether it came to its end."""
    finished = False
    show = _bar if sys.stderr.isatty() else _lines
    for event in show(events):
        finished = event.finished
    return finished


def _lines(events: Iterable[Progress]) -> Iterable[Progress]:
    last = -LINE_SECONDS
    for event in events:
        now = time.monotonic()
        if event.message:
            print_note(event.message)
        due = now - last >= LINE_SECONDS or event.validation is not None
        if event.loss is not None and (due or event.step == event.steps):
            print_note(_describe(event))
            last = now
        yield event


def _describe(event: Progress) -> str:
    held = "" if event.validation is None else f", validation {event.validation:.4f}"
    left = f", {event.left:.0f} s left" if event.left is not None else ", measuring the rate"
    return (
        f"step {event.step} of {event.steps or '?'}, loss {event.loss:.4f}{held}, "
        f"{event.rate:.0f} pictures/s{left}"
    )


def _bar(events: Iterable[Progress]) -> Iterable[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress as Bar, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Bar(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("measuring the rate", total=None)
        for event in events:
            if event.message:
                bar.console.print(event.message, highlight=False, markup=False)
            if event.loss is not None:
                text = _describe(event).rpartition(",")[0]
                bar.update(task, description=text, completed=event.step, total=event.steps)
            yield event
