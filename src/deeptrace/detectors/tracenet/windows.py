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

from deeptrace.detectors.tracenet.appearance import AppearanceNet, close_up, shipped_appearance
from deeptrace.detectors.tracenet.evidence import EvidenceExtractor
from deeptrace.detectors.tracenet.texture import texture_statistics
from deeptrace.schema import MIN_FRAMES, Media
from deeptrace.video import Frame, Video
from deeptrace.video.base import Closer

__all__ = ["LENGTH", "RATE_FPS", "SHORT_SIDE", "Window", "analysis_size", "close_looks", "read_windows"]

RATE_FPS = 8.0
SHORT_SIDE = 256
LENGTH = 24
_WIDEST = 4.0
_TALLEST = 1080  # short side, in pixels, beyond which a picture is shrunk before a part of it is looked at
_CLOSE_FIRST, _CLOSE_EVERY = 2, 12  # two close looks a window, and one in a window of MIN_FRAMES
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
    return _sized(media, SHORT_SIDE)


def close_looks(media: Media) -> Closer:
    """Which frames are looked at closely, and at what size: the video's own, short side SHORT_SIDE to 1080."""
    short, long = sorted((media.width, media.height))
    own = SHORT_SIDE <= short <= _TALLEST and long <= _WIDEST * short
    size = (media.width, media.height) if own else _sized(media, min(max(short, SHORT_SIDE), _TALLEST))
    return Closer(size, _CLOSE_FIRST, _CLOSE_EVERY)


def _sized(media: Media, short: int) -> tuple[int, int]:
    aspect = min(max(media.width / media.height, 1 / _WIDEST), _WIDEST)
    if aspect >= 1:
        return (round(short * aspect / 2) * 2, short)
    return (short, round(short / aspect / 2) * 2)


@dataclass
class _Held:
    """One sampled frame of a window: its image, its maps, and a close look at it once the next has come."""

    frame: Frame
    maps: np.ndarray
    close: np.ndarray | None = None


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
    held: deque[_Held] = deque(maxlen=LENGTH)
    fresh = 0
    size, closer = analysis_size(video.media), close_looks(video.media)
    sampled = video.frames(max_fps=RATE_FPS, size=size, fast=fast, closer=closer)
    for seen, frame in enumerate(_read_ahead(sampled), start=1):
        if held and (before := held[-1].frame).closer is not None:
            held[-1].close = close_up(before.closer, before.image, frame.image)
            held[-1].frame = Frame(before.time_s, before.image)  # the large picture has done its work
        held.append(_Held(frame, extractor.feed(frame).maps))
        fresh += 1
        if len(held) == LENGTH and (seen - LENGTH) % stride == 0:
            yield _window(held, fresh, encoder)
            fresh = 0
    if fresh:
        yield _window(held, fresh, encoder)


def _read_ahead(frames: Iterator[Frame]) -> Iterator[Frame]:
    while batch := list(islice(frames, _AHEAD)):
        yield from batch


def _window(held: deque[_Held], fresh: int, encoder: AppearanceNet | None) -> Window:
    frames = [one.frame.image for one in held]
    close_ups = [one.close for one in held if one.close is not None]
    enough = len(frames) >= MIN_FRAMES
    return Window(
        times_s=np.array([one.frame.time_s for one in held]),
        evidence=np.stack([one.maps for one in held]),
        texture=texture_statistics(frames) if enough else None,
        appearance=(encoder or shipped_appearance())(frames, close_ups) if enough else None,
        fresh=max(len(held) - fresh, 0),
    )
