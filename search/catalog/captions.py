"""Captions by a model: which pictures are still to get one, and what the model said."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, or_, select

from search.catalog.annotations import apply_model_captions
from search.catalog.schema import model_captions, pictures
from search.records.annotations import MOST_CAPTION
from search.records.captions import ModelCaption

if TYPE_CHECKING:
    from search.catalog.database import Database


class ModelCaptions:
    """Records captions by models. Threads may share it; writers hold the write lock."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def list_missing(self, model: str) -> list[int]:
        """Return the row ids of pictures without a caption of a person, a file or this model,
        newest first.

        model: its fingerprint. Pictures that it could not read are left out.
        """
        origin = pictures.c.caption_origin
        is_asked = (model_captions.c.picture == pictures.c.row_id) & (
            model_captions.c.model == model
        )
        query = select(pictures.c.row_id).where(pictures.c.orphaned.is_(None))
        query = query.where(or_(origin.is_(None), origin == "model"))
        query = query.where(~select(model_captions.c.picture).where(is_asked).exists())
        with self._database.read() as c:
            return list(c.scalars(query.order_by(pictures.c.row_id.desc())))

    def record(self, captions: Mapping[int, ModelCaption]) -> None:
        """Replace the captions of models, by row id. One of a person or a file stays what is shown.
        Pictures that are gone are left out."""
        if not captions:
            return
        with self._database.write() as c:
            query = select(pictures.c.row_id).where(pictures.c.row_id.in_(captions))
            present = list(c.scalars(query))
            c.execute(delete(model_captions).where(model_captions.c.picture.in_(present)))
            rows = [
                {
                    "picture": row_id,
                    "model": captions[row_id].model,
                    "failed": captions[row_id].failed,
                    "caption": captions[row_id].text[:MOST_CAPTION],
                }
                for row_id in present
            ]
            if rows:
                c.execute(insert(model_captions), rows)
            apply_model_captions(c, present)
