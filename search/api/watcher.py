"""Keeps the library of a server up to date: syncs the indexed folders as they change."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path

from search.api.jobs import Jobs
from search.api.problems import Problem
from search.engine import Engine
from search.errors import InputError, LookalikeError

RETRY_SECONDS = 2.0  # until a folder is tried again that another job is at
INBOX_RETRY_SECONDS = 10.0  # until the inbox is tried again after a failure of the library
log = logging.getLogger(__name__)


class Watcher:
    """Watches folders in a thread of its own, and calls a function for each change."""

    def __init__(
        self,
        engine: Engine,
        name: str,
        list_folders: Callable[[], list[Path]],
        handle: Callable[[Path, threading.Event], None],
    ) -> None:
        """name: of what is watched, for messages. list_folders: returns the folders that are there
        now. handle: takes a folder that has changed, and an event that tells it to stop."""
        self._engine, self._name = engine, name
        self._list_folders, self._handle = list_folders, handle
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def start(self) -> None:
        """Start to watch. A library that cannot be written is not watched."""
        if self._engine.library.database.read_only:
            log.warning(
                "the library cannot be written, so the server does not watch %s", self._name
            )
        else:
            self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether it watches now: it has neither failed nor been stopped."""
        return self._thread.is_alive() and not self._stop.is_set()

    def stop(self) -> None:
        """End the thread, at once or after the current step."""
        self._stop.set()

    def _run(self) -> None:
        try:
            for folder in self._engine.watch(self._list_folders, stop=self._stop):
                self._handle(folder, self._stop)
        except LookalikeError as error:
            if not self._stop.is_set():
                log.warning("the server does not watch %s any more: %s", self._name, error)


def watch_folders(engine: Engine, jobs: Jobs) -> Watcher:
    """Return what starts a job for each change of the indexed folders.

    Left out are folders that have a schedule, and those whose last job was cancelled, until
    somebody starts another one or the server starts again.
    """

    def list_folders() -> list[Path]:
        catalog = engine.library.catalog
        schedules = catalog.schedules()
        paths = [root.path for root in catalog.roots() if root.path not in schedules]
        return [Path(path) for path in paths if os.path.isdir(path)]

    def sync(folder: Path, stop: threading.Event) -> None:
        """Start a job, as soon as no other one is at the folder."""
        place = str(folder)
        while not stop.is_set() and not jobs.is_cancelled("index", place):
            try:
                jobs.start("index", place, place, lambda: engine.index(folder, still=True))
            except Problem as problem:
                if problem.code not in ("job_running", "too_many_jobs"):
                    return
                stop.wait(RETRY_SECONDS)
            else:
                return

    return Watcher(engine, "the indexed folders", list_folders, sync)


def watch_inbox(engine: Engine, inbox: Path) -> Watcher:
    """Return what takes new pictures of the inbox into the library. inbox: may come and go."""

    def take(_: Path, stop: threading.Event) -> None:
        """Take what is new, and try again later what the library refuses now."""
        while not stop.is_set():
            try:
                report = engine.take_inbox()
            except InputError as error:  # the folder is gone, or is indexed by now
                log.warning("nothing is taken from the inbox: %s", error)
                return
            except LookalikeError as error:
                if stop.is_set():
                    return
                log.warning("nothing is taken from the inbox: %s", error)
                stop.wait(INBOX_RETRY_SECONDS)
            else:
                for one in report.failed:
                    log.warning("inbox: %s was not kept: %s", one.path, one.reason)
                return

    return Watcher(engine, "the inbox", lambda: [inbox] if inbox.is_dir() else [], take)
