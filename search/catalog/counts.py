"""Counts that the catalog keeps, so that nothing is counted while a user waits.

Every transaction that changes what is counted also changes the count. `check` counts again.
Pictures are counted in blocks of row ids, so that a page far from the first is found by the counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from sqlalchemy import (
    Connection,
    Integer,
    and_,
    case,
    delete,
    func,
    insert,
    literal_column,
    select,
    update,
)

from search.catalog.schema import counts, files, pictures, places, texts, vectors

PICTURES = "pictures"
"""Pictures that are no orphans. Key: `block_of` their row ids."""
FILES = "files"
"""Files with a picture. Key: id of their root."""
EMBEDDED = "embedded"
"""Vectors of pictures that are no orphans. Key: id of their space."""
TEXTS = "texts"
"""Pictures that are no orphans and were read for text. Key: `TEXT_STATE`."""
WITHOUT_TEXT, WITH_TEXT, UNREADABLE = range(3)
TEXT_STATE = case(
    (texts.c.failed.is_not(None), UNREADABLE), (texts.c.text == "", WITHOUT_TEXT), else_=WITH_TEXT
)
"""What became of reading a picture: one of the three above."""
BLOCK = 4096
"""Row ids of one count of pictures."""


def block_of(row_id: int) -> int:
    """Return the key under which a picture is counted."""
    return row_id // BLOCK


def change(c: Connection, name: str, keys: Iterable[int], by: int = 1) -> None:
    """Add `by` to a count for each key; a key may occur many times."""
    for key, times in sorted(Counter(keys).items()):  # one order, so that no writers block another
        where = counts.c.name == name, counts.c.key == key
        values = {"value": counts.c.value + by * times}
        if not c.execute(update(counts).where(*where).values(values)).rowcount:
            c.execute(insert(counts).values(name=name, key=key, value=by * times))


def change_pictures(c: Connection, row_ids: Iterable[int], by: int = 1) -> None:
    """Count pictures that were added to the library, or with -1 those that left it."""
    change(c, PICTURES, map(block_of, row_ids), by)


def change_texts(c: Connection, row_ids: Collection[int], by: int = 1) -> None:
    """Count the texts of pictures that come to the library, or with -1 of those that leave it."""
    change(c, TEXTS, c.scalars(select(TEXT_STATE).where(texts.c.picture.in_(row_ids))).all(), by)


def forget(c: Connection, name: str, keys: Collection[int]) -> None:
    """Delete the counts of roots or spaces that are deleted."""
    c.execute(delete(counts).where(counts.c.name == name, counts.c.key.in_(keys)))


def read(c: Connection, name: str) -> dict[int, int]:
    """Return a count by its keys."""
    query = select(counts.c.key, counts.c.value).where(counts.c.name == name)
    return {int(row.key): int(row.value) for row in c.execute(query)}


def count_again(c: Connection) -> dict[tuple[str, int], int]:
    """Count everything by reading all rows; return the counts by name and key, without zeros."""
    block = pictures.c.row_id // literal_column(str(BLOCK), Integer)
    present = pictures.c.orphaned.is_(None)
    joined = and_(pictures.c.row_id == vectors.c.picture, present)
    queries: Mapping[str, Any] = {
        PICTURES: select(block, func.count()).where(present).group_by(block),
        FILES: select(files.c.root, func.count())
        .where(files.c.id.in_(select(places.c.file)))
        .group_by(files.c.root),
        EMBEDDED: select(vectors.c.space, func.count())
        .join(pictures, joined)
        .group_by(vectors.c.space),
        TEXTS: select(TEXT_STATE, func.count())
        .join(pictures, and_(pictures.c.row_id == texts.c.picture, present))
        .group_by(TEXT_STATE),
    }
    return {
        (name, int(key)): int(value)
        for name, query in queries.items()
        for key, value in c.execute(query)
    }


def list_wrong(c: Connection) -> dict[tuple[str, int], int]:
    """Return the counts that are wrong, with their right value."""
    right = count_again(c)
    stored_counts = {(row.name, int(row.key)): int(row.value) for row in c.execute(select(counts))}
    return {
        key: right.get(key, 0)
        for key in sorted({*right, *stored_counts})
        if right.get(key, 0) != stored_counts.get(key, 0)
    }


def repair(c: Connection) -> int:
    """Set wrong counts right; return how many there were."""
    wrong = list_wrong(c)
    for (name, key), value in wrong.items():
        forget(c, name, [key])
        if value:
            c.execute(insert(counts).values(name=name, key=key, value=value))
    return len(wrong)
