"""The values of conditions: numbers, sizes, dates, places and folders, parsed from text."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from search.media.colors import ALIASES, SHADES
from search.media.object_urls import relative_place
from search.querying.relative_dates import parse_relative

COLOR_NAMES = (*SHADES, *ALIASES)
RADIANS = math.pi / 180
EARTH = 6371.0088
"""Mean radius in km."""
MAX_NUMBER = 2**53
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(?:([kmgt]?)(i?)b?)", re.IGNORECASE | re.ASCII)
_DATE = re.compile(
    r"(\d{4})(?:-(\d{1,2})(?:-(\d{1,2})(?:[T ](\d{1,2}):(\d{2})(?::(\d{2}))?)?)?)?", re.ASCII
)
_RADIUS = re.compile(r"(\d+(?:\.\d+)?)\s*(km|m|mi)?", re.IGNORECASE | re.ASCII)
_KM = {"km": 1.0, "m": 0.001, "mi": 1.609344}


def parse_text(text: str) -> str:
    """Return a text as it is."""
    return text


def parse_pixels(text: str) -> int:
    """Parse a number of pixels. Raises ValueError."""
    digits = text.casefold().removesuffix("px").strip()
    if not re.fullmatch(r"\d{1,9}", digits, re.ASCII):
        raise ValueError(text)
    return int(digits)


def parse_rating(text: str) -> int:
    """Parse a number of stars, 0 to 5; 0 is none. Raises ValueError."""
    if not re.fullmatch(r"[0-5]", text.strip()):
        raise ValueError(text)
    return int(text)


def parse_ratio(text: str) -> float:
    """Parse width by height: `16:9`, `16/9` or `1.78`. Raises ValueError."""
    width, separator, height = text.replace("/", ":").partition(":")
    ratio = float(width) / float(height) if separator and float(height) else float(width)
    if not 0.001 <= ratio <= 1000 or (separator and not float(height)):
        raise ValueError(text)
    return ratio


def parse_size(text: str) -> int:
    """Parse a size in bytes: `2MB` is 2,000,000 and `2MiB` 2,097,152. Raises ValueError."""
    match = _SIZE.fullmatch(text)
    if not match:
        raise ValueError(text)
    power = "kmgt".index(match[2].lower()) + 1 if match[2] else 0
    unit: int = (1024 if match[3] else 1000) ** power
    size = round(float(match[1]) * unit)
    if size > MAX_NUMBER or (match[3] and not power):
        raise ValueError(text)
    return size


def find_today() -> date:
    """Return which day it is on this machine, from which relative dates count."""
    return date.today()


def parse_period(text: str) -> tuple[str, str]:
    """Parse a year, month, day, minute or second, or a relative date; return its first second, and
    the one after it.

    Both are `YYYY-MM-DDTHH:MM:SS`. Raises ValueError.
    """
    match = _DATE.fullmatch(text)
    if not match:
        if (days := parse_relative(text, find_today())) is None:
            raise ValueError(text)
        return days[0].isoformat() + "T00:00:00", days[1].isoformat() + "T00:00:00"
    parts = [int(part) for part in match.groups() if part is not None]
    start = datetime(*[*parts, *(1, 1)[len(parts) - 1 :]][: max(len(parts), 3)])  # type: ignore[arg-type]
    if len(parts) == 1:
        end = start.replace(year=start.year + 1)
    elif len(parts) == 2:
        end = (start + timedelta(days=31)).replace(day=1)
    else:
        steps = {3: timedelta(days=1), 5: timedelta(minutes=1), 6: timedelta(seconds=1)}
        end = start + steps[len(parts)]
    return start.isoformat(), end.isoformat()


@dataclass(frozen=True)
class Area:
    """A circle on the earth. latitude, longitude: degrees. km: its radius."""

    latitude: float
    longitude: float
    km: float

    @property
    def cosine(self) -> float:
        """Cosine of the latitude."""
        return math.cos(self.latitude * RADIANS)

    @property
    def haversine(self) -> float:
        """Haversine of the angle of the radius, above which a place is outside."""
        return math.sin(min(self.km / EARTH, math.pi) / 2) ** 2 + 1e-15

    def box(self) -> tuple[float, float, list[tuple[float, float]] | None]:
        """Return the least and most latitude, and ranges of longitude, of what contains the circle.

        None for all longitudes, as around a pole.
        """
        angle = self.km / EARTH
        south = self.latitude - angle / RADIANS - 1e-6
        north = self.latitude + angle / RADIANS + 1e-6
        if south <= -90 or north >= 90:
            return south, north, None
        reach = math.asin(min(1.0, math.sin(angle) / self.cosine)) / RADIANS + 1e-6
        west, east = self.longitude - reach, self.longitude + reach
        sides = [(west, east)]
        if west < -180:
            sides.append((west + 360, 180.0))
        if east > 180:
            sides.append((-180.0, east - 360))
        return south, north, sides


def parse_area(text: str) -> Area:
    """Parse `LATITUDE,LONGITUDE,RADIUS`; the radius is 1 km by default. Raises ValueError."""
    latitude, longitude, radius = (*text.split(",", 2), "1km")[:3]
    match = _RADIUS.fullmatch(radius.strip())
    if not match:
        raise ValueError(text)
    km = float(match[1]) * _KM[(match[2] or "km").lower()]
    area = Area(float(latitude), float(longitude), km)
    if not (abs(area.latitude) <= 90 and abs(area.longitude) <= 180 and 0 < area.km <= 20_040):
        raise ValueError(text)
    return area


def split_folder(
    folder: str, roots: Mapping[int, str]
) -> Iterator[tuple[int, tuple[bytes, bytes] | None]]:
    """Yield the roots in which a folder lies or that lie in it.

    With each root comes the range of paths that are below the folder, or None for all. roots: paths
    by id. folder: absolute path or URL, without a slash at its end.
    """
    for root, path in roots.items():
        below = relative_place(folder or "/", path)
        if below:
            first = os.fsencode(below) + b"/"
            yield root, (first, first[:-1] + b"0")  # "0" comes after "/"
        elif below == "" or relative_place(path, folder or "/") is not None:
            yield root, None
