"""Pictures as a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from search.files import shown
from search.records.pictures import Picture
from search.tables import write_rows

OF_METADATA = "type width height bytes taken camera latitude longitude".split()
COLUMNS = ("path", "id", *OF_METADATA, "tags", "rating", "favourite", "caption", "caption_origin")


def make_table(
    pictures: Iterable[Picture], scores: Mapping[str, float | None] | None = None
) -> bytes:
    """Return pictures as a table in CSV with a row of names. See `write_rows`.

    scores: of an answer, by picture id; they are the last column.
    """
    rows: list[Sequence[Any]] = [COLUMNS if scores is None else (*COLUMNS, "score")]
    for one in pictures:
        marks = one.annotations
        values = [getattr(one.metadata, name) for name in OF_METADATA]
        of_person = marks.rating, int(marks.favourite), marks.caption, marks.caption_origin
        row = (shown(one.path), one.id, *values, "; ".join(one.tags), *of_person)
        rows.append(row if scores is None else (*row, scores.get(one.id)))
    return write_rows(rows)
