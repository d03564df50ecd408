"""Times as models write them, to seconds and back: 1.2, "1.2s", "00:01.2", "frame 12"."""

from __future__ import annotations

import math
import re
from enum import StrEnum
from typing import Any

from deeptrace.protocol.spaces import View

__all__ = ["TimeUnit", "read_time", "write_time"]


class TimeUnit(StrEnum):
    """How an answer states a time; a bare number is seconds, or a frame number under FRAMES."""

    SECONDS = "seconds"
    CLOCK = "clock"
    FRAMES = "frames"


_NUMBER = r"(\d+(?:\.\d*)?|\.\d+)"
_CLOCK = re.compile(rf"(?:(\d{{1,4}}):)?(\d{{1,6}}):{_NUMBER}")
_FRAME = re.compile(r"frames?\s*(?:no\.?|number|#|index)?\s*:?\s*(\d{1,9})|(\d{1,9})(?:st|nd|rd|th)?\s*frame", re.I)
_UNITS = re.compile(
    rf"{_NUMBER}\s*(ms\b|msecs?\b|milliseconds?\b|minutes?\b|mins?\b|m\b|seconds?\b|secs?\b|s\b)?", re.I
)


def read_time(value: Any, *, unit: TimeUnit = TimeUnit.SECONDS, view: View | None = None) -> float | None:
    """Seconds of a stated time, or None when it states none.

    A unit that is written ("ms", "s", "min", "frame", a colon) wins over `unit`, which tells what a bare number is.

    Args:
        value: a number, or text such as "1.2", "1.2s", "starting at 00:01.2", "frame 12".
        unit: what a bare number means.
        view: turns frame numbers into seconds: by the timestamps of the frames shown, else by the frame rate.
    """
    view = view or View()
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, (int, float)):
        return _frame_time(value, view) if unit is TimeUnit.FRAMES else _sane(value)
    if not isinstance(value, str):
        return None
    text = value[:200]
    if clock := _CLOCK.search(text):
        hours, minutes, seconds = clock.groups()
        return _sane(int(hours or 0) * 3600 + int(minutes) * 60 + float(seconds))
    if frame := _FRAME.search(text):
        return _frame_time(int(frame.group(1) or frame.group(2)), view)
    if (plain := _UNITS.search(text)) is None or _minus_before(text, plain.start()):
        return None
    number, suffix = float(plain.group(1)), (plain.group(2) or "").lower()
    if not suffix and unit is TimeUnit.FRAMES:
        return _frame_time(number, view)
    if suffix.startswith(("ms", "milli")):
        return _sane(number / 1000)
    return _sane(number * 60 if suffix.startswith("m") else number)


def write_time(time_s: float, *, unit: TimeUnit = TimeUnit.SECONDS, view: View | None = None) -> str:
    """A time as an answer states it, to a hundredth of a second: "1.2", "00:01.20" or the frame number "12".

    Under FRAMES it is the frame nearest in time, counted from 0 among the frames shown (or at the frame rate).

    Raises:
        ValueError: FRAMES, and `view` knows neither frame times nor a frame rate.
    """
    view = view or View()
    if unit is TimeUnit.CLOCK:
        minutes, hundredths = divmod(round(time_s * 100), 6000)
        return f"{minutes:02d}:{hundredths // 100:02d}.{hundredths % 100:02d}"
    if unit is TimeUnit.FRAMES:
        if view.frame_times_s:
            return str(min(range(len(view.frame_times_s)), key=lambda i: abs(view.frame_times_s[i] - time_s)))
        if not view.fps:
            raise ValueError("expected a view with frame times or a frame rate to write a time as a frame")
        return str(round(time_s * view.fps))
    return f"{time_s:.2f}".rstrip("0").rstrip(".")


def _frame_time(number: float, view: View) -> float | None:
    if not math.isfinite(number) or number < 0:
        return None
    if view.frame_times_s:
        index = int(number)
        return view.frame_times_s[index] if index < len(view.frame_times_s) else None
    return _sane(number / view.fps) if view.fps else None


def _sane(seconds: float) -> float | None:
    """Finite, not negative, and under 12 days: anything else is no time in a video."""
    try:
        value = float(seconds)
    except OverflowError:
        return None
    return value if 0 <= value < 1e6 else None


def _minus_before(text: str, start: int) -> bool:
    return start > 0 and text[start - 1] == "-" and (start == 1 or not text[start - 2].isalnum())
