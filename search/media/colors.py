"""Colors: names, the distance of two colors as people see it, and how palettes are stored.

A palette entry is stored with its cell, the color with 5 bits a channel, so that SQL finds the
pictures of a color by whole numbers. The color of a cell differs from those in it by .8 in the
median and by less than 3 for 99 % of them (CIEDE2000); people see differences from about 2.
"""

from __future__ import annotations

import colorsys
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any

CELLS = 32**3
GREY = 1000.0
"""Hue of an entry without color, plus its lightness, 0 to 100. Hues of colors are 0 to 360."""
NEAR = (4.0, 8.0, 12.0, 16.0)
"""Distances up to which a palette entry counts, with 7/8, 5/8, 3/8 and 1/8 of its share."""
LEAST_NAMED = 0.12
"""Share of a picture, weighted by nearness, from which on the name of a color is a word for it."""
RANK_SHARES = (0.42, 0.25, 0.16, 0.1, 0.07)
"""Shares of the five entries of a palette that was stored without shares: means of photographs."""
SHADES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "red": ("#ff0000", "#c82828", "#8b1a1a"),
        "orange": ("#ff8c00", "#e07020"),
        "yellow": ("#ffff00", "#f0d020", "#d8b830"),
        "green": ("#00c000", "#3c8c3c", "#1e5a28", "#80b050"),
        "cyan": ("#00ffff", "#30b0b0", "#108080"),
        "blue": ("#0000ff", "#2860c8", "#1e2f78", "#68a0e0"),
        "purple": ("#800080", "#7a3cb4", "#a050c8"),
        "pink": ("#ffc0cb", "#ff69b4", "#e89ab8"),
        "brown": ("#8b4513", "#6b4226", "#a0703c"),
        "beige": ("#f5f5dc", "#d8c4a0"),
        "black": ("#000000", "#141414"),
        "grey": ("#808080", "#555555", "#b0b0b0"),
        "white": ("#ffffff", "#f2f2f2"),
    }
)
"""A name -> typical shades; an entry is as far from the name as from the nearest of them."""
ALIASES: Mapping[str, str] = MappingProxyType(
    {
        "gray": "grey",
        "violet": "purple",
        "teal": "cyan",
        "turquoise": "cyan",
        "红": "red",
        "橙": "orange",
        "黄": "yellow",
        "绿": "green",
        "青": "cyan",
        "蓝": "blue",
        "紫": "purple",
        "粉": "pink",
        "粉红": "pink",
        "棕": "brown",
        "褐": "brown",
        "米": "beige",
        "黑": "black",
        "灰": "grey",
        "白": "white",
    }
)
_HEX = re.compile(r"#?([0-9a-f]{6}|[0-9a-f]{3})", re.IGNORECASE)


def parse_color(text: str) -> tuple[str, ...] | None:
    """Return the shades `#rrggbb` of a name or of `#rgb` or `#rrggbb`; None for anything else.

    parse_color("red"), parse_color("红色"), parse_color("#c03020")
    """
    name = text.strip().casefold()
    for one in (name, name.removesuffix("色")):
        if shades := SHADES.get(ALIASES.get(one, one)):
            return shades
    if match := _HEX.fullmatch(name):
        digits = match[1] if len(match[1]) == 6 else "".join(2 * digit for digit in match[1])
        return (f"#{digits}",)
    return None


def cell_of(color: str) -> int:
    """Return the cell of a color `#rrggbb`, from 0 to 32767."""
    red, green, blue = _channels(color)
    return (red >> 3) << 10 | (green >> 3) << 5 | blue >> 3


def hue_of(color: str) -> float:
    """Return the hue of a color `#rrggbb` in degrees, or `GREY` plus its lightness."""
    red, green, blue = (value / 255 for value in _channels(color))
    hue, lightness, _ = colorsys.rgb_to_hls(red, green, blue)
    if max(red, green, blue) - min(red, green, blue) < 0.08:
        return round(GREY + 100 * lightness, 3)
    return round(360 * hue, 3)


def color_of_cell(cell: int) -> str:
    """Return the color `#rrggbb` in the middle of a cell."""
    return "#" + "".join(f"{((cell >> shift & 31) << 3) + 4:02x}" for shift in (10, 5, 0))


@lru_cache(maxsize=256)
def near_cells(shades: tuple[str, ...]) -> tuple[tuple[int, ...], ...]:
    """Return the cells at each distance of `NEAR` from the nearest shade, each cell once."""
    import numpy as np  # slow to import, and few queries name a color

    cells, labs = _all_cells()
    targets = to_lab([_channels(shade) for shade in shades])
    distance = np.min([measure_distance(labs, one[None]) for one in targets], axis=0)
    bounds = (-1.0, *NEAR)
    return tuple(
        tuple(cells[(distance > low) & (distance <= high)].tolist())
        for low, high in zip(bounds, bounds[1:], strict=False)
    )


