from __future__ import annotations

import csv
import json
import math
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.needs import needs

from deeptrace.errors import DataError, SettingsError
from deeptrace.metrics.reward import STRENGTH, UNCATEGORISED, ScalarReward
from deeptrace.reward.best_of_n import best_of, top_k
from deeptrace.reward.clips import ClipInfo, ScoredClip, clips_of_paths, read_clips
from deeptrace.reward.dimensions import MOTION, appearance_and_motion
from deeptrace.reward.preference_pairs import (
    CSV_COLUMNS,
    NOISE,
    MarginKind,
    Pair,
    make_pairs,
    write_pairs_csv,
    write_pairs_jsonl,
)
from deeptrace.reward.ranking import FEWEST_PROMPTS, rank_generators
from deeptrace.reward.reward import reward_of
from deeptrace.schema import Category, Label, Media, Outcome, Trace, Verdict
from deeptrace.video import write_video

MEDIA = Media(width=64, height=48, duration_s=2.0, fps=24.0, frames=48, sampled_times_s=tuple(np.arange(16) / 8))


def scored(
    reward: float | None,
    path: str = "a.mp4",
    prompt: str | None = "p",
    generator: str | None = None,
    traces: tuple[Trace, ...] = (),
) -> ScoredClip:
    if reward is None:
        verdict = Verdict.failed(path, Outcome.DECODE_FAILED, "broken")
    else:
        verdict = Verdict(
            video=path, outcome=Outcome.SCORED, label=Label.REAL, p_fake=1 - reward, media=MEDIA, traces=traces
        )
    return ScoredClip(ClipInfo(path, prompt, generator), reward_of(verdict))


# -- the table of clips ----------


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "json"])
def test_clips_are_read_from_every_table(tmp_path: Path, suffix: str) -> None:
    rows = [
        {"video": "a.mp4", "prompt": "a cat, asleep", "generator": "g1"},
        {"video": "/abs/b.mp4", "prompt": "", "generator": ""},
        {"video": "s3://x/c.mp4", "prompt": "ein Hund \u00fc", "generator": "g2"},
        {"video": "a.mp4", "prompt": "again", "generator": "g9"},
    ]
    table = tmp_path / f"clips.{suffix}"
    if suffix == "csv":
        with table.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, ["video", "prompt", "generator"])
            writer.writeheader()
            writer.writerows(rows)
    else:
        lines = [json.dumps(row) for row in rows]
        table.write_text("\n".join(lines) if suffix == "jsonl" else "[" + ",".join(lines) + "]", encoding="utf-8")
    assert read_clips(table) == [
        ClipInfo(f"{tmp_path}/a.mp4", "a cat, asleep", "g1"),
        ClipInfo("/abs/b.mp4"),
        ClipInfo("s3://x/c.mp4", "ein Hund \u00fc", "g2"),
    ]


def test_a_reward_data_folder_is_a_table(tmp_path: Path) -> None:
    row = {"video_path": "videos/a.mp4", "video_prompt": "a cat", "video_source": "pika"}
    (tmp_path / "all_data.json").write_text(json.dumps([row, row]))
    assert read_clips(tmp_path) == [ClipInfo(f"{tmp_path}/videos/a.mp4", "a cat", "pika")]
    (tmp_path / "all_data.json").write_text(json.dumps([{"prompt": "x"}]))
    with pytest.raises(DataError, match="row 1: names no video"):
        read_clips(tmp_path)


def test_a_folder_may_stand_for_the_prompt_or_the_generator() -> None:
    assert clips_of_paths(["x/cat/0.mp4"], folder_is="prompt") == [ClipInfo("x/cat/0.mp4", prompt="cat")]
    assert clips_of_paths(["x/pika/0.mp4"], folder_is="generator") == [ClipInfo("x/pika/0.mp4", generator="pika")]
    assert clips_of_paths(["0.mp4"], folder_is="prompt") == [ClipInfo("0.mp4")]


# -- best of N ----------


