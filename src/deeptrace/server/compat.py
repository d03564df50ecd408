"""Other people's reward protocols: UniRL's and Flow-Factory's.

*UniRL*: `POST /score`, `GET /rewards`; what its client reads of `/health` is in `app`. The reward is called
`deeptrace`, its sub-metrics are those of the in-process scorer, `reward` first, which is the one that UniRL trains on.
A clip without a reward is left out of `results` and named in `errors`, as the service does it.

*Flow-Factory*: `POST /compute`. Its client sends each video as a list of PNG images and does not say how fast they are
shown (`deeptrace serve --fps`). It knows no mark for a clip without a reward: an answer with an `error` makes it stop
with that line, at once, where an HTTP error would make it send everything again. `--failed NUMBER` chooses a number for
such clips instead.

Source: Tencent-Hunyuan/UniRL unirl-reward-service/reward_service/{schemas,server,wire}.py, unirl/reward/remote.py;
X-GenGroup/Flow-Factory src/flow_factory/rewards/my_reward_remote.py, reward_server/example_server.py.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Self

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field, model_validator

from deeptrace.plural import plural
from deeptrace.reward.adapters.unirl import SUB_METRICS
from deeptrace.server.openapi import ERRORS, body_of
from deeptrace.server.responses import RequestError, json_reply, read_body
from deeptrace.server.schemas import ClipRef, ClipResult, Clips, Frames
from deeptrace.server.service import Service

__all__ = ["REWARD_NAME", "ComputeRequest", "UniRLRequest", "flow_factory_routes", "unirl_routes"]

log = logging.getLogger(__name__)

REWARD_NAME = "deeptrace"
PROTOCOL_VERSION = "1"


class Turn(BaseModel):
    """A `(text, media)` pair. Images are accepted and not looked at."""

    text: str
    image_b64: str | None = None
    image_ipc: str | None = None
    video_b64: str | None = None
    video_path: str | None = None

    @model_validator(mode="after")
    def _media(self) -> Self:
        if self.video_b64 is not None and self.video_path is not None:
            raise ValueError("video_b64 and video_path are mutually exclusive")
        if self.image_b64 is not None and self.image_ipc is not None:
            raise ValueError("image_b64 and image_ipc are mutually exclusive")
        if all(x is None for x in (self.image_b64, self.image_ipc, self.video_b64, self.video_path)):
            raise ValueError("expected at least one of image_b64, image_ipc, video_b64, or video_path")
        return self


class Identity(BaseModel):
    """Who an item is; echoed."""

    request_id: str | None = None
    sample_id: str | None = None
    group_id: str | None = None
    source_rank: int | None = None
    policy_version: int | None = None
    scorer_version: str | None = None
    idempotency_key: str | None = None


class Item(Identity):
    """One clip to be scored: the video of the last turn."""

    history: Clips[Turn]
    required_rewards: Clips[str]
    metadata: dict[str, Any] | None = None


class UniRLRequest(BaseModel):
    """A batch."""

    protocol_version: str = PROTOCOL_VERSION
    requests: Clips[Item]
    grad_mode: bool = False
    call_id: str | None = None


class UniRLResponse(BaseModel):
    """`results[i][reward][sub_metric]`, or `errors[i][reward]`."""

    results: list[dict[str, dict[str, float]]]
    errors: list[dict[str, str]] = Field(default_factory=list)
    identities: list[Identity] = Field(default_factory=list)
    protocol_version: str = PROTOCOL_VERSION


def unirl_routes(service: Service) -> APIRouter:
    """`/score` and `/rewards`."""
    router = APIRouter(tags=["UniRL"])

    @router.get("/rewards")
    async def rewards() -> dict[str, list[str]]:
        """The rewards that are served."""
        return {"rewards": [REWARD_NAME]}

    errors = ERRORS | {400: ERRORS[422]}

    @router.post("/score", response_model=UniRLResponse, responses=errors, openapi_extra=body_of(UniRLRequest))
    async def score(request: Request) -> Response:
        """Score a batch as UniRL's reward service does."""
        body = await read_body(request, UniRLRequest)
        _check(body)
        clips = {i: clip for i, item in enumerate(body.requests) if (clip := _clip(item, i)) is not None}
        found = dict(zip(clips, await service.score_refs(request, list(clips.values())), strict=True))
        info = service.scorer.info
        assert info is not None
        return json_reply(_response(body, found, f"{info.name}-{info.version}"))

    return router


