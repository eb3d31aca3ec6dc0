"""The store of one space in Milvus: opened, filled, kept up to date; and what replaces it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from search.catalog.reads import CatalogReader
from search.catalog.writes import Space
from search.errors import StoreError
from search.vectors.base import StoreManager, StoreReplica, VectorStore
from search.vectors.milvus.connection import (
    CollectionLostError,
    Connection,
    DamagedStoreError,
)
from search.vectors.milvus.store import MilvusStore
from search.vectors.replay import fill, replay, run_all

SCHEMA = 1
"""Version of what a collection holds; it is in its name."""
FALLBACK_COUNT = 100_000
"""Most vectors that are searched without Milvus: to read them from the catalog takes seconds."""
RETRY_SECONDS = 10.0
"""Time after a failure in which Milvus is not tried again."""
WAIT_SECONDS = 1.0
"""Time that a search waits for a thread that brings the store up to date."""
log = logging.getLogger(__name__)


def collection_name(library: str, fingerprint: str = "") -> str:
    """Return the name of a space's collection, so that many libraries may share a server.

    library: its id. fingerprint: of the space; without it, what the names of the library begin
    with.
    """
    text = f"lookalike{SCHEMA}_{library}_{fingerprint}"
    return "".join(one if one.isalnum() else "_" for one in text)


class MilvusReplica:
    """See `search.vectors.base.StoreReplica`.

    Several processes may apply the change log to the same collection. Each writes what the catalog
    has at that moment, and looks at the log again afterwards, so the last one to write has read the
    newest state. problem: why Milvus did not answer, or None.
    """

    def __init__(
        self,
        reader: CatalogReader,
        space: Space,
        connection: Connection,
        exact: bool,
        open_fallback: Callable[[], StoreManager],
        report: Callable[[str], None] = lambda _: None,
        retry_seconds: float = RETRY_SECONDS,
        fallback_count: int = FALLBACK_COUNT,
    ) -> None:
        """exact: as `MilvusStore.create` takes it. open_fallback: opens exact stores in memory.
        report: takes a line for the user. retry_seconds: as `RETRY_SECONDS`. fallback_count: as
        `FALLBACK_COUNT`."""
        self.space, self.rebuilt = space, False
        self.problem: StoreError | None = None
        self.name = collection_name(reader.library(), space.fingerprint)
        self._reader, self._connection, self._exact = reader, connection, exact
        self._open_fallback, self._report = open_fallback, report
        self._retry_seconds, self._fallback_count = retry_seconds, fallback_count
        self._lock, self._retry_time = threading.RLock(), 0.0
        self._store: MilvusStore | None = None
        self._fallback: StoreReplica | None = None

    def refresh(self) -> VectorStore:
        """Apply new entries of the change log; return the store.

        While Milvus does not answer, that is an exact store in memory, if the library is small
        enough for it. Raises StoreError otherwise. Not on the inference thread.
        """
        try:
            return self.update()
        except StoreError as error:
            return self._fall_back(error)

    def update(self) -> MilvusStore:
        """Apply new entries of the change log; return the store.

        Raises StoreError if Milvus does not answer, at once if it did not a moment ago.
        """
        if not self._lock.acquire(timeout=WAIT_SECONDS):
            raise StoreError(
                f"the vector store {self._connection.address} is being brought up to date; "
                "try again in a moment"
            )
        try:
            if self.problem is not None and not self.is_retry_due():
                raise self.problem
            try:
                store = self._bring_up_to_date()
            except CollectionLostError:
                store = self._bring_up_to_date()
        except StoreError as error:
            if error is not self.problem:
                self._note_failure(error)
            raise
        else:
            if self.problem is not None:
                log.info("the vector store %s answers again", self._connection.address)
            self.problem = self._fallback = None
            return store
        finally:
            self._lock.release()

    def is_intact(self) -> bool:
        """Return True: Milvus itself compares what it saves."""
        return True

    def rebuild(self) -> VectorStore:
        """Build the store again from the catalog's vectors. The caller holds the write lock.

        Raises StoreError.
        """
        with self._lock:
            self._store = self._build()
            return self._store

    def is_retry_due(self) -> bool:
        """Return whether Milvus answered last time, or may be tried again."""
        return self.problem is None or time.monotonic() >= self._retry_time

    def flush(self) -> None:
        """Let Milvus Lite write its files."""
        with self._lock:
            if self._store is not None and self._connection.is_lite:
                self._store.flush()
            self.rebuilt = False

    def _bring_up_to_date(self) -> MilvusStore:
        if self._store is not None and self._store.failure is not None:
            self._store = None
            self._connection.reset()
        if self._store is None:
            try:
                self._store = self._open()
            except DamagedStoreError as error:  # of files of this machine
                log.warning("%s; it is built again", error)
                self._store = self._build()
        store = self._store
        if self._reader.sequence(self.space) != store.cursor:
            store.load_state()  # another process may have applied the entries
            self._replay(store)
        return store

    def _open(self) -> MilvusStore:
        """Open the collection; build it if it is missing, not whole or of another library."""
        store = MilvusStore.open(self._connection, self.name, self.space.dim)
        if store is None or store.stamp != self._reader.stamp(self.space, store.cursor):
            return self._build()
        return store

    def _build(self) -> MilvusStore:
        """Fill a new collection from the catalog; nothing is embedded."""
        log.info("filling the collection %s from the catalog", self.name)
        store = MilvusStore.create(self._connection, self.name, self.space.dim, self._exact)

        def run(task: Callable[[], object]) -> None:
            task()
            store.note_progress()

        run_all(fill(store, self._reader, self.space), run)
        self._replay(store)
        self.rebuilt = True
        return store

    def _replay(self, store: MilvusStore) -> None:
        """Apply the log until there is nothing new, then write the cursor."""
        while run_all(replay(store, self._reader, self.space)):
            pass
        stamp = self._reader.stamp(self.space, store.cursor)
        if not store.complete or stamp != store.stamp:
            store.save_state(stamp)

    def _note_failure(self, error: StoreError) -> None:
        self.problem = error
        self._retry_time = time.monotonic() + self._retry_seconds
        self._store = None
        self._connection.reset()

    def _fall_back(self, error: StoreError) -> VectorStore:
        """Return an exact store in memory. Raises the error for a library that is too large."""
        if self._fallback is None:
            if self._reader.count(self.space)["embedded"] > self._fallback_count:
                raise error
            log.warning("%s; searching without it", error)
            self._report(f"{error}; the catalog's vectors are searched instead")
        fallback = self._fallback or self._open_fallback().replica(self.space)
        self._fallback = fallback
        return fallback.refresh()
