"""What can be read off a picture without a model: type, size, EXIF, date, place, palette."""

from __future__ import annotations

import math
import warnings
from contextlib import suppress
from datetime import datetime
from fractions import Fraction
from typing import Any

import numpy as np
from PIL import ExifTags, Image

from search.records.pictures import Metadata

IGNORED = frozenset(("MakerNote", "UserComment", "PrintImageMatching", "JPEGInterchangeFormat"))


def read(
    picture: Image.Image,
    normalized: Image.Image,
    size: tuple[int, int],
    length: int,
    truncated: bool = False,
) -> Metadata:
    """Read the metadata of a picture.

    picture: opened, decoded or not. normalized: its upright RGB form. size: width and height of the
    upright original in pixels. length: of the file in bytes. truncated: the end of its pixels is
    missing.
    """
    entries = {**_read_directory(picture), **_read_directory(picture, ExifTags.IFD.Exif)}
    place = _read_directory(picture, ExifTags.IFD.GPSInfo)
    by_name = {ExifTags.TAGS.get(k, str(k)): v for k, v in entries.items()}
    readable = {k: v for k, v in ((k, _to_plain(v)) for k, v in by_name.items()) if v is not None}
    colors = palette(normalized)
    make, model = str(readable.get("Make", "")), str(readable.get("Model", ""))
    return Metadata(
        type={"MPO": "jpeg"}.get(picture.format or "", (picture.format or "").lower()),
        width=size[0],
        height=size[1],
        bytes=length,
        taken=_read_date(readable),
        camera=(model if model.startswith(make) else f"{make} {model}").strip() or None,
        latitude=_read_degrees(place.get(2), place.get(1), "S", 90),
        longitude=_read_degrees(place.get(4), place.get(3), "W", 180),
        palette=tuple(colors),
        palette_shares=tuple(colors.values()),
        exif={k: v for k, v in readable.items() if k not in IGNORED},
        truncated=truncated,
    )


def palette(normalized: Image.Image, colours: int = 5) -> dict[str, float]:
    """Return the picture's main colours `#rrggbb` with their shares of it, most frequent first."""
    small = normalized.resize((48, 48), Image.Resampling.BOX, reducing_gap=1.0)
    indexed = small.quantize(colours, Image.Quantize.FASTOCTREE)
    counts = np.bincount(np.asarray(indexed).ravel(), minlength=colours)
    table = indexed.getpalette() or []
    order = [int(i) for i in np.argsort(-counts, kind="stable") if counts[i]]
    names = ["#{:02x}{:02x}{:02x}".format(*table[3 * i : 3 * i + 3]) for i in order]
    shares = (counts[order] / counts.sum()).round(4).tolist()
    return dict(zip(names, shares, strict=True))


def _read_directory(picture: Image.Image, number: int | None = None) -> dict[int, Any]:
    """Read an EXIF directory as far as possible: it is often broken and never essential."""
    entries: dict[int, Any] = {}
    try:
        with warnings.catch_warnings(action="ignore"):
            exif = picture.getexif()
            for tag, value in (exif.get_ifd(number) if number else exif).items():
                entries[tag] = value
    except Exception:
        pass
    return entries


def _to_plain(value: Any) -> str | int | float | None:
    """Convert an EXIF value for JSON; None if it has no plain form."""
    if isinstance(value, str):
        with suppress(UnicodeError):  # decoded as Latin-1, while most programs write UTF-8
            value = value.encode("latin-1").decode()
        text = "".join(c for c in value.split("\0")[0].strip() if c.isprintable())
        return text[:200] or None
    if isinstance(value, bool | int):
        return int(value)
    if isinstance(value, bytes):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    return round(number, 6) if math.isfinite(number) else None


def _read_date(exif: dict[str, Any]) -> str | None:
    for name in ("DateTimeOriginal", "DateTimeDigitized", "DateTime"):
        try:
            return datetime.strptime(str(exif[name])[:19], "%Y:%m:%d %H:%M:%S").isoformat()
        except (KeyError, ValueError):
            continue
    return None


def _read_degrees(parts: Any, side: Any, negative: str, most: float) -> float | None:
    """Degrees, minutes, seconds and a compass letter -> signed degrees."""
    try:
        degrees, minutes, seconds = (float(Fraction(p)) for p in parts)
        value = degrees + minutes / 60 + seconds / 3600
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    if not 0 <= value <= most:
        return None
    return round(-value if str(side).upper().startswith(negative) else value, 7)
