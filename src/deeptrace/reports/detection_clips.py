"""What the report shows of each clip: a small copy that browsers play, the times of its frames, and a still picture.

Every clip is re-encoded, whatever it was, to H.264 with its times kept: browsers play no HEVC, MPEG-4 part 2 or GIF
with a seek bar, and nothing of a stranger's file then reaches the browser's decoder. Sound is left out.

A report is to be mailed, so the clips share `PAGE_BYTES` (see `Budget`). A clip gets the best of `_QUALITIES` that fits
its share; where none does, only the seconds around its strongest trace; where even they do not fit, the still.
"""

from __future__ import annotations

import os
import tempfile
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import cv2
from PIL import Image

from deeptrace.errors import DeeptraceError
from deeptrace.schema import Media, Trace, Verdict
from deeptrace.video import Frame, Video, open_video, write_video

__all__ = ["MAX_CLIP_S", "Budget", "ShownClip", "alive", "show_clip", "show_clips"]

PAGE_BYTES = 2_400_000
"""What all clips of a page may take together; as text in the page they take a third more."""
MIN_SHARE = 48_000
"""What a clip gets of a long list in any case, on average: such a page is larger."""
MAX_CLIP_S = 60.0
LOOK_S, LEAD_S = 8.0, 2.0
"""Length of the part shown of a clip that does not fit as a whole, and how much of it comes before the trace."""


class _Quality(NamedTuple):
    side: int
    """The longest side, in pixels."""
    crf: int
    """Of x264."""


_QUALITIES = (
    _Quality(960, 22),
    _Quality(720, 25),
    _Quality(560, 27),
    _Quality(480, 29),
    _Quality(420, 32),
    _Quality(352, 35),
)
_POOREST = _Quality(288, 40)
_TYPICAL_RATE = 0.005
"""Bytes a pixel at crf 30, of a clip of which nothing is known yet."""
_HALF_AT = 7.0
"""A crf that is higher by this much takes half the bytes."""
_STILL_SIDE, _STILL_QUALITY = 208, 62


@dataclass(frozen=True)
class ShownClip:
    """What the page shows of a clip.

    Attributes:
        mp4: a file that browsers play; None where the clip cannot be shown, or only its still can.
        times_s: the clip's own time of each frame in `mp4`, which begins at 0 with the first.
        end_s: the clip's own time at the end of `mp4`.
        still: a small JPEG picture of the moment `moment_s`; None where the clip cannot be read.
        moment_s: the time of a frame on which the strongest trace is to be seen.
        note: what differs from the clip, or why it is missing; may be empty.
    """

    mp4: bytes | None = None
    times_s: tuple[float, ...] = ()
    end_s: float = 0.0
    still: bytes | None = None
    moment_s: float = 0.0
    note: str = ""


def show_clips(verdicts: Sequence[Verdict], *, addresses: Mapping[str, str] | None = None) -> Iterator[ShownClip]:
    """What to show of each video, in order.

    A few are made ahead by threads: FFmpeg works outside of Python's lock.

    Args:
        verdicts: on the videos.
        addresses: where a clip is to be read from, by the `video` of its verdict, if not from there.
    """
    ahead = os.cpu_count() or 1
    budget = Budget(len(verdicts))
    with ThreadPoolExecutor(ahead) as threads:
        waiting: deque[tuple[int, Future[ShownClip]]] = deque()
        for verdict in verdicts:
            limit, address = budget.take(), (addresses or {}).get(verdict.video)
            waiting.append((limit, threads.submit(show_clip, verdict, address=address, limit=limit)))
            if len(waiting) > ahead:
                yield _settled(budget, *waiting.popleft())
        while waiting:
            yield _settled(budget, *waiting.popleft())


def _settled(budget: Budget, limit: int, future: Future[ShownClip]) -> ShownClip:
    clip = future.result()
    budget.give_back(limit - len(clip.mp4 or b""))
    return clip


