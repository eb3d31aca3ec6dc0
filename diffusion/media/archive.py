"""Members of zips that may be hostile: listed and read within limits."""

from __future__ import annotations

import zipfile
from pathlib import PurePosixPath

from diffusion.errors import DataError
from diffusion.media.images import Limits
from diffusion.reading import open_regular

METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Other methods inflate a whole member at once, whatever size it declares."""

HEADER = 30  # bytes before the name of a member


class Archive:
    """An open zip. Raises OSError, ValueError or BadZipFile when it is none."""

    def __init__(self, path: str) -> None:
        self._file = open_regular(path)
        try:
            self._zip = zipfile.ZipFile(self._file)
        except BaseException:
            self._file.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._zip.close()
        self._file.close()

    def list_members(self, limits: Limits) -> list[tuple[str, int, int]]:
        """Names, sizes in bytes and checksums of the members; of two with a name, the last.

        Raises DataError for too many members, and for members that share bytes: a zip of that kind
        holds far more than its size.
        """
        infos = self._zip.infolist()
        if len(infos) > limits.members:
            raise DataError(f"it has more than {limits.members} members; split it")
        end = 0
        for info in sorted(infos, key=lambda info: info.header_offset):
            if info.header_offset < end:
                raise DataError("its members overlap; pack the pictures again")
            end = info.header_offset + HEADER + info.compress_size
        members = {info.filename: info for info in infos if not info.is_dir()}
        return [(name, info.file_size, info.CRC) for name, info in members.items()]

    def read(self, name: str, limits: Limits) -> bytes:
        """The bytes of a member. Raises DataError when it exceeds the limits, and other types when
        it is damaged or encrypted."""
        path = PurePosixPath(name.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts:
            raise DataError("its name leads out of the zip; pack it under another name")
        info = self._zip.getinfo(name)
        if info.file_size > limits.bytes:
            raise DataError(f"it has more than {limits.bytes} bytes")
        if info.file_size > max(limits.small, limits.ratio * info.compress_size):
            raise DataError(f"it is compressed by more than {limits.ratio} times; pack it as it is")
        if info.compress_type not in METHODS:
            raise DataError("it is neither stored nor deflated; pack the zip by one of the two")
        with self._zip.open(info) as member:
            return member.read(limits.bytes)
