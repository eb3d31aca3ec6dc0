"""Conditions on pictures, as a tree: comparisons, and how `and`, `or` and `not` join them.

    And((Comparison("type", "=", "jpeg"), Comparison("width", ">=", 1000)))
    parse_condition("type=jpeg and width>=1000")     # the same

`str` of a condition is its text. `search.querying.fields` lists the fields, and how each becomes
SQL.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field as attribute
from typing import Literal, TypeAlias

from search.errors import ConditionError

Operator = Literal["=", "!=", "<", "<=", ">", ">="]
OPERATORS: tuple[Operator, ...] = ("=", "!=", "<", "<=", ">", ">=")
MAX_DEPTH = 50
"""Levels of a tree at most."""
MAX_PARTS = 200
"""Comparisons of a tree at most."""
MAX_VALUE = 1000
"""Characters of a value at most."""
MAX_PATH = 4096
"""As MAX_VALUE, of a path."""
_PLAIN = re.compile(r"""[^\s()"'][^\s()]*""")


@dataclass(frozen=True)
class Comparison:
    """A field of a picture that is compared with a value.

    field: a name of `search.querying.fields.FIELDS`, or another spelling of one. value: as it is
    written in a condition; of a path, bytes that are not UTF-8 become \\xNN. Raises ConditionError
    for an unknown field, an operator that the field does not take, and a value that it cannot have.
    """

    field: str
    operator: Operator
    value: str
    depth: int = attribute(init=False, repr=False, compare=False, default=1)
    parts: int = attribute(init=False, repr=False, compare=False, default=1)

    def __post_init__(self) -> None:
        from search.querying.fields import check_comparison

        name, value = check_comparison(self.field, self.operator, str(self.value))
        object.__setattr__(self, "field", name)
        object.__setattr__(self, "value", value)

    def __str__(self) -> str:
        return f"{self.field}{self.operator}{quote(self.value)}"


@dataclass(frozen=True)
class _Group:
    """Two or more conditions."""

    conditions: tuple[Condition, ...]
    depth: int = attribute(init=False, repr=False, compare=False, default=0)
    parts: int = attribute(init=False, repr=False, compare=False, default=0)

    def __post_init__(self) -> None:
        if len(self.conditions) < 2:
            raise ConditionError("`and` and `or` join two conditions or more; give another one")
        _measure(self, self.conditions)

    def _join(self, word: str) -> str:
        return f" {word} ".join(
            f"({one})" if isinstance(one, _Group) else str(one) for one in self.conditions
        )


@dataclass(frozen=True)
class And(_Group):
    """All of some conditions."""

    def __str__(self) -> str:
        return self._join("and")


@dataclass(frozen=True)
class Or(_Group):
    """One or more of some conditions."""

    def __str__(self) -> str:
        return self._join("or")


@dataclass(frozen=True)
class Not:
    """The opposite of a condition. A picture that lacks the field is in the opposite."""

    condition: Condition
    depth: int = attribute(init=False, repr=False, compare=False, default=0)
    parts: int = attribute(init=False, repr=False, compare=False, default=0)

    def __post_init__(self) -> None:
        _measure(self, (self.condition,))

    def __str__(self) -> str:
        inner = self.condition
        return f"not ({inner})" if isinstance(inner, _Group) else f"not {inner}"


Condition: TypeAlias = Comparison | And | Or | Not


def join_conditions(conditions: Iterable[Condition]) -> Condition | None:
    """Return the condition that all of some conditions hold; None for none."""
    several = tuple(conditions)
    if len(several) > 1:
        return And(several)
    return several[0] if several else None


def quote(value: str) -> str:
    """Return a value as it is written in a condition, in quotes where it needs them."""
    if _PLAIN.fullmatch(value) and "\\" not in value:
        return value
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _measure(node: _Group | Not, below: tuple[Condition, ...]) -> None:
    """Set depth and parts of a node. Raises ConditionError for a tree that is too large."""
    depth, parts = 1 + max(one.depth for one in below), sum(one.parts for one in below)
    if depth > MAX_DEPTH:
        raise ConditionError(f"the condition has more than {MAX_DEPTH} levels; use fewer brackets")
    if parts > MAX_PARTS:
        raise ConditionError(f"the condition has more than {MAX_PARTS} comparisons; use fewer")
    object.__setattr__(node, "depth", depth)
    object.__setattr__(node, "parts", parts)
