"""Streaming: which frames come, with which times, and what is spared on the way."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from av.video.frame import VideoFrame
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.video.odd_files import encode, picture

from deeptrace.errors import SettingsError, VideoError, VideoTooLargeError
from deeptrace.video import Frame, open_video, probe, write_video
from deeptrace.video.sampling import Pacer, played_index
from deeptrace.video.timestamps import Clock


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four seconds at 24 fps with B-frames, every frame different."""
    folder = tmp_path_factory.mktemp("clip")
    return encode(folder / "clip.mp4", rate=24, images=_moving(96), options={"bf": "3", "preset": "medium"})


@pytest.fixture(scope="module")
def truth(clip: Path) -> dict[float, np.ndarray]:
    """Every frame of the clip by its time."""
    with open_video(clip) as video:
        return {frame.time_s: frame.image for frame in video.frames(size=(64, 48))}


def _moving(count: int, size: tuple[int, int] = (160, 120)) -> list[np.ndarray]:
    y, x = np.mgrid[: size[1], : size[0]]
    waves = [127 + 100 * np.sin((x + 3 * k) / 9) * np.cos((y - 2 * k) / 7) for k in range(count)]
    return [np.repeat(wave.astype(np.uint8)[..., None], 3, axis=2) for wave in waves]


@pytest.mark.parametrize("fast", [False, True])
def test_times_are_true_and_rise(clip: Path, truth: dict[float, np.ndarray], fast: bool) -> None:
    with open_video(clip) as video:
        frames = list(video.frames(max_fps=8, size=(64, 48), fast=fast))
    assert len(frames) == pytest.approx(32, abs=4)
    for frame in frames:
        np.testing.assert_array_equal(frame.image, truth[frame.time_s])


@settings(max_examples=25, deadline=None)
@given(
    max_fps=st.one_of(st.none(), st.floats(0.5, 40)),
    start_s=st.floats(0, 4.5),
    length_s=st.one_of(st.none(), st.floats(0, 3)),
)
def test_pacing_is_exact(
    clip: Path, truth: dict[float, np.ndarray], max_fps: float | None, start_s: float, length_s: float | None
) -> None:
    end_s = None if length_s is None else start_s + length_s
    pacer = Pacer(max_fps, start_s)
    wanted = [t for t in sorted(truth) if (end_s is None or t < end_s) and pacer.keep(t)]
    with open_video(clip) as video:
        frames = list(video.frames(max_fps=max_fps, start_s=start_s, end_s=end_s, size=(64, 48)))
    assert [frame.time_s for frame in frames] == wanted
    for frame in frames:
        np.testing.assert_array_equal(frame.image, truth[frame.time_s])


@settings(max_examples=25, deadline=None)
@given(times_s=st.lists(st.floats(-1, 6), max_size=6))
def test_frames_at_gives_what_is_on_screen(clip: Path, truth: dict[float, np.ndarray], times_s: list[float]) -> None:
    known = sorted(truth)
    with open_video(clip) as video:
        frames = video.frames_at(times_s, size=(64, 48))
    assert [frame.time_s for frame in frames] == [known[played_index(known, t)] for t in times_s]
    for frame in frames:
        np.testing.assert_array_equal(frame.image, truth[frame.time_s])


def test_moments_far_apart_are_sought_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = encode(tmp_path / "long.mp4", rate=1, count=400, options={"g": "10", "bf": "2"})
    decoded = 0
    plain = Clock.time_of

    def counting(self: Clock, frame: VideoFrame) -> float | None:
        nonlocal decoded
        decoded += 1
        return plain(self, frame)

    monkeypatch.setattr(Clock, "time_of", counting)
    with open_video(path) as video:
        frames = video.frames_at([5.5, 120.0, 121.5, 250.2, 10_000.0])
    assert [frame.time_s for frame in frames] == [5.0, 120.0, 121.0, 250.0, 399.0]
    assert decoded < 60


