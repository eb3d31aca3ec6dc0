"""SQL that SQLite and PostgreSQL write differently: types of columns, defaults and functions."""

from __future__ import annotations

import os
import re
from typing import Any

from sqlalchemy import (
    Boolean,
    Dialect,
    LargeBinary,
    String as PlainString,
    Text as PlainText,
    case,
    func,
    literal,
    literal_column,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator, TypeEngine


class String(TypeDecorator[str]):
    """Text of a column. On PostgreSQL it has no length, and is sorted by code points as in SQLite.

    PostgreSQL stores no NUL, so that is left out there. Halves of characters, as of an argument
    that is not UTF-8, become U+FFFD: no database takes them.
    """

    impl = PlainString
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the type of the database."""
        if dialect.name == "postgresql":
            return dialect.type_descriptor(PlainText(collation="C"))
        return dialect.type_descriptor(self.impl_instance)

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Leave out or replace what the database cannot store."""
        if value is None:
            return None
        try:
            value.encode()
        except UnicodeEncodeError:
            value = value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return value.replace("\0", "") if dialect.name == "postgresql" else value


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


class path_text(FunctionElement[str]):
    """A path as text, of which only its ASCII characters are the same in both databases.

    path_text(files.c.path)
    """

    type = PlainText()
    name = "path_text"
    inherit_cache = True


@compiles(path_text)
def _compile_path_text(element: path_text, compiler: Any, **options: Any) -> str:
    (path,) = element.clauses
    if compiler.dialect.name == "postgresql":  # a path need not be UTF-8
        return str(compiler.process(func.encode(path, "escape"), **options))
    return str(compiler.process(path.cast(PlainText), **options))


class base_name(FunctionElement[str]):
    """What follows the last slash of a `path_text`."""

    type = PlainText()
    name = "base_name"
    inherit_cache = True


@compiles(base_name)
def _compile_base_name(element: base_name, compiler: Any, **options: Any) -> str:
    (path,) = element.clauses
    if compiler.dialect.name == "postgresql":
        name = func.regexp_replace(path, "^.*/", "")
    else:
        folder = func.rtrim(path, func.replace(path, "/", ""))
        name = func.substr(path, func.length(folder) + 1)
    return str(compiler.process(name, **options))


class name_key(FunctionElement[bytes]):
    """The name of a file, with small letters for the capital ones of ASCII, as bytes: a name need
    not be UTF-8.

    name_key(files.c.path)
    """

    type = LargeBinary()
    name = "name_key"
    inherit_cache = True


@compiles(name_key)
def _compile_name_key(element: name_key, compiler: Any, **options: Any) -> str:
    (path,) = element.clauses
    return write_name_key(compiler.dialect.name, str(compiler.process(path, **options)))


def write_name_key(dialect: str, column: str) -> str:
    """Return the SQL of `name_key`, without parameters, so that an index may serve it. column: SQL
    of a path."""
    if dialect == "postgresql":  # "escape" leaves only ASCII
        name = f"regexp_replace(encode({column}, 'escape'), '^.*/', '')"
        return f"decode(lower({name}), 'escape')"
    path = f"CAST({column} AS TEXT)"
    name = f"substr({path}, length(rtrim({path}, replace({path}, '/', ''))) + 1)"
    return f"CAST(lower({name}) AS BLOB)"


class first_folder(FunctionElement[bytes]):
    """The folder, below another one, that a path begins with; NULL for a file.

    first_folder(files.c.path, 8) for the path b"holiday/beach/1.jpg" is b"beach"; 8 is the length
    of b"holiday/".
    """

    type = LargeBinary()
    name = "first_folder"
    inherit_cache = True


@compiles(first_folder)
def _compile_first_folder(element: first_folder, compiler: Any, **options: Any) -> str:
    path, length = element.clauses
    rest = func.substr(path, length + 1)
    if compiler.dialect.name == "postgresql":
        # `position` has a syntax of its own
        path_sql, length_sql = (compiler.process(one, **options) for one in (path, length))
        rest_sql = f"substr({path_sql}, {length_sql} + 1)"
        place = f"position('\\x2f'::bytea in {rest_sql})"
        return f"CASE WHEN {place} > 0 THEN substr({rest_sql}, 1, {place} - 1) END"
    slash: ColumnElement[int] = func.instr(rest, literal_column("x'2f'"))
    return str(compiler.process(case((slash > 0, func.substr(rest, 1, slash - 1))), **options))


class matches(FunctionElement[bool]):
    """Whether a `path_text`, or other text, matches a glob. The case of ASCII letters is ignored.

    `*` stands for any characters, `?` for one. matches(path_text(files.c.path), *glob("*/a?.jpg"))
    """

    type = Boolean()
    name = "matches"
    inherit_cache = True


@compiles(matches)
def _compile_matches(element: matches, compiler: Any, **options: Any) -> str:
    text, like, pattern = element.clauses
    if compiler.dialect.name == "postgresql":
        return str(compiler.process(func.lower(text).op("~")(pattern), **options))
    # LIKE of SQLite ignores the case of ASCII letters by itself
    return str(compiler.process(text.like(like, escape="\\"), **options))


def glob(pattern: str, escaped: bool = True) -> tuple[ColumnElement[str], str]:
    """Return a glob as a pattern of LIKE and as a regular expression of PostgreSQL.

    escaped: the text that is compared is a `path_text`, which PostgreSQL has with escaped bytes;
    the pattern may then have bytes that are not UTF-8, as `os.fsdecode` returns them. SQLite takes
    one such byte for any other.
    """
    lowered = "".join(c.lower() if c.isascii() else c for c in pattern)
    like, parts = "", list[str]()
    for c in lowered:
        like += {"*": "%", "?": "_"}.get(c, f"\\{c}" if c in "\\%_" else c)
        if c == "*":
            parts.append(".*")
        elif c == "?" and escaped:  # an ASCII character, or the bytes of another one
            parts.append(r"(?:[^\\]|\\\\|\\3[0-7]{2}(?:\\2[0-7]{2})+)")
        elif c == "?":
            parts.append(".")
        elif escaped and (c == "\\" or not c.isascii()):
            octets = "".join("\\\\" if one == 92 else f"\\{one:03o}" for one in os.fsencode(c))
            parts.append(re.escape(octets))
        else:
            parts.append(re.escape(c))
    # SQLite takes text as UTF-8 alone, and bytes as they are
    return literal(os.fsencode(like)).cast(PlainText), f"^{''.join(parts)}$"


def is_not(criterion: ColumnElement[Any]) -> ColumnElement[bool]:
    """Return the opposite of a criterion, true where the criterion is NULL."""
    return case((criterion, literal_column("0")), else_=literal_column("1")) == literal_column("1")
