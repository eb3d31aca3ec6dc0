"""A web page -> the pictures that it shows, with what it says of them, and its links."""

from __future__ import annotations

import codecs
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import NamedTuple

PAGE_BYTES = 8 * 2**20
"""Bytes of a page that are read."""
MOST_LINKS = 10_000
MOST_PICTURES = 5_000
"""Links and pictures of a page that are taken."""
MOST_TEXT = 1000  # characters of what is said of a picture
LONGEST = 2000  # characters of a URL
PARSE_SECONDS = 10.0
STEP = 16_384  # characters that are parsed at once
MOST_PENDING = 262_144  # characters of a tag that has no end yet
SOURCES = (
    "data-src data-original data-lazy-src data-lazy data-original-src data-url data-image "
    "data-hi-res-src src"
).split()
"""Attributes of an `img` with its address, the best first: scripts that load pictures late keep the
address elsewhere, and a placeholder in `src`."""
SOURCE_SETS = "data-srcset data-lazy-srcset srcset".split()
DATA_URL = re.compile(r"data:[\w.+/-]*[;,][^\"'<>\s)]{40,}", re.IGNORECASE)
META_CHARSET = re.compile(rb"<meta[^>]{0,200}charset\s*=\s*[\"']?\s*([\w.:-]{1,40})", re.IGNORECASE)
CHARSET = re.compile(r"charset\s*=\s*[\"']?([\w.:-]{1,40})", re.IGNORECASE)
BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
CANDIDATE = re.compile(r"[\s,]*(\S{1,2000})")
DESCRIPTOR = re.compile(r"\s*(?:(\d{1,6}(?:\.\d{1,4})?)([wx])?)?[^,]{0,60}(?:,|$)?")
"""A candidate of a `srcset`: its URL, and its width or density."""


class ShownPicture(NamedTuple):
    """A picture as a page shows it. url: as the page spells it. alt, title, caption: what the page
    says of it, empty if nothing."""

    url: str
    alt: str = ""
    title: str = ""
    caption: str = ""


@dataclass
class PageContent:
    """What a page contains. URLs are as the page spells them.

    title: of the page. base: what its URLs are relative to, if it says so. canonical: the URL that
    it says it has. links: to other pages. may_index, may_follow: whether the page allows to take
    its pictures and to follow its links. has_password: it has a field for a password. is_whole: it
    was read to its end.
    """

    title: str = ""
    base: str = ""
    canonical: str = ""
    links: list[str] = field(default_factory=list)
    pictures: list[ShownPicture] = field(default_factory=list)
    may_index: bool = True
    may_follow: bool = True
    has_password: bool = False
    is_whole: bool = True


def decode_page(data: bytes, media_type: str) -> str:
    """Return the text of a page, whatever its encoding: by its byte order mark, the header
    Content-Type, its `meta`, or UTF-8; Windows-1252 if it is not that."""
    for mark, name in BOMS:
        if data.startswith(mark):
            return data[len(mark) :].decode(name, "replace")
    match, meta = CHARSET.search(media_type), META_CHARSET.search(data[:4096])
    names = [match[1] if match else "", meta[1].decode("ascii", "replace") if meta else ""]
    for name in names:
        try:
            if name and codecs.lookup(name).name not in ("utf-7", "base64", "zlib", "hex", "bz2"):
                return data.decode("cp1252" if name.lower() == "iso-8859-1" else name, "replace")
        except (LookupError, ValueError, UnicodeError, AssertionError, TypeError):
            continue  # a name that is no encoding of text
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")


def parse_page(data: bytes, media_type: str, seconds: float = PARSE_SECONDS) -> PageContent:
    """Return what a page contains. Broken HTML gives what could be read of it.

    seconds: for all of it; what is behind is left out then.
    """
    text = DATA_URL.sub("data:,", decode_page(data[:PAGE_BYTES], media_type))
    text = text.replace("<![", "< [")  # the parser gives up at some of these
    parser, end = _PageParser(), time.monotonic() + seconds
    for start in range(0, len(text), STEP):
        parser.feed(text[start : start + STEP])
        if len(parser.rawdata) > MOST_PENDING or time.monotonic() > end:
            parser.content.is_whole = False
            break
    # not `close`: for the end of a page that was made for it, it takes quadratic time
    return parser.finish()


def choose_candidate(text: str) -> tuple[float, str] | None:
    """Return the size and the URL of the largest picture of a `srcset`, None if it is empty.

    Sizes are widths in pixels, or densities, which are taken as thousands of pixels.
    """
    best: tuple[float, str] | None = None
    place, text = 0, text[:50_000]
    while match := CANDIDATE.match(text, place):
        place, url, size = match.end(), match[1].rstrip(","), 1000.0
        if url == match[1]:  # no comma ends it at once, so a size may follow
            rest = DESCRIPTOR.match(text, place)
            if rest is not None:
                place = rest.end()
                number = float(rest[1] or 1)
                size = number if rest[2] == "w" else number * 1000
        if url and not url.startswith("data:") and (best is None or size > best[0]):
            best = size, url
    return best


