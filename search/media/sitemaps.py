"""Sitemaps of web sites: lists of pages, of pictures on them, and of further sitemaps.

The protocol is that of sitemaps.org, with the extension for images of Google.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from xml.parsers import expat

from search.media.page_content import LONGEST, ShownPicture, clean_text
from search.media.xml_parser import make_parser

SITEMAP_BYTES = 50 * 2**20  # as the protocol limits them, after decompression
MOST_URLS = 50_000
MOST_DEPTH = 20  # elements in one another
GZIP = b"\x1f\x8b"


@dataclass
class Sitemap:
    """What a sitemap lists. pages: URLs. sitemaps: URLs of further ones. pictures: those of pages,
    by the URL of the page. problem: why it was not read to its end, empty if it was."""

    pages: list[str] = field(default_factory=list)
    sitemaps: list[str] = field(default_factory=list)
    pictures: dict[str, list[ShownPicture]] = field(default_factory=dict)
    problem: str = ""


def parse_sitemap(data: bytes) -> Sitemap:
    """Return what a sitemap lists: XML, a list of URLs, or either of them in gzip.

    Of one that is broken or too large, what could be read.
    """
    result = Sitemap()
    if data.startswith(GZIP):
        decoder = zlib.decompressobj(31)
        try:
            data = decoder.decompress(data, SITEMAP_BYTES)
            if decoder.unconsumed_tail:
                result.problem = f"it has more than {SITEMAP_BYTES} bytes"
        except zlib.error as error:
            result.problem = f"its gzip is broken: {error}"
            return result
    start = data[:200].lstrip(b"\xef\xbb\xbf \t\r\n")
    if not start.startswith(b"<"):
        lines = data[:SITEMAP_BYTES].decode("utf-8", "replace").split()
        result.pages = [one for one in lines[:MOST_URLS] if one.startswith("http")]
        return result
    reader = _SitemapParser(result)
    try:
        reader.parser.Parse(data, True)
    except (expat.ExpatError, ValueError) as error:
        result.problem = result.problem or f"it is broken: {error}"
    return result


class _SitemapParser:
    """Collects the entries of a sitemap while it is parsed."""

    def __init__(self, result: Sitemap) -> None:
        self.parser = make_parser(self._start, self._end, self._add)
        self._result, self._path = result, list[str]()
        self._text = ""
        self._page, self._pictures = "", list[dict[str, str]]()

    def _start(self, name: str, _: dict[str, str]) -> None:
        if len(self._path) >= MOST_DEPTH:
            raise ValueError(f"elements are more than {MOST_DEPTH} deep")
        self._path.append(name.rpartition(" ")[2].lower())
        self._text = ""
        if self._path[-1] in ("url", "sitemap"):
            self._page, self._pictures = "", []
        elif self._path[-1] == "image":
            self._pictures.append({})

    def _add(self, text: str) -> None:
        if len(self._text) < 2 * LONGEST:
            self._text += text

    def _end(self, _: str) -> None:
        name = self._path.pop()
        parent = self._path[-1] if self._path else ""
        value = self._text.strip()
        if parent == "image" and self._pictures:
            self._pictures[-1][name] = value
        elif name == "loc" and parent in ("url", "sitemap"):
            self._page = value
        elif name == "sitemap" and self._page and len(self._page) <= LONGEST:
            self._result.sitemaps.append(self._page)
        elif name == "url" and self._page and len(self._page) <= LONGEST:
            self._result.pages.append(self._page)
            shown = [
                ShownPicture(
                    one["loc"], "", *map(clean_text, (one.get("title", ""), one.get("caption", "")))
                )
                for one in self._pictures
                if 0 < len(one.get("loc", "")) <= LONGEST
            ]
            if shown:
                self._result.pictures[self._page] = shown
        self._text = ""
        if len(self._result.pages) + len(self._result.sitemaps) > MOST_URLS:
            raise ValueError(f"it lists more than {MOST_URLS} pages")
