"""Searches under a name: saved with their pictures, and asked again for what is new."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.errors import PictureError, QueryError
from search.files import shown
from search.media.source_kinds import ImageSource, has_no_name, is_url, picture_id_of
from search.querying.query import MAX_K, Query
from search.records.hits import Hits
from search.records.saved import LAST, SavedHits, SavedSearch, since_condition

if TYPE_CHECKING:
    from search.catalog.reads import CatalogReader
    from search.catalog.saved_searches import SavedSearches

NO_TIME = dict.fromkeys(("decode", "embed", "search", "verify", "total"), 0.0)
"""Of an answer without a search, in milliseconds."""


class SavedSearchRunner:
    """Saves searches, and runs them again."""

    def __init__(
        self,
        saved: SavedSearches,
        reader: CatalogReader,
        search: Callable[[Query], Hits],
        get_model: Callable[[], str],
        max_bytes: int,
    ) -> None:
        """search: answers a query. get_model: returns the name of the library's own model.
        max_bytes: of a picture that is saved."""
        self._saved, self._reader, self._search = saved, reader, search
        self._get_model, self._max_bytes = get_model, max_bytes

    def save(self, owner: str, name: str, query: Query) -> SavedSearch:
        """Save a query; its pictures are copied, except URLs and those of the library.

        Raises LookalikeError for a picture that cannot be read, and as `SavedSearches.add`.
        """
        if query.mask is not None:
            raise QueryError("a search with a mask cannot be saved; leave the mask out")
        terms = tuple(replace(term, image=self._read(term.image)) for term in query.terms)
        files = [term.image for term in terms if isinstance(term.image, bytes)]
        document = replace(query, terms=terms).to_json()
        return self._saved.add(owner, name, document, files, self._find_newest())

    def run(self, owner: str, name: str, since: str | None = None) -> SavedHits:
        """Answer a saved search. Raises LookalikeError.

        since: `last` leaves out the pictures that were there when it was last marked as seen; a
        period, such as `7d` or `2024-05`, those that came to the library before. The answer of
        conditions alone then has up to 10,000 pictures, so that it holds all new ones. Nothing is
        searched if no picture came since the last time.
        """
        search, files = self._saved.get(owner, name)
        newest = self._find_newest()  # before the search: what comes meanwhile is still new
        query = Query.from_json(search.query, files)
        if since == LAST and newest <= search.newest and query.model is None:
            return SavedHits(Hits((), self._get_model(), query.to_json(), dict(NO_TIME)), newest)
        if since is not None and not query.terms:
            query = replace(query, k=MAX_K - query.offset)
        if since is not None and since != LAST:
            query = replace(query, where=(*query.where, since_condition(since)))
        hits = self._search(query)
        if since == LAST:
            row_ids = self._reader.resolve_all([hit.id for hit in hits])
            new = tuple(hit for hit in hits if row_ids.get(hit.id, 0) > search.newest)
            hits = replace(hits, hits=new)
        return SavedHits(hits, newest)

    def _find_newest(self) -> int:
        """Return the number of the newest picture that is shown, 0 if there is none."""
        return max(self._reader.newest(0, 1), default=0)

    def _read(self, image: ImageSource | None) -> Any:
        """Return the bytes of a picture; URLs and pictures of the library as they are."""
        if image is None or picture_id_of(image) is not None or isinstance(image, bytes):
            return image
        if has_no_name(image):
            return _encode(image)
        text = os.fspath(image)  # type: ignore[arg-type]
        if isinstance(text, str) and is_url(text):
            return text
        path = Path(os.path.expanduser(text))
        try:
            if path.stat().st_size > self._max_bytes:
                raise PictureError(
                    f"{shown(str(path))} is too large to be saved with a search; index it, and "
                    "search by id:ID"
                )
            return path.read_bytes()
        except OSError as error:
            raise PictureError(f"{shown(str(path))} cannot be read: {error.strerror}") from error


def _encode(image: Any) -> bytes:
    """Return an open file's bytes, or pixels as PNG."""
    if hasattr(image, "read"):
        data: bytes = image.read()
        return data
    from PIL import Image

    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()
