"""What the server's worker processes do: open a stranger's clip within the limits, and say what it is worth."""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from deeptrace.detectors import Analysis, Detector, Execution
from deeptrace.errors import DeeptraceError, VideoTooLargeError
from deeptrace.inference.executors.engines import Task, execution_of
from deeptrace.inference.executors.wire import Blob, Message
from deeptrace.inference.one_clip import Job, analyse, failure
from deeptrace.reward.dense import map_of
from deeptrace.reward.result import RewardResult
from deeptrace.reward.reward import reward_of
from deeptrace.schema import Outcome, Verdict
from deeptrace.server.limits import LimitedVideo, open_work
from deeptrace.server.schemas import ClipResult, Parts, Reason, Work, reason_of
from deeptrace.server.settings import Limits
from deeptrace.video import video_from_array

__all__ = ["WorkHandler"]


class WorkHandler:
    """See `deeptrace.inference.executors.worker.Handler`.

    Args:
        limits: of the server.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits

    def ready(self, detector: Detector) -> None:
        """Warm up, then bound what may be asked for."""
        if execution_of(detector) is Execution.PROCESSES:
            # What is allocated once, at first use, belongs to the detector and not to the first clip.
            analyse(detector, video_from_array(np.zeros((8, 64, 64, 3), np.uint8), fps=8.0, name="warm-up"))
        _limit_memory(self._limits)

    def task(self, message: Message, _blobs: Sequence[bytes]) -> Task:
        """See `Handler.task`."""
        work = Work.from_json(message["work"])
        return Task(work.name, Job(heat=work.map_to is not None), lambda: open_work(work, self._limits))

    def result(self, detector: Detector, message: Message, found: Analysis) -> tuple[Message, Sequence[Blob]]:
        """The clip's `ClipResult`; its dense map is written where the work says."""
        work = Work.from_json(message["work"])
        result = _result(work, reward_of(found.verdict))
        if result.parts is not None and work.map_to is not None:
            try:
                result = self._mapped(work, found)
            except (DeeptraceError, OSError, MemoryError) as error:
                result = _result(work, reward_of(failure(work.name, error, info=detector.info).verdict))
        return result.model_dump(mode="json"), ()

    def _mapped(self, work: Work, found: Analysis) -> ClipResult:
        with open_work(work, self._limits) as video:
            self._check_map(work, video)
            dense = map_of(found, video, reward_of, size=work.map_size, times_s=work.map_times_s)
        assert work.map_to is not None
        with open(work.map_to, "wb") as file:
            np.savez(file, map=dense.map.astype(np.float16), times_s=dense.times_s)
        return _result(work, dense.result)

    def _check_map(self, work: Work, video: LimitedVideo) -> None:
        media = video.media
        height, width = work.map_size or (media.height, media.width)
        count = len(work.map_times_s or ()) or media.frames or round(media.duration_s * (media.fps or 30))
        if count * height * width > self._limits.map_values:
            most = self._limits.map_values
            raise VideoTooLargeError(work.name, f"its map has more than {most} values", "Give a size.")


def _result(work: Work, scored: RewardResult) -> ClipResult:
    """The answer for the caller: the clip by its name, not by the path of our copy."""
    verdict = scored.verdict.model_copy(
        update={"video": work.name, "warnings": tuple(_named(work, line) for line in scored.verdict.warnings)}
    )
    if scored.parts is not None:
        return ClipResult(**dict(verdict), parts=Parts(**asdict(scored.parts)))
    reason = reason_of(verdict.outcome)
    if verdict.outcome is Outcome.DECODE_FAILED and not os.path.exists(work.path):
        reason = Reason.NOT_FOUND
    known: dict[str, Any] = {"media": verdict.media, "detector": verdict.detector, "elapsed_s": verdict.elapsed_s}
    failed = Verdict.failed(work.name, verdict.outcome, _named(work, verdict.error or ""), **known)
    return ClipResult(**dict(failed), reason=reason)


def _named(work: Work, text: str) -> str:
    return text.replace(work.path, work.name).removeprefix(f"{work.name}: ")


def _limit_memory(limits: Limits) -> None:
    """Bound what may be asked for from now on; a core dump of gigabytes helps nobody, nor does a written file."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    most = limits.map_values * 2 + (64 << 20)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    if sys.platform == "linux":
        with open("/proc/self/statm", encoding="ascii") as file:
            held = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (held + limits.memory_bytes, held + limits.memory_bytes))
