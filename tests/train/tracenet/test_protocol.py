"""The protocol on made statistics, where what helps in one era is known to mislead in the other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.needs import needs

needs("sklearn")

from sklearn.metrics import roc_auc_score  # noqa: E402

from deeptrace.train.tracenet.clips import Clip, Kind  # noqa: E402
from deeptrace.train.tracenet.config import TraceNetConfig  # noqa: E402
from deeptrace.train.tracenet.protocol import (  # noqa: E402
    Judged,
    by_fold,
    eras_of,
    figures_of_judged,
    of_era,
    read_statistics,
)

SIZE = 12
GROUPS, EACH = 6, 3


def measured_eras(folder: Path, seed: int = 0) -> tuple[list[Clip], TraceNetConfig]:
    """Two eras; the axis that tells the classes apart in one means the opposite in the other."""
    rng = np.random.default_rng(seed)
    config = TraceNetConfig(
        data=folder,
        out=folder,
        variants=2,
        folds=3,
        texture_nuisance=0.0,
        texture_dimensions=8,
        appearance_dimensions=8,
    )
    (folder / "measured").mkdir()
    clips = []
    for era, sign in (("old", 1.0), ("new", -1.0)):
        for kind in (Kind.REAL, Kind.GENERATED):
            for number in range(GROUPS * EACH):
                group = f"{kind.name.lower()}:{era}{number // EACH}"
                clip = Clip(f"{era}{kind.name}{number}", folder, kind, group, "", era=era)
                for variant in range(config.variants):
                    side = 1.0 if kind is Kind.GENERATED else -1.0
                    rows = rng.normal(0, 1, (1, SIZE)).astype(np.float32)
                    rows[0, 0] += 3.0 * side * sign
                    np.savez(folder / "measured" / f"{clip.name}.v{variant}.npz", texture=rows, appearance=rows)
                clips.append(clip)
    return clips, config


def auroc_of(judged: Judged) -> float:
    labels = [clip.kind is Kind.GENERATED for clip in judged.clips]
    return float(roc_auc_score(labels, judged.in_one_encoding))


def test_an_era_is_judged_by_the_other_alone(tmp_path: Path) -> None:
    clips, config = measured_eras(tmp_path)
    table = read_statistics(clips, config)
    eras = {era: of_era(table, config, era) for era in eras_of(clips)}
    assert {name: {clip.era for clip in judged.clips} for name, judged in eras.items()} == {
        "old": {"old"},
        "new": {"new"},
    }
    for judged in eras.values():
        assert auroc_of(judged) < 0.3  # what was learned misleads: nothing of the judged era was seen
    for name in ("old", "new"):
        alone = [clip for clip in clips if clip.era == name]
        folds = by_fold(read_statistics(alone, config), config, seed=0)
        assert sorted(clip.name for clip in folds.clips) == sorted(clip.name for clip in alone)
        assert auroc_of(folds) > 0.9
        assert eras_of(alone) == []


def test_a_name_that_the_judged_era_shows_teaches_nothing(tmp_path: Path) -> None:
    clips, config = measured_eras(tmp_path)
    old = [clip for clip in clips if clip.era == "old"]
    # Half of the old groups, of each class, are parts of large ones that the new era shows; the rest are its own.
    shared = {f"{kind}:old{k}": f"{kind}:new{k}/{k}" for kind in ("real", "generated") for k in range(GROUPS // 2)}
    renamed = [replace(clip, group=shared.get(clip.group, clip.group)) for clip in clips]
    without = [clip for clip in clips if clip.era == "new" or clip.group not in shared]
    assert len(without) == len(clips) - len(old) // 2
    judged, expected = (of_era(read_statistics(some, config), config, "new") for some in (renamed, without))
    assert [clip.name for clip in judged.clips] == [clip.name for clip in expected.clips]
    for name, values in expected.arrays.items():
        np.testing.assert_allclose(judged.arrays[name], values)
    unlike = of_era(read_statistics(clips, config), config, "new")
    assert not np.allclose(unlike.in_one_encoding, judged.in_one_encoding)


def test_an_era_that_leaves_nothing_to_learn_from_is_not_judged(tmp_path: Path) -> None:
    clips, _ = measured_eras(tmp_path)
    assert eras_of([replace(clip, group=clip.group.replace("old", "new")) for clip in clips]) == []
    few = [
        clip
        for clip in clips
        if clip.era == "new" or clip.group not in {"real:old2", "real:old3", "real:old4", "real:old5"}
    ]
    assert eras_of(few) == ["old"]  # two sources of the old one are left to judge the new one by


def test_thresholds_come_from_the_clips_that_were_learned_from(tmp_path: Path) -> None:
    clips, config = measured_eras(tmp_path)
    folds = by_fold(read_statistics([clip for clip in clips if clip.era == "old"], config), config, seed=1)
    figures = figures_of_judged(folds, folds.as_they_are)
    assert len(set(folds.limit_fpr_5)) == config.folds
    assert figures.false_alarms <= 0.25
    assert figures.found >= 0.6
    assert figures.false_alarms_1 <= figures.false_alarms
    assert figures.found_1_set_elsewhere <= figures.found


def judged_by_hand(clips: list[Clip], chances: list[float], limit: float) -> Judged:
    values = np.array(chances)
    scores, near = np.zeros((len(clips), 2)), np.ones(len(clips))
    limits = np.full(len(clips), 0.9), np.full(len(clips), limit)
    return Judged(clips, values, values, scores, scores, near, near, *limits)


def test_judgements_are_the_same_after_they_were_kept(tmp_path: Path) -> None:
    clips, config = measured_eras(tmp_path)
    judged = of_era(read_statistics(clips, config), config, "new")
    judged.save(tmp_path / "judged.npz")
    again = Judged.load(tmp_path / "judged.npz", clips)
    assert again.clips == judged.clips
    assert again.arrays.keys() == judged.arrays.keys()
    for name, values in judged.arrays.items():
        np.testing.assert_array_equal(again.arrays[name], values)


def test_figures_against_counting_and_sklearn() -> None:
    real = [
        Clip(f"r{k}", Path(), Kind.REAL, f"real:{'big/0' if k < 3 else 'big/1' if k < 6 else 'rest'}", "")
        for k in range(12)
    ]
    game = replace(real[0], name="g", group="real:game", footage="game")
    fake = [Clip(f"f{k}", Path(), Kind.GENERATED, f"generated:G{k % 2}", "") for k in range(8)]
    edited = Clip("e", Path(), Kind.EDITED, "matched:x", "")
    rng = np.random.default_rng(0)
    p_real, p_fake = rng.uniform(0, 0.7, 12), rng.uniform(0.3, 1, 8)
    judged = judged_by_hand([*real, game, *fake, edited], [*p_real, 0.95, *p_fake, 0.99], 0.5)
    found = figures_of_judged(judged, judged.as_they_are, resamples=200)
    assert (found.real, found.generated) == (12, 8)
    labels = [0] * 12 + [1] * 8
    assert found.auroc == pytest.approx(roc_auc_score(labels, [*p_real, *p_fake]), abs=1e-4)
    assert found.false_alarms == pytest.approx((p_real >= 0.5).mean(), abs=1e-4)
    assert found.found == pytest.approx((p_fake >= 0.5).mean(), abs=1e-4)
    assert found.by_footage == {
        "camera": (pytest.approx((p_real >= 0.5).mean(), abs=1e-4), 12),
        "game": (1.0, 1),
    }
    assert found.by_source["big"] == (pytest.approx((p_real[:6] >= 0.5).mean(), abs=1e-4), 6)
    assert set(found.by_source) == {"big", "rest"}
    assert set(found.by_generator) == {"G0", "G1"}
    assert found.macro == pytest.approx(np.mean([value for value, _ in found.by_generator.values()]), abs=1e-4)
    low, high = found.interval
    assert low <= found.auroc <= high


def test_the_interval_is_of_groups_and_so_wider_than_one_of_clips() -> None:
    rng = np.random.default_rng(1)
    shift = rng.normal(0, 1, 10)
    clips, chances = [], []
    for k in range(10):
        for number in range(20):
            kind = Kind.GENERATED if k < 5 else Kind.REAL
            clips.append(Clip(f"{k}-{number}", Path(), kind, f"{kind.name.lower()}:{k}", ""))
            chances.append((1.0 if k < 5 else 0.0) + shift[k] + 0.1 * rng.normal())
    grouped = judged_by_hand(clips, chances, 0.5)
    apart = judged_by_hand([replace(c, group=f"{c.kind.name.lower()}:{c.name}") for c in clips], chances, 0.5)
    wide, narrow = (figures_of_judged(one, one.as_they_are).interval for one in (grouped, apart))
    assert wide[1] - wide[0] > 2 * (narrow[1] - narrow[0])


def test_a_clip_too_short_for_statistics_is_left_out() -> None:
    clips = [Clip(str(k), Path(), Kind(k % 2), f"{'generated' if k % 2 else 'real'}:{k}", "") for k in range(10)]
    judged = judged_by_hand(clips, [np.nan, *(0.2 + 0.5 * (k % 2) for k in range(1, 10))], 0.5)
    found = figures_of_judged(judged, judged.as_they_are, resamples=50)
    assert (found.real, found.generated, found.auroc) == (4, 5, 1.0)
