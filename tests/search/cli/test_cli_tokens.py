"""`lookalike token`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers.pictures import paint
from typer.testing import CliRunner

from search import Engine
from search.catalog.tokens import hash_token
from search.cli.app import app
from search.errors import InputError, NotFoundError


def run(home: Path, *words: str, code: int = 0) -> tuple[str, str]:
    """Return what the command prints to standard output and standard error."""
    done = CliRunner().invoke(app, ["--home", str(home), "token", *words])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == code, done.output
    return done.stdout, done.stderr


def test_a_token_is_printed_once(home: Path) -> None:
    printed, note = run(home, "add", "anna", "--role", "write")
    token = printed.strip()
    assert len(token) == 64 and "not shown again" in note and token not in note
    added = json.loads(run(home, "add", "bert", "--json")[0])
    assert (added["name"], added["role"], len(added["token"])) == ("bert", "read", 64)
    listed = run(home, "list", "--json")[0]
    assert [(one["name"], one["role"]) for one in json.loads(listed)["tokens"]] == [
        ("anna", "write"),
        ("bert", "read"),
    ]
    lines = run(home, "list")[0]
    assert "anna  write" in lines and "the whole library" in lines
    assert hash_token(token) not in listed + lines
    stored = b"".join(path.read_bytes() for path in home.glob("catalog.sqlite*"))
    assert hash_token(token).encode() in stored
    for secret in (token, added["token"]):
        assert secret not in listed + lines and secret.encode() not in stored


def test_a_token_is_revoked(home: Path) -> None:
    token = run(home, "add", "anna")[0].strip()
    assert run(home, "revoke", "anna")[0] == "anna is revoked\n"
    with Engine.open(home) as engine:
        assert engine.tokens() == [] and engine.find_token(hash_token(token)) is None
    assert "lookalike token add" in run(home, "list")[1]
    with pytest.raises(NotFoundError, match="no token anna"):
        run(home, "revoke", "anna")


def test_wrong_usage_is_refused(home: Path) -> None:
    run(home, "add", "anna", "--role", "owner", code=2)
    run(home, "add", code=2)
    run(home, "add", "anna")
    with pytest.raises(InputError, match="already"):
        run(home, "add", "anna")


def test_a_token_is_for_some_folders(home: Path, folder: Path) -> None:
    paint(folder / "a.jpg", 1)
    with Engine.open(home) as engine:
        engine.sync(folder)
    other = folder.parent / "other"
    with pytest.raises(NotFoundError, match="not an indexed folder"):
        run(home, "add", "anna", "--collection", str(other))
    uploads = str(home.resolve() / "kept")  # may be named before the first upload
    run(home, "add", "anna", "--collection", f"{folder}/", "--collection", uploads)
    (listed,) = json.loads(run(home, "list", "--json")[0])["tokens"]
    assert listed["collections"] == [str(folder), uploads]
    assert f"{folder}, {uploads}" in run(home, "list")[0]
