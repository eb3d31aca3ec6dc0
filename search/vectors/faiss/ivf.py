"""The tier for many pictures: vectors of 8 bits a component in clusters, of which a query looks at
the nearest (an inverted file, IVF)."""

from __future__ import annotations

import math
from collections.abc import Collection, Generator
from typing import Any

import numpy as np

from search.runtime import faiss
from search.types import Vectors
from search.vectors.base import Kind, RowIds
from search.vectors.faiss.clusters import kmeans
from search.vectors.faiss.index import FaissIndex

SHARE = 0.995  # of the ten nearest, that are to be in the clusters looked at


class IvfIndex(FaissIndex):
    """Nearly exact search in a part of the vectors. What it finds is ranked by rounded vectors, so
    it gives some more than was asked for.

    probes: clusters that a query for few pictures looks at.
    """

    kind: Kind = "ivf"
    HOLDS = faiss.IndexIVFScalarQuantizer
    SAVED = (*FaissIndex.SAVED, "probes")

    def __init__(self, index: Any) -> None:
        super().__init__(index)
        self.probes = 1

    @classmethod
    def train(cls, sample: Vectors, clusters: int) -> Generator[None, None, IvfIndex]:
        """An index without vectors, after so many pieces of work; sample: (n, dim) unit vectors,
        like those to come."""
        dim, metric = sample.shape[1], faiss.METRIC_INNER_PRODUCT
        index: Any = faiss.index_factory(dim, f"IVF{clusters},SQ8", metric)
        index.quantizer.add((yield from kmeans(sample, clusters)))
        index.by_residual = False  # what rounding loses is mended by scoring again
        index.sq.rangestat_arg = 0.1  # room for components beyond the sample's
        index.train(sample[:: math.ceil(len(sample) / 8192)])
        index.set_direct_map_type(faiss.DirectMap.Hashtable)  # type: ignore[attr-defined]
        return cls(index)

    def calibrate(self, queries: Vectors) -> Generator[None, None, None]:
        """Set `probes` so that these, of the vectors in it, find their ten nearest others."""
        every = _looking(self._index.nlist)
        places = []
        for query in queries:
            near = self._find(query, 11, every)[1:]  # the first is the query itself
            if not len(near):
                continue
            order = self._index.quantizer.search(query[None], self._index.nlist)[1][0]
            rows = np.stack([self._index.reconstruct(int(n)) for n in near])
            homes = self._index.quantizer.search(rows, 1)[1][:, 0]
            places.append(np.argsort(order)[homes])
            yield
        if places:
            self.probes = 1 + math.ceil(np.quantile(np.concatenate(places), SHARE))

    def numbers(self) -> RowIds:
        """All picture numbers in it, ascending."""
        lists = self._index.invlists
        parts = [
            faiss.rev_swig_ptr(lists.get_ids(i), size).copy()
            for i in range(self._index.nlist)
            if (size := lists.list_size(i))
        ]
        result: RowIds = np.sort(np.concatenate([np.empty(0, np.int64), *parts]))
        return result

    def search(self, query: Vectors, k: int, only: Collection[int] | None = None) -> RowIds:
        """As `VectorIndex.search`."""
        left = len(self) if only is None else min(len(only), len(self))
        k = min(k, left)
        if not k:
            return np.empty(0, np.int64)
        more = min(left, k + k // 2 + 10)
        ids = None if only is None else np.fromiter(only, np.int64, len(only))
        lists = self._index.nlist
        # the fewer are left, and the more are wanted, the farther off they are
        probes = math.ceil(self.probes * len(self) / left * (max(k, 10) / 10) ** 0.25)
        probes = lists if more == left else max(probes, math.ceil(4 * more * lists / left))
        while True:
            probes = min(probes, lists)
            found = self._find(query, more, _looking(probes, ids))
            if len(found) >= k or probes == lists:
                return found
            probes *= 4


def _looking(probes: int, only: RowIds | None = None) -> Any:
    chosen = None if only is None else faiss.IDSelectorBatch(only)
    return faiss.SearchParametersIVF(nprobe=probes, sel=chosen)  # type: ignore[call-arg]
