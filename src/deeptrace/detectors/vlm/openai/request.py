"""The request: frames with their true times in words between them, and the question."""

from __future__ import annotations

from typing import Any

from deeptrace.detectors.vlm.openai.budget import Shown, encode
from deeptrace.detectors.vlm.openai.settings import Options
from deeptrace.plural import plural
from deeptrace.prompts import Style, View, answer_schema

__all__ = ["request_body", "time_label"]

TOP_LOGPROBS = 20
"""The most that OpenAI, and vLLM by default, give."""
CLOCK_HZ = 1000
"""Of the clock on which a video part's frames are placed: times are stated to the millisecond."""


def time_label(time_s: float) -> str:
    """A frame's time as the prompt states it, to the millisecond: "1.250 s"."""
    return f"{time_s:.3f} s"


def request_body(model: str, asked: str, shown: Shown, options: Options, view: View) -> dict[str, Any]:
    """The body of the chat-completions request that asks one question about one clip."""
    form = options.answer_form
    body: dict[str, Any] = {
        "model": model,
        "messages": [{"role": "user", "content": _content(asked, shown, options)}],
        "max_tokens": options.max_tokens,
    }
    if options.temperature is not None:
        body["temperature"] = options.temperature
    if options.seed is not None:
        body["seed"] = options.seed
    if options.logprobs:
        body |= {"logprobs": True, "top_logprobs": TOP_LOGPROBS}
    if form.style is Style.JSON and options.schema_:
        schema = {"name": "verdict", "strict": True, "schema": answer_schema(form, view=view)}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    if options.part == "video":
        body["media_io_kwargs"] = {"video": _true_times(shown)}
    return body | options.extra


def _true_times(shown: Shown) -> dict[str, Any]:
    """What vLLM needs to know about a list of JPEGs: a clock of milliseconds, and each frame's place on it.

    Without it, vLLM takes the frames for one a second and, of more than 32, silently drops the rest.
    """
    places = [round(frame.time_s * CLOCK_HZ) for frame in shown.frames]
    total = max(round(shown.media.duration_s * CLOCK_HZ), places[-1] + 1)
    return {
        "num_frames": -1,
        "fps": CLOCK_HZ,
        "frames_indices": places,
        "total_num_frames": total,
        "duration": total / CLOCK_HZ,
    }


def _content(asked: str, shown: Shown, options: Options) -> list[dict[str, Any]]:
    wide, high = shown.size
    count = len(shown.frames)
    facts = f"A video of {shown.media.duration_s:.3f} s, shown as {plural(count, 'frame')} of {wide}x{high} pixels"
    # The paper's text marks the place of the video; here the frames themselves stand in it.
    last = {"type": "text", "text": asked.removeprefix("<video> ")}
    if options.part == "video":
        times = ", ".join(time_label(frame.time_s) for frame in shown.frames)
        data = ",".join(encode(frame, options) for frame in shown.frames)
        video = {"type": "video_url", "video_url": {"url": f"data:video/jpeg;base64,{data}"}}
        return [{"type": "text", "text": f"{facts}, at {times}:"}, video, last]
    parts: list[dict[str, Any]] = [{"type": "text", "text": f"{facts}, each after its time:"}]
    for frame in shown.frames:
        image = {"url": f"data:image/{options.image};base64,{encode(frame, options)}"}
        if options.detail is not None:
            image["detail"] = options.detail
        parts.append({"type": "text", "text": f"{time_label(frame.time_s)}:"})
        parts.append({"type": "image_url", "image_url": image})
    return [*parts, last]
