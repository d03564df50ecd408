from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.needs import needs

needs("sklearn")

from deeptrace.detectors.tracenet.appearance import VIEWS  # noqa: E402
from deeptrace.errors import DataError  # noqa: E402
from deeptrace.train.tracenet.clips import Clip, Kind  # noqa: E402
from deeptrace.train.tracenet.config import TraceNetConfig  # noqa: E402
from deeptrace.train.tracenet.kernel_machine import (  # noqa: E402
    CLIP,
    KernelMachine,
    Statistics,
    Trait,
    fit_kernel_machine,
)

SIZE = 30


def measured_clips(folder: Path, seed: int, each: int = 12) -> tuple[list[Clip], TraceNetConfig]:
    """Clips whose statistics tell the classes apart along one axis, below a far larger scatter between variants."""
    rng = np.random.default_rng(seed)
    config = TraceNetConfig(data=folder, out=folder, variants=4, texture_dimensions=8, appearance_dimensions=8)
    (folder / "measured").mkdir()
    clips = []
    for kind in (Kind.REAL, Kind.GENERATED):
        for number in range(each):
            clip = Clip(f"{kind.name}{number}", folder, kind, f"{kind.name}{number // 3}", "")
            own = rng.normal(0, 0.2, SIZE)
            own[0] += 1.0 if kind is Kind.GENERATED else -1.0
            for variant in range(config.variants):
                texture = own + rng.normal(0, 0.05, SIZE)
                texture[1:4] += rng.normal(0, 20)  # what re-encoding changes
                np.savez(
                    folder / "measured" / f"{clip.name}.v{variant}.npz",
                    times_s=np.arange(24) / 8,
                    evidence=np.zeros(1, np.float16),
                    texture=texture[None].astype(np.float32),
                    appearance=texture[None, ::-1].astype(np.float32),
                )
            clips.append(clip)
    return clips, config


def fit(clips: list[Clip], config: TraceNetConfig, trait: Trait) -> KernelMachine:
    return fit_kernel_machine(Statistics.read(clips, config, trait), config, trait)


@pytest.mark.parametrize("trait", ["texture", "appearance"])
def test_classes_are_told_apart_below_the_scatter_of_encodings(tmp_path: Path, trait: Trait) -> None:
    clips, config = measured_clips(tmp_path, 0)
    model = fit(clips, config.model_copy(update={"appearance_nuisance": 10.0}), trait)
    rng = np.random.default_rng(1)
    for sign in (-1.0, 1.0):
        fresh = rng.normal(0, 0.2, (20, SIZE))
        fresh[:, 0] += sign
        fresh[:, 1:4] += rng.normal(0, 20, (20, 1))
        rows = fresh if trait == "texture" else fresh[:, ::-1]
        right = [np.sign(model.score(row[None])) == sign for row in rows]
        assert np.mean(right) >= 0.9


def test_a_model_is_the_same_after_it_was_kept(tmp_path: Path) -> None:
    clips, config = measured_clips(tmp_path, 0)
    model = fit(clips, config, "texture")
    model.save(tmp_path / "model.npz")
    rows = np.random.default_rng(2).normal(0, 1, (3, SIZE))
    assert KernelMachine.load(tmp_path / "model.npz").score(rows) == pytest.approx(model.score(rows))
    assert model.score(rows[:0]) == 0.0


def test_the_likeness_of_two_views_is_the_mean_of_theirs(tmp_path: Path) -> None:
    clips, config = measured_clips(tmp_path, 0)
    model = fit(clips, config, "appearance")
    assert (len(model.projection), model.support.shape[1], len(model.gamma)) == (VIEWS, VIEWS, VIEWS)
    row = np.random.default_rng(2).normal(0, 1, SIZE)
    standard = np.clip((row - model.center) * model.scale, -CLIP, CLIP).reshape(VIEWS, -1)
    expected = model.bias
    for weight, support in zip(model.weights, model.support, strict=True):
        far = [np.sum((standard[v] @ model.projection[v] - support[v] * model.step[v]) ** 2) for v in range(VIEWS)]
        expected += weight * np.mean(np.exp(-model.gamma * far))
    assert model.score(row[None]) == pytest.approx(expected, rel=1e-5)


def test_windows_of_a_variant_are_one_row_of_appearance(tmp_path: Path) -> None:
    clips, config = measured_clips(tmp_path, 0, each=1)
    one = Statistics.read(clips, config, "appearance")
    twice = Statistics(
        clips, np.concatenate([one.rows, one.rows + 2]), np.tile(one.owner, 2), np.tile(one.variant, 2)
    ).by_variant()
    np.testing.assert_allclose(twice.rows, one.rows + 1, rtol=1e-5)
    assert (twice.owner == one.owner).all()
    assert (twice.variant == one.variant).all()


def test_one_class_alone_is_refused(tmp_path: Path) -> None:
    clips, config = measured_clips(tmp_path, 0, each=2)
    with pytest.raises(DataError, match="both real and generated"):
        fit([clip for clip in clips if clip.kind is Kind.REAL], config, "texture")


def test_a_clip_is_scored_by_the_mean_over_its_windows_of_one_variant(tmp_path: Path) -> None:
    clips, config = measured_clips(tmp_path, 0)
    model = fit(clips, config, "texture")
    all_of_them = Statistics.read(clips, config, "texture")
    some = np.array([number % 3 == 0 for number in range(len(clips))])
    scores = all_of_them.of(some).scores(model, 2)
    expected = [
        model.score(np.load(tmp_path / "measured" / f"{clip.name}.v2.npz")["texture"])
        for clip, chosen in zip(clips, some, strict=True)
        if chosen
    ]
    assert scores == pytest.approx(expected)
    assert np.isnan(all_of_them.scores(model, 9)).all()


def test_nearness_is_one_at_a_support_and_falls_with_the_distance(tmp_path: Path) -> None:
    clips, config = measured_clips(tmp_path, 0)
    statistics = Statistics.read(clips, config, "texture")
    model = fit_kernel_machine(statistics, config, "texture")
    known = model.window_nearness(statistics.rows)
    unlike = model.center + 2.0 / model.scale * np.where(np.arange(SIZE) % 2, 1.0, -1.0)
    assert known.max() == pytest.approx(1.0, abs=0.01)
    assert model.window_nearness(unlike[None])[0] < known.min()
    by_clip = statistics.nearness(model, 0)
    np.testing.assert_allclose(by_clip, known[statistics.variant == 0], rtol=1e-4)
