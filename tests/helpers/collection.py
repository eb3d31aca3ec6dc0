"""A library of pictures that differ in all that conditions compare, without any decoding."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np

from search import Engine
from search.catalog.writes import ExtractedFile, SeenContent
from search.embedders.mini import Mini
from search.records.pictures import Label, Metadata
from search.types import FileEntry

PATHS = (
    "holiday/beach/IMG_1.jpg",
    "holiday/beach/IMG_2.png",
    "holiday/Ägypten 100%.jpg",
    "work/a_b/report.jpg",
    "work/a-b/Report (2).jpg",
    "照片/猫.jpg",
    "top.gif",
    "holiday2/x[1].jpg",
    "copy.jpg",
    "blank.webp",
)
METADATA = (
    Metadata("jpeg", 4000, 3000, 3_000_000, "2024-05-06T07:08:09", "Canon EOS R6", 48.85, 2.35,
             ("#c03020", "#ffffff"), {"LensModel": "RF 35mm"}, False, (0.8, 0.2)),
    Metadata("png", 3000, 4000, 1_900_000, "2024-05-31T23:59:59", "Canon EOS R5", 48.9, 2.4,
             ("#2860c8", "#c03020"), {}, False, (0.98, 0.02)),
    Metadata("jpeg", 1000, 1000, 100, "2023-12-31T00:00:00", "NIKON Z 6", -17.0, 179.95,
             ("#3c8c3c",), {}, False, (1.0,)),
    Metadata("jpeg", 1920, 1080, 2_000_000, "2024-06-01T00:00:00", None, None, None,
             ("#000000",), {}, False, (1.0,)),
    Metadata("jpeg", 4000, 1000, 2_097_152, None, "Canon EOS R6", None, None,
             ("#808080",), {}, True, (1.0,)),
    Metadata("jpeg", 500, 400, 50_000, "2020-02-29T12:00:00", "Pixel 8", -17.0, -179.95,
             ("#ffff00",), {}, False, (1.0,)),
    Metadata("gif", 100, 300, 5_000, None, None, 89.99, 10.0, ("#0000ff",), {}, False, (1.0,)),
    Metadata("jpeg", 640, 480, 90_000, "2024-01-01T00:00:00", None, 89.99, -170.0,
             ("#800080",), {}, False, (1.0,)),
    Metadata("jpeg", 4000, 3000, 3_000_001, "2024-05-06T07:08:09", "Canon EOS R6", 48.85, 2.35,
             ("#c03020", "#ffffff"), {"LensModel": "RF 35mm"}, False, (0.8, 0.2)),
    Metadata("webp", 64, 64, 1_000, None, None, None, None, ("#ffffff",), {}, False, (1.0,)),
)  # fmt: skip
TAGS = {0: ["Beach", "summer"], 2: ["summer holiday"], 5: ["été"]}


def identity(number: int) -> str:
    """Return the id of a picture. number: index in `PATHS`."""
    return hashlib.sha256(str(number).encode()).hexdigest()


def vector(number: int) -> np.ndarray:
    """Return the vector (dim,) of a picture."""
    row = np.random.default_rng(number).standard_normal(Mini().dim)
    return (row / np.linalg.norm(row)).astype(np.float32)


def fill(engine: Engine, folder: Path) -> None:
    """Fill a library with the pictures; their files are empty. Row ids are the numbers plus 1."""
    catalog, mini = engine.library.catalog, Mini()
    space = catalog.space(mini.name, mini.fingerprint, mini.dim)
    root = catalog.add_root(str(folder), os.stat(folder).st_dev, ())
    for number, (name, metadata) in enumerate(zip(PATHS, METADATA, strict=True)):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        stat = path.stat()
        pixel_hash = identity(0 if number == 8 else number)
        label = (Label("tabby", 0.6),) if number == 5 else ()
        catalog.record(
            root,
            space,
            [
                ExtractedFile(
                    FileEntry(name, 0, stat.st_mtime_ns, stat.st_ino),
                    identity(number),
                    pixel_hash,
                    metadata,
                    vector(number),
                    SeenContent(label, number == 9),
                )
            ],
        )
    for number, names in TAGS.items():
        catalog.tag(number + 1, names)
    catalog.serve(space)
