"""Parsers of XML that may be hostile: a document type is refused, and with it every entity."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from xml.parsers import expat


def make_parser(
    start: Callable[[str, dict[str, str]], object],
    end: Callable[[str], object],
    add_text: Callable[[str], object],
) -> expat.XMLParserType:
    """Return a parser that calls `start` with the name and the attributes of each element, `end`
    with its name, and `add_text` with parts of texts.

    A name is its namespace, a space, and the local name. `Parse` raises expat.ExpatError for broken
    XML, and ValueError for a document type.
    """
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = _refuse
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = add_text
    return parser


def _refuse(*_: Any) -> None:
    raise ValueError("it has a document type, which is refused")
