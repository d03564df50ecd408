"""The reward means the same at every frame rate, size and length."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeptrace.detectors.tracenet import TraceNet, TraceNetModel
from deeptrace.detectors.tracenet.model import CARD_NAME, shipped_folder
from deeptrace.geometry import Box, Interval, Keyframe, Tube
from deeptrace.reward import Reward, explain_reward
from deeptrace.trace import Label, Media, Outcome, Trace, Verdict


@given(
    st.floats(0.05, 20), st.floats(1, 120), st.tuples(st.integers(64, 4096), st.integers(64, 4096)), st.floats(0.1, 0.9)
)
def test_a_verdict_scaled_in_time_rate_and_size_has_the_same_reward(
    stretch: float, fps: float, size: tuple[int, int], p_fake: float
) -> None:
    def verdict(scale: float, fps: float, size: tuple[int, int]) -> Verdict:
        tube = Tube(
            onset_s=0.5 * scale,
            offset_s=1.75 * scale,
            keyframes=(
                Keyframe(time_s=0.5 * scale, box=Box(x0=0.1, y0=0.2, x1=0.4, y1=0.5)),
                Keyframe(time_s=1.25 * scale, box=Box(x0=0.2, y0=0.2, x1=0.7, y1=0.9)),
            ),
        )
        media = Media(width=size[0], height=size[1], duration_s=4.0 * scale, fps=fps)
        trace = Trace.from_tube(tube, score=0.7)
        known = {"label": Label.FAKE, "p_fake": p_fake, "traces": (trace,), "media": media}
        return Verdict(video="a", outcome=Outcome.SCORED, **known)

    plain = explain_reward(verdict(1.0, 24.0, (640, 360)))
    scaled = explain_reward(verdict(stretch, fps, size))
    assert scaled.reward == pytest.approx(plain.reward, rel=1e-6)
    assert scaled.trace_cost == pytest.approx(plain.trace_cost, rel=1e-6)


def test_twice_as_long_a_clip_with_twice_the_traces_costs_the_same() -> None:
    def cost(repeats: int) -> float:
        box = Box(x0=0, y0=0, x1=0.5, y1=0.5)
        lives = [Interval(onset_s=4.0 * k + 1, offset_s=4.0 * k + 2) for k in range(repeats)]
        traces = tuple(Trace.from_tube(Tube.constant(box, life), score=0.6) for life in lives)
        media = Media(width=640, height=360, duration_s=4.0 * repeats)
        known = {"label": Label.FAKE, "p_fake": 0.5, "traces": traces, "media": media}
        return explain_reward(Verdict(video="a", outcome=Outcome.SCORED, **known)).trace_cost

    assert cost(1) == pytest.approx(cost(2)) == pytest.approx(cost(5))


# -- through the default detector ----------


@pytest.fixture(scope="module")
def reward() -> Reward:
    if not (shipped_folder() / CARD_NAME).is_file():
        pytest.skip("needs the weights of the default detector")
    return Reward(TraceNet(TraceNetModel.load()))


def scene(*, fps: float, height: int, seconds: float) -> np.ndarray:
    """A textured scene that a camera pans over: the same in seconds and in fractions of the frame, however sampled."""
    rng = np.random.default_rng(3)
    layers = [
        cv2.resize(rng.normal(0, 1, (n, 2 * n, 3)), (960, 480), interpolation=cv2.INTER_CUBIC) for n in (6, 24, 96)
    ]
    wide = np.clip(128 + 34 * layers[0] + 18 * layers[1] + 9 * layers[2], 0, 255).astype(np.uint8)
    width = height * 4 // 3
    frames = []
    for index in range(round(fps * seconds)):
        move = np.float32([[1, 0, -(40 + 20 * np.sin(index / fps))], [0, 1, -30 - 3 * index / fps]])
        window = cv2.warpAffine(wide, move, (512, 384), flags=cv2.INTER_LINEAR)
        frames.append(cv2.resize(window, (width, height), interpolation=cv2.INTER_AREA))
    return np.stack(frames)


def test_the_default_detectors_reward_of_one_scene_however_it_is_sampled(reward: Reward) -> None:
    plain = reward([scene(fps=16, height=288, seconds=3)], fps=16.0)[0]
    for fps, height, seconds in ((8, 288, 3), (32, 288, 3), (16, 384, 3), (16, 288, 4.5)):
        other = reward([scene(fps=fps, height=height, seconds=seconds)], fps=float(fps))[0]
        assert other == pytest.approx(plain, abs=0.05), (fps, height, seconds)


def test_rewards_and_map_of_the_default_detector_are_numbers(reward: Reward) -> None:
    clip = scene(fps=8, height=96, seconds=1.5)
    dense = reward.dense(clip, fps=8.0)
    assert dense.map.shape == (12, 96, 128)
    assert 0 <= dense.map.min() <= dense.map.max() <= 1
    parts = dense.result.parts
    assert 1 - dense.map.max() <= 1 - parts.authenticity + 1e-6
    assert reward([clip], fps=8.0) == [pytest.approx(dense.result.reward)]
