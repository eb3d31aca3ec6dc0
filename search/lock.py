"""The write lock of a library: one process writes at a time.

The operating system, or the database, releases it when its holder ends. A file beside it names the
holder.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from filelock import FileLock, Timeout

from search.errors import LockedError, StorageError

T = TypeVar("T")
Verify = Callable[[], None]
"""Raises UnavailableError if the write lock was lost, as one in a database may be."""
Hold = Callable[[float, Callable[[str], None]], AbstractContextManager[Verify]]
"""Holds the write lock of a library: on a file (`hold_lock`) or in a database.

Takes the seconds to wait for another writer, and a function that is called once with a line that
names it. Raises LockedError, which names the holder, when it does not finish in time.
"""
RETRY_SECONDS = 0.5  # between two tries of `WriteLock.borrow` to take the lock itself


@contextmanager
def hold_lock(home: Path, seconds: float, report: Callable[[str], None]) -> Iterator[Verify]:
    """Hold the write lock of the library in `home`. See `Hold`.

    seconds: time to wait for another writer. report: called once with a line that names it.
    Raises LockedError, which names the holder, when it does not finish in time, and StorageError
    when the lock file cannot be made.
    """
    lock = FileLock(home / "write.lock", thread_local=False)  # runs may change threads
    note = home / "writer.json"
    try:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            report(f"waiting for {_describe_holder(note)}, which is writing to this library")
            lock.acquire(timeout=seconds)
    except Timeout:
        raise LockedError(
            f"{_describe_holder(note)} is writing to the library in {home}; wait until it is done, "
            "or stop it (nothing will be lost), then run this again"
        ) from None
    except OSError as error:
        raise StorageError(
            f"cannot write to {home} ({error.strerror}); check its permissions, or give another "
            "--home"
        ) from error
    try:
        command = describe_command()[:200]
        held = {"pid": os.getpid(), "command": command, "since": time.strftime("%H:%M:%S")}
        try:
            note.write_text(json.dumps(held))
        except OSError:  # a full disk: what needs the space will say so
            pass
        yield _ignore  # a lock on a file stays until it is released
    finally:
        with suppress(OSError):  # on a disk that refuses, the run itself has said so
            note.unlink()
        lock.release()


def describe_command() -> str:
    """Return the command line of this process, for messages."""
    return " ".join([os.path.basename(sys.argv[0] or "python"), *sys.argv[1:]])


def _describe_holder(note: Path) -> str:
    try:
        held = json.loads(note.read_text())
        return f"process {held['pid']} ({held['command']}, since {held['since']})"
    except (OSError, ValueError, KeyError):
        return "another process"


class WriteLock:
    """The write lock, shared by the threads of one engine.

    A long run lends it between its steps, so that short work need not wait for the end of the run.
    """

    def __init__(self, hold: Hold, seconds: float, report: Callable[[str], None]) -> None:
        """hold: takes the lock itself, with `seconds` and `report`."""
        self._hold, self._seconds, self._report = hold, seconds, report
        self._verify: Verify = _ignore
        self._step, self._held = threading.Lock(), False
        self._count, self._borrowers = threading.Lock(), 0

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Hold the lock for a long run. `lend_between` lends it."""
        with self._hold(self._seconds, self._report) as self._verify:
            self._held = True
            try:
                yield
            finally:
                with self._step:  # a borrower finishes first
                    self._held = False

    def lend_between(self, run: Generator[T, None, None]) -> Generator[T, None, None]:
        """Yield the items of a run within `hold`, and lend the lock between two of them."""
        try:
            while True:
                with self._step:
                    self._verify()
                    try:
                        item = next(run)
                    except StopIteration:
                        return
                yield item
                if self._borrowers:  # locks are not fair: let a borrower in
                    time.sleep(0.02)
        finally:
            run.close()

    @contextmanager
    def borrow(self) -> Iterator[None]:
        """Hold the lock for short work: between two steps of a run of this engine, or, without
        one, as `Hold` does."""
        deadline, report = time.monotonic() + self._seconds, self._report
        with ExitStack() as stack:
            while True:
                stack.enter_context(self._between())
                if self._held:
                    break
                left = max(0.0, deadline - time.monotonic())
                try:
                    stack.enter_context(self._hold(min(left, RETRY_SECONDS), report))
                    break
                except LockedError:
                    if left <= RETRY_SECONDS:
                        raise
                stack.close()  # a run that holds the lock must go on to lend it
                report = _ignore
                time.sleep(0.02)
            yield

    @contextmanager
    def _between(self) -> Iterator[None]:
        """Hold a place between two steps of a run."""
        with self._count:
            self._borrowers += 1
        try:
            self._step.acquire()
        finally:
            with self._count:
                self._borrowers -= 1
        try:
            yield
        finally:
            self._step.release()


def _ignore(*_: str) -> None:
    """Drop a line that was reported before; find nothing wrong."""
