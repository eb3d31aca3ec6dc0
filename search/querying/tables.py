"""Pictures as a table, and as a contact sheet."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from typing import Any

from search.errors import LookalikeError
from search.files import shown
from search.records.pictures import Picture
from search.sheets import Figure, Section, show_file, write_sheet
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


def draw_contact_sheet(
    pictures: Sequence[Picture],
    scores: Mapping[str, float | None] | None,
    is_linked: bool,
    read_thumbnail: Callable[[str], bytes],
) -> Generator[bytes]:
    """Yield pictures as one page of HTML, in pieces. See `search.engine.Engine.contact_sheet`.

    read_thumbnail: returns the thumbnail of a picture, by its id.
    """

    def draw(one: Picture) -> Figure:
        score = (scores or {}).get(one.id)
        try:
            data = read_thumbnail(one.id)
        except LookalikeError:  # its file is gone, and so is its thumbnail
            data = b""
        return show_file(one.path, "" if score is None else f"{score:.3f}", data, is_linked)

    return write_sheet([Section(f"{len(pictures)} pictures", map(draw, pictures))])
