"""Crops keep boxes and times true: checked on clips that show where and when they are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.needs import needs

needs("torch", "transformers")

from deeptrace.geometry import Box, Keyframe  # noqa: E402
from deeptrace.schema import Trace  # noqa: E402
from deeptrace.train.vlm.augment import Clip, augment, crop_frame, crop_time  # noqa: E402
from deeptrace.train.vlm.settings import AugmentSettings  # noqa: E402

WIDE, HIGH, COUNT, STEP_S = 48, 32, 10, 0.4


def painted(box: tuple[int, int, int, int], on: range) -> tuple[Clip, Trace]:
    """A black clip with a white box in pixels over the frames `on`, and the trace that says so; frame k's is 10 + k."""
    frames = np.zeros((COUNT, HIGH, WIDE, 3), dtype=np.uint8)
    frames[..., 2] = 10 + np.arange(COUNT)[:, None, None]
    x0, y0, x1, y1 = box
    frames[on.start : on.stop, y0:y1, x0:x1, :2] = 255
    times = tuple(STEP_S * k for k in range(COUNT))
    trace = Trace(
        onset_s=on.start * STEP_S,
        offset_s=on.stop * STEP_S,
        box=Box.from_pixels_xyxy(x0, y0, x1, y1, width=WIDE, height=HIGH),
    )
    return Clip(frames, times, (WIDE * 10, HIGH * 10), COUNT * STEP_S), trace


boxes = st.tuples(st.integers(0, 30), st.integers(0, 20), st.integers(4, 17), st.integers(4, 11)).map(
    lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])
)
extent = st.tuples(st.integers(0, 7), st.integers(1, 3)).map(lambda p: range(p[0], p[0] + p[1]))


@given(boxes, extent, st.integers(0, 10_000), st.floats(0.3, 1.0), st.floats(0.3, 1.0))
def test_what_is_stated_is_what_is_seen(
    box: tuple[int, int, int, int], on: range, seed: int, least_time: float, least_side: float
) -> None:
    clip, trace = painted(box, on)
    settings = AugmentSettings(chance=1.0, least_time=least_time, least_side=least_side)
    shown, (found,) = augment(clip, [trace], settings, np.random.default_rng(seed))
    height, width = shown.frames.shape[1:3]
    assert len(shown.frames) == len(shown.times_s)
    assert all(0 <= time_s < shown.duration_s for time_s in shown.times_s)
    white = shown.frames[..., 0] == 255
    assert found.box is not None
    assert found.onset_s is not None
    assert found.offset_s is not None
    rows, columns = np.nonzero(white.any(axis=0))
    seen = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    assert found.box.to_pixels_xyxy(width=width, height=height) == pytest.approx(seen)
    for time_s, on_screen in zip(shown.times_s, white.any(axis=(1, 2)), strict=True):
        if abs(time_s - found.onset_s) > 1e-9 and abs(time_s - found.offset_s) > 1e-9:
            assert on_screen == (found.onset_s <= time_s < found.offset_s)
    first = int(shown.frames[0, 0, 0, 2]) - 10
    steps = np.diff([clip.times_s[first + k] - shown.times_s[k] for k in range(len(shown.times_s))])
    assert np.allclose(steps, 0)  # times moved by one constant
    assert shown.size == pytest.approx((width * 10, height * 10))
    assert width >= least_side * WIDE - 1
    assert height >= least_side * HIGH - 1
    assert shown.duration_s >= least_time * clip.duration_s - 1e-9


def test_a_moving_box_keeps_its_way() -> None:
    clip, _ = painted((0, 0, 8, 8), range(10))
    keys = (
        Keyframe(time_s=0.0, box=Box.from_fractions(0.0, 0.0, 0.2, 0.2)),
        Keyframe(time_s=4.0, box=Box.from_fractions(0.8, 0.8, 1.0, 1.0)),
    )
    trace = Trace(onset_s=0.0, offset_s=4.0, box=Box.from_fractions(0, 0, 1, 1), keyframes=keys)
    cut = crop_time(clip, [trace], 1.0, 3.0)
    assert cut is not None
    _, (found,) = cut
    assert found.tube is not None
    assert trace.tube is not None
    for time_s in (0.0, 0.5, 1.9):
        ours, theirs = found.tube.box_at(time_s), trace.tube.box_at(time_s + 1.0)
        assert ours is not None
        assert theirs is not None
        assert ours.as_tuple() == pytest.approx(theirs.as_tuple())
    assert found.box is not None
    assert found.box.as_tuple() == pytest.approx((0.2, 0.2, 0.8, 0.8))


def test_a_crop_that_would_lose_a_trace_is_refused() -> None:
    clip, trace = painted((0, 0, 8, 8), range(6, 9))
    assert crop_time(clip, [trace], 0.0, 2.0) is None  # outside
    assert crop_time(clip, [trace], 0.0, 2.7) is None  # less than half of it
    assert crop_time(clip, [trace], 3.0, 3.2) is None  # one frame
    assert crop_time(clip, [trace.model_copy(update={"onset_s": None})], 0.0, 4.0) is None
    kept = crop_time(clip, [trace.model_copy(update={"offset_s": None})], 2.0, 4.0)
    assert kept is not None
    assert kept[1][0].onset_s == pytest.approx(0.4)


def test_nothing_is_changed_by_default() -> None:
    clip, trace = painted((0, 0, 8, 8), range(2, 5))
    assert augment(clip, [trace], AugmentSettings(), np.random.default_rng(0)) == (clip, (trace,))


def test_the_whole_frame_stays_the_whole_frame() -> None:
    clip, trace = painted((3, 4, 9, 10), range(2, 5))
    shown, (found,) = crop_frame(clip, [trace], Box.from_fractions(0, 0, 1, 1))
    assert (shown.frames == clip.frames).all()
    assert found == trace
