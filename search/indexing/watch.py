"""Wait for changes in folders: by messages of the system, or by looking again and again."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from search.errors import InputError

POLL_SECONDS = 60.0
"""Between two looks at folders that cannot be watched."""
RECHECK_SECONDS = 3600.0
"""Between two looks at folders that are watched: the system may lose messages."""
LIMITS = {
    "file watch limit": "fs.inotify.max_user_watches",
    "Too many open files": "fs.inotify.max_user_instances",
}
"""What an error of the system says -> the setting of Linux that allows more."""
NOT_UTF_8 = "Unable to decode path"
"""What the error says of a name that watchfiles cannot tell."""
MOST_RESTARTS = 5
"""Errors of such names in a row; a file has one as it changes, and a folder one each time."""


def watch(
    folders: Sequence[Path] | Callable[[], Sequence[Path]],
    but: Path,
    report: Callable[[str], None] = lambda _: None,
    stop: threading.Event | None = None,
    poll_seconds: float = POLL_SECONDS,
) -> Iterator[Path]:
    """Wait for changes; yield each folder in which something changed.

    folders: or a function that lists them, which is called each second. but: changes below this
    folder are ignored. report: takes a line if the system cannot watch all folders; each of them is
    yielded every `poll_seconds` then. stop: set it to end. Every folder is yielded once at the
    beginning, for changes before. Raises InputError for a folder that cannot be watched at all.
    """
    stop = stop or threading.Event()
    list_folders = folders if callable(folders) else lambda: folders
    while not stop.is_set():
        current = list(list_folders())
        if not current:
            stop.wait(1.0)
            continue
        try:
            yield from _listen(current, list_folders, but, stop)
        except (OSError, UnicodeError, RuntimeError) as error:
            setting = next((name for text, name in LIMITS.items() if text in str(error)), None)
            if setting is not None:
                report(
                    "the system does not allow to watch so many folders, so they are looked at "
                    f"every {poll_seconds:g} s; raise its setting {setting} "
                    f"(`sudo sysctl {setting}=1048576`), then start again"
                )
            elif isinstance(error, UnicodeError) or NOT_UTF_8 in str(error):
                report(
                    "a folder whose name is not UTF-8 cannot be watched, so all are looked at "
                    f"every {poll_seconds:g} s; rename it, then start again ({error})"
                )
            else:
                raise InputError(
                    f"these folders cannot be watched: {error}; leave --watch out"
                ) from error
            yield from list_folders()
            while not stop.wait(poll_seconds):
                yield from list_folders()


def _listen(
    folders: Sequence[Path],
    list_folders: Callable[[], Sequence[Path]],
    but: Path,
    stop: threading.Event,
) -> Iterator[Path]:
    """Yield folders with changes, until there are other folders, or `stop` is set.

    Raises OSError, UnicodeError and RuntimeError if the system cannot watch them.
    """
    from watchfiles import watch as changes

    own = os.path.join(but, "")

    def is_relevant(_: object, path: str) -> bool:
        return not path.startswith(own)

    def start(ignores_denied: bool) -> Iterator[set[tuple[Any, str]]]:
        return changes(
            *folders,
            watch_filter=is_relevant,
            debounce=2000,
            step=200,
            rust_timeout=1000,
            yield_on_timeout=True,
            ignore_permission_denied=ignores_denied,
            stop_event=stop,
        )

    # Where watchfiles ignores folders that may not be read, it also hides that watches run out.
    ignores_denied = False
    batches, is_listening, has_begun = start(ignores_denied), False, False
    checked, failures = time.monotonic(), 0
    while not stop.is_set():
        try:
            batch = next(batches, None)
        except (PermissionError, RuntimeError) as error:
            if isinstance(error, PermissionError) and not ignores_denied:
                ignores_denied = True
            elif NOT_UTF_8 in str(error) and failures < MOST_RESTARTS:
                failures += 1
                stop.wait(0.2)
            elif NOT_UTF_8 in str(error) or not has_begun:
                raise
            batches, is_listening = start(ignores_denied), False
            continue
        if batch is None or list(list_folders()) != list(folders):
            return
        paths = [Path(path) for _, path in batch]
        is_due = time.monotonic() - checked > RECHECK_SECONDS
        for folder in folders:
            if not is_listening or is_due or any(path.is_relative_to(folder) for path in paths):
                yield folder
        if is_due or not is_listening:
            checked = time.monotonic()
        is_listening, has_begun, failures = True, True, 0
