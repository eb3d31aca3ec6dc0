"""Pictures as a table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from search.files import shown
from search.records.pictures import Picture
from search.tables import write_rows

OF_METADATA = "type width height bytes taken camera latitude longitude".split()
COLUMNS = ("path", "id", *OF_METADATA, "tags", "rating", "favourite", "caption")


def make_table(pictures: Iterable[Picture]) -> bytes:
    """Return pictures as a table in CSV with a row of names. See `write_rows`."""
    rows: list[Sequence[Any]] = [COLUMNS]
    for one in pictures:
        marks = one.annotations
        values = [getattr(one.metadata, name) for name in OF_METADATA]
        of_person = marks.rating, int(marks.favourite), marks.caption
        rows.append((shown(one.path), one.id, *values, "; ".join(one.tags), *of_person))
    return write_rows(rows)
