from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from tests.reward.conftest import corner_clip, expected
from tests.reward.corner_detector import CornerDetector

import deeptrace
from deeptrace.errors import SettingsError, UnknownDetectorError
from deeptrace.reward.reward import Reward, reward_of, shared_reward
from deeptrace.reward.tensors import Unusable
from deeptrace.schema import Category, Label, Media, Outcome, Verdict
from deeptrace.video import video_from_array, write_video

LEVELS = [10, 200, 90, 250, 0, 128]


def test_rewards_come_in_the_order_of_the_clips_whatever_they_are(corner, corner_file) -> None:
    reward = Reward(corner, workers=3)
    clips = [
        corner_clip(10),
        video_from_array(corner_clip(200), fps=8.0),
        str(corner_file(90)),
        corner_file(250),
        "gone.mp4",
        Unusable("clip 5", "has NaN"),
    ]
    results = reward.score(clips, fps=8.0)
    assert [round(r.reward, 2) for r in results[:4]] == [
        pytest.approx(expected(level), abs=0.02) for level in (10, 200, 90, 250)
    ]
    assert [math.isnan(r.reward) and r.parts is None for r in results[4:]] == [True, True]
    assert "no such file" in results[4].error
    assert results[5].error == "has NaN"
    assert [r.as_json()["reward"] for r in results[4:]] == [None, None]


def test_one_detector_serves_one_thread_at_a_time_under_many_callers(corner) -> None:
    reward = Reward(corner, workers=2, pause_s=0.002)
    batches = [[corner_clip((7 * i + 11 * j) % 256) for j in range(3)] for i in range(12)]
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda batch: reward(batch, fps=8.0), batches))
    wanted = [[expected((7 * i + 11 * j) % 256) for j in range(3)] for i in range(12)]
    assert answers == [pytest.approx(row) for row in wanted]  # a detector on two threads would have failed, as NaN
    reward.close()


def test_a_loaded_detector_is_shared_by_threads_too() -> None:
    reward = Reward(CornerDetector(pause_s=0.002))
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda level: reward([corner_clip(level)], fps=8.0)[0], LEVELS))
    assert answers == [pytest.approx(expected(level)) for level in LEVELS]
    with pytest.raises(SettingsError, match="cannot be had in this process"):
        Reward(CornerDetector(), workers=2)


def test_too_few_frames_to_judge_by_is_no_reward(corner) -> None:
    result = Reward(corner).score([corner_clip(10, frames=3)], fps=8.0)[0]
    assert math.isnan(result.reward)
    assert result.verdict.outcome is Outcome.UNDECIDABLE
    assert "only 3 frames" in result.error


def test_detect_and_score_agree_on_what_has_no_reward(corner_file, tmp_path: Path) -> None:
    write_video(tmp_path / "short.mp4", corner_clip(10, frames=3), fps=8.0)
    short, long = deeptrace.detect([tmp_path / "short.mp4", corner_file(90)], CornerDetector())
    assert (short.outcome, short.label, short.p_fake, short.reward) == (Outcome.UNDECIDABLE, None, None, None)
    assert reward_of(short).error.startswith("shows only 3 frames")
    assert long.reward == reward_of(long).reward == pytest.approx(expected(90), abs=0.03)


def test_weights_change_the_reward_and_the_verdict_says_the_same() -> None:
    media = Media(width=64, height=48, duration_s=2.0, sampled_times_s=(0.0, 0.5, 1.0, 1.5))
    verdict = Verdict(
        video="a", outcome=Outcome.SCORED, label=Label.REAL, p_fake=0.1, media=media,
        traces=(deeptrace.Trace(categories=(Category.UNEXPECTED_MOVE,), score=0.5, onset_s=0, offset_s=2),),
    )  # fmt: skip
    free = reward_of(verdict, weights={Category.UNEXPECTED_MOVE: 0.0})
    assert free.reward == pytest.approx(0.9)
    assert free.verdict.reward == free.reward > reward_of(verdict).reward == pytest.approx(0.9 * math.exp(-2))
    with pytest.raises(SettingsError, match="unexpected_move"):
        Reward(CornerDetector(), weights={Category.UNEXPECTED_MOVE: -1.0})


@pytest.mark.parametrize(
    ("clips", "fps", "words"),
    [
        ([corner_clip(1)], None, "Give fps"),
        ([corner_clip(1)], [8.0, 8.0], "one for each of 1"),
        ([corner_clip(1)[0]], 8.0, r"\(T, H, W, 3\)"),
        ([corner_clip(1).astype(np.float32)], 8.0, "uint8"),
        ([12], 8.0, "got int"),
        ("clip.mp4", None, "Put it into a list"),
    ],
)
def test_what_cannot_be_a_clip_is_an_error_and_no_reward(clips, fps, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        Reward(CornerDetector()).score(clips, fps=fps)


def test_names_and_settings_fail_where_they_are_written() -> None:
    with pytest.raises(UnknownDetectorError):
        deeptrace.Reward("tracenat")
    with pytest.raises(SettingsError):
        deeptrace.Reward("baseline:all-real", colour="blue")
    with pytest.raises(SettingsError):
        deeptrace.Reward("baseline:all-real", workers=0)


def test_one_reward_a_process_for_equal_settings(corner) -> None:
    assert shared_reward(corner) is shared_reward(corner)
    assert shared_reward(corner, pause_s=0.1) is not shared_reward(corner)


def test_in_memory_clips_touch_no_disk(corner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import tempfile

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("wrote a file")

    monkeypatch.setattr(tempfile, "mkstemp", refuse)
    monkeypatch.setattr("deeptrace.video.write.write_video", refuse)
    assert Reward(corner)([corner_clip(10)], fps=8.0) == [pytest.approx(expected(10))]


def test_closed_it_works_again(corner) -> None:
    with Reward(corner, workers=2) as reward:
        first = reward([corner_clip(1), corner_clip(2)], fps=8.0)
    assert reward([corner_clip(1), corner_clip(2)], fps=8.0) == first
    reward.close()


def test_float_arrays_need_only_their_range() -> None:
    clip = corner_clip(200).astype(np.float32) / 255
    assert Reward(CornerDetector())([clip], fps=8.0, value_range=(0, 1)) == [pytest.approx(expected(200))]
