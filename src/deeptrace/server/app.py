"""The application: routes, health, metrics, and what stands before them."""

from __future__ import annotations

import asyncio
import errno
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from deeptrace.server.compat import REWARD_NAME, ComputeRequest, UniRLRequest, flow_factory_routes, unirl_routes
from deeptrace.server.middleware import Middleware
from deeptrace.server.openapi import describe
from deeptrace.server.responses import RequestError, declined, error_reply, http_error
from deeptrace.server.routes import own_routes
from deeptrace.server.schemas import DenseBody, ScoreBody
from deeptrace.server.scorer import Scorer
from deeptrace.server.scratch import Scratch
from deeptrace.server.service import Service
from deeptrace.server.settings import ServeSettings

__all__ = ["ScoreApi"]

log = logging.getLogger(__name__)


class ScoreApi:
    """One server: an ASGI application whose workers run from its start to its end.

    Args:
        settings: of the server.

    Attributes:
        asgi: the application.
        middleware: keys and limits before the application; `middleware.draining`, `middleware.in_flight`.
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
        self._scratch = Scratch(settings.scratch_dir)
        self._service = Service(settings, self.scorer, self._scratch)
        self._started = False
        self.middleware = Middleware(self._app, settings, self.scorer)
        self.asgi = self.middleware
        self._add_health()
        for routes in (own_routes, unirl_routes, flow_factory_routes):
            self._app.include_router(routes(self._service))
        self._app.add_exception_handler(RequestError, declined)
        self._app.add_exception_handler(HTTPException, http_error)
        self._app.add_exception_handler(ClientDisconnect, _hung_up)
        self._app.add_exception_handler(OSError, _no_room)
        self._app.add_exception_handler(Exception, _unforeseen)
        describe(self._app, (ScoreBody, DenseBody, UniRLRequest, ComputeRequest))

    def start(self) -> None:
        """Load the detector; without effect when that was done. The application does it by itself.

        Raises:
            DeeptraceError: it cannot be loaded.
        """
        if not self._started:
            self._scratch.open()
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
            self.middleware.draining = True
            self.scorer.close()
            self._scratch.close()

    @asynccontextmanager
    async def _life(self, _app: FastAPI) -> AsyncIterator[None]:
        await asyncio.to_thread(self.start)
        try:
            yield
        finally:
            await self._service.inputs.aclose()
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
            """200 when a clip sent now would be scored: a worker is ready and the server is not stopping; else 503."""
            return self._health()

        @app.get("/metrics", tags=["health"])
        async def metrics() -> Response:
            """For Prometheus."""
            return Response(self.scorer.metrics.text(), media_type="text/plain; version=0.0.4")

    def _health(self) -> Response:
        workers = self.scorer.supervisor.ready
        ok = workers > 0 and not self.middleware.draining
        said: dict[str, Any] = {"status": "ok" if ok else "draining" if self.middleware.draining else "starting"}
        said["rewards"] = {REWARD_NAME: ["ready"] * workers}
        if self.scorer.info is not None:
            said["detector"] = self.scorer.info.model_dump(include={"name", "version"})  # this needs no key
        said["queue"] = {"depth": self.scorer.supervisor.depth, "size": self.settings.max_queue}
        return Response(json.dumps(said), 200 if ok else 503, media_type="application/json")


async def _hung_up(_request: Request, _error: Exception) -> Response:
    return error_reply(499, "failed", "the caller is gone")


async def _no_room(request: Request, error: Exception) -> Response:
    assert isinstance(error, OSError)
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE):
        log.error("%s %s: %s", request.method, request.url.path, error)
        return error_reply(503, "busy", "the server has no room for these clips now", retry_after_s=30)
    return await _unforeseen(request, error)


async def _unforeseen(request: Request, error: Exception) -> Response:
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return error_reply(500, "failed", "the server failed on this request; its log says why")
