"""The connection to Milvus: its address, Milvus Lite in this process, deadlines and errors."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from search.errors import InputError, StoreError
from search.extras import describe_install

if TYPE_CHECKING:
    from pymilvus import MilvusClient

SUFFIX = ".db"
"""How the path of a Milvus Lite store ends."""
SLOW_SECONDS = 60.0
"""Longest time of a call that makes, loads, indexes, flushes or drops a collection."""
LOST = (100, 101)
"""Codes of Milvus for a collection that does not exist, or is not loaded."""
log = logging.getLogger(__name__)


def check_address(store: str) -> str:
    """Return an address that can be shown to anybody. Raises InputError."""
    if _is_lite(store):
        return os.path.abspath(os.path.expanduser(store))
    try:
        parts = urlsplit(store)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or port is None:
        raise InputError("the setting store is no address of Milvus; give http://HOST:PORT")
    if parts.username is not None or parts.password is not None:
        raise InputError(
            f"the setting store has a name or a password for {host}; leave it out, and give it as "
            "USER:PASSWORD in LOOKALIKE_STORE_TOKEN, which is never printed"
        )
    return store


def check_installed(address: str) -> None:
    """Raise InputError if the extra `milvus` is not installed. address: as of a `Connection`."""
    needed = "milvus_lite" if _is_lite(address) else "pymilvus"
    if find_spec("pymilvus") is None or find_spec(needed) is None:
        raise InputError(
            f"the vector store {address} needs {needed}; run {describe_install('milvus')}, or "
            "leave the setting store out"
        )


def _is_lite(address: str) -> bool:
    return address.endswith(SUFFIX) and "://" not in address


class CollectionLostError(StoreError):
    """A collection does not exist or is not loaded, so the store must be opened again."""


class DamagedStoreError(StoreError):
    """Milvus Lite cannot read its own files, so the store must be built again."""


class LiteServers:
    """The Milvus Lite servers of this process, one for each folder, however many libraries use it.

    Milvus Lite locks its folder, and a process cannot lock it twice.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[str, tuple[Any, Any, int]] = {}
        self._users: dict[str, int] = {}

    def acquire(self, path: str) -> str:
        """Start the server of a folder, or use the running one; return its URL.

        Raises StoreError if another process has the folder open, and for a folder of another kind.
        """
        import_module("search.runtime")  # Milvus Lite imports FAISS, which must come after torch
        from milvus_lite import DataDirLockedError
        from milvus_lite.adapter.grpc.server import start_server_in_thread

        with self._lock:
            if path not in self._open:
                try:
                    Path(path).parent.mkdir(parents=True, exist_ok=True)
                    self._open[path] = start_server_in_thread(path, "127.0.0.1", 0)
                except DataDirLockedError as error:
                    raise StoreError(
                        f"the vector store {path} is in use by another process, and Milvus Lite "
                        "serves one at a time; end that process, or use a Milvus server"
                    ) from error
                except FileExistsError as error:
                    raise StoreError(
                        f"the vector store {path} is a file, such as Milvus Lite before version 3 "
                        "wrote; move it away, and it is built again from the catalog"
                    ) from error
                except Exception as error:
                    raise StoreError(
                        f"Milvus Lite cannot open {path}: {error}; check the folder, or move it "
                        "away, and it is built again from the catalog"
                    ) from error
            self._users[path] = self._users.get(path, 0) + 1
            return f"http://127.0.0.1:{self._open[path][2]}"

    def release(self, path: str) -> None:
        """End the server of a folder when nobody uses it any more."""
        with self._lock:
            self._users[path] -= 1
            if self._users[path]:
                return
            del self._users[path]
            server, database, _ = self._open.pop(path)
            server.stop(grace=2).wait()
            database.close()


LITE = LiteServers()


