"""Metrics for Prometheus. One registry a server, so that two servers in one process do not share any."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

__all__ = ["Metrics", "RequestMetrics"]

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class RequestMetrics:
    """What every server of ours counts.

    Args:
        prefix: of all names.

    Attributes:
        registry: to which a server adds what is its own.
    """

    def __init__(self, prefix: str) -> None:
        self.registry = CollectorRegistry()
        self._prefix = prefix
        made = self.registry
        self._requests = Counter(f"{prefix}_requests", "Requests answered.", ("route", "status"), registry=made)
        self._request_s = Histogram(
            f"{prefix}_request_seconds",
            "From the request's head to its answer.",
            ("route",),
            buckets=_SECONDS,
            registry=made,
        )

    def watch(self, name: str, says: str, value: Callable[[], float]) -> None:
        """A gauge that is read when it is asked for."""
        Gauge(f"{self._prefix}_{name}", says, registry=self.registry).set_function(value)

    @contextmanager
    def counting(self, route: str, send: Send) -> Iterator[Send]:
        """What an answer is sent through, so that the request counts once the block has ended; `route` as `request`."""
        began, status = time.monotonic(), 0

        async def heard(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            yield heard
        finally:
            self.request(route, status, time.monotonic() - began)

    def request(self, route: str, status: int, seconds: float) -> None:
        """A request was answered. `route` is one of ours, never what a caller made up: each value is kept for ever."""
        self._requests.labels(route, str(status)).inc()
        self._request_s.labels(route).observe(seconds)

    def text(self) -> bytes:
        """In Prometheus' text format."""
        return generate_latest(self.registry)


class Metrics(RequestMetrics):
    """Those of `deeptrace serve`, all named `deeptrace_serve_...`."""

    def __init__(self) -> None:
        super().__init__("deeptrace_serve")
        made = self.registry
        self._clips = Counter("deeptrace_serve_clips", "Clips answered.", ("outcome", "reason"), registry=made)
        self._wait_s = Histogram("deeptrace_serve_wait_seconds", "Time in the queue.", buckets=_SECONDS, registry=made)
        self._clip_s = Histogram("deeptrace_serve_clip_seconds", "Work on a clip.", buckets=_SECONDS, registry=made)
        self._restarts = Counter(
            "deeptrace_serve_worker_restarts", "Workers lost and replaced.", ("cause",), registry=made
        )
        for cause in ("crashed", "timed_out", "abandoned"):
            self._restarts.labels(cause)

    def waited(self, seconds: float) -> None:
        """A clip's time in the queue."""
        self._wait_s.observe(seconds)

    def restarted(self, cause: str) -> None:
        """A worker was lost."""
        self._restarts.labels(cause).inc()

    def clip(self, outcome: str, reason: str, seconds: float | None) -> None:
        """A clip was answered; `seconds` is the work on it, where there was any."""
        self._clips.labels(outcome, reason).inc()
        if seconds is not None:
            self._clip_s.observe(seconds)
