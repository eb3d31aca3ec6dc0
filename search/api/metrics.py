"""Counts and times of one server, for Prometheus."""

from __future__ import annotations

import time
from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from search.records import Hits


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

    def count_search(self, hits: Hits) -> None:
        """Count the stages of a search."""
        for stage, ms in hits.took_ms.items():
            self._stages.labels(stage).observe(ms / 1000)

    def set_jobs(self, jobs: Mapping[str, int]) -> None:
        """Set how many jobs wait and run, by state."""
        for state in ("queued", "running"):
            self._jobs.labels(state).set(jobs.get(state, 0))

    def count_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request. route: its template, so that ids make no series of their own."""
        known = method if method in ("GET", "HEAD", "POST", "PUT", "DELETE") else "other"
        self._requests.labels(known, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def to_text(self) -> bytes:
        """Return the counts in Prometheus' text format."""
        return generate_latest(self._registry)


class RequestCounter:
    """Middleware that counts requests."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, start = 500, time.perf_counter()

        async def send_noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, send_noting)
        finally:
            route = getattr(scope.get("route"), "path", "none")
            seconds = time.perf_counter() - start
            self._metrics.count_request(scope["method"], route, status, seconds)
