from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.synth.conftest import moving_disc

from deeptrace.errors import SettingsError, SynthError
from deeptrace.schema import Category
from deeptrace.synth import Injection, inject

CLIP, TIMES = moving_disc()[0], np.arange(20) / 8


def put(category: Category, severity: float = 0.8, seed: int = 0, frames: np.ndarray = CLIP) -> Injection:
    return inject(frames, TIMES[: len(frames)], category, severity=severity, rng=np.random.default_rng(seed))


@settings(max_examples=24, deadline=None)
@given(category=st.sampled_from(Category), seed=st.integers(0, 10_000), severity=st.floats(0, 1))
def test_truth_is_exact(category: Category, seed: int, severity: float) -> None:
    made = put(category, severity, seed)
    trace = made.trace
    # bytes outside of the mask are the input's
    assert np.array_equal(made.frames[~made.mask], CLIP[~made.mask])
    # frames outside of the time are untouched, and the time is that of frames
    life = (trace.onset_s <= TIMES) & (trace.offset_s - 1e-9 > TIMES)
    assert not made.mask[~life].any()
    assert made.mask[np.searchsorted(TIMES, trace.onset_s)].any()
    assert trace.onset_s in TIMES
    assert any(abs(trace.offset_s - end) < 1e-9 for end in [*TIMES[1:], TIMES[-1] + 1 / 8])
    # one box a touched frame, and it is where the pixels were written
    assert [key.time_s for key in trace.keyframes] == [t for t, m in zip(TIMES, made.mask, strict=True) if m.any()]
    height, width = CLIP.shape[1:3]
    for key in trace.keyframes:
        x0, y0, x1, y1 = (round(v) for v in key.box.to_pixels_xyxy(width=width, height=height))
        assert (
            made.mask[np.searchsorted(TIMES, key.time_s), y0:y1, x0:x1].mean() > 0.05
        )  # a mask is no box, but fills a part of it (a thin one that disappears: 0.08)
    assert trace.categories == (category,)
    assert trace.explanation.endswith(".")
    assert "{" not in trace.explanation
    assert any(char.isdigit() for char in trace.explanation)


@pytest.mark.parametrize("category", Category)
def test_same_seed_same_bytes(category: Category) -> None:
    first, second = put(category, seed=3), put(category, seed=3)
    assert first.frames.tobytes() == second.frames.tobytes()
    assert first.mask.tobytes() == second.mask.tobytes()
    assert first.trace == second.trace
    assert first.frames.tobytes() != put(category, seed=4).frames.tobytes()


@pytest.mark.parametrize("category", Category)
def test_severity_scales_the_change(category: Category) -> None:
    change = []
    for severity in (0.0, 0.35, 1.0):
        made = [put(category, severity, seed) for seed in range(5)]
        change.append(np.mean([np.abs(m.frames.astype(int) - CLIP).sum() / m.mask.sum() / 3 for m in made]))
    assert change[0] < 3.5  # grey levels: next to nothing
    assert change[0] < 0.8 * change[1]
    assert change[1] < change[2]
    assert change[2] > 4


@pytest.mark.parametrize("category", Category)
def test_severity_changes_neither_time_nor_manner(category: Category) -> None:
    weak, strong = put(category, 0.3, 11), put(category, 0.9, 11)
    assert weak.trace.onset_s == strong.trace.onset_s
    assert set(weak.measures) == set(strong.measures)


def test_true_times_come_back(clip: np.ndarray, times: np.ndarray) -> None:
    made = inject(clip, times, Category.SUDDEN_BLURRING, severity=0.9, rng=np.random.default_rng(1))
    touched = np.flatnonzero(made.mask.any(axis=(1, 2)))
    assert made.trace.onset_s == times[touched[0]]
    ends = [*times[1:], times[-1] + np.median(np.diff(times))]
    assert made.trace.offset_s == pytest.approx(ends[touched[-1]])
    assert made.trace.onset_s > 0  # what becomes blurred was sharp before


def test_no_trace_crosses_a_cut(clip: np.ndarray) -> None:
    other = 255 - np.roll(clip, 50, axis=2)
    both = np.concatenate([clip[:10], other[10:]])
    for seed in range(12):
        made = put(Category.OBJECT_DISTORTION, seed=seed, frames=both)
        touched = made.mask.any(axis=(1, 2))
        assert not (touched[:10].any() and touched[10:].any())


def test_stays_off_what_is_taken(clip: np.ndarray) -> None:
    first = put(Category.UNEXPECTED_MOVE, seed=2)
    for seed in range(6):
        rng = np.random.default_rng(seed)
        second = inject(first.frames, TIMES, Category.OBJECT_DISTORTION, severity=0.8, rng=rng, avoid=first.mask)
        shared = (second.mask & first.mask).sum() / second.mask.sum()
        assert shared < 0.25


def test_input_is_not_written_to(clip: np.ndarray) -> None:
    before = clip.tobytes()
    put(Category.OBJECT_DISAPPEARANCE, frames=clip)
    assert clip.tobytes() == before


@pytest.mark.parametrize(
    ("frames", "times", "severity", "error"),
    [
        (CLIP[..., 0], TIMES, 0.5, SettingsError),
        (CLIP.astype(np.float32), TIMES, 0.5, SettingsError),
        (CLIP, TIMES[:-1], 0.5, SettingsError),
        (CLIP, TIMES[::-1], 0.5, SettingsError),
        (CLIP, TIMES, 1.5, SettingsError),
        (CLIP[:3], TIMES[:3], 0.5, SynthError),
        (CLIP[:, :16, :16], TIMES, 0.5, SynthError),
        (np.full_like(CLIP, 90), TIMES, 0.5, SynthError),
    ],
)
def test_what_cannot_be(frames: np.ndarray, times: np.ndarray, severity: float, error: type[Exception]) -> None:
    with pytest.raises(error) as caught:
        inject(frames, times, Category.OBJECT_DISTORTION, severity=severity, rng=np.random.default_rng(0))
    assert "\n" not in str(caught.value)
