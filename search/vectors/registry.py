"""The vector stores by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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


def open_stores(
    name: str,
    reader: CatalogReader,
    runtime: Callable[[], Runtime],
    folder: Path,
    tier: str = "auto",
) -> StoreManager:
    """Open the stores of a library.

    name: a key of `STORES`. reader: of the library's catalog. runtime: returns the inference
    thread; called only when it is needed. folder: for what a store saves. tier: `auto`, `flat` or
    `ivf`; stores without tiers ignore it. Raises InputError for an unknown name.

        stores = open_stores("faiss", library.reader, lambda: library.runtime, home / "index")
    """
    if name not in STORES:
        raise InputError(f"no vector store is called {name}; give one of {', '.join(STORES)}")
    return STORES[name](reader, runtime, folder, tier)
