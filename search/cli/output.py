"""How the command line talks: progress, tables, sizes. Standard output is for answers alone."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from search.records import (
    AugmentReport,
    CheckReport,
    Hits,
    IndexReport,
    Progress,
    Skip,
    Status,
    Variant,
    Variants,
    Words,
    shown,
)

if TYPE_CHECKING:
    from rich.console import Console

T = TypeVar("T")
PHASES = {
    "fetch": "fetching the model, MB",
    "scan": "looking",
    "index": "indexing",
    "embed": "embedding",
    "draw": "drawing",
    "finish": "finishing",
}
EVERY = 5.0  # seconds between plain lines


def line(text: str) -> str:
    """Text as one line that any terminal takes: what would move the cursor is escaped."""
    plain = (c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown(text))
    return "".join(plain)


def note(text: str) -> None:
    """A line for the user beside the answer."""
    sys.stderr.write(line(text) + "\n")
    sys.stderr.flush()


def out() -> Console:
    """Standard output; never wraps or shortens when it is not a terminal."""
    from rich.console import Console

    return Console(soft_wrap=not sys.stdout.isatty(), highlight=False, emoji=False)


def follow(events: Iterable[Progress]) -> IndexReport:
    """Show progress on standard error, a bar on a terminal and lines elsewhere; the report."""
    last = watch(events, lambda event: event)
    return (last and last.report) or IndexReport()


def watch(events: Iterable[T], told: Callable[[T], Progress]) -> T | None:
    """As `follow`, for events of any kind; told: how one is shown. The last event."""
    last: T | None = None

    def progress() -> Iterator[Progress]:
        nonlocal last
        for event in events:
            last = event
            yield told(event)

    for _ in (_bar if sys.stderr.isatty() else _lines)(progress()):
        pass
    return last


def _bar(events: Iterable[Progress]) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress as Bar,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        """Pictures a second."""

        def render(self, task: Task) -> Text:
            return Text(f"{task.speed or 0:.0f}/s")

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Rate())
    with Bar(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as bar:
        task = bar.add_task("looking", total=None)
        for event in events:
            total = event.total or None
            bar.update(task, description=PHASES[event.phase], completed=event.done, total=total)
            yield event


def _lines(events: Iterable[Progress]) -> Iterator[Progress]:
    begun = last = before = time.monotonic()
    phase = None
    for event in events:
        now = time.monotonic()
        if event.phase != phase:  # which began when the one before it ended
            phase, begun = event.phase, before
        before = now
        if (
            event.phase in ("fetch", "index", "embed", "draw")
            and event.done
            and now - last >= EVERY
        ):
            rate = event.done / max(now - begun, 1e-3)
            left = (event.total - event.done) / rate
            done = f"{PHASES[event.phase]} {event.done} of {event.total}"
            note(f"{done}, {rate:.0f}/s, {left:.0f} s left")
            last = now
        yield event


def indexed(report: IndexReport) -> None:
    """What a sync did."""
    parts = [
        f"{count} {name}"
        for name in ("added", "changed", "moved", "removed", "unchanged", "offline")
        if (count := getattr(report, name))
    ]
    say = out().print
    say(
        f"{', '.join(parts) or 'nothing to do'}; "
        f"{report.embedded} embedded in {report.seconds:.1f} s"
    )
    if report.offline:
        say("offline files are kept: a folder that is empty all at once may be a missing disk")
        say("  (`forget` takes them out; `index --allow-empty` too, of a folder that is there)")
    _skipped(report.skipped)
    say(f"{report.pictures} pictures in the library")


def embedded(report: IndexReport, file: Path) -> None:
    """What `embed` did."""
    made = f"{report.embedded} vectors in {report.seconds:.1f} s"
    out().print(f"{made}: {line(str(file))}", markup=False)
    _skipped(report.skipped)


def passed(made: Variants) -> None:
    """Says it when rejected variants fill the answer."""
    if made.passed < len(made):
        note(
            f"{made.passed} of {made.drawn} candidates were accepted; the best rejected ones are "
            "added"
        )


def drawn(made: Sequence[tuple[Path, Variant]]) -> None:
    """List variants: similarity, path, and the neighbour that each one started from."""
    for path, variant in made:
        likeness = f"{variant.similarity:.3f}"
        rejected = "" if variant.accepted else "  (rejected)"
        source = f"  from {line(variant.source.path)}" if variant.source else ""
        out().print(f"{likeness}  {line(str(path))}{rejected}{source}", markup=False)


def augmented(report: AugmentReport) -> None:
    """What `augment` did."""
    made = f"{report.made} variants made in {report.seconds:.1f} s"
    had = f"{report.unchanged} of {report.pictures} pictures had theirs"
    gone = f"; {report.removed} taken out, their pictures are gone" if report.removed else ""
    out().print(f"{made}; {had}{gone}: {line(report.output)}", markup=False)
    _skipped(report.skipped)


def _skipped(skipped: Sequence[Skip]) -> None:
    say = out().print
    if skipped:
        say(f"{len(skipped)} skipped:")
        for skip in skipped[:20]:
            say(f"  {line(skip.path)}: {line(skip.reason)}", markup=False)
        if len(skipped) > 20:
            say(f"  ... and {len(skipped) - 20} more (`--json` lists all)")


def list_words(known: Words, prefix: str) -> None:
    """Words that can be searched by, a line each."""
    if known.any_words:
        note(f"{known.model} takes any words; there is no list")
        return
    if not known.words:
        note(f"{known.model} knows no word that begins with {line(prefix)!r}, of {known.total}")
    for word in known.words:
        mark = "  (not measured)" if word.precision is None else ""
        out().print(line(", ".join((word.word, *word.also))) + mark, markup=False)


def understood(hits: Hits) -> None:
    """How the texts of a query were read, where a part of one is not known."""
    for one in hits.understood:
        if not one.advice:
            continue
        parts = [f"searched for {', '.join(one.words)}"] if one.words else []
        if one.names:
            parts.append(f"{', '.join(one.names)}: looked for in the names of files and folders")
        if one.unknown:
            parts.append(f"{', '.join(one.unknown)}: not known, and in no name of a file or folder")
        if one.suggestions:
            listed = ", ".join(one.suggestions)
            parts.append(f"known words are, for example, {listed}; `lookalike words` lists all")
        note(line("; ".join([*parts, one.advice or ""]).strip("; ")))
    if hits.low_content:
        note("the query is blank (one colour): all blank pictures score the same")


def found(hits: Hits) -> None:
    """Hits as a table."""
    from rich import box
    from rich.table import Table

    console = out()
    understood(hits)
    if not hits:
        none = any(one.unknown and not one.words for one in hits.understood)
        console.print("nothing found" if none else "nothing at or above that score")
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("score", justify="right")
    table.add_column("picture", overflow="fold")
    table.add_column("size", justify="right", no_wrap=True)
    table.add_column("id", no_wrap=True)
    if not console.is_terminal:
        for hit in hits:
            size = f"{hit.width}x{hit.height}"
            console.print(f"{hit.score:.3f}  {line(hit.path)}  {size}  {hit.id[:12]}", markup=False)
        return
    from rich.text import Text

    for hit in hits:
        size = f"{hit.width} x {hit.height}"
        table.add_row(f"{hit.score:.3f}", Text(line(hit.path)), size, hit.id[:12])
    console.print(table)


def standing(status: Status) -> None:
    """The library at a glance."""
    say = out().print
    say(f"home      {line(status.home)}", markup=False)
    say(f"model     {status.model or 'none yet'}", markup=False)
    say(f"pictures  {status.pictures}, {status.embedded} searchable, in {status.files} files")
    for root in status.roots:
        say(f"folder    {line(root.path)}: {root.files} files, {root.state}", markup=False)


def checked(report: CheckReport) -> None:
    """What a check found."""
    say = out().print
    for text in report.repaired:
        say(f"mended: {line(text)}", markup=False)
    for text in report.problems:
        say(f"problem: {line(text)}", markup=False)
    verdict = f"{len(report.problems)} problems" if report.problems else "all is well"
    say(f"{report.pictures} pictures, {report.files} files: {verdict}")