def _check(body: UniRLRequest) -> None:
    if body.protocol_version != PROTOCOL_VERSION:
        raise RequestError(400, "bad_request", f"unsupported protocol_version={body.protocol_version!r}")
    if body.grad_mode:
        raise RequestError(400, "bad_request", "grad_mode: this reward is not differentiable")
    for item in body.requests:
        if not item.history:
            raise RequestError(400, "bad_request", "history must not be empty")
        if unknown := [name for name in item.required_rewards if name != REWARD_NAME]:
            raise RequestError(400, "bad_request", f"unknown reward: {unknown[0]}. available: ['{REWARD_NAME}']")


def _clip(item: Item, index: int) -> ClipRef | None:
    """What is to be scored of an item; None when nothing is asked of it, or there is no video."""
    last = item.history[-1]
    if not item.required_rewards or (last.video_b64 is None and last.video_path is None):
        return None
    name = item.sample_id or last.video_path or f"item {index}"
    return ClipRef(base64=last.video_b64, path=last.video_path, name=name[:300])


def _response(body: UniRLRequest, found: dict[int, ClipResult], version: str) -> UniRLResponse:
    results: list[dict[str, dict[str, float]]] = []
    errors: list[dict[str, str]] = []
    for index, item in enumerate(body.requests):
        result = found.get(index)
        if not item.required_rewards:
            results.append({})
            errors.append({})
        elif result is not None and result.parts is not None:
            results.append({REWARD_NAME: {name: getattr(result.parts, name) for name in SUB_METRICS}})
            errors.append({})
        else:
            why = "its last turn has no video" if result is None else f"{result.outcome.value}: {result.error}"
            results.append({})
            errors.append({REWARD_NAME: why})
    identities = [
        Identity(**item.model_dump(include=set(Identity.model_fields))).model_copy(update={"scorer_version": version})
        for item in body.requests
    ]
    return UniRLResponse(results=results, errors=errors, identities=identities)


class ComputeRequest(BaseModel):
    """A batch: a prompt and a video each; the rest is accepted and not looked at."""

    prompt: Clips[str]
    image: Any = None
    video: Clips[Frames] | None = Field(default=None, description="images of one size in base64, for each video")
    condition_images: Any = None
    condition_videos: Any = None


class ComputeReply(BaseModel):
    """One reward a clip, in order; with an `error`, null for those without one."""

    rewards: list[float | None]
    error: str | None = None


def flow_factory_routes(service: Service) -> APIRouter:
    """`/compute`."""
    router = APIRouter(tags=["Flow-Factory"])

    @router.post("/compute", response_model=ComputeReply, responses=ERRORS, openapi_extra=body_of(ComputeRequest))
    async def compute(request: Request) -> Response:
        """Score a batch as Flow-Factory's reward servers do."""
        body = await read_body(request, ComputeRequest)
        if body.video is None or len(body.video) != len(body.prompt):
            got = "none" if body.video is None else str(len(body.video))
            raise RequestError(422, "unprocessable", f"expected a video a prompt ({len(body.prompt)}), got {got}")
        if (empty := next((i for i, frames in enumerate(body.video) if not frames), None)) is not None:
            raise RequestError(422, "unprocessable", f"video.{empty}: has no frames")
        refs = [ClipRef(frames=frames) for frames in body.video]
        return json_reply(_reply(await service.score_refs(request, refs), service.settings.failed))

    return router


def _reply(results: Sequence[ClipResult], stand_in: float | None) -> ComputeReply:
    failed = [(index, result) for index, result in enumerate(results) if result.parts is None]
    rewards = [stand_in if result.parts is None else result.parts.reward for result in results]
    if not failed:
        return ComputeReply(rewards=rewards)
    index, first = failed[0]
    what = f"{len(failed)} of {plural(len(results), 'clip')} could not be scored; clip {index}: {first.error}"
    if stand_in is None:
        return ComputeReply(rewards=rewards, error=what)
    log.warning("Flow-Factory: %s; %g stands in", what, stand_in)
    return ComputeReply(rewards=rewards)
