"""Every broken or odd file gives the right picture or one clear line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from tests.video.odd_files import Expectation

from deeptrace.errors import VideoError
from deeptrace.video import Frame, open_video

Odd = tuple[Path, dict[str, Expectation]]


def _corners(frame: Frame) -> list[np.ndarray]:
    height, width = frame.image.shape[:2]
    return [frame.image[y, x].astype(int) for y in (height // 8, -height // 8) for x in (width // 8, -width // 8)]


def _check_picture(path: Path, want: Expectation) -> None:
    with open_video(path) as video:
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
