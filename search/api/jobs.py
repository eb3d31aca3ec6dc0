"""Long work: one job of each kind at a time, a bounded queue, and a memory of finished jobs."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

from search.api.problems import Problem
from search.errors import LookalikeError
from search.records import Progress, shown

State = Literal["queued", "running", "done", "failed", "cancelled"]
log = logging.getLogger(__name__)


class Report(Protocol):
    """What a job did."""

    def to_json(self) -> dict[str, Any]:
        """Return what its command prints with `--json`."""
        ...


@dataclass(frozen=True)
class PictureProgress:
    """Progress of a job that makes pictures.

    pictures: previews as `data:` URLs. report: set in the last one.
    """

    phase: str
    done: int
    total: int
    path: str | None = None
    pictures: tuple[str, ...] = ()
    report: Report | None = None


Run = Callable[[], Iterator[Progress | PictureProgress]]


@dataclass
class Job:
    """A piece of work and its state.

    root: one job of a kind at a time is accepted for it; None for no such limit. created, finished:
    seconds since 1970. error, code: why it failed, for people and for programs. failure: the error,
    if the caller can act on it. version: grows with every change, so that a follower sees that
    there is one. stop: set to cancel it.
    """

    id: str
    kind: str
    path: str
    root: str | None
    state: State = "queued"
    created: float = field(default_factory=time.time)
    finished: float | None = None
    progress: Progress | PictureProgress | None = None
    report: Report | None = None
    error: str | None = None
    code: str | None = None
    failure: LookalikeError | None = None
    version: int = 1
    stop: threading.Event = field(default_factory=threading.Event)

    @property
    def over(self) -> bool:
        """Whether it is done, failed or cancelled."""
        return self.state in ("done", "failed", "cancelled")

    def change(self, **values: Any) -> None:
        """Set fields, then the version: a follower that sees the new version sees the fields."""
        for name, value in values.items():
            setattr(self, name, value)
        self.version += 1

    def to_json(self) -> dict[str, Any]:
        """Return the answer of `/jobs/{id}`."""
        last = self.progress
        progress = last and {
            "phase": last.phase,
            "done": last.done,
            "total": last.total,
            "path": last.path and shown(last.path),
            "pictures": list(last.pictures) if isinstance(last, PictureProgress) else [],
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
            "code": self.code,
        }


class Jobs:
    """Runs jobs, each kind in a thread of its own. Threads may share it."""

    def __init__(self, waiting: int = 16, remembered: int = 100) -> None:
        """waiting: most jobs in a queue. remembered: finished jobs of a kind that are kept."""
        self._waiting, self._remembered = waiting, remembered
        self._jobs: dict[str, Job] = {}
        self._queues: defaultdict[str, deque[tuple[Job, Run]]] = defaultdict(deque)
        self._threads: dict[str, threading.Thread] = {}
        self._change = threading.Condition()
        self._closed = False

    def start(
        self, kind: str, path: str, root: str | None, run: Run, waiting: int | None = None
    ) -> Job:
        """Queue a job.

        waiting: how many of its kind may wait; None for the usual number. Raises Problem 429 if
        its root has a job of the kind or the queue is full, and 503 while the server stops.
        """
        with self._change:
            if self._closed:
                raise Problem(503, "the server is stopping", retry=5, code="stopping")
            self._require_room(kind, root, self._waiting if waiting is None else waiting)
            job = Job(secrets.token_hex(8), kind, path, root)
            self._jobs[job.id] = job
            self._queues[kind].append((job, run))
            self._forget(kind)
            if kind not in self._threads:
                thread = threading.Thread(
                    target=self._work, args=(kind,), name=f"jobs of {kind}", daemon=True
                )
                self._threads[kind] = thread
                thread.start()
            self._change.notify_all()
        return job

    def _require_room(self, kind: str, root: str | None, waiting: int) -> None:
        """Raise Problem 429 for a job that cannot be queued."""
        for other in self._jobs.values():
            if root is not None and (other.kind, other.root) == (kind, root) and not other.over:
                reason = f"job {other.id} is at this folder; wait for it, or cancel it"
                raise Problem(429, reason, retry=5, more={"job": other.id}, code="job_running")
        if len(self._queues[kind]) >= waiting:
            reason = f"{waiting} jobs are waiting; try again when one is done"
            raise Problem(429, reason, retry=10, code="too_many_jobs")

    def all(self) -> list[Job]:
        """Return every job that is remembered, newest first."""
        with self._change:
            return list(self._jobs.values())[::-1]

    def get(self, job_id: str) -> Job:
        """Return a job. Raises Problem 404."""
        with self._change:
            if job := self._jobs.get(job_id):
                return job
        reason = "there is no such job; the last ones are remembered until a restart"
        raise Problem(404, reason, code="job_not_found")

    def cancel(self, job_id: str) -> Job:
        """Cancel a job: at once while it waits, else after its current batch.

        What it has committed stays. Raises Problem 404.
        """
        job = self.get(job_id)
        with self._change:
            job.stop.set()
            if job.state == "queued":
                waiting = self._queues[job.kind]
                self._queues[job.kind] = deque(item for item in waiting if item[0] is not job)
                job.change(state="cancelled", finished=time.time())
        return job

    def count(self) -> Counter[str]:
        """Count the jobs that wait and run, by state."""
        return Counter(job.state for job in self.all() if not job.over)

    def close(self, seconds: float = 10.0) -> None:
        """Cancel all jobs, and wait for their current batches, `seconds` at most."""
        with self._change:
            self._closed = True
            self._change.notify_all()
        for job in self.all():
            if not job.over:
                self.cancel(job.id)
        end = time.monotonic() + seconds
        for thread in self._threads.values():
            thread.join(max(0.0, end - time.monotonic()))

    def _forget(self, kind: str) -> None:
        over = [job.id for job in self._jobs.values() if job.kind == kind and job.over]
        for job_id in over[: max(0, len(over) - self._remembered)]:
            del self._jobs[job_id]

    def _work(self, kind: str) -> None:
        while True:
            with self._change:
                while not self._queues[kind] and not self._closed:
                    self._change.wait()
                if not self._queues[kind]:
                    return
                job, run = self._queues[kind].popleft()
                job.change(state="running")
            try:
                self._run(job, run)
            except LookalikeError as error:
                message = shown(str(error))
                # the frames of the traceback hold the pictures of the request
                error.__traceback__ = error.__cause__ = error.__context__ = None
                state = {"error": message, "code": error.code, "failure": error}
                job.change(**state, finished=time.time(), state="failed")
            except Exception:
                log.exception("job %s failed", job.id)
                message = "something went wrong here; the server's log has more"
                job.change(error=message, code="internal", finished=time.time(), state="failed")
            del run

    @staticmethod
    def _run(job: Job, run: Run) -> None:
        """Run a job to its end, or to its first progress after it was cancelled."""
        steps = run()
        try:
            while not job.stop.is_set():
                progress = next(steps, None)
                if progress is None:
                    break
                job.change(progress=progress, report=progress.report)
        finally:
            if close := getattr(steps, "close", None):  # releases the write lock
                close()
            if isinstance(job.progress, PictureProgress):  # previews are of no use any more
                job.change(progress=replace(job.progress, pictures=()))
        state = "cancelled" if job.report is None else "done"
        job.change(finished=time.time(), state=state)
