"""A worker process's life: load the detector, take limits upon itself, judge the clips it is given.

Messages are JSON in both directions: what comes back from a process that has read strangers' files is data, never code.

    to it    {"clips": [Work, ...]}
    from it  for each clip {"started": i} and {"done": i, "result": ClipResult}

The first message, before any clip, is the detector's DetectorInfo or the error that kept it from being loaded.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from deeptrace.detectors import Detector, load_detector
from deeptrace.detectors.registry import family_of
from deeptrace.errors import DeeptraceError, ModelError, VideoNotFoundError, VideoTooLargeError
from deeptrace.evaluate.detect import judge_opened
from deeptrace.reward.dense import dense_reward
from deeptrace.reward.rewarder import RewardResult, reward_of
from deeptrace.studio.serve.capped import CappedVideo, open_work
from deeptrace.studio.serve.schemas import ClipResult, Parts, Reason, Work
from deeptrace.studio.serve.settings import Limits
from deeptrace.trace import Outcome, Verdict
from deeptrace.video import video_from_array

__all__ = ["live"]

_PR_SET_PDEATHSIG = 1


def live(pipe: Connection, detector: str, settings: Mapping[str, Any], limits: Limits, parent: int) -> None:
    """Serve until the pipe closes."""
    os.dup2(2, 1)  # what a detector prints is no answer
    _die_with(parent)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a supervisor signals the whole group; the server drains
    try:
        loaded = load_detector(detector, **settings)
    except DeeptraceError as error:
        pipe.send(error)
        return
    if "cv2" in sys.modules:  # the processes are what runs in parallel
        sys.modules["cv2"].setNumThreads(1)
    family = family_of(detector)
    waits = family is not None and family.waits
    if not waits:
        # What is allocated once, at first use, belongs to the detector and not to the first clip.
        judge_opened(loaded, video_from_array(np.zeros((8, 64, 64, 3), np.uint8), fps=8.0, name="warm-up"))
    _limit_memory(limits)
    threads = int(getattr(loaded, "concurrency", 1)) if waits else 1
    try:
        pipe.send(loaded.info)
        _Judge(pipe, loaded, limits, threads).serve()
    except (EOFError, OSError):
        return  # the parent is gone, or has no more work


class _Judge:
    """Answers batches; several clips of one at a time where the detector mostly waits for a server."""

    def __init__(self, pipe: Connection, detector: Detector, limits: Limits, threads: int) -> None:
        self._pipe, self._detector, self._limits = pipe, detector, limits
        self._threads = ThreadPoolExecutor(threads) if threads > 1 else None
        self._lock = threading.Lock()

    def serve(self) -> None:
        while True:
            batch = [Work.from_json(fields) for fields in json.loads(self._pipe.recv_bytes())["clips"]]
            if self._threads is None:
                for index, work in enumerate(batch):
                    self._one(index, work)
            else:
                list(self._threads.map(self._one, range(len(batch)), batch))

    def _one(self, index: int, work: Work) -> None:
        self._say({"started": index})
        result = _scored(self._detector, work, self._limits)
        self._say({"done": index, "result": result.model_dump(mode="json")})

    def _say(self, message: dict[str, Any]) -> None:
        with self._lock:
            _send(self._pipe, message)


def _scored(detector: Detector, work: Work, limits: Limits) -> ClipResult:
    """The result for one clip; never raises for a bad one."""
    try:
        with open_work(work, limits) as video:
            if work.map_to is None:
                return _result(work, limits, reward_of(judge_opened(detector, video).verdict))
            return _mapped(detector, work, video, limits)
    except (DeeptraceError, OSError, MemoryError) as error:
        return _failed(work, limits, Outcome.DECODE_FAILED, error)
    except Exception as error:  # noqa: BLE001 - the process's edge: a surprise costs its clip, not the process
        return _failed(work, limits, Outcome.DECODE_FAILED, f"{type(error).__name__}: {error}")


def _mapped(detector: Detector, work: Work, video: CappedVideo, limits: Limits) -> ClipResult:
    """As above, and the dense map written where `work` says."""
    media = video.media
    height, width = work.map_size or (media.height, media.width)
    count = len(work.map_times_s or ()) or media.frames or round(media.duration_s * (media.fps or 30))
    if count * height * width > limits.map_values:
        raise VideoTooLargeError(work.name, f"its map has more than {limits.map_values} values", "Give a size.")
    try:
        dense = dense_reward(detector, video, reward_of, size=work.map_size, times_s=work.map_times_s)
    except ModelError as error:
        return _failed(work, limits, Outcome.MODEL_FAILED, error)
    assert work.map_to is not None
    with open(work.map_to, "wb") as file:
        np.savez(file, map=dense.map.astype(np.float16), times_s=dense.times_s)
    return _result(work, limits, dense.result)


def _result(work: Work, limits: Limits, scored: RewardResult) -> ClipResult:
    if scored.parts is None:
        return _failed(work, limits, scored.verdict.outcome, scored.verdict.error or "", scored.verdict)
    verdict = scored.verdict.model_copy(
        update={"video": work.name, "warnings": tuple(_named(work, line) for line in scored.verdict.warnings)}
    )
    return ClipResult(**dict(verdict), parts=Parts(**asdict(scored.parts)))


def _failed(
    work: Work, limits: Limits, outcome: Outcome, error: Exception | str, verdict: Verdict | None = None
) -> ClipResult:
    """A failed outcome, told by the clip's name and not by the path of our copy."""
    reason = Reason.UNREADABLE if outcome is Outcome.DECODE_FAILED else Reason.NOT_SCORED
    if isinstance(error, VideoTooLargeError) or "more than the limit" in str(error) or "longer than" in str(error):
        reason = Reason.TOO_LARGE
    elif isinstance(error, VideoNotFoundError):
        reason = Reason.NOT_FOUND
    text = _named(work, str(error))
    if isinstance(error, MemoryError) or text == "MemoryError":
        reason, text = Reason.TOO_LARGE, f"needs more memory than the limit of {limits.memory_bytes >> 20} MiB"
    known = {} if verdict is None else {"media": verdict.media, "detector": verdict.detector}
    failed = Verdict.failed(work.name, outcome, text, **known)
    return ClipResult(**dict(failed), reason=reason)


def _named(work: Work, text: str) -> str:
    return text.replace(work.path, work.name).removeprefix(f"{work.name}: ")


def _send(pipe: Connection, message: dict[str, Any]) -> None:
    pipe.send_bytes(json.dumps(message, allow_nan=False).encode())


def _die_with(parent: int) -> None:
    """Have the kernel end this process with its parent, even one that is killed while a clip hangs (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            sys.exit(1)


def _limit_memory(limits: Limits) -> None:
    """Bound what may be asked for from now on; a core dump of gigabytes helps nobody, nor does a written file."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    most = limits.map_values * 2 + (64 << 20)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    if sys.platform == "linux":
        with open("/proc/self/statm", encoding="ascii") as file:
            held = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (held + limits.memory_bytes, held + limits.memory_bytes))
