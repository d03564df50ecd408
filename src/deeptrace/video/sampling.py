"""Which moments of a clip to look at: pure functions of times, in seconds.

All ranges are half-open, [start_s, end_s): a plan never names its end. A plan is a wish; the frames that answer it
carry their own timestamps, and those are what goes on into prompts, parsers and metrics.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, Field

from deeptrace.errors import SettingsError
from deeptrace.plural import plural

__all__ = [
    "MAX_FRAMES",
    "FrameRequest",
    "Moments",
    "Pacer",
    "played_index",
    "times_at_fps",
    "times_limited",
    "uniform_times",
]

# Containers that count in milliseconds (WebM, FLV) put a 30 fps frame up to 0.5 ms off its true place, so a frame
# this much early still belongs to the next slot of a pace.
ROUNDING_S = 0.001

MAX_FRAMES = 64
"""Most frames of a clip where nothing else sets a limit."""
DEFAULT_FPS = 2.0


class FrameRequest(BaseModel):
    """Which frames of a clip a model is to see, and how large: the one form of it, in settings, configs and records.

    The stock settings of most checkpoints enlarge small clips many times over; these do not.

    Attributes:
        fps: frames a second; None for what suits the model, or else 2.
        max_frames: at most so many, spread evenly over longer clips; None for what suits the model, or else
            `MAX_FRAMES`.
        frames: exactly so many, spread evenly, instead of `fps`.
        min_frame_pixels: smaller frames are enlarged to this area (width times height).
        max_frame_pixels: larger frames are shrunk to this area.
        max_total_pixels: largest area of all frames of a clip together; frames shrink to keep it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    fps: float | None = Field(default=None, gt=0)
    max_frames: int | None = Field(default=None, ge=1)
    frames: int | None = Field(default=None, ge=1)
    min_frame_pixels: int = Field(default=56 * 56, ge=1)
    max_frame_pixels: int = Field(default=602_112, ge=1)
    max_total_pixels: int = Field(default=12_845_056, ge=1)

    def moments(self, duration_s: float) -> tuple[float, ...]:
        """The moments at which a clip of `duration_s` seconds is looked at, in seconds.

        >>> FrameRequest(fps=1.0).moments(3.0), FrameRequest(frames=2).moments(3.0)
        ((0.0, 1.0, 2.0), (0.75, 2.25))
        """
        if self.frames is not None:
            return uniform_times(duration_s, self.frames)
        return times_limited(duration_s, fps=self.fps or DEFAULT_FPS, max_frames=self.max_frames or MAX_FRAMES)

    def frame_pixels(self, frames: int) -> int:
        """Largest area of each of `frames` frames, in pixels.

        >>> FrameRequest(max_total_pixels=1_000_000).frame_pixels(10)
        100000
        """
        return max(min(self.max_frame_pixels, self.max_total_pixels // frames), self.min_frame_pixels)

    def __str__(self) -> str:
        """Which frames, for tables."""
        if self.frames is not None:
            return plural(self.frames, "frame")
        return f"{self.fps or DEFAULT_FPS:g} fps" + (f", at most {self.max_frames}" if self.max_frames else "")


class Pacer:
    """Thins a rising stream of times to at most `max_fps`, one frame a slot of 1 / max_fps seconds.

    Slots are [k / max_fps, (k + 1) / max_fps) for whole k, so the choice for one frame does not depend on where
    reading began; the first frame that falls into a slot is kept. A clip with fewer frames a second than `max_fps`
    and even spacing keeps them all, and nothing is ever given twice. Frames before `start_s` are passed over.

    Raises:
        SettingsError: `max_fps` is not a positive finite number (None means: keep all).

    >>> pacer = Pacer(8.0)
    >>> [k for k in range(12) if pacer.keep(k / 24)]
    [0, 3, 6, 9]
    """

    def __init__(self, max_fps: float | None, start_s: float = 0.0) -> None:
        if max_fps is not None and not (math.isfinite(max_fps) and max_fps > 0):
            raise SettingsError("max_fps", f"expected a positive number or None but got {max_fps}")
        self._fps, self._start_s = max_fps, start_s
        self._slot = -math.inf
        self._kept = self._missed = 0

    def wants(self, before_s: float | None, time_s: float, after_s: float | None) -> bool:  # noqa: ARG002
        """Whether `keep` will take the frame at `time_s`, said ahead of time from its neighbours in the clip."""
        if time_s < self._start_s:
            return False
        return before_s is None or before_s < self._start_s or self._slot_of(before_s) < self._slot_of(time_s)

    def keep(self, time_s: float) -> bool:
        """Whether the frame at `time_s` opens a new slot; times must not fall from call to call."""
        slot = self._slot_of(time_s)
        if time_s < self._start_s or slot <= self._slot:
            return False
        if self._kept:
            self._missed += max(int(slot - self._slot) - 1, 0) if self._fps is not None else 0
        self._kept += 1
        self._slot = slot
        return True

    @property
    def keeps_all(self) -> bool:
        """Whether every frame of the clip is kept."""
        return self._fps is None and self._start_s <= 0.0

    def thins(self, step_s: float) -> bool:
        """Whether frames every `step_s` seconds are at least twice as many as are kept."""
        return self._fps is None or step_s * self._fps <= 0.5

    @property
    def misses_slots(self) -> bool:
        """Whether more than one slot in five had no frame so far."""
        return self._missed >= 2 and self._missed > 0.25 * self._kept

    def _slot_of(self, time_s: float) -> float:
        if self._fps is None:
            return time_s
        return math.floor((time_s + min(ROUNDING_S, 0.25 / self._fps)) * self._fps)


class Moments:
    """Asks for the frames that are on screen at given times.

    >>> Moments([0.3]).wants(0.1, 0.2, 0.4)
    True
    """

    def __init__(self, times_s: Sequence[float]) -> None:
        self._times_s = sorted(times_s)

    def wants(self, before_s: float | None, time_s: float, after_s: float | None) -> bool:
        """Whether the frame at `time_s`, followed by one at `after_s`, is shown at one of the times."""
        first = 0 if before_s is None else bisect_left(self._times_s, time_s)
        return first < len(self._times_s) and (after_s is None or self._times_s[first] < after_s)


def uniform_times(duration_s: float, count: int, *, start_s: float = 0.0) -> tuple[float, ...]:
    """`count` moments in the middle of `count` equal parts of [start_s, duration_s).

    Middles, not ends: the first and last frames of a clip are the likeliest to be black, and a plan that ends at the
    duration names a moment that no frame has.

    Raises:
        SettingsError: `count` is below 1, or the range is none.

    >>> uniform_times(4.0, 4)
    (0.5, 1.5, 2.5, 3.5)
    """
    _check_range(start_s, duration_s)
    if count < 1:
        raise SettingsError("count", f"expected at least 1 frame but got {count}")
    step = (duration_s - start_s) / count
    if step == 0.0:
        return (start_s,)
    return tuple(start_s + (k + 0.5) * step for k in range(count))


def times_at_fps(duration_s: float, fps: float, *, start_s: float = 0.0) -> tuple[float, ...]:
    """start_s, start_s + 1/fps, ... below `duration_s`; at least the start itself, even of a clip of length 0.

    Times are seconds.

    Raises:
        SettingsError: `fps` is not a positive finite number, or the range is none.

    >>> times_at_fps(1.1, 2.0)
    (0.0, 0.5, 1.0)
    """
    _check_range(start_s, duration_s)
    if not (math.isfinite(fps) and fps > 0):
        raise SettingsError("fps", f"expected a positive number but got {fps}")
    # Rounding up by hand: 1.1 s at 10 fps is 11 moments, though 1.1 * 10 is 11.000000000000002.
    count = max(math.ceil((duration_s - start_s) * fps - 1e-9), 1)
    return tuple(start_s + k / fps for k in range(count))


def times_limited(duration_s: float, *, fps: float, max_frames: int, start_s: float = 0.0) -> tuple[float, ...]:
    """At `fps` where that is at most `max_frames` moments, else `max_frames` spread evenly from the start.

    The spread-out plan keeps the first moment and a constant step, so it is the same plan at a lower rate.

    Raises:
        SettingsError: `max_frames` is below 1, or as of `times_at_fps`.

    >>> times_limited(10.0, fps=2.0, max_frames=5)
    (0.0, 2.0, 4.0, 6.0, 8.0)
    """
    if max_frames < 1:
        raise SettingsError("max_frames", f"expected at least 1 but got {max_frames}")
    times = times_at_fps(duration_s, fps, start_s=start_s)
    if len(times) <= max_frames:
        return times
    step = (duration_s - start_s) / max_frames
    return tuple(start_s + k * step for k in range(max_frames))


def played_index(frame_times_s: Sequence[float], time_s: float) -> int:
    """Index of the frame on screen at `time_s`: the last one not later; the first one for earlier times.

    Args:
        frame_times_s: when each frame is first shown, in seconds, rising.
        time_s: the moment.

    Raises:
        SettingsError: there are no frames.

    >>> [played_index([0.0, 0.5, 1.0], t) for t in (-1.0, 0.0, 0.49, 0.5, 9.0)]
    [0, 0, 0, 1, 2]
    """
    if not frame_times_s:
        raise SettingsError("frame_times_s", "expected at least one time but got none")
    return max(bisect_right(frame_times_s, time_s) - 1, 0)


def _check_range(start_s: float, end_s: float) -> None:
    if not (math.isfinite(start_s) and math.isfinite(end_s) and 0.0 <= start_s <= end_s):
        raise SettingsError("range", f"expected 0 <= start_s <= duration_s but got {start_s} and {end_s}")
