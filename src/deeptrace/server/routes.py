"""The server's own requests: score and map, by reference (JSON), by upload (multipart), or a file as the body."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import TypeAdapter, ValidationError
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from deeptrace.server.openapi import ERRORS, body_of, upload_body, video_body
from deeptrace.server.responses import RequestError, json_reply, one_line, read_body
from deeptrace.server.schemas import ClipResult, DenseBody, ScoreBody, ScoreReply
from deeptrace.server.service import Clips, Service

__all__ = ["own_routes"]

_NO_FILE = ("multipart/", "application/json")
_ARRAYS = "map (T, H, W) float16, times_s (T,), result (the bytes of its JSON)"
_MAP: dict[int | str, dict[str, Any]] = {200: {"content": {"application/x-npz": {}}, "description": _ARRAYS}}
_NO_MAP: dict[int | str, dict[str, Any]] = {422: {"model": ClipResult, "description": "the clip could not be mapped"}}


def own_routes(service: Service) -> APIRouter:
    """`/v1/score`, `/v1/score/video`, `/v1/dense` and the uploads of both."""
    router = APIRouter(prefix="/v1", tags=["deeptrace"])

    @router.post("/score", response_model=ScoreReply, responses=ERRORS, openapi_extra=body_of(ScoreBody))
    async def score(request: Request) -> Response:
        """Score clips that the request names or carries as base64."""
        body = await read_body(request, ScoreBody)
        return json_reply(ScoreReply(results=await service.score_refs(request, body.clips, body.deadline_s)))

    @router.post("/score/video", response_model=ClipResult, responses=ERRORS, openapi_extra=video_body())
    async def score_video(request: Request) -> Response:
        """Score one video file: the body is its bytes, the answer its result."""
        try:
            deadline_s = _file_deadline(request)
        except RequestError:
            async for _ in request.stream():  # what is left unread costs the caller its connection
                pass
            raise
        return json_reply(await service.score_body(request, request.query_params.get("name", ""), deadline_s))

    @router.post("/score/upload", response_model=ScoreReply, responses=ERRORS, openapi_extra=upload_body())
    async def score_upload(request: Request) -> Response:
        """Score uploaded files: videos, or arrays (T, H, W, 3) uint8 in .npy files with `fps`."""
        async with _form(request, service) as form:
            files = form.files
            results = await service.score(
                request, len(files), lambda folder: _saved(service, files, form.fps, folder), form.deadline_s
            )
            return json_reply(ScoreReply(results=results))

    @router.post("/dense", response_class=Response, responses=ERRORS | _MAP | _NO_MAP, openapi_extra=body_of(DenseBody))
    async def dense(request: Request) -> Response:
        """Map where and when one clip loses its reward."""
        body = await read_body(request, DenseBody)
        fields = _map_fields(body.size, body.times_s)
        return _map_reply(
            *await service.map(
                request, lambda folder: service.inputs.ready([body.clip], folder), fields, body.deadline_s
            )
        )

    @router.post(
        "/dense/upload", response_class=Response, responses=ERRORS | _MAP | _NO_MAP, openapi_extra=upload_body(one=True)
    )
    async def dense_upload(request: Request) -> Response:
        """As `/v1/dense`, for one uploaded file; `size` and `times_s` are JSON lists."""
        async with _form(request, service) as form:
            if len(form.files) != 1:
                raise RequestError(422, "unprocessable", f"files: expected one but got {len(form.files)}")
            fields = _map_fields(form.size, form.times_s)
            return _map_reply(
                *await service.map(
                    request, lambda folder: _saved(service, form.files, form.fps, folder), fields, form.deadline_s
                )
            )

    return router


def _file_deadline(request: Request) -> float | None:
    """The deadline that the address asks for; RequestError where that or the kind of the body makes no sense."""
    kind = request.headers.get("content-type", "").lower().partition(";")[0]
    if kind.startswith(_NO_FILE):
        line = f"{kind}: expected the bytes of one video file as the body"
        raise RequestError(
            422, "unprocessable", f"{line}; JSON goes to /v1/score, several files as multipart to /v1/score/upload"
        )
    return _positive(request.query_params, "deadline_s")


class _Upload:
    """A multipart form, read and checked."""

    def __init__(self, values: Mapping[str, Any], files: Sequence[UploadFile]) -> None:
        self.files = list(files)
        self.fps, self.deadline_s = _positive(values, "fps"), _positive(values, "deadline_s")
        self.size: tuple[int, int] | None = _read(values, "size", tuple[int, int])
        self.times_s: list[float] | None = _read(values, "times_s", list[float])
        if not self.files:
            raise RequestError(422, "unprocessable", "files: expected at least one file of this name")


def _read(values: Mapping[str, Any], name: str, kind: Any) -> Any:
    """A field of a form or an address, written as JSON; None where it is not given."""
    text = values.get(name)
    if text is None:
        return None
    try:
        return TypeAdapter(kind).validate_json(text)
    except ValidationError as error:
        raise RequestError(422, "unprocessable", f"{name}: {one_line(error)}") from None


def _positive(values: Mapping[str, Any], name: str) -> float | None:
    value: float | None = _read(values, name, float)
    if value is not None and not 0 < value < float("inf"):
        raise RequestError(422, "unprocessable", f"{name}: expected a positive number but got {value}")
    return value


class _form:  # noqa: N801 - used like a function
    """Reads the multipart body; its temporary files, which have no names, are gone with the block."""

    def __init__(self, request: Request, service: Service) -> None:
        most = service.settings.limits.clips
        self._form = request.form(max_files=most, max_fields=8, max_part_size=1 << 20)

    async def __aenter__(self) -> _Upload:
        try:
            data = await self._form.__aenter__()
        except HTTPException as error:
            raise RequestError(error.status_code, "bad_request", str(error.detail)) from None
        files = [value for value in data.getlist("files") if isinstance(value, UploadFile)]
        return _Upload({key: value for key, value in data.items() if isinstance(value, str)}, files)

    async def __aexit__(self, *error: Any) -> None:
        await self._form.__aexit__(*error)


async def _saved(service: Service, files: Sequence[UploadFile], fps: float | None, folder: Path) -> Clips:
    def save_all() -> Clips:
        return [
            service.inputs.from_upload(file.file, file.size or 0, file.filename or "", fps, folder / f"{index}.clip")
            for index, file in enumerate(files)
        ]

    return await asyncio.to_thread(save_all)


def _map_fields(size: tuple[int, int] | None, times_s: Sequence[float] | None) -> dict[str, object]:
    return {"map_size": size, "map_times_s": None if times_s is None else tuple(times_s)}


def _map_reply(result: ClipResult, npz: bytes | None) -> Response:
    """The worker's .npz with the result added as a third array of bytes."""
    if npz is None:
        return Response(result.model_dump_json(), 422, media_type="application/json")
    import numpy as np

    with np.load(io.BytesIO(npz), allow_pickle=False) as found:
        out = io.BytesIO()
        text = np.frombuffer(json.dumps(result.model_dump(mode="json")).encode(), np.uint8)
        np.savez(out, map=found["map"], times_s=found["times_s"], result=text)
    return Response(out.getvalue(), media_type="application/x-npz")
