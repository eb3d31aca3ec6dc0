"""A query on one line, such as `2:beach + ./pool.jpg - people date>=2024 -tag:draft`.

`+` and `-` between spaces begin a term that is searched for, or searched away from. A number and a
colon before a term is its weight. A file, a URL or `id:ID` is a picture; words beside each other
are one text, and words in double quotes hold together, whatever signs they have. `FIELD:VALUE`,
`FIELD>=VALUE` and so on are conditions. A word or condition right after a `-` is left out: pictures
that have it are not in the answer.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import lru_cache
from typing import Any

from lark import Lark, Token

from search.errors import QueryError
from search.media.urls import normalize_url
from search.querying.conditions import Comparison, Condition, Not
from search.querying.query import Term
from search.querying.words import unescape

MAX_LINE = 4096
"""Characters of a line at most."""
MISSPELLED = 0.8
"""Likeness of a word to the name of a field, by `difflib`, from which on it is meant to be it."""
GRAMMAR = r"""
start: item*
?item: SIGN | WEIGHT | left_out | operand
left_out: DASH operand
?operand: CONDITION | QUOTED | WORD
SIGN.6: /[+-]+(?=\s|\Z)/
DASH.5: /-+(?=[^\s-])/
WEIGHT.4: /\d{1,9}(?:\.\d{1,9})?:(?=[^\s])/
CONDITION.3: /[^\W\d]\w*(?:!=|<=|>=|=|<|>|:)(?:"(?:[^"\\]|\\.)+"|[^\s"]+)/s
QUOTED.2: /"(?:[^"\\]|\\.)*"/s
WORD.1: /[^\s"]+/
STRAY: /"/
%ignore /\s+/
%ignore STRAY
"""
_CONDITION = re.compile(r"([^\W\d]\w*)(!=|<=|>=|=|<|>|:)(.+)", re.DOTALL)


@dataclass(frozen=True)
class QueryLine:
    """What a line asks for: terms that add up, and conditions that all hold. `str` of it is a line
    that means the same."""

    terms: tuple[Term, ...]
    where: tuple[Condition, ...] = ()

    def __str__(self) -> str:
        parts = [_write_term(term) for term in self.terms]
        parts += [_write_condition(one) for one in self.where]
        return " ".join(parts).removeprefix("+ ")


def parse_line(line: str, files: bool = False) -> QueryLine:
    """Parse a line. files: whether a term may name a file of this machine.

    parse_line("2:beach - people type:jpeg"). Raises QueryError for a line that is too long, and
    for a condition or a term that cannot be answered.
    """
    if len(line) > MAX_LINE:
        raise QueryError(f"the query has more than {MAX_LINE} characters; shorten it")
    builder = _LineBuilder(files)
    for item in _parser().parse(line).children:
        if isinstance(item, Token):
            builder.add(item)
        else:  # what follows the dash
            builder.leave_out(item.children[1])
    return builder.build()


@lru_cache(maxsize=1)
def _parser() -> Any:
    return Lark(GRAMMAR, parser="lalr", lexer="basic")


class _LineBuilder:
    """Puts the tokens of a line together, from left to right."""

    def __init__(self, files: bool) -> None:
        self._files = files
        self._terms: list[Term] = []
        self._where: list[Condition] = []
        self._words: list[str] = []
        self._sign, self._weight = 1, 1.0

    def add(self, token: Token) -> None:
        """Take the next token. Raises QueryError."""
        if token.type == "SIGN":
            self._end_term()
            self._sign = -1 if token.count("-") % 2 else 1
        elif token.type == "WEIGHT":
            self._end_text()
            self._weight = float(token[:-1])
        elif (condition := _read_condition(token)) is not None:
            self._end_text()
            self._where.append(condition)
        elif (image := self._read_image(token)) is not None:
            self._end_text()
            self._append(Term(image=image))
        else:
            self._words.append(str(token))

    def leave_out(self, token: Token) -> None:
        """Leave out what has a word or holds a condition. Raises QueryError."""
        self._end_text()
        condition = _read_condition(token)
        if condition is None:
            word = unescape(token[1:-1]) if token.type == "QUOTED" else str(token)
            condition = Comparison("words", "=", word)
        self._where.append(Not(condition))

    def build(self) -> QueryLine:
        """Return the whole line."""
        self._end_term()
        return QueryLine(tuple(self._terms), tuple(self._where))

    def _read_image(self, token: Token) -> str | None:
        """Return what a token names if it is a picture."""
        text = unescape(token[1:-1]) if token.type == "QUOTED" else str(token)
        if text.startswith("id:") and len(text) > 3:
            return text
        if "://" in text or text.startswith(("www.", "//")):
            return normalize_url(text)
        if not self._files or "\0" in text or not text:
            return None
        try:
            path = os.path.expanduser(text)
            return path if os.path.isfile(path) else None
        except (OSError, ValueError):
            return None

    def _append(self, term: Term) -> None:
        self._terms.append(replace(term, weight=self._sign * self._weight))
        self._weight = 1.0

    def _end_text(self) -> None:
        """Make a term of the words so far."""
        if self._words:
            text, self._words = " ".join(self._words), []
            if text.strip('"\\ '):  # quotes around nothing
                self._append(Term(text=text))

    def _end_term(self) -> None:
        self._end_text()
        self._sign, self._weight = 1, 1.0


def _read_condition(token: Token) -> Condition | None:
    """Return the condition of a token, or None if it is none: `word:word` is two words unless the
    first is a field, or misspells one. Raises ConditionError."""
    if token.type != "CONDITION":
        return None
    match = _CONDITION.fullmatch(token)
    if match is None:
        return None
    name, sign, value = match.groups()
    if value.startswith('"'):
        value = unescape(value[1:-1])
    if sign == ":":
        from search.querying.fields import ALIASES, FIELDS

        names = [*FIELDS, *ALIASES]
        if not get_close_matches(name.casefold(), names, 1, MISSPELLED):
            return None
        sign = "="
    return Comparison(name, sign, value)  # type: ignore[arg-type]


def _write_term(term: Term) -> str:
    sign, weight = "-" if term.weight < 0 else "+", abs(term.weight)
    text = term.text if term.text is not None else _quote(str(term.image))
    return f"{sign} " + (f"{_write_number(weight)}:" if weight != 1 else "") + text


def _write_number(value: float) -> str:
    return f"{value:.9f}".rstrip("0").rstrip(".")


def _write_condition(condition: Condition) -> str:
    if isinstance(condition, Not):
        return f"-{_write_condition(condition.condition)}"
    if not isinstance(condition, Comparison):
        raise QueryError("a line has no brackets; give such a condition in `where`")
    value = condition.value
    return f"{condition.field}{condition.operator}{_quote(value)}"


def _quote(value: str) -> str:
    """Return a value in quotes if it needs them."""
    if not re.search(r'[\s"\\]', value):
        return value
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