class _PageParser(HTMLParser):
    """Collects what a page contains while it is parsed."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.content = PageContent()
        self._pictures: dict[str, ShownPicture] = {}
        self._texts: dict[str, list[str]] = {}  # of the title and the caption that are open
        self._figure: list[str] | None = None  # URLs of the pictures of the figure
        self._caption = ""  # of the figure
        self._sources: list[tuple[float, str]] | None = None  # of a `picture`
        self._main: ShownPicture | None = None
        self._links: dict[str, None] = {}
        self._anchor = ""  # title of the link that is open

    def finish(self) -> PageContent:
        """Return what was collected."""
        self._end_figure()
        if self._main and self._main.url:
            self._add(self._main)
        self.content.links = list(self._links)
        self.content.pictures = list(self._pictures.values())
        return self.content

    def handle_starttag(self, tag: str, pairs: list[tuple[str, str | None]]) -> None:
        attributes = {name: (value or "").strip() for name, value in reversed(pairs)}
        if tag == "img":
            self._add_image(attributes)
        elif tag in ("a", "area"):
            self._anchor = attributes.get("title", "")
            rel = attributes.get("rel", "").lower().split()
            if "nofollow" not in rel:
                self._add_link(attributes.get("href", ""))
        elif tag in ("frame", "iframe"):
            self._add_link(attributes.get("src", ""))
        elif tag == "source" and self._sources is not None:
            self._sources += self._candidates(attributes)
        elif tag == "picture":
            self._sources = []
        elif tag == "figure":
            self._end_figure()
            self._figure, self._caption = [], ""
        elif tag in ("figcaption", "title"):
            self._texts.setdefault(tag, [])
        elif tag == "video":
            self._add(ShownPicture(attributes.get("poster", ""), title=attributes.get("title", "")))
        elif tag == "base" and not self.content.base:
            self.content.base = attributes.get("href", "")[:LONGEST]
        elif tag == "link":
            self._read_link(attributes)
        elif tag == "meta":
            self._read_meta(attributes)
        elif tag == "input" and attributes.get("type", "").lower() == "password":
            self.content.has_password = True

    def handle_endtag(self, tag: str) -> None:
        text = clean_text("".join(self._texts.pop(tag, ())))
        if tag == "title":
            self.content.title = self.content.title or text
        elif tag == "figcaption":
            self._caption = text
        elif tag == "figure":
            self._end_figure()
        elif tag == "picture":
            sources, self._sources = self._sources, None
            if sources:  # without an `img`
                self._add(ShownPicture(max(sources)[1]))

    def handle_data(self, data: str) -> None:
        for parts in self._texts.values():
            if len(parts) < MOST_TEXT:
                parts.append(data[:MOST_TEXT])

    def _end_figure(self) -> None:
        """Give the caption of a figure to the pictures in it."""
        for url in self._figure or ():
            before = self._pictures[url]
            self._pictures[url] = before._replace(caption=before.caption or self._caption)
        self._figure = None

    def _add_image(self, attributes: dict[str, str]) -> None:
        sides = (attributes.get(name, "") for name in ("width", "height"))
        if all(side in ("0", "1", "2") for side in sides):
            return  # counts visitors
        candidates, self._sources = [*(self._sources or ()), *self._candidates(attributes)], None
        plain = next(
            (
                value
                for name in SOURCES
                if (value := attributes.get(name, "")) and not value.lower().startswith("data:")
            ),
            "",
        )
        url = max(candidates)[1] if candidates else plain
        words = attributes.get("alt", ""), attributes.get("title", "") or self._anchor
        self._add(ShownPicture(url, *map(clean_text, words)))

    @staticmethod
    def _candidates(attributes: dict[str, str]) -> list[tuple[float, str]]:
        sets = (choose_candidate(attributes.get(name, "")) for name in SOURCE_SETS)
        return [one for one in sets if one is not None]

    def _add(self, picture: ShownPicture) -> None:
        url = picture.url.strip()
        if not url or len(url) > LONGEST or url.lower().startswith(("data:", "blob:", "about:")):
            return
        before = self._pictures.get(url)
        if before is None and len(self._pictures) >= MOST_PICTURES:
            self.content.is_whole = False
            return
        if before is not None:  # what is said first counts, and gaps are filled
            words = zip(before[1:], picture[1:], strict=True)
            picture = ShownPicture(url, *(first or later for first, later in words))
        self._pictures[url] = picture._replace(url=url)
        if self._figure is not None and len(self._figure) < MOST_PICTURES:
            self._figure.append(url)

    def _add_link(self, url: str) -> None:
        if url and len(url) <= LONGEST and not url.startswith("#"):
            if len(self._links) >= MOST_LINKS and url not in self._links:
                self.content.is_whole = False
            else:
                self._links[url] = None

    def _read_link(self, attributes: dict[str, str]) -> None:
        rel, url = attributes.get("rel", "").lower().split(), attributes.get("href", "")
        if "canonical" in rel:
            self.content.canonical = url[:LONGEST]
        elif "next" in rel or "prev" in rel:
            self._add_link(url)
        elif "image_src" in rel:
            self._add(ShownPicture(url))

    def _read_meta(self, attributes: dict[str, str]) -> None:
        name = (attributes.get("property") or attributes.get("name") or "").lower()
        value = attributes.get("content", "")
        if name in ("og:image", "og:image:url", "og:image:secure_url", "twitter:image"):
            if name == "twitter:image" and self._main:
                return
            if self._main and self._main.url and name == "og:image":
                self._add(self._main)  # a page may name several
            self._main = (self._main or ShownPicture(""))._replace(url=value)
        elif name == "og:image:alt" and self._main:
            self._main = self._main._replace(alt=clean_text(value))
        elif name in ("robots", "lookalike"):
            words = {word.strip() for word in value.lower().split(",")}
            self.content.may_index &= not words & {"noindex", "none", "noimageindex"}
            self.content.may_follow &= not words & {"nofollow", "none"}


def clean_text(text: str) -> str:
    """Return a text on one line, without control characters, at most 1,000 characters."""
    plain = "".join(c if c.isprintable() else " " for c in text[: 4 * MOST_TEXT])
    return " ".join(plain.split())[:MOST_TEXT]


def join_words(parts: Iterable[str]) -> str:
    """Return texts, each once, separated by newlines."""
    return "\n".join(dict.fromkeys(part for part in parts if part))
