"""Generated variants, kept in memory for a while for whoever knows their ids."""

from __future__ import annotations

import io
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from search.api.problems import Problem
from search.records import Variants

SECONDS = 3600.0
MOST = 1000  # pictures
MOST_BYTES = 2**28  # of all of them


@dataclass(frozen=True)
class Kept:
    """Variants whose pictures are kept. entries: as `/variants` lists them."""

    entries: tuple[dict[str, Any], ...]
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """As `/variants` answers."""
        return {"variants": list(self.entries), "seconds": round(self.seconds, 3)}


class VariantCache:
    """PNGs by ids that nobody guesses: for an hour, 1,000 at most, in memory. Threads may share
    it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._bytes = clock, 0
        self._kept: dict[str, tuple[float, bytes]] = {}  # the oldest first
        self._change = threading.Lock()

    def keep(self, variants: Variants) -> Kept:
        """Keep the pictures of variants."""
        entries = []
        for one in variants:
            out = io.BytesIO()
            one.picture.save(out, "PNG")
            name = self.add(out.getvalue())
            entries.append({"id": name, "url": f"/api/v1/variants/{name}.png", **one.to_json()})
        return Kept(tuple(entries), variants.seconds)

    def add(self, png: bytes) -> str:
        """Keep a picture; returns its id. The oldest go where there are too many."""
        name = secrets.token_hex(16)
        with self._change:
            self._kept[name] = self._clock() + SECONDS, png
            self._bytes += len(png)
            self._forget()
        return name

    def get(self, name: str) -> bytes:
        """Raises Problem 404."""
        with self._change:
            self._forget()
            if found := self._kept.get(name):
                return found[1]
        said = "there is no such variant; they are kept for an hour, make it again"
        raise Problem(404, said, code="variant_expired")

    def _forget(self) -> None:
        for name, (end, png) in list(self._kept.items()):
            few = len(self._kept) <= MOST and self._bytes <= MOST_BYTES
            if few and end > self._clock():
                return
            del self._kept[name]
            self._bytes -= len(png)