@lru_cache(maxsize=CELLS)
def name_cell(cell: int) -> Mapping[str, float]:
    """Return the names of the colors that a cell is near to, with 1 for the same, 0 for none."""
    import numpy as np  # slow to import, and few need the names

    _, labs = _all_cells()
    starts, targets = _all_shades()
    distances = np.minimum.reduceat(measure_distance(targets, labs[cell][None]), starts)
    nearness = {}
    for name, distance in zip(SHADES, distances.tolist(), strict=True):
        step = next((i for i, bound in enumerate(NEAR) if distance <= bound), None)
        if step is not None:
            nearness[name] = 1 - (2 * step + 1) / (2 * len(NEAR))
    return MappingProxyType(nearness)


def list_color_words(palette: Iterable[tuple[int, float]]) -> list[str]:
    """Return the words in all languages for the colors of a picture.

    palette: cells and their shares, 0 to 1.
    """
    shares: dict[str, float] = {}
    for cell, share in palette:
        for name, nearness in name_cell(cell).items():
            shares[name] = shares.get(name, 0.0) + share * nearness
    names = [name for name, share in shares.items() if share >= LEAST_NAMED]
    words = {name: [name] for name in names}
    for alias, name in ALIASES.items():
        if name in words:
            words[name].append(alias if alias.isascii() else f"{alias}色")
    return [word for name in sorted(names) for word in words[name]]


@lru_cache(maxsize=1)
def _all_cells() -> tuple[Any, Any]:
    import numpy as np

    cells = np.arange(CELLS)
    channels = [((cells >> shift & 31) << 3) + 4 for shift in (10, 5, 0)]
    return cells, to_lab(np.stack(channels, 1))


@lru_cache(maxsize=1)
def _all_shades() -> tuple[Any, Any]:
    """Return the place of each name's first shade, and the shades of all names in CIELAB."""
    import numpy as np

    counts = [len(shades) for shades in SHADES.values()]
    targets = to_lab([_channels(shade) for shades in SHADES.values() for shade in shades])
    return np.cumsum([0, *counts[:-1]]), targets


def to_lab(colors: Any) -> Any:
    """Convert (n, 3) sRGB of 0 to 255 to (n, 3) CIELAB under D65."""
    import numpy as np

    srgb = np.asarray(colors, np.float64) / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    matrix = np.array(
        [
            [0.4124564, 0.3575761, 0.1804375],
            [0.2126729, 0.7151522, 0.0721750],
            [0.0193339, 0.1191920, 0.9503041],
        ]
    )
    xyz = linear @ matrix.T / np.array([0.95047, 1.0, 1.08883])
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.stack(
        [116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1
    )


def measure_distance(first: Any, second: Any) -> Any:
    """Return the CIEDE2000 distances (n,) of colors in CIELAB, (n, 3) or (1, 3) each.

    Sharma, Wu and Dalal, "The CIEDE2000 color-difference formula", 2005, equations 2 to 22.
    """
    import numpy as np

    l1, a1, b1 = np.moveaxis(np.asarray(first, np.float64), -1, 0)
    l2, a2, b2 = np.moveaxis(np.asarray(second, np.float64), -1, 0)
    mean = ((np.hypot(a1, b1) + np.hypot(a2, b2)) / 2) ** 7
    g = 0.5 * (1 - np.sqrt(mean / (mean + 25.0**7)))  # 4
    a1, a2 = (1 + g) * a1, (1 + g) * a2
    c1, c2 = np.hypot(a1, b1), np.hypot(a2, b2)
    h1 = np.degrees(np.arctan2(b1, a1)) % 360
    h2 = np.degrees(np.arctan2(b2, a2)) % 360
    grey = c1 * c2 == 0
    turn = h2 - h1
    turn = np.where(turn > 180, turn - 360, np.where(turn < -180, turn + 360, turn))
    turn = np.where(grey, 0, turn)  # 10
    dl, dc = l2 - l1, c2 - c1
    dh = 2 * np.sqrt(c1 * c2) * np.sin(np.radians(turn / 2))  # 11
    total = h1 + h2
    middle = np.where(
        np.abs(h1 - h2) <= 180, total / 2, np.where(total < 360, total / 2 + 180, total / 2 - 180)
    )
    middle = np.where(grey, total, middle)  # 14
    lightness, chroma = (l1 + l2) / 2, (c1 + c2) / 2
    t = (
        1
        - 0.17 * np.cos(np.radians(middle - 30))
        + 0.24 * np.cos(np.radians(2 * middle))
        + 0.32 * np.cos(np.radians(3 * middle + 6))
        - 0.20 * np.cos(np.radians(4 * middle - 63))
    )  # 15
    sl = 1 + 0.015 * (lightness - 50) ** 2 / np.sqrt(20 + (lightness - 50) ** 2)
    sc, sh = 1 + 0.045 * chroma, 1 + 0.015 * chroma * t
    theta = 30 * np.exp(-(((middle - 275) / 25) ** 2))
    rc = 2 * np.sqrt(chroma**7 / (chroma**7 + 25.0**7))
    rt = -np.sin(np.radians(2 * theta)) * rc
    x, y, z = dl / sl, dc / sc, dh / sh
    return np.sqrt(np.maximum(x**2 + y**2 + z**2 + rt * y * z, 0))  # 22


def _channels(color: str) -> tuple[int, int, int]:
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)
