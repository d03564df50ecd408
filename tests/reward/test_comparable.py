"""The reward means the same at every frame rate, size and length."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeptrace.detectors.tracenet import TraceNet, TraceNetModel
from deeptrace.detectors.tracenet.model import CARD_NAME, shipped_folder
from deeptrace.geometry import Box, Interval, Keyframe, Tube
from deeptrace.reward import Reward, explain_reward
from deeptrace.schema import Label, Media, Outcome, Trace, Verdict
from deeptrace.video import open_video


@given(
    st.floats(0.05, 20), st.floats(1, 120), st.tuples(st.integers(64, 4096), st.integers(64, 4096)), st.floats(0.1, 0.9)
)
def test_a_verdict_scaled_in_time_rate_and_size_has_the_same_reward(
    segment: float, fps: float, size: tuple[int, int], p_fake: float
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
    scaled = explain_reward(verdict(segment, fps, size))
    assert scaled.reward == pytest.approx(plain.reward, rel=1e-6)
    assert scaled.trace_cost == pytest.approx(plain.trace_cost, rel=1e-6)


def test_twice_as_long_a_clip_with_twice_the_traces_costs_the_same() -> None:
    def cost(repeats: int) -> float:
        box = Box(x0=0, y0=0, x1=0.5, y1=0.5)
        extent = [Interval(onset_s=4.0 * k + 1, offset_s=4.0 * k + 2) for k in range(repeats)]
        traces = tuple(Trace.from_tube(Tube.constant(box, life), score=0.6) for life in extent)
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


# -- the same frames in other forms --------

AGREE = 0.02
EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def lossless(source: Path, out: Path, codec: str, pixels: str, *, most: int, options: dict[str, str]) -> Path:
    """The first `most` frames of `source`, encoded without loss; where `pixels` is an RGB format, through RGB."""
    with av.open(str(source)) as read, av.open(str(out), "w") as written:
        stream = read.streams.video[0]
        target = written.add_stream(codec, rate=stream.average_rate, options=options)
        target.width, target.height, target.pix_fmt = stream.width, stream.height, pixels
        target.time_base = stream.time_base
        target.codec_context.colorspace = stream.codec_context.colorspace
        target.codec_context.color_range = stream.codec_context.color_range
        for index, frame in enumerate(read.decode(stream)):
            if index == most:
                break
            frame.pict_type = 0
            written.mux(target.encode(frame if frame.format.name == pixels else frame.reformat(format=pixels)))
        written.mux(target.encode(None))
    return out


def in_all_forms(source: Path, folder: Path, *, most: int) -> list[tuple[Any, dict[str, Any]]]:
    """A clip as file, re-encoded without loss, as APNG, array and float tensor, with what `Reward.score` is told."""
    torch = pytest.importorskip("torch")
    planes = {"most": most, "options": {}}
    file = lossless(source, folder / "a.mkv", "ffv1", "yuv420p", **planes)
    other = lossless(
        file, folder / "b.mp4", "libx264", "yuv420p", most=most, options={"qp": "0", "preset": "ultrafast"}
    )
    with open_video(file) as video:
        read = [(frame.time_s, frame.image) for frame in video.frames()]
    array = np.stack([image for _, image in read])
    fps = (len(read) - 1) / (read[-1][0] - read[0][0])
    picture = folder / "c.apng"
    with av.open(str(picture), "w") as written:
        target = written.add_stream("apng", rate=Fraction(fps).limit_denominator(1001))
        target.width, target.height, target.pix_fmt = array.shape[2], array.shape[1], "rgb24"
        for image in array:
            written.mux(target.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")))
        written.mux(target.encode(None))
    tensor = torch.from_numpy(array.transpose(0, 3, 1, 2).copy()).float() / 255
    told = {"fps": fps, "layout": "TCHW", "value_range": (0, 1)}
    files = [(str(path), {}) for path in (file, other, picture)]
    return [*files, (array, {"fps": fps}), (tensor, told)]


def judged(reward: Reward, forms: list[tuple[Any, dict[str, Any]]]) -> list[float]:
    found = [reward.score([clip], **told)[0].verdict.p_fake for clip, told in forms]
    assert all(p is not None for p in found)
    return [p for p in found if p is not None]


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.glob("*.mp4")))
def test_an_example_is_judged_alike_in_every_form(reward: Reward, tmp_path: Path, name: str) -> None:
    found = judged(reward, in_all_forms(EXAMPLES / name, tmp_path, most=16))
    assert max(found) - min(found) <= AGREE, found


@pytest.mark.slow
@pytest.mark.parametrize("number", range(20))
def test_twenty_clips_are_judged_alike_in_every_form(
    reward: Reward, corpus_dir: Path, tmp_path: Path, number: int
) -> None:
    real, generated = (sorted((corpus_dir / name).glob("*.mp4")) for name in ("real", "generated"))
    clip = [*real[::7][:10], *generated[::17][:10]][number]
    found = judged(reward, in_all_forms(clip, tmp_path, most=24))
    assert max(found) - min(found) <= AGREE, found