def test_fast_falls_back_where_references_are_rare(tmp_path: Path) -> None:
    path = encode(
        tmp_path / "long_b.mp4",
        rate=24,
        images=_moving(96),
        options={"bf": "8", "x264-params": "b-adapt=0:b-pyramid=none"},
    )
    with open_video(path) as video:
        times = [frame.time_s for frame in video.frames(max_fps=10, fast=True)]
    # One frame in nine is a reference here: without falling back there would be about eleven.
    assert len(times) > 30


def test_two_streams_of_one_video_do_not_disturb_each_other(clip: Path) -> None:
    with open_video(clip) as video:
        pairs = list(zip(video.frames(max_fps=6), video.frames(max_fps=6), strict=True))
    assert len(pairs) == 24
    assert all(a.time_s == b.time_s and (a.image == b.image).all() for a, b in pairs)


def test_gray_is_full_range_luma(tmp_path: Path) -> None:
    levels = [np.full((32, 32, 3), level, np.uint8) for level in (0, 64, 128, 192, 255)]
    path = encode(tmp_path / "levels.mp4", images=levels, options={"crf": "1"})
    with open_video(path) as video:
        gray = [frame.image for frame in video.frames(format="gray")]
    assert gray[0].shape == (32, 32)
    np.testing.assert_allclose([image.mean() for image in gray], [0, 64, 128, 192, 255], atol=2)


def test_slower_clips_keep_every_frame(tmp_path: Path) -> None:
    path = encode(tmp_path / "slow.mp4", rate=5, count=10)
    for fast in (False, True):
        with open_video(path) as video:
            assert len(list(video.frames(max_fps=8, fast=fast))) == 10


def test_the_limit_on_pixels_comes_before_decoding(clip: Path) -> None:
    with pytest.raises(VideoTooLargeError, match="160x120"):
        open_video(clip, max_pixels=160 * 120 - 1)
    assert probe(clip, max_pixels=160 * 120).width == 160


def test_probe_states_what_the_file_states(clip: Path) -> None:
    media = probe(clip)
    assert (media.width, media.height, media.frames, media.fps) == (160, 120, 96, 24.0)
    assert media.duration_s == pytest.approx(4.0)


def test_a_closed_video_says_so(clip: Path) -> None:
    with open_video(clip) as video:
        stream = video.frames()
        next(stream)
    with pytest.raises(VideoError, match="closed"):
        next(video.frames())
    stream.close()


@pytest.mark.parametrize(
    "wrong",
    [{"size": (0, 5)}, {"start_s": -1.0}, {"start_s": 2.0, "end_s": 1.0}, {"max_fps": 0.0}, {"format": "bgr"}],
)
def test_requests_that_make_no_sense(clip: Path, wrong: dict[str, object]) -> None:
    with open_video(clip) as video, pytest.raises(SettingsError):
        video.frames(**wrong)  # type: ignore[arg-type]


def test_threads_give_the_same_pictures(clip: Path, truth: dict[float, np.ndarray]) -> None:
    with open_video(clip, threads=2) as video:
        for frame in video.frames(size=(64, 48), max_fps=8):
            np.testing.assert_array_equal(frame.image, truth[frame.time_s])


_PEAK = """
import resource, sys
from deeptrace.video import open_video
with open_video(sys.argv[1]) as video:
    count = sum(1 for _ in video.frames())
print(count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_does_not_grow_with_length(tmp_path: Path) -> None:
    peaks = {}
    for seconds in (1, 40):
        path = tmp_path / f"{seconds}.mp4"
        images = (picture(k, 480, 360) for k in range(10 * seconds))
        write_video(path, (Frame(k / 10, image) for k, image in enumerate(images)), fps=10, preset="ultrafast")
        out = subprocess.run([sys.executable, "-c", _PEAK, str(path)], capture_output=True, text=True, check=True)
        assert out.stderr == ""
        count, peaks[seconds] = map(int, out.stdout.split())
        assert count == 10 * seconds
    # All 400 frames would be 207 MB; ru_maxrss counts in KiB here and in bytes on macOS.
    unit = 1 if sys.platform == "darwin" else 1024
    assert (peaks[40] - peaks[1]) * unit < 20e6
