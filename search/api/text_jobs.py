"""Reads the text in pictures in the background of a server, as a job that can be cancelled."""

from __future__ import annotations

import logging
import threading
from collections.abc import Generator, Iterator
from contextlib import closing

from search.api.jobs import Job, Jobs, PictureProgress
from search.api.problems import Problem
from search.engine import Engine
from search.errors import LookalikeError
from search.records.texts import TextProgress

KIND = "text"
LOOK_SECONDS = 20.0  # between two looks at what is still to be read
log = logging.getLogger(__name__)


class TextJobs:
    """Starts a job whenever pictures are still to be read and nothing is indexed.

    One at a time runs, on all servers of the library. If somebody cancels it, none is started until
    somebody does.
    """

    def __init__(self, engine: Engine, jobs: Jobs) -> None:
        self._engine, self._jobs = engine, jobs
        self._stop, self._last = threading.Event(), Job("", KIND, "", None)
        self._thread = threading.Thread(target=self._run, name="text", daemon=True)

    def start(self, owner: str | None = None) -> Job:
        """Start a job. owner: see `Job`. Raises Problem, and LookalikeError if text cannot be
        read here."""
        steps = self._engine.texts.read()  # refuses at once
        self._last = self._jobs.start(KIND, "", KIND, lambda: self._read(steps), owner=owner)
        return self._last

    def watch(self) -> None:
        """Start to look for pictures to read, unless text cannot be read here."""
        status = self._engine.texts.status()
        if self._engine.library.database.read_only or not (status.enabled and status.installed):
            return
        self._thread.start()

    def close(self) -> None:
        """End the thread. The jobs are cancelled by `Jobs`."""
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.wait(LOOK_SECONDS):
            try:
                if self.is_due():
                    self.start()
            except Problem as problem:
                if problem.code == "stopping":
                    return
            except LookalikeError as error:
                log.warning("the text in pictures is not read now: %s", error)

    def is_due(self) -> bool:
        """Whether to start a job now."""
        if self._last.state == "cancelled" or (self._last.id and not self._last.over):
            return False
        is_indexing = any(job.kind == "index" and not job.over for job in self._jobs.all())
        return not is_indexing and self._engine.texts.status().pending > self._left_over()

    def _left_over(self) -> int:
        """Return how many pictures the last run could not open, such as those of a missing disk."""
        report = self._last.report.to_json() if self._last.report else {}
        return int(report.get("pending", 0))

    @staticmethod
    def _read(steps: Generator[TextProgress, None, None]) -> Iterator[PictureProgress]:
        with closing(steps):  # which commits what was read
            for one in steps:
                yield PictureProgress(KIND, one.done, one.total, one.path, report=one.report)
