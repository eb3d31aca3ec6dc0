"""The tier for many pictures: an inverted file (IVF) of vectors with 8 bits per component.

Vectors lie in clusters. A query is compared with the vectors of the nearest clusters only.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Generator, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from search.runtime import faiss
from search.types import Vectors
from search.vectors.base import Neighbours, RowIds, check_queries, no_neighbours
from search.vectors.faiss.clusters import kmeans
from search.vectors.faiss.index import FaissIndex
from search.vectors.faiss.tiers import Tier

COVERAGE = 0.995
"""Share of the ten nearest vectors that the searched clusters must contain, over many queries."""


class IvfIndex(FaissIndex):
    """Nearly exact search in a part of the vectors.

    It ranks by rounded vectors, so it returns more candidates than k, for the caller to rescore.
    probes: clusters that are searched for a query with a small k and no filter.
    """

    tier: Tier = "ivf"
    FAISS_TYPE = faiss.IndexIVFScalarQuantizer
    HEAD_KEYS: Mapping[str, str] = MappingProxyType({**FaissIndex.HEAD_KEYS, "probes": "probes"})

    def __init__(self, index: Any) -> None:
        super().__init__(index)
        self.probes = 1

    @property
    def clusters(self) -> int:
        """How many clusters there are."""
        return int(self._index.nlist)

    @classmethod
    def train(cls, sample: Vectors, clusters: int) -> Generator[None, None, IvfIndex]:
        """Train clusters in pieces; return an index without vectors.

        sample: (n, dim) unit vectors, distributed like those that will be stored. clusters: 1 to n.
        """
        dim, metric = sample.shape[1], faiss.METRIC_INNER_PRODUCT
        index: Any = faiss.index_factory(dim, f"IVF{clusters},SQ8", metric)
        index.quantizer.add((yield from kmeans(sample, clusters)))
        index.by_residual = False  # rescoring corrects what rounding loses
        index.sq.rangestat_arg = 0.1  # room for components beyond the range of the sample
        index.train(sample[:: math.ceil(len(sample) / 8192)])
        index.set_direct_map_type(faiss.DirectMap.Hashtable)  # type: ignore[attr-defined]
        return cls(index)

    def calibrate(self, queries: Vectors) -> Generator[None, None, None]:
        """Set `probes` so that the queries find their ten nearest other vectors, in pieces.

        queries: (q, dim) vectors that are stored in the index.
        """
        all_clusters = _parameters(self.clusters)
        ranks = []
        for query in queries:
            near = self._search_faiss(query[None], 11, all_clusters)[0].ids[1:]  # 0 is the query
            if not len(near):
                continue
            order = self._index.quantizer.search(query[None], self.clusters)[1][0]
            rows = np.stack([self._index.reconstruct(int(row_id)) for row_id in near])
            clusters = self._index.quantizer.search(rows, 1)[1][:, 0]
            ranks.append(np.argsort(order)[clusters])
            yield
        if ranks:
            self.probes = 1 + math.ceil(np.quantile(np.concatenate(ranks), COVERAGE))

    def ids(self) -> RowIds:
        """Return all stored row ids, ascending."""
        lists = self._index.invlists
        parts = [
            faiss.rev_swig_ptr(lists.get_ids(i), size).copy()
            for i in range(self.clusters)
            if (size := lists.list_size(i))
        ]
        result: RowIds = np.sort(np.concatenate([np.empty(0, np.int64), *parts]))
        return result

    def search(
        self, vectors: Vectors, k: int, filter: Collection[int] | None = None
    ) -> list[Neighbours]:
        """Find the nearest stored vectors of each query, and some candidates more than k."""
        queries = check_queries(vectors, self.dim)
        searched = self.count if filter is None else min(len(filter), self.count)
        k = min(k, searched)
        answers = [no_neighbours() for _ in queries]
        if not k:
            return answers
        candidates = min(searched, k + k // 2 + 10)
        ids = None if filter is None else np.fromiter(filter, np.int64, len(filter))
        clusters = self.clusters
        # a smaller share of the vectors, or a larger k, needs more clusters
        probes = math.ceil(self.probes * self.count / searched * (max(k, 10) / 10) ** 0.25)
        probes = max(probes, math.ceil(4 * candidates * clusters / searched))
        if candidates == searched:
            probes = clusters
        pending = list(range(len(queries)))
        while pending:
            probes = min(probes, clusters)
            parameters = _parameters(probes, ids)
            for i, answer in zip(
                pending, self._search_faiss(queries[pending], candidates, parameters), strict=True
            ):
                answers[i] = answer
            if probes == clusters:
                break
            pending = [i for i in pending if len(answers[i].ids) < k]
            probes *= 4
        return answers


def _parameters(probes: int, ids: RowIds | None = None) -> Any:
    """Return search parameters of FAISS: how many clusters to search, and which ids."""
    selector = None if ids is None else faiss.IDSelectorBatch(ids)
    return faiss.SearchParametersIVF(nprobe=probes, sel=selector)  # type: ignore[call-arg]
