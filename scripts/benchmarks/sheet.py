"""Pictures side by side on a page."""

from __future__ import annotations

from PIL import Image, ImageDraw, ImageFont, ImageOps

CELL, HEAD = 128, 40


def sheet(rows: list[list[Image.Image]], columns: list[str]) -> Image.Image:
    """A row for each picture: itself, then its variants, one of each column."""
    page = Image.new("RGB", (len(rows[0]) * CELL, len(rows) * CELL + HEAD), "white")
    names = ["query", *columns]
    for x, name in enumerate(names):
        ImageDraw.Draw(page).text((x * CELL + 4, 4), name, "black", ImageFont.load_default(13))
    for y, row in enumerate(rows):
        for x, picture in enumerate(row):
            one = ImageOps.contain(picture, (CELL - 6, CELL - 6), Image.Resampling.LANCZOS)
            left, top = (CELL - one.width) // 2, (CELL - one.height) // 2
            page.paste(one, (x * CELL + left, HEAD + y * CELL + top))
    return page
