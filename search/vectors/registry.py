"""The vector stores by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias

from search.catalog.reads import CatalogReader
from search.errors import InputError

if TYPE_CHECKING:
    from search.runtime import Runtime
    from search.vectors.base import StoreManager

Opener: TypeAlias = 'Callable[[CatalogReader, Callable[[], "Runtime"], Path, str], "StoreManager"]'


def _open_faiss(
    reader: CatalogReader, runtime: Callable[[], Runtime], folder: Path, tier: str
) -> StoreManager:
    from search.vectors.faiss.manager import IndexManager

    return IndexManager(reader, runtime, folder, tier)


def _open_memory(
    reader: CatalogReader, runtime: Callable[[], Runtime], folder: Path, tier: str
) -> StoreManager:
    from search.vectors.memory import MemoryManager  # imports NumPy

    return MemoryManager(reader, runtime, folder, tier)


STORES: Mapping[str, Opener] = MappingProxyType({"faiss": _open_faiss, "memory": _open_memory})
"""Name -> opener. An opener takes the arguments of `open_stores` after the name."""


@dataclass(frozen=True)
class StoreServer:
    """How a store on a server is reached.

    token: `USER:PASSWORD` or a key. seconds: longest time to answer. report: takes a line for the
    user when it does not answer.
    """

    token: str | None = field(default=None, repr=False)
    seconds: float = 5.0
    report: Callable[[str], None] = lambda _: None


def open_stores(
    name: str,
    reader: CatalogReader,
    runtime: Callable[[], Runtime],
    folder: Path,
    tier: str = "auto",
    server: StoreServer = StoreServer(),
) -> StoreManager:
    """Open the stores of a library.

    name: a key of `STORES`, or an address of Milvus. reader: of the library's catalog. runtime:
    returns the inference thread; called only when it is needed. folder: for what a store saves.
    tier: `auto`, `flat` or `ivf`; stores without tiers ignore it. server: for a store that is on
    one. Raises InputError for an unknown name, a wrong address, and an extra that is not installed.

        stores = open_stores("faiss", library.reader, lambda: library.runtime, home / "index")
    """
    if name in STORES:
        return STORES[name](reader, runtime, folder, tier)
    if name.startswith(("http://", "https://")) or name.endswith(".db"):
        return _open_milvus(name, reader, runtime, folder, tier, server)
    raise InputError(
        f"no vector store is called {name}; give one of {', '.join(STORES)}, or for Milvus "
        "http://HOST:PORT or a path that ends in .db"
    )


def _open_milvus(
    address: str,
    reader: CatalogReader,
    runtime: Callable[[], Runtime],
    folder: Path,
    tier: str,
    server: StoreServer,
) -> StoreManager:
    from search.vectors.milvus.connection import Connection, check_address, check_installed
    from search.vectors.milvus.manager import MilvusManager

    address = check_address(address)
    check_installed(address)
    return MilvusManager(
        reader,
        Connection(address, server.token, server.seconds),
        lambda: _open_faiss(reader, runtime, folder, "flat"),
        tier,
        server.report,
    )
