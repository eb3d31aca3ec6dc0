"""What the command line prints. Standard output holds answers alone; the rest goes to stderr."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import typer

from search.errors import StorageError
from search.files import shown
from search.records.indexing import SKIP_CODES, IndexReport, Progress, Skip

if TYPE_CHECKING:
    from search.records.browsing import Facets, PlaceGroup
    from search.records.captions import CaptionReport, CaptionStatus
    from search.records.duplicates import Duplicate, Duplicates
    from search.records.hits import Hit, Hits
    from search.records.maintenance import CheckReport
    from search.records.status import LeftOut, Status
    from search.records.texts import PictureText, TextReport, TextStatus
    from search.records.variants import AugmentReport, Variant, Variants
    from search.records.words import Words

T = TypeVar("T")
LEFT_OUT = {
    "raw": "RAW",
    "film": "film",
    "psd": "PSD",
    "jxl": "JPEG XL",
    "svg": "SVG",
    "no_suffix": "without suffix",
    "link": "link",
    "other": "other",
    "system_folder": "system folder",
}
"""Kinds of files that are not read -> their names, in the order in which they are shown."""
PHASES = {
    "fetch": "fetching the model, MB",
    "scan": "looking",
    "index": "indexing",
    "embed": "embedding",
    "draw": "drawing",
    "finish": "finishing",
    "copy": "copying and comparing rows",
    "calibrate": "editing pictures and searching for them",
    "text": "reading text",
    "caption": "captioning",
    "compare": "comparing",
}
LINE_SECONDS = 5.0  # between two plain lines of progress


class Document(Protocol):
    """An answer that has a JSON form."""

    def to_json(self) -> dict[str, Any]:
        """Return the document that `--json` prints."""
        ...


def print_json(document: Document | dict[str, Any]) -> None:
    """Print an answer as one JSON document."""
    content = document if isinstance(document, dict) else document.to_json()
    typer.echo(json.dumps(content, ensure_ascii=False, indent=2))


def line(text: str) -> str:
    """Return text as one line for any terminal: characters that move the cursor are escaped."""
    plain = (c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown(text))
    return "".join(plain)


class LineFormatter(logging.Formatter):
    """Writes what is logged as `line` does, since it names files. Tracebacks keep their lines."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Format the message of a record as one line."""
        return line(super().formatMessage(record))


def note(text: str) -> None:
    """Print a line for the user on standard error."""
    sys.stderr.write(line(text) + "\n")
    sys.stderr.flush()


def write(text: str) -> None:
    """Write a line to standard output."""
    typer.echo(text)


def write_file(file: Path, data: bytes | Iterable[bytes]) -> None:
    """Write a file that the user has named, whole or in pieces. Raises StorageError."""
    try:
        with file.open("wb") as stream:
            for piece in (data,) if isinstance(data, bytes) else data:
                stream.write(piece)
    except OSError as error:
        raise StorageError(
            f"cannot write {file}: {error.strerror}; give a file in a folder that is there"
        ) from error


def show_progress(events: Iterable[Progress]) -> IndexReport:
    """Show progress on standard error, and return the report of the last event.

    A terminal gets a bar; anything else gets plain lines.
    """
    last = show_events(events, lambda event: event)
    return (last and last.report) or IndexReport()


def show_events(events: Iterable[T], convert: Callable[[T], Progress]) -> T | None:
    """Show events of any kind as `show_progress` does, and return the last one.

    convert: returns the progress that an event stands for.
    """
    last: T | None = None

    def progress() -> Iterator[Progress]:
        nonlocal last
        for event in events:
            last = event
            yield convert(event)

    for _ in (_draw_bar if sys.stderr.isatty() else _write_lines)(progress()):
        pass
    return last


def _draw_bar(events: Iterable[Progress]) -> Iterator[Progress]:
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


def _write_lines(events: Iterable[Progress]) -> Iterator[Progress]:
    start = last = before = time.monotonic()
    phase = None
    for event in events:
        now = time.monotonic()
        if event.phase != phase:  # a phase starts when the one before it ends
            phase, start = event.phase, before
        before = now
        if (
            event.phase in ("fetch", "index", "embed", "draw", "text", "caption", "compare")
            and event.done
            and now - last >= LINE_SECONDS
        ):
            rate = event.done / max(now - start, 1e-3)
            left = (event.total - event.done) / rate
            count = f"{PHASES[event.phase]} {event.done} of {event.total}"
            note(f"{count}, {rate:.0f}/s, {left:.0f} s left")
            last = now
        yield event


