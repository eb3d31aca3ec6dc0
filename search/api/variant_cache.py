"""A cache of generated variants, which clients fetch by their ids."""

from __future__ import annotations

import io
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from search.api.problems import Problem
from search.records.variants import Variants

SECONDS = 3600.0
MAX_PICTURES = 1000
MAX_BYTES = 2**28  # of all of them


@dataclass(frozen=True)
class CachedVariants:
    """Variants whose pictures are in the cache. entries: as `/variants` lists them."""

    entries: tuple[dict[str, Any], ...]
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return the answer of `POST /variants`."""
        return {"variants": list(self.entries), "seconds": round(self.seconds, 3)}


class VariantCache:
    """PNG files in memory, by ids that cannot be guessed. Threads may share it.

    A file stays for an hour. The oldest go if there are more than 1,000, or 256 MiB.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._bytes = clock, 0
        self._cached: dict[str, tuple[float, bytes]] = {}  # end and file; the oldest first
        self._change = threading.Lock()

    def add_all(self, variants: Variants) -> CachedVariants:
        """Add the pictures of variants."""
        entries = []
        for one in variants:
            out = io.BytesIO()
            one.picture.save(out, "PNG")
            name = self.add(out.getvalue())
            entries.append({"id": name, "url": f"/api/v1/variants/{name}.png", **one.to_json()})
        return CachedVariants(tuple(entries), variants.seconds)

    def add(self, png: bytes) -> str:
        """Add a PNG file. Returns its id."""
        name = secrets.token_hex(16)
        with self._change:
            self._cached[name] = self._clock() + SECONDS, png
            self._bytes += len(png)
            self._delete_old()
        return name

    def get(self, name: str) -> bytes:
        """Return a PNG file. Raises Problem 404."""
        with self._change:
            self._delete_old()
            if cached := self._cached.get(name):
                return cached[1]
        reason = "there is no such variant; they are kept for an hour, make it again"
        raise Problem(404, reason, code="variant_expired")

    def _delete_old(self) -> None:
        for name, (end, png) in list(self._cached.items()):
            few = len(self._cached) <= MAX_PICTURES and self._bytes <= MAX_BYTES
            if few and end > self._clock():
                return
            del self._cached[name]
            self._bytes -= len(png)
