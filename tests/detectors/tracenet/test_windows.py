from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.detectors.tracenet.clips import FPS, panning

from deeptrace.detectors.tracenet import windows
from deeptrace.detectors.tracenet.appearance import SIDE
from deeptrace.detectors.tracenet.texture import texture_names
from deeptrace.detectors.tracenet.windows import LENGTH, SHORT_SIDE, analysis_size, close_looks, read_windows
from deeptrace.schema import MIN_FRAMES, Media
from deeptrace.video import Frame, Video, video_from_array
from deeptrace.video.base import StreamRequest


class Counted(Video):
    """A video in memory that counts the frames taken from it."""

    def __init__(self, count: int) -> None:
        super().__init__("counted")
        self._inner = video_from_array(panning(count, 32, 32), fps=FPS)
        self.taken = 0

    @property
    def media(self) -> Media:
        return self._inner.media

    def stream(self, request: StreamRequest) -> Iterator[Frame]:
        for frame in self._inner.stream(request):
            self.taken += 1
            yield frame

    def frames_at(self, times_s: Any, *, size: Any = None) -> list[Frame]:
        return self._inner.frames_at(times_s, size=size)


@pytest.fixture
def quick_texture(monkeypatch: pytest.MonkeyPatch) -> None:
    """Statistics of texture and appearance have tests of their own; here only who gets them matters."""

    def count(frames: Any, *_: Any) -> Any:
        return np.array([len(frames)], np.float32)

    monkeypatch.setattr(windows, "texture_statistics", count)
    monkeypatch.setattr(windows, "shipped_appearance", lambda: count)


@pytest.mark.usefixtures("quick_texture")
def test_fresh_frames_cover_every_frame_exactly_once() -> None:
    @given(st.integers(1, 60), st.integers(1, LENGTH))
    @settings(max_examples=12)
    def holds(count: int, stride: int) -> None:
        video = video_from_array(panning(count, 16, 16, step=0.1), fps=FPS)
        found = list(read_windows(video, stride=stride))
        fresh = np.concatenate([window.times_s[window.fresh :] for window in found])
        np.testing.assert_allclose(fresh, np.arange(count) / FPS)
        for window in found:
            assert len(window.times_s) == len(window.evidence) == min(count, LENGTH)
            assert 0 <= window.fresh < len(window.times_s)
            assert (np.diff(window.times_s) > 0).all()

    holds()


@pytest.mark.usefixtures("quick_texture")
def test_the_last_window_reaches_back() -> None:
    *_, last = read_windows(video_from_array(panning(LENGTH + 5, 16, 16), fps=FPS))
    assert last.fresh == LENGTH - 5
    np.testing.assert_allclose(last.times_s, np.arange(5, LENGTH + 5) / FPS)


@pytest.mark.parametrize("count", [MIN_FRAMES, 11, LENGTH, LENGTH + 7, 2 * LENGTH + 1])
def test_every_window_has_close_looks_at_the_videos_own_size(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[int, list[np.ndarray]]] = []

    def noted(frames: Any, close_ups: Any) -> Any:
        given.append((len(frames), list(close_ups)))
        return np.zeros(1, np.float32)

    monkeypatch.setattr(windows, "texture_statistics", lambda frames: np.zeros(1, np.float32))
    monkeypatch.setattr(windows, "shipped_appearance", lambda: noted)
    pictures = panning(count, 300, 400)
    list(read_windows(video_from_array(pictures, fps=FPS, as_is=True)))
    for frames, close_ups in given:
        assert 1 <= len(close_ups) <= 2
        assert frames < LENGTH or len(close_ups) == 2 or count < 2 * LENGTH
        for cut in close_ups:  # cut out of some picture, pixel by pixel, not sized
            assert any(np.array_equal(view, cut) for picture in pictures for view in _squares(picture, cut))


def _squares(picture: np.ndarray, cut: np.ndarray) -> Iterator[np.ndarray]:
    """Those squares of a picture that begin with the first pixel of `cut`."""
    for top, left in np.argwhere((picture[: -SIDE + 1, : -SIDE + 1] == cut[0, 0]).all(axis=-1)):
        yield picture[top : top + SIDE, left : left + SIDE]


@pytest.mark.parametrize(
    ("size", "wanted"),
    [
        ((1280, 720), (1280, 720)),
        ((720, 1281), (720, 1281)),
        ((3840, 2160), (1920, 1080)),
        ((160, 120), (342, 256)),
        ((4000, 300), (1200, 300)),
    ],
)
def test_the_size_of_close_looks(size: tuple[int, int], wanted: tuple[int, int]) -> None:
    assert close_looks(Media(width=size[0], height=size[1], duration_s=1.0, fps=8.0)).size == wanted


@pytest.mark.usefixtures("quick_texture")
def test_windows_come_while_frames_are_read() -> None:
    video = Counted(3 * LENGTH)
    stream = read_windows(video)
    for number in (1, 2, 3):
        next(stream)
        assert video.taken == number * LENGTH


@pytest.mark.usefixtures("quick_texture")
def test_a_joint_frame_has_the_evidence_of_one_pass() -> None:
    """The second window's first frame is measured against the first window's last, not as a beginning."""
    _, second = read_windows(video_from_array(panning(2 * LENGTH, 16, 16), fps=FPS))
    assert second.fresh == 0
    assert second.evidence[0, 6:].any()


@pytest.mark.parametrize(("count", "has_texture"), [(MIN_FRAMES - 1, False), (MIN_FRAMES, True)])
def test_a_window_too_short_for_texture_has_none(count: int, has_texture: bool) -> None:
    (window,) = read_windows(video_from_array(panning(count, 32, 48), fps=FPS))
    assert (window.texture is not None) == (window.appearance is not None) == has_texture
    if window.texture is not None:
        assert window.texture.shape == (len(texture_names()),)


@pytest.mark.usefixtures("quick_texture")
def test_a_faster_clip_is_thinned_and_a_slower_one_kept() -> None:
    fast = list(read_windows(video_from_array(panning(48, 16, 16), fps=24.0)))
    slow = list(read_windows(video_from_array(panning(8, 16, 16), fps=4.0)))
    assert sum(len(window.times_s) - window.fresh for window in fast) == 16
    assert sum(len(window.times_s) - window.fresh for window in slow) == 8


@given(st.integers(2, 8000), st.integers(2, 8000))
def test_the_analysis_size_keeps_the_shape_up_to_four_to_one(width: int, height: int) -> None:
    got = analysis_size(Media(width=width, height=height, duration_s=1.0, fps=8.0, frames=8))
    assert min(got) == SHORT_SIDE
    assert max(got) <= 4 * SHORT_SIDE
    assert all(side % 2 == 0 for side in got)
    aspect = min(max(width / height, 0.25), 4.0)
    assert got[0] / got[1] == pytest.approx(aspect, rel=0.01)
