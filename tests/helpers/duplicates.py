"""A library of pictures whose vectors, sizes and dates the test chooses, without any decoding."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from search import Engine
from search.catalog.writes import ExtractedFile, SeenContent
from search.embedders.mini import Mini
from search.records.pictures import Metadata
from search.types import FileEntry, Vectors, file_state


def turn(*cosines: float, aside: int = 0) -> Vectors:
    """Return a unit vector, (dim,), whose cosines with the first unit vectors are given.

    aside: number of the direction of the rest of it, at right angles to all others.
    """
    row = np.zeros(Mini().dim, np.float32)
    row[: len(cosines)] = cosines
    row[100 + aside] = np.sqrt(max(0.0, 1 - float(np.square(row).sum())))
    return row


@cache
def draw(look: int) -> bytes:
    """Return a thumbnail; those of other numbers show other patterns."""
    cells = np.random.default_rng(look).integers(0, 256, (12, 16), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(cells).resize((256, 192), Image.Resampling.NEAREST).save(out, "WEBP")
    return out.getvalue()


class Album:
    """Adds pictures to a library, in folders that exist."""

    def __init__(self, engine: Engine, *folders: Path) -> None:
        self.engine, self.mini = engine, Mini()
        catalog, mini = engine.library.catalog, self.mini
        self.space = catalog.space(mini.name, mini.fingerprint, mini.dim)
        self.roots = {}
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
            device = os.stat(folder).st_dev
            self.roots[folder] = catalog.add_root(str(folder.resolve()), device, ())
        catalog.serve(self.space)

    def add(
        self,
        path: Path,
        vector: Vectors,
        content: str = "",
        pixels: str = "",
        size: tuple[int, int] = (400, 300),
        date: str | None = None,
        camera: str | None = None,
        exif: dict[str, str | int | float] | None = None,
        palette: Sequence[str] = ("#808080",),
        is_blank: bool = False,
        look: int = 0,
    ) -> str:
        """Write a file and take it into the library; return the id of its picture.

        content: of the file; its path if empty. pixels: hash of the normalized image; that of the
        content if empty. look: number of what its thumbnail shows.
        """
        data = (content or str(path)).encode()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        folder = next(one for one in self.roots if path.is_relative_to(one))
        identity = hashlib.sha256(data).hexdigest()
        shares = tuple(1 / len(palette) for _ in palette)
        metadata = Metadata(
            "jpeg", *size, len(data), date, camera, None, None, tuple(palette), exif or {}, False,
            shares,
        )  # fmt: skip
        entry = FileEntry(str(path.relative_to(folder)), *file_state(os.stat(path)))
        seen_content = SeenContent((), is_blank)
        pixel_hash = hashlib.sha256((pixels or identity).encode()).hexdigest()
        file = ExtractedFile(entry, identity, pixel_hash, metadata, vector, seen_content)
        self.engine.library.thumbnails.write(identity, draw(look))
        self.engine.library.catalog.record(self.roots[folder], self.space, [file])
        return identity
