"""A snapshot file: a JSON head and arrays, which are mapped into memory and not read.

The file is written whole or not at all. The head names the arrays, each with a digest of its own.
Opening verifies the head and the small arrays; `verify` reads everything, as `check` does.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, TypeAlias

from search import files
from search.errors import StorageError

if TYPE_CHECKING:  # a status reads only heads
    import numpy as np

MAGIC = b"LKLX2\n"
START = len(MAGIC) + 4
"""Bytes before the head: the magic and the length of the head."""
MAX_HEAD = 2**16
DIGEST = hashlib.sha256().digest_size
ALIGN = 64
"""Each array begins at a multiple of this many bytes."""
SMALL = 2**26
"""Bytes up to which an array is verified when it is opened; that takes some 50 ms."""
BUILD = ".build"
"""Ending of files that an index is built in; they are deleted as soon as they are mapped."""
BLOCK = 2**22
"""Bytes that `verify` reads at a time."""

Array: TypeAlias = "np.ndarray[Any, np.dtype[Any]]"


class SnapshotError(Exception):
    """A snapshot is missing, damaged or of another index. The index must be rebuilt."""


class Part(NamedTuple):
    """An array to be written. pieces: yields its content in order, so that no array must be in
    memory at once; together they have the bytes that dtype and shape say."""

    dtype: str
    shape: tuple[int, ...]
    pieces: Iterable[Array]

    @classmethod
    def of(cls, array: Array) -> Part:
        """Return an array as one piece."""
        return cls(array.dtype.str, array.shape, (array,))


class Snapshot(NamedTuple):
    """An open snapshot. parts: read-only maps of the file, by name. offsets: where each begins.
    digests: SHA-256 of each, in hexadecimal."""

    path: Path
    head: dict[str, Any]
    parts: Mapping[str, Array]
    offsets: Mapping[str, int]
    digests: Mapping[str, str]


def file_name(library: str, fingerprint: str) -> str:
    """Return the name of a space's snapshot; it differs for every catalog and space."""
    return f"{library[:8]}-{fingerprint}.faiss"


def write(path: Path, head: Mapping[str, Any], parts: Mapping[str, Part]) -> int:
    """Write a snapshot; return its bytes.

    Raises StorageError if the disk fails; the earlier snapshot stays then.
    """
    try:
        with files.open_partial(path) as partial:
            with partial.open("wb") as file:
                size = write_to(file, head, parts)
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, path)
    except OSError as error:
        raise StorageError(
            f"cannot write {path}: {error.strerror or error}; free some space, or move what is in "
            "its place (nothing is lost: the index can be rebuilt from the catalog)"
        ) from error
    return size


def write_to(file: BinaryIO, head: Mapping[str, Any], parts: Mapping[str, Part]) -> int:
    """Write a snapshot to an open file; return its bytes. Raises OSError."""
    import numpy as np

    entries = {
        name: {"dtype": part.dtype, "shape": list(part.shape), "digest": "0" * 2 * DIGEST}
        for name, part in parts.items()
    }
    file.write(_front(head, entries))  # the digests are known in the end, and as long
    for name, part in parts.items():
        file.write(bytes(-file.tell() % ALIGN))
        digest = hashlib.sha256()
        for piece in part.pieces:
            data = np.ascontiguousarray(piece).data.cast("B") if piece.size else b""
            digest.update(data)
            file.write(data)
        entries[name]["digest"] = digest.hexdigest()
    size = file.tell()
    file.seek(0)
    file.write(_front(head, entries))
    return size


def delete_others(folder: Path, paths: Collection[Path]) -> None:
    """Delete all snapshots but these, and incomplete files. The caller holds the write lock."""
    others = [*folder.glob("*.faiss"), *folder.glob("*.part")]
    others += files.list_old(folder, f"*{BUILD}")  # of killed processes; others may build one now
    for other in others:
        if other not in paths:
            with suppress(OSError):  # it costs only space
                other.unlink()


def read(path: Path) -> Snapshot:
    """Open a snapshot. Raises SnapshotError if it is missing, cut, or its head or a small array is
    damaged."""
    import numpy as np

    try:
        with path.open("rb") as file:
            front = file.read(START)
            (length,) = struct.unpack(">I", front[len(MAGIC) :])
            if front[: len(MAGIC)] != MAGIC or length > MAX_HEAD:
                raise ValueError("the file is not a snapshot")
            text, digest = file.read(length), file.read(DIGEST)
            if hashlib.sha256(front + text).digest() != digest:
                raise ValueError("the checksum differs")
            whole = np.memmap(file, np.uint8, mode="r")
        head = json.loads(text)
        if not isinstance(head, dict):
            raise ValueError("the head is not a JSON object")
        place = START + length + DIGEST
        parts, offsets, digests = dict[str, Array](), dict[str, int](), dict[str, str]()
        for name, entry in head.pop("parts").items():
            start = place + -place % ALIGN
            if whole[place:start].any():
                raise ValueError("the space between arrays is not empty")
            dtype, shape = np.dtype(entry["dtype"]), tuple(entry["shape"])
            place = start + dtype.itemsize * prod(shape)
            data = whole[start:place]
            digests[name] = str(entry["digest"])
            if len(data) <= SMALL and hashlib.sha256(data.data).hexdigest() != digests[name]:
                raise ValueError(f"the checksum of {name} differs")
            parts[name], offsets[name] = data.view(dtype).reshape(shape), start
        if place != len(whole):
            raise ValueError("the file has another length than its head says")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        raise SnapshotError(f"{path}: {error}") from error
    return Snapshot(path, head, parts, offsets, digests)


def verify(path: Path) -> None:
    """Read a whole snapshot. Raises SnapshotError if any byte is damaged."""
    import numpy as np

    opened = read(path)
    for name, part in opened.parts.items():
        digest, data = hashlib.sha256(), part.reshape(-1).view(np.uint8)
        for start in range(0, len(data), BLOCK):
            digest.update(data[start : start + BLOCK].data)
        if digest.hexdigest() != opened.digests[name]:
            raise SnapshotError(f"{path}: the checksum of {name} differs")


def read_head(path: Path) -> dict[str, Any]:
    """Return the head, read from the first bytes and not checked; empty if it cannot be read."""
    try:
        with path.open("rb") as file:
            front = file.read(START)
            (length,) = struct.unpack(">I", front[len(MAGIC) :])
            head = json.loads(file.read(min(length, MAX_HEAD)))
            if not front.startswith(MAGIC) or not isinstance(head, dict):
                return {}
            head.pop("parts", None)
            return head
    except (OSError, ValueError, struct.error):
        return {}


def _front(head: Mapping[str, Any], entries: Mapping[str, Any]) -> bytes:
    """Return what is before the arrays: magic, length, head and the digest of them."""
    text = json.dumps({**head, "parts": entries}).encode()
    front = MAGIC + struct.pack(">I", len(text)) + text
    return front + hashlib.sha256(front).digest()
