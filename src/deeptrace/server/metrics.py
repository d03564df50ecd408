"""Metrics for Prometheus. One registry a server, so that two servers in one process do not share any."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

__all__ = ["Metrics"]

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Metrics:
    """Counters, gauges and histograms, all named `deeptrace_serve_...`."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        made = self.registry
        self._requests = Counter("deeptrace_serve_requests", "Requests answered.", ("route", "status"), registry=made)
        self._request_s = Histogram(
            "deeptrace_serve_request_seconds",
            "From the request's head to its answer.",
            ("route",),
            buckets=_SECONDS,
            registry=made,
        )
        self._clips = Counter("deeptrace_serve_clips", "Clips answered.", ("outcome", "reason"), registry=made)
        self._wait_s = Histogram("deeptrace_serve_wait_seconds", "Time in the queue.", buckets=_SECONDS, registry=made)
        self._clip_s = Histogram("deeptrace_serve_clip_seconds", "Work on a clip.", buckets=_SECONDS, registry=made)
        self._restarts = Counter(
            "deeptrace_serve_worker_restarts", "Workers lost and replaced.", ("cause",), registry=made
        )
        for cause in ("crashed", "timed_out", "abandoned"):
            self._restarts.labels(cause)

    def watch(self, name: str, says: str, value: Callable[[], float]) -> None:
        """A gauge that is read when it is asked for."""
        Gauge(f"deeptrace_serve_{name}", says, registry=self.registry).set_function(value)

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

    def request(self, route: str, status: int, seconds: float) -> None:
        """A request was answered."""
        self._requests.labels(route, str(status)).inc()
        self._request_s.labels(route).observe(seconds)

    def text(self) -> bytes:
        """In Prometheus' text format."""
        return generate_latest(self.registry)