class Budget:
    """What the clips of a page may take, handed out clip by clip: together never more than `total`.

    A clip may take two even shares as long as half a share is left for each one after it: most need less than a share,
    and those that come first matter most.

    Args:
        clips: of the page.

    Examples:
        >>> budget = Budget(31)
        >>> budget.total, budget.take()
        (2400000, 154838)
        >>> budget.give_back(100_000)
        >>> sum(budget.take() for _ in range(30)) + 54_838 <= budget.total
        True
    """

    def __init__(self, clips: int) -> None:
        self.total = max(PAGE_BYTES, clips * MIN_SHARE)
        self._left, self._clips, self._share = self.total, clips, self.total // max(clips, 1)

    def take(self) -> int:
        """Most bytes of the next clip."""
        self._clips -= 1
        limit = min(2 * self._share, self._left - self._clips * self._share // 2)
        self._left -= limit
        return limit

    def give_back(self, spare: int) -> None:
        """What a clip did not need, for those to come."""
        self._left += spare


def show_clip(verdict: Verdict, *, address: str | None = None, limit: int = PAGE_BYTES) -> ShownClip:
    """What to show of one video.

    Args:
        verdict: on it.
        address: where it is to be read from; None: where the verdict says.
        limit: most bytes of the copy.
    """
    if verdict.media is None:
        return ShownClip(note="The video could not be opened.")
    shown = ShownClip()
    try:
        with open_video(address or verdict.video) as video, tempfile.TemporaryDirectory() as folder:
            duration_s = video.media.duration_s
            for window, qualities in _attempts(verdict, duration_s):
                found = _encoded(video, verdict, window, qualities, limit, Path(folder))
                if found.mp4 is not None:
                    return found
                shown = found if found.still is not None else shown
    except (DeeptraceError, OSError) as error:
        return replace(shown, mp4=None, note=f"The clip cannot be shown: {error}")
    note = f"Only a still is shown: the clip does not fit {limit / 1000:.0f} kB. Open the file itself."
    return replace(shown, note=note)


_Window = tuple[float, float]


def _attempts(verdict: Verdict, duration_s: float) -> Iterator[tuple[_Window, Sequence[_Quality]]]:
    """What to try, best first: a part of the clip, and the qualities for it."""
    whole = _window(verdict, duration_s, MAX_CLIP_S)
    around = _window(verdict, duration_s, LOOK_S)
    if around == whole:
        yield whole, (*_QUALITIES, _POOREST)
    else:
        yield whole, _QUALITIES
        yield around, (*_QUALITIES, _POOREST)


def _window(verdict: Verdict, duration_s: float, most_s: float) -> _Window:
    """Start and end, in seconds, of at most `most_s` around the strongest trace."""
    if duration_s <= most_s:
        return 0.0, duration_s
    onset_s = (verdict.traces[0].onset_s if verdict.traces else None) or 0.0
    start_s = min(max(onset_s - min(LEAD_S, most_s / 4), 0.0), duration_s - most_s)
    return start_s, start_s + most_s


def _encoded(
    video: Video, verdict: Verdict, window: _Window, qualities: Sequence[_Quality], limit: int, folder: Path
) -> ShownClip:
    """The part of the clip in the best quality that fits the limit; without `mp4` where none does.

    What an attempt took says what the next would take, so that few are made.
    """
    media = video.media
    # Beyond the rate of film the pictures between take next to nothing.
    pictures = max((window[1] - window[0]) * min(media.fps or 25.0, 25.0), 1.0)
    rate, shown = _TYPICAL_RATE, ShownClip()
    for quality in qualities:
        width, height = _size(media, quality)
        at_crf_30 = width * height * pictures * 2 ** ((30 - quality.crf) / _HALF_AT)
        hopeless = rate * at_crf_30 > (4 * limit if quality is qualities[-1] else limit)
        if hopeless and quality is not _POOREST:
            continue
        path = folder / "shown.mp4"
        shown = _written(video, verdict, window, quality, path)
        if (taken := path.stat().st_size) <= limit:
            note = _difference(media, quality, window)
            return replace(shown, mp4=path.read_bytes(), note=note)
        rate = taken / at_crf_30
    return shown


def _size(media: Media, quality: _Quality) -> tuple[int, int]:
    """(width, height) in pixels, even, of the reduced picture."""
    scale = min(quality.side / max(media.width, media.height), 1.0)
    return max(round(media.width * scale / 2) * 2, 2), max(round(media.height * scale / 2) * 2, 2)


def _written(video: Video, verdict: Verdict, window: _Window, quality: _Quality, path: Path) -> ShownClip:
    """Write the part to `path`, and say what it shows; `mp4` is left to the caller."""
    start_s, end_s = window
    # The last frame may start exactly at the stated end; a closed end keeps it when the whole clip is shown.
    end = None if end_s >= video.media.duration_s else end_s
    frames = video.frames(size=_size(video.media, quality), start_s=start_s, end_s=end)
    look = _Look(verdict.traces[0] if verdict.traces else None, start_s, end_s)
    write_video(path, look.rebased(frames), fps=video.media.fps or 25.0, crf=quality.crf)
    assert look.chosen is not None  # write_video refuses to write nothing
    return ShownClip(
        times_s=tuple(look.times_s),
        end_s=max(end_s, look.times_s[-1]),
        still=_jpeg(look.chosen),
        moment_s=look.chosen.time_s,
    )


class _Look:
    """Passes frames on, with the first at time 0, and keeps their times and the one to be seen first.

    That is the last frame up to the middle of the strongest trace's life, or of the part shown; where the trace does
    not live on it, the first one after.
    """

    def __init__(self, trace: Trace | None, start_s: float, end_s: float) -> None:
        onset_s = start_s if trace is None or trace.onset_s is None else trace.onset_s
        offset_s = end_s if trace is None or trace.offset_s is None else trace.offset_s
        self._trace, self._middle_s = trace, (max(onset_s, start_s) + min(offset_s, end_s)) / 2
        self.times_s: list[float] = []
        self.chosen: Frame | None = None

    def rebased(self, frames: Iterator[Frame]) -> Iterator[Frame]:
        """The same frames with the first at time 0."""
        for frame in frames:
            lives = self._trace is not None and alive(self._trace, frame.time_s)
            settled = self.chosen is not None and (self._trace is None or alive(self._trace, self.chosen.time_s))
            if self.chosen is None or frame.time_s <= self._middle_s or (lives and not settled):
                self.chosen = frame
            self.times_s.append(frame.time_s)
            yield Frame(frame.time_s - self.times_s[0], frame.image)


def alive(trace: Trace, time_s: float) -> bool:
    """Whether a trace is there at a moment; an onset not known is the start, an offset not known the end."""
    return (trace.onset_s is None or time_s >= trace.onset_s) and (trace.offset_s is None or time_s < trace.offset_s)


def _jpeg(frame: Frame) -> bytes:
    height, width = frame.image.shape[:2]
    scale = min(_STILL_SIDE / max(height, width), 1.0)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    file = BytesIO()
    Image.fromarray(cv2.resize(frame.image, size, interpolation=cv2.INTER_AREA)).save(
        file, "JPEG", quality=_STILL_QUALITY, optimize=True
    )
    return file.getvalue()


def _difference(media: Media, quality: _Quality, window: _Window) -> str:
    parts = []
    if max(media.width, media.height) > quality.side:
        parts.append(f"reduced to {quality.side} pixels on its longer side")
    if window[1] - window[0] < media.duration_s:
        parts.append(f"shown from {window[0]:.1f} s to {window[1]:.1f} s")
    return f"The clip is {' and '.join(parts)}." if parts else ""
