"""The grounded reward: the best answer has the maximum, better answers never earn less, and hacks never pay."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from tests.train.grpo.answers import boxes, fake, real, said, trace, traces

from deeptrace.errors import DataError
from deeptrace.geometry import Box
from deeptrace.prompts import FINE_TUNING, JSON, SPACES, ZERO_SHOT, View, write_answer
from deeptrace.schema import Label, Sample, Trace
from deeptrace.train.grpo.ground_truth import GroundTruth
from deeptrace.train.grpo.reward import PARTS, RewardWeights, grounded_reward, score_answer

FORMS = [
    FINE_TUNING,
    ZERO_SHOT,
    JSON,
    *(FINE_TUNING.without(*parts) for parts in (("time",), ("explanation",), ("box",), ("time", "explanation"))),
]
FULL = (0.0, 0.0, 1.0, 1.0)
DEFAULT = RewardWeights()


# -- the scale ------------------------------------------------------------------------------------------------


@given(st.lists(traces(), max_size=6), st.sampled_from(FORMS))
def test_the_perfect_answer_has_the_maximum(true, form) -> None:
    truth = fake(*true, form=form)
    assert grounded_reward(said(truth, *true), truth) == pytest.approx(1.0)


@pytest.mark.parametrize("form", FORMS)
def test_a_plain_real_has_the_maximum_on_a_real_video(form) -> None:
    assert grounded_reward(said(real(form), label=Label.REAL), real(form)) == 1.0


@given(
    st.text(max_size=300) | st.sampled_from(["FAKE", "REAL", "FAKE or REAL", "[1, 2, 3, 4] starting 2"]), st.booleans()
)
def test_whatever_is_said_the_reward_is_bounded_and_unreadable_is_worst(text, generated) -> None:
    truth = fake(trace()) if generated else real()
    scored = score_answer(text, truth)
    assert tuple(scored.parts) == PARTS
    if scored.answer is None:
        assert scored.reward == -1.0
        assert scored.error
    else:
        assert -1.0 < scored.reward <= 1.0


@pytest.mark.parametrize(
    "text", ["", "I'm sorry, I can't view the video.", "REAL or FAKE", "the cup", "<think>It is FAKE because"]
)
def test_unreadable_answers_have_the_least_and_say_why(text) -> None:
    scored = score_answer(text, fake(trace()))
    assert (scored.reward, scored.parts["label"], scored.parts["format"]) == (-1.0, 0.0, 0.0)
    assert scored.error


def test_the_order_of_outcomes() -> None:
    there, generated, camera = trace(), fake(trace()), real()
    elsewhere = trace(box=(0.7, 0.7, 0.9, 0.9))
    order = [
        grounded_reward("what?", camera),
        grounded_reward(said(camera, there, elsewhere), camera),
        grounded_reward(said(camera, there), camera),
        grounded_reward("FAKE.", camera),
        grounded_reward(said(generated, label=Label.REAL), generated),
        grounded_reward("FAKE.", generated),
        grounded_reward(said(generated, there, elsewhere), generated),
        grounded_reward(said(generated, there), generated),
    ]
    assert order == sorted(order)
    assert len(set(order)) == len(order)
    assert order[-1] == pytest.approx(1.0)


def test_the_formula_by_hand() -> None:
    truth = fake(trace(text=""))  # the form does not say ends: tiou is not asked, and no text is known
    named = trace(box=(0.2, 0.2, 0.35, 0.6), onset_s=3.0, text="")
    iou, frame, clip = 0.5, 0.12, 0.8
    box = (iou - frame) / (1 - frame)
    viou = (iou * 7 / 8 - frame * clip) / (1 - frame * clip)
    pair = (0.4 * box + 0.2 * (1 - 1 / 2.5) + 0.15 * viou) / 0.75
    expected = 0.3 + 0.05 + 0.65 * (0.9 * pair + 0.1 * box)
    scored = score_answer(said(truth, named), truth)
    assert scored.reward == pytest.approx(expected)
    assert scored.parts["box"] == scored.parts["box_best"] == pytest.approx(box)
    assert (scored.parts["onset"], scored.parts["tiou"], scored.parts["explanation"]) == (
        pytest.approx(0.6),
        None,
        None,
    )
    assert scored.measured["box_iou"] == pytest.approx(0.5)
    assert scored.measured["onset_error_s"] == pytest.approx(1.0)


# -- better is never less ---------------------------------------------------------------------------------------


@given(traces(blanks=False), boxes(), st.sampled_from([FINE_TUNING, JSON]), st.floats(0, 1), st.floats(0, 1))
def test_a_box_nearer_to_the_true_one_never_earns_less(true, start, form, a, b) -> None:
    form = form.in_space(SPACES["fractions"])
    truth = fake(true, form=form)

    def moved(share: float) -> Trace:
        corners = zip(start.as_tuple(), true.box.as_tuple(), strict=True)
        return true.model_copy(update={"box": Box.from_fractions(*(p + share * (q - p) for p, q in corners))})

    near, far = (score_answer(said(truth, moved(share)), truth) for share in (max(a, b), min(a, b)))
    if near.measured["box_iou"] >= far.measured["box_iou"]:
        assert near.reward >= far.reward - 1e-9


@given(st.lists(traces(blanks=False), min_size=1, max_size=4), st.integers(0, 3), boxes())
def test_mending_one_of_several_boxes_never_earns_less(true, which, wrong) -> None:
    truth = fake(*true)
    index = which % len(true)
    broken = [t.model_copy(update={"box": wrong}) if k == index else t for k, t in enumerate(true)]
    assert grounded_reward(said(truth, *broken), truth) <= grounded_reward(said(truth, *true), truth) + 1e-9


@given(traces(blanks=False), st.integers(0, 100), st.integers(0, 100))
def test_an_onset_nearer_to_the_true_one_never_earns_less(true, a, b) -> None:
    truth = fake(true)
    near, far = sorted((a / 10, b / 10), key=lambda at: abs(at - true.onset_s))
    later = [true.model_copy(update={"onset_s": at, "offset_s": None}) for at in (near, far)]
    # One side of the true onset: across it, the volume may weigh an early and a late start differently.
    if (near - true.onset_s) * (far - true.onset_s) >= 0:
        first, second = (grounded_reward(said(truth, named), truth) for named in later)
        assert first >= second - 1e-9


def test_ends_count_where_the_form_says_them() -> None:
    truth = fake(trace(), form=JSON)
    right, long = (grounded_reward(said(truth, trace(offset_s=at)), truth) for at in (6.0, 9.0))
    assert right == pytest.approx(1.0)
    assert long < 0.95


def test_a_reason_in_other_words_earns_less_and_in_the_same_words_most() -> None:
    truth = fake(trace())
    rewards = [
        grounded_reward(said(truth, trace(text=text)), truth)
        for text in ("A tree vanishes in fog.", "The cup melts.", "The cup handle bends.")
    ]
    assert rewards == sorted(rewards)
    assert rewards[0] < rewards[1] < rewards[2] == pytest.approx(1.0)


def test_a_judge_can_stand_in_for_the_likeness_of_words() -> None:
    truth = fake(trace())
    asked: list[tuple[str, str]] = []

    def judge(predicted: str, true: str) -> float:
        asked.append((predicted, true))
        return 0.5

    half = score_answer(said(truth, trace(text="Bent.")), truth, similarity=judge)
    assert asked == [("Bent.", "The cup handle bends.")]
    assert half.parts["explanation"] == 0.5


# -- hacks ----------------------------------------------------------------------------------------------------


@given(traces(blanks=False), st.sampled_from([FINE_TUNING, JSON]))
def test_a_full_frame_box_earns_nothing_for_the_place(true, form) -> None:
    truth = fake(true, form=form)
    lazy = score_answer(said(truth, true.model_copy(update={"box": Box.from_fractions(*FULL)})), truth)
    if true.box.area < 0.9:
        assert lazy.parts["box"] == lazy.parts["box_best"] == pytest.approx(0.0, abs=1e-12)
    assert lazy.reward <= grounded_reward(said(truth, true), truth) + 1e-9


def test_a_full_frame_box_on_a_full_frame_trace_is_right() -> None:
    truth = fake(trace(box=FULL))
    assert grounded_reward(said(truth, trace(box=FULL)), truth) == pytest.approx(1.0)


@given(traces(blanks=False))
def test_the_whole_clip_earns_nothing_for_the_time(true) -> None:
    truth = fake(true, form=JSON)
    whole = true.model_copy(update={"onset_s": 0.0, "offset_s": 10.0})
    lazy = score_answer(said(truth, whole), truth)
    if true.offset_s - true.onset_s < 9.0:
        assert lazy.parts["tiou"] == pytest.approx(0.0, abs=1e-12)
    assert lazy.reward <= grounded_reward(said(truth, true), truth) + 1e-9


def test_no_time_at_all_is_no_cheap_whole_clip() -> None:
    truth = fake(trace(onset_s=0.0, offset_s=10.0), form=JSON)
    assert score_answer(said(truth, trace(onset_s=None, offset_s=None)), truth).parts["tiou"] == 0.0


@given(
    st.lists(traces(blanks=False), min_size=1, max_size=3), st.lists(boxes(), min_size=1, max_size=8), st.integers(0, 9)
)
def test_traces_added_to_a_perfect_answer_cost(true, spam, seed) -> None:
    truth = fake(*true)
    named = [*true, *(Trace(box=box, onset_s=0.0, explanation="The cup.") for box in spam)]
    random.Random(seed).shuffle(named)
    assert grounded_reward(said(truth, *named), truth) < grounded_reward(said(truth, *true), truth)


@settings(max_examples=30)
@given(traces(blanks=False), st.integers(2, 5))
def test_a_grid_of_boxes_never_beats_its_own_best_cell(true, cells) -> None:
    truth = fake(true)
    grid = [
        true.model_copy(update={"box": Box(x0=x / cells, y0=y / cells, x1=(x + 1) / cells, y1=(y + 1) / cells)})
        for x in range(cells)
        for y in range(cells)
    ]
    best = max(grounded_reward(said(truth, cell), truth) for cell in grid)
    assert grounded_reward(said(truth, *grid), truth) < best


def test_the_same_trace_twice_earns_less_than_once() -> None:
    truth = fake(trace())
    assert grounded_reward(said(truth, trace(), trace()), truth) < grounded_reward(said(truth, trace()), truth)


def test_a_time_and_a_reason_at_another_place_earn_nothing() -> None:
    truth = fake(trace())
    scored = score_answer(said(truth, trace(box=(0.7, 0.7, 0.9, 0.9))), truth)
    assert (scored.parts["onset"], scored.parts["explanation"], scored.parts["viou"]) == (0.0, 0.0, 0.0)
    assert scored.reward == pytest.approx(DEFAULT.label + DEFAULT.format)


@pytest.mark.parametrize(
    "other", [" REAL. The video is real.", " REAL. The video is real. There is no unnatural part.", "\nREAL"]
)
def test_saying_both_never_pays_more_than_the_first_said_alone(other) -> None:
    for truth in (fake(trace()), real()):
        alone = said(truth, trace())
        assert grounded_reward(alone + other, truth) <= grounded_reward(alone, truth)
        calm = said(truth, label=Label.REAL)
        assert grounded_reward(f"{calm} {alone}", truth) <= grounded_reward(calm, truth)
    assert grounded_reward(f"{calm} {alone}", real()) < grounded_reward(calm, real())


@given(st.integers(1, 40))
def test_traces_on_a_real_video_cost_more_the_more_they_are(count) -> None:
    truth = real()
    fewer, more = (grounded_reward(said(truth, *[trace()] * n), truth) for n in (count, count + 1))
    assert -1.0 < more < fewer < -DEFAULT.false_alarm


def test_a_policy_of_one_label_earns_less_than_an_honest_poor_one() -> None:
    """Over a balanced set: always FAKE with a lazy trace, always REAL, and right labels with poorly placed boxes."""
    true, poor, lazy = (
        trace(),
        trace(box=(0.2, 0.2, 0.9, 0.9), onset_s=4.0, text=""),
        trace(box=FULL, onset_s=0.0, text=""),
    )
    generated, camera = fake(true), real()
    always_fake = sum(grounded_reward(said(t, lazy), t) for t in (generated, camera))
    always_real = sum(grounded_reward(said(t, label=Label.REAL), t) for t in (generated, camera))
    honest = grounded_reward(said(generated, poor), generated) + grounded_reward(said(camera, label=Label.REAL), camera)
    assert max(always_fake, always_real) < honest


def test_an_answer_that_never_ends_has_not_kept_the_form() -> None:
    truth = fake(trace())
    text = said(truth, trace())
    assert score_answer(text, truth, finished=False).parts["format"] == 0.0
    assert score_answer(text, truth, finished=False).reward < score_answer(text, truth).reward


def test_another_form_than_asked_for_costs_a_little() -> None:
    truth = fake(trace())
    tags = write_answer(Label.FAKE, [trace()], form=ZERO_SHOT, view=truth.view)
    assert score_answer(tags, truth).parts["format"] == 0.5
    assert 0.9 < grounded_reward(tags, truth) < 1.0


# -- what is not known ------------------------------------------------------------------------------------------


def test_a_generated_video_without_known_traces_is_rewarded_for_its_label() -> None:
    truth = fake()
    scored = score_answer(said(truth, trace()), truth)
    assert scored.reward == pytest.approx(1.0)
    assert all(scored.parts[name] is None for name in ("box", "onset", "viou", "explanation", "box_best"))


def test_a_missing_trace_costs_unless_it_is_forgiven() -> None:
    first, second = trace(), trace(box=(0.6, 0.1, 0.9, 0.4), onset_s=5.0)
    truth = fake(first, second)
    assert grounded_reward(said(truth, first), truth) < 0.85
    assert grounded_reward(said(truth, first), truth, weights=RewardWeights(recall=0.0)) == pytest.approx(1.0)


def test_a_length_that_is_not_known_leaves_times_out() -> None:
    sample = Sample(video_id="f", path="f.mp4", label=Label.FAKE, traces=(trace(),))
    truth = GroundTruth.of(sample, form=FINE_TUNING.in_space(SPACES["permille"]), view=View())
    scored = score_answer(said(truth, trace(onset_s=9.0, offset_s=None)), truth)
    assert scored.parts["onset"] is scored.parts["viou"] is None
    assert scored.reward == pytest.approx(1.0)


def test_a_moving_trace_is_compared_by_the_box_an_answer_can_name() -> None:
    from deeptrace.geometry import Keyframe, Tube

    keys = tuple(Keyframe(time_s=at, box=Box.from_fractions(at / 10, 0.2, at / 10 + 0.2, 0.6)) for at in (1.0, 5.0))
    moving = Trace.from_tube(Tube(onset_s=1.0, offset_s=5.0, keyframes=keys))
    truth = fake(moving)
    assert grounded_reward(said(truth, moving), truth) == pytest.approx(1.0)


def test_a_sample_without_a_label_is_no_truth() -> None:
    with pytest.raises(DataError, match="x: no label"):
        GroundTruth.of(Sample(video_id="x", path="x.mp4"))


# -- settings and columns -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"label": 0.6, "format": 0.4}, "label \\+ format below 1"),
        ({"false_alarm": 0.9, "false_trace": 0.1}, "unreadable answer stays the worst"),
        ({"format": 0.6, "false_trace": 0.4, "label": 0.1, "false_alarm": 0.5}, "right REAL stays above 0"),
        (dict.fromkeys(("box", "onset", "tiou", "viou", "explanation"), 0.0), "a positive weight"),
        ({"miss": 1.0}, "less than 1"),
        ({"boxes": 1.0}, "Extra inputs"),
    ],
)
def test_weights_that_would_turn_the_order_around_are_refused(changes, words) -> None:
    with pytest.raises(ValidationError, match=words):
        RewardWeights(**changes)


@given(st.lists(traces(), max_size=3), st.sampled_from(FORMS))
def test_a_truth_survives_its_column(true, form) -> None:
    truth = fake(*true, form=form)
    assert GroundTruth.from_json(truth.to_json()) == truth


def test_a_view_survives_its_column() -> None:
    truth = replace(fake(trace()), view=View(size=(640, 360), resized=(320, 180), frame_times_s=(0.0, 0.5)))
    assert GroundTruth.from_json(truth.to_json()) == truth


@pytest.mark.parametrize("text", ["", "{}", '{"sample": {"video_id": "a", "path": "b", "label": "TRUE"}}'])
def test_a_column_that_is_no_truth_says_so(text) -> None:
    with pytest.raises(DataError, match="truth column"):
        GroundTruth.from_json(text)
