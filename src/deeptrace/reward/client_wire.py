"""What the client sends and what it makes of the answers."""

from __future__ import annotations

import io
import math
import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from deeptrace.errors import SettingsError
from deeptrace.reward.result import RewardResult
from deeptrace.reward.scalar import ScalarReward
from deeptrace.trace import Outcome, Verdict

__all__ = ["check_client", "check_clip", "failure", "name_of", "result_of", "upload_of"]


def upload_of(clip: Any, name: str, files: ExitStack) -> tuple[str, Any]:
    """File name and content for one try."""
    if isinstance(clip, np.ndarray):
        buffer = io.BytesIO()
        np.lib.format.write_array(buffer, np.ascontiguousarray(clip), allow_pickle=False)
        buffer.seek(0)
        return f"{name}.npy", buffer
    if isinstance(clip, (bytes, bytearray, memoryview)):
        return name, io.BytesIO(clip)
    return name, files.enter_context(Path(clip).open("rb"))


def result_of(fields: dict[str, Any]) -> RewardResult:
    """A clip's result from the server's JSON."""
    parts, _ = fields.pop("parts"), fields.pop("reason", None)
    verdict = Verdict.model_validate(fields)
    if parts is None:
        return RewardResult(math.nan, None, verdict)
    return RewardResult(parts["reward"], ScalarReward(**parts), verdict)


def failure(name: str, outcome: Outcome, why: str) -> RewardResult:
    """The result of a clip that the server did not judge."""
    return RewardResult(math.nan, None, Verdict.failed(name, outcome, why))


def name_of(clip: Any, index: int) -> str:
    """What the result's `video` is to say."""
    return os.fspath(clip) if isinstance(clip, (str, os.PathLike)) else f"clip {index}"


def check_clip(clip: Any, fps: float | None, index: int) -> None:
    """Say what no server could make sense of before anything is sent."""
    from deeptrace.reward.layouts import Unusable

    name = f"clip {index}"
    if isinstance(clip, np.ndarray):
        if clip.ndim != 4 or clip.shape[3] != 3 or clip.dtype != np.uint8 or not all(clip.shape):
            raise SettingsError(name, f"expected frames (T, H, W, 3) uint8 but got {clip.shape} {clip.dtype}")
        if fps is None or not 0 < fps < math.inf:
            raise SettingsError(name, "frames alone do not say how fast they are shown", "Give a positive fps.")
    elif not isinstance(clip, (str, os.PathLike, bytes, bytearray, memoryview, Unusable)):
        raise SettingsError(name, f"expected a path, a URL, bytes or an array but got {type(clip).__name__}")


def check_client(url: str, in_flight: int, patience_s: float, failures: str, send: str) -> None:
    """Raise SettingsError for options that make no sense."""
    if not url.lower().startswith(("http://", "https://")):
        raise SettingsError("url", f"expected http://HOST:PORT but got {url!r}")
    if in_flight < 1:
        raise SettingsError("in_flight", f"expected at least 1 but got {in_flight}")
    if not 0 < patience_s < math.inf:
        raise SettingsError("patience_s", f"expected a positive number but got {patience_s}")
    if failures not in ("nan", "raise") or send not in ("upload", "path"):
        raise SettingsError("failures, send", f"expected nan or raise, upload or path but got {failures}, {send}")