class Connection:
    """A connection to Milvus that is opened at its first call. Threads may share it.

    address: as `check_address` returns it. is_lite: whether it is Milvus Lite in a folder.
    """

    def __init__(self, address: str, token: str | None, seconds: float) -> None:
        """token: `USER:PASSWORD`, or a key of a cloud. seconds: longest time of most
        calls."""
        self.address, self.seconds = address, seconds
        self.is_lite = _is_lite(address)
        self._token, self._lock = token or "", threading.Lock()
        self._client: MilvusClient | None = None
        self._has_lite = False

    def call(self, method: str, *values: Any, slow: bool = False, **options: Any) -> Any:
        """Call a method of `pymilvus.MilvusClient` with a deadline. Raises StoreError.

        slow: whether Milvus may work on it for longer than `seconds`.
        """
        seconds = max(SLOW_SECONDS, self.seconds) if slow else self.seconds
        return self.run(
            lambda client: getattr(client, method)(*values, timeout=seconds, **options), seconds
        )

    def run(self, work: Callable[[MilvusClient], Any], seconds: float) -> Any:
        """Return what a function makes of the client. Raises StoreError."""
        client = self._connect()
        from grpc import RpcError
        from pymilvus.exceptions import MilvusException

        try:
            return work(client)
        except (MilvusException, RpcError, OSError) as error:
            raise self._describe(error, seconds) from error

    def reset(self) -> None:
        """Close the connection. The next call opens it again, without waiting for a retry."""
        with self._lock:
            client, self._client = self._client, None
            if client is not None:
                client.close()

    def close(self) -> None:
        """Close the connection, and end Milvus Lite when no other library uses its folder."""
        self.reset()
        with self._lock:
            if self._has_lite:
                self._has_lite = False
                LITE.release(self.address)

    def _connect(self) -> MilvusClient:
        with self._lock:
            if self._client is not None:
                return self._client
            address = self.address
            if self.is_lite:
                address = LITE.acquire(self.address)
                self._has_lite = True
            from grpc import RpcError
            from pymilvus import MilvusClient
            from pymilvus.exceptions import MilvusException

            # It logs each error with a trace to standard error, and then raises it
            logging.getLogger("pymilvus").setLevel(logging.CRITICAL)
            try:
                self._client = MilvusClient(
                    address, token=self._token, timeout=self.seconds, dedicated=True
                )
            except (MilvusException, RpcError, OSError) as error:
                if self._has_lite:
                    self._has_lite = False
                    LITE.release(self.address)
                raise self._describe(error, self.seconds) from error
            return self._client

    def _describe(self, error: Exception, seconds: float) -> StoreError:
        """Return an error of Milvus as one that says what to do."""
        from grpc import StatusCode

        status = _find_status(error)
        code = getattr(error, "code", None)
        text = str(getattr(error, "message", error)).strip()
        where = f"the vector store {self.address}"
        if status == StatusCode.UNIMPLEMENTED:
            return StoreError(
                f"{where} is of another version, or is not Milvus ({text}); use Milvus 2.3 or later"
            )
        if status in (StatusCode.UNAUTHENTICATED, StatusCode.PERMISSION_DENIED) or code == 1800:
            return StoreError(
                f"{where} denies access; give USER:PASSWORD or a key in LOOKALIKE_STORE_TOKEN"
            )
        if code in LOST:
            return CollectionLostError(f"{where} has lost a collection ({text})")
        if status == StatusCode.DEADLINE_EXCEEDED or "imeout" in text:
            return StoreError(
                f"{where} did not answer within {seconds:g} s; check that Milvus runs there, or "
                "raise the setting store_seconds"
            )
        if status is not None:
            return StoreError(f"{where} cannot be reached ({status.name}); check that Milvus runs")
        kind = DamagedStoreError if self.is_lite else StoreError
        return kind(f"{where} refused a request: {text}")


def _find_status(error: BaseException | None) -> Any:
    """Return the gRPC status that led to an error, or None."""
    from grpc import RpcError

    visited = set[int]()
    while error is not None and id(error) not in visited:  # pymilvus raises errors from themselves
        if isinstance(error, RpcError) and hasattr(error, "code"):
            return error.code()
        visited.add(id(error))
        error = error.__cause__ or error.__context__
    return None
