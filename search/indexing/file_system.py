"""Which file system a folder is on. The number of a device is given to other disks later."""

from __future__ import annotations

import os
from pathlib import Path

UUIDS = Path("/dev/disk/by-uuid")
"""Links to block devices by the UUIDs of their file systems (Linux)."""


def identify_file_system(folder: str | Path, uuids: Path = UUIDS) -> str:
    """Return a text that names the file system of a folder, and the folder in it.

    It has the UUID where the system tells it, the id of the file system (`f_fsid`), and the inode
    of the folder; an unknown part is empty. Raises OSError.
    """
    info = os.stat(folder)
    number = os.statvfs(folder).f_fsid if hasattr(os, "statvfs") else 0
    return f"{_find_uuid(info.st_dev, uuids)}:{number or ''}:{info.st_ino}"


def is_same_file_system(first: str, second: str) -> bool:
    """Return whether two texts of `identify_file_system` name the same file system and folder.

    Equal UUIDs count more than the id, which some file systems make from the number of a device.
    """
    (uuid, number, inode), (other_uuid, other_number, other_inode) = (
        text.split(":") for text in (first, second)
    )
    if inode != other_inode:
        return False
    if uuid and other_uuid:
        return uuid == other_uuid
    return number == other_number


def _find_uuid(device: int, uuids: Path) -> str:
    """Return the UUID of the file system on a block device, or an empty text."""
    try:
        for link in os.scandir(uuids):
            if os.stat(link.path).st_rdev == device:
                return link.name
    except OSError:  # not Linux, or a container without it
        pass
    return ""
