"""The numbers that explanations quote, against the pixels."""

from __future__ import annotations

import re

import cv2
import numpy as np
import pytest

from deeptrace.schema import Category
from deeptrace.synth import Injection, inject

TIMES = np.arange(20) / 8


def put(frames: np.ndarray, category: Category, seed: int, severity: float = 0.8) -> Injection:
    return inject(frames, TIMES[: len(frames)], category, severity=severity, rng=np.random.default_rng(seed))


def laplacian_rms(frame: np.ndarray, mask: np.ndarray) -> float:
    gray = cv2.GaussianBlur(frame.astype(np.float64).mean(axis=-1), (0, 0), 1.0)
    core = gray[1:-1, 1:-1] * 4 - gray[:-2, 1:-1] - gray[2:, 1:-1] - gray[1:-1, :-2] - gray[1:-1, 2:]
    return float(np.sqrt((core[mask[1:-1, 1:-1]] ** 2).mean()))


@pytest.mark.parametrize("seed", range(6))
def test_blurring_quotes_the_loss(clip: np.ndarray, seed: int) -> None:
    made = put(clip, Category.SUDDEN_BLURRING, seed, 0.7)
    quoted = float(re.search(r"loses (\d+) %", made.trace.explanation).group(1)) / 100
    assert quoted == pytest.approx(made.measures["sharpness_loss"], abs=0.006)
    gone = int(np.searchsorted(TIMES, made.measures["gone_s"] - 1e-6))
    frame = min(gone, int(np.flatnonzero(made.mask.any(axis=(1, 2)))[-1]))
    core = cv2.erode(made.mask[frame].astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    seen = 1 - laplacian_rms(made.frames[frame], core) / laplacian_rms(clip[frame], core)
    assert seen == pytest.approx(quoted, abs=0.2)
    assert seen > 0.1


@pytest.mark.parametrize(
    "category", [Category.OBJECT_DISTORTION, Category.BACKGROUND_DISTORTION], ids=lambda category: category.value
)
@pytest.mark.parametrize("seed", range(5))
def test_warps_quote_the_largest_shift(ruler: np.ndarray, category: Category, seed: int) -> None:
    made = put(ruler, category, seed, 0.5)
    shift = made.frames[..., :2].astype(float) - ruler[..., :2]
    seen = float(np.hypot(shift[..., 0], shift[..., 1]).max())
    quoted = float(re.search(r"up to ([\d.]+) pixels", made.trace.explanation).group(1))
    assert quoted == pytest.approx(made.measures["shift_px"], abs=0.051)
    # rounding, fresh noise and a loss of detail add or take a little
    assert seen == pytest.approx(quoted, rel=0.15, abs=2.0)
    share = float(re.search(r"\(([\d.]+) % of", made.trace.explanation).group(1))
    assert share == pytest.approx(100 * quoted / ruler.shape[2], abs=0.1)


@pytest.mark.parametrize("seed", [0, 1, 3, 6, 8])
def test_trajectory_is_displaced_as_far_as_it_says(clip: np.ndarray, seed: int) -> None:
    moved, home = put(clip, Category.OBJECT_TRAJECTORY, seed, 0.6), put(clip, Category.OBJECT_TRAJECTORY, seed, 0.0)
    assert home.measures["offset_px"] < 3
    height, width = clip.shape[1:3]
    where = {key.time_s: key.box for key in home.trace.keyframes}
    offsets = []
    for key in moved.trace.keyframes:
        boxes = (key.box, where[key.time_s])
        if any(box.x0 == 0 or box.y0 == 0 or box.x1 == 1 or box.y1 == 1 for box in boxes):
            continue  # cut off by the frame: its centre says little
        (ax, ay), (bx, by) = (box.center for box in boxes)
        offsets.append(float(np.hypot((ax - bx) * width, (ay - by) * height)))
    assert offsets
    quoted = float(re.search(r"up to ([\d.]+) pixels", moved.trace.explanation).group(1))
    assert max(offsets) <= quoted + 6
    assert max(offsets) > 0.3 * quoted


@pytest.mark.parametrize("seed", range(4))
def test_a_vanished_thing_is_gone(clip: np.ndarray, seed: int) -> None:
    made = put(clip, Category.OBJECT_DISAPPEARANCE, seed, 1.0)
    assert made.measures["contrast_loss"] > 0.85
    frame = int(np.searchsorted(TIMES, made.measures["gone_s"] - 1e-6))
    frame = min(frame, int(np.flatnonzero(made.mask.any(axis=(1, 2)))[-1]))
    core = cv2.erode(made.mask[frame].astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    before, after = clip[frame][core].astype(float), made.frames[frame][core].astype(float)
    assert np.corrcoef(before.ravel(), after.ravel())[0, 1] < 0.85
    area = float(re.search(r"over ([\d.]+) % of the frame", made.trace.explanation).group(1)) / 100
    assert area == pytest.approx(made.measures["area"], abs=0.001)
    assert made.mask[frame].mean() == pytest.approx(area, rel=0.8)


@pytest.mark.parametrize("seed", range(4))
def test_a_redundant_copy_is_there_twice(clip: np.ndarray, seed: int) -> None:
    made = put(clip, Category.REDUNDANT_OBJECT, seed, 1.0)
    quoted = float(re.search(r"([\d]+) pixels", made.trace.explanation).group(1))
    assert quoted == pytest.approx(made.measures["distance_px"], abs=0.51)
    assert made.measures["distance_px"] > 8
    last = made.trace.keyframes[-1]
    index = int(np.searchsorted(TIMES, last.time_s))
    # the original is still where it was: the copy covers other pixels
    assert (made.frames[index] == clip[index]).all(axis=-1).mean() > 0.5
    assert made.mask[index].any()


@pytest.mark.parametrize("category", Category)
def test_times_in_the_sentence_are_the_traces(clip: np.ndarray, category: Category) -> None:
    made = put(clip, category, 8)
    first, second = (float(v) for v in re.search(r"between ([\d.]+) s and ([\d.]+) s", made.trace.explanation).groups())
    assert first == pytest.approx(made.trace.onset_s, abs=0.0051)
    assert first < second <= made.trace.offset_s + 0.0051


@pytest.mark.parametrize("category", [Category.OBJECT_SPLITTING, Category.OBJECT_MERGING])
def test_joins_quote_their_distance(clip: np.ndarray, category: Category) -> None:
    weak, strong = put(clip, category, 5, 0.2), put(clip, category, 5, 1.0)
    key = "gap_px" if category is Category.OBJECT_SPLITTING else "closer_px"
    assert strong.measures[key] > 3 * weak.measures[key]
    assert f"{strong.measures[key]:.1f} pixels" in strong.trace.explanation
