"""Counts and times for Prometheus, in a registry of its own."""

from __future__ import annotations

import time
from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from search.records import Hits


class Metrics:
    """What one server counts."""

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

    def searched(self, hits: Hits) -> None:
        """Note an answer's times."""
        for stage, ms in hits.took_ms.items():
            self._stages.labels(stage).observe(ms / 1000)

    def working(self, jobs: Mapping[str, int]) -> None:
        """Note how many jobs wait and run."""
        for state in ("queued", "running"):
            self._jobs.labels(state).set(jobs.get(state, 0))

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Note a request. route: its template, so that ids make no series of their own."""
        known = method if method in ("GET", "HEAD", "POST", "PUT", "DELETE") else "other"
        self._requests.labels(known, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def text(self) -> bytes:
        """As Prometheus reads it."""
        return generate_latest(self._registry)


class Counted:
    """The middleware that counts."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, begun = 500, time.perf_counter()

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            route = getattr(scope.get("route"), "path", "none")
            seconds = time.perf_counter() - begun
            self._metrics.answered(scope["method"], route, status, seconds)
