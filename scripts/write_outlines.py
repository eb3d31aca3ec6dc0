"""Write the outlines of the map of places, `search/web/outlines.json`.

scripts/write_outlines.py COUNTRIES.json

COUNTRIES.json is the TopoJSON of Natural Earth's countries at 1:50 million (public domain), as the
npm package `world-atlas` has it. The result has lines as integers: twentieths of a degree, each
point as its difference from the one before. `land` are rings to fill; `borders` are lines between
countries. A ring that crosses longitude 180 goes on beyond it, so it is drawn twice.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

TARGET = Path(__file__).parents[1] / "search" / "web" / "outlines.json"
STEPS = 20  # of a degree
TOLERANCE = 0.06  # degrees that a simplified line may be off
SMALLEST = 0.02  # square degrees of an island

Line = NDArray[np.float64]
"""(points, 2): longitude and latitude in degrees."""


def decode_arcs(topology: dict[str, Any]) -> list[Line]:
    """Return the arcs of a quantized topology.

    See the TopoJSON specification, section 2.1.4.
    """
    scale, shift = (np.array(topology["transform"][key]) for key in ("scale", "translate"))
    return [np.cumsum(np.array(arc), 0) * scale + shift for arc in topology["arcs"]]


def list_rings(geometry: dict[str, Any]) -> list[list[int]]:
    """Return the rings of a geometry, each as numbers of arcs; ~n is arc n from its end."""
    if geometry["type"] == "GeometryCollection":
        return [ring for one in geometry["geometries"] for ring in list_rings(one)]
    if geometry["type"] == "Polygon":
        return list(geometry["arcs"])
    if geometry["type"] == "MultiPolygon":
        return [ring for polygon in geometry["arcs"] for ring in polygon]
    return []


def simplify(line: Line, tolerance: float) -> Line:
    """Leave out points that are closer than the tolerance to the simplified line (Douglas and
    Peucker, 1973)."""
    keep = np.zeros(len(line), bool)
    keep[[0, -1]] = True
    parts = [(0, len(line) - 1)]
    while parts:
        first, last = parts.pop()
        if last - first < 2:
            continue
        start, along = line[first], line[last] - line[first]
        offsets = line[first + 1 : last] - start
        length = float(np.hypot(*along))
        if length:
            distances = np.abs(offsets[:, 0] * along[1] - offsets[:, 1] * along[0]) / length
        else:
            distances = np.hypot(*offsets.T)
        farthest = int(distances.argmax())
        if distances[farthest] > tolerance:
            middle = first + 1 + farthest
            keep[middle] = True
            parts += [(first, middle), (middle, last)]
    return line[keep]


def encode(line: Line) -> list[int]:
    """Return the first point and the differences, in steps; points that coincide are left out."""
    points = np.round(line * STEPS).astype(int)
    moves = np.diff(points, axis=0)
    moves = moves[moves.any(axis=1)]
    return [*points[0].tolist(), *moves.ravel().tolist()]


def unwrap(ring: Line) -> Line:
    """Return a ring without jumps between longitudes -180 and 180. One around a pole gets it."""
    x = np.unwrap(ring[:, 0], period=360)
    ring = np.column_stack([x, ring[:, 1]])
    if abs(x[-1] - x[0]) < 180:
        return ring
    pole = np.copysign(90.0, ring[:, 1].mean())
    return np.concatenate([ring, [[x[-1], pole], [x[0], pole]]])


def area(ring: Line) -> float:
    """Square degrees of a ring."""
    x, y = ring.T
    return abs(float(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1)))) / 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("countries", type=Path)
    topology = json.loads(parser.parse_args().countries.read_text())
    arcs = decode_arcs(topology)
    simple = [simplify(arc, TOLERANCE) for arc in arcs]

    def join(ring: list[int], lines: list[Line]) -> Line:
        return np.concatenate([lines[n] if n >= 0 else lines[~n][::-1] for n in ring])

    land = [
        encode(unwrap(join(ring, simple)))
        for ring in list_rings(topology["objects"]["land"])
        if area(join(ring, arcs)) >= SMALLEST
    ]
    uses = Counter(
        n if n >= 0 else ~n for ring in list_rings(topology["objects"]["countries"]) for n in ring
    )
    borders = [encode(simple[n]) for n, count in sorted(uses.items()) if count > 1]
    document = {
        "steps": STEPS,
        "land": [ring for ring in land if len(ring) > 6],
        "borders": borders,
    }
    TARGET.write_text(json.dumps(document, separators=(",", ":")) + "\n")
    print(f"{len(document['land'])} rings, {len(borders)} borders, {TARGET.stat().st_size} bytes")


if __name__ == "__main__":
    main()
