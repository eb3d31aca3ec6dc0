"""An inverted file of the codes of points, mapped from a snapshot, with what changed since.

Each code is in the list of its word. A query looks through the lists of the nearest words of its
own codes, and takes codes in which few bits differ (H. Jegou, M. Douze and C. Schmid, "Hamming
embedding and weak geometric consistency", ECCV 2008).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from search.media.local_features import BITS, Codes, count_words, find_words
from search.runtime import faiss
from search.types import RowIds
from search.vectors.features.entries import CODE_BYTES, POINT_BITS, Matches, list_entries

PROBES = 16
"""Words whose lists are searched for a code."""
NEAREST = 16
"""Entries that one code of a query finds at most."""
MOST_BITS = 36
"""Bits in which a code may differ from that of the query. Of two codes of the same point 19 differ
in the median, of two others 64, and for 1 % of them less than 42."""


class FeatureIndex:
    """Finds points whose code is near to that of a query. Only one thread may use it at a time.

    cursor: sequence number of the last applied entry of the change log.
    """

    def __init__(self, base: Any, base_ids: RowIds, cursor: int) -> None:
        """base: inverted lists of FAISS, or None. base_ids: of the pictures in them, ascending."""
        self._words = faiss.IndexBinaryFlat(BITS)
        self._words.add(np.zeros((count_words(), CODE_BYTES), np.uint8))  # never searched
        self._base, self.base_ids, self.cursor = base, base_ids, cursor
        self._base_index = self._make(base) if base is not None else None
        self._gone = np.zeros(0, np.int64)  # pictures whose entries in the base count no more
        self._delta: dict[int, bytes] = {}
        self._delta_index: Any = None
        self._delta_lists: Any = None

    @property
    def changed_count(self) -> int:
        """How many pictures changed since the snapshot."""
        return max(len(self._gone), len(self._delta))

    def ids(self) -> RowIds:
        """Return the row ids of the pictures in the index, ascending."""
        changed = np.fromiter(self._delta, np.int64, len(self._delta))
        return np.union1d(np.setdiff1d(self.base_ids, self._gone), changed)

    def apply(self, changed: Collection[int], present: Mapping[int, bytes]) -> None:
        """Replace pictures. changed: row ids. present: packed features of those that have any."""
        rows = np.fromiter(changed, np.int64, len(changed))
        gone = rows[np.isin(rows, self.base_ids, assume_unique=True)]
        self._gone = np.union1d(self._gone, gone)
        for row_id in changed:
            self._delta.pop(row_id, None)
        self._delta.update(present)
        self._delta_lists = make_lists(self._delta)
        self._delta_index = self._make(self._delta_lists)

    def search(self, codes: Codes) -> Matches:
        """Return the nearest stored points of each code, (n, 16)."""
        words = find_words(codes, PROBES)
        parts = []
        for index, gone in ((self._base_index, self._gone), (self._delta_index, None)):
            if index is None or not index.ntotal or not len(codes):
                continue
            distances, ids = _search_lists(index, codes, words)
            queries, places = np.nonzero((ids >= 0) & (distances <= MOST_BITS))
            row_ids = ids[queries, places] >> POINT_BITS
            matches = Matches(queries, row_ids, distances[queries, places].astype(np.int64))
            if gone is not None and len(gone):
                stays = ~np.isin(row_ids, gone)
                matches = Matches(*(one[stays] for one in matches))
            parts.append(matches)
        if not parts:
            none = np.zeros(0, np.int64)
            return Matches(none, none, none)
        return Matches(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    def _make(self, lists: Any) -> Any:
        index: Any = faiss.IndexBinaryIVF(self._words, BITS, count_words())
        index.own_fields = False
        index.is_trained = True
        index.nprobe = PROBES
        index.replace_invlists(lists, False)
        index.ntotal = lists.compute_ntotal()
        return index


def make_lists(features: Mapping[int, bytes]) -> Any:
    """Return inverted lists of FAISS in memory. features: as `list_entries` takes them."""
    lists: Any = faiss.ArrayInvertedLists(count_words(), CODE_BYTES)
    words, ids, codes = list_entries(features)
    starts = np.flatnonzero(np.diff(words, prepend=-1))
    ends = np.append(starts, len(words))[1:]
    for start, end in zip(starts, ends, strict=True):
        some, rows = np.ascontiguousarray(ids[start:end]), np.ascontiguousarray(codes[start:end])
        pointers = faiss.swig_ptr(some), faiss.swig_ptr(rows)
        lists.add_entries(int(words[start]), len(some), *pointers)
    return lists


def _search_lists(
    index: Any, codes: Codes, words: RowIds
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """Return distances and ids, (n, NEAREST); -1 for none."""
    queries = np.ascontiguousarray(codes)
    distances = np.empty((len(queries), NEAREST), np.int32)
    ids = np.empty((len(queries), NEAREST), np.int64)
    lists, near = np.ascontiguousarray(words), np.zeros(words.shape, np.int32)
    pointers = (faiss.swig_ptr(one) for one in (lists, near, distances, ids))
    index.search_preassigned_c(
        len(queries), faiss.swig_ptr(queries), NEAREST, *pointers, False, None
    )
    return distances, ids
