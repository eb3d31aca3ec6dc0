"""The words of a text, as the full text is searched for them."""

from __future__ import annotations

import re

from search.catalog.full_text import Phrase, tokenize

_PIECE = re.compile(r'"((?:[^"\\]|\\.)*)"|([^\s"]+)', re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


def split_phrases(text: str) -> list[Phrase]:
    """Return the words of a text with their other forms, without articles and the like, unless it
    has nothing else. Words in double quotes are one phrase, without other forms."""
    from search.embedders.vocabulary import IGNORED, word_forms  # slow to import

    phrases, telling = list[Phrase](), False
    for quoted, word in _PIECE.findall(text):
        plain = unescape(quoted) if quoted else word
        if not tokenize(plain):
            continue
        is_ignored = not quoted and word.casefold() in IGNORED
        if is_ignored and telling:
            continue
        if not is_ignored and not telling:
            phrases.clear()
        telling = telling or not is_ignored
        if phrase := Phrase.of(plain) if quoted else Phrase.of(*word_forms(word)):
            phrases.append(phrase)
    return phrases


def unquote(text: str) -> str:
    """Return a text without the quotes that hold words of it together."""
    return _PIECE.sub(lambda piece: unescape(piece[1]) if piece[2] is None else piece[2], text)


def unescape(quoted: str) -> str:
    """Return what is written between quotes, where a backslash stands before a quote."""
    return _ESCAPED.sub(r"\1", quoted)
