"""Long work: one job of a kind at a time, a bounded queue of others, and what became of them."""

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
log = logging.getLogger("lookalike.jobs")


class Report(Protocol):
    """What a job did."""

    def to_json(self) -> dict[str, Any]:
        """As its command prints it."""
        ...


@dataclass(frozen=True)
class Moment:
    """How far work is that makes pictures. pictures: small ones on the way, as `data:` URLs;
    report: with the last one."""

    phase: str
    done: int
    total: int
    path: str | None = None
    pictures: tuple[str, ...] = ()
    report: Report | None = None


Run = Callable[[], Iterator[Progress | Moment]]


@dataclass
class Job:
    """Work and what is known of it. root: of which one job of a kind is taken at a time, if any;
    version: grows with every change, so that who watches sees that there is one; error and code:
    why it failed, for people and for programs; failure: the error, where it is the caller's to act
    on. Times in seconds since 1970."""

    id: str
    kind: str
    path: str
    root: str | None
    state: State = "queued"
    created: float = field(default_factory=time.time)
    finished: float | None = None
    progress: Progress | Moment | None = None
    report: Report | None = None
    error: str | None = None
    code: str | None = None
    failure: LookalikeError | None = None
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
            "pictures": list(now.pictures) if isinstance(now, Moment) else [],
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
        """waiting: jobs in a queue; remembered: jobs of a kind that are over."""
        self._waiting, self._remembered = waiting, remembered
        self._jobs: dict[str, Job] = {}
        self._queues: defaultdict[str, deque[tuple[Job, Run]]] = defaultdict(deque)
        self._threads: dict[str, threading.Thread] = {}
        self._change = threading.Condition()
        self._closed = False

    def start(
        self, kind: str, path: str, root: str | None, run: Run, waiting: int | None = None
    ) -> Job:
        """Queue a job. waiting: how many of its kind may wait, where others than usual.

        Raises Problem 429 when its root has one, or the queue is full.
        """
        with self._change:
            if self._closed:
                raise Problem(503, "the server is stopping", retry=5, code="stopping")
            self._refuse(kind, root, self._waiting if waiting is None else waiting)
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

    def _refuse(self, kind: str, root: str | None, most: int) -> None:
        """Raises Problem 429 for a job that cannot be queued."""
        for other in self._jobs.values():
            if root is not None and (other.kind, other.root) == (kind, root) and not other.over:
                said = f"job {other.id} is at this folder; wait for it, or cancel it"
                raise Problem(429, said, retry=5, more={"job": other.id}, code="job_running")
        if len(self._queues[kind]) >= most:
            said = f"{most} jobs are waiting; try again when one is done"
            raise Problem(429, said, retry=10, code="too_many_jobs")

    def all(self) -> list[Job]:
        """Every job that is remembered, the last one first."""
        with self._change:
            return list(self._jobs.values())[::-1]

    def get(self, identity: str) -> Job:
        """Raises Problem 404."""
        with self._change:
            if job := self._jobs.get(identity):
                return job
        said = "there is no such job; the last ones are remembered until a restart"
        raise Problem(404, said, code="job_not_found")

    def cancel(self, identity: str) -> Job:
        """Stop a job: at once while it waits, else after the batch it is at. What a run has
        committed by then stays."""
        job = self.get(identity)
        with self._change:
            job.stop.set()
            if job.state == "queued":
                waiting = self._queues[job.kind]
                self._queues[job.kind] = deque(item for item in waiting if item[0] is not job)
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
        end = time.monotonic() + seconds
        for thread in self._threads.values():
            thread.join(max(0.0, end - time.monotonic()))

    def _forget(self, kind: str) -> None:
        over = [job.id for job in self._jobs.values() if job.kind == kind and job.over]
        for identity in over[: max(0, len(over) - self._remembered)]:
            del self._jobs[identity]

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
                self._follow(job, run)
            except LookalikeError as error:
                said = shown(str(error))
                # whose frames hold what was sent
                error.__traceback__ = error.__cause__ = error.__context__ = None
                why = {"error": said, "code": error.code, "failure": error}
                job.change(**why, finished=time.time(), state="failed")
            except Exception:
                log.exception("job %s failed", job.id)
                said = "something went wrong here; the server's log has more"
                job.change(error=said, code="internal", finished=time.time(), state="failed")
            del run

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
            if isinstance(job.progress, Moment):  # nobody needs pictures on the way any longer
                job.change(progress=replace(job.progress, pictures=()))
        state = "cancelled" if job.report is None else "done"
        job.change(finished=time.time(), state=state)
