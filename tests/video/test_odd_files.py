"""Every broken or odd file gives the right picture or one clear line."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.video.odd_files import FPS, Expectation
from tests.video.odd_streams import number_of, remux

from deeptrace.errors import VideoError
from deeptrace.video import Frame, open_video

Odd = tuple[Path, dict[str, Expectation]]


def _corners(frame: Frame) -> list[np.ndarray]:
    height, width = frame.image.shape[:2]
    return [frame.image[y, x].astype(int) for y in (height // 8, -height // 8) for x in (width // 8, -width // 8)]


def _check_picture(path: Path, want: Expectation) -> None:
    with open_video(path) as video:
        opened = video.media
        frames = list(video.frames())
        media, warnings = video.media, video.warnings
    low, high = want.frames if isinstance(want.frames, tuple) else (want.frames, want.frames)
    assert low <= len(frames) <= high
    assert (media.width, media.height) == want.size
    assert {frame.image.shape for frame in frames} == {(want.size[1], want.size[0], 3)}
    times = [frame.time_s for frame in frames]
    assert times[0] == 0.0
    assert times == sorted(set(times))
    if want.times_s is not None:
        assert times == pytest.approx(want.times_s, abs=0.0011)
    if want.duration_s is not None:
        assert media.duration_s == pytest.approx(want.duration_s, abs=0.011)
    opens_s = want.duration_s if want.opens_s is None and want.quiet else want.opens_s
    if opens_s is not None:
        assert opened.duration_s == pytest.approx(opens_s, abs=0.06)  # headers are off by part of a picture
    if want.media_frames is not None:
        assert (opened.frames, media.frames) == (want.media_frames, want.media_frames)
    if want.fps is not None:
        assert media.fps == pytest.approx(want.fps)
    if want.quiet:
        assert warnings == []
    if want.numbers is not None:
        assert [number_of(frame.image) for frame in frames] == list(want.numbers)
    if want.later is not None:
        start_s, first = want.later
        later = [(round(frame.time_s, 3), number_of(frame.image)) for frame in frames if frame.time_s > start_s - 0.01]
        assert later == [(round(start_s + k / FPS, 3), first + k) for k in range(len(later))]
        assert later[-1][0] == pytest.approx(media.duration_s - 1 / FPS)
    if want.says:
        assert any(want.says in warning for warning in warnings), warnings
    assert all("\n" not in warning for warning in warnings)
    if want.corners is not None:
        for found, wanted in zip(_corners(frames[0]), want.corners, strict=True):
            np.testing.assert_allclose(found, wanted, atol=6)


def test_the_right_picture_or_one_clear_line(odd_files: Odd, subtests: pytest.Subtests) -> None:
    folder, expectations = odd_files
    assert len(expectations) >= 25
    for name, want in expectations.items():
        with subtests.test(name):
            path = folder / name
            if want.error is None:
                _check_picture(path, want)
                continue
            with pytest.raises(want.error) as caught:
                _check_picture(path, want)
            line = str(caught.value)
            assert line.startswith(f"{path}: ")
            assert "\n" not in line
            assert want.says in line


def test_whole_files_have_nothing_to_complain_of(odd_files: Odd) -> None:
    folder, expectations = odd_files
    for name in ("plain.mp4", "hevc.mp4", "vp9.webm", "av1.mkv", "mpeg4.avi", "mpeg2.ts", "delays.gif", "uneven.mkv"):
        assert expectations[name].error is None
        with open_video(folder / name) as video:
            for _ in video.frames():
                pass
        assert video.warnings == []


def test_every_time_is_found_again_in_odd_files(odd_files: Odd) -> None:
    folder, expectations = odd_files
    for name, want in expectations.items():
        if want.error is not None:
            continue
        with open_video(folder / name) as video:
            times = [frame.time_s for frame in video.frames(size=(16, 12))]
            found = video.frames_at([times[0], times[-1], times[len(times) // 2]], size=(16, 12))
        assert [frame.time_s for frame in found] == [times[0], times[-1], times[len(times) // 2]], name


def test_what_is_skipped_does_not_take_its_time_with_it(odd_files: Odd, subtests: pytest.Subtests) -> None:
    """A fast pass gives pictures of the full pass at their times, to the end, and says nothing that is not so."""
    folder, expectations = odd_files
    for name, want in expectations.items():
        if want.error is not None:
            continue
        with subtests.test(name):
            with open_video(folder / name) as video:
                images = {frame.time_s: frame.image for frame in video.frames(size=(48, 36))}
                media, said = video.media, list(video.warnings)
            for max_fps in (2, 5):
                with open_video(folder / name) as video:
                    thinned = list(video.frames(max_fps=max_fps, fast=True, size=(48, 36)))
                    facts, warnings = video.media, video.warnings
                assert {frame.time_s for frame in thinned} <= images.keys()
                for frame in thinned:
                    np.testing.assert_array_equal(frame.image, images[frame.time_s])
                assert thinned[-1].time_s >= max(images) - 2 / max_fps
                assert facts.duration_s == pytest.approx(media.duration_s, abs=1.5 / FPS)
                assert any("cut off" in line for line in warnings) == any("cut off" in line for line in said)


_READ_ALL = """
import sys
from pathlib import Path
from deeptrace.errors import VideoError
from deeptrace.video import open_video
for path in Path(sys.argv[1]).iterdir():
    try:
        with open_video(path) as video:
            for _ in video.frames(max_fps=5, fast=True): pass
    except VideoError as error:
        assert len(str(error).splitlines()) == 1
