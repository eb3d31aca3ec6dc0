"""Tokens of the users of a server. The catalog has their digests, never the tokens themselves."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_from_bytes, unquote_to_bytes

from sqlalchemy import bindparam, delete, insert, select

from search.catalog.prepared import Prepared
from search.catalog.schema import saved_pictures, saved_searches, tokens
from search.errors import InputError, NotFoundError
from search.records.tokens import ROLES, Role, Token

if TYPE_CHECKING:
    from search.catalog.database import Database

NAME = re.compile(r"[\w.@-]{1,64}")
_COLUMNS = tuple(tokens.c[name] for name in ("name", "role", "digest", "collections", "created"))
BY_DIGEST = Prepared(select(*_COLUMNS).where(tokens.c.digest == bindparam("digest")))
ALL = Prepared(select(*_COLUMNS).order_by(tokens.c.name))


def hash_token(token: str) -> str:
    """Return the digest under which a token is stored: SHA-256 in hexadecimal digits.

    No salt and no slow hash: a token has 256 random bits, so that nobody can try them out.
    """
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()


class Tokens:
    """The tokens in a catalog. Threads may share it."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        """clock: returns seconds since 1970."""
        self._database, self._clock = database, clock

    def add(self, name: str, role: Role, collections: Sequence[str] | None = None) -> str:
        """Add a token and return it: 64 hexadecimal digits, which are not stored.

        name: 1 to 64 letters, digits, `.`, `_`, `-` and `@`. collections: paths of roots; None for
        the whole library. Raises InputError for a name that is taken or cannot be, another role,
        and an empty list of collections.
        """
        if not NAME.fullmatch(name):
            raise InputError(
                f"{name!r} cannot be the name of a token; give 1 to 64 letters, digits, or any of "
                ". _ - @"
            )
        if role not in ROLES:
            raise InputError(f"role {role!r}: give one of {', '.join(ROLES)}")
        if collections is not None and not collections:
            raise InputError("a token without any collection would see nothing; name one")
        token = secrets.token_hex(32)
        quoted = collections and [quote_from_bytes(os.fsencode(path)) for path in collections]
        values = {
            "name": name,
            "role": role,
            "digest": hash_token(token),
            "collections": quoted,
            "created": self._clock(),
        }
        with self._database.write() as c:
            if c.scalar(select(tokens.c.name).where(tokens.c.name == name)) is not None:
                raise InputError(
                    f"there is a token {name} already; take another name, or end that one with "
                    f"`lookalike token revoke {name}`"
                )
            c.execute(insert(tokens).values(values))
        return token

    def all(self) -> list[Token]:
        """Return the tokens, by name."""
        with self._database.read_prepared() as fetch:
            return [_token(row) for row in fetch(ALL)]

    def revoke(self, name: str) -> None:
        """Delete a token, and the searches that its user saved. Raises NotFoundError for an unknown
        name."""
        with self._database.write() as c:
            digest = c.scalar(select(tokens.c.digest).where(tokens.c.name == name))
            for table in (saved_pictures, saved_searches):  # nobody else can delete them
                c.execute(delete(table).where(table.c.owner == digest))
            if not c.execute(delete(tokens).where(tokens.c.name == name)).rowcount:
                raise NotFoundError(
                    f"there is no token {name}; `lookalike token list` shows those there are"
                )

    def find(self, digest: str) -> Token | None:
        """Return the token of a digest, or None if there is none, or none any more."""
        with self._database.read_prepared() as fetch:
            rows = fetch(BY_DIGEST, digest=digest)
        return _token(rows[0]) if rows else None


def _token(row: tuple[Any, ...]) -> Token:
    name, role, digest, quoted, created = row
    if isinstance(quoted, str):  # some drivers parse JSON themselves
        quoted = json.loads(quoted)
    paths = None if quoted is None else tuple(os.fsdecode(unquote_to_bytes(q)) for q in quoted)
    return Token(name, role, digest, paths, created)
