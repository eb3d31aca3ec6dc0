"""What the index of local features stores of a point, and what it finds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from search.media.local_features import BITS, COMPACT_COUNT, Codes, find_words, unpack
from search.types import RowIds

CODE_BYTES = BITS // 8
POINT_BITS = 8
"""Bits of an entry's id that number the point in its picture; those above are the row id."""


class Matches(NamedTuple):
    """Pairs of a point of a query and a stored one, (n,) each. queries: positions in the query.
    row_ids: of the pictures. bits: that differ."""

    queries: npt.NDArray[np.int64]
    row_ids: RowIds
    bits: npt.NDArray[np.int64]


def list_entries(features: Mapping[int, bytes]) -> tuple[RowIds, RowIds, Codes]:
    """Return the word, the id and the code of each point of pictures, in the order of the words.

    features: packed, by row id; what is damaged is left out.
    """
    ids, codes = [np.zeros(0, np.int64)], [np.zeros((0, CODE_BYTES), np.uint8)]
    for row_id, data in features.items():
        try:
            own = unpack(data).codes[:COMPACT_COUNT]
        except ValueError:
            continue
        ids.append((row_id << POINT_BITS) + np.arange(len(own), dtype=np.int64))
        codes.append(own)
    every = np.concatenate(codes)
    words = find_words(every)[:, 0]
    order = np.argsort(words, kind="stable")
    return words[order], np.concatenate(ids)[order], np.ascontiguousarray(every[order])
