"""Counts and times of one server, for Prometheus."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from search.records.hits import Hits


class Metrics:
    """The counts of one server, in a registry of its own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "lookalike_requests",
            "Requests answered",
            ("method", "route", "status"),
            registry=self._registry,
        )
        self._seconds = Histogram(
            "lookalike_request_seconds", "Time to answer", ("route",), registry=self._registry
        )
        self._stages = Histogram(
            "lookalike_search_seconds", "Stages of a search", ("stage",), registry=self._registry
        )
        self._jobs = Gauge(
            "lookalike_jobs", "Jobs that wait or run", ("state",), registry=self._registry
        )
        self._queues = Gauge(
            "lookalike_queue", "Requests that wait or run", ("queue",), registry=self._registry
        )
        self._refused = Counter(
            "lookalike_connections_refused",
            "Connections answered 503, since there were too many",
            registry=self._registry,
        )
        self._failures = Gauge(
            "lookalike_decode_failures",
            "Pictures that could not be decoded since the start",
            ("code",),
            registry=self._registry,
        )

    def count_search(self, hits: Hits) -> None:
        """Count the stages of a search."""
        for stage, ms in hits.took_ms.items():
            self._stages.labels(stage).observe(ms / 1000)

    def set_jobs(self, jobs: Mapping[str, int]) -> None:
        """Set how many jobs wait and run, by state."""
        for state in ("queued", "running"):
            self._jobs.labels(state).set(jobs.get(state, 0))

    def set_queues(self, queues: Mapping[str, int]) -> None:
        """Set how many requests wait and run, by queue."""
        for name, count in queues.items():
            self._queues.labels(name).set(count)

    def set_decode_failures(self, failures: Mapping[str, int]) -> None:
        """Set how many pictures could not be decoded, by the code of the error."""
        for code, count in failures.items():
            self._failures.labels(code).set(count)

    def count_refused(self) -> None:
        """Count a connection that was refused."""
        self._refused.inc()

    def count_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request. route: its template, so that ids make no series of their own."""
        known = method if method in ("GET", "HEAD", "POST", "PUT", "DELETE") else "other"
        self._requests.labels(known, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def to_text(self) -> bytes:
        """Return the counts in Prometheus' text format."""
        return generate_latest(self._registry)
