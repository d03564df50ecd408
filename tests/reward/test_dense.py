from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.reward.corner_detector import CornerDetector

from deeptrace.detectors import Analysis, HeatMap
from deeptrace.errors import ModelError, SettingsError
from deeptrace.reward import DenseReward, Reward
from deeptrace.reward.result import RewardResult
from deeptrace.schema import DetectorInfo, Label, Outcome, Verdict
from deeptrace.video import Video, open_video, video_from_array, write_video

GRID = 32
HOT = (20, 5)  # row, column of the one hot cell
P_FAKE = 0.8


class OneHotCell:
    """Heat 1 in one cell at the middle one of five sampled frames, 0 elsewhere."""

    info = DetectorInfo(name="hot", version="1")
    times_s = (0.0, 0.5, 1.0, 1.5, 2.0)

    def __init__(self, segments: int = 1) -> None:
        self._segments = segments

    def detect(self, video: Video) -> Verdict:
        return self.analyse(video).verdict

    def analyse(self, video: Video, *, curves: bool = False, heat: bool = False) -> Analysis:
        media = video.media.model_copy(update={"sampled_times_s": self.times_s})
        verdict = Verdict(
            video=video.path, outcome=Outcome.SCORED, label=Label.FAKE, p_fake=P_FAKE, media=media, detector=self.info
        )
        where = np.zeros((5, GRID, GRID), np.float32)
        where[(2, *HOT)] = 1.0
        return Analysis(verdict, heat=(HeatMap(np.array(self.times_s), where),) * self._segments if heat else ())


def clip(*, fps: float = 10.0, height: int = 64, width: int = 96) -> np.ndarray:
    return np.zeros((round(2.5 * fps), height, width, 3), np.uint8)


@pytest.mark.parametrize(("frames", "height", "width"), [(17, 64, 96), (25, 40, 48), (8, 33, 50), (1, 8, 8), (6, 5, 3)])
@pytest.mark.parametrize(("every_frames", "every_pixels", "first_alone"), [(4, 8, True), (4, 8, False), (8, 32, True)])
def test_a_latent_is_the_mean_of_what_it_stands_for(
    frames: int, height: int, width: int, every_frames: int, every_pixels: int, first_alone: bool
) -> None:
    values = np.random.default_rng(frames).random((frames, height, width)).astype(np.float32)
    dense = DenseReward(
        values, np.arange(frames) / 16, RewardResult(float("nan"), None, Verdict.failed("a", Outcome.CRASHED, "x"))
    )
    found = dense.on_latents(every_frames=every_frames, every_pixels=every_pixels, first_alone=first_alone)
    starts = range(1 if first_alone else 0, frames, every_frames)
    groups = [[0]] * first_alone + [list(range(start, min(start + every_frames, frames))) for start in starts]
    tiles = [[range(a, min(a + every_pixels, n)) for a in range(0, n, every_pixels)] for n in (height, width)]
    wanted = [[[values[np.ix_(g, r, c)].mean() for c in tiles[1]] for r in tiles[0]] for g in groups]
    np.testing.assert_allclose(found.map, np.array(wanted), atol=1e-6)
    assert found.times_s.tolist() == [group[0] / 16 for group in groups]
    with pytest.raises(SettingsError, match="every_pixels"):
        dense.on_latents(every_pixels=0)
    with pytest.raises(SettingsError, match=r"every_frames.* but got 2\.5"):
        dense.on_latents(every_frames=2.5)  # type: ignore[arg-type]


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
        Reward(OneHotCell(segments=2)).dense(clip(), fps=10.0)
    (tmp_path / "a.mp4").write_bytes(b"no video")
    from deeptrace.errors import VideoError

    with pytest.raises(VideoError):
        Reward(OneHotCell()).dense(tmp_path / "a.mp4")


def test_a_tensor_has_the_map_of_its_frames() -> None:
    torch = pytest.importorskip("torch")
    frames = clip()
    tensor = torch.from_numpy(frames).permute(3, 0, 1, 2) / 127.5 - 1
    found = Reward(OneHotCell()).dense(tensor, fps=10.0, layout="CTHW", value_range=(-1, 1))
    assert np.array_equal(found.map, Reward(OneHotCell()).dense(frames, fps=10.0).map)
    with pytest.raises(SettingsError, match=r"each of T, C, H, W once, but got 'BCTHW'.*\(3, 25, 64, 96\)"):
        Reward(OneHotCell()).dense(tensor, fps=10.0, layout="BCTHW", value_range=(-1, 1))
