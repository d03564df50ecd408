"""What `/openapi.json` says of bodies that are read by hand, so that it stays true."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from deeptrace.server.schemas import ApiError

__all__ = ["ERRORS", "body_of", "describe", "upload_body", "video_body"]

_REF = "#/components/schemas/{model}"

ERRORS: dict[int | str, dict[str, Any]] = {
    401: {"model": ApiError, "description": "no key, or an unknown one"},
    408: {"model": ApiError, "description": "the body did not come in time"},
    413: {"model": ApiError, "description": "too many bytes or clips"},
    422: {"model": ApiError, "description": "the body does not fit"},
    429: {"model": ApiError, "description": "no room; Retry-After says when to try again"},
    503: {"model": ApiError, "description": "the server is stopping"},
    504: {"model": ApiError, "description": "URLs could not be fetched within the deadline"},
}


def body_of(model: type[BaseModel]) -> dict[str, Any]:
    """The `requestBody` of a route that reads `model` itself."""
    schema = {"$ref": _REF.format(model=model.__name__)}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def video_body() -> dict[str, Any]:
    """The `requestBody` and the parameters of a route whose body is a video file."""
    file = {"schema": {"type": "string", "format": "binary", "description": "the file, as it is"}}
    name = {"type": "string", "description": "what the result's `video` says"}
    seconds = {"type": "number", "exclusiveMinimum": 0, "description": "give up after so many seconds"}
    return {
        "requestBody": {"required": True, "content": {"video/*": file, "application/octet-stream": file}},
        "parameters": [
            {"name": "name", "in": "query", "required": False, "schema": name},
            {"name": "deadline_s", "in": "query", "required": False, "schema": seconds},
        ],
    }


def upload_body(*, one: bool = False) -> dict[str, Any]:
    """The `requestBody` of a multipart route."""
    files = {"type": "array", "items": {"type": "string", "format": "binary"}, "minItems": 1}
    fields: dict[str, Any] = {"files": files, "fps": {"type": "number"}, "deadline_s": {"type": "number"}}
    if one:
        files["maxItems"] = 1
        fields["size"] = {"type": "string", "description": "JSON: [height, width]"}
        fields["times_s"] = {"type": "string", "description": "JSON: [seconds, ...]"}
    schema = {"type": "object", "properties": fields, "required": ["files"]}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}


def describe(app: FastAPI, bodies: Sequence[type[BaseModel]]) -> None:
    """Add the schemas of the hand-read `bodies` to what the app says of itself."""
    plain = app.openapi

    def whole() -> dict[str, Any]:
        said = plain()
        _, found = models_json_schema([(model, "validation") for model in bodies], ref_template=_REF)
        said.setdefault("components", {}).setdefault("schemas", {}).update(found.get("$defs", {}))
        return said

    app.openapi = whole  # type: ignore[method-assign]
