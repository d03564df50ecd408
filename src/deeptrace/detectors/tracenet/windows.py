"""A video as windows: what TraceNet's nets are given, read in one pass with bounded memory.

A video is sampled at no more than `RATE_FPS`, with a short side of `SHORT_SIDE` pixels, whatever its own rate, size and
length, and cut into windows of `LENGTH` frames. The last window reaches back so that it is not too short.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from deeptrace.detectors.tracenet.appearance import AppearanceNet, shipped_appearance
from deeptrace.detectors.tracenet.evidence import EvidenceExtractor
from deeptrace.detectors.tracenet.texture import texture_statistics
from deeptrace.schema import MIN_FRAMES, Media
from deeptrace.video import Frame, Video

__all__ = ["LENGTH", "RATE_FPS", "SHORT_SIDE", "Window", "analysis_size", "read_windows"]

RATE_FPS = 8.0
SHORT_SIDE = 256
LENGTH = 24
_WIDEST = 4.0
_AHEAD = 8  # frames decoded before they are measured: decoder and measurements need the processor's caches in turn


@dataclass(frozen=True)
class Window:
    """Up to LENGTH neighbouring sampled frames, measured.

    Attributes:
        times_s: (T,) timestamps of the frames.
        evidence: (T, channels, GRID, GRID) float32, see `evidence.CHANNELS`.
        texture: (D,) float32, see `texture.texture_statistics`; None with fewer frames than it needs.
        appearance: (A,) float32, see `appearance.AppearanceNet`; None where `texture` is.
        fresh: index of the first frame that no earlier window held.
    """

    times_s: np.ndarray
    evidence: np.ndarray
    texture: np.ndarray | None
    appearance: np.ndarray | None
    fresh: int


def analysis_size(media: Media) -> tuple[int, int]:
    """(width, height) that frames are read at: short side SHORT_SIDE, aspect kept up to 4:1."""
    aspect = min(max(media.width / media.height, 1 / _WIDEST), _WIDEST)
    if aspect >= 1:
        return (round(SHORT_SIDE * aspect / 2) * 2, SHORT_SIDE)
    return (SHORT_SIDE, round(SHORT_SIDE / aspect / 2) * 2)


def read_windows(
    video: Video, *, fast: bool = True, stride: int = LENGTH, encoder: AppearanceNet | None = None
) -> Iterator[Window]:
    """Measure a video window by window.

    Args:
        video: opened.
        fast: let the decoder leave out frames that no other frame needs; each frame still has its own time.
        stride: frames from the start of one window to the start of the next, 1 to LENGTH.
        encoder: what `appearance` is read off; None: the shipped net.

    Raises:
        VideoError: the video cannot be decoded.
        ModelError: the encoder cannot be run.
    """
    extractor = EvidenceExtractor()
    held: deque[tuple[Frame, np.ndarray]] = deque(maxlen=LENGTH)
    fresh = 0
    sampled = video.frames(max_fps=RATE_FPS, size=analysis_size(video.media), fast=fast)
    for seen, frame in enumerate(_read_ahead(sampled), start=1):
        held.append((frame, extractor.feed(frame).maps))
        fresh += 1
        if len(held) == LENGTH and (seen - LENGTH) % stride == 0:
            yield _window(held, fresh, encoder)
            fresh = 0
    if fresh:
        yield _window(held, fresh, encoder)


def _read_ahead(frames: Iterator[Frame]) -> Iterator[Frame]:
    while batch := list(islice(frames, _AHEAD)):
        yield from batch


def _window(held: deque[tuple[Frame, np.ndarray]], fresh: int, encoder: AppearanceNet | None) -> Window:
    frames = [frame.image for frame, _ in held]
    enough = len(frames) >= MIN_FRAMES
    return Window(
        times_s=np.array([frame.time_s for frame, _ in held]),
        evidence=np.stack([maps for _, maps in held]),
        texture=texture_statistics(frames) if enough else None,
        appearance=(encoder or shipped_appearance())(frames) if enough else None,
        fresh=max(len(held) - fresh, 0),
    )
