"""Statements that every query runs: compiled once, and executed by the driver's own cursor.

For small answers this takes a fraction of the time that SQLAlchemy's execution takes. The SQL comes
from SQLAlchemy's compiler, so it is right for every database.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Dialect, Select

MOST_FORMS = 64
"""Compiled forms of one statement that are kept; there is one for each length of a list."""


class Compiled(NamedTuple):
    """A statement for one database. order: of its parameters, if the SQL has no names of them.
    constants: parameters that are parts of the statement."""

    sql: str
    order: Sequence[str] | None
    constants: Mapping[str, Any]


class Prepared:
    """A SELECT with named parameters, which may be lists for `IN`.

        names = Prepared(select(tags.c.tag).where(tags.c.picture.in_(row_ids)))
        with database.read_prepared() as fetch:
            rows = fetch(names, row_ids=[1, 2, 3])

    Parameters and columns must be numbers, text or bytes: no value is converted. So a truth value
    may come as 0 or 1.

    forms: compiled, by the name of the dialect and the lengths of lists.
    """

    def __init__(self, statement: Select[Any]) -> None:
        self._statement = statement
        self.forms: dict[tuple[Any, ...], Compiled] = {}

    def fetch(self, cursor: Any, dialect: Dialect, **values: Any) -> list[tuple[Any, ...]]:
        """Return all rows as tuples. An empty list as a value returns no row.

        cursor: of the driver of `dialect`.
        """
        lists = {name: value for name, value in values.items() if isinstance(value, list)}
        if any(not value for value in lists.values()):
            return []
        bound = {name: value for name, value in values.items() if name not in lists}
        for name, value in lists.items():
            length = 1 << (len(value) - 1).bit_length()  # few lengths, so that few are compiled
            lists[name] = value + value[-1:] * (length - len(value))
            bound |= {f"{name}_{i}": one for i, one in enumerate(lists[name], 1)}
        sql, order, constants = self._compile(dialect, lists, values, bound)
        bound = {**constants, **bound}
        cursor.execute(sql, bound if order is None else [bound[name] for name in order])
        rows: list[tuple[Any, ...]] = cursor.fetchall()
        return rows

    def _compile(
        self,
        dialect: Dialect,
        lists: Mapping[str, list[Any]],
        values: Mapping[str, Any],
        bound: Mapping[str, Any],
    ) -> Compiled:
        """Return the form of the statement for lists of these lengths."""
        key = dialect.name, *(len(one) for one in lists.values())
        if key not in self.forms:
            if len(self.forms) >= MOST_FORMS:
                self.forms.clear()
            compiled = self._statement.compile(dialect=dialect)
            state = compiled.construct_expanded_state({**values, **lists})
            constants = {n: v for n, v in state.parameters.items() if n not in bound}
            self.forms[key] = Compiled(state.statement, state.positiontup, constants)
        return self.forms[key]
