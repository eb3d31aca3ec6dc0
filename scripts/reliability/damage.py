"""Ways to damage a library: rows of the catalog, its pages, thumbnails, the index."""

from __future__ import annotations

import random
import sqlite3
from pathlib import Path

ROWS = {
    "a bit of a vector": "UPDATE vectors SET data = ? WHERE rowid = ?",
    "a digest": "UPDATE vectors SET digest = zeroblob(8) WHERE rowid = ?",
    "a vector": "DELETE FROM vectors WHERE rowid = ?",
    "a change": "DELETE FROM changes WHERE rowid = ?",
    "a place": "DELETE FROM places WHERE rowid = ?",
    "labels": "DELETE FROM labels WHERE picture = ?",
    "colours": "DELETE FROM colors WHERE picture = ?",
}


def damage_row(home: Path, rng: random.Random) -> str:
    """Change or delete a row. Returns what was damaged."""
    kind = rng.choice(list(ROWS))
    statement = ROWS[kind]
    table = statement.split()[2 if statement.startswith("DELETE") else 1]
    with sqlite3.connect(home / "catalog.sqlite") as connection:
        column = "picture" if table in ("labels", "colors") else "rowid"
        rows = [row[0] for row in connection.execute(f"SELECT DISTINCT {column} FROM {table}")]
        row = rng.choice(sorted(rows))
        values: tuple[object, ...] = (row,)
        if kind == "a bit of a vector":
            query = "SELECT data FROM vectors WHERE rowid = ?"
            (data,) = connection.execute(query, (row,)).fetchone()
            values = (flip(data, rng), row)
        connection.execute(statement, values)
    connection.close()
    return f"{kind}, row {row}"


def damage_pages(home: Path, rng: random.Random) -> str:
    """Overwrite bytes of the catalog's file, or cut it."""
    path = home / "catalog.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    data = path.read_bytes()
    way = rng.choice(["bit", "page", "cut", "head"])
    page = rng.randrange(len(data) // 4096)
    if way == "bit":
        data = flip(data, rng)
    elif way == "page":
        start = page * 4096
        data = data[:start] + rng.randbytes(4096) + data[start + 4096 :]
    elif way == "cut":
        data = data[: rng.randrange(len(data))]
    else:
        data = rng.randbytes(100) + data[100:]
    path.write_bytes(data)
    return f"{way}, page {page}"


def damage_thumbnail(home: Path, rng: random.Random) -> str:
    """Cut, empty, delete or overwrite thumbnails."""
    paths = rng.sample(sorted((home / "thumbnails").rglob("*.webp")), 3)
    return "; ".join(damage_file(path, rng) for path in paths)


def damage_snapshot(home: Path, rng: random.Random) -> str:
    """Cut, empty, delete, overwrite or change the file of the index."""
    (path,) = (home / "index").glob("*.faiss")
    return damage_file(path, rng, ("flip",))


def damage_file(path: Path, rng: random.Random, more: tuple[str, ...] = ()) -> str:
    """Damage one file. Returns how."""
    data, way = path.read_bytes(), rng.choice(["cut", "empty", "delete", "noise", "zeros", *more])
    if way == "delete":
        path.unlink()
    else:
        damaged = {
            "cut": data[: rng.randrange(len(data))],
            "empty": b"",
            "noise": rng.randbytes(len(data)),
            "zeros": bytes(len(data)),
            "flip": flip(data, rng),
        }
        path.write_bytes(damaged[way])
    return f"{path.name}: {way}"


def flip(data: bytes, rng: random.Random) -> bytes:
    """Change a bit."""
    changed = bytearray(data)
    changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(changed)
