"""The text in pictures: which pictures are still to be read, and what was read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, select

from search.catalog import counts
from search.catalog.schema import pictures, texts
from search.records.texts import PictureText, TextLine

if TYPE_CHECKING:
    from search.catalog.database import Database


class Texts:
    """Records text. Threads may share it; writers hold the write lock."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def list_unread(
        self, count: int, before: int | None = None, other_than: str | None = None
    ) -> list[int]:
        """Return the row ids of pictures that were not read yet, newest first, at most `count`.

        before: only smaller row ids. other_than: the fingerprint of a model; pictures that it did
        not read, or that could not be read, count as unread as well.
        """
        is_read = texts.c.picture == pictures.c.row_id
        if other_than is not None:
            is_read &= (texts.c.model == other_than) & texts.c.failed.is_(None)
        query = select(pictures.c.row_id).where(pictures.c.orphaned.is_(None))
        query = query.where(~select(texts.c.picture).where(is_read).exists())
        if before is not None:
            query = query.where(pictures.c.row_id < before)
        with self._database.read() as c:
            return list(c.scalars(query.order_by(pictures.c.row_id.desc()).limit(count)))

    def record(self, read: Mapping[int, PictureText]) -> None:
        """Replace the text of pictures, by row id. Pictures that are gone are left out."""
        if not read:
            return
        with self._database.write() as c:
            query = select(pictures.c.row_id, pictures.c.orphaned)
            rows = c.execute(query.where(pictures.c.row_id.in_(read))).all()
            present = [row.row_id for row in rows if row.orphaned is None]
            counts.change_texts(c, present, -1)
            c.execute(delete(texts).where(texts.c.picture.in_([row.row_id for row in rows])))
            values = [_pack(row.row_id, read[row.row_id]) for row in rows]
            if values:
                c.execute(insert(texts), values)
            counts.change_texts(c, present)


def _pack(row_id: int, one: PictureText) -> dict[str, Any]:
    """Return the row of a picture."""
    lines = [
        [
            line.text,
            round(line.confidence, 3),
            *(round(v, 5) for corner in line.box for v in corner),
        ]
        for line in one.lines
    ]
    values = {"picture": row_id, "model": one.model, "failed": one.failed}
    return {**values, "text": one.text, "lines": lines}


def unpack_text(model: str, failed: str | None, lines: list[list[Any]]) -> PictureText:
    """Return what was read in a picture, from the columns of its row."""
    return PictureText(tuple(_unpack_line(*line) for line in lines), model, failed)


def _unpack_line(text: str, confidence: float, *box: float) -> TextLine:
    corners = tuple(zip(box[::2], box[1::2], strict=True))
    return TextLine(text, confidence, corners)
