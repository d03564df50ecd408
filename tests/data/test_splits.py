"""Splits by video and by source, folds, and the leak check."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deeptrace.data.splits import (
    apply_split,
    find_leaks,
    leave_one_generator_out,
    split_by_source,
    split_by_video,
)
from deeptrace.errors import SettingsError
from deeptrace.schema import Label, Sample


def clip(video_id: str, label: Label, source: str, split: str | None = None) -> Sample:
    return Sample(video_id=video_id, path=f"{video_id}.mp4", label=label, source=source, split=split)


GENERATORS = {"Pika": 50, "Kling": 30, "Sora": 8, "Mochi": 12}
SAMPLES = [clip(f"{g}{i}", Label.FAKE, g) for g, n in GENERATORS.items() for i in range(n)] + [
    clip(f"r{i}", Label.REAL, f"camera{i % 5}") for i in range(100)
]
BY_ID = {sample.video_id: sample for sample in SAMPLES}


def test_eight_one_one_by_unique_video_in_both_classes() -> None:
    split = split_by_video(SAMPLES, seed=3)
    counts = Counter((BY_ID[video_id].label, name) for video_id, name in split.items())
    for label in Label:
        assert [counts[label, name] for name in ("train", "val", "test")] == [80, 10, 10]
    assert find_leaks(apply_split(SAMPLES, split)) == []


def test_a_split_depends_on_the_seed_and_not_on_the_order() -> None:
    assert split_by_video(SAMPLES, seed=1) == split_by_video(reversed(SAMPLES), seed=1)
    assert split_by_video(SAMPLES, seed=1) != split_by_video(SAMPLES, seed=2)
    assert split_by_source(SAMPLES, seed=1) == split_by_source(reversed(SAMPLES), seed=1)
    assert len({tuple(sorted(split_by_source(SAMPLES, seed=seed).items())) for seed in range(8)}) > 1


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 99), st.integers(1, 5))
def test_every_video_is_in_exactly_one_split_and_groups_stay_whole(
    fakes: int, reals: int, seed: int, size: int
) -> None:
    samples = [clip(f"f{i}", Label.FAKE, "g") for i in range(fakes)] + [
        clip(f"r{i}", Label.REAL, "c") for i in range(reals)
    ]

    def pair(sample: Sample) -> str:
        return str(int(sample.video_id[1:]) // size)

    split = split_by_video(samples, seed=seed, group_of=pair)
    assert set(split) == {sample.video_id for sample in samples}
    assert find_leaks(apply_split(samples, split), group_of=pair) == []
    plain = Counter(split_by_video(samples, seed=seed).values())
    assert abs(plain["test"] - (fakes + reals) / 10) < 2, "less than one video off in each class"


def test_split_by_source_never_parts_a_source() -> None:
    for seed in range(10):
        parts = apply_split(SAMPLES, split_by_source(SAMPLES, seed=seed))
        assert find_leaks(parts, sources=True) == []
        for label in Label:
            assert {sample.split for sample in parts if sample.label is label} == {"train", "val", "test"}


def test_sources_that_share_a_group_stay_together_across_classes() -> None:
    def sample(label: Label, source: str, number: int, pair: str | None) -> Sample:
        return Sample(video_id=f"{source}{number}", path="", label=label, source=source, extra={"pair": pair})

    samples = [
        sample(label, f"{name}{source}", number, f"p{source}" if number == 0 and source < 3 else None)
        for label, name in ((Label.FAKE, "g"), (Label.REAL, "r"))
        for source in range(8)
        for number in range(4)
    ]
    pair = lambda one: one.extra["pair"]  # noqa: E731
    alone = split_by_source(samples)
    split = split_by_source(samples, group_of=pair)
    assert find_leaks(apply_split(samples, split), group_of=pair, sources=True) == []
    assert {split[f"g{i}0"] == split[f"r{i}0"] for i in range(3)} == {True}
    assert len(set(split.values())) == 3
    assert split_by_source(samples, group_of=lambda one: None) == alone


def test_leave_one_generator_out_tests_each_generator_once_and_each_real_once() -> None:
    folds = list(leave_one_generator_out(SAMPLES, seed=0))
    assert [fold.held_out for fold in folds] == sorted(GENERATORS)
    tested: Counter[str] = Counter()
    for fold in folds:
        assert set(fold.split) == set(BY_ID)
        test = [BY_ID[video_id] for video_id, name in fold.split.items() if name == "test"]
        assert {sample.source for sample in test if sample.label is Label.FAKE} == {fold.held_out}
        assert find_leaks(apply_split(SAMPLES, fold.split), sources=True) == []
        tested.update(sample.video_id for sample in test)
    assert tested == Counter(dict.fromkeys(BY_ID, 1))
    with pytest.raises(SettingsError, match="two generators"):
        list(leave_one_generator_out([sample for sample in SAMPLES if sample.source in ("Pika", "camera0")]))


def test_leaks_are_found_by_video_file_group_and_source() -> None:
    a = clip("a", Label.FAKE, "Pika", "train")
    again = a.model_copy(update={"split": "test"})
    twin = clip("b", Label.FAKE, "Pika", "test").model_copy(update={"path": "a.mp4"})
    leaks = find_leaks([a, again, twin], group_of=lambda sample: "pair", sources=True)
    assert {(leak.kind, leak.value) for leak in leaks} == {
        ("video", "a"),
        ("file", "a.mp4"),
        ("group", "pair"),
        ("source", "Pika"),
    }
    assert all(leak.splits == ("test", "train") for leak in leaks)
    assert find_leaks([a, clip("c", Label.FAKE, "Pika", "test")]) == []


@pytest.mark.parametrize("ratios", [{}, {"train": -1, "test": 2}, {"train": 0}, {"train": float("nan")}])
def test_ratios_that_are_none_are_refused(ratios: dict) -> None:
    with pytest.raises(SettingsError, match="positive shares"):
        split_by_video(SAMPLES, ratios=ratios)


def test_a_video_given_twice_is_refused() -> None:
    with pytest.raises(SettingsError, match="is listed twice"):
        split_by_video([SAMPLES[0], SAMPLES[0]])
