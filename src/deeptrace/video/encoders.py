"""The settings with which pictures are encoded: quiet, and the same bits from the same pictures."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Literal

import cv2

from deeptrace.errors import SettingsError

__all__ = ["Codec", "encoder_options", "ordinary_priority"]

Codec = Literal["libx264", "libx265", "libvpx-vp9", "libsvtav1", "gif"]


# OpenCV's number for the AVX-512 foundation (its Python module does not name it).
_CPU_AVX_512F = 13


def _repeatable_x264() -> dict[str, str]:
    """Options under which x264 gives equal bits for equal pictures.

    The AVX-512 code of x264's macroblock tree (core 165) reads memory that was never set: on such machines 14 runs
    over one 161x121 clip gave up to 6 different streams, with AVX2 always one. Every processor with AVX-512 has AVX2
    and its companions; others are left to x264's own choice.
    """
    if not cv2.checkHardwareSupport(_CPU_AVX_512F):
        return {}
    return {"x264-params": "asm=avx2,fma3,bmi2,lzcnt"}


def encoder_options(codec: Codec, crf: int, preset: str | None = None, *, reorder: bool = True) -> dict[str, str]:
    """FFmpeg options of an encoder.

    Args:
        codec: FFmpeg's name of the encoder.
        crf: constant quality; lower is better and larger.
        preset: the encoder's own speed name or number; None for a quick default.
        reorder: let H.264 and H.265 use B-frames.

    Raises:
        SettingsError: `codec` is none of ours.
    """
    match codec:
        case "libx264":
            order = {} if reorder else {"bf": "0"}
            return {"crf": str(crf), "preset": preset or "veryfast", **_repeatable_x264(), **order}
        case "libx265":
            quiet = "log-level=none:pools=none" + ("" if reorder else ":bframes=0")
            return {"crf": str(crf), "preset": preset or "veryfast", "x265-params": quiet}
        case "libvpx-vp9":
            return {"crf": str(crf), "b": "0", "deadline": "realtime", "cpu-used": preset or "6"}
        case "libsvtav1":
            # The library prints its settings to stderr; 1 leaves errors only. It reads nothing but its environment.
            os.environ.setdefault("SVT_LOG", "1")
            return {"crf": str(crf), "preset": preset or "10"}
        case "gif":
            return {}
    raise SettingsError("codec", f"expected libx264, libx265, libvpx-vp9, libsvtav1 or gif but got {codec!r}")


@contextlib.contextmanager
def ordinary_priority() -> Iterator[None]:
    """Open an encoder inside this, so that it does not take the machine from everybody else.

    SVT-AV1 gives itself and the thread that opens it real-time priority (SCHED_FIFO 99) when it is run by root, as in
    most containers: on two cores its forty threads then keep shells, servers and even the kernel's own work waiting.
    """
    before = {thread for thread in _threads() if _is_real_time(thread)}
    try:
        yield
    finally:
        for thread in _threads():
            if thread not in before and _is_real_time(thread):
                with contextlib.suppress(OSError):  # it has ended meanwhile
                    os.sched_setscheduler(thread, os.SCHED_OTHER, os.sched_param(0))


def _threads() -> list[int]:
    """The threads of this process; none where the system has no such list (only on Linux does SVT-AV1 do this)."""
    try:
        return [int(name) for name in os.listdir("/proc/self/task")]
    except OSError:
        return []


def _is_real_time(thread: int) -> bool:
    try:
        return os.sched_getscheduler(thread) in (os.SCHED_FIFO, os.SCHED_RR)
    except OSError:
        return False
