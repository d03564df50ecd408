"""Rewards within a group: means, order, saturation, failures."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeptrace.errors import SettingsError
from deeptrace.reward import RewardResult, group_rewards
from deeptrace.reward.reward import reward_of
from deeptrace.schema import Flaws, Label, Outcome, Verdict


def result(p_fake: float, severity: float | None = None) -> RewardResult:
    flaws = None if severity is None else Flaws(severity=severity, parts={"flicker": severity})
    known = {"label": Label.FAKE, "p_fake": p_fake, "flaws": flaws}
    return reward_of(Verdict(video="a.mp4", outcome=Outcome.SCORED, **known), authenticity_weight=1)


FAILED = reward_of(Verdict.failed("b.mp4", Outcome.DECODE_FAILED, "cut off"))
clips = st.lists(st.tuples(st.floats(0, 1), st.floats(-4, 8), st.integers(0, 2)), min_size=1, max_size=12)


@given(clips)
def test_each_group_has_mean_zero_and_ranks_from_zero_to_one(rows: list[tuple[float, float, int]]) -> None:
    results, groups = [result(p, s) for p, s, _ in rows], [group for *_, group in rows]
    relative, ranks = group_rewards(results, groups), group_rewards(results, groups, form="rank")
    for group in set(groups):
        of_group = [k for k, other in enumerate(groups) if other == group]
        assert math.fsum(relative[k] for k in of_group) == pytest.approx(0, abs=1e-6)
        assert math.fsum(ranks[k] for k in of_group) == pytest.approx(len(of_group) / 2)
        assert all(0 <= ranks[k] <= 1 for k in of_group)


@given(clips, st.floats(0, 1), st.floats(0, 4))
def test_a_clip_that_is_worse_in_everything_is_never_above(
    rows: list[tuple[float, float, int]], better: float, by: float
) -> None:
    results = [result(p, s) for p, s, _ in rows]
    p_fake, severity, _ = rows[0]
    results.append(result(p_fake * better, severity - by))
    relative = group_rewards(results, ["a"] * len(results))
    assert relative[-1] >= relative[0] - 1e-9


def test_a_part_that_is_saturated_in_the_group_has_hardly_a_say() -> None:
    sure = [result(0.9999, 1.0), result(0.999, 1.2)]  # ten times as authentic, and a little more flawed
    assert sure[1].reward > sure[0].reward
    relative = group_rewards(sure, ["a", "a"])
    by_flaws = group_rewards([result(0.999, 1.0), result(0.999, 1.2)], ["a", "a"])
    assert by_flaws[0] > by_flaws[1]
    assert abs(relative[0] - relative[1]) < 2 * abs(by_flaws[0] - by_flaws[1]) + 0.5
    unsure = [result(0.6, 1.0), result(0.2, 1.0)]
    assert group_rewards(unsure, ["a", "a"])[1] > 0.05


def test_a_failure_is_no_number_and_moves_nobody() -> None:
    clean = [result(0.5, 0.0), result(0.5, 2.0)]
    with_failure = group_rewards([clean[0], FAILED, clean[1]], ["a"] * 3)
    assert math.isnan(with_failure[1])
    assert [with_failure[0], with_failure[2]] == group_rewards(clean, ["a"] * 2)
    assert group_rewards([FAILED, clean[0]], ["a", "b"], form="rank")[1] == 0.5


def test_what_makes_no_sense_is_one_clear_line() -> None:
    with pytest.raises(SettingsError, match="each of 1 clip but got 2"):
        group_rewards([FAILED], ["a", "b"])
    with pytest.raises(SettingsError, match="relative, rank but got 'best'"):
        group_rewards([FAILED], ["a"], form="best")  # type: ignore[arg-type]
