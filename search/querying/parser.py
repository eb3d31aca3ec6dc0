"""The grammar of conditions, such as `type=jpeg and (width>=1000 or not has=gps)`."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from lark import Lark, Token, Transformer
from lark.exceptions import (
    LarkError,
    UnexpectedEOF,
    UnexpectedToken,
    VisitError,
)

from search.errors import ConditionError, QueryError
from search.querying.conditions import And, Comparison, Condition, Not, Or

MAX_TEXT = 10_000
"""Characters of a condition at most."""
GRAMMAR = r"""
?start: alternatives
?alternatives: sequence (_OR sequence)*
?sequence: operand (_AND operand)*
?operand: FIELD OPERATOR (VALUE | QUOTED) -> comparison
    | _NOT operand -> negation
    | "(" alternatives ")"
_OR.3: /(?:or|\|\|)(?![^\s()])/i
_AND.3: /(?:and|&&)(?![^\s()])/i
_NOT.3: /not(?![^\s()])/i
FIELD.1: /[^\W\d]\w*/
OPERATOR: /!=|<=|>=|=|<|>|:/
VALUE: /[^\s()"'][^\s()]*/
QUOTED: /"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'/s
%ignore /\s+/
"""
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_EXAMPLE = "such as `type=jpeg and width>=1000`"


class _TreeBuilder(Transformer[Token, Condition]):
    """Builds a condition from the bottom while the text is parsed."""

    def comparison(self, items: list[Any]) -> Condition:
        """Build a comparison from its three tokens."""
        name, operator, value = items
        text = str(value)
        if value.type == "QUOTED":
            text = _ESCAPED.sub(r"\1", text[1:-1])
        return Comparison(str(name), "=" if operator == ":" else str(operator), text)  # type: ignore[arg-type]

    def negation(self, items: list[Any]) -> Condition:
        """Build the opposite of a condition."""
        return Not(items[0])

    def sequence(self, items: list[Any]) -> Condition:
        """Join conditions with `and`."""
        return And(tuple(items))

    def alternatives(self, items: list[Any]) -> Condition:
        """Join conditions with `or`."""
        return Or(tuple(items))


@lru_cache(maxsize=1)
def _parser() -> Any:
    return Lark(GRAMMAR, parser="lalr", lexer="contextual", transformer=_TreeBuilder())


@lru_cache(maxsize=256)
def parse_condition(text: str) -> Condition:
    """Parse a condition. Raises ConditionError for text that is none.

    parse_condition("shape=landscape and date>=2024-05 and not has=gps")
    """
    if len(text) > MAX_TEXT:
        raise ConditionError(f"the condition has more than {MAX_TEXT} characters; shorten it")
    if not text.strip():
        raise ConditionError(f"the condition is empty; give one {_EXAMPLE}")
    try:
        condition: Condition = _parser().parse(text)
    except QueryError:
        raise
    except VisitError as error:
        if isinstance(error.orig_exc, QueryError):
            raise error.orig_exc from None
        raise
    except LarkError as error:
        raise ConditionError(_describe(text, error)) from None
    return condition


def _describe(text: str, error: LarkError) -> str:
    """Return what is wrong with a text, and where."""
    shown = text if len(text) <= 200 else f"{text[:200]}..."
    place = getattr(error, "pos_in_stream", None)
    if isinstance(error, UnexpectedEOF) or place is None or _is_end(error):
        return f"the condition ends too early: {shown!r}; give FIELD=VALUE, {_EXAMPLE}"
    rest = text[place : place + 20]
    advice = f"give FIELD=VALUE, {_EXAMPLE}"
    expected = set(getattr(error, "accepts", None) or getattr(error, "allowed", None) or ())
    if "_AND" in expected:
        advice = "put `and` or `or` between conditions, and quotes around a value with spaces"
    return f"the condition {shown!r} is not understood from {rest!r} on; {advice}"


def _is_end(error: LarkError) -> bool:
    return isinstance(error, UnexpectedToken) and error.token.type == "$END"