def print_index_report(report: IndexReport) -> None:
    """Print what a sync did."""
    parts = [
        f"{count} {name}"
        for name in ("added", "changed", "moved", "removed", "unchanged", "offline")
        if (count := getattr(report, name))
    ]
    write(
        f"{', '.join(parts) or 'nothing to do'}; "
        f"{report.embedded} embedded in {report.seconds:.1f} s"
    )
    if report.offline:
        write(
            "offline files are kept: a folder that loses most of them at once may be a missing disk"
        )
        write("  (`forget` takes them out; `index --allow-empty` too, of a folder that is there)")
    _print_skipped(report.skipped)
    _print_left_out(report.left_out)
    _advise_on_left_out(report.left_out)
    write(f"{report.pictures} pictures in the library")


def print_text_report(report: TextReport) -> None:
    """Print what reading text did."""
    if report.read or report.skipped:
        write(
            f"text read in {report.read} pictures, {report.with_text} with text, in "
            f"{report.seconds:.1f} s"
        )
    _print_skipped(report.skipped)


def print_caption_report(report: CaptionReport) -> None:
    """Print what captioning did."""
    nothing = f", {report.empty} of which it said nothing" if report.empty else ""
    write(
        f"{report.captioned} pictures captioned by {line(report.model)}{nothing}, in "
        f"{report.seconds:.1f} s"
    )
    _print_skipped(report.skipped)
    if report.pending:
        write(f"{report.pending} are left, since their files cannot be opened now")


def print_caption_status(status: CaptionStatus) -> None:
    """Print how many pictures have captions, and what makes more."""
    write(
        f"{status.captioned} pictures with a caption of a person or a file, {status.by_model} of a "
        f"model, {status.without} with none"
    )
    for one in status.models:
        default = ", the setting caption_model" if one.default else ""
        here = "its weights are here" if one.installed else "its weights would be fetched"
        write(f"{line(one.name)}: {here}{default}")


def print_text(text: PictureText) -> None:
    """Print the lines of text in a picture."""
    for one in text.lines:
        write(line(one.text))
    if text.failed:
        note(f"the text could not be read: {SKIP_CODES.get(text.failed, text.failed)}")
    elif not text.lines:
        note("no text in it")


def print_embed_report(report: IndexReport, file: Path) -> None:
    """Print what `embed` did."""
    summary = f"{report.embedded} vectors in {report.seconds:.1f} s"
    write(f"{summary}: {line(str(file))}")
    _print_skipped(report.skipped)


def note_rejected(variants: Variants) -> None:
    """Tell the user if rejected variants fill the answer."""
    if variants.passed < len(variants):
        note(
            f"{variants.passed} of {variants.drawn} candidates were accepted; "
            "the best rejected ones are added"
        )


def print_variants(files: Sequence[tuple[Path, Variant]]) -> None:
    """List variants: similarity, path, and the neighbour that each one started from."""
    for path, variant in files:
        similarity = f"{variant.similarity:.3f}"
        rejected = "" if variant.accepted else "  (rejected)"
        source = f"  from {line(variant.source.path)}" if variant.source else ""
        write(f"{similarity}  {line(str(path))}{rejected}{source}")


def print_augment_report(report: AugmentReport) -> None:
    """Print what `augment` did."""
    written = f"{report.made} variants made in {report.seconds:.1f} s"
    unchanged = f"{report.unchanged} of {report.pictures} pictures had theirs"
    removed = f"; {report.removed} taken out, their pictures are gone" if report.removed else ""
    write(f"{written}; {unchanged}{removed}: {line(report.output)}")
    _print_skipped(report.skipped)


def _print_skipped(skipped: Sequence[Skip]) -> None:
    if skipped:
        write(f"{len(skipped)} skipped:")
        for skip in skipped[:20]:
            write(f"  {line(skip.path)}: {line(skip.reason)}")
        if len(skipped) > 20:
            write(f"  ... and {len(skipped) - 20} more (`--json` lists all)")


def _print_left_out(left_out: Mapping[str, int]) -> None:
    """Print how many files of each kind are not read."""
    counts = [f"{left_out[kind]} {name}" for kind, name in LEFT_OUT.items() if left_out.get(kind)]
    if counts:
        write(f"left out  {', '.join(counts)}")


def _advise_on_left_out(left_out: Mapping[str, int]) -> None:
    """Tell the user how films, links and system folders are taken in."""
    if left_out.get("film") and not find_spec("av"):
        note("films are not read; to find their moments, install the extra `video` (docs/films.md)")
    elif left_out.get("film"):
        note("films in object storage are not read; index a folder on a disk that has them")
    if left_out.get("link"):
        note("links are not followed; `index --follow-links` follows them")
    if left_out.get("system_folder"):
        note(
            "bins, thumbnails of a NAS and the like are left out: docs/files.md lists them, and "
            "LOOKALIKE_DEFAULT_EXCLUDES=false takes them in"
        )


