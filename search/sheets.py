"""Contact sheets: pages of HTML that hold their pictures, and need nothing else to be shown."""

from __future__ import annotations

import base64
import html
import os
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from urllib.parse import quote_from_bytes

from search.files import shown

STYLE = """
body { font: 15px/1.4 system-ui, sans-serif; margin: 2rem; color: #222; background: #fff }
main { display: grid; grid-template-columns: repeat(auto-fill, minmax(180px, 1fr)); gap: 1rem }
figure { margin: 0 } img { width: 100%; height: 180px; object-fit: contain; background: #eee }
figcaption { overflow-wrap: anywhere; font-size: 13px }
@media (prefers-color-scheme: dark) { body { color: #ddd; background: #111 } a { color: #9cf }
img { background: #222 } }
"""


@dataclass(frozen=True)
class Figure:
    """A picture of a sheet.

    caption: text below it. data: a WebP or JPEG file; empty for none. title: text that the pointer
    shows. link: an address; empty for none.
    """

    caption: str
    data: bytes = b""
    title: str = ""
    link: str = ""


@dataclass(frozen=True)
class Section:
    """A part of a sheet. level: of its heading, 1 or 2."""

    heading: str
    figures: Iterable[Figure] = ()
    level: int = 1


def write_sheet(sections: Iterable[Section]) -> Generator[bytes]:
    """Yield a sheet in UTF-8, in pieces. Figures are taken while it is written."""
    head = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width"><title>lookalike</title>'
        f"<style>{STYLE}</style></head><body>"
    )
    yield head.encode()
    for one in sections:
        heading = f"<h{one.level}>{html.escape(one.heading)}</h{one.level}><main>"
        yield heading.encode("utf-8", "replace")
        for figure in one.figures:
            yield _write_figure(figure).encode("utf-8", "replace")
        yield b"</main>"
    yield b"</body></html>\n"


def show_file(path: str, label: str, data: bytes, is_linked: bool = True) -> Figure:
    """Return a figure of a file or object. label: text before its name. is_linked: whether it is a
    link to the file on this computer."""
    name = shown(os.path.basename(path))
    link = path if "://" in path else f"file://{quote_from_bytes(os.fsencode(path))}"
    return Figure(f"{label} {name}".strip(), data, shown(path), link if is_linked else "")


def _write_figure(one: Figure) -> str:
    title = f' title="{html.escape(one.title)}"' if one.title else ""
    kind = "webp" if one.data[:4] == b"RIFF" else "jpeg"
    content = base64.b64encode(one.data).decode()
    picture = f'<img alt="" src="data:image/{kind};base64,{content}">' if one.data else ""
    if one.link:
        picture = f'<a href="{html.escape(one.link)}">{picture or html.escape(one.caption)}</a>'
    return f"<figure{title}>{picture}<figcaption>{html.escape(one.caption)}</figcaption></figure>"
