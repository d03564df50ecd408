"""Writing: what comes back is what was given, with its times, and never half a file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from tests.video.odd_files import picture

from deeptrace.errors import SettingsError, VideoError
from deeptrace.video import Frame, open_video, video_from_array, write_video

UNEVEN = (0.0, 0.04, 0.2, 0.5, 1.25, 1.3)


@pytest.mark.parametrize(
    ("codec", "suffix"),
    [("libx264", ".mp4"), ("libx265", ".mp4"), ("libvpx-vp9", ".webm"), ("libsvtav1", ".mp4"), ("libx264", ".mkv")],
)
def test_pictures_and_times_come_back(
    tmp_path: Path, codec: str, suffix: str, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / f"clip{suffix}"
    images = [picture(k) for k in range(len(UNEVEN))]
    frames = (Frame(t, image) for t, image in zip(UNEVEN, images, strict=True))
    write_video(path, frames, fps=10, codec=codec, crf=12)  # type: ignore[arg-type]
    with open_video(path) as video:
        back = list(video.frames())
        assert video.media.duration_s == pytest.approx(1.4, abs=0.03)
        assert video.warnings == []
    assert [frame.time_s for frame in back] == pytest.approx(UNEVEN, abs=0.0011)
    for frame, image in zip(back, images, strict=True):
        assert np.abs(frame.image.astype(int) - image).mean() < 4
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root is given real-time priority")
def test_av1_does_not_take_the_machine(tmp_path: Path) -> None:
    """The encoder's library gives its threads, and ours, SCHED_FIFO 99 when root opens it."""
    seen = set()

    def images() -> Iterator[np.ndarray]:
        for k in range(12):
            seen.update(os.sched_getscheduler(int(thread)) for thread in os.listdir("/proc/self/task"))
            yield picture(k)

    write_video(tmp_path / "a.mp4", images(), fps=10, codec="libsvtav1")
    assert seen == {os.SCHED_OTHER}


def test_gif(tmp_path: Path) -> None:
    write_video(tmp_path / "a.gif", [picture(k) for k in range(4)], fps=5, codec="gif")
    with open_video(tmp_path / "a.gif") as video:
        back = list(video.frames())
    assert [frame.time_s for frame in back] == pytest.approx([0, 0.2, 0.4, 0.6])
    assert np.abs(back[3].image.astype(int) - picture(3)).mean() < 25


def test_odd_sizes_are_padded_by_one(tmp_path: Path) -> None:
    image = picture(0, 161, 121)
    write_video(tmp_path / "odd.mp4", [image] * 3, fps=10, crf=5)
    with open_video(tmp_path / "odd.mp4") as video:
        back = next(video.frames()).image
    assert back.shape == (122, 162, 3)
    assert np.abs(back[:121, :161].astype(int) - image).mean() < 4


def test_browsers_can_play_it(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", [picture(k) for k in range(5)], fps=10)
    data = (tmp_path / "a.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    with av.open(str(tmp_path / "a.mp4")) as container:
        context = container.streams.video[0].codec_context
        assert (context.name, context.pix_fmt) == ("h264", "yuv420p")
        assert (context.colorspace, context.color_range) == (1, 1)  # BT.709, limited


def test_the_same_frames_give_the_same_file(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        write_video(tmp_path / name, [picture(k) for k in range(8)], fps=10)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def _breaks_off() -> Iterator[np.ndarray]:
    yield picture(0)
    yield picture(1)
    raise RuntimeError("source died")


def test_nothing_is_left_of_a_failed_write(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"what was here before")
    with pytest.raises(RuntimeError, match="source died"):
        write_video(tmp_path / "a.mp4", _breaks_off(), fps=10)
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]
    assert (tmp_path / "a.mp4").read_bytes() == b"what was here before"


@pytest.mark.parametrize(
    ("frames", "says"),
    [
        ([], "at least one frame"),
        ([np.zeros((8, 8, 4), np.uint8)], "uint8"),
        ([np.zeros((8, 8, 3), np.float32)], "uint8"),
        ([picture(0, 32, 32), picture(0, 34, 32)], "one size"),
        ([Frame(0.5, picture()), Frame(0.5, picture())], "rising"),
    ],
)
def test_frames_that_make_no_sense(tmp_path: Path, frames: list[np.ndarray], says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        write_video(tmp_path / "a.mp4", frames, fps=10)
    assert list(tmp_path.iterdir()) == []


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(VideoError, match="cannot be written"):
        write_video(tmp_path / "file" / "a.mp4", [picture()], fps=10)
    with pytest.raises(SettingsError, match="ends in"):
        write_video(tmp_path / "a.unknown", [picture()], fps=10)
    with pytest.raises(SettingsError, match=r"webm.*libx264"):
        write_video(tmp_path / "a.webm", [picture()], fps=10)
    with pytest.raises(SettingsError, match="codec"):
        write_video(tmp_path / "a.mp4", [picture()], fps=10, codec="h263")  # type: ignore[arg-type]
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_an_array_behaves_like_a_file(tmp_path: Path) -> None:
    images = np.stack([picture(k) for k in range(20)])
    write_video(tmp_path / "a.mp4", images, fps=10, crf=5)
    memory = video_from_array(images, fps=10)
    with open_video(tmp_path / "a.mp4") as file:
        assert memory.media == file.media
        for request in ({}, {"max_fps": 3.0}, {"start_s": 0.35, "end_s": 1.2}, {"size": (40, 30)}, {"format": "gray"}):
            ours, theirs = list(memory.frames(**request)), list(file.frames(**request))  # type: ignore[arg-type]
            assert [f.time_s for f in ours] == pytest.approx([f.time_s for f in theirs])
            assert [f.image.shape for f in ours] == [f.image.shape for f in theirs]
        ours, theirs = memory.frames_at([0.31, -1, 9]), file.frames_at([0.31, -1, 9])
        assert [f.time_s for f in ours] == pytest.approx([f.time_s for f in theirs])


@pytest.mark.parametrize(
    "wrong",
    [
        {"frames": np.zeros((2, 4, 4)), "fps": 5.0},
        {"frames": np.zeros((0, 4, 4, 3), np.uint8), "fps": 5.0},
        {"frames": np.zeros((2, 4, 4, 3), np.uint8)},
        {"frames": np.zeros((2, 4, 4, 3), np.uint8), "fps": 5.0, "times_s": [0, 1]},
        {"frames": np.zeros((2, 4, 4, 3), np.uint8), "times_s": [1, 1]},
        {"frames": np.zeros((2, 4, 4, 3), np.uint8), "fps": -1.0},
    ],
)
def test_arrays_that_make_no_sense(wrong: dict[str, object]) -> None:
    with pytest.raises(SettingsError):
        video_from_array(**wrong)  # type: ignore[arg-type]
