"""Where pictures were taken: groups by the cells of a grid, for a map."""

from __future__ import annotations

import math

from sqlalchemy import case, func, select

from search.catalog.listing import PictureList
from search.catalog.reads import CatalogReader
from search.catalog.schema import pictures
from search.errors import QueryError
from search.querying.selection import Selection
from search.records.browsing import MOST_CELLS, Bounds, PlaceGroup

MOST_GROUPS = 2000
"""Groups at most; the others have fewer pictures."""
LEAST_SIDE = 1e-6
"""Degrees of a cell at least."""


class PlaceCounter:
    """Groups the pictures that a selection holds by place. Reads the catalog. Threads may share
    it."""

    def __init__(self, reader: CatalogReader) -> None:
        self._reader, self._list = reader, PictureList(reader)

    def group(self, selection: Selection, bounds: Bounds, cells: int) -> tuple[PlaceGroup, ...]:
        """Return the groups within bounds, those of most pictures first.

        cells: cells from west to east, 1 to `MOST_CELLS`. Cells are about as high as they are wide
        in the middle of the bounds. Raises QueryError.
        """
        _check(bounds, cells)
        latitude, longitude = pictures.c.latitude, pictures.c.longitude
        turned = case(
            (longitude < bounds.west, longitude + 360.0),
            (longitude > bounds.east, longitude - 360.0),
            else_=longitude,
        )
        side = max(LEAST_SIDE, (bounds.east - bounds.west) / cells)
        middle = math.radians((bounds.south + bounds.north) / 2)
        least = (bounds.north - bounds.south) / (2 * MOST_CELLS)
        height = max(LEAST_SIDE, least, side * math.cos(middle))
        inner = self._list.select(selection.criterion)
        inner = inner.add_columns(latitude.label("latitude"), turned.label("longitude"))
        inner = inner.where(latitude.between(bounds.south, bounds.north))
        inner = inner.where(turned.between(bounds.west, bounds.east))
        placed = inner.subquery()
        column = func.floor((placed.c.longitude - bounds.west) / side)
        row = func.floor((placed.c.latitude - bounds.south) / height)
        grouped = select(
            func.avg(placed.c.latitude).label("latitude"),
            func.avg(placed.c.longitude).label("longitude"),
            func.min(placed.c.longitude).label("west"),
            func.min(placed.c.latitude).label("south"),
            func.max(placed.c.longitude).label("east"),
            func.max(placed.c.latitude).label("north"),
            func.count().label("pictures"),
            func.max(placed.c.row_id).label("newest"),
        )
        # the eastern edge belongs to the last cell
        last = case((column >= cells, cells - 1), else_=column)
        groups = grouped.group_by(last, row).subquery()
        query = select(*groups.c, pictures.c.id)
        query = query.join(pictures, pictures.c.row_id == groups.c.newest)
        query = query.order_by(groups.c.pictures.desc(), groups.c.newest.desc())
        with self._reader.database.read() as c:
            rows = c.execute(query.limit(MOST_GROUPS)).all()
        return tuple(PlaceGroup(*one[:7], one[-1]) for one in rows)


def _check(bounds: Bounds, cells: int) -> None:
    west, south, east, north = bounds.west, bounds.south, bounds.east, bounds.north
    if not (-90 <= south <= north <= 90 and -540 <= west <= east <= 540 and east - west <= 360):
        raise QueryError(
            f"bounds={west:g},{south:g},{east:g},{north:g}: west is at most east, and south at "
            "most north; latitudes are -90 to 90, and longitudes at most 360 degrees apart"
        )
    if not 1 <= cells <= MOST_CELLS:
        raise QueryError(f"cells={cells}: give 1 to {MOST_CELLS}")
