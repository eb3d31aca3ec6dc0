"""What a file or its sidecar says of a picture: tags, a caption and a rating, from XMP, IPTC, EXIF.

All of it is written by other programs, and often broken. What is embedded in a picture and cannot
be read counts as not there. XML with a document type is refused, so that no entity is expanded and
nothing outside is read.
"""

from __future__ import annotations

import unicodedata
import warnings
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, cast
from xml.parsers import expat

from PIL import ExifTags, Image, ImageFile, IptcImagePlugin

from search.errors import PictureError
from search.media.images import KEPT_XMP, XMP as XMP_KEYS
from search.media.xml_parser import make_parser
from search.records.annotations import MOST_CAPTION, MOST_TAG, RATINGS, Description

MOST_BYTES = 2**22
"""Most bytes of XMP that are read."""
MOST_TAGS = 500
"""Most tags of a picture that are read from its file."""
MOST_DEPTH = 64
"""Most XML elements within each other."""
RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
DC = "http://purl.org/dc/elements/1.1/"
XMP = "http://ns.adobe.com/xap/1.0/"
ITEM, LANGUAGE = f"{RDF} li", "http://www.w3.org/XML/1998/namespace lang"
SUBJECT, CAPTION, RATING = f"{DC} subject", f"{DC} description", f"{XMP} Rating"
HIERARCHIES = {
    "http://ns.adobe.com/lightroom/1.0/ hierarchicalSubject": "|",
    "http://www.digikam.org/ns/1.0/ TagsList": "/",
    "http://ns.microsoft.com/photo/1.0/ LastKeywordXMP": "/",
}
"""Properties with tags in tags -> what separates these. Each level is a tag."""
INTERNAL = "_digikam"
"""How tags begin that programs keep for themselves, in lower case."""
DEFAULT_CAPTIONS = frozenset(
    "olympus digital camera|sony dsc|samsung|minolta digital camera|kodak digital still camera"
    "|digital camera|default|untitled|hdrpl|cof|dav|oznor|sdr|vivo".split("|")
)
"""What cameras write as the description of every picture."""
XP_KEYWORDS, EXIF_RATING = 0x9C9E, 0x4746
IPTC_KEYWORDS, IPTC_CAPTION = (2, 25), (2, 120)


def read_embedded(picture: Image.Image) -> Description:
    """Return what a picture that was opened says of itself. XMP comes before IPTC and EXIF."""
    parts = []
    for read in (_read_xmp_of, _read_iptc, _read_exif):
        try:
            with warnings.catch_warnings(action="ignore"):
                parts.append(read(picture))
        except MemoryError:
            raise
        except Exception:  # broken metadata costs no picture
            continue
    merged = Description.merge(parts)
    return replace(merged, tags=clean_tags(merged.tags))


def parse_xmp(data: bytes) -> Description:
    """Return what an XMP document says. Raises PictureError if it is none."""
    if len(data) > MOST_BYTES:
        raise PictureError(f"the XMP has {len(data)} bytes, more than {MOST_BYTES}")
    reader = _XmpReader()
    try:
        is_wide = b"\0" in data[:4]  # UTF-16
        reader.parser.Parse(data if is_wide else data.strip(b"\0 \r\n\t"), True)
    except (expat.ExpatError, ValueError) as error:
        raise PictureError(f"it is no XMP: {error}") from error
    if not reader.has_rdf:
        raise PictureError("it is no XMP: it has no RDF")
    return reader.describe()


