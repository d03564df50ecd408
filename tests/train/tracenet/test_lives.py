from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs torch (pip install 'deeptrace[train]')")
pytest.importorskip("sklearn", reason="needs scikit-learn (pip install 'deeptrace[train]')")

from tests.train.tracenet.made import BOX, write_measured

from deeptrace.detectors.tracenet.appearance import DIMENSIONS
from deeptrace.detectors.tracenet.evidence import CHANNELS, GRID
from deeptrace.detectors.tracenet.lives import MOMENT_FEATURES, coverage, life_features, likeliest_life
from deeptrace.detectors.tracenet.texture import texture_names
from deeptrace.trace import Category, Trace
from deeptrace.train.tracenet.clips import Clip, Kind
from deeptrace.train.tracenet.config import TraceNetConfig
from deeptrace.train.tracenet.crossfit import ScoredClip, Scores
from deeptrace.train.tracenet.lives import LifeExamples, fit_lives, marked_examples, planted_examples
from deeptrace.train.tracenet.nets import PresenceNet

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
    lives = fit_lives(examples, moments=True)
    assert lives is not None
    curl = MOMENT_FEATURES + CHANNELS.index("curl")
    assert max(range(len(lives.weights)), key=lambda k: lives.weights[k]) in (curl, curl + len(CHANNELS))

    overlaps = []
    for k in range(8):
        new, there = made(tmp_path / "measured", f"n{k}", rng)
        with np.load(tmp_path / "measured" / f"n{k}.v0.npz") as data:
            features = life_features(data["evidence"], new.scores.present, BOX, TIMES, FRAMES * STEP_S)
        told = np.zeros(FRAMES, bool)
        told[likeliest_life(lives.chances(features), TIMES, FRAMES * STEP_S)] = True
        overlaps.append((told & there).sum() / (told | there).sum())
    assert np.mean(overlaps) > 0.75

    untimed = fit_lives(examples, moments=False)
    assert untimed is not None
    assert not any(untimed.weights[:MOMENT_FEATURES])
    assert any(lives.weights[:MOMENT_FEATURES])


def test_too_few_moments_teach_nothing(tmp_path: Path) -> None:
    config = TraceNetConfig(data=tmp_path, out=tmp_path)
    (tmp_path / "measured").mkdir()
    rng = np.random.default_rng(0)
    few = marked_examples([made(tmp_path / "measured", f"t{k}", rng)[0] for k in range(8)], 0, config)
    assert len(few.alive) == 8 * FRAMES
    assert fit_lives(few, moments=True) is None
    assert fit_lives(LifeExamples.joined([]), moments=True) is None


def test_planted_traces_that_never_come_or_go_are_left_out(tmp_path: Path) -> None:
    config = TraceNetConfig(data=tmp_path, out=tmp_path, variants=2, planted_variants=(0,))
    clips = write_measured(config)
    net = PresenceNet().eval()
    assert not len(planted_examples(net, clips, config).alive)  # the made trace is there all the time
    path = tmp_path / "measured" / "r1.v0.sets.npz"
    with np.load(path) as data:
        arrays = dict(data)
    for level in (0, 1):
        arrays[f"target0.{level}"][:7] = 0
    np.savez(path, **arrays)
    examples = planted_examples(net, clips, config)
    frames = len(arrays["base"])
    assert examples.alive.tolist() == 2 * ([False] * 7 + [True] * (frames - 7))
    np.testing.assert_allclose(examples.weights.reshape(2, -1).sum(axis=1), [0.3, 0.8])
    examples.save(tmp_path / "lives.npz")
    twice = LifeExamples.joined([LifeExamples.load(tmp_path / "lives.npz")] * 2)
    np.testing.assert_array_equal(twice.features, np.tile(examples.features, (2, 1)))
