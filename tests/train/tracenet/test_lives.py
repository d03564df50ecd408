from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs torch (pip install 'deeptrace[train]')")
pytest.importorskip("sklearn", reason="needs scikit-learn (pip install 'deeptrace[train]')")

from tests.train.tracenet.made import BOX

from deeptrace.detectors.tracenet.appearance import DIMENSIONS
from deeptrace.detectors.tracenet.evidence import CHANNELS, GRID
from deeptrace.detectors.tracenet.lives import coverage, life_features, likeliest_life
from deeptrace.detectors.tracenet.texture import texture_names
from deeptrace.trace import Category, Trace
from deeptrace.train.tracenet.clips import Clip, Kind
from deeptrace.train.tracenet.config import TraceNetConfig
from deeptrace.train.tracenet.crossfit import ScoredClip, Scores
from deeptrace.train.tracenet.lives import fit_lives

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
    lives = fit_lives({0: train}, config)
    assert lives is not None
    curl = 5 + CHANNELS.index("curl")
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


def test_too_few_traces_teach_nothing(tmp_path: Path) -> None:
    config = TraceNetConfig(data=tmp_path, out=tmp_path)
    (tmp_path / "measured").mkdir()
    rng = np.random.default_rng(0)
    assert fit_lives({0: [made(tmp_path / "measured", f"t{k}", rng)[0] for k in range(19)]}, config) is None
    assert fit_lives({}, config) is None