def print_words(known: Words, prefix: str) -> None:
    """List the words that can be searched by, a line each."""
    if known.any_words:
        note(f"{known.model} takes any words; there is no list")
        return
    if not known.words:
        note(f"{known.model} knows no word that begins with {line(prefix)!r}, of {known.total}")
    for word in known.words:
        write(line(", ".join((word.word, *word.also))))


def note_advice(hits: Hits) -> None:
    """Tell the user how texts were read, if a part of one is unknown, and of a blank query."""
    for one in hits.understood:
        if not one.advice:
            continue
        parts = [f"searched for {', '.join(one.words)}"] if one.words else []
        if one.names:
            parts.append(f"{', '.join(one.names)}: looked for in names, tags and texts")
        if one.labels:
            parts.append(f"{', '.join(one.labels)}: looked for in the labels of pictures")
        if one.unknown:
            parts.append(f"{', '.join(one.unknown)}: not known, and in no name, tag or text")
        if one.suggestions:
            listed = ", ".join(one.suggestions)
            parts.append(f"known words are, for example, {listed}; `lookalike words` lists all")
        note(line("; ".join([*parts, one.advice or ""]).strip("; ")))
    for page in hits.pages:
        picture = page.picture or "a picture in the page"
        note(line(f"{page.page} is a web page; searched by its main picture, {picture}"))
    for one in hits.query.get("restored", ()):
        done = ", ".join(one["applied"]) or "nothing, it is left as it is"
        note(f"restored: {done} (noise {one['noise']:.0f} of 255, light {one['light']:.0f} of 255)")
    if hits.low_content:
        note("the query is blank (one colour): all blank pictures score the same")


def print_hits(hits: Hits) -> None:
    """Print hits: a table on a terminal, a line each elsewhere."""
    note_advice(hits)
    if not hits:
        unknown = any(one.unknown and not one.words for one in hits.understood)
        write("nothing found" if unknown else "nothing at or above that score")
        return
    if alike := hits.alike:
        first = "the first is" if alike == 1 else f"the first {alike} are"
        note(f"{first} alike, the others less")
    if sys.stdout.isatty():
        _print_table(hits)
    else:
        for hit in hits:
            size = f"{hit.width}x{hit.height}"
            score = f"{hit.format_score()}  ".lstrip()
            proof = f"  {describe_evidence(hit)}" if hit.kind or hit.evidence else ""
            page = f"  on {line(hit.source)}" if hit.source else ""
            write(f"{score}{name_hit(hit)}  {size}  {hit.id[:12]}{proof}{page}")


def name_hit(hit: Hit) -> str:
    """Return the path of a hit as one line, with the time if it is a frame of a film."""
    from search.records.hits import format_time  # other commands do not need it

    return line(hit.path) if hit.time is None else f"{line(hit.path)} {format_time(hit.time)}"


def describe_evidence(hit: Hit) -> str:
    """Return what a comparison showed of a hit, in words; empty if there was none."""
    if hit.kind == "identical":
        return "identical"
    one = hit.evidence
    if one is None:
        return ""
    from search.records.hits import VERDICTS  # other commands do not need it

    words = VERDICTS[one.verdict]
    if one.verdict == "alike":
        return words
    mirrored = ", mirrored" if one.mirrored else ""
    return f"{words}{mirrored}: {one.query_overlap:.0%} of the query, {one.hit_overlap:.0%} of it"


def print_paths(hits: Hits, end: str) -> None:
    """Print the path of each hit as the bytes that the file system has. end: what follows each."""
    note_advice(hits)
    for hit in hits:
        sys.stdout.buffer.write(os.fsencode(hit.path) + end.encode())
    sys.stdout.buffer.flush()


def _print_table(hits: Hits) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("score", justify="right")
    table.add_column("picture", overflow="fold")
    table.add_column("size", justify="right", no_wrap=True)
    table.add_column("id", no_wrap=True)
    is_verified = any(hit.kind or hit.evidence for hit in hits)
    if is_verified:
        table.add_column("what it is")
    for hit in hits:
        size = f"{hit.width} x {hit.height}"
        proof = [describe_evidence(hit)] if is_verified else []
        table.add_row(hit.format_score(), Text(name_hit(hit)), size, hit.id[:12], *proof)
    Console(highlight=False, emoji=False).print(table)


