"""Tags of pictures: one spelling of each tag for a picture, and where the tag comes from."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from importlib import import_module
from typing import Any

from sqlalchemy import Connection, Table, delete, select, update

from search.catalog.schema import removed_tags, tags
from search.errors import InputError
from search.records.annotations import MOST_TAG, Origin


def clean_name(text: str, kind: str = "tag") -> str:
    """Return the text of a tag, or of the name of an album, on one line without odd spaces.

    Raises InputError for a text without characters, and for one of more than `MOST_TAG`.
    """
    plain = "".join(c if c.isprintable() else " " for c in text)
    name = " ".join(unicodedata.normalize("NFC", plain).split())
    if not name:
        raise InputError(f"a {kind} is empty; give at least one character")
    if len(name) > MOST_TAG:
        raise InputError(f"the {kind} {name[:40]}... has more than {MOST_TAG} characters")
    return name


def normalize_tag(tag: str) -> str:
    """Return the form by which tags are compared.

    It has compatible characters unified (NFKC), no differences of case, and single spaces. Raises
    InputError for a tag without characters.
    """
    normalized = " ".join(unicodedata.normalize("NFKC", tag).casefold().split())
    if not normalized:
        raise InputError("a tag is empty; give at least one character")
    return normalized


def normalize_tags(names: Iterable[str]) -> dict[str, str]:
    """Return tags by their normalized form; of several spellings the first. Raises InputError."""
    by_form: dict[str, str] = {}
    for name in names:
        tag = clean_name(name)
        by_form.setdefault(normalize_tag(tag), tag)
    return by_form


def add_tags(c: Connection, row_ids: Collection[int], names: Iterable[str], origin: Origin) -> None:
    """Add tags to pictures. A tag that a picture has in any spelling stays as it is, but becomes
    the person's if a person adds it. Raises InputError."""
    by_form = normalize_tags(names)
    if not by_form or not row_ids:
        return
    if origin == "person":
        for table, values in ((tags, {"origin": origin}), (removed_tags, None)):
            where = table.c.picture.in_(row_ids), table.c.normalized.in_(by_form)
            change = delete(table) if values is None else update(table).values(values)
            c.execute(change.where(*where))
    insert_missing(
        c,
        tags,
        [
            {"picture": row_id, "tag": tag, "normalized": form, "origin": origin}
            for row_id in row_ids
            for form, tag in by_form.items()
        ],
    )


def remove_tags(c: Connection, row_ids: Collection[int], forms: Collection[str]) -> None:
    """Remove tags, given in their normalized form. Those of files do not come back when the files
    are read again."""
    where = tags.c.picture.in_(row_ids), tags.c.normalized.in_(forms)
    query = select(tags.c.picture, tags.c.normalized).where(*where, tags.c.origin == "file")
    of_files = [dict(row) for row in c.execute(query).mappings()]
    insert_missing(c, removed_tags, of_files)
    c.execute(delete(tags).where(*where))


def replace_file_tags(c: Connection, by_picture: Mapping[int, Sequence[str]]) -> None:
    """Replace the tags that files gave to pictures. Tags of a person stay, and those that a person
    removed stay away."""
    row_ids = list(by_picture)
    c.execute(delete(tags).where(tags.c.picture.in_(row_ids), tags.c.origin == "file"))
    query = select(removed_tags.c.picture, removed_tags.c.normalized)
    removed = {tuple(row) for row in c.execute(query.where(removed_tags.c.picture.in_(row_ids)))}
    insert_missing(
        c,
        tags,
        [
            {"picture": row_id, "tag": tag, "normalized": form, "origin": "file"}
            for row_id, names in by_picture.items()
            for form, tag in normalize_tags(names).items()
            if (row_id, form) not in removed
        ],
    )


def insert_missing(c: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows, but those whose key the table has already."""
    if not rows:
        return
    # A dialect is slow to import. That of the database is loaded already.
    dialect = "postgresql" if c.dialect.name == "postgresql" else "sqlite"
    insert: Any = import_module(f"sqlalchemy.dialects.{dialect}").insert
    c.execute(insert(table).on_conflict_do_nothing(), list(rows))
