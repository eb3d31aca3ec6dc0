"""Find the pictures that look like this one, in your own folders (以图搜图).

    from search import Engine
    with Engine.open() as engine:
        engine.sync("~/Pictures")
        hits = engine.search(image="query.jpg", k=10)

Nothing heavy is imported before it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from search.engine import Engine as Engine
    from search.errors import (
        BusyError as BusyError,
        CollectionError as CollectionError,
        CropError as CropError,
        EmptyError as EmptyError,
        FieldError as FieldError,
        InputError as InputError,
        LibraryError as LibraryError,
        LockedError as LockedError,
        LookalikeError as LookalikeError,
        ModelError as ModelError,
        NotFoundError as NotFoundError,
        PictureError as PictureError,
        QueryError as QueryError,
        SizeError as SizeError,
        StorageError as StorageError,
        UnavailableError as UnavailableError,
    )
    from search.media.rules import Crop as Crop
    from search.querying.query import Query as Query, Term as Term
    from search.records.browsing import Page as Page
    from search.records.hits import Hit as Hit, Hits as Hits
    from search.records.indexing import (
        IndexReport as IndexReport,
        Progress as Progress,
        Skip as Skip,
    )
    from search.records.maintenance import (
        CheckReport as CheckReport,
        MoveProgress as MoveProgress,
        MoveReport as MoveReport,
    )
    from search.records.pictures import Metadata as Metadata, Picture as Picture
    from search.records.status import (
        RootStatus as RootStatus,
        SpaceStatus as SpaceStatus,
        Status as Status,
    )
    from search.records.variants import (
        AugmentProgress as AugmentProgress,
        AugmentReport as AugmentReport,
        Variant as Variant,
        VariantProgress as VariantProgress,
        Variants as Variants,
        VariantSource as VariantSource,
    )
    from search.settings import Settings as Settings

_HOMES = {
    "engine": ("Engine",),
    "errors": (
        "BusyError",
        "CollectionError",
        "CropError",
        "EmptyError",
        "FieldError",
        "InputError",
        "LibraryError",
        "LockedError",
        "LookalikeError",
        "ModelError",
        "NotFoundError",
        "PictureError",
        "QueryError",
        "SizeError",
        "StorageError",
        "UnavailableError",
    ),
    "media.rules": ("Crop",),
    "querying.query": ("Query", "Term"),
    "records.browsing": ("Page",),
    "records.hits": ("Hit", "Hits"),
    "records.indexing": ("IndexReport", "Progress", "Skip"),
    "records.maintenance": ("CheckReport", "MoveProgress", "MoveReport"),
    "records.pictures": ("Metadata", "Picture"),
    "records.status": ("RootStatus", "SpaceStatus", "Status"),
    "records.variants": (
        "AugmentProgress",
        "AugmentReport",
        "Variant",
        "VariantProgress",
        "Variants",
        "VariantSource",
    ),
    "settings": ("Settings",),
}
_MODULES = {name: module for module, names in _HOMES.items() for name in names}

__all__ = sorted(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'search' has no attribute {name!r}")
    return getattr(import_module(f"search.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