def test_the_best_of_the_first_n_is_picked_for_each_prompt() -> None:
    clips = [
        scored(0.2, "a0", "a"), scored(0.9, "b0", "b"), scored(0.7, "a1", "a"), scored(None, "b1", "b"),
        scored(0.99, "a2", "a"), scored(None, "c0", "c"), scored(1.0, "free", None),
    ]  # fmt: skip
    picks = {pick.prompt: pick for pick in best_of(clips, 2)}
    assert {p: pick.best and pick.best.info.path for p, pick in picks.items()} == {"a": "a1", "b": "b0", "c": None}
    assert picks["a"].mean_reward == pytest.approx(0.45)
    assert (picks["b"].candidates, picks["b"].scored) == (2, 1)
    assert {prompt: pick.left_out for prompt, pick in picks.items()} == {"a": 1, "b": 0, "c": 0}
    assert best_of(clips, 3)[0].best.info.path == "a2"
    assert picks["c"].as_json() == {
        "prompt": "c", "best": None, "reward": None, "mean_reward": None, "candidates": 1, "scored": 0, "left_out": 0
    }  # fmt: skip


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.integers(1, 8))
def test_a_pick_is_never_worse_than_any_candidate(rewards: list[float], count: int) -> None:
    (pick,) = best_of([scored(r, str(i)) for i, r in enumerate(rewards)], count)
    assert pick.best.result.reward == pytest.approx(max(rewards[:count]))
    assert pick.best.result.reward >= pick.mean_reward - 1e-12


def test_best_of_needs_prompts_and_a_number() -> None:
    with pytest.raises(DataError, match="no clip has a prompt"):
        best_of([scored(0.5, prompt=None)], 2)
    with pytest.raises(SettingsError):
        best_of([scored(0.5)], 0)


@given(
    st.lists(st.tuples(st.sampled_from(["a", "b", None]), st.none() | st.floats(0, 1)), max_size=9), st.integers(1, 4)
)
def test_the_top_k_of_a_prompt_beat_all_others_of_it(rows: list, count: int) -> None:
    clips = [scored(reward, str(i), prompt) for i, (prompt, reward) in enumerate(rows)]
    found = top_k(clips, count)
    for prompt in ("a", "b", None):
        mine = [clip.result.reward for clip in clips if clip.info.prompt == prompt and clip.scored]
        placed = [one for one in found if one.prompt == prompt]
        assert [one.clip.result.reward for one in placed] == sorted(mine, reverse=True)[:count]
        assert [one.place for one in placed] == list(range(1, len(placed) + 1))


# -- pairs ----------


rows_of_two_prompts = st.lists(st.tuples(st.sampled_from("ab"), st.none() | st.floats(0, 1)), min_size=1, max_size=9)
kinds: st.SearchStrategy[tuple[MarginKind, float]] = st.one_of(
    st.tuples(st.just("absolute"), st.floats(0.01, 1)), st.tuples(st.just("relative"), st.floats(0.1, 3))
)


