"""Prepared statements answer as SQLAlchemy's execution does, and fail as it does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Select, bindparam, insert, select

from search.catalog.database import CATALOG, Database
from search.catalog.prepared import MOST_FORMS, Prepared
from search.catalog.schema import counts
from search.errors import LibraryError

KEYS = bindparam("keys", expanding=True)
SELECT: Select[tuple[int, int]] = (
    select(counts.c.key, counts.c.value)
    .where(counts.c.name == "pictures", counts.c.key.in_(KEYS))
    .where(counts.c.value > bindparam("least"))
    .order_by(counts.c.key)
)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / CATALOG)
    with database.write() as c:
        rows = [{"name": "pictures", "key": n, "value": 10 * n} for n in range(200)]
        c.execute(insert(counts), rows)
    yield database
    database.close()


@pytest.mark.parametrize("keys", [[], [7], [7, 7], [1, 2, 3], [*range(150, 20, -1)], [500]])
def test_lists_of_any_length_give_the_rows_of_sqlalchemy(
    database: Database, keys: list[int]
) -> None:
    prepared = Prepared(SELECT)
    with database.read() as c:
        expected = [tuple(row) for row in c.execute(SELECT, {"keys": keys, "least": 15})]
    for _ in range(2):  # compiled, then kept
        with database.read_prepared() as fetch:
            assert fetch(prepared, keys=keys, least=15) == expected
    with database.read_prepared() as fetch:  # other values of the same lengths
        assert fetch(prepared, keys=keys, least=10_000) == []


def test_few_forms_are_kept(database: Database) -> None:
    prepared = Prepared(SELECT)
    with database.read_prepared() as fetch:
        for length in range(1, 200):
            assert len(fetch(prepared, keys=[*range(length)], least=-1)) == length
    assert len(prepared.forms) <= 9 < MOST_FORMS


def test_statements_of_one_block_see_one_state(database: Database) -> None:
    prepared = Prepared(SELECT)
    with database.read_prepared() as fetch:
        assert len(fetch(prepared, keys=[300], least=-1)) == 0
        with database.write() as c:
            c.execute(insert(counts).values(name="pictures", key=300, value=1))
        assert len(fetch(prepared, keys=[300], least=-1)) == 0
    with database.read_prepared() as fetch:
        assert len(fetch(prepared, keys=[300], least=-1)) == 1


def test_a_damaged_file_is_told_as_one(database: Database, tmp_path: Path) -> None:
    database.close()
    for path in tmp_path.glob("catalog.sqlite-*"):
        path.unlink()
    path = tmp_path / CATALOG
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(LibraryError, match="damaged"), database.read_prepared() as fetch:
        fetch(Prepared(SELECT), keys=[1], least=0)
