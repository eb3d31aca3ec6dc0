"""Answers as files: a contact sheet in HTML, and a table."""

from __future__ import annotations

import base64
import html
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_from_bytes

from search.cli.output import format_bytes, write_file
from search.errors import LookalikeError
from search.files import shown
from search.records.duplicates import DuplicateGroup, Duplicates
from search.records.hits import Hit, Hits
from search.tables import write_rows

if TYPE_CHECKING:
    from search.engine import Engine

STYLE = """
body { font: 15px/1.4 system-ui, sans-serif; margin: 2rem; color: #222; background: #fff }
main { display: grid; grid-template-columns: repeat(auto-fill, minmax(180px, 1fr)); gap: 1rem }
figure { margin: 0 } img { width: 100%; height: 180px; object-fit: contain; background: #eee }
figcaption { overflow-wrap: anywhere; font-size: 13px }
@media (prefers-color-scheme: dark) { body { color: #ddd; background: #111 } a { color: #9cf }
img { background: #222 } }
"""
COLUMNS = ("rank", "score", "path", "id", "width", "height", "tags")
DUPLICATE_COLUMNS = (
    *("group", "kind", "action", "score", "path", "id"),
    *("width", "height", "bytes", "taken", "camera", "tags", "marks"),
)


def write_contact_sheet(file: Path, hits: Hits, engine: Engine) -> None:
    """Write hits with their thumbnails as one HTML file, which needs nothing else to be shown.

    Pictures are links to their files. Raises StorageError.
    """
    terms = "".join(_describe_term(term, engine) for term in hits.query["terms"])
    figures = "".join(_describe_hit(hit, engine) for hit in hits)
    header = f"<h1>Query</h1><main>{terms}</main><h1>{len(hits)} pictures</h1>"
    _write_page(file, header, f"<main>{figures}</main>")


def write_csv(file: Path, hits: Hits) -> None:
    """Write hits as a table with a row of names (see `write_rows`). Raises StorageError."""
    rows: list[Sequence[Any]] = [COLUMNS]
    for rank, hit in enumerate(hits, 1):
        values = shown(hit.path), hit.id, hit.width, hit.height, "; ".join(hit.tags)
        rows.append((rank, hit.format_score(4), *values))
    write_file(file, write_rows(rows))


def write_duplicates_sheet(file: Path, listed: Duplicates, engine: Engine) -> None:
    """Write groups of duplicates with their thumbnails as one HTML file. Raises StorageError."""
    groups = "".join(_describe_group(one, engine) for one in listed.groups)
    _write_page(file, f"<h1>{listed.total} groups of duplicates</h1>", groups)


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


def _write_page(file: Path, header: str, content: str) -> None:
    """Write a page of HTML with its styles. Raises StorageError."""
    document = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width"><title>lookalike</title>'
        f"<style>{STYLE}</style></head><body><header>{header}</header>{content}</body></html>\n"
    )
    write_file(file, document.encode("utf-8", "replace"))


def _describe_group(group: DuplicateGroup, engine: Engine) -> str:
    """Return a group of duplicates in HTML."""
    likeness = "" if group.kind == "exact" else f" {group.score:.3f}"
    figures = []
    for one in group.pictures:
        marks = f" ({', '.join(one.marks)})" if one.marks else ""
        label = f"{one.action}{marks}: {one.width} x {one.height}, {format_bytes(one.bytes)}"
        figures.append(_show_picture(one.id, one.path, label, engine))
    return f"<h2>{group.kind}{likeness}</h2><main>{''.join(figures)}</main>"


def _describe_term(term: dict[str, Any], engine: Engine) -> str:
    """Return a term of a query in HTML."""
    image, text = term.get("image"), term.get("text")
    picture, label = "", f"text: {text}"
    if text is None:
        label = "a picture" if image is None or isinstance(image, int) else str(image)
        if isinstance(image, str):
            picture = _show_query_picture(image, engine)
    weight = "" if term["weight"] == 1 else f" (weight {term['weight']:g})"
    return f"<figure>{picture}<figcaption>{html.escape(label + weight)}</figcaption></figure>"


def _show_query_picture(image: str, engine: Engine) -> str:
    """Return a picture of a query in HTML, empty if it cannot be read."""
    try:
        if image.startswith("id:"):
            return _embed(engine.thumbnail(image[3:]), "webp")
        path = Path(image).expanduser()
        return _embed(engine.preview(path.read_bytes()), "jpeg") if path.is_file() else ""
    except (LookalikeError, OSError):
        return ""


def _describe_hit(hit: Hit, engine: Engine) -> str:
    """Return a hit in HTML."""
    return _show_picture(hit.id, hit.path, hit.format_score(), engine)


def _show_picture(picture_id: str, path: str, label: str, engine: Engine) -> str:
    """Return a picture with its name in HTML. label: text before the name."""
    try:
        picture = _embed(engine.thumbnail(picture_id), "webp")
    except LookalikeError:  # its file is gone, and so is its thumbnail
        picture = ""
    name = html.escape(shown(os.path.basename(path)))
    where = path if "://" in path else f"file://{quote_from_bytes(os.fsencode(path))}"
    title, link = html.escape(shown(path)), html.escape(where)
    caption = f"<figcaption>{html.escape(label)} {name}</figcaption>"
    return f'<figure title="{title}"><a href="{link}">{picture or name}</a>{caption}</figure>'


def _embed(data: bytes, kind: str) -> str:
    return f'<img alt="" src="data:image/{kind};base64,{base64.b64encode(data).decode()}">'