@given(rows_of_two_prompts, kinds)
def test_every_pair_is_of_one_prompt_and_wide_enough_and_all_others_are_counted(
    rows: list, asked: tuple[MarginKind, float]
) -> None:
    clips = [scored(reward, str(i), prompt) for i, (prompt, reward) in enumerate(rows)]
    kind, least = asked
    found = make_pairs(clips, margin=kind, min_margin=least, most_per_prompt=100, keep_duplicates=True)
    for pair in found.pairs:
        rewards = [c.result.reward for c in clips if c.scored and c.info.prompt == pair.chosen.info.prompt]
        assert pair.chosen.info.prompt == pair.rejected.info.prompt
        assert pair.margin == pair.chosen.result.reward - pair.rejected.result.reward
        assert pair.relative_margin == pytest.approx(pair.margin / statistics.pstdev(rewards), rel=1e-6)
        assert (pair.margin if kind == "absolute" else pair.relative_margin) >= least
        assert kind == "absolute" or pair.margin >= NOISE
    numbers = [sum(c.scored and c.info.prompt == p for c in clips) for p in "ab"]
    left_out = found.too_close + found.within_noise + found.duplicates + found.surplus
    assert len(found.pairs) + left_out == sum(n * (n - 1) // 2 for n in numbers)
    assert found.clips_failed == sum(reward is None for _, reward in rows)
    assert found.clips_alone == numbers.count(1)


@given(st.lists(st.integers(0, 10), min_size=2, max_size=8), st.integers(1, 8), st.integers(0, 2), st.randoms())
def test_a_relative_margin_does_not_ask_how_far_apart_the_rewards_of_a_prompt_are(
    steps: list[int], factor: int, shift: int, order: Any
) -> None:
    def pairs(rewards: list[float]) -> set[tuple[str, str]]:
        clips = [scored(reward, str(i)) for i, reward in enumerate(rewards)]
        order.shuffle(clips)
        found = make_pairs(clips, min_margin=0.731, most_per_prompt=100, keep_duplicates=True)
        return {(pair.chosen.info.path, pair.rejected.info.path) for pair in found.pairs}

    narrow = [0.01 * step for step in steps]  # at most 0.1 apart, at least `NOISE`
    assert pairs(narrow) == pairs([0.1 * shift + factor * reward for reward in narrow])


def test_a_generator_whose_rewards_lie_close_together_has_pairs_all_the_same() -> None:
    clips = [scored(0.04 + 0.01 * i, str(i)) for i in range(5)]
    none = make_pairs(clips, margin="absolute", most_per_prompt=9, keep_duplicates=True)
    assert (none.pairs, none.too_close) == ([], 10)
    found = make_pairs(clips, most_per_prompt=9, keep_duplicates=True)
    apart = [(int(pair.rejected.info.path), int(pair.chosen.info.path)) for pair in found.pairs]
    assert sorted(apart) == [(a, b) for a in range(5) for b in range(a + 2, 5)], "a step is 0.7 standard deviations"
    assert (found.too_close, found.within_noise) == (4, 0)
    close = make_pairs([scored(0.5, "x"), scored(0.5 + NOISE / 2, "y"), scored(None, "z"), scored(0.1, "u", None)])
    assert (close.pairs, close.within_noise, close.too_close) == ([], 1, 0)
    assert (close.clips_failed, close.clips_unnamed, close.clips_alone) == (1, 1, 0)


def test_the_widest_pairs_of_a_prompt_are_kept() -> None:
    clips = [scored(reward, str(reward)) for reward in (0.5, 0.1, 0.9, 0.52)]
    for kind, counts in (("absolute", (1, 3)), ("relative", (1, 3))):
        found = make_pairs(clips, margin=kind, most_per_prompt=2, keep_duplicates=True)
        assert [(pair.chosen.info.path, pair.rejected.info.path) for pair in found.pairs] == [
            ("0.9", "0.1"),
            ("0.52", "0.1"),
        ]
        assert (found.too_close, found.surplus) == counts


@pytest.fixture
def looks(tmp_path: Path):
    """Writes a clip of smooth noise, the same for the same seed, at a quality."""

    def write(name: str, seed: int, crf: int) -> str:
        import cv2

        rng = np.random.default_rng(seed)
        scene = cv2.resize(rng.integers(0, 256, (9, 14, 3), np.uint8), (200, 128), interpolation=cv2.INTER_CUBIC)
        frames = (scene[16 : 16 + 96, 2 * k : 2 * k + 128] for k in range(16))
        write_video(tmp_path / name, frames, fps=8.0, crf=crf)
        return str(tmp_path / name)

    return write


def test_two_encodings_of_one_clip_are_no_preference(looks) -> None:
    clips = [scored(0.9, looks("a.mp4", 1, 10)), scored(0.2, looks("b.mp4", 1, 34)), scored(0.5, looks("c.mp4", 2, 10))]
    found = make_pairs(clips, most_per_prompt=9)
    names = [(Path(pair.chosen.info.path).name, Path(pair.rejected.info.path).name) for pair in found.pairs]
    assert names == [("a.mp4", "c.mp4"), ("c.mp4", "b.mp4")]
    assert found.duplicates == 1
    assert len(make_pairs(clips, most_per_prompt=9, keep_duplicates=True).pairs) == 3


def test_pairs_load_as_a_preference_dataset(tmp_path: Path) -> None:
    pairs = [Pair(scored(0.9, "a.mp4", "a cat"), scored(0.4, "b.mp4", "a cat"), 0.5, 2.0, (0.05, 0.05))]
    assert write_pairs_jsonl(pairs, tmp_path / "pairs.jsonl") == 1
    datasets = needs("datasets")
    loaded = datasets.Dataset.from_json(str(tmp_path / "pairs.jsonl"), cache_dir=str(tmp_path / "cache"))
    assert {"prompt", "chosen", "rejected"} <= set(loaded.column_names)
    assert loaded[0] == {
        "prompt": "a cat", "chosen": "a.mp4", "rejected": "b.mp4", "margin": 0.5, "relative_margin": 2.0,
        "chosen_reward": pytest.approx(0.9), "rejected_reward": pytest.approx(0.4),
    }  # fmt: skip


def test_the_csv_says_what_videoalign_reads(tmp_path: Path) -> None:
    moving = Trace(categories=(Category.UNEXPECTED_MOVE,), score=0.5)
    pairs = [
        Pair(
            scored(0.9, f"good{i}.mp4", "a, b"),
            scored(0.9, f"bad{i}.mp4", "a, b", traces=(moving,)),
            0.7, 2.0, (0.05, 0.05),
        )
        for i in range(40)
    ]  # fmt: skip
    write_pairs_csv(pairs, tmp_path / "pairs.csv", seed=3)
    with (tmp_path / "pairs.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == CSV_COLUMNS
    better_first = [row["path_A"].startswith("good") for row in rows]
    assert 8 < sum(better_first) < 32, "the place must say nothing"
    for row, first in zip(rows, better_first, strict=True):
        assert row["prompt"] == "a, b"
        assert row["path_B"] == (
            row["path_A"].replace("good", "bad") if first else row["path_A"].replace("bad", "good")
        )
        assert (row["VQ"], row["MQ"], row["TA"]) == ("same", "A" if first else "B", "invalid")
        assert (row["fps_A"], row["num_frames_A"], row["fps_B"], row["num_frames_B"]) == (
            "24.0",
            "48.0",
            "24.0",
            "48.0",
        )
    again = tmp_path / "again.csv"
    write_pairs_csv(pairs, again, seed=3)
    assert again.read_bytes() == (tmp_path / "pairs.csv").read_bytes()


def test_what_is_the_same_in_a_csv_of_relative_margins_follows_the_spread_of_its_dimension(tmp_path: Path) -> None:
    faint = Trace(categories=(Category.UNEXPECTED_MOVE,), score=0.02)
    clips = [scored(0.5, "a"), scored(0.5, "b", traces=(faint,))]
    (pair,) = make_pairs(clips, keep_duplicates=True).pairs
    assert pair.chosen.info.path == "a"
    assert 0.01 < pair.margin < 0.05
    assert pair.same_below == (NOISE, pytest.approx(pair.margin / 2)), "the spread of two is half their difference"
    write_pairs_csv([pair], tmp_path / "pairs.csv")
    with (tmp_path / "pairs.csv").open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["VQ"], row["MQ"]) == ("same", "A" if row["path_A"] == "a" else "B")
    (pair,) = make_pairs(clips, margin="absolute", min_margin=0.03, keep_duplicates=True).pairs
    assert pair.same_below == (0.03, 0.03)


@pytest.mark.parametrize(
    ("kind", "margin"),
    [("absolute", value) for value in (0.0, -1.0, 1.5, math.nan)]
    + [("relative", value) for value in (0.0, -1.0, math.inf, math.nan)],
)
def test_senseless_margins_are_refused(kind: MarginKind, margin: float) -> None:
    with pytest.raises(SettingsError, match="min_margin"):
        make_pairs([scored(0.5)], margin=kind, min_margin=margin)
    with pytest.raises(SettingsError, match="relative, absolute but got 'wide'"):
        make_pairs([scored(0.5)], margin="wide")  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="most_per_prompt"):
        make_pairs([scored(0.5)], most_per_prompt=0)


