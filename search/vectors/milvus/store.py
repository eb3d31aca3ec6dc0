"""The vectors of one space in a collection of Milvus."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Collection
from typing import Any

import numpy as np

from search.catalog.writes import chunks
from search.errors import StoreError
from search.types import Vectors
from search.vectors.base import (
    Neighbours,
    RowIds,
    check_queries,
    check_upsert,
    no_neighbours,
)
from search.vectors.milvus.connection import CollectionLostError, Connection

VECTORS, STATE = "vectors", "state"
"""The partitions of a collection: one for the vectors, one for the row that has the cursor. They
are in one collection, so that who loses the vectors loses the cursor as well."""
STATE_ID = -1
"""The id of that row; row ids of the catalog are positive."""
MAX_K = 16_384
"""Most neighbours, and most rows of a query, that Milvus returns at once."""
BATCH_BYTES = 8 * 2**20
"""Vectors of one request. Milvus takes 64 MiB."""
ID_BATCH = 8_192
"""Row ids in the filter of one request."""
LINKS, BUILD_WIDTH, MIN_WIDTH = 24, 200, 128
"""Parameters of HNSW: M, efConstruction, and the least ef of a search."""
METRIC = "IP"
STALE_SECONDS = 60.0
"""Time after which a process that fills a collection and does not go on is taken for dead."""
log = logging.getLogger(__name__)


class MilvusStore:
    """See `search.vectors.base.VectorStore`. Scores are exact cosines.

    Its methods wait for the network, so it is never used on the inference thread. Threads may share
    it. They raise StoreError when Milvus does not answer, and `failure` has that error.

    cursor: of this process; `save_state` writes it to Milvus. stamp: that of the log entry at the
    cursor, as Milvus has it. complete: whether all vectors were stored once.
    """

    remote = True

    def __init__(self, connection: Connection, name: str, dim: int) -> None:
        """name: of an existing collection (`create`)."""
        self.dim, self.name = dim, name
        self.cursor = self.stamp = 0
        self.complete = False
        self.failure: StoreError | None = None
        self._connection, self._token = connection, uuid.uuid4().hex
        self._state_time = 0.0
        # The first search after a change waits until Milvus has all changes; that takes 200 ms
        self._fresh = False

    @classmethod
    def create(
        cls, connection: Connection, name: str, dim: int, exact: bool = False
    ) -> MilvusStore:
        """Make an empty collection, in place of one that has the name. Raises StoreError.

        exact: compare a query with every vector, instead of a graph (HNSW).
        """
        from pymilvus import DataType, MilvusClient

        connection.call("drop_collection", name, slow=True)
        schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=True)
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=dim)
        connection.call(
            "create_collection", name, schema=schema, consistency_level="Strong", slow=True
        )
        for partition in (VECTORS, STATE):
            connection.call("create_partition", name, partition, slow=True)
        index = MilvusClient.prepare_index_params()
        graph = {"M": LINKS, "efConstruction": BUILD_WIDTH}
        if exact:
            index.add_index("vector", index_type="FLAT", metric_type=METRIC)
        else:
            index.add_index("vector", index_type="HNSW", metric_type=METRIC, params=graph)
        connection.call("create_index", name, index, slow=True)
        connection.call("load_collection", name, slow=True)
        store = cls(connection, name, dim)
        store.save_state(0, complete=False)
        return store

    @classmethod
    def open(cls, connection: Connection, name: str, dim: int) -> MilvusStore | None:
        """Open a collection, or return None if there is none or it has another schema.

        Raises StoreError.
        """
        if not connection.call("has_collection", name):
            return None
        fields = connection.call("describe_collection", name)["fields"]
        dims = {field["name"]: field["params"].get("dim") for field in fields}
        if set(dims) != {"id", "vector"} or int(dims["vector"] or 0) != dim:
            log.warning("the collection %s has another schema; it is made anew", name)
            return None
        connection.call("load_collection", name, slow=True)
        store = cls(connection, name, dim)
        return store if store.load_state() else None

    @property
    def count(self) -> int:
        """How many vectors are stored."""
        rows = self._query("id >= 0", "count(*)")
        return int(rows[0]["count(*)"])

    def ids(self) -> RowIds:
        """Return all stored row ids, ascending."""

        if self._connection.is_lite:  # it knows no iterator, and no limit either
            rows = self._query("id >= 0", "id")
            return np.sort(np.array([row["id"] for row in rows], np.int64))

        def read(client: Any) -> RowIds:
            rows: list[int] = []
            pages = client.query_iterator(
                self.name,
                batch_size=ID_BATCH,
                filter="id >= 0",
                output_fields=["id"],
                partition_names=[VECTORS],
                consistency_level="Strong",
                timeout=self._connection.seconds,
            )
            while page := pages.next():
                rows += [row["id"] for row in page]
            pages.close()
            return np.sort(np.array(rows, np.int64))

        result: RowIds = self._watch(lambda: self._connection.run(read, self._connection.seconds))
        return result

    def upsert(self, ids: Collection[int], vectors: Vectors) -> None:
        """Store vectors, and replace those that have the same ids."""
        row_ids, rows = check_upsert(ids, vectors, self.dim)
        step = max(1, BATCH_BYTES // (4 * self.dim))
        for start in range(0, len(row_ids), step):
            part = slice(start, start + step)
            data = [
                {"id": row_id, "vector": row}
                for row_id, row in zip(row_ids[part].tolist(), rows[part], strict=True)
            ]
            self._write("upsert", data, partition_name=VECTORS)

    def delete(self, ids: Collection[int]) -> None:
        """Delete vectors. Unknown ids are ignored."""
        for part in chunks([int(row_id) for row_id in ids], ID_BATCH):
            self._write("delete", ids=part, partition_name=VECTORS)

    def search(
        self, vectors: Vectors, k: int, filter: Collection[int] | None = None
    ) -> list[Neighbours]:
        """Find the nearest stored vectors of each query; exactly min(k, searched vectors)."""
        queries = check_queries(vectors, self.dim)
        if not k or not len(queries) or (filter is not None and not len(filter)):
            return [no_neighbours() for _ in queries]
        if filter is None and k <= MAX_K:
            return self._search(queries, k)
        among = self.ids() if filter is None else np.unique(np.fromiter(filter, np.int64))
        if len(among) <= ID_BATCH:
            return self._search(queries, k, among)
        return [self._search_among(query, k, among) for query in queries]

    def load_state(self) -> bool:
        """Read the cursor that Milvus has. Returns False if there is none: the store is not whole.

        Raises StoreError if another process fills the collection just now.
        """
        rows = self._query(f"id == {STATE_ID}", "*", STATE)
        if not rows:
            return False
        state = rows[0]
        self.complete = bool(state["complete"])
        if not self.complete and state["token"] != self._token:
            if time.time() - float(state["time"]) < STALE_SECONDS:
                raise StoreError(
                    f"the vector store {self._connection.address} is being filled from the catalog "
                    "by another process; try again when that is done"
                )
            return False
        if int(state["cursor"]) != self.cursor:
            self._fresh = False  # another process has written
        self.cursor, self.stamp = int(state["cursor"]), int(state["stamp"])
        return True

    def save_state(self, stamp: int, complete: bool = True) -> None:
        """Write the cursor to Milvus, when all that it stands for is there. Raises StoreError.

        stamp: of the log entry at the cursor. complete: False while the store is being filled.
        Raises StoreError if another process has begun to fill the store meanwhile.
        """
        if complete and not self.complete:
            rows = self._query(f"id == {STATE_ID}", "*", STATE)
            if not rows or rows[0]["token"] != self._token:
                raise CollectionLostError(
                    f"the vector store {self._connection.address} was made anew by another process"
                )
        row = {
            "id": STATE_ID,
            "vector": np.zeros(self.dim, np.float32),
            "cursor": self.cursor,
            "stamp": stamp,
            "complete": complete,
            "token": self._token,
            "time": time.time(),
        }
        self._write("upsert", [row], partition_name=STATE)
        self.stamp, self.complete, self._state_time = stamp, complete, time.monotonic()

    def note_progress(self) -> None:
        """Tell other processes, from time to time, that this one still fills the store."""
        if time.monotonic() - self._state_time > STALE_SECONDS / 6:
            self.save_state(0, complete=False)

    def flush(self) -> None:
        """Let Milvus write its files, from which a search is faster than from its log."""
        self._write("flush", slow=True)

    def _search_among(self, query: Vectors, k: int, among: RowIds) -> Neighbours:
        """Search many row ids, which no request can name, for one query (dim,).

        Of the neighbours of all vectors, those in `among` are taken. If they are too few, the ids
        are searched in batches, which is exact and slower.
        """
        share = max(len(among) / max(self.count, 1), 1e-9)
        wider = int(min(4 * k / share + 100, MAX_K)) if k <= MAX_K else 0
        if wider:
            (answer,) = self._search(query[None], wider)
            inside = np.isin(answer.ids, among)
            if int(inside.sum()) >= k:
                return Neighbours(answer.ids[inside][:k], answer.scores[inside][:k])
        parts = [
            self._search(query[None], min(k, len(part)), np.array(part))[0]
            for part in chunks(among.tolist(), ID_BATCH)
        ]
        ids, scores = (np.concatenate(values) for values in zip(*parts, strict=True))
        order = np.argsort(-scores, kind="stable")[:k]
        return Neighbours(ids[order], scores[order])

    def _search(self, queries: Vectors, k: int, among: RowIds | None = None) -> list[Neighbours]:
        """Search by requests that Milvus takes. k: 1 to `MAX_K`. among: at most `ID_BATCH` ids."""
        k = k if among is None else min(k, len(among))
        level = "Session" if self._fresh else "Strong"
        answers: list[Neighbours] = []
        step = max(1, MAX_K // k)  # neighbours of one answer
        for start in range(0, len(queries), step):
            rows = self._watch(
                lambda part=queries[start : start + step]: self._connection.call(
                    "search",
                    self.name,
                    list(part),
                    limit=k,
                    filter="" if among is None else f"id in {among.tolist()}",
                    output_fields=["id"],
                    partition_names=[VECTORS],
                    search_params={
                        "metric_type": METRIC,
                        "params": {"ef": min(max(MIN_WIDTH, 2 * k), 32_768)},
                    },
                    consistency_level=level,
                )
            )
            for hits in rows:
                ids = np.array([hit["id"] for hit in hits], np.int64)
                scores = np.array([hit["distance"] for hit in hits], np.float32)
                order = np.lexsort((ids, -scores))
                answers.append(Neighbours(ids[order], scores[order]))
        self._fresh = True
        return answers

    def _query(self, filter: str, field: str, partition: str = VECTORS) -> list[dict[str, Any]]:
        rows = self._watch(
            lambda: self._connection.call(
                "query",
                self.name,
                filter=filter,
                output_fields=[field],
                partition_names=[partition],
                consistency_level="Strong",
            )
        )
        return list(rows)

    def _write(self, method: str, *values: Any, **options: Any) -> None:
        self._fresh = False
        self._watch(lambda: self._connection.call(method, self.name, *values, **options))

    def _watch(self, work: Any) -> Any:
        """Return a result, and note a failure."""
        try:
            return work()
        except StoreError as error:
            self.failure = error
            raise
