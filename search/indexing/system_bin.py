"""The system's bin: files are moved there, and back from there where it tells where they are.

send2trash moves them on each system. On Linux the bin is that of freedesktop.org: for each file in
`files` there is a `.trashinfo` in `info` with the path that it had. Elsewhere only the system's own
file manager brings files back.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable
from contextlib import suppress
from importlib import import_module
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes

SUFFIX = b".trashinfo"
MOST_INFO = 2**16  # bytes of a .trashinfo that are read


class BinFolder(NamedTuple):
    """A bin. base: what relative paths in it are relative to."""

    path: bytes
    base: bytes


class Moved(NamedTuple):
    """What became of files. bin_paths: where each is in the bin, None if the bin does not tell.
    failed: why the others stay where they are."""

    bin_paths: dict[str, str | None]
    failed: dict[str, str]


def move_to_bin(paths: Iterable[str]) -> Moved:
    """Move files to the bin, each by itself. paths: absolute. Never deletes one."""
    paths = list(paths)
    bin_module: Any = import_module("send2trash")  # it has no types, and few need it
    folders = {folder for path in {os.path.dirname(one) for one in paths} for folder in _bins(path)}
    before = {folder: _list_infos(folder) for folder in folders}
    moved = Moved({}, {})
    for path in paths:
        try:
            bin_module.send2trash(path)
            moved.bin_paths[path] = None
        except OSError as error:
            moved.failed[path] = error.strerror or str(error)
    for folder, known in before.items():
        for name in _list_infos(folder) - known:
            info = os.path.join(folder.path, b"info", name)
            bin_path = os.path.join(folder.path, b"files", name.removesuffix(SUFFIX))
            original = _read_original(folder, info)
            if original in moved.bin_paths and os.path.lexists(bin_path):
                moved.bin_paths[original] = os.fsdecode(bin_path)
            elif original in moved.failed and not os.path.lexists(bin_path):
                with suppress(OSError):  # written before the move failed
                    os.unlink(info)
    return moved


def move_back(bin_path: str, path: str) -> None:
    """Move a file from the bin to where it was. bin_path: as `move_to_bin` returned it.

    Raises FileExistsError if there is a file at the path, and OSError if the file left the bin.
    """
    os.lstat(bin_path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))  # so that nothing is replaced
    try:
        try:
            os.replace(bin_path, path)
        except OSError:  # another file system
            shutil.copy2(bin_path, path)
            os.unlink(bin_path)
    except BaseException:
        if os.path.lexists(bin_path):
            os.unlink(path)
        raise
    folder, name = os.path.split(bin_path)
    with suppress(OSError):
        info = f"{name}{SUFFIX.decode()}"
        os.unlink(os.path.join(os.path.dirname(folder), "info", info))


def _bins(path: str) -> list[BinFolder]:
    """Return the bins that a file of a folder may come to, as far as their form is known."""
    if sys.platform in ("win32", "darwin"):
        return []
    system: Any = import_module("send2trash.plat_other")
    home = os.fsencode(system.HOMETRASH)
    top = os.fsencode(os.path.realpath(path))
    while not os.path.ismount(top):
        top = os.path.dirname(top)
    user = str(os.getuid()).encode()
    return [
        BinFolder(home, os.path.dirname(home)),
        BinFolder(os.path.join(top, b".Trash", user), top),
        BinFolder(os.path.join(top, b".Trash-" + user), top),
    ]


def _list_infos(folder: BinFolder) -> set[bytes]:
    try:
        names = os.listdir(os.path.join(folder.path, b"info"))
    except OSError:  # there is none yet
        return set()
    return {name for name in names if name.endswith(SUFFIX)}


def _read_original(folder: BinFolder, info: bytes) -> str:
    """Return the path that a file in the bin had, empty if it cannot be read."""
    try:
        with open(info, "rb") as file:
            lines = file.read(MOST_INFO).splitlines()
    except OSError:
        return ""
    quoted = next((one[5:] for one in lines if one.startswith(b"Path=")), b"")
    return os.fsdecode(os.path.normpath(os.path.join(folder.base, unquote_to_bytes(quoted))))