def test_appearance_and_motion_share_out_the_nine_kinds() -> None:
    costs = {kind.value: 0.1 for kind in Category} | {UNCATEGORISED: 0.05}
    parts = ScalarReward(0.0, 0.8, 0.0, sum(costs.values()), costs)
    still, moving = appearance_and_motion(parts)
    assert still == pytest.approx(0.8 * math.exp(-STRENGTH * (0.6 + 0.05)))
    assert moving == pytest.approx(0.8 * math.exp(-STRENGTH * (0.3 + 0.05)))
    assert len(MOTION) == 3


# -- ranking ----------


def ranked_clips(rng: np.random.Generator, gap: float, prompts: int = 40) -> list[ScoredClip]:
    """Two generators, a worse and a better one, on prompts of very different difficulty."""
    clips = []
    for prompt in range(prompts):
        hard = rng.uniform(0.2, 0.7)
        for name, extra in (("worse", 0.0), ("better", gap)):
            clips.append(
                scored(float(np.clip(hard + extra + rng.normal(0, 0.02), 0, 1)), f"{name}{prompt}", f"{prompt}", name)
            )
    return clips


def test_the_better_generator_comes_first_and_the_prompts_they_share_are_drawn_together() -> None:
    first, second = rank_generators(ranked_clips(np.random.default_rng(0), gap=0.05))
    assert (first.generator, second.generator) == ("better", "worse")
    assert first.interval[0] < first.mean_reward < first.interval[1]
    assert first.interval[0] < second.interval[1], "alone, the intervals overlap"
    assert first.first_share > 0.99, "but on the same prompts it is clear"
    assert first.first_share + second.first_share == pytest.approx(1)


