"""Long work: one job at a time, a bounded queue of others, and what became of the last ones."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from search.api.problems import Problem
from search.errors import LookalikeError
from search.records import IndexReport, Progress, shown

State = Literal["queued", "running", "done", "failed", "cancelled"]
Run = Callable[[], Iterator[Progress]]
log = logging.getLogger("lookalike.jobs")


@dataclass
class Job:
    """Work and what is known of it. root: of which one job is taken at a time; version: grows
    with every change, so that who watches sees that there is one. Times in seconds since 1970."""

    id: str
    kind: str
    path: str
    root: str
    state: State = "queued"
    created: float = field(default_factory=time.time)
    finished: float | None = None
    progress: Progress | None = None
    report: IndexReport | None = None
    error: str | None = None
    version: int = 1
    stop: threading.Event = field(default_factory=threading.Event)

    @property
    def over(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state in ("done", "failed", "cancelled")

    def change(self, **values: Any) -> None:
        """Set fields; the version comes last, so that who sees it sees them."""
        for name, value in values.items():
            setattr(self, name, value)
        self.version += 1

    def to_json(self) -> dict[str, Any]:
        """As `/jobs/{id}` answers."""
        now = self.progress
        progress = now and {
            "phase": now.phase,
            "done": now.done,
            "total": now.total,
            "path": now.path and shown(now.path),
        }
        return {
            "id": self.id,
            "kind": self.kind,
            "path": shown(self.path),
            "state": self.state,
            "created": round(self.created, 3),
            "finished": self.finished and round(self.finished, 3),
            "progress": progress,
            "report": self.report and self.report.to_json(),
            "error": self.error,
        }


class Jobs:
    """Runs jobs in a thread of its own. Threads may share it."""

    def __init__(self, waiting: int = 16, remembered: int = 100) -> None:
        """waiting: jobs in the queue; remembered: jobs that are over."""
        self._waiting, self._remembered = waiting, remembered
        self._jobs: dict[str, Job] = {}
        self._queue: deque[tuple[Job, Run]] = deque()
        self._change = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False

    def start(self, kind: str, path: str, root: str, run: Run) -> Job:
        """Queue a job. Raises Problem 429 when its root has one, or the queue is full."""
        with self._change:
            if self._closed:
                raise Problem(503, "the server is stopping", retry=5)
            for other in self._jobs.values():
                if other.root == root and not other.over:
                    said = f"job {other.id} is at this folder; wait for it, or cancel it"
                    raise Problem(429, said, retry=5, more={"job": other.id})
            if len(self._queue) >= self._waiting:
                said = f"{self._waiting} jobs are waiting; try again when one is done"
                raise Problem(429, said, retry=30)
            job = Job(secrets.token_hex(8), kind, path, root)
            self._jobs[job.id] = job
            self._queue.append((job, run))
            self._forget()
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="jobs", daemon=True)
                self._thread.start()
            self._change.notify_all()
        return job

    def all(self) -> list[Job]:
        """Every job that is remembered, the last one first."""
        with self._change:
            return list(self._jobs.values())[::-1]

    def get(self, identity: str) -> Job:
        """Raises Problem 404."""
        with self._change:
            if job := self._jobs.get(identity):
                return job
        raise Problem(404, "there is no such job; the last ones are remembered until a restart")

    def cancel(self, identity: str) -> Job:
        """Stop a job: at once while it waits, else after the batch it is at. What a run has
        committed by then stays."""
        job = self.get(identity)
        with self._change:
            job.stop.set()
            if job.state == "queued":
                self._queue = deque(item for item in self._queue if item[0] is not job)
                job.change(state="cancelled", finished=time.time())
        return job

    def count(self) -> Counter[str]:
        """How many jobs wait and run."""
        return Counter(job.state for job in self.all() if not job.over)

    def close(self, seconds: float = 10.0) -> None:
        """Cancel what waits and runs; wait so long for the batch under way."""
        with self._change:
            self._closed = True
            self._change.notify_all()
        for job in self.all():
            if not job.over:
                self.cancel(job.id)
        if self._thread is not None:
            self._thread.join(seconds)

    def _forget(self) -> None:
        over = [job.id for job in self._jobs.values() if job.over]
        for identity in over[: max(0, len(over) - self._remembered)]:
            del self._jobs[identity]

    def _work(self) -> None:
        while True:
            with self._change:
                while not self._queue and not self._closed:
                    self._change.wait()
                if not self._queue:
                    return
                job, run = self._queue.popleft()
                job.change(state="running")
            try:
                self._follow(job, run)
            except LookalikeError as error:
                job.change(state="failed", error=shown(str(error)), finished=time.time())
            except Exception:
                log.exception("job %s failed", job.id)
                said = "something went wrong here; the server's log has more"
                job.change(state="failed", error=said, finished=time.time())

    @staticmethod
    def _follow(job: Job, run: Run) -> None:
        """Run a job to its end, or to the first moment after it was cancelled."""
        steps = run()
        try:
            while not job.stop.is_set():
                progress = next(steps, None)
                if progress is None:
                    break
                job.change(progress=progress, report=progress.report)
        finally:
            if close := getattr(steps, "close", None):  # gives the write lock back
                close()
        job.change(state="done" if job.report else "cancelled", finished=time.time())
