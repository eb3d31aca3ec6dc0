"""Reads the files of pictures that are indexed, for what is derived from them later."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO

from search.catalog.reads import CatalogReader
from search.media.open_file import FilePlace, read_first


def read_originals(
    reader: CatalogReader,
    open_file: Callable[[FilePlace], BinaryIO | None],
    row_ids: Iterable[int],
    most: int,
) -> Iterator[tuple[int, str, bytes]]:
    """Yield row id, path and content of the pictures that have a file as it was indexed.

    most: bytes of a file; one more is read of a larger one, so that it is seen to be too large. A
    picture whose file is gone, or whose storage does not answer, is left out.
    """
    for row_id in row_ids:
        if (first := read_first(reader.places(row_id), open_file, most)) is not None:
            place, data = first
            yield row_id, f"{place.root}/{place.path}", data
