"""The tokens of users in a catalog, on each database."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest

from search import Engine, InputError, NotFoundError
from search.catalog.tokens import Tokens
from search.records.tokens import Token

Open = Callable[..., Engine]
pytestmark = pytest.mark.catalogs("sqlite", "postgresql")


@pytest.fixture
def tokens(library: Open) -> Tokens:
    return Tokens(library().library.database, clock=lambda: 1000.0)


def test_a_token_is_found_by_its_digest_and_stored_nowhere(tokens: Tokens) -> None:
    token = tokens.add("anna", "write")
    assert len(token) == 64 and int(token, 16)
    digest = hashlib.sha256(token.encode()).hexdigest()
    assert tokens.find(digest) == Token("anna", "write", digest, None, 1000.0)
    assert tokens.find(token) is None and tokens.find("") is None
    assert token not in repr(tokens.all())
    assert tokens.all()[0].to_json() == {
        "name": "anna",
        "role": "write",
        "collections": None,
        "created": 1000.0,
    }


def test_tokens_are_listed_by_name_and_deleted(tokens: Tokens) -> None:
    added = {name: tokens.add(name, "read") for name in ("b", "a@x.example", "C-1_2.3")}
    assert len(set(added.values())) == 3
    assert [one.name for one in tokens.all()] == ["C-1_2.3", "a@x.example", "b"]
    tokens.revoke("b")
    assert tokens.find(hashlib.sha256(added["b"].encode()).hexdigest()) is None
    assert [one.name for one in tokens.all()] == ["C-1_2.3", "a@x.example"]
    with pytest.raises(NotFoundError, match="no token b"):
        tokens.revoke("b")


def test_names_and_roles_are_checked(tokens: Tokens) -> None:
    tokens.add("anna", "read")
    with pytest.raises(InputError, match="token anna already"):
        tokens.add("anna", "admin")
    for name in ("", "a b", "x" * 65, "a\n", "a/b"):
        with pytest.raises(InputError, match="name of a token"):
            tokens.add(name, "read")
    with pytest.raises(InputError, match="read, write, admin"):
        tokens.add("b", "owner")  # type: ignore[arg-type]
    assert [(one.name, one.role) for one in tokens.all()] == [("anna", "read")]


def test_collections_are_paths_that_need_not_be_utf8(tokens: Tokens) -> None:
    paths = ("/photos/été", "/photos/\udcff", "s3://bucket/a")
    tokens.add("anna", "read", paths)
    assert tokens.all()[0].collections == paths
    assert tokens.all()[0].to_json()["collections"] == ["/photos/été", "/photos/\\xff", paths[2]]
    with pytest.raises(InputError, match="without any collection"):
        tokens.add("bert", "read", ())
