"""Picture files in folders and zips: which there are, and where each is."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffusion.errors import DataError
from diffusion.media.pool import DecoderPool

SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .mpo .png .apng .webp .gif .tif .tiff .bmp .dib"
    " .heic .heif .hif .avif".split()
)
RUN_FILES = {"config.json", "log.txt"}
"""A folder that holds these belongs to a training run. Its grids are not training pictures."""


@dataclass(frozen=True)
class Entry:
    """A picture file.

    name: its path within the folder or zip. path: of the file, or of the zip that has it as a
    member called `name`. zipped: whether it is in a zip. stamp: another one when the file has
    changed (size and time, or size and checksum).
    """

    name: str
    path: str
    zipped: bool
    stamp: tuple[int, int]

    def job(self, **work: Any) -> dict[str, Any]:
        """A job for `DecoderPool.decode`. work: `size` or `windows`."""
        return {"path": self.path, "member": self.name if self.zipped else None, **work}


@dataclass(frozen=True)
class Listing:
    """The picture files of some folders and zips, sorted by name within each. other: how many
    files of each other kind there are, by suffix (`txt`), `hidden` and `special` (devices, pipes
    and sockets)."""

    entries: list[Entry]
    other: dict[str, int]


def list_pictures(paths: Iterable[str | Path], pool: DecoderPool) -> Listing:
    """Find the picture files of folders and zips. pool: lists the zips. Raises DataError for any
    other path."""
    entries, other = list[Entry](), Counter[str]()
    for path in paths:
        path = Path(path).expanduser()
        listed = _list_folder(path) if path.is_dir() else _list_zip(path, pool)
        for name, entry in sorted(listed, key=lambda item: item[0]):
            kind = _kind(name)
            if entry is None or kind is not None:
                other[kind or "special"] += 1
            else:
                entries.append(entry)
    return Listing(entries, dict(sorted(other.items())))


def digest_entries(entries: Iterable[Entry], *settings: object) -> str:
    """A digest in hexadecimal that changes with the files, or with what is done to them."""
    content = json.dumps([[(entry.name, entry.stamp) for entry in entries], *settings])
    return hashlib.sha256(content.encode(errors="backslashreplace")).hexdigest()[:16]


Listed = list[tuple[str, Entry | None]]
"""Names with their entries; None for what is not a regular file."""


def _list_folder(path: Path) -> Listed:
    listed: Listed = []
    for at, folders, names in os.walk(path):
        if set(names) >= RUN_FILES and at != str(path):
            folders.clear()
            continue
        for name in names:
            file = Path(at) / name
            listed.append((file.relative_to(path).as_posix(), _file_entry(file, path)))
    return listed


def _file_entry(file: Path, folder: Path) -> Entry | None:
    """None for what is not a regular file: reading a named pipe waits for ever."""
    try:
        info = file.stat()
    except OSError:  # a broken link
        return None
    if not stat.S_ISREG(info.st_mode):
        return None

    name, stamp = file.relative_to(folder).as_posix(), (info.st_size, info.st_mtime_ns)
    return Entry(name, str(file.absolute()), False, stamp)


def _list_zip(path: Path, pool: DecoderPool) -> Listed:
    members = pool.list_members(str(path.absolute()))
    if isinstance(members, str):
        raise DataError(f"{path} is neither a folder nor a zip of pictures: {members}")
    return [(name, Entry(name, str(path.absolute()), True, (n, crc))) for name, n, crc in members]


def _kind(name: str) -> str | None:
    """None for the name of a picture, else what to count the file as."""
    parts = name.replace("\\", "/").split("/")
    if any(part.startswith(".") and part != ".." for part in parts):
        return "hidden"
    suffix = os.path.splitext(name)[1].lower()
    return None if suffix in SUFFIXES else suffix[1:] or "without suffix"
