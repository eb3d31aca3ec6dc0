"""What a picture says of its origin: creator, credit, source and copyright, by XMP and IPTC.

The bytes are searched for what programs write, without decoding the picture, so nothing here runs a
codec. All of it may be broken or false.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable
from xml.parsers import expat

from search.media.xml_parser import make_parser
from search.records.sources import By, Credit

MOST_XMP, MOST_PACKETS = 2**20, 4
MOST_TEXT, MOST_CREDITS, MOST_DEPTH = 1000, 30, 64
RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
PROPERTIES = {
    "http://purl.org/dc/elements/1.1/ creator": "creator",
    "http://purl.org/dc/elements/1.1/ source": "source",
    "http://purl.org/dc/elements/1.1/ rights": "copyright",
    "http://ns.adobe.com/photoshop/1.0/ Credit": "credit",
    "http://ns.adobe.com/photoshop/1.0/ Source": "source",
    "http://ns.adobe.com/xap/1.0/rights/ WebStatement": "rights_url",
    "http://ns.adobe.com/xap/1.0/mm/ PreservedFileName": "original_name",
    "http://ns.useplus.org/ldf/xmp/1.0/ ImageSupplierName": "credit",
    "http://iptc.org/std/Iptc4xmpExt/2008-02-29/ DigImageGUID": "derived_from",
    "http://iptc.org/std/Iptc4xmpExt/2008-02-29/ DigitalSourceType": "source",
}
"""Properties of XMP -> the name of a credit."""
IPTC = {80: "creator", 110: "credit", 115: "source", 116: "copyright"}
"""Datasets of record 2 of IPTC-IIM -> the name of a credit."""
PACKET = re.compile(rb"<(?:x:xmpmeta|rdf:RDF)[\s>]")
ENDS = (b"</x:xmpmeta>", b"</rdf:RDF>")
RESOURCE = b"8BIM\x04\x04"  # of Photoshop, with the IPTC data


def read_credits(data: bytes, by: By = "file") -> tuple[Credit, ...]:
    """Return what a file, or its sidecar, says of the origin of a picture. data: of the file."""
    pairs = [*_read_iptc(data), *_read_xmp(data)]
    unique = dict.fromkeys((name, text) for name, value in pairs if (text := _clean(value)))
    return tuple(Credit(*one, by) for one in list(unique)[:MOST_CREDITS])


def _clean(text: str) -> str:
    plain = "".join(c if c.isprintable() else " " for c in text[: 2 * MOST_TEXT])
    return " ".join(plain.split())[:MOST_TEXT]


def _read_xmp(data: bytes) -> Iterable[tuple[str, str]]:
    at = 0
    for _ in range(MOST_PACKETS):
        match = PACKET.search(data, at)
        if match is None:
            return
        start = match.start()
        end_tag = ENDS[not data.startswith(b"<x:", start)]
        end = data.find(end_tag, start, start + MOST_XMP)
        if end < 0:
            return
        at = end + len(end_tag)
        reader = _PropertyReader()
        try:
            reader.parser.Parse(data[start:at], True)
        except (expat.ExpatError, ValueError):
            continue
        yield from reader.values


class _PropertyReader:
    """Collects properties of XMP, as elements, attributes, or items of a list."""

    def __init__(self) -> None:
        self.values = list[tuple[str, str]]()
        self.parser = make_parser(self._start, self._end, self._add)
        self._path, self._text = list[str](), ""

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if len(self._path) >= MOST_DEPTH:
            raise ValueError("too deep")
        self._path.append(name)
        self._text = ""
        for key, value in attributes.items():
            if key in PROPERTIES:
                self.values.append((PROPERTIES[key], value))
            elif key == f"{RDF} resource" and name in PROPERTIES:
                self.values.append((PROPERTIES[name], value))

    def _add(self, text: str) -> None:
        if len(self._text) < 2 * MOST_TEXT:
            self._text += text

    def _end(self, name: str) -> None:
        self._path.pop()
        text, self._text = self._text, ""
        owner = name
        if name == f"{RDF} li" and len(self._path) > 1:
            owner = self._path[-2]
        if owner in PROPERTIES and text.strip():
            self.values.append((PROPERTIES[owner], text))


def _read_iptc(data: bytes) -> Iterable[tuple[str, str]]:
    start = data.find(RESOURCE)
    if start < 0 or start + 12 > len(data):
        return
    at = start + len(RESOURCE)
    at += (data[at] + 2) & ~1  # a name, padded to an even length
    if at + 4 > len(data):
        return
    end = at + 4 + int(struct.unpack_from(">I", data, at)[0])
    at, is_utf8 = at + 4, False
    while at + 5 <= min(end, len(data)) and data[at] == 0x1C:
        record, dataset, size = struct.unpack_from(">BBH", data, at + 1)
        if size & 0x8000:
            return
        value = data[at + 5 : at + 5 + size]
        if (record, dataset) == (1, 90):
            is_utf8 = value == b"\x1b%G"
        elif record == 2 and dataset in IPTC:
            try:
                yield IPTC[dataset], value.decode("utf-8")
            except UnicodeDecodeError:
                yield IPTC[dataset], value.decode("utf-8" if is_utf8 else "latin-1", "replace")
        at += 5 + size