"""


def test_ffmpeg_does_not_talk(odd_files: Odd) -> None:
    out = subprocess.run(
        [sys.executable, "-c", _READ_ALL, str(odd_files[0])], capture_output=True, text=True, check=False
    )
    assert (out.returncode, out.stdout, out.stderr) == (0, "", "")


@settings(max_examples=40)
@given(
    matrix=st.integers(0, 255),
    primaries=st.integers(0, 255),
    transfer=st.integers(0, 255),
    full_range=st.booleans(),
    gray=st.booleans(),
)
def test_no_colour_tag_ends_in_an_error(
    odd_files: Odd, matrix: int, primaries: int, transfer: int, full_range: bool, gray: bool
) -> None:
    tags = f"matrix_coefficients={matrix}:colour_primaries={primaries}:transfer_characteristics={transfer}"
    bsf = f"h264_metadata={tags}:video_full_range_flag={int(full_range)}"
    with tempfile.TemporaryDirectory() as folder:
        path = remux(odd_files[0] / "plain.mp4", Path(folder) / "tagged.mp4", bsf=bsf)
        with open_video(path) as video:
            frames = list(video.frames(size=(40, 30), format="gray" if gray else "rgb"))
    assert len(frames) == 10
    assert frames[0].image[-4:, -4:].min() > 170  # the white quarter


def test_a_size_that_the_scaler_refuses_is_an_error_of_ours(odd_files: Odd) -> None:
    with open_video(odd_files[0] / "plain.mp4") as video, pytest.raises(VideoError, match="cannot be converted"):
        next(video.frames(size=(70_000, 70_000)))


def test_a_pipe_is_refused_rather_than_waited_for(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(VideoError, match="regular file"):
        open_video(tmp_path / "pipe.mp4")


def test_a_title_that_is_not_utf8_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "latin1.mkv"
    with av.open(str(path), "w") as container:
        container.metadata["title"] = "title"
        stream = container.add_stream("libx264", rate=8)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for level in range(4):
            picture = av.VideoFrame.from_ndarray(np.full((48, 64, 3), level * 40, np.uint8))
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    path.write_bytes(path.read_bytes().replace(b"title", b"ti\xffle"))
    with open_video(path) as video:
        assert len(list(video.frames())) == 4
