"""Draw a verdict over its video: boxes where and while the traces live, and a timeline strip below the picture."""

from __future__ import annotations

import math
import os

import cv2
import numpy as np

from deeptrace.geometry import Box
from deeptrace.trace import Label, Media, Outcome, Trace, Verdict
from deeptrace.video.base import Video
from deeptrace.video.frame import Frame, Picture
from deeptrace.video.overlay_style import Color, color_of, name_of, paste, tag
from deeptrace.video.write import write_video

__all__ = ["Overlay", "draw_overlay"]

_INK: Color = (16, 16, 18)
_PAPER: Color = (24, 25, 28)
_LINE: Color = (70, 72, 78)
_WHITE: Color = (245, 245, 245)
_HEADS: dict[Label, Color] = {Label.FAKE: (255, 110, 90), Label.REAL: (120, 210, 140)}
_MAX_LANES = 6
_MIN_WIDTH = 480
_DEFAULT_FPS = 25.0


class Overlay:
    """Draws one verdict on frames of one video.

    Pictures narrower than 480 pixels are enlarged by a whole factor, so that the labels can be read; the strip is as
    high as the verdict has lanes (one a trace, at most 6, most certain first). The canvas has even sides.

    Args:
        verdict: what to draw.
        media: of the video.
    """

    def __init__(self, verdict: Verdict, media: Media) -> None:
        self._verdict, self._duration_s = verdict, max(media.duration_s, 1e-3)
        self._factor = max(math.ceil(_MIN_WIDTH / media.width), 1)
        self._width, self._height = media.width * self._factor, media.height * self._factor
        short = min(self._width, self._height * 2)
        self._letters = max(round(short / 48), 11)
        self._stroke = max(round(short / 320), 2)
        traces = sorted(verdict.traces, key=lambda trace: -1.0 if trace.score is None else -trace.score)
        self._lanes = list(enumerate(traces[:_MAX_LANES], start=1))
        self._left_out = len(traces) - len(self._lanes)
        self._strip, self._bars_from, self._bars_to = self._draw_strip()

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the canvas."""
        return self._width + self._width % 2, self._height + len(self._strip) + (self._height + len(self._strip)) % 2

    def draw(self, frame: Frame) -> Picture:
        """The frame with its boxes, above the strip with the playhead at the frame's time."""
        width, height = self.size
        canvas = np.empty((height, width, 3), np.uint8)
        canvas[...] = _PAPER
        shown = canvas[: self._height, : self._width]
        if frame.image.shape[:2] == shown.shape[:2]:
            shown[...] = frame.image
        else:
            shown[...] = cv2.resize(frame.image, (self._width, self._height), interpolation=cv2.INTER_LINEAR)
        for number, trace in reversed(self._lanes):  # the most certain one lies on top
            box = box_at(trace, frame.time_s)
            if box is not None:
                self._draw_box(shown, box, trace, number)
        canvas[self._height : self._height + len(self._strip), : self._width] = self._strip
        x = round(self._x(frame.time_s))
        top, bottom = self._height + self._bars_from, self._height + self._bars_to
        canvas[top:bottom, max(x - self._stroke // 2, 0) : x - self._stroke // 2 + self._stroke] = _WHITE
        return canvas

    def _draw_box(self, shown: Picture, box: Box, trace: Trace, number: int) -> None:
        sides = box.to_pixels_xyxy(width=self._width - 1, height=self._height - 1)
        x0, y0, x1, y1 = (round(side) for side in sides)
        stroke = self._stroke
        cv2.rectangle(shown, (x0, y0), (x1, y1), _INK, stroke + 2)
        cv2.rectangle(shown, (x0, y0), (x1, y1), color_of(trace), stroke)
        label = tag(name_of(trace, number), self._letters, _INK, color_of(trace), self._width)
        # Above the box where there is room, else just inside it.
        y = y0 - len(label) if y0 >= len(label) else y0 + stroke
        paste(shown, label, x0 - stroke // 2, y)

    # -- the strip ---------------------------------------------------------------------------------------------

    def _draw_strip(self) -> tuple[Picture, int, int]:
        """The strip without its playhead, and the rows between which the playhead runs."""
        pad, letters = self._letters // 2, self._letters
        lane = round(letters * 1.9)
        head = round(letters * 2.0)
        bars_from = head
        bars_to = head + max(len(self._lanes), 1) * lane + pad // 2
        strip = np.empty((bars_to + round(letters * 1.8), self._width, 3), np.uint8)
        strip[...] = _PAPER
        words, color = self._headline()
        paste(strip, tag(words, letters, color, _PAPER, self._width - pad), pad // 2, pad // 3)
        self._draw_scale(strip, bars_from, bars_to)
        for row, (number, trace) in enumerate(self._lanes):
            self._draw_lane(strip, trace, number, head + row * lane, lane)
        return strip, bars_from, bars_to

    def _headline(self) -> tuple[str, Color]:
        verdict = self._verdict
        if verdict.label is None:
            return f"{verdict.outcome.value.replace('_', ' ')}: {verdict.error or ''}", _WHITE
        words = [verdict.label.value]
        if verdict.p_fake is not None:
            words.append(f"p(fake) {verdict.p_fake:.2f}")
        if verdict.detector is not None:
            words.append(verdict.detector.name)
        if not verdict.traces and verdict.outcome is Outcome.SCORED:
            words.append("no trace found")
        if self._left_out:
            words.append(f"{self._left_out} more traces not drawn")
        return "  ·  ".join(words), _HEADS[verdict.label]

    def _draw_scale(self, strip: Picture, top: int, bottom: int) -> None:
        step = tick_step(self._duration_s, self._width / (self._letters * 5))
        for k in range(int(self._duration_s / step + 1e-6) + 1):
            x = round(self._x(k * step))
            strip[top:bottom, x : x + max(self._stroke // 2, 1)] = _LINE
            label = tag(f"{k * step:g} s", max(round(self._letters * 0.85), 9), (170, 172, 178), _PAPER, self._width)
            paste(strip, label, x - label.shape[1] // 2, bottom + 1)

    def _draw_lane(self, strip: Picture, trace: Trace, number: int, top: int, lane: int) -> None:
        onset = trace.onset_s if trace.onset_s is not None else 0.0
        offset = trace.offset_s if trace.offset_s is not None else self._duration_s
        x0 = round(self._x(onset))
        x1 = max(round(self._x(offset)), x0 + self._stroke)
        color = color_of(trace)
        gap = max(lane // 10, 1)
        strip[top + gap : top + lane - gap, x0:x1] = color
        text = name_of(trace, number)
        inside = tag(text, self._letters, _INK, color, self._width)
        y = top + (lane - len(inside)) // 2
        if inside.shape[1] <= x1 - x0:
            paste(strip, inside, x0, y)
            return
        # Too short for its words: they stand beside it, on the side with more room.
        right = self._width - x1 >= x0
        beside = tag(text, self._letters, color, _PAPER, max(self._width - x1 if right else x0, 1))
        paste(strip, beside, x1 + 1 if right else x0 - beside.shape[1] - 1, y)

    def _x(self, time_s: float) -> float:
        """Column of a moment; the strip keeps a margin of one letter on both sides."""
        margin = self._letters
        share = min(max(time_s / self._duration_s, 0.0), 1.0)
        return margin + share * (self._width - 2 * margin - 1)


def draw_overlay(
    video: Video, verdict: Verdict, path: str | os.PathLike[str], *, crf: int = 20, threads: int = 1
) -> None:
    """Write `video` with `verdict` drawn over it to `path` (.mp4, H.264), streaming; times are kept.

    Raises:
        VideoError: `video` cannot be read or `path` cannot be written.
    """
    overlay = Overlay(verdict, video.media)
    drawn = (Frame(frame.time_s, overlay.draw(frame)) for frame in video.frames())
    write_video(path, drawn, fps=video.media.fps or _DEFAULT_FPS, crf=crf, threads=threads)


def box_at(trace: Trace, time_s: float) -> Box | None:
    """Where to draw a trace at a moment, or None when it is not alive then or its place is not known.

    An onset that is not known is the start, an offset that is not known the end of the video.
    """
    onset = trace.onset_s if trace.onset_s is not None else 0.0
    if time_s < onset or (trace.offset_s is not None and time_s >= trace.offset_s and time_s != onset):
        return None
    tube = trace.tube
    if tube is not None:
        return tube.box_at(time_s)
    return trace.box


def tick_step(duration_s: float, most: float) -> float:
    """The smallest of 1, 2, 5 times a power of ten (at least 0.1 s) that gives at most `most` steps.

    >>> tick_step(5.0, 10.0), tick_step(125.0, 10.0)
    (0.5, 20.0)
    """
    power = 0.1
    while True:
        for digit in (1, 2, 5):
            if duration_s / (digit * power) <= max(most, 1.0):
                return round(digit * power, 6)
        power *= 10
