"""The original files of pictures as one ZIP archive, which is written while it is sent."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Generator, Sequence
from datetime import datetime
from typing import IO, BinaryIO, cast

from search.errors import LookalikeError
from search.files import shown
from search.indexing.uploads import ENDINGS, make_file_name
from search.records.hits import format_time
from search.records.pictures import Picture

CHUNK = 2**20  # bytes that are read at once
MISSING = "missing.txt"
"""The file of the archive that names the pictures that it lacks, and why."""
FIRST_YEAR, LAST_YEAR = 1980, 2107  # that a ZIP archive can date


class _Sink:
    """Takes what an archive writes, until it is sent."""

    def __init__(self) -> None:
        self._parts = bytearray()

    def write(self, data: bytes) -> int:
        self._parts += data
        return len(data)

    def flush(self) -> None:
        """Nothing waits."""

    def take(self) -> bytes:
        data = bytes(self._parts)
        self._parts.clear()
        return data


def stream_archive(
    open_original: Callable[[str], tuple[Picture, BinaryIO]], pictures: Sequence[Picture]
) -> Generator[bytes]:
    """Yield a ZIP archive with a file of each picture, uncompressed, in pieces of about 1 MiB.

    open_original: opens a file of a picture by its id, or raises LookalikeError. Each file has the
    name of the original, with a number where another picture has it too. A picture whose files are
    all gone or changed is left out and named in `missing.txt`.
    """
    sink, names, missing = _Sink(), _Names(), list[str]()
    names.add(MISSING)
    with zipfile.ZipFile(cast(IO[bytes], sink), "w", zipfile.ZIP_STORED) as archive:
        for picture in pictures:
            try:
                _, file = open_original(picture.id)
            except LookalikeError as error:
                missing.append(f"{shown(picture.path)}: {error}")
                continue
            with file:
                info = zipfile.ZipInfo(names.add(_choose_name(picture)), _date(picture, file))
                info.external_attr = 0o644 << 16
                left = info.file_size = _measure(picture, file)
                with archive.open(info, "w") as entry:
                    while left and (data := file.read(min(CHUNK, left))):
                        left -= len(data)
                        entry.write(data)
                        yield sink.take()
            if left:
                missing.append(f"{shown(picture.path)}: cut off while it was read")
        if missing:
            archive.writestr(MISSING, "\n".join([*missing, ""]).encode("utf-8", "replace"))
    yield sink.take()


class _Names:
    """Names in one folder, no two of which differ in case alone."""

    def __init__(self) -> None:
        self._used, self._numbers = set[str](), dict[str, int]()

    def add(self, name: str) -> str:
        """Return a name, with a number if it is taken."""
        stem, dot, ending = name.rpartition(".")
        free, number = name, self._numbers.get(name.casefold(), 1)
        while free.casefold() in self._used:
            number += 1
            free = f"{stem} ({number}){dot}{ending}"
        self._numbers[name.casefold()] = number
        self._used.add(free.casefold())
        return free


def _measure(picture: Picture, file: BinaryIO) -> int:
    """Return the bytes of a picture's file. That of a frame is a PNG of it, and not its film."""
    if picture.time is None:
        return picture.metadata.bytes
    size = file.seek(0, 2)
    file.seek(0)
    return size


def _choose_name(picture: Picture) -> str:
    kind = picture.metadata.type
    name = picture.path.replace("\\", "_").rpartition("/")[2]
    if picture.time is not None:
        name = f"{name} {format_time(picture.time).replace(':', '.')}.png"
    return make_file_name(name, ENDINGS.get(kind, kind), picture.id[:12])


def _date(picture: Picture, file: BinaryIO) -> tuple[int, int, int, int, int, int]:
    """Return when a picture was taken, or else when its file was changed, as far as an archive can
    tell it."""
    try:
        moment = datetime.fromisoformat(picture.metadata.taken or "")
    except ValueError:
        try:
            moment = datetime.fromtimestamp(os.fstat(file.fileno()).st_mtime)
        except (OSError, ValueError, OverflowError):  # it is no file of this machine
            return FIRST_YEAR, 1, 1, 0, 0, 0
    if not FIRST_YEAR <= moment.year <= LAST_YEAR:
        return FIRST_YEAR, 1, 1, 0, 0, 0
    return moment.year, moment.month, moment.day, moment.hour, moment.minute, moment.second