def test_who_is_first_is_not_said_of_few_prompts() -> None:
    """Better on each of two prompts is no certainty, whatever a bootstrap of the two says."""
    few = rank_generators(ranked_clips(np.random.default_rng(0), gap=0.2, prompts=FEWEST_PROMPTS - 1))
    assert [row.first_share for row in few] == [None, None]
    enough = rank_generators(ranked_clips(np.random.default_rng(0), gap=0.2, prompts=FEWEST_PROMPTS))
    assert [row.first_share for row in enough] == [1.0, 0.0]


def test_a_generator_without_a_clip_in_a_resample_is_not_beaten_by_it() -> None:
    """Where one has few of many prompts, a resample may hold none of its clips; that says nothing about it."""
    clips = ranked_clips(np.random.default_rng(1), gap=0.0, prompts=60)
    rare = [scored(1.0, f"rare{i}", f"{i}", "rare") for i in range(FEWEST_PROMPTS)]
    first, *others = rank_generators([*clips, *rare], resamples=4000)
    assert (first.generator, first.first_share) == ("rare", 1.0)
    assert (first.prompts, first.shared_prompts) == (FEWEST_PROMPTS, FEWEST_PROMPTS)
    assert [row.prompts for row in others] == [60, 60]


def test_equal_generators_are_not_told_apart() -> None:
    shares = [
        rank_generators(ranked_clips(np.random.default_rng(s), gap=0.0, prompts=12), seed=s)[0].first_share
        for s in range(8)
    ]
    assert min(shares) < 0.9


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(5)
    hits = 0
    for _ in range(100):
        clips = [scored(float(rng.beta(4, 2)), str(i), None, "g") for i in range(60)]
        low, high = rank_generators(clips, resamples=400)[0].interval
        hits += low <= 4 / 6 <= high
    assert 86 <= hits <= 100


def test_failures_and_single_prompts_are_stated() -> None:
    clips = [scored(0.5, "a", "p", "one"), scored(None, "b", "p", "one"), scored(None, "c", "q", "none")]
    first, last = rank_generators(clips)
    assert (first.generator, first.clips, first.failed, first.interval) == ("one", 2, 1, None)
    assert (last.generator, last.mean_reward, last.first_share) == ("none", None, None)
    json.dumps([row.as_json() for row in (first, last)], allow_nan=False)
    with pytest.raises(DataError, match="generator"):
        rank_generators([scored(0.5)])
