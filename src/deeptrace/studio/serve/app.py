"""The application: routes, health, metrics, and what stands before them."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

from deeptrace.studio.serve.desk import Desk
from deeptrace.studio.serve.flow_factory import ComputeRequest, flow_factory_routes
from deeptrace.studio.serve.gate import Gate
from deeptrace.studio.serve.openapi import describe
from deeptrace.studio.serve.replies import RequestError, error_reply
from deeptrace.studio.serve.routes import own_routes
from deeptrace.studio.serve.schemas import DenseBody, ScoreBody
from deeptrace.studio.serve.scorer import Scorer
from deeptrace.studio.serve.settings import ServeSettings
from deeptrace.studio.serve.spool import Spool
from deeptrace.studio.serve.unirl import REWARD_NAME, UniRLRequest, unirl_routes

__all__ = ["ScoreApi"]

log = logging.getLogger(__name__)


class ScoreApi:
    """One server: an ASGI application whose workers live from its start to its end.

    Args:
        settings: of the server.

    Attributes:
        asgi: the application.
        gate: what stands before it; `gate.draining` and `gate.in_flight`.
        scorer: queue, workers and metrics.
    """

    def __init__(self, settings: ServeSettings) -> None:
        self.settings = settings
        self.scorer = Scorer(settings)
        self._app = FastAPI(
            title="deeptrace serve",
            description="Rewards of video clips. A score is evidence, not proof.",
            lifespan=self._life,
            docs_url=None,  # its page loads programs from elsewhere
            redoc_url=None,
        )
        self._spool = Spool(settings.spool_dir)
        self._desk = Desk(settings, self.scorer, self._spool)
        self._started = False
        self.gate = Gate(self._app, settings, self.scorer)
        self.asgi = self.gate
        self._add_health()
        for routes in (own_routes, unirl_routes, flow_factory_routes):
            self._app.include_router(routes(self._desk))
        self._app.add_exception_handler(RequestError, _problem)
        self._app.add_exception_handler(HTTPException, _http_error)
        self._app.add_exception_handler(Exception, _unforeseen)
        describe(self._app, (ScoreBody, DenseBody, UniRLRequest, ComputeRequest))

    def start(self) -> None:
        """Load the detector; without effect when that was done. The application does it by itself.

        Raises:
            DeeptraceError: it cannot be loaded.
        """
        if not self._started:
            self._spool.open()
            self._started = True
            try:
                self.scorer.start()
            except BaseException:
                self.close()
                raise

    def close(self) -> None:
        """End the workers and remove their files."""
        if self._started:
            self._started = False
            self.gate.draining = True
            self.scorer.close()
            self._spool.close()

    @asynccontextmanager
    async def _life(self, _app: FastAPI) -> AsyncIterator[None]:
        await asyncio.to_thread(self.start)
        try:
            yield
        finally:
            await self._desk.inputs.aclose()
            await asyncio.to_thread(self.close)

    def _add_health(self) -> None:
        app = self._app

        @app.get("/health", tags=["health"])
        async def health() -> Response:
            """Ready or not, in the words of UniRL's and Flow-Factory's clients."""
            return self._health()

        @app.get("/health/live", tags=["health"])
        async def live() -> dict[str, str]:
            """The process answers."""
            return {"status": "ok"}

        @app.get("/health/ready", tags=["health"])
        async def ready() -> Response:
            """200 when a clip sent now would be judged: a worker is ready and the server is not stopping; else 503."""
            return self._health()

        @app.get("/metrics", tags=["health"])
        async def metrics() -> Response:
            """For Prometheus."""
            return Response(self.scorer.metrics.text(), media_type="text/plain; version=0.0.4")

    def _health(self) -> Response:
        workers = self.scorer.crew.ready
        ok = workers > 0 and not self.gate.draining
        said: dict[str, Any] = {"status": "ok" if ok else "draining" if self.gate.draining else "starting"}
        said["rewards"] = {REWARD_NAME: ["ready"] * workers}
        if self.scorer.info is not None:
            said["detector"] = self.scorer.info.model_dump(mode="json")
        said["queue"] = {"depth": self.scorer.queue.depth, "size": self.scorer.queue.size}
        return Response(json.dumps(said), 200 if ok else 503, media_type="application/json")


async def _problem(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestError)
    return error.reply()


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = "not_found" if error.status_code == 404 else "bad_request"
    return error_reply(error.status_code, code, f"{request.method} {request.url.path}: {error.detail}")


async def _unforeseen(request: Request, error: Exception) -> Response:
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return error_reply(500, "failed", "the server failed on this request; its log says how")
