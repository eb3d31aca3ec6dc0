"""Keeps the library of a server up to date: syncs the indexed folders as they change."""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path

from search.api.jobs import Jobs
from search.api.problems import Problem
from search.engine import Engine
from search.errors import InputError, LookalikeError

RETRY_SECONDS = 2.0  # until a folder is tried again that another job is at
INBOX_RETRY_SECONDS = 10.0  # until the inbox is tried again after a failure of the library
log = logging.getLogger(__name__)


class FolderWatcher:
    """Watches the indexed folders in a thread of its own, and starts a job for each change."""

    def __init__(self, engine: Engine, jobs: Jobs) -> None:
        self._engine, self._jobs, self._stop = engine, jobs, threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def start(self) -> None:
        """Start to watch. A library that cannot be written is not watched."""
        if self._engine.library.database.read_only:
            log.warning("the library cannot be written, so its folders are not watched")
        else:
            self._thread.start()

    def stop(self) -> None:
        """End the thread, at once or after the current step."""
        self._stop.set()

    def _list_folders(self) -> list[Path]:
        """Return the folders that are synced as they change: those without a schedule."""
        catalog = self._engine.library.catalog
        schedules = catalog.schedules()
        paths = [root.path for root in catalog.roots() if root.path not in schedules]
        return [Path(path) for path in paths if os.path.isdir(path)]

    def _run(self) -> None:
        try:
            for folder in self._engine.watch(self._list_folders, stop=self._stop):
                self._sync(folder)
        except LookalikeError as error:
            if not self._stop.is_set():
                log.warning("the folders are not watched any more: %s", error)

    def _sync(self, folder: Path) -> None:
        """Start a job, as soon as no other one is at the folder."""
        while not self._stop.is_set():
            try:
                self._jobs.start(
                    "index",
                    str(folder),
                    str(folder),
                    lambda: self._engine.index(folder, still=True),
                )
            except Problem as problem:
                if problem.code not in ("job_running", "too_many_jobs"):
                    return
                self._stop.wait(RETRY_SECONDS)
            else:
                return


class InboxWatcher:
    """Takes new pictures of the inbox into the library, in a thread of its own."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        """folder: the inbox; it may come and go."""
        self._engine, self._folder, self._stop = engine, folder, threading.Event()
        self._thread = threading.Thread(target=self._run, name="inbox", daemon=True)

    def start(self) -> None:
        """Start to watch. A library that cannot be written takes nothing."""
        if self._engine.library.database.read_only:
            log.warning("the library cannot be written, so nothing is taken from the inbox")
        else:
            self._thread.start()

    def stop(self) -> None:
        """End the thread, at once or after the current picture."""
        self._stop.set()

    def _list_folders(self) -> list[Path]:
        return [self._folder] if self._folder.is_dir() else []

    def _run(self) -> None:
        try:
            for _ in self._engine.watch(self._list_folders, stop=self._stop):
                self._take()
        except LookalikeError as error:
            if not self._stop.is_set():
                log.warning("the inbox is not watched any more: %s", error)

    def _take(self) -> None:
        """Take what is new, and try again later what the library refuses now."""
        while not self._stop.is_set():
            try:
                report = self._engine.take_inbox()
            except InputError as error:  # the folder is gone, or is indexed by now
                log.warning("nothing is taken from the inbox: %s", error)
                return
            except LookalikeError as error:
                if self._stop.is_set():
                    return
                log.warning("nothing is taken from the inbox: %s", error)
                self._stop.wait(INBOX_RETRY_SECONDS)
            else:
                for one in report.failed:
                    log.warning("inbox: %s was not kept: %s", one.path, one.reason)
                return
