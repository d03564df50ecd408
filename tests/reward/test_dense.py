from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.reward.conftest import CornerDetector

from deeptrace.detectors.tracenet.stretches import Stretch
from deeptrace.errors import ModelError, SettingsError
from deeptrace.reward import Reward
from deeptrace.trace import DetectorInfo, Label, Outcome, Verdict
from deeptrace.video import Video, open_video, video_from_array, write_video

GRID = 32
HOT = (20, 5)  # row, column of the one hot cell
P_FAKE = 0.8


class OneHotCell:
    """Heat 1 in one cell at the middle one of five sampled frames, 0 elsewhere."""

    info = DetectorInfo(name="hot", version="1")
    times_s = (0.0, 0.5, 1.0, 1.5, 2.0)

    def __init__(self, stretches: int = 1) -> None:
        self._stretches = stretches

    def detect(self, video: Video) -> Verdict:
        return self.detect_with_heat(video)[0]

    def detect_with_heat(self, video: Video) -> tuple[Verdict, list[Stretch]]:
        media = video.media.model_copy(update={"sampled_times_s": self.times_s})
        verdict = Verdict(
            video=video.path, outcome=Outcome.SCORED, label=Label.FAKE, p_fake=P_FAKE, media=media, detector=self.info
        )
        where = np.zeros((5, GRID, GRID), np.float32)
        where[(2, *HOT)] = 1.0
        none = np.zeros((5, 1, 1), np.float32)
        return verdict, [Stretch(np.array(self.times_s), none, where, where, none, 2.5)] * self._stretches


def clip(*, fps: float = 10.0, height: int = 64, width: int = 96) -> np.ndarray:
    return np.zeros((round(2.5 * fps), height, width, 3), np.uint8)


@pytest.mark.parametrize(("fps", "height", "width"), [(10.0, 64, 96), (24.0, 96, 64), (8.0, 128, 128)])
def test_the_map_lies_on_the_frames(fps: float, height: int, width: int) -> None:
    dense = Reward(OneHotCell()).dense(clip(fps=fps, height=height, width=width), fps=fps)
    assert dense.map.shape == (round(2.5 * fps), height, width)
    assert dense.map.dtype == np.float32
    assert dense.times_s == pytest.approx(np.arange(len(dense.map)) / fps)
    frame, row, column = np.unravel_index(int(dense.map.argmin()), dense.map.shape)
    assert abs(frame / fps - 1.0) <= 0.5 / fps
    assert row / height == pytest.approx((HOT[0] + 0.5) / GRID, abs=1.5 / GRID)
    assert column / width == pytest.approx((HOT[1] + 0.5) / GRID, abs=1.5 / GRID)
    assert dense.map.min() >= 1 - P_FAKE - 1e-6
    far = dense.times_s[(dense.times_s < 0.5) | (dense.times_s > 1.5)]
    assert (dense.map[np.isin(dense.times_s, far)] == 1).all()


def test_the_map_is_worth_the_same_whatever_the_rate_and_size() -> None:
    reward = Reward(OneHotCell())
    means = [
        reward.dense(clip(fps=fps, height=h, width=w), fps=fps).map.mean()
        for fps, h, w in ((16, 64, 64), (32, 96, 128))
    ]
    lost = [1 - mean for mean in means]
    assert lost[0] == pytest.approx(lost[1], rel=0.05)
    # the integral of a cell that lives from 0.5 to 1.5 s with a triangle's height, over clip and frame
    assert lost[0] == pytest.approx(P_FAKE * 0.5 / 2.5 / GRID**2, rel=0.1)


def test_a_latent_grid_may_be_asked_for() -> None:
    dense = Reward(OneHotCell()).dense(clip(), fps=10.0, size=(8, 12), times_s=[0.75, 1.0, 9.0])
    assert dense.map.shape == (3, 8, 12)
    loss = (1 - dense.map).sum(axis=(1, 2))
    assert loss[0] == pytest.approx(loss[1] / 2, rel=1e-4)  # linear between sampled frames
    assert loss[2] == 0  # after the last sampled frame that one holds
    assert dense.result.reward == pytest.approx(1 - P_FAKE)


def test_a_file_has_a_slice_for_each_of_its_frames(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", iter(clip(fps=12.0)), fps=12.0)
    dense = Reward(OneHotCell()).dense(tmp_path / "a.mp4")
    assert dense.map.shape == (30, 64, 96)
    assert dense.times_s == pytest.approx(np.arange(30) / 12, abs=1e-3)
    with open_video(str(tmp_path / "a.mp4")) as video:
        again = Reward(OneHotCell()).dense(video)
        assert np.array_equal(again.map, dense.map)
        assert len(list(video.frames())) == 30, "a video that came open is still open"


def test_uneven_times_are_the_videos_own() -> None:
    times = [0.0, 0.1, 0.9, 1.0, 2.4]
    video = video_from_array(clip()[:5], times_s=times)
    dense = Reward(OneHotCell()).dense(video)
    assert dense.times_s == pytest.approx(times)
    assert int(dense.map.min(axis=(1, 2)).argmin()) == 3


def test_what_cannot_be_mapped_is_said(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="tracenet"):
        Reward(CornerDetector()).dense(clip(), fps=10.0)
    with pytest.raises(SettingsError, match="height, width"):
        Reward(OneHotCell()).dense(clip(), fps=10.0, size=(0, 4))
    with pytest.raises(SettingsError, match="finite times"):
        Reward(OneHotCell()).dense(clip(), fps=10.0, times_s=[float("nan")])
    with pytest.raises(ModelError, match="too long"):
        Reward(OneHotCell(stretches=2)).dense(clip(), fps=10.0)
    (tmp_path / "a.mp4").write_bytes(b"no video")
    from deeptrace.errors import VideoError

    with pytest.raises(VideoError):
        Reward(OneHotCell()).dense(tmp_path / "a.mp4")
