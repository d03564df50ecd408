"""Chances of local edits, and when a trace is there: fitted on made scores with a known answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.needs import needs

needs("torch", "sklearn")
from tests.train.tracenet.made import BOX, write_measured  # noqa: E402

from deeptrace.detectors.tracenet.appearance import DIMENSIONS  # noqa: E402
from deeptrace.detectors.tracenet.evidence import CHANNELS, GRID  # noqa: E402
from deeptrace.detectors.tracenet.model import Calibration  # noqa: E402
from deeptrace.detectors.tracenet.temporal_extent import MOMENT_FEATURES, coverage, extent_features, likeliest_extent  # noqa: E402
from deeptrace.detectors.tracenet.texture import texture_names  # noqa: E402
from deeptrace.schema import Category, Trace  # noqa: E402
from deeptrace.train.tracenet.calibrate import (  # noqa: E402
    ExtentExamples,
    fit_edits,
    fit_temporal_extent,
    marked_examples,
    synthetic_examples,
)
from deeptrace.train.tracenet.clips import Clip, Kind  # noqa: E402
from deeptrace.train.tracenet.config import TraceNetConfig  # noqa: E402
from deeptrace.train.tracenet.crossfit import NO_TRACE, ScoredClip, Scores, SyntheticScores  # noqa: E402
from deeptrace.train.tracenet.nets import PresenceNet  # noqa: E402


def synthetic_scores(apart: float) -> SyntheticScores:
    """1,000 stretches, half with a trace that lifts the pooled logit by `apart` and is found where it is."""
    rng = np.random.default_rng(0)
    traced = np.arange(1000) % 2 == 1
    pooled = rng.normal(0, 1, 1000) + apart * traced
    return SyntheticScores(
        pooled=pooled,
        heat=1 / (1 + np.exp(-pooled)),
        iou=np.where(traced, 0.6, 0.0),
        severity=np.where(traced, 0.8, 0.0),
        category=np.where(traced, 2, NO_TRACE),
        told=np.zeros(1000, int),
    )


def calibrated(synthetic: SyntheticScores | None) -> Calibration:
    return Calibration(
        texture=1, appearance=1, bias=0, threshold_fpr_1=1, threshold_fpr_5=1, threshold_balanced=1,
        heat=0, presence=0, trace_generated=0, trace_bias=0, sharpen=1, **fit_edits([], synthetic),
    )  # fmt: skip


def test_strong_signs_count_and_usual_footage_hardly_does() -> None:
    calibration = calibrated(synthetic_scores(4.0))
    assert calibration.p_edited(0.0) < 0.05 < 0.5 < calibration.p_edited(5.0)
    assert calibration.local_score(0.5, 0.0) < 0.2 < 0.8 < calibration.local_score(0.99, 5.0)


def test_a_net_that_sees_nothing_says_the_prior() -> None:
    calibration = calibrated(synthetic_scores(0.0))
    assert calibration.p_edited(0.0) == pytest.approx(0.05, abs=0.02)
    assert calibration.p_edited(2.0) == pytest.approx(0.05, abs=0.02)


@pytest.mark.parametrize("edits", ["none", "no traces"])
def test_without_planted_traces_nothing_is_ever_called_edited(edits: str) -> None:
    scores = synthetic_scores(1.0)
    without = SyntheticScores(**{**vars(scores), "category": np.full(1000, NO_TRACE)})
    calibration = calibrated(None if edits == "none" else without)
    assert calibration.p_edited(20.0) < 1e-20
    assert calibration.local_score(1.0, 20.0) < 1e-20
    assert calibration.p_fake(0.0, 0.0, 20.0) == 0.5


FRAMES, STEP_S = 24, 0.125
TIMES = np.arange(FRAMES) * STEP_S


def made(folder: Path, name: str, rng: np.random.Generator) -> tuple[ScoredClip, np.ndarray]:
    """A clip with a trace during which the curl in BOX is raised, as measured; and when (FRAMES,) it is there."""
    first = int(rng.integers(0, 12))
    stop = int(rng.integers(first + 6, FRAMES + 1))
    maps = rng.normal(0, 0.3, (FRAMES, len(CHANNELS), GRID, GRID))
    maps[first:stop, CHANNELS.index("curl")] += coverage(BOX)
    traits = {
        "texture": np.zeros((1, len(texture_names())), np.float32),
        "appearance": np.zeros((1, DIMENSIONS), np.float32),
    }
    np.savez(folder / f"{name}.v0.npz", times_s=TIMES, evidence=maps.astype(np.float16), **traits)
    trace = Trace(
        categories=(Category.OBJECT_DISTORTION,), box=BOX, score=1.0, explanation="x",
        onset_s=first * STEP_S, offset_s=stop * STEP_S,
    )  # fmt: skip
    flat = np.full((FRAMES, GRID, GRID), 0.1, np.float16)
    kinds = np.full((FRAMES, 9, GRID // 2, GRID // 2), 1 / 9, np.float16)
    clip = Clip(name, Path(name), Kind.GENERATED, name, "", (trace,))
    return ScoredClip(clip, Scores(0.0, 0.0, 0.0, flat, flat, kinds, TIMES)), (first * STEP_S <= TIMES) & (
        stop * STEP_S > TIMES
    )


def test_what_rises_during_traces_is_learned_and_found_in_new_clips(tmp_path: Path) -> None:
    config = TraceNetConfig(data=tmp_path, out=tmp_path)
    (tmp_path / "measured").mkdir()
    rng = np.random.default_rng(0)
    train = [made(tmp_path / "measured", f"t{k}", rng)[0] for k in range(24)]
    examples = marked_examples(train, 0, config)
    np.testing.assert_allclose(examples.weights, 1 / FRAMES)
    extent = fit_temporal_extent(examples, moments=True)
    assert extent is not None
    curl = MOMENT_FEATURES + CHANNELS.index("curl")
    assert max(range(len(extent.weights)), key=lambda k: extent.weights[k]) in (curl, curl + len(CHANNELS))

    overlaps = []
    for k in range(8):
        new, there = made(tmp_path / "measured", f"n{k}", rng)
        with np.load(tmp_path / "measured" / f"n{k}.v0.npz") as data:
            features = extent_features(data["evidence"], new.scores.present, BOX, TIMES, FRAMES * STEP_S)
        told = np.zeros(FRAMES, bool)
        told[likeliest_extent(extent.chances(features), TIMES, FRAMES * STEP_S)] = True
        overlaps.append((told & there).sum() / (told | there).sum())
    assert np.mean(overlaps) > 0.75

    untimed = fit_temporal_extent(examples, moments=False)
    assert untimed is not None
    assert not any(untimed.weights[:MOMENT_FEATURES])
    assert any(extent.weights[:MOMENT_FEATURES])


def test_too_few_moments_teach_nothing(tmp_path: Path) -> None:
    config = TraceNetConfig(data=tmp_path, out=tmp_path)
    (tmp_path / "measured").mkdir()
    rng = np.random.default_rng(0)
    few = marked_examples([made(tmp_path / "measured", f"t{k}", rng)[0] for k in range(8)], 0, config)
    assert len(few.alive) == 8 * FRAMES
    assert fit_temporal_extent(few, moments=True) is None
    assert fit_temporal_extent(ExtentExamples.joined([]), moments=True) is None


def test_planted_traces_that_never_come_or_go_are_left_out(tmp_path: Path) -> None:
    config = TraceNetConfig(data=tmp_path, out=tmp_path, variants=2, synthetic_variants=(0,))
    clips = write_measured(config)
    net = PresenceNet().eval()
    assert not len(synthetic_examples(net, clips, config).alive)  # the made trace is there all the time
    path = tmp_path / "measured" / "r1.v0.sets.npz"
    with np.load(path) as data:
        arrays = dict(data)
    for level in (0, 1):
        arrays[f"target0.{level}"][:7] = 0
    np.savez(path, **arrays)
    examples = synthetic_examples(net, clips, config)
    frames = len(arrays["base"])
    assert examples.alive.tolist() == 2 * ([False] * 7 + [True] * (frames - 7))
    np.testing.assert_allclose(examples.weights.reshape(2, -1).sum(axis=1), [0.3, 0.8])
    examples.save(tmp_path / "lives.npz")
    twice = ExtentExamples.joined([ExtentExamples.load(tmp_path / "lives.npz")] * 2)
    np.testing.assert_array_equal(twice.features, np.tile(examples.features, (2, 1)))
