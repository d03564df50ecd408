"""Answers: results, errors as one line with a code, and a request's work that ends when its caller is gone."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from fastapi import Request, Response
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException

from deeptrace.server.schemas import ApiError

__all__ = [
    "RequestError",
    "declined",
    "error_reply",
    "http_error",
    "json_reply",
    "one_line",
    "read_body",
    "unless_gone",
]

T = TypeVar("T")
B = TypeVar("B", bound=BaseModel)


class RequestError(Exception):
    """A request that is declined as a whole.

    Args:
        status: of HTTP.
        code: see `ApiError`.
        line: for people.
        retry_after_s: when to come again.
    """

    def __init__(self, status: int, code: str, line: str, *, retry_after_s: int | None = None) -> None:
        self.status, self.code, self.line, self.retry_after_s = status, code, line, retry_after_s
        super().__init__(line)

    def reply(self) -> Response:
        """As an answer. Where a body was not read to its end, the connection cannot be used again."""
        close = self.status in (408, 413)
        return error_reply(self.status, self.code, self.line, retry_after_s=self.retry_after_s, close=close)


def error_reply(
    status: int, code: str, line: str, *, retry_after_s: int | None = None, close: bool = False
) -> Response:
    """An `ApiError`."""
    headers = {} if retry_after_s is None else {"Retry-After": str(retry_after_s)}
    if status == 401:
        headers["WWW-Authenticate"] = 'Bearer, Basic realm="deeptrace"'
    if close:
        headers["Connection"] = "close"
    error = ApiError.model_validate({"detail": " ".join(line.split()), "code": code})
    return Response(error.model_dump_json(), status, headers, "application/json")


def json_reply(model: BaseModel) -> Response:
    """A model as it is, without a second validation."""
    return Response(model.model_dump_json(), media_type="application/json")


async def read_body(request: Request, model: type[B]) -> B:
    """The request's JSON, read in a thread: clips in base64 take long enough to keep others waiting.

    Raises:
        RequestError: it is not what `model` says.
    """
    data = await request.body()
    try:
        return await asyncio.to_thread(model.model_validate_json, data)
    except ValidationError as error:
        raise RequestError(422, "unprocessable", one_line(error)) from None


def one_line(error: ValidationError) -> str:
    """What is wrong and where, without repeating megabytes of input."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"]) or "the body"
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"{place}: {first['msg'].removeprefix('Value error, ')}{more}"[:500]


async def unless_gone(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`; cancelled when the caller hangs up before.

    Raises:
        RequestError: the caller is gone, and will not read this.
    """
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise RequestError(499, "failed", "the caller is gone")
    finally:
        for waiting in (task, gone):
            waiting.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def declined(_request: Request, error: Exception) -> Response:
    """The answer to a request that raised a `RequestError`."""
    assert isinstance(error, RequestError)
    return error.reply()


async def http_error(request: Request, error: Exception) -> Response:
    """The answer where there is no such path or method."""
    assert isinstance(error, HTTPException)
    code = "not_found" if error.status_code == 404 else "bad_request"
    return error_reply(error.status_code, code, f"{request.method} {request.url.path}: {error.detail}")
