"""SQL that SQLite and PostgreSQL write differently: types of columns, defaults and functions."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    Boolean,
    Dialect,
    LargeBinary,
    String as PlainString,
    Text as PlainText,
    func,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator, TypeEngine


class String(TypeDecorator[str]):
    """Text of a column. On PostgreSQL it has no length, and is sorted by code points as in SQLite.

    PostgreSQL stores no NUL, so that is left out there.
    """

    impl = PlainString
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the type of the database."""
        if dialect.name == "postgresql":
            return dialect.type_descriptor(PlainText(collation="C"))
        return dialect.type_descriptor(self.impl_instance)

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Leave out what the database cannot store."""
        if value is None or dialect.name != "postgresql":
            return value
        return value.replace("\0", "")


class Text(String):
    """As `String`, of any length."""

    impl = PlainText
    cache_ok = True


class EmptyBytes(ColumnElement[bytes]):
    """No bytes, as the default of a column."""

    inherit_cache = True
    type = LargeBinary()


@compiles(EmptyBytes)
def _compile_empty_bytes(element: EmptyBytes, compiler: Any, **_: Any) -> str:
    return "'\\x'" if compiler.dialect.name == "postgresql" else "x''"


class path_contains(FunctionElement[bool]):
    """Whether the bytes of a path contain a text. In the path, ASCII letters count as small ones.

    path_contains(files.c.path, "beach")
    """

    type = Boolean()
    name = "path_contains"
    inherit_cache = True


@compiles(path_contains)
def _compile_path_contains(element: path_contains, compiler: Any, **options: Any) -> str:
    path, text = element.clauses
    if compiler.dialect.name == "postgresql":  # a path need not be UTF-8, so octets are compared
        escaped = func.encode(func.convert_to(text, "UTF8"), "escape")
        position = func.strpos(func.lower(func.encode(path, "escape")), escaped)
    else:
        position = func.instr(func.lower(path.cast(PlainText)), text)
    return str(compiler.process(position > 0, **options))
