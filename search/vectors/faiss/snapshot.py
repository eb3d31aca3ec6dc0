"""A snapshot file: a JSON head and a body under one checksum, whole or not there."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

from search import files
from search.errors import StorageError

MAGIC = b"LKLX1\n"
START = len(MAGIC) + 4


class SnapshotError(Exception):
    """A snapshot that is missing, torn or foreign; the index is to be rebuilt."""


def name(library: str, fingerprint: str) -> str:
    """The file of a model's snapshot; no other catalog or model has the same."""
    return f"{library[:8]}-{fingerprint}.faiss"


def write(path: Path, head: dict[str, Any], body: bytes) -> None:
    """Raises StorageError when the disk does not take it; an earlier snapshot then stays."""
    text = json.dumps(head).encode()
    front = MAGIC + struct.pack(">I", len(text)) + text
    digest = hashlib.sha256(front)
    digest.update(body)
    try:
        files.write(path, b"".join((front, body, digest.digest())), durable=True)
    except OSError as error:
        raise StorageError(
            f"cannot write {path}: {error.strerror or error}; free some space, or move what is in "
            "its place (nothing is lost: the index is made again from the catalog)"
        ) from error


def sweep(path: Path) -> None:
    """Take away other snapshots, with what torn writes left. For who holds the write lock."""
    for pattern in ("*.faiss", "*.part"):
        for other in path.parent.glob(pattern):
            if other != path:
                other.unlink(missing_ok=True)


def read(path: Path) -> tuple[dict[str, Any], memoryview]:
    """Head and body. Raises SnapshotError."""
    try:
        data = memoryview(path.read_bytes())
        if data[: len(MAGIC)] != MAGIC or hashlib.sha256(data[:-32]).digest() != data[-32:]:
            raise ValueError("the checksum differs")
        (length,) = struct.unpack(">I", data[len(MAGIC) : START])
        head = json.loads(bytes(data[START : START + length]))
        if not isinstance(head, dict):
            raise ValueError("the head is no object")
        return head, data[START + length : -32]
    except (OSError, ValueError, struct.error) as error:
        raise SnapshotError(f"{path}: {error}") from error


def head(path: Path) -> dict[str, Any]:
    """The head of a snapshot, from its first bytes alone; empty where there is none to be read."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack(">I", file.read(START)[len(MAGIC) :])
            found = json.loads(file.read(min(length, 2**16)))
            return found if isinstance(found, dict) else {}
    except (OSError, ValueError, struct.error):
        return {}
