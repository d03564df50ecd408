"""Where the text trainers' rewards find the video that a completion led to."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from deeptrace.errors import SettingsError
from deeptrace.reward.layouts import Unusable, frames_of_clip
from deeptrace.reward.rewarder import Clip
from deeptrace.video import Video

__all__ = ["Render", "clips_from"]

Render = Callable[..., Sequence[Any]]
"""`render(completions, **columns)` gives each completion's video: a path, a `Video` or uint8 frames (T, H, W, 3)."""


def clips_from(
    completions: Sequence[Any], columns: Mapping[str, Any], column: str, render: Render | None, caller: str
) -> list[Clip]:
    """The clip of each completion: rendered, or from `column` of the batch. A missing one is an unusable clip.

    Raises:
        SettingsError: neither is there, or not one for each completion.
    """
    if render is not None:
        found: Any = render(completions, **columns)
    elif column in columns:
        found = columns[column]
    else:
        known = ", ".join(sorted(columns)) or "none"
        raise SettingsError(caller, f"no column {column!r} among: {known}", "Name the column, or give render=.")
    if found is None or isinstance(found, (str, Mapping)) or len(found) != len(completions):
        raise SettingsError(caller, f"expected a video for each of {len(completions)} completions")
    return [_clip(item, f"clip {index}", caller) for index, item in enumerate(found)]


def _clip(item: Any, name: str, caller: str) -> Clip:
    if isinstance(item, (list, tuple)) and len(item) == 1:  # datasets keep videos as a list, one a row here
        item = item[0]
    if isinstance(item, Mapping):  # datasets' Video(decode=False): {"path": ..., "bytes": ...}
        item = item.get("path")
    if hasattr(item, "ndim"):
        return frames_of_clip(item, layout="FHWC", values="bytes", caller=caller, name=name)
    if isinstance(item, (str, os.PathLike, Video)):
        return item
    return Unusable(name, f"expected a path, a Video or an array of frames but got {type(item).__name__}")
