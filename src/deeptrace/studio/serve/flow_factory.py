"""Flow-Factory's reward server: `POST /compute`.

Its client sends each video as a list of PNG images and does not say how fast they are shown (`deeptrace serve --fps`).
It knows no mark for a clip without a reward: an answer with an `error` makes it stop with that line, at once, where an
HTTP error would make it send everything again. `--failed NUMBER` chooses a number for such clips instead.

Source: X-GenGroup/Flow-Factory src/flow_factory/rewards/my_reward_remote.py, reward_server/example_server.py.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from deeptrace.studio.serve.desk import Desk
from deeptrace.studio.serve.openapi import ERRORS, body_of
from deeptrace.studio.serve.replies import RequestError, json_reply, read_body
from deeptrace.studio.serve.schemas import ClipRef, ClipResult

__all__ = ["ComputeRequest", "flow_factory_routes"]

log = logging.getLogger(__name__)


class ComputeRequest(BaseModel):
    """A batch: a prompt and a video each; the rest is accepted and not looked at."""

    prompt: list[str]
    image: Any = None
    video: list[list[str]] | None = Field(default=None, description="images of one size in base64, for each video")
    condition_images: Any = None
    condition_videos: Any = None


class ComputeReply(BaseModel):
    """One reward a clip, in order; with an `error`, null for those without one."""

    rewards: list[float | None]
    error: str | None = None


def flow_factory_routes(desk: Desk) -> APIRouter:
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
        return json_reply(_reply(await desk.score_refs(request, refs), desk.settings.failed))

    return router


def _reply(results: Sequence[ClipResult], stand_in: float | None) -> ComputeReply:
    failed = [(index, result) for index, result in enumerate(results) if result.parts is None]
    rewards = [stand_in if result.parts is None else result.parts.reward for result in results]
    if not failed:
        return ComputeReply(rewards=rewards)
    index, first = failed[0]
    what = f"{len(failed)} of {len(results)} clips could not be scored; clip {index}: {first.error}"
    if stand_in is None:
        return ComputeReply(rewards=rewards, error=what)
    log.warning("Flow-Factory: %s; %g stands in", what, stand_in)
    return ComputeReply(rewards=rewards)
