"""The inbox: a folder whose new pictures are copied into the library's own uploads.

Files of the inbox are never written. Which of them were taken is remembered beside the catalog, by
path, size and time, so that a picture that was deleted from the library does not come back from
there.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from search import files
from search.errors import InputError, StorageError
from search.indexing.stillness import wait_until_still
from search.media.download_marks import read_download
from search.media.images import SUFFIXES
from search.media.urls import is_address
from search.records.inbox import InboxFailure, InboxReport, InboxStatus
from search.types import FileEntry, file_state

DONE = "done"
"""Subfolder that files are moved to, if they are."""
Keep = Callable[[bytes, str, str | None], bool]
"""Keeps a picture: its bytes, the name of its file, and the address that it comes from. Returns
whether it is new. Raises InputError for a file that is no picture."""
Entry = tuple[int, int, str, str]
"""Size, mtime_ns, and the code and the reason of a failure, which are empty if there was none."""
WaitUntilStill = Callable[[str, Sequence[FileEntry]], list[FileEntry]]


class Inbox:
    """The inbox of a library."""

    def __init__(
        self,
        folder: Path,
        state: Path,
        max_bytes: int,
        moves: bool = False,
        wait: WaitUntilStill = wait_until_still,
    ) -> None:
        """folder: absolute. state: file of what was taken. max_bytes: of a picture. moves: files
        that were taken are moved to its subfolder `done`. wait: leaves out what is being
        written."""
        self._folder, self._state, self._max_bytes = folder, state, max_bytes
        self._moves, self._wait = moves, wait

    def take(self, keep: Keep) -> InboxReport:
        """Keep the pictures that were not tried since they changed.

        Raises InputError for a folder that is not there, and LookalikeError that has nothing to do
        with a file, such as a full disk: what was not tried then is tried the next time.
        """
        if not self._folder.is_dir():
            raise InputError(f"the inbox {self._folder} is not there; make it, or name another one")
        present = {entry.path: entry for entry in self._list()}
        tried = {path: one for path, one in self._read().items() if path in present}
        new = [one for path, one in present.items() if tried.get(path, ())[:2] != one[1:3]]
        counts, failed = {True: 0, False: 0}, list[InboxFailure]()
        try:
            for entry in self._wait(str(self._folder), new):
                path, code, reason = self._folder / entry.path, "", ""
                try:
                    counts[self._keep(path, entry, keep)] += 1
                    if self._moves:
                        self._move(path, entry.path)
                        continue
                except InputError as error:
                    code, reason = error.code, str(error).removeprefix("the picture: ")
                except FileNotFoundError:
                    continue  # it was taken away meanwhile
                except OSError as error:
                    code, reason = "file_unreadable", error.strerror or str(error)
                tried[entry.path] = (entry.size, entry.mtime_ns, code, reason)
                if code:
                    failed.append(InboxFailure(str(path), reason, code))
        finally:
            self._write(tried)
        return InboxReport(counts[True], counts[False], tuple(failed))

    def status(self) -> InboxStatus:
        """Return what was taken, and what could not be."""
        is_there = self._folder.is_dir()
        present = {entry.path for entry in self._list()} if is_there else set[str]()
        tried = {path: one for path, one in self._read().items() if path in present}
        failed = tuple(
            InboxFailure(str(self._folder / path), reason, code)
            for path, (_, _, code, reason) in sorted(tried.items())
            if code
        )
        state = "online" if is_there else "offline"
        return InboxStatus(str(self._folder), state, len(tried) - len(failed), failed)

    def _list(self) -> Iterator[FileEntry]:
        """Yield the files that are named as pictures. Hidden ones and links are left out."""
        for place, folders, names in os.walk(self._folder):
            is_top = place == str(self._folder)
            hidden = {one for one in folders if one.startswith(".")}
            folders[:] = sorted({*folders} - hidden - ({DONE} if is_top else set()))
            for name in sorted(names):
                if name.startswith(".") or Path(name).suffix.lower() not in SUFFIXES:
                    continue
                path = os.path.join(place, name)
                with suppress(OSError):
                    info = os.lstat(path)
                    if stat.S_ISREG(info.st_mode):
                        yield FileEntry(os.path.relpath(path, self._folder), *file_state(info))

    def _keep(self, path: Path, entry: FileEntry, keep: Keep) -> bool:
        if entry.size > self._max_bytes:
            raise InputError(f"it has more than {self._max_bytes} bytes (setting max_bytes)")
        data = path.read_bytes()
        download = read_download(str(path))
        sources = (download.referrer, download.url) if download else ()
        source = next((one for one in sources if one and is_address(one)), None)
        return keep(data, path.name, source)

    def _move(self, path: Path, relative: str) -> None:
        """Move a file to the subfolder, under a free name. Raises OSError."""
        target = self._folder / DONE / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        number, free = 1, target
        while os.path.lexists(free):
            number += 1
            free = target.with_name(f"{target.stem} ({number}){target.suffix}")
        path.rename(free)

    def _read(self) -> dict[str, Entry]:
        """Return what was tried in this folder; nothing if the file is missing or damaged."""
        with suppress(OSError, ValueError, TypeError, AttributeError):
            stored = json.loads(self._state.read_text()).get(os.fspath(self._folder), {})
            return {path: (int(a), int(b), str(c), str(d)) for path, (a, b, c, d) in stored.items()}
        return {}

    def _write(self, tried: dict[str, Entry]) -> None:
        """Remember what was tried. Raises StorageError."""
        if tried == self._read():
            return
        document = json.dumps({os.fspath(self._folder): tried})  # ASCII: a name need not be UTF-8
        try:
            files.write(self._state, document.encode())
        except OSError as error:
            raise StorageError(
                f"cannot write {self._state}: {error.strerror}; free some space"
            ) from error
