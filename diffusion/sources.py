"""Picture files in folders and zips: which there are, and how one is read safely."""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
import threading
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

from PIL import Image, UnidentifiedImageError

from diffusion.errors import DataError

if find_spec("pillow_heif"):  # optional: it adds the format of most phones
    from pillow_heif import register_heif_opener

    register_heif_opener(thumbnails=False)

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "HEIF", "AVIF")
SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .mpo .png .apng .webp .gif .tif .tiff .bmp .dib"
    " .heic .heif .hif .avif".split()
)
RUN_FILES = {"config.json", "log.txt"}
"""A folder that holds these belongs to a training run. Its grids are not training pictures."""

T = TypeVar("T")
MAX_BYTES = 512 * 2**20
MAX_PIXELS = 178_956_970


@dataclass(frozen=True)
class Entry:
    """A picture file. name: its path within the folder or zip. read: returns its bytes. stamp:
    another one when the file has changed (size and time, or size and checksum)."""

    name: str
    read: Callable[[], bytes]
    stamp: tuple[int, int]


@dataclass(frozen=True)
class Listing:
    """The picture files of some folders and zips, sorted by name within each. other: how many
    files of each other kind there are, by suffix (`txt`), `hidden` and `special` (devices, pipes
    and sockets)."""

    entries: list[Entry]
    other: dict[str, int]


def list_pictures(paths: Iterable[str | Path]) -> Listing:
    """Find the picture files of folders and zips. Raises DataError for any other path."""
    entries, other = list[Entry](), Counter[str]()
    for path in paths:
        path = Path(path).expanduser()
        listed = _list_folder(path) if path.is_dir() else _list_zip(path)
        for name, entry in sorted(listed, key=lambda item: item[0]):
            kind = _kind(name)
            if entry is None or kind is not None:
                other[kind or "special"] += 1
            else:
                entries.append(entry)
    return Listing(entries, dict(sorted(other.items())))


def open_picture(data: bytes) -> Image.Image:
    """Open an encoded picture. Raises DataError when it is of none of FORMATS, or has more than
    MAX_PIXELS pixels, and OSError when it is damaged."""
    try:
        picture = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        raise DataError(f"it is not a picture; give one of {', '.join(FORMATS)}") from None
    if picture.width * picture.height > MAX_PIXELS:
        raise DataError(f"it has more than {MAX_PIXELS} pixels")
    return picture


def convert_picture(entry: Entry, convert: Callable[[Image.Image], T]) -> T | str:
    """Read a picture and convert it; or the reason why that fails, for a list of skipped files."""
    try:
        return convert(open_picture(entry.read()))
    except DataError as error:
        return str(error)
    except Exception as error:  # codecs raise all kinds for broken files
        return f"{type(error).__name__}: {error}"


def digest_entries(entries: Iterable[Entry], *settings: object) -> str:
    """A digest in hexadecimal that changes with the files, or with what is done to them."""
    content = json.dumps([[(entry.name, entry.stamp) for entry in entries], *settings])
    return hashlib.sha256(content.encode(errors="backslashreplace")).hexdigest()[:16]


def read_file(path: Path) -> bytes:
    """The bytes of a regular file. Raises OSError, or DataError for more than MAX_BYTES."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(0, "it is not a regular file")
    with path.open("rb") as opened:
        data = opened.read(MAX_BYTES + 1)
    _check_size(len(data))
    return data


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
    return Entry(name, lambda: read_file(file), stamp)


def _list_zip(path: Path) -> Listed:
    try:
        if path.exists() and not path.is_file():
            raise OSError(0, "not a regular file")
        archive, lock = zipfile.ZipFile(path), threading.Lock()
    except (OSError, zipfile.BadZipFile) as error:
        why = getattr(error, "strerror", None) or error
        raise DataError(f"{path} is neither a folder nor a zip of pictures: {why}") from error

    def entry(info: zipfile.ZipInfo) -> Entry:
        def read() -> bytes:
            _check_size(info.file_size)
            with lock:
                return archive.read(info)

        return Entry(info.filename, read, (info.file_size, info.CRC))

    infos = {info.filename: info for info in archive.infolist() if not info.is_dir()}
    return [(name, entry(info)) for name, info in infos.items()]


def _check_size(size: int) -> None:
    if size > MAX_BYTES:
        raise DataError(f"it has more than {MAX_BYTES} bytes")


def _kind(name: str) -> str | None:
    """None for the name of a picture, else what to count the file as."""
    if any(part.startswith(".") for part in name.split("/")):
        return "hidden"
    suffix = os.path.splitext(name)[1].lower()
    return None if suffix in SUFFIXES else suffix[1:] or "without suffix"