class _XmpReader:
    """Collects the properties of an XMP document while it is parsed."""

    def __init__(self) -> None:
        self.parser = make_parser(self._start, self._end, self._add_text)
        self.has_rdf = False
        self._path: list[str] = []
        self._text: list[str] = []
        self._is_default = False
        self._values: dict[str, list[str]] = {}

    def describe(self) -> Description:
        """Return what was collected."""
        tags = list(self._values.get(SUBJECT, ()))
        for name, separator in HIERARCHIES.items():
            for value in self._values.get(name, ()):
                levels = value.split(separator)
                if not levels[0].strip().lower().startswith(INTERNAL):
                    tags += levels
        captions = [one for one in self._values.get(CAPTION, ()) if one.strip()]
        ratings = self._values.get(RATING, ())
        return Description(
            clean_tags(tags),
            clean_caption(captions[0]) if captions else None,
            clean_rating(ratings[0]) if ratings else None,
        )

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if len(self._path) >= MOST_DEPTH:
            raise ValueError(f"elements are more than {MOST_DEPTH} deep")
        self._path.append(name)
        self.has_rdf |= name == f"{RDF} RDF"
        self._is_default = attributes.get(LANGUAGE) == "x-default"
        if name == f"{RDF} Description":  # properties may be attributes
            for key, value in attributes.items():
                self._add(key, value)
        self._text.clear()

    def _add_text(self, text: str) -> None:
        self._text.append(text)

    def _end(self, name: str) -> None:
        text = "".join(self._text)
        self._text.clear()
        if name == ITEM and len(self._path) > 2:
            self._add(self._path[-3], text, first=self._is_default)
        elif name in (SUBJECT, CAPTION, RATING) and text.strip():
            self._add(name, text)
        self._path.pop()

    def _add(self, name: str, value: str, first: bool = False) -> None:
        if name in (SUBJECT, CAPTION, RATING) or name in HIERARCHIES:
            values = self._values.setdefault(name, [])
            values.insert(0 if first else len(values), value)


def _read_xmp_of(picture: Image.Image) -> Description:
    data = next((picture.info[one] for one in (*XMP_KEYS, KEPT_XMP) if one in picture.info), None)
    if data is None and picture.format == "TIFF":
        data = getattr(picture, "tag_v2", {}).get(700)
    if isinstance(data, tuple):
        data = bytes(data)
    if isinstance(data, str):
        data = data.encode()
    return parse_xmp(data) if data else Description()


def _read_iptc(picture: Image.Image) -> Description:
    entries: dict[tuple[int, int], Any] = (
        IptcImagePlugin.getiptcinfo(cast(ImageFile.ImageFile, picture)) or {}
    )
    keywords, captions = entries.get(IPTC_KEYWORDS, []), entries.get(IPTC_CAPTION, [])
    tags = [_decode(one) for one in (keywords if isinstance(keywords, list) else [keywords])]
    texts = [_decode(one) for one in (captions if isinstance(captions, list) else [captions])]
    return Description(clean_tags(tags), clean_caption(texts[0]) if texts else None)


def _read_exif(picture: Image.Image) -> Description:
    exif = picture.getexif()
    keywords = exif.get(XP_KEYWORDS, b"")
    if isinstance(keywords, tuple):
        keywords = bytes(keywords)
    if isinstance(keywords, bytes):
        keywords = keywords.decode("utf-16-le", "ignore")
    caption = exif.get(ExifTags.Base.ImageDescription, "")
    if isinstance(caption, str):  # decoded as Latin-1, while most programs write UTF-8
        caption = caption.encode("latin-1", "replace")
    return Description(
        clean_tags(str(keywords).split(";")),
        clean_caption(_decode(caption)),
        clean_rating(exif.get(EXIF_RATING)),
    )


def _decode(data: Any) -> str:
    """Decode a text of a program that may know Unicode or not."""
    octets = bytes(data)
    try:
        return octets.decode()
    except UnicodeDecodeError:
        return octets.decode("latin-1")


def clean_tags(names: Iterable[str]) -> tuple[str, ...]:
    """Return tags on one line each; empty, long and double ones are left out."""
    by_form: dict[str, str] = {}
    for name in names:
        plain = "".join(c if c.isprintable() else " " for c in name.replace("\0", ""))
        tag = " ".join(unicodedata.normalize("NFC", plain).split())
        if tag and len(tag) <= MOST_TAG and len(by_form) < MOST_TAGS:
            by_form.setdefault(unicodedata.normalize("NFKC", tag).casefold(), tag)
    return tuple(tag for form, tag in by_form.items() if form.strip())


def clean_caption(text: str) -> str | None:
    """Return a caption without control characters, or None for what says nothing."""
    plain = "".join(c if c.isprintable() or c == "\n" else " " for c in text.split("\0")[0])
    plain = plain.strip()[:MOST_CAPTION].strip()
    return None if plain.lower() in DEFAULT_CAPTIONS or not plain else plain


def clean_rating(value: Any) -> int | None:
    """Return the stars of a rating, 0 to 5; None for another value, such as -1 for rejected.

    Most programs write 0 for pictures without a rating.
    """
    try:
        stars = int(float(value))
    except (TypeError, ValueError, OverflowError):
        return None
    return stars if RATINGS[0] < stars <= RATINGS[1] else None
