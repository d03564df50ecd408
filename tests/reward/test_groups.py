"""Rewards within a group: means, order, ties, saturation, failures."""

from __future__ import annotations

import math
import statistics
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeptrace.errors import SettingsError
from deeptrace.reward import RewardResult, group_centred, group_ranks, group_rewards, group_weighed
from deeptrace.reward.groups import check_whole_groups
from deeptrace.reward.reward import reward_of
from deeptrace.schema import Flaws, Label, Outcome, Verdict


def result(p_fake: float, severity: float | None = None) -> RewardResult:
    flaws = None if severity is None else Flaws(severity=severity, parts={"flicker": severity})
    known = {"label": Label.FAKE, "p_fake": p_fake, "flaws": flaws}
    return reward_of(Verdict(video="a.mp4", outcome=Outcome.SCORED, **known), authenticity_weight=1)


FAILED = reward_of(Verdict.failed("b.mp4", Outcome.DECODE_FAILED, "cut off"))
clips = st.lists(st.tuples(st.floats(0, 1), st.floats(-4, 8), st.integers(0, 2)), min_size=1, max_size=12)


# -- the three forms, over numbers ----------

values = st.lists(
    st.tuples(
        st.one_of(st.none(), st.just(math.nan), st.integers(-40, 40).map(lambda k: k / 8)), st.sampled_from("abc")
    ),
    max_size=12,
)


def known(rows: list[tuple[Any, str]], group: str) -> list[int]:
    return [k for k, (value, name) in enumerate(rows) if name == group and value is not None and not math.isnan(value)]


@given(values)
def test_a_place_is_the_share_of_the_others_that_are_lower_ties_half(rows: list) -> None:
    found = group_ranks([value for value, _ in rows], [group for _, group in rows])
    for group in "abc":
        mine = known(rows, group)
        for k in mine:
            others = [rows[m][0] for m in mine if m != k]
            beaten = sum(1.0 if other < rows[k][0] else 0.5 if other == rows[k][0] else 0.0 for other in others)
            assert found[k] == pytest.approx(beaten / len(others) if others else 0.5)
    assert [math.isnan(value) for value in found] == [value is None or math.isnan(value) for value, _ in rows]


@given(values)
def test_what_is_centred_keeps_every_distance_within_its_group(rows: list) -> None:
    found = group_centred([value for value, _ in rows], [group for _, group in rows])
    for group in "abc":
        mine = known(rows, group)
        mean = statistics.fmean(rows[k][0] for k in mine) if mine else 0.0
        assert [found[k] for k in mine] == pytest.approx([rows[k][0] - mean for k in mine])


@given(values, st.randoms(), st.integers(-8, 8))
def test_neither_order_nor_a_shift_of_one_group_nor_failures_elsewhere_change_a_form(
    rows: list, order: Any, shift: int
) -> None:
    shuffled = list(enumerate(rows))
    order.shuffle(shuffled)
    for form in (group_ranks, group_centred):
        found = form([value for value, _ in rows], [group for _, group in rows])
        moved = [None if v is None else v + shift if g == "a" else v for _, (v, g) in shuffled]
        again = form(moved, [group for _, (_, group) in shuffled])
        assert again == pytest.approx([found[k] for k, _ in shuffled], nan_ok=True)
        alone = [(v, g) for v, g in rows if v is not None and not math.isnan(v)]
        assert form([v for v, _ in alone], [g for _, g in alone]) == [x for x in found if not math.isnan(x)]


factors = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.sampled_from("ab")), min_size=1, max_size=9)


@given(factors, st.randoms(), st.floats(0.1, 1))
def test_weighed_parts_have_mean_zero_in_any_order_and_a_part_that_is_the_same_for_all_says_nothing(
    rows: list, order: Any, constant: float
) -> None:
    groups = [group for *_, group in rows]
    parts = np.array([pair for *pair, _ in rows])
    found = group_weighed(parts, groups)
    for group in "ab":
        assert math.fsum(x for x, g in zip(found, groups, strict=True) if g == group) == pytest.approx(0, abs=1e-6)
    permutation = list(range(len(rows)))
    order.shuffle(permutation)
    again = group_weighed(parts[permutation], [groups[k] for k in permutation])
    assert again == pytest.approx([found[k] for k in permutation], abs=1e-9)
    with_constant = np.column_stack([parts, np.full(len(rows), constant)])
    assert group_weighed(with_constant, groups) == pytest.approx(found, abs=1e-9)
    with_failure = np.vstack([parts, [math.nan, 0.5]])
    whole = group_weighed(with_failure, [*groups, "a"])
    assert whole[:-1] == found
    assert math.isnan(whole[-1])


def test_the_weight_of_a_part_falls_as_it_saturates() -> None:
    """Two samples whose part halves each time: its logarithms stay ln 2 apart, its say goes to nothing."""
    says = [group_weighed([[top], [top / 2]], ["a", "a"])[0] for top in (1.0, 0.1, 0.01, 0.001)]
    assert says == sorted(says, reverse=True)
    assert says[0] == pytest.approx(math.log(2) / 2 * 0.25 / 0.27)
    assert says[-1] < 0.02 * says[0]


def test_numbers_that_make_no_sense_are_one_clear_line() -> None:
    for bad in ([math.inf], [[0.1], [0.2]]):
        with pytest.raises(SettingsError, match="one finite number"):
            group_ranks(bad, ["a"] * len(bad))  # type: ignore[arg-type]
    for parts, says in (([0.5], r"\(N, K\) but got \(1,\)"), ([[1.5]], "in \\[0, 1\\] but got 1.5")):
        with pytest.raises(SettingsError, match=says):
            group_weighed(parts, ["a"])
    with pytest.raises(SettingsError, match="each of 2 clips but got 1"):
        group_centred([0.1, 0.2], ["a"])
    assert group_ranks([], []) == group_centred([], []) == group_rewards([], []) == []


def test_a_batch_without_whole_groups_is_no_group() -> None:
    check_whole_groups(["a", "b", "a", "b"] * 2, 2, "us")
    with pytest.raises(SettingsError, match="1 samples of 'b', not 2 or a multiple"):
        check_whole_groups(["a", "a", "b"], 2, "us")


# -- the same for results ----------


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


def test_centred_is_the_reward_itself_less_the_mean() -> None:
    results = [result(0.5, 0.0), FAILED, result(0.5, 2.0), result(0.1)]
    assert group_rewards(results, ["a", "a", "a", "b"], form="centred") == pytest.approx(
        group_centred([one.reward for one in results], ["a", "a", "a", "b"]), nan_ok=True
    )


def test_a_failure_is_no_number_and_moves_nobody() -> None:
    clean = [result(0.5, 0.0), result(0.5, 2.0)]
    with_failure = group_rewards([clean[0], FAILED, clean[1]], ["a"] * 3)
    assert math.isnan(with_failure[1])
    assert [with_failure[0], with_failure[2]] == group_rewards(clean, ["a"] * 2)
    assert group_rewards([FAILED, clean[0]], ["a", "b"], form="rank")[1] == 0.5


def test_what_makes_no_sense_is_one_clear_line() -> None:
    with pytest.raises(SettingsError, match="each of 1 clip but got 2"):
        group_rewards([FAILED], ["a", "b"])
    with pytest.raises(SettingsError, match="relative, rank, centred but got 'best'"):
        group_rewards([FAILED], ["a"], form="best")  # type: ignore[arg-type]
