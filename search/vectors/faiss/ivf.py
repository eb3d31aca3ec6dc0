"""The tier for many pictures: an inverted file (IVF) of vectors with 8 bits per component.

Vectors lie in clusters. A query is compared with the vectors of the nearest clusters only. The
lists of the clusters are mapped from the snapshot, so memory holds only what queries read.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from search.files import shown
from search.runtime import faiss
from search.types import Vectors
from search.vectors.base import Neighbours, RowIds, check_queries, no_neighbours
from search.vectors.faiss.index import FaissIndex, merge, threads_for
from search.vectors.faiss.snapshot import Array, Part, Snapshot
from search.vectors.faiss.tiers import Tier

GATHER = 8
"""How many times longer it takes to score a vector that is looked up by its id than one of a list
that is scanned."""
BLOCK = 16_384
"""Vectors that are looked up at a time."""
ID_BYTES = 8


class IvfIndex(FaissIndex):
    """Nearly exact search in a part of the vectors.

    It ranks by rounded vectors, so it returns more candidates than k, for the caller to rescore.
    probes: clusters that are searched for a query with k of at most 10 and no filter; probes_100:
    for k = 100.
    """

    tier: Tier = "ivf"
    HEAD_KEYS: Mapping[str, str] = MappingProxyType(
        {**FaissIndex.HEAD_KEYS, "probes": "probes", "probes_100": "probes_100"}
    )

    def __init__(
        self,
        centroids: Vectors,
        bounds: Vectors,
        base_ids: RowIds,
        places: RowIds,
        lists: Array,
        base: Any,
    ) -> None:
        """centroids: (clusters, dim). bounds: (2, dim), least value and range of each component.
        base_ids: ascending. places: of their codes in `lists`, in bytes. lists: (bytes,) uint8, for
        each cluster its codes, then its ids. base: the same as inverted lists of FAISS, or None.
        """
        self._centroids, self._bounds = np.array(centroids), np.array(bounds)
        self._quantizer = faiss.IndexFlatIP(centroids.shape[1])
        self._quantizer.add(self._centroids)
        delta = make_lists(self._quantizer, bounds)
        delta.set_direct_map_type(faiss.DirectMap.Hashtable)  # type: ignore[attr-defined]
        super().__init__(centroids.shape[1], base_ids, delta)
        self.probes = self.probes_100 = 1
        self._places, self._lists, self._inverted = places, lists, base
        self._base = make_lists(self._quantizer, bounds)
        if base is not None:
            self._base.replace_invlists(base, False)
            self._base.ntotal = len(base_ids)

    @property
    def clusters(self) -> int:
        """How many clusters there are."""
        return len(self._centroids)

    @classmethod
    def empty(cls, centroids: Vectors, bounds: Vectors) -> IvfIndex:
        """Return an index without vectors. Arguments: as `IvfIndex` takes them."""
        none = np.empty(0, np.int64)
        return cls(centroids, bounds, none, none, np.empty(0, np.uint8), None)

    def search(
        self, vectors: Vectors, k: int, filter: Collection[int] | None = None
    ) -> list[Neighbours]:
        """Find the nearest stored vectors of each query, and some candidates more than k."""
        queries = check_queries(vectors, self.dim)
        selection = None if filter is None else self._select(filter)
        searched = self.count if selection is None else sum(len(one) for one in selection)
        k = min(k, searched)
        if k <= 0 or not len(queries):
            return [no_neighbours() for _ in queries]
        candidates = min(searched, k + k // 2 + 10)
        probes = self._choose_probes(k, candidates, searched)
        with threads_for(queries):
            if selection is not None:
                scanned = probes / self.clusters * self.count
                if GATHER * searched <= scanned or candidates == searched:
                    return self._search_selected(queries, candidates, *selection)
            return self._search_clusters(queries, k, candidates, probes, selection)

    def parts(self) -> dict[str, Part]:
        """Return the arrays of a snapshot."""
        sizes, delta = list_sizes(self._base.invlists), self._delta.invlists
        starts = np.concatenate([[0], np.cumsum(sizes * (self.dim + ID_BYTES))])
        gone = self._base_ids[self._deleted_positions()]
        touched = np.searchsorted(starts, self._places[self._deleted_positions()], "right") - 1
        affected = set(touched.tolist())
        added = {i: read_list(delta, i) for i in np.flatnonzero(list_sizes(delta)).tolist()}
        lists, dim = self._lists, self.dim  # the closure keeps the map of the file

        def merged() -> Iterator[tuple[Array, RowIds]]:
            for i, size in enumerate(sizes.tolist()):
                middle = starts[i] + size * dim
                codes = lists[starts[i] : middle].reshape(size, dim)
                ids = lists[middle : starts[i + 1]].view(np.int64)
                if i in affected:
                    is_present = ~np.isin(ids, gone)
                    codes, ids = codes[is_present], ids[is_present]
                if i in added:
                    codes = np.concatenate([codes, added[i][0]])
                    ids = np.concatenate([ids, added[i][1]])
                yield codes, ids

        return make_parts(self._centroids, self._bounds, self.count, merged())

    @classmethod
    def _restore(cls, snapshot: Snapshot) -> IvfIndex:
        parts = snapshot.parts
        centroids, bounds, sizes = parts["centroids"], parts["bounds"], parts["sizes"]
        ids, places, lists = parts["ids"], parts["places"], parts["lists"]
        (clusters, dim), total = centroids.shape, int(sizes.sum())
        if (
            dim != snapshot.head["dim"]
            or bounds.shape != (2, dim)
            or sizes.shape != (clusters,)
            or ids.shape != (total,)
            or places.shape != (total,)
            or lists.shape != (total * (dim + ID_BYTES),)
        ):
            raise ValueError("the arrays do not belong together")
        base = map_lists(snapshot, sizes, dim)
        return cls(centroids, bounds, ids, places, lists, base)

    def _choose_probes(self, k: int, candidates: int, searched: int) -> int:
        """Return how many clusters to search. searched: vectors that the filter leaves."""
        steps = math.log10(max(k, 10) / 10)  # 1 for k = 100
        probes: float = self.probes * (max(self.probes_100, self.probes) / self.probes) ** steps
        probes *= self.count / searched  # a smaller share of the vectors lies in more clusters
        least = 4 * candidates * self.clusters / searched
        return min(self.clusters, math.ceil(max(probes, least)))

    def _search_clusters(
        self,
        queries: Vectors,
        k: int,
        candidates: int,
        probes: int,
        selection: tuple[RowIds, RowIds] | None,
    ) -> list[Neighbours]:
        """Search clusters, four times as many for queries that have fewer than k neighbours."""
        answers = [no_neighbours() for _ in queries]
        pending = list(range(len(queries)))
        if candidates >= self.count:
            probes = self.clusters
        while pending:
            probes = min(probes, self.clusters)
            some = self._search_lists(queries[pending], candidates, probes, selection)
            for i, answer in zip(pending, some, strict=True):
                answers[i] = answer
            if probes == self.clusters:
                break
            pending = [i for i in pending if len(answers[i].ids) < k]
            probes *= 4
        return answers

    def _search_lists(
        self, queries: Vectors, k: int, probes: int, selection: tuple[RowIds, RowIds] | None
    ) -> list[Neighbours]:
        """Search the nearest clusters of base and delta."""
        near, clusters = self._quantizer.search(queries, probes)
        base_selector: Any = None
        delta_selector: Any = None
        if selection is not None:
            base_selector = make_selector(self._base_ids[selection[0]])
            delta_selector = faiss.IDSelectorBatch(selection[1])
        elif self._deleted:
            gone = faiss.IDSelectorBatch(self._base_ids[self._deleted_positions()])
            base_selector = faiss.IDSelectorNot(gone)
        answers = []
        for index, selector in ((self._base, base_selector), (self._delta, delta_selector)):
            if index.ntotal:
                answers.append(scan_lists(index, queries, k, near, clusters, selector))
        return merge(k, *answers)

    def _search_selected(
        self, queries: Vectors, k: int, positions: RowIds, added: RowIds
    ) -> list[Neighbours]:
        """Compare the queries with these vectors alone: positions in the base, ids in the delta."""
        scores = [np.empty((len(queries), 0), np.float32)]
        ids = [np.empty((len(queries), 0), np.int64)]
        for start in range(0, len(positions), BLOCK):
            block = positions[start : start + BLOCK]
            rows = self._base.sq.decode(self._read_codes(block))
            # one by one, so that a score does not depend on the batch; a product of matrices would
            # start threads, which few rows only slow down
            some = np.stack([np.einsum("nd,d->n", rows, query) for query in queries])
            best = np.argsort(-some, axis=1, kind="stable")[:, :k]
            scores.append(np.take_along_axis(some, best, 1))
            ids.append(self._base_ids[block][best])
        if len(added):
            rows = np.stack([self._delta.reconstruct(int(one)) for one in added])
            scores.append(np.stack([rows @ query for query in queries]))
            ids.append(np.broadcast_to(added, scores[-1].shape))
        return merge(k, (np.concatenate(scores, 1), np.concatenate(ids, 1)))

    def _read_codes(self, positions: RowIds) -> Array:
        """Return the (n, dim) uint8 codes at these positions of the base."""
        unit = math.gcd(self.dim, ID_BYTES)  # every code begins at a multiple of it
        units = self._lists.view(f"u{unit}")
        columns = self._places[positions, None] // unit + np.arange(self.dim // unit)
        codes: Array = units[columns].view(np.uint8)
        return codes


def make_selector(ids: RowIds) -> Any:
    """Return the selector of FAISS for ids, 0 or more each, ascending."""
    if not len(ids) or ids[-1] >= 256 * len(ids):  # a bitmap would be larger than the set
        return faiss.IDSelectorBatch(ids)
    bits = np.zeros(int(ids[-1]) + 1, bool)
    bits[ids] = True
    bitmap = np.packbits(bits, bitorder="little")
    return faiss.IDSelectorBitmap(bitmap)  # type: ignore[call-arg,arg-type]


def make_lists(quantizer: Any, bounds: Vectors) -> Any:
    """Return an empty inverted file of FAISS. bounds: as `IvfIndex` takes them."""
    clusters, dim, kind = quantizer.ntotal, quantizer.d, faiss.ScalarQuantizer.QT_8bit
    metric = faiss.METRIC_INNER_PRODUCT
    index: Any = faiss.IndexIVFScalarQuantizer(quantizer, dim, clusters, kind, metric, False)
    index.own_fields = False
    faiss.copy_array_to_vector(np.ravel(bounds).astype(np.float32), index.sq.trained)
    index.is_trained = True
    return index


def scan_lists(
    index: Any, queries: Vectors, k: int, near: Vectors, clusters: RowIds, selector: Any
) -> tuple[Vectors, RowIds]:
    """Return the scores and ids of the best vectors in these clusters, (q, k) each.

    near, clusters: (q, probes), scores and numbers of the clusters of each query. selector: of
    FAISS, which ids to search; None for all.
    """
    k, probes = min(k, index.ntotal), clusters.shape[1]
    scores, ids = np.empty((len(queries), k), np.float32), np.empty((len(queries), k), np.int64)
    parameters = faiss.SearchParametersIVF(nprobe=probes, sel=selector)  # type: ignore[call-arg]
    pointers = (faiss.swig_ptr(one) for one in (clusters, near, scores, ids))
    sizes = len(queries), faiss.swig_ptr(queries), k
    index.search_preassigned_c(*sizes, *pointers, False, parameters)
    return scores, ids


def map_lists(snapshot: Snapshot, sizes: RowIds, dim: int) -> Any:
    """Return the lists of a snapshot as inverted lists of FAISS, mapped into memory."""
    lists: Any = faiss.OnDiskInvertedLists()
    entries = np.zeros((len(sizes), 3), np.uint64)  # size, capacity and offset of each
    entries[:, 0] = entries[:, 1] = sizes
    starts = np.concatenate([[0], np.cumsum(sizes * (dim + ID_BYTES))[:-1]])
    entries[:, 2] = snapshot.offsets["lists"] + starts
    lists.nlist, lists.code_size = len(sizes), dim
    lists.totsize, lists.read_only = snapshot.path.stat().st_size, True
    lists.prefetch_nthread = 0  # each search would start threads
    lists.lists.resize(len(sizes))
    faiss.memcpy(lists.lists.data(), faiss.swig_ptr(entries), entries.nbytes)
    with snapshot.path.open("rb") as file:
        path = str(snapshot.path)  # FAISS takes no other name than in UTF-8
        lists.filename = path if path == shown(path) else f"/dev/fd/{file.fileno()}"
        lists.do_mmap()
    return lists


def list_sizes(lists: Any) -> RowIds:
    """Return the length of each inverted list of FAISS, (clusters,)."""
    return np.array([lists.list_size(i) for i in range(lists.nlist)], np.int64)


def read_list(lists: Any, i: int) -> tuple[Array, RowIds]:
    """Return copies of the codes, (n, dim) uint8, and the ids of an inverted list of FAISS."""
    size, dim = lists.list_size(i), lists.code_size
    codes = faiss.rev_swig_ptr(lists.get_codes(i), size * dim).reshape(size, dim).copy()
    return codes, faiss.rev_swig_ptr(lists.get_ids(i), size).copy()


def make_parts(
    centroids: Vectors, bounds: Vectors, count: int, lists: Iterable[tuple[Array, RowIds]]
) -> dict[str, Part]:
    """Return the arrays of a snapshot of clusters.

    count: of all vectors. lists: codes, (n, dim) uint8, and ids of each cluster, in order. They are
    read while the first array is written; the others follow from them.
    """
    clusters, dim = centroids.shape
    sizes, ids, places = np.zeros(clusters, np.int64), list[RowIds](), list[RowIds]()

    def write_lists() -> Iterator[Array]:
        start = 0
        for i, (codes, row_ids) in enumerate(lists):
            sizes[i] = len(row_ids)
            ids.append(np.array(row_ids, np.int64))
            places.append(start + dim * np.arange(len(row_ids)))
            start += len(row_ids) * (dim + ID_BYTES)
            yield codes
            yield ids[-1]

    def write_ids() -> Iterator[Array]:
        every, where = np.concatenate(ids), np.concatenate(places)
        order = np.argsort(every)
        ids[:], places[:] = [every[order]], [where[order]]
        yield ids[0]

    return {
        "lists": Part("|u1", (count * (dim + ID_BYTES),), write_lists()),
        "sizes": Part("<i8", (clusters,), (sizes,)),
        "ids": Part("<i8", (count,), write_ids()),
        "places": Part("<i8", (count,), places),
        "centroids": Part.of(centroids),
        "bounds": Part.of(bounds),
    }
