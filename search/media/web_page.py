"""A web page -> the URL of its main picture, as it names it for previews."""

from __future__ import annotations

import html
import re

HEAD_BYTES = 2**19  # of a page that are searched; the pictures are named in its head
TAG = re.compile(r"<(meta|link)\s([^>]{1,3000})>", re.IGNORECASE)
ATTRIBUTE = re.compile(r"""([\w:-]+)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>]+))""")
NAMES = (
    "og:image:secure_url",
    "og:image",
    "og:image:url",
    "twitter:image",
    "twitter:image:src",
    "image",
    "image_src",
)
"""What names a page's main picture: the first one that the page has is taken."""


def is_web_page(data: bytes, media_type: str) -> bool:
    """Whether bytes are HTML and no picture. media_type: as the server gives it."""
    start = data[:1024].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html", b"<head")):
        return True
    return "html" in media_type.lower() and start.startswith(b"<")


def find_main_picture(data: bytes) -> str | None:
    """Return the URL of a page's main picture as the page spells it, or None.

    Not with an HTML parser: those take quadratic time on pages that are made for it.
    """
    named: dict[str, str] = {}
    for tag, rest in TAG.findall(data[:HEAD_BYTES].decode(errors="replace")):
        attributes = {
            name.lower(): html.unescape(double or single or bare).strip()
            for name, double, single, bare in ATTRIBUTE.findall(rest)
        }
        if tag.lower() == "link":
            name, value = attributes.get("rel", ""), attributes.get("href", "")
        else:
            keys = (attributes.get(key, "") for key in ("property", "name", "itemprop"))
            name, value = next(filter(None, keys), ""), attributes.get("content", "")
        if value:
            named.setdefault(name.lower(), value)
    return next((named[name] for name in NAMES if name in named), None)
