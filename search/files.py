"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import re
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PARTIAL_SECONDS = 600.0
_SHOWN_BYTE = re.compile(r"\\x([89a-f][0-9a-f])")


@contextmanager
def open_partial(path: Path) -> Iterator[Path]:
    """A hidden place of this thread's own in the folder of `path`, which is made when missing, to
    write in before a rename; taken away in the end. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{os.getpid()}-{threading.get_ident()}.part")
    try:
        yield partial
    finally:
        with suppress(OSError):
            partial.unlink()


def write(path: Path, data: bytes, durable: bool = False) -> None:
    """Raises OSError when the disk does not take it; what was there then stays.

    durable: the disk has the bytes when this returns, so that no loss of power tears them.
    """
    with open_partial(path) as partial:
        with partial.open("wb") as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(partial, path)


def delete_partials(folder: Path, seconds: float = PARTIAL_SECONDS) -> None:
    """Delete the incomplete files that killed processes left in a folder and below.

    seconds: younger ones stay, since a process may be writing them.
    """
    for partial in list_old(folder, ".*.part", seconds):
        with suppress(OSError):
            partial.unlink()


def list_old(folder: Path, pattern: str, seconds: float = PARTIAL_SECONDS) -> Iterator[Path]:
    """Yield the files in a folder and below that nobody wrote to for so many seconds."""
    limit = time.time() - seconds
    for path in folder.rglob(pattern):
        with suppress(OSError):
            if path.stat().st_mtime < limit:
                yield path


def absolute_path(path: str | os.PathLike[str]) -> str:
    """Return a path without `~` and `..`, from the root."""
    return os.path.abspath(os.path.expanduser(path))


def shown(path: str) -> str:
    """Convert a file system path to text. Bytes that are not UTF-8 become \\xNN."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def parse_shown(text: str) -> str:
    """Return the file system path that `shown` converts to a text, with bytes that are not UTF-8 as
    `os.fsdecode` has them. A text without \\xNN stays as it is.

    A name may also hold the characters \\xNN themselves; `find_shown` tells the two apart.
    """
    if sys.platform == "win32":  # names are Unicode there, and `\\` is between folders
        return text
    path = _SHOWN_BYTE.sub(lambda match: os.fsdecode(bytes.fromhex(match[1])), text)
    try:
        return path if path != text and shown(path) == text else text
    except UnicodeEncodeError:  # half a character
        return text


def find_shown(text: str) -> str:
    """Return the path that a text names: itself, if there is such a file or folder; otherwise as
    `parse_shown`. A URL stays as it is."""
    path = text if "://" in text else parse_shown(text)
    return text if path == text or os.path.lexists(text) else path
