"""A snapshot file: a JSON head and a body with one checksum. It is written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Any

from search import files
from search.errors import StorageError

MAGIC = b"LKLX1\n"
START = len(MAGIC) + 4
"""Bytes before the head: the magic and the length of the head."""
MAX_HEAD = 2**16
DIGEST = hashlib.sha256().digest_size


class SnapshotError(Exception):
    """A snapshot is missing, damaged or of another index. The index must be rebuilt."""


def file_name(library: str, fingerprint: str) -> str:
    """Return the name of a space's snapshot; it differs for every catalog and space."""
    return f"{library[:8]}-{fingerprint}.faiss"


def write(path: Path, head: dict[str, Any], body: bytes) -> None:
    """Write a snapshot. Raises StorageError if the disk fails; the earlier snapshot stays then."""
    text = json.dumps(head).encode()
    front = MAGIC + struct.pack(">I", len(text)) + text
    digest = hashlib.sha256(front)
    digest.update(body)
    try:
        files.write(path, b"".join((front, body, digest.digest())), durable=True)
    except OSError as error:
        raise StorageError(
            f"cannot write {path}: {error.strerror or error}; free some space, or move what is in "
            "its place (nothing is lost: the index can be rebuilt from the catalog)"
        ) from error


def delete_others(folder: Path, paths: Collection[Path]) -> None:
    """Delete all snapshots but these, and incomplete files. The caller holds the write lock."""
    for pattern in ("*.faiss", "*.part"):
        for other in folder.glob(pattern):
            if other not in paths:
                with suppress(OSError):  # it costs only space
                    other.unlink()


def read(path: Path) -> tuple[dict[str, Any], memoryview]:
    """Return the head and the body. Raises SnapshotError."""
    try:
        data = memoryview(path.read_bytes())
        if data[: len(MAGIC)] != MAGIC:
            raise ValueError("the file is not a snapshot")
        if hashlib.sha256(data[:-DIGEST]).digest() != data[-DIGEST:]:
            raise ValueError("the checksum differs")
        (length,) = struct.unpack(">I", data[len(MAGIC) : START])
        head = json.loads(bytes(data[START : START + length]))
        if not isinstance(head, dict):
            raise ValueError("the head is not a JSON object")
        return head, data[START + length : -DIGEST]
    except (OSError, ValueError, struct.error) as error:
        raise SnapshotError(f"{path}: {error}") from error


def read_head(path: Path) -> dict[str, Any]:
    """Return the head, read from the first bytes and not checked; empty if it cannot be read."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack(">I", file.read(START)[len(MAGIC) :])
            head = json.loads(file.read(min(length, MAX_HEAD)))
            return head if isinstance(head, dict) else {}
    except (OSError, ValueError, struct.error):
        return {}
