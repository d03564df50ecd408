"""Clips as a page can carry them: re-encoded to H.264 with their times kept, small, inside the page.

Every clip is re-encoded, whatever it was: browsers play no HEVC, MPEG-4 part 2 or GIF with a seek bar, and nothing of a
stranger's file then reaches the browser's decoder. Sound is left out.
"""

from __future__ import annotations

import os
import tempfile
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from deeptrace.errors import DeeptraceError
from deeptrace.trace import Verdict
from deeptrace.video import Frame, Video, open_video, write_video

__all__ = ["MAX_CLIP_BYTES", "MAX_CLIP_S", "MAX_PAGE_BYTES", "Proxy", "make_proxies", "make_proxy"]

MAX_CLIP_BYTES = 8 << 20
MAX_PAGE_BYTES = 160 << 20
MAX_CLIP_S = 60.0
LEAD_S = 5.0
"""How much of a long clip is shown before its first trace."""

_QUALITIES = ((960, 20), (640, 28), (480, 34))
"""(longest side in pixels, x264 crf), tried in this order until the clip is small enough."""


@dataclass(frozen=True)
class Proxy:
    """What the page plays.

    Attributes:
        data: an MP4 file; None when the clip cannot be shown, `note` says why.
        start_s: the clip's own time at the proxy's time 0.
        end_s: the clip's own time at the proxy's end.
        note: what differs from the clip, or why it is missing; may be empty.
    """

    data: bytes | None
    start_s: float = 0.0
    end_s: float = 0.0
    note: str = ""


def make_proxies(verdicts: Sequence[Verdict], *, room: int = MAX_PAGE_BYTES) -> Iterator[Proxy]:
    """A playable copy of each video, in order, until together they take `room` bytes.

    A few are made ahead by threads: FFmpeg works outside of Python's lock.
    """
    ahead = os.cpu_count() or 1
    full = Proxy(None, note=f"The page is full ({room >> 20} MiB of clips); open the file itself.")
    with ThreadPoolExecutor(ahead) as threads:
        waiting: deque[Future[Proxy]] = deque()
        for verdict in [*verdicts, *[None] * ahead]:
            if len(waiting) == ahead or (verdict is None and waiting):
                proxy = waiting.popleft().result()
                fits = len(proxy.data or b"") <= room
                room -= len(proxy.data or b"") if fits else room
                yield proxy if fits else full
            if verdict is not None:
                waiting.append(threads.submit(make_proxy, verdict) if room > 0 else _ready(full))


def _ready(proxy: Proxy) -> Future[Proxy]:
    future: Future[Proxy] = Future()
    future.set_result(proxy)
    return future


def make_proxy(verdict: Verdict, *, limit: int = MAX_CLIP_BYTES) -> Proxy:
    """A playable copy of the verdict's video that takes at most `limit` bytes.

    A clip longer than `MAX_CLIP_S` is cut to that length, from shortly before its first trace.
    """
    if verdict.media is None:
        return Proxy(None, note="The video could not be opened.")
    try:
        with open_video(verdict.video) as video, tempfile.TemporaryDirectory() as folder:
            start_s, end_s = _window(verdict, video.media.duration_s)
            for side, crf in _QUALITIES:
                path = Path(folder) / f"{side}.mp4"
                shift_s = _encode(video, path, side, crf, start_s, end_s)
                if path.stat().st_size <= limit:
                    note = _difference(video, side, start_s, end_s)
                    return Proxy(path.read_bytes(), shift_s, end_s, note)
    except (DeeptraceError, OSError) as error:
        return Proxy(None, note=f"The clip cannot be shown: {error}")
    return Proxy(None, note=f"The clip is larger than {limit >> 20} MiB even when reduced; open the file itself.")


def _window(verdict: Verdict, duration_s: float) -> tuple[float, float]:
    """Start and end, in seconds, of what is shown."""
    if duration_s <= MAX_CLIP_S:
        return 0.0, duration_s
    onsets = [trace.onset_s for trace in verdict.traces if trace.onset_s is not None]
    start_s = min(max(min(onsets, default=0.0) - LEAD_S, 0.0), duration_s - MAX_CLIP_S)
    return start_s, start_s + MAX_CLIP_S


def _encode(video: Video, path: Path, side: int, crf: int, start_s: float, end_s: float) -> float:
    """Write the window to `path`; returns the time of its first frame."""
    media = video.media
    scale = min(side / max(media.width, media.height), 1.0)
    size = (max(round(media.width * scale / 2) * 2, 2), max(round(media.height * scale / 2) * 2, 2))
    # The last frame may start exactly at the stated end; a closed end keeps it when the whole clip is shown.
    end = None if end_s >= media.duration_s else end_s
    frames = video.frames(size=size, start_s=start_s, end_s=end)
    first = next(frames)
    write_video(path, _rebased(first, frames), fps=media.fps or 25.0, crf=crf)
    return first.time_s


def _rebased(first: Frame, rest: Iterator[Frame]) -> Iterator[Frame]:
    """The same frames with the first at time 0."""
    yield Frame(0.0, first.image)
    for frame in rest:
        yield Frame(frame.time_s - first.time_s, frame.image)


def _difference(video: Video, side: int, start_s: float, end_s: float) -> str:
    parts = []
    if max(video.media.width, video.media.height) > side:
        parts.append(f"reduced to {side} pixels on its longer side")
    if end_s - start_s < video.media.duration_s:
        parts.append(f"shown from {start_s:.1f} s to {end_s:.1f} s")
    return f"The clip is {' and '.join(parts)}." if parts else ""
