from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.needs import needs

needs("torch", "sklearn")

from deeptrace.train.tracenet.clip_probability import fit_fusion, rates_without_fold, thresholds  # noqa: E402
from deeptrace.train.tracenet.clips import Clip, Kind  # noqa: E402
from deeptrace.train.tracenet.crossfit import ScoredClip, Scores  # noqa: E402

NOTHING = np.zeros(0)


def scored_clips(count: int, seed: int = 0, apart: float = 2.0, shift: float = 0.0) -> list[ScoredClip]:
    """Clips whose texture tells the classes apart by `apart` and whose appearance by twice as much."""
    rng = np.random.default_rng(seed)
    out = []
    for number in range(count):
        kind = Kind.GENERATED if number % 2 else Kind.REAL
        sign = 1.0 if kind is Kind.GENERATED else -1.0
        texture = rng.normal(sign * apart / 2 + shift)
        appearance = rng.normal(sign * apart + shift)
        clip = Clip(f"{seed}_{number}", Path(f"{number}.mp4"), kind, f"{kind.name}{number % 8}", "")
        out.append(ScoredClip(clip, Scores(texture, appearance, 0.0, NOTHING, NOTHING, NOTHING, NOTHING)))
    return out


def kinds_of(scored: list[ScoredClip]) -> np.ndarray:
    return np.array([s.clip.kind for s in scored])


def test_the_better_score_weighs_more_and_chances_are_calibrated() -> None:
    scored = scored_clips(2000)
    fusion = fit_fusion(scored)
    assert fusion.appearance > fusion.texture > 0
    assert fusion.bias == pytest.approx(0.0, abs=0.2)
    chances, fake = fusion.chances(scored), kinds_of(scored) == Kind.GENERATED
    unsure = (chances > 0.3) & (chances < 0.7)
    assert fake[unsure].mean() == pytest.approx(chances[unsure].mean(), abs=0.12)


def test_edited_clips_do_not_move_the_fusion() -> None:
    scored = scored_clips(40)
    clip = Clip("edited", Path("edited.mp4"), Kind.EDITED, "matched:x", "")
    edited = ScoredClip(clip, Scores(-50.0, -50.0, 0.0, NOTHING, NOTHING, NOTHING, NOTHING))
    assert fit_fusion([*scored, edited]) == fit_fusion(scored)


def test_thresholds_keep_their_promise_on_the_clips_they_were_set_on() -> None:
    scored = scored_clips(1000)
    chances, kinds = fit_fusion(scored).chances(scored), kinds_of(scored)
    limits = thresholds(chances, kinds)
    real, fake = chances[kinds == Kind.REAL], chances[kinds == Kind.GENERATED]
    assert (real >= limits["threshold_fpr_1"]).mean() <= 0.01
    assert 0.03 <= (real >= limits["threshold_fpr_5"]).mean() <= 0.05
    balanced = limits["threshold_balanced"]
    assert (real >= balanced).mean() == pytest.approx((fake < balanced).mean(), abs=0.01)


def test_a_fold_that_is_harder_shows_in_the_rates_without_it() -> None:
    easy, hard = scored_clips(400, 1, apart=4.0), scored_clips(100, 2, apart=4.0, shift=1.5)
    scored = easy + hard
    folds = {s.clip.name: (3 if number >= 400 else number % 3) for number, s in enumerate(scored)}
    rates = rates_without_fold(scored, folds)
    assert set(rates) == {"fpr_1", "fpr_5", "balanced"}
    chances, kinds = fit_fusion(scored).chances(scored), kinds_of(scored)
    promised = (chances[kinds == Kind.REAL] >= thresholds(chances, kinds)["threshold_fpr_5"]).mean()
    assert rates["fpr_5"]["false_alarms"] > promised
    assert 0.5 < rates["fpr_5"]["found"] <= 1.0


def test_folds_without_both_classes_beside_them_give_no_rates() -> None:
    scored = scored_clips(8)
    assert rates_without_fold(scored, {s.clip.name: 0 for s in scored}) == {}
