"""Syncs indexed folders every so many hours, as their schedules say."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from functools import partial

from search.api.jobs import Jobs
from search.api.problems import Problem
from search.engine import Engine
from search.errors import LookalikeError

LOOK_SECONDS = 30.0  # between two looks at the schedules
log = logging.getLogger(__name__)


class SyncSchedule:
    """Knows when each folder is due. A folder is due at the start of the server, and when its
    hours have passed since it was last synced by this."""

    def __init__(
        self, engine: Engine, jobs: Jobs, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """clock: in seconds."""
        self._engine, self._jobs, self._clock = engine, jobs, clock
        self._synced: dict[str, float] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="schedule", daemon=True)

    def start(self) -> None:
        """Start to look at the schedules, in a thread. A library that is read only has none."""
        if not self._engine.library.database.read_only:
            self._thread.start()

    def stop(self) -> None:
        """End the thread, at once or after the current step."""
        self._stop.set()

    def start_due(self) -> list[str]:
        """Start a job for each folder that is due; return their paths. One that another job is at
        is tried again at the next look. Raises LookalikeError."""
        started = []
        for root in self._engine.status().roots:
            hours, last = root.sync_hours, self._synced.get(root.path)
            now = self._clock()
            if not hours or (last is not None and now - last < hours * 3600):
                continue
            try:
                run = partial(self._engine.index, root.path, still=True)
                self._jobs.start("index", root.path, root.path, run)
            except Problem as problem:
                log.debug("%s is not synced yet: %s", root.path, problem.detail)
                continue
            self._synced[root.path] = now
            started.append(root.path)
        return started

    def _run(self) -> None:
        while True:
            try:
                self.start_due()
            except LookalikeError as error:
                if not self._stop.is_set():
                    log.warning("the schedules were not looked at: %s", error)
            if self._stop.wait(LOOK_SECONDS):
                return
