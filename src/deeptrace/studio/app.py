"""The application: pages, and the routes that they call."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa
from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from deeptrace.benchmark.leaderboard import read_entries
from deeptrace.errors import SettingsError
from deeptrace.server.inputs import Inputs
from deeptrace.server.metrics import RequestMetrics
from deeptrace.server.responses import RequestError, declined, error_reply, http_error
from deeptrace.studio.accounts import AccountError, Accounts
from deeptrace.studio.annotations import ConflictError, ForeignIdError
from deeptrace.studio.answers_api import add_answers
from deeptrace.studio.clips_api import ClipsApi
from deeptrace.studio.database import edits
from deeptrace.studio.explore import read_exploration
from deeptrace.studio.explore_api import add_explore
from deeptrace.studio.guard import Guard
from deeptrace.studio.people_api import account_trouble, add_callback, add_people
from deeptrace.studio.permissions import METRICS
from deeptrace.studio.rates import Rates
from deeptrace.studio.review_api import REVIEW_PAGES, add_review
from deeptrace.studio.wording import Wording, add_wording
from deeptrace.studio.workshop import Workshop

if TYPE_CHECKING:
    from deeptrace.studio.oidc import Provider

__all__ = ["StudioApi"]

log = logging.getLogger(__name__)

PAGES = ("/", "/triage", "/explore", "/clip/{clip_id}", "/annotate/{clip_id}", "/people", "/leaderboard", *REVIEW_PAGES)


class StudioApi:
    """One studio: an ASGI application whose work runs from its start to its end.

    Args:
        workshop: its clips and the work on them; started and closed by the application.

    Attributes:
        asgi: the application.
        app: the same without what stands before it.
        accounts: who may use it; None for everybody who can reach it.

    Raises:
        SettingsError, DataError: what is to be explored cannot be read; there are to be accounts but there is no admin;
            what people are to log in by is no OpenID provider.
        MissingExtraError: people are to log in by one, and Authlib is not installed.
    """

    def __init__(self, workshop: Workshop) -> None:
        self.workshop = workshop
        self._provider = _provider(workshop)
        self.accounts = _accounts(workshop, self._provider)
        self._inputs = Inputs(workshop.settings.inputs)
        explored = read_exploration(workshop.settings)
        if workshop.settings.leaderboard is not None:
            read_entries(workshop.settings.leaderboard)  # what is wrong with it is said now, not in the page
        app = FastAPI(title="deeptrace studio", lifespan=self._life, docs_url=None, redoc_url=None)
        app.state.accounts, app.state.oidc = self.accounts, self._provider
        api = APIRouter(prefix="/api")
        all_clips = ClipsApi(workshop, self._inputs, self.accounts, None if explored is None else explored.name)
        all_clips.add(api)
        add_answers(api, all_clips)
        add_explore(api, workshop, explored)
        add_people(api)
        self._wording = Wording(workshop.settings.wording) if workshop.settings.wording else None
        add_review(api, workshop)
        add_wording(api, workshop, self._wording)
        app.include_router(api)
        add_callback(app)
        metrics = RequestMetrics("deeptrace_studio")
        _add_metrics(app, metrics, workshop)
        web = Path(str(files("deeptrace.studio") / "web"))
        app.mount("/static", StaticFiles(directory=web))
        for path in PAGES:
            app.add_api_route(path, lambda: FileResponse(web / "index.html"), include_in_schema=False)
        app.add_exception_handler(RequestError, declined)
        app.add_exception_handler(HTTPException, http_error)
        app.add_exception_handler(RequestValidationError, _invalid)
        app.add_exception_handler(ConflictError, _conflict)
        app.add_exception_handler(ForeignIdError, _foreign)
        app.add_exception_handler(AccountError, account_trouble)
        app.add_exception_handler(sa.exc.DataError, _not_to_be_kept)
        app.add_exception_handler(Exception, _unforeseen)
        self.app, settings = app, workshop.settings
        self.asgi = Guard(
            app,
            settings.limits,
            accounts=self.accounts,
            author=settings.author,
            metrics=metrics,
            names=settings.names,
            open_metrics=settings.open_metrics,
            rates=None if self.accounts is None else Rates(workshop.database, settings.rate),
        )

    @asynccontextmanager
    async def _life(self, _app: FastAPI) -> AsyncIterator[None]:
        await asyncio.to_thread(self.workshop.start)
        try:
            yield
        finally:
            await self._inputs.aclose()
            if self._wording is not None:
                await self._wording.aclose()
            if self._provider is not None:
                self._provider.close()
            await asyncio.to_thread(self.workshop.close)


def _provider(workshop: Workshop) -> Provider | None:
    """What people may log in by besides passwords; one that does not answer just now is said in a line."""
    settings = workshop.settings.oidc
    if settings is None:
        return None
    from deeptrace.studio.oidc import CannotBelieveError, NotReachedError, Provider

    found = Provider(settings)
    try:
        found.described()
    except CannotBelieveError as error:
        raise SettingsError(f"issuer {settings.issuer}", str(error), "Name it as it names itself.") from None
    except NotReachedError as error:
        log.warning("issuer %s: cannot be reached (%s): until it can, only passwords let in", settings.issuer, error)
    return found


def _accounts(workshop: Workshop, provider: Provider | None) -> Accounts | None:
    """Once there are accounts, they are always asked for."""
    accounts = Accounts(workshop.database)
    if not (workshop.settings.accounts or provider or accounts.any()):
        return None
    try:
        accounts.prepare(led=provider is not None and provider.makes_admins)
    except AccountError as error:
        mend = "Make an account for one: the same command with --add-person NAME --role admin."
        raise SettingsError("accounts", str(error), mend) from None
    return accounts


def _add_metrics(app: FastAPI, metrics: RequestMetrics, workshop: Workshop) -> None:
    """The route that Prometheus reads; jobs and edits are counted in the database when it does."""

    def jobs(state: str) -> float:
        return workshop.queue.counts().get(state, 0)

    def kept() -> float:
        with workshop.database.reading() as connection:
            return connection.scalar(sa.select(sa.func.count()).select_from(edits)) or 0

    metrics.watch("jobs_queued", "Background jobs that wait.", partial(jobs, "queued"))
    metrics.watch("jobs_running", "Background jobs in work.", partial(jobs, "running"))
    metrics.watch("jobs_failed", "Background jobs that failed, ever.", partial(jobs, "failed"))
    metrics.watch("edits", "Edits of annotations that are kept.", kept)

    @app.get(METRICS)
    def read() -> Response:
        """For Prometheus."""
        return Response(metrics.text(), media_type="text/plain; version=0.0.4")


async def _invalid(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"][1:]) or "the request"
    return error_reply(422, "unprocessable", f"{place}: {first['msg'].removeprefix('Value error, ')}"[:500])


async def _conflict(_request: Request, error: Exception) -> Response:
    assert isinstance(error, ConflictError)
    body = {"detail": str(error), "code": "conflict", "current": error.current, "yours": error.yours}
    return JSONResponse(body, 409)


async def _foreign(_request: Request, error: Exception) -> Response:
    return error_reply(422, "unprocessable", str(error))


async def _not_to_be_kept(_request: Request, _error: Exception) -> Response:
    """PostgreSQL keeps no NUL in a text, which SQLite does."""
    return error_reply(422, "unprocessable", "something of this cannot be kept: a NUL character, or too long a text")


async def _unforeseen(request: Request, error: Exception) -> Response:
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return error_reply(500, "failed", "the studio failed on this request; its log says why")
