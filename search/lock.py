"""One writer at a time: a lock that its holder's end releases, and that tells who holds it."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

from filelock import FileLock, Timeout

from search.errors import LockedError, StorageError

T = TypeVar("T")
TRY = 0.5  # seconds that a run of the same engine waits at most for one that asks beside it


@contextmanager
def writing(home: Path, seconds: float, waiting: Callable[[str], None]) -> Iterator[None]:
    """Hold the library's write lock.

    seconds: how long to wait for another writer; waiting: called once with who that is.
    Raises LockedError, which names the holder, when it does not finish in time, and StorageError
    where no lock can be made.
    """
    lock = FileLock(home / "write.lock", thread_local=False)  # runs may change threads
    note = home / "writer.json"
    try:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            waiting(f"waiting for {_holder(note)}, which is writing to this library")
            lock.acquire(timeout=seconds)
    except Timeout:
        raise LockedError(
            f"{_holder(note)} is writing to the library in {home}; wait until it is done, "
            "or stop it (nothing will be lost), then run this again"
        ) from None
    except OSError as error:
        raise StorageError(
            f"cannot write to {home} ({error.strerror}); check its permissions, or give another "
            "--home"
        ) from error
    try:
        words = " ".join([os.path.basename(sys.argv[0] or "python"), *sys.argv[1:]])
        held = {"pid": os.getpid(), "command": words[:200], "since": time.strftime("%H:%M:%S")}
        try:
            note.write_text(json.dumps(held))
        except OSError:  # a full disk: what needs the space will say so
            pass
        yield
    finally:
        note.unlink(missing_ok=True)
        lock.release()


def _holder(note: Path) -> str:
    try:
        held = json.loads(note.read_text())
        return f"process {held['pid']} ({held['command']}, since {held['since']})"
    except (OSError, ValueError, KeyError):
        return "another process"


class WriteLock:
    """The write lock as one engine's threads share it: a long run lends it between its steps, so
    that what takes a moment need not wait for the end. Threads may share it."""

    def __init__(self, home: Path, seconds: float, waiting: Callable[[str], None]) -> None:
        """As for `writing`."""
        self._home, self._seconds, self._say = home, seconds, waiting
        self._step, self._held = threading.Lock(), False
        self._count, self._askers = threading.Lock(), 0

    @contextmanager
    def hold(self) -> Iterator[None]:
        """As `writing`, lent by `steps`."""
        with writing(self._home, self._seconds, self._say):
            self._held = True
            try:
                yield
            finally:
                with self._step:  # whoever borrowed it finishes first
                    self._held = False

    def steps(self, run: Generator[T, None, None]) -> Generator[T, None, None]:
        """A run's items. Within `hold`; between two of them it is lent."""
        try:
            while True:
                with self._step:
                    try:
                        item = next(run)
                    except StopIteration:
                        return
                yield item
                if self._askers:  # locks are not fair: let one of them in
                    time.sleep(0.02)
        finally:
            run.close()

    @contextmanager
    def borrow(self) -> Iterator[None]:
        """The lock for a moment: between two steps of a run of this engine, else as `writing`."""
        until, say = time.monotonic() + self._seconds, self._say
        with ExitStack() as stack:
            while True:
                stack.enter_context(self._between())
                if self._held:
                    break
                left = max(0.0, until - time.monotonic())
                try:
                    stack.enter_context(writing(self._home, min(left, TRY), say))
                    break
                except LockedError:
                    if left <= TRY:
                        raise
                stack.close()  # a run of this engine may have it by now: it goes on, and lends it
                say = _silent
                time.sleep(0.02)
            yield

    @contextmanager
    def _between(self) -> Iterator[None]:
        """No step is being done within."""
        with self._count:
            self._askers += 1
        try:
            self._step.acquire()
        finally:
            with self._count:
                self._askers -= 1
        try:
            yield
        finally:
            self._step.release()


def _silent(_: str) -> None:
    """It was said already."""
