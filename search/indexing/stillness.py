"""Files that are being written: a sync of a watched folder waits for them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence

from search.types import FileEntry, file_state

STILL_SECONDS = 2.0
"""A file that did not change for so long is whole."""


def wait_until_still(
    folder: str,
    entries: Sequence[FileEntry],
    now: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> list[FileEntry]:
    """Return the files that are not being written, after waiting for new ones.

    folder: absolute path that the entries are relative to. now: in seconds since 1970. Files that
    changed in the last seconds are looked at again a little later, all at once; those that have
    changed meanwhile, or are gone, are left out: their folder is synced again.
    """
    start = now()
    young = {entry.path for entry in entries if 0 <= start - _last_change(entry) < STILL_SECONDS}
    if not young:
        return list(entries)
    sleep(STILL_SECONDS)
    still = list[FileEntry]()
    for entry in entries:
        if entry.path in young:
            try:
                info = os.lstat(os.path.join(folder, entry.path))
            except OSError:
                continue
            if FileEntry(entry.path, *file_state(info)) != entry:
                continue
        still.append(entry)
    return still


def _last_change(entry: FileEntry) -> float:
    """Return when a file changed last, in seconds since 1970."""
    return max(entry.mtime_ns, entry.ctime_ns) / 1e9
