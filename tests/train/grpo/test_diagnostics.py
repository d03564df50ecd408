"""Figures of a batch of answers, and when they are worth a warning."""

from __future__ import annotations

import pytest
from tests.train.grpo.answers import fake, real, said, trace

from deeptrace.prompts import JSON
from deeptrace.schema import Label
from deeptrace.train.grpo.diagnostics import diagnose, hacking_signs
from deeptrace.train.grpo.ground_truth import GroundTruth
from deeptrace.train.grpo.reward import score_answer

FULL = (0.0, 0.0, 1.0, 1.0)


def figures_of(answers: list[tuple[GroundTruth, str]], groups: list[int] | None = None) -> dict[str, float | None]:
    truths = [truth for truth, _ in answers]
    scored = [score_answer(text, truth) for truth, text in answers]
    return diagnose(scored, truths, groups or list(range(len(answers))), [len(text.split()) for _, text in answers])


def test_honest_answers_give_plain_figures_and_no_warning() -> None:
    generated, camera = fake(trace()), real()
    figures = figures_of(
        [
            (generated, said(generated, trace())),
            (generated, said(generated, label=Label.REAL)),
            (camera, said(camera, label=Label.REAL)),
            (camera, said(camera, trace())),
        ],
        [0, 0, 1, 1],
    )
    assert figures["reward"] == pytest.approx((1.0 - 0.5 + 1.0 - 0.8) / 4)
    assert figures["reward_on_fake"] == pytest.approx(0.25)
    assert figures["reward_spread"] == pytest.approx((0.75 + 0.9) / 2)
    assert figures["zero_spread_groups"] == 0.0
    assert (figures["says_fake"], figures["is_fake"], figures["label_accuracy"]) == (0.5, 0.5, 0.5)
    assert (figures["traces_per_fake_answer"], figures["false_traces_per_real_video"]) == (1.0, 0.5)
    assert (figures["full_frame_boxes"], figures["whole_clip_intervals"], figures["onsets_at_zero"]) == (0.0, None, 0.0)
    assert figures["distinct_answers"] == 0.5
    assert figures["measured.box_iou"] == pytest.approx(0.5)
    assert hacking_signs(figures) == []


def test_every_hack_is_counted_and_said() -> None:
    generated, camera = fake(trace(), form=JSON), real(JSON)
    lazy = [trace(box=FULL, onset_s=0.0, offset_s=10.0)] * 5
    figures = figures_of([(t, said(t, *lazy)) for t in (generated, generated, camera, camera)], [0, 0, 1, 1])
    assert (figures["full_frame_boxes"], figures["whole_clip_intervals"], figures["onsets_at_zero"]) == (1.0, 1.0, 1.0)
    assert figures["zero_spread_groups"] == 1.0
    signs = " ".join(hacking_signs(figures))
    for words in ("full frame", "whole clip", "start of the video", "5.0 traces", "teach nothing", "says FAKE"):
        assert words in signs


def test_unreadable_answers_are_counted_and_nothing_is_made_up() -> None:
    figures = figures_of([(fake(trace()), "mu"), (real(), "")])
    assert (figures["unreadable"], figures["reward"], figures["says_fake"]) == (1.0, -1.0, None)
    assert figures["full_frame_boxes"] is None
    assert hacking_signs(figures)[0] == "100% of the answers cannot be read"


def test_no_answers_give_no_figures() -> None:
    assert set(diagnose([], [], []).values()) == {None}
