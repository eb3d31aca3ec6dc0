"""Tags of pictures: one spelling of each tag for a picture, and where the tag comes from."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterable
from importlib import import_module
from typing import Any, Literal

from sqlalchemy import Connection, select

from search.catalog.schema import tags
from search.errors import InputError

Origin = Literal["person", "file", "model"]
"""Who gave a tag: a person, the metadata of a file, or a model."""


def normalize_tag(tag: str) -> str:
    """Return the form by which tags are compared.

    It has compatible characters unified (NFKC), no differences of case, and single spaces. Raises
    InputError for a tag without characters.
    """
    normalized = " ".join(unicodedata.normalize("NFKC", tag).casefold().split())
    if not normalized:
        raise InputError("a tag is empty; give at least one character")
    return normalized


def add_tags(c: Connection, row_id: int, names: Iterable[str], origin: Origin) -> None:
    """Add tags to a picture. A tag that it has in any spelling stays as it is."""
    for name in names:
        _insert(c, row_id, name, normalize_tag(name), origin)


def copy_tags(c: Connection, sources: Collection[int], target: int) -> None:
    """Add the tags of some pictures to another one, with their origins."""
    query = select(tags.c.tag, tags.c.normalized, tags.c.origin)
    for row in c.execute(query.where(tags.c.picture.in_(sources))).all():
        _insert(c, target, row.tag, row.normalized, row.origin)


def _insert(c: Connection, row_id: int, tag: str, normalized: str, origin: str) -> None:
    values = {"picture": row_id, "tag": tag, "normalized": normalized, "origin": origin}
    # A dialect is slow to import. That of the database is loaded already.
    dialect = "postgresql" if c.dialect.name == "postgresql" else "sqlite"
    insert: Any = import_module(f"sqlalchemy.dialects.{dialect}").insert
    c.execute(insert(tags).values(values).on_conflict_do_nothing())
