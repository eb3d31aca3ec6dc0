"""Pages, facets, months, folders and places of the pictures of a library."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, NamedTuple

from search.errors import QueryError, UnknownFieldError
from search.files import shown
from search.records.pictures import Picture

SORT_KEYS = ("score", "date", "name", "size", "folder", "color", "added")
"""What pictures can be sorted by."""


@dataclass(frozen=True)
class Sort:
    """An order of pictures. key: of `SORT_KEYS`. reverse: from the greatest value down; for
    `score`, from the least up. Pictures without a value come last."""

    key: str
    reverse: bool = False

    def __str__(self) -> str:
        return f"-{self.key}" if self.reverse else self.key

    @classmethod
    def parse(cls, text: str) -> Sort:
        """Parse a key, with `-` before it for the reverse order. Raises UnknownFieldError."""
        key = text.removeprefix("-")
        if key not in SORT_KEYS:
            near = get_close_matches(key, SORT_KEYS, 1, 0.5)
            advice = f"did you mean {near[0]}? " if near else ""
            raise UnknownFieldError(
                f"there is no sort key {key[:100]!r}; {advice}Give one of {', '.join(SORT_KEYS)}, "
                "or one with a minus for the reverse order, such as -date"
            )
        return cls(key, text.startswith("-"))


@dataclass(frozen=True)
class Page:
    """A page of the library's pictures. page: from 1. total: pictures in all. next: the cursor of
    the page after it; None after the last."""

    page: int
    pages: int
    total: int
    pictures: tuple[Picture, ...]
    next: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON, as `/images` answers."""
        counts = {"page": self.page, "pages": self.pages, "total": self.total, "next": self.next}
        return {**counts, "images": [picture.to_json() for picture in self.pictures]}


@dataclass(frozen=True)
class Facet:
    """A value that pictures have. where: the condition that selects them."""

    value: str
    count: int
    where: str


@dataclass(frozen=True)
class Facets:
    """How many pictures have each value of some fields, most first. total: pictures in all. fields:
    by name; `month` and `year` are in their own order, newest first."""

    total: int
    fields: dict[str, tuple[Facet, ...]]

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON, as `/facets` answers."""
        values = {
            name: [{**vars(one), "value": shown(one.value)} for one in facets]
            for name, facets in self.fields.items()
        }
        return {"total": self.total, "fields": values}


@dataclass(frozen=True)
class Month:
    """How many pictures were taken in a month. month: `YYYY-MM`, or None for no date."""

    month: str | None
    count: int


@dataclass(frozen=True)
class FolderCount:
    """A folder with pictures. path: absolute. count: of the pictures in it and below. folders:
    whether there are folders with pictures in it."""

    path: str
    count: int
    folders: bool

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON, as `/folders` answers."""
        return {**vars(self), "path": shown(self.path)}


class Bounds(NamedTuple):
    """A part of the map, in degrees. East is at least west; across the meridian of 180 degrees it
    is above 180, or west is below -180."""

    west: float
    south: float
    east: float
    north: float

    @classmethod
    def parse(cls, text: str) -> Bounds:
        """Parse `WEST,SOUTH,EAST,NORTH`. Raises QueryError."""
        try:
            west, south, east, north = (float(part) for part in text.split(","))
        except ValueError:
            raise QueryError(
                f"bounds={text[:100]}: write WEST,SOUTH,EAST,NORTH in degrees"
            ) from None
        return cls(west, south, east, north)


WORLD = Bounds(-180.0, -90.0, 180.0, 90.0)
MOST_CELLS = 64
"""Cells of a map from west to east at most."""


@dataclass(frozen=True)
class PlaceGroup:
    """Pictures that were taken near each other.

    latitude, longitude: their mean, in degrees. west, south, east, north: their bounds. Longitudes
    are within the bounds that were asked for, so they may be above 180 or below -180. pictures: how
    many. id: of the one that was added last.
    """

    latitude: float
    longitude: float
    west: float
    south: float
    east: float
    north: float
    pictures: int
    id: str
