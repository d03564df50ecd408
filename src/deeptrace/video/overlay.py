"""Draw a verdict over its video: boxes where and while the traces live, and a timeline strip below the picture."""

from __future__ import annotations

import math
import os

import cv2
import numpy as np

from deeptrace.geometry import Box
from deeptrace.plural import plural
from deeptrace.schema import CAVEAT, Decision, Media, Outcome, Trace, Verdict
from deeptrace.video.base import Video
from deeptrace.video.frame import Frame, Picture
from deeptrace.video.overlay_style import Color, color_of, dashed_rectangle, name_of, paste, tag
from deeptrace.video.write import write_video

__all__ = ["Overlay", "draw_overlay"]

_INK: Color = (16, 16, 18)
_PAPER: Color = (24, 25, 28)
_LINE: Color = (70, 72, 78)
_WHITE: Color = (245, 245, 245)
_GREY: Color = (170, 172, 178)
_HEADS: dict[Decision, Color] = {
    Decision.GENERATED: (255, 110, 90),
    Decision.UNCLEAR: (240, 200, 105),
    Decision.REAL: (120, 210, 140),
}
_MAX_LANES = 6
_MIN_WIDTH = 480
# Narrow pictures are enlarged up to this height; pictures with a longer side than the second are shrunk to it, since
# few encoders and fewer players take more.
_MAX_ENLARGED, _MAX_SIDE = 2160, 8192
_DEFAULT_FPS = 25.0


class Overlay:
    """Draws one verdict on frames of one video.

    Pictures narrower than 480 pixels are enlarged by a whole factor, so that the labels can be read, as far as their
    height allows; a strip of a picture stands at the left of a canvas that is wide enough for them. The timeline is as
    high as the verdict has lanes (one a trace, at most 6, most certain first). Weak traces are dashed, and named weak
    guesses. Verdict and caveat stand above the timeline. The canvas has even sides.

    Args:
        verdict: what to draw.
        media: of the video.
    """

    def __init__(self, verdict: Verdict, media: Media) -> None:
        self._verdict, self._duration_s = verdict, max(media.duration_s, 1e-3)
        self._picture = _drawn_size(media.width, media.height)
        self._width, self._height = max(self._picture[0], _MIN_WIDTH), self._picture[1]
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
        shown = canvas[: self._height, : self._picture[0]]
        if frame.image.shape[:2] == shown.shape[:2]:
            shown[...] = frame.image
        else:
            larger = shown.shape[1] > frame.image.shape[1]
            way = cv2.INTER_LINEAR if larger else cv2.INTER_AREA
            shown[...] = cv2.resize(frame.image, self._picture, interpolation=way)
        for number, trace in reversed(self._lanes):  # the most certain one lies on top
            box = box_at(trace, frame.time_s)
            if box is not None:
                self._draw_box(canvas[: self._height], box, trace, number)
        canvas[self._height : self._height + len(self._strip), : self._width] = self._strip
        x = round(self._x(frame.time_s))
        top, bottom = self._height + self._bars_from, self._height + self._bars_to
        canvas[top:bottom, max(x - self._stroke // 2, 0) : x - self._stroke // 2 + self._stroke] = _WHITE
        return canvas

    def _draw_box(self, shown: Picture, box: Box, trace: Trace, number: int) -> None:
        width, height = self._picture
        sides = box.to_pixels_xyxy(width=width - 1, height=height - 1)
        x0, y0, x1, y1 = (round(side) for side in sides)
        stroke = self._stroke
        if trace.weak:
            dashed_rectangle(shown, (x0, y0, x1, y1), color_of(trace), _INK, stroke, dash=self._letters)
        else:
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
        head = round(letters * 3.6)
        bars_from = head
        bars_to = head + max(len(self._lanes), 1) * lane + pad // 2
        strip = np.empty((bars_to + round(letters * 1.8), self._width, 3), np.uint8)
        strip[...] = _PAPER
        words, color = self._headline()
        paste(strip, tag(words, letters, color, _PAPER, self._width - pad), pad // 2, pad // 3)
        small = max(round(letters * 0.85), 9)
        paste(strip, tag(CAVEAT, small, _GREY, _PAPER, self._width - pad), pad // 2, pad // 3 + round(letters * 1.7))
        self._draw_scale(strip, bars_from, bars_to)
        for row, (number, trace) in enumerate(self._lanes):
            self._draw_lane(strip, trace, number, head + row * lane, lane)
        return strip, bars_from, bars_to

    def _headline(self) -> tuple[str, Color]:
        verdict = self._verdict
        if verdict.decision is None:
            return f"{verdict.outcome.display_name}: {verdict.error or ''}", _WHITE
        words = [verdict.decision.display_name]
        if verdict.p_fake is not None:
            words.append(f"p = {verdict.p_fake:.2f}")
        if verdict.detector is not None:
            words.append(verdict.detector.name)
        if not verdict.traces and verdict.outcome is Outcome.SCORED:
            words.append("no trace found")
        if self._left_out:
            words.append(f"{plural(self._left_out, 'more trace')} not drawn")
        return "  ·  ".join(words), _HEADS[verdict.decision]

    def _draw_scale(self, strip: Picture, top: int, bottom: int) -> None:
        step = tick_step(self._duration_s, self._width / (self._letters * 5))
        for k in range(int(self._duration_s / step + 1e-6) + 1):
            x = round(self._x(k * step))
            strip[top:bottom, x : x + max(self._stroke // 2, 1)] = _LINE
            label = tag(f"{k * step:.10g} s", max(round(self._letters * 0.85), 9), _GREY, _PAPER, self._width)
            paste(strip, label, x - label.shape[1] // 2, bottom + 1)

    def _draw_lane(self, strip: Picture, trace: Trace, number: int, top: int, lane: int) -> None:
        onset = trace.onset_s if trace.onset_s is not None else 0.0
        offset = trace.offset_s if trace.offset_s is not None else self._duration_s
        x0 = round(self._x(onset))
        x1 = max(round(self._x(offset)), x0 + self._stroke)
        color = color_of(trace)
        gap = max(lane // 10, 1)
        ink, paper = (color, _PAPER) if trace.weak else (_INK, color)
        if trace.weak:
            dashed_rectangle(
                strip, (x0, top + gap, x1 - 1, top + lane - gap - 1), color, None, 1, dash=self._letters // 2
            )
        else:
            strip[top + gap : top + lane - gap, x0:x1] = color
        text = name_of(trace, number)
        inside = tag(text, self._letters, ink, paper, self._width)
        y = top + (lane - len(inside)) // 2
        if inside.shape[1] <= x1 - x0 - 2 * gap:
            paste(strip, inside, x0 + gap, y)
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
    media = video.media
    average = media.frames / media.duration_s if media.frames and media.duration_s else _DEFAULT_FPS
    write_video(path, drawn, fps=media.fps or average, crf=crf, threads=threads)


def _drawn_size(width: int, height: int) -> tuple[int, int]:
    """(width, height) at which pictures of a size are drawn."""
    factor = min(math.ceil(_MIN_WIDTH / width), max(_MAX_ENLARGED // height, 1))
    shrink = math.ceil(max(width, height) / _MAX_SIDE)
    return (width * factor, height * factor) if shrink == 1 else (max(width // shrink, 1), max(height // shrink, 1))


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
    return None if any(gap.onset_s <= time_s < gap.offset_s for gap in trace.gaps) else trace.box


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
