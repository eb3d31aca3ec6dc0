"""Generated variants, which clients fetch by their ids."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

from search.api.problems import Problem
from search.records.transient import Item, Kind, TransientItems
from search.records.variants import Variants

SECONDS = 3600.0
KIND = Kind("variant", SECONDS, most=1000)


@dataclass(frozen=True)
class CachedVariants:
    """Variants whose pictures are in the cache. entries: as `/variants` lists them."""

    entries: tuple[dict[str, Any], ...]
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return the answer of `POST /variants`."""
        return {"variants": list(self.entries), "seconds": round(self.seconds, 3)}


class VariantCache:
    """PNG files by ids that cannot be guessed. Threads may share it.

    A file stays for an hour. The oldest go if there are more than 1,000, or 256 MiB.
    """

    def __init__(self, items: TransientItems) -> None:
        self._items = items

    def add_all(self, variants: Variants) -> CachedVariants:
        """Add the pictures of variants. Raises LookalikeError if they cannot be kept."""
        entries = []
        for one in variants:
            name = self.add(one.to_png())
            entries.append({"id": name, "url": f"/api/v1/variants/{name}.png", **one.to_json()})
        return CachedVariants(tuple(entries), variants.seconds)

    def add(self, png: bytes) -> str:
        """Add a PNG file. Returns its id."""
        name = secrets.token_hex(16)
        self._items.add(KIND, name, Item(png, "image/png"))
        return name

    def get(self, name: str) -> bytes:
        """Return a PNG file. Raises Problem 404, and LookalikeError if they cannot be read."""
        if (item := self._items.get(KIND, name)) is None:
            reason = "there is no such variant; they are kept for an hour, make it again"
            raise Problem(404, reason, code="variant_expired")
        return item.data
