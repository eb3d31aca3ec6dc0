"""Long work: one job of each kind at a time, a bounded queue, and a memory of finished jobs.

Jobs are written to the catalog as well, so that other servers of the library show and cancel them.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

from search.api.problems import Problem
from search.errors import LookalikeError
from search.files import shown
from search.records.indexing import Progress
from search.records.jobs import JobRecord

SYNC_SECONDS = 0.5  # between two looks at the catalog while a job of this server is not over
RENEW_SECONDS = 5.0  # after which a lease is renewed, also if nothing changed
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


class Board(Protocol):
    """The jobs of all servers of a library, see `search.catalog.jobs`."""

    def add(self, server: str, record: JobRecord, root: str | None, remembered: int) -> str | None:
        """Add a job, or return the id of one of its kind of another server at its root."""
        ...

    def update(self, server: str, records: Sequence[JobRecord]) -> None:
        """Write jobs of a server, and renew its leases."""
        ...

    def list_cancelled(self, server: str) -> set[str]:
        """Return the ids of jobs of a server that another one wants to end."""
        ...

    def request_cancel(self, job_id: str) -> None:
        """Ask the server of a job to cancel it."""
        ...

    def get(self, job_id: str) -> JobRecord | None:
        """Return a job, or None."""
        ...

    def all(self) -> list[JobRecord]:
        """Return all jobs, newest first."""
        ...


Run = Callable[[], Iterator[Progress | PictureProgress]]


@dataclass
class Job:
    """A piece of work and its state.

    root: one job of a kind at a time is accepted for it; None for no such limit. owner: digest of
    the token of the user who started it. created, finished:
    seconds since 1970. error, code: why it failed, for people and for programs. failure: the error,
    if the caller can act on it. version: grows with every change, so that a follower sees that
    there is one. stop: set to cancel it.
    """

    id: str
    kind: str
    path: str
    root: str | None
    owner: str | None = None
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

    def to_record(self) -> JobRecord:
        """Return what other servers see of it."""
        version = self.version  # first: what changes meanwhile is written again
        return JobRecord(self.id, self.kind, self.state, self.created, version, self.to_json())

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
    """Runs jobs, each kind in a thread of its own, and knows those of other servers. Threads may
    share it."""

    def __init__(
        self, waiting: int = 16, remembered: int = 100, board: Board | None = None
    ) -> None:
        """waiting: most jobs in a queue. remembered: finished jobs of a kind that are kept. board:
        where other servers see the jobs; None for a server of its own."""
        self._board, self._server = board, secrets.token_hex(8)
        self._written: dict[str, int] = {}  # the version of each job that the board has
        self._waiting, self._remembered = waiting, remembered
        self._jobs: dict[str, Job] = {}
        self._queues: defaultdict[str, deque[tuple[Job, Run]]] = defaultdict(deque)
        self._threads: dict[str, threading.Thread] = {}
        self._change = threading.Condition()
        self._closed = False

    def start(
        self,
        kind: str,
        path: str,
        root: str | None,
        run: Run,
        waiting: int | None = None,
        owner: str | None = None,
    ) -> Job:
        """Queue a job.

        waiting: how many of its kind may wait; None for the usual number. owner: see `Job`. Raises
        Problem 429 if its root has a job of the kind, on any server, or the queue is full, and 503
        while the server stops. Raises LookalikeError if the catalog does not take it.
        """
        most = self._waiting if waiting is None else waiting
        with self._change:
            self._require_room(kind, root, most)
        job = Job(secrets.token_hex(8), kind, path, root, owner)
        if self._board is not None:
            other = self._board.add(self._server, job.to_record(), root, self._remembered)
            if other is not None:
                raise _at_this_folder(other)
            self._written[job.id] = job.version
        try:
            self._enqueue(job, run, most)
        except Problem:
            job.change(finished=time.time(), state="cancelled")
            self._write([job])
            raise
        return job

    def _enqueue(self, job: Job, run: Run, most: int) -> None:
        """Queue a job that the board has. Raises Problem."""
        kind = job.kind
        with self._change:
            self._require_room(kind, job.root, most)
            self._jobs[job.id] = job
            self._queues[kind].append((job, run))
            self._forget(kind)
            if kind not in self._threads:
                thread = threading.Thread(
                    target=self._work, args=(kind,), name=f"jobs of {kind}", daemon=True
                )
                self._threads[kind] = thread
                thread.start()
            if self._board is not None and "" not in self._threads:
                self._threads[""] = threading.Thread(target=self._sync, name="jobs", daemon=True)
                self._threads[""].start()
            self._change.notify_all()

    def _require_room(self, kind: str, root: str | None, waiting: int) -> None:
        """Raise Problem 429 for a job that cannot be queued, and 503 while the server stops."""
        if self._closed:
            raise Problem(503, "the server is stopping", retry=5, code="stopping")
        for other in self._jobs.values():
            if root is not None and (other.kind, other.root) == (kind, root) and not other.over:
                raise _at_this_folder(other.id)
        if len(self._queues[kind]) >= waiting:
            reason = f"{waiting} jobs are waiting; try again when one is done"
            raise Problem(429, reason, retry=10, code="too_many_jobs")

    def all(self) -> list[Job | JobRecord]:
        """Return every job that is remembered, newest first: also those of other servers, while the
        catalog answers."""
        with self._change:
            own = list(self._jobs.values())[::-1]
        try:
            stored = self._board.all() if self._board is not None else []
        except LookalikeError as error:
            log.warning("jobs of other servers are not known now: %s", error)
            stored = []
        ids = {job.id for job in own}
        others = [record for record in stored if record.id not in ids]
        if not others:
            return list(own)
        return sorted([*own, *others], key=lambda job: job.created, reverse=True)

    def get(self, job_id: str) -> Job | JobRecord:
        """Return a job of any server. Raises Problem 404, and LookalikeError."""
        with self._change:
            if job := self._jobs.get(job_id):
                return job
        if self._board is not None and (record := self._board.get(job_id)):
            return record
        raise no_such_job()

    def cancel(self, job_id: str) -> Job | JobRecord:
        """Cancel a job: at once while it waits, else after its current batch.

        What it has committed stays. A job of another server ends when that server sees it, within a
        second or so. Raises Problem 404, and LookalikeError.
        """
        job = self.get(job_id)
        if isinstance(job, JobRecord):
            if self._board is not None and not job.over:
                self._board.request_cancel(job_id)
            return job
        with self._change:
            job.stop.set()
            if job.state == "queued":
                waiting = self._queues[job.kind]
                self._queues[job.kind] = deque(item for item in waiting if item[0] is not job)
                job.change(state="cancelled", finished=time.time())
        return job

    def is_cancelled(self, kind: str, root: str) -> bool:
        """Return whether the last job of a kind that this server ran at a root was cancelled."""
        with self._change:
            own = [job for job in self._jobs.values() if (job.kind, job.root) == (kind, root)]
        return bool(own) and own[-1].state == "cancelled"

    def count(self) -> Counter[str]:
        """Count the jobs of this server that wait and run, by state."""
        with self._change:
            return Counter(job.state for job in self._jobs.values() if not job.over)

    def close(self, seconds: float = 10.0) -> None:
        """Cancel all jobs, and wait for their current batches, `seconds` at most."""
        with self._change:
            self._closed = True
            self._change.notify_all()
            own = list(self._jobs.values())
        for job in own:
            if not job.over:
                self.cancel(job.id)
        end = time.monotonic() + seconds
        for thread in self._threads.values():
            thread.join(max(0.0, end - time.monotonic()))
        try:
            self._write(own)
        except LookalikeError as error:
            log.warning("other servers see the jobs of this one as lost: %s", error)

    def _sync(self) -> None:
        """Write the jobs of this server to the board, and cancel those that others want to end."""
        renewed, is_failing = time.monotonic(), False
        while True:
            with self._change:
                own = list(self._jobs.values())
                if self._closed:
                    return
                if all(job.over and self._is_written(job) for job in own):
                    self._change.wait()  # for a new job
                    continue
                self._change.wait(SYNC_SECONDS)
            try:
                changed = [job for job in own if not self._is_written(job)]
                if changed or time.monotonic() - renewed > RENEW_SECONDS:
                    self._write(changed)
                    renewed = time.monotonic()
                for job_id in self._list_cancelled():
                    self.cancel(job_id)
                is_failing = False
            except LookalikeError as error:  # the jobs go on, and are written when that works again
                if not is_failing:
                    log.warning("other servers cannot see the jobs of this one now: %s", error)
                is_failing = True

    def _is_written(self, job: Job) -> bool:
        return self._written.get(job.id) == job.version

    def _write(self, jobs: Sequence[Job]) -> None:
        """Write jobs of this server to the board, and renew its leases. Raises LookalikeError."""
        if self._board is not None:
            records = [job.to_record() for job in jobs]
            self._board.update(self._server, records)
            self._written |= {record.id: record.version for record in records}

    def _list_cancelled(self) -> set[str]:
        """Return the ids of own jobs that another server wants to end. Raises LookalikeError."""
        return set() if self._board is None else self._board.list_cancelled(self._server)

    def _forget(self, kind: str) -> None:
        over = [job.id for job in self._jobs.values() if job.kind == kind and job.over]
        for job_id in over[: max(0, len(over) - self._remembered)]:
            del self._jobs[job_id]
            self._written.pop(job_id, None)

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
                if error.public is not None:
                    log.warning("job %s failed: %s", job.id, error)
                message = shown(error.public or str(error))
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


def no_such_job() -> Problem:
    """Return the refusal of an id that no job has."""
    reason = "there is no such job; only the last ones are remembered"
    return Problem(404, reason, code="job_not_found")


def _at_this_folder(job_id: str) -> Problem:
    reason = f"job {job_id} is at this folder; wait for it, or cancel it"
    return Problem(429, reason, retry=5, more={"job": job_id}, code="job_running")
