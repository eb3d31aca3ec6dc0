"""The stores of a library in Milvus, and their collections."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from search.catalog.reads import CatalogReader
from search.catalog.writes import Space
from search.errors import StoreError
from search.vectors.milvus.connection import Connection

if TYPE_CHECKING:
    from search.vectors.base import StoreManager
    from search.vectors.milvus.replica import MilvusReplica

log = logging.getLogger(__name__)


class MilvusManager:
    """See `search.vectors.base.StoreManager`.

    Milvus trains and saves by itself. So `train` and `save` bring the stores up to date, and only
    report that Milvus does not answer: the change log is applied when it does.
    """

    def __init__(
        self,
        reader: CatalogReader,
        connection: Connection,
        open_fallback: Callable[[], StoreManager],
        tier: str,
        report: Callable[[str], None] = lambda _: None,
        **more: Any,
    ) -> None:
        """open_fallback: opens exact stores in memory, for while Milvus does not answer. tier:
        `flat` for an exact index, others for a graph (HNSW); Milvus Lite is always exact. report:
        takes a line for the user. more: further arguments of `MilvusReplica`."""
        self._reader, self._connection, self._open_fallback = reader, connection, open_fallback
        self._exact = tier == "flat" or connection.is_lite
        self._report, self._more = report, more
        self._replicas: dict[int, MilvusReplica] = {}
        self._opening = threading.Lock()

    def replica(self, space: Space) -> MilvusReplica:
        """Open the store of a space, or return the open one. Not on the inference thread."""
        from search.vectors.milvus.replica import MilvusReplica

        with self._opening:
            if space.id not in self._replicas:
                serving = {space.id, *(one.id for one in self._reader.spaces())}
                for key in set(self._replicas) - serving:
                    del self._replicas[key]
                self._replicas[space.id] = MilvusReplica(
                    self._reader,
                    space,
                    self._connection,
                    self._exact,
                    self._open_fallback,
                    self._report,
                    **self._more,
                )
            return self._replicas[space.id]

    def train(self, space: Space) -> bool:
        """Bring the store up to date. Returns False: Milvus trains by itself."""
        try:
            self.replica(space).update()
        except StoreError as error:
            log.warning("the vector store was not brought up to date: %s", error)
        return False

    def save(self, space: Space) -> None:
        """Bring the store up to date, and drop the collections of spaces that serve no longer."""

        from search.vectors.milvus.replica import collection_name

        replica, library = self.replica(space), self._reader.library()

        try:
            replica.update()
            replica.flush()
            serving = [space, *self._reader.spaces()]
            names = {collection_name(library, one.fingerprint) for one in serving}
            for name in self._connection.call("list_collections"):
                if name.startswith(collection_name(library)) and name not in names:
                    self._connection.call("drop_collection", name, slow=True)
        except StoreError as error:
            log.warning("the vector store was not brought up to date: %s", error)
            self._report(f"{error}; nothing is lost: it is brought up to date when it answers")

    def status(self, space: Space | None) -> dict[str, Any]:
        """Return `kind`, which is "milvus", and `generation`, the last entry of the log.

        While Milvus does not answer, `problem` says why. Milvus Lite is not started for it.
        """
        status = {"kind": "milvus", "generation": self._reader.sequence(space) if space else 0}
        replica = self._replicas.get(space.id) if space else None
        problem = replica.problem if replica else None
        if not self._connection.is_lite and (replica is None or replica.is_retry_due()):
            try:
                self._connection.call("get_server_version")
                problem = None
            except StoreError as error:
                problem = error
        return status if problem is None else {**status, "problem": str(problem)}

    def close(self) -> None:
        """Close the connection, and end Milvus Lite."""
        self._connection.close()
