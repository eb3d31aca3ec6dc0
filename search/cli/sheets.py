"""Answers as files: a contact sheet in HTML, and a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.cli.output import format_bytes, write_file
from search.errors import LookalikeError
from search.files import shown
from search.records.duplicates import DuplicateGroup, Duplicates
from search.records.hits import Hits
from search.sheets import Figure, Section, show_file, write_sheet
from search.tables import write_rows

if TYPE_CHECKING:
    from search.engine import Engine

COLUMNS = ("rank", "score", "path", "id", "width", "height", "tags")
DUPLICATE_COLUMNS = (
    *("group", "kind", "action", "score", "path", "id"),
    *("width", "height", "bytes", "taken", "camera", "tags", "marks"),
)


def write_contact_sheet(file: Path, hits: Hits, engine: Engine) -> None:
    """Write hits with their thumbnails as one HTML file, which needs nothing else to be shown.

    Pictures are links to their files. Raises StorageError.
    """
    terms = (_describe_term(term, engine) for term in hits.query["terms"])
    figures = (_show_picture(one.id, one.path, one.format_score(), engine) for one in hits)
    sections = Section("Query", terms), Section(f"{len(hits)} pictures", figures)
    write_file(file, b"".join(write_sheet(sections)))


def write_csv(file: Path, hits: Hits) -> None:
    """Write hits as a table with a row of names (see `write_rows`). Raises StorageError."""
    rows: list[Sequence[Any]] = [COLUMNS]
    for rank, hit in enumerate(hits, 1):
        values = shown(hit.path), hit.id, hit.width, hit.height, "; ".join(hit.tags)
        rows.append((rank, hit.format_score(4), *values))
    write_file(file, write_rows(rows))


def write_duplicates_sheet(file: Path, listed: Duplicates, engine: Engine) -> None:
    """Write groups of duplicates with their thumbnails as one HTML file. Raises StorageError."""
    groups = (_describe_group(one, engine) for one in listed.groups)
    sections = Section(f"{listed.total} groups of duplicates"), *groups
    write_file(file, b"".join(write_sheet(sections)))


def write_duplicates_csv(file: Path, listed: Duplicates) -> None:
    """Write groups of duplicates as a table with a row for each file. Raises StorageError."""
    rows: list[Sequence[Any]] = [DUPLICATE_COLUMNS]
    for group in listed.groups:
        for one in group.pictures:
            score = "" if one.score is None else f"{one.score:.4f}"
            facts = one.width, one.height, one.bytes, one.taken, one.camera, "; ".join(one.tags)
            for held in one.files:
                name = shown(held.path), held.id
                marks = "; ".join(one.marks)
                rows.append((group.id, group.kind, one.action, score, *name, *facts, marks))
    write_file(file, write_rows(rows))


def _describe_group(group: DuplicateGroup, engine: Engine) -> Section:
    """Return a group of duplicates as a part of a sheet."""
    likeness = "" if group.kind == "exact" else f" {group.score:.3f}"
    figures = []
    for one in group.pictures:
        marks = f" ({', '.join(one.marks)})" if one.marks else ""
        label = f"{one.action}{marks}: {one.width} x {one.height}, {format_bytes(one.bytes)}"
        figures.append(_show_picture(one.id, one.path, label, engine))
    return Section(f"{group.kind}{likeness}", figures, 2)


def _describe_term(term: dict[str, Any], engine: Engine) -> Figure:
    """Return a term of a query as a figure."""
    image, text = term.get("image"), term.get("text")
    picture, label = b"", f"text: {text}"
    if text is None:
        label = "a picture" if image is None or isinstance(image, int) else str(image)
        if isinstance(image, str):
            picture = _read_query_picture(image, engine)
    weight = "" if term["weight"] == 1 else f" (weight {term['weight']:g})"
    return Figure(label + weight, picture)


def _read_query_picture(image: str, engine: Engine) -> bytes:
    """Return a small picture of a query, empty if it cannot be read."""
    try:
        if image.startswith("id:"):
            return engine.thumbnail(image[3:])
        path = Path(image).expanduser()
        return engine.preview(path.read_bytes()) if path.is_file() else b""
    except (LookalikeError, OSError):
        return b""


def _show_picture(picture_id: str, path: str, label: str, engine: Engine) -> Figure:
    try:
        picture = engine.thumbnail(picture_id)
    except LookalikeError:  # its file is gone, and so is its thumbnail
        picture = b""
    return show_file(path, label, picture)