def describe_duplicates(listed: Duplicates) -> Iterator[str]:
    """Yield lines on groups of duplicates: what is kept, removed and left of each."""
    freed = 0
    for group in listed.groups:
        freed += group.bytes
        likeness = "" if group.kind == "exact" else f" at {group.score:.3f}"
        yield f"{group.kind}{likeness}, frees {format_bytes(group.bytes)}"
        for one in group.pictures:
            size, marks = f"{one.width}x{one.height}", f"  ({', '.join(one.marks)})"
            facts = f"{size}  {format_bytes(one.bytes)}{marks if one.marks else ''}"
            for file in one.files:
                yield f"  {one.action:<6}  {line(file.path)}  {facts}"
    if not listed.groups:
        yield "no duplicates"
        return
    shown_groups, total = len(listed.groups), listed.total
    count = f"{total} groups" if shown_groups == total else f"{shown_groups} of {total} groups"
    yield f"{count}; removing frees {format_bytes(freed)}"


def list_removed(listed: Duplicates) -> Iterator[tuple[Duplicate, str]]:
    """Yield the pictures that are offered for removal, with each of their files."""
    for group in listed.groups:
        for one in group.pictures:
            if one.action == "remove":
                yield from ((one, file.path) for file in one.files)


def print_removed_paths(listed: Duplicates, end: str) -> None:
    """Print each path that is offered for removal as the bytes that the file system has. end: what
    follows each."""
    for _, path in list_removed(listed):
        sys.stdout.buffer.write(os.fsencode(path) + end.encode())
    sys.stdout.buffer.flush()


def format_bytes(count: int) -> str:
    """Return bytes as people read them, such as `3.4 MB`."""
    value, units = float(count), iter(("B", "kB", "MB", "GB"))
    unit = next(units)
    for larger in units:
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"


def print_facets(facets: Facets) -> None:
    """Print the values of each field with the pictures that have them, most first."""
    for name, values in facets.fields.items():
        if values:
            write(name)
        for one in values:
            write(f"{one.count:>9}  {line(one.value)}")
    write(f"{facets.total:>9}  pictures")


def print_places(groups: Sequence[PlaceGroup]) -> None:
    """Print groups of pictures, most pictures first, each with the condition of its middle."""
    for one in groups:
        write(f"{one.pictures:>9}  near={one.latitude:.4f},{one.longitude:.4f}")
    if not groups:
        note("no picture says where it was taken")


def print_left_out(left: LeftOut) -> None:
    """Print files that no search can find: path, and kind or reason, a line each."""
    for skip in left.skipped:
        write(f"{line(skip.path)}: {line(skip.reason)}")
    for one in left.left_out:
        write(f"{line(one.path)}: {one.kind}")
    if left.has_more:
        note("there are more files; only the first of each kind are listed")


def print_status(status: Status) -> None:
    """Print the library at a glance."""
    write(f"home      {line(status.home)}")
    if status.catalog:
        write(f"catalog   {line(status.catalog)}")
    write(f"model     {status.model or 'none yet'}")
    if status.backend:
        write(f"backend   {status.backend}")
    write(f"pictures  {status.pictures}, {status.embedded} searchable, in {status.files} files")
    for space in status.spaces[1:]:
        write(f"beside    {line(space.name)}: {space.embedded} searchable")
    write(f"text      {_describe_texts(status.texts)}")
    for root in status.roots:
        hours = root.sync_hours
        schedule = "" if hours is None else f", synced every {hours} h" if hours else ", not synced"
        schedule += ", watched" if root.watched else ""
        named = f", in the collection {line(root.collection)}" if root.collection else ""
        write(f"folder    {line(root.path)}: {root.files} files, {root.state}{schedule}{named}")
    if inbox := status.inbox:
        failed = f", {len(inbox.failed)} failed" if inbox.failed else ""
        write(f"inbox     {line(inbox.path)}: {inbox.done} files done{failed}, {inbox.state}")
        for one in inbox.failed:
            write(f"          {line(one.path)}: {line(one.reason)}")
    _print_left_out(status.left_out)


def _describe_texts(texts: TextStatus) -> str:
    """Return how far the text in pictures is read, and what to do if it cannot be."""
    parts = [f"{texts.with_text} pictures with text, of {texts.read} read"]
    if texts.failed:
        parts.append(f"{texts.failed} failed")
    if texts.pending:
        parts.append(f"{texts.pending} to read")
    if texts.install:
        parts.append(f"the extra ocr reads it: {texts.install}")
    elif not texts.enabled:
        parts.append("the setting ocr is off")
    return "; ".join(parts)


def print_check_report(report: CheckReport) -> None:
    """Print what a check repaired, and what is still wrong."""
    for text in report.repaired:
        write(f"mended: {line(text)}")
    for text in report.problems:
        write(f"problem: {line(text)}")
    verdict = f"{len(report.problems)} problems" if report.problems else "all is well"
    write(f"{report.pictures} pictures, {report.files} files: {verdict}")
